"""`flexai stop`, `resume`, `keep`, `requeue`: change what becomes of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from flexai.cli import options, output
from flexai.cli.exits import FAILED, Refusal
from flexai.cli.references import job_id_of, live_job_ids
from flexai.cli.session import connect
from flexai.cli.tables import job_name
from flexai.client import Client, Problem
from flexai.client.types import Job

Jobs = Annotated[list[str], typer.Argument(help="Ids or names.", metavar="JOB...")]


def stop(
    jobs: Annotated[list[str], typer.Argument(help="Ids or names; set-… stops an array.", metavar="JOB...")],
    reason: Annotated[str, typer.Option(help="Kept in the job's history.")] = "",
    as_json: options.Json = False,
) -> None:
    """Cancel jobs."""
    with connect() as client:
        job_ids = live_job_ids(client, jobs)
        if not job_ids:
            output.say("Nothing to stop: all of them have ended.")
        _each(job_ids, lambda job_id: client.jobs.stop(job_id, reason=reason), as_json)


def resume(jobs: Jobs, as_json: options.Json = False) -> None:
    """Let held jobs go, and those that pause because their chips were idle."""
    with connect() as client:
        _each(_ids(client, jobs), client.jobs.resume, as_json)


def keep(
    jobs: Jobs,
    how_long: Annotated[str, typer.Option("--for", help="30m, 2h, 1d.")] = "1h",
    as_json: options.Json = False,
) -> None:
    """Keep the chips of active jobs for a while, used or not."""
    seconds = int(options.seconds(how_long))
    with connect() as client:
        _each(_ids(client, jobs), lambda job_id: client.jobs.keep(job_id, seconds=seconds), as_json)


def requeue(jobs: Jobs, as_json: options.Json = False) -> None:
    """Run jobs again that have ended."""
    with connect() as client:
        _each(_ids(client, jobs), client.jobs.requeue, as_json)


def _ids(client: Client, references: list[str]) -> list[str]:
    return [job_id_of(client, reference) for reference in references]


def _each(job_ids: list[str], change: Callable[[str], Job], as_json: bool) -> None:
    """One refused job does not keep the others from their change; the exit code says so."""
    changed: list[Job] = []
    refused: list[Problem] = []
    for job_id in job_ids:
        try:
            job = change(job_id)
        except Problem as problem:
            if len(job_ids) == 1:
                raise
            refused.append(problem)
            output.complain(f"{job_id}: {problem.detail}")
            continue
        changed.append(job)
        output.err().print(
            Text.assemble(output.status_text(job["status"]), f"  {job['id']}  ", job_name(job))
        )
    if as_json:
        output.emit_json(changed)
    if refused:
        raise Refusal(f"{len(refused)} of {len(job_ids)} jobs were not changed.", exit_code=FAILED)
