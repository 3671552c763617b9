"""One job, as an object: what `Jobs` does with an id, without naming it each time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from flexai.client.jobs import Jobs

P = ParamSpec("P")
R = TypeVar("R")


def of_one(method: Callable[Concatenate[Any, str, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A method of `Jobs` or `AsyncJobs` for the job that has it."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **options: P.kwargs) -> R:
        return method(self._jobs, self.id, *args, **options)

    return call


class JobHandle:
    """A job by its id. It keeps nothing of the job but that: each call asks the server."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs = jobs
        self.id: Final = job_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    get = of_one(Jobs.get)
    stop = of_one(Jobs.stop)
    resume = of_one(Jobs.resume)
    keep = of_one(Jobs.keep)
    requeue = of_one(Jobs.requeue)
    events = of_one(Jobs.events)
    explain = of_one(Jobs.explain)
    logs = of_one(Jobs.logs)
    log_pieces = of_one(Jobs.log_pieces)
    log_slice = of_one(Jobs.log_slice)
    wait = of_one(Jobs.wait)
    outputs = of_one(Jobs.outputs)
    download_outputs = of_one(Jobs.download_outputs)
    remove_outputs = of_one(Jobs.remove_outputs)
