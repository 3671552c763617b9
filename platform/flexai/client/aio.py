"""The same client for asyncio: every method awaited, every iterator an asynchronous one.

    from flexai.client.aio import AsyncClient

    async with AsyncClient("https://flexai.example", token="flx_…") as flexai:
        job = await flexai.jobs.submit({"name": "train", "commands": ["python train.py"]})
        async for text in flexai.jobs.logs(job["id"], follow=True):
            print(text, end="")

Retries, idempotency keys, polling and the following of logs stand in one place, the client without `async`: here it
runs in a greenlet, and where it would wait, for an answer or for a pause to pass, the event loop goes on with other
tasks. No thread is used, and a task that is cancelled stops at once.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast

import greenlet
import httpx

from flexai.client.client import DEFAULT_TIMEOUT_SECONDS, Client
from flexai.client.handle import of_one
from flexai.client.jobs import Jobs
from flexai.client.places import (
    Chips,
    Cluster,
    Nodes,
    QuotaRequests,
    Quotas,
    Secrets,
    Teams,
    Tokens,
    TrustRules,
)
from flexai.client.schedules import Schedules
from flexai.client.transport import Transport
from flexai.client.types import Spec
from flexai.client.webhooks import Webhooks

P = ParamSpec("P")
R = TypeVar("R")
_END: Final = object()


class _Transport(Transport):
    """Waits by handing what is to be awaited to `_run`, which runs this code."""

    def close(self) -> None:
        _awaited(self._http.aclose())

    def sleep(self, seconds: float) -> None:
        _awaited(asyncio.sleep(seconds))

    def _pool(self, **options: Any) -> Any:
        return httpx.AsyncClient(**options)

    def _answer(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        return cast("httpx.Response", _awaited(self._http.send(request, stream=stream)))

    def _read(self, answer: httpx.Response) -> None:
        _awaited(answer.aread())

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        pieces = answer.aiter_raw()
        while (piece := _awaited(anext(pieces, None))) is not None:
            yield piece

    def _end(self, answer: httpx.Response) -> None:
        _awaited(answer.aclose())


class _Client(Client):
    def _connected(self, url: str, token: str | None, timeout: float) -> Transport:
        return _Transport(url, token, timeout=timeout)


def _awaited(work: Awaitable[Any]) -> Any:
    """What the work comes to, once the event loop has done it."""
    return greenlet.getcurrent().parent.switch(work)  # only `_run` runs what calls this


async def _run(function: Callable[..., R], *args: Any, **options: Any) -> R:
    """What the function returns or raises; whatever it waits for in between, this task awaits."""
    running = greenlet.greenlet(function)
    got = running.switch(*args, **options)
    while not running.dead:
        try:
            value = await got
        except BaseException:  # whatever it is, the function is to hear of it
            got = running.throw(*sys.exc_info())
        else:
            got = running.switch(value)
    return cast("R", got)


def _call(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **options: P.kwargs) -> R:
        return await _run(method, self._plain, *args, **options)

    return call


def _each(
    method: Callable[Concatenate[Any, P], Iterator[R]],
) -> Callable[Concatenate[Any, P], AsyncGenerator[R, None]]:
    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **options: P.kwargs) -> AsyncGenerator[R, None]:
        items = cast("Generator[R, None, None]", method(self._plain, *args, **options))
        try:
            while (item := await _run(next, items, _END)) is not _END:
                yield cast("R", item)
        finally:
            items.close()

    return call


class _Group:
    def __init__(self, plain: Any) -> None:
        self._plain = plain


class AsyncJobs(_Group):
    """As `Jobs`."""

    submit = _call(Jobs.submit)
    submit_array = _call(Jobs.submit_array)
    dry_run = _call(Jobs.dry_run)
    batch = _call(Jobs.batch)
    get = _call(Jobs.get)
    list = _each(Jobs.list)
    counts = _call(Jobs.counts)
    stop = _call(Jobs.stop)
    resume = _call(Jobs.resume)
    keep = _call(Jobs.keep)
    requeue = _call(Jobs.requeue)
    events = _each(Jobs.events)
    explain = _call(Jobs.explain)
    logs = _each(Jobs.logs)
    log_pieces = _each(Jobs.log_pieces)
    log_slice = _call(Jobs.log_slice)
    wait = _call(Jobs.wait)
    changed = _call(Jobs.changed)
    outputs = _call(Jobs.outputs)
    download_outputs = _call(Jobs.download_outputs)
    remove_outputs = _call(Jobs.remove_outputs)


class AsyncJobHandle:
    """As `JobHandle`."""

    def __init__(self, jobs: AsyncJobs, job_id: str) -> None:
        self._jobs = jobs
        self.id: Final = job_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    get = of_one(AsyncJobs.get)
    stop = of_one(AsyncJobs.stop)
    resume = of_one(AsyncJobs.resume)
    keep = of_one(AsyncJobs.keep)
    requeue = of_one(AsyncJobs.requeue)
    events = of_one(AsyncJobs.events)
    explain = of_one(AsyncJobs.explain)
    logs = of_one(AsyncJobs.logs)
    log_pieces = of_one(AsyncJobs.log_pieces)
    log_slice = of_one(AsyncJobs.log_slice)
    wait = of_one(AsyncJobs.wait)
    outputs = of_one(AsyncJobs.outputs)
    download_outputs = of_one(AsyncJobs.download_outputs)
    remove_outputs = of_one(AsyncJobs.remove_outputs)


class AsyncSchedules(_Group):
    """As `Schedules`."""

    create = _call(Schedules.create)
    list = _each(Schedules.list)
    get = _call(Schedules.get)
    pause = _call(Schedules.pause)
    resume = _call(Schedules.resume)
    delete = _call(Schedules.delete)


class AsyncNodes(_Group):
    """As `Nodes`."""

    list = _each(Nodes.list)
    get = _call(Nodes.get)
    cordon = _call(Nodes.cordon)
    drain = _call(Nodes.drain)
    restore = _call(Nodes.restore)
    revoke_credential = _call(Nodes.revoke_credential)


class AsyncChips(_Group):
    """As `Chips`."""

    list = _each(Chips.list)
    cordon = _call(Chips.cordon)
    restore = _call(Chips.restore)


class AsyncTeams(_Group):
    """As `Teams`."""

    list = _each(Teams.list)
    get = _call(Teams.get)


class AsyncQuotas(_Group):
    """As `Quotas`."""

    of = _call(Quotas.of)
    set = _call(Quotas.set)


class AsyncSecrets(_Group):
    """As `Secrets`."""

    list = _each(Secrets.list)
    get = _call(Secrets.get)
    set = _call(Secrets.set)
    remove = _call(Secrets.remove)


class AsyncQuotaRequests(_Group):
    """As `QuotaRequests`."""

    list = _each(QuotaRequests.list)
    create = _call(QuotaRequests.create)
    create_for_budget = _call(QuotaRequests.create_for_budget)
    withdraw = _call(QuotaRequests.withdraw)
    approve = _call(QuotaRequests.approve)
    decline = _call(QuotaRequests.decline)


class AsyncTokens(_Group):
    """As `Tokens`."""

    list = _each(Tokens.list)
    create = _call(Tokens.create)
    revoke = _call(Tokens.revoke)


class AsyncTrustRules(_Group):
    """As `TrustRules`."""

    list = _each(TrustRules.list)
    create = _call(TrustRules.create)
    remove = _call(TrustRules.remove)


class AsyncWebhooks(_Group):
    """As `Webhooks`."""

    list = _each(Webhooks.list)
    get = _call(Webhooks.get)
    create = _call(Webhooks.create)
    change = _call(Webhooks.change)
    delete = _call(Webhooks.delete)
    rotate_secret = _call(Webhooks.rotate_secret)
    ping = _call(Webhooks.ping)
    deliveries = _each(Webhooks.deliveries)
    redeliver = _call(Webhooks.redeliver)


class AsyncCluster(_Group):
    """As `Cluster`."""

    summary = _call(Cluster.summary)
    health = _call(Cluster.health)


class AsyncClient:
    """As `Client`, for the tasks of one event loop; close it, or use it in an `async with`."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """`url` and `token` default to FLEXAI_URL and FLEXAI_TOKEN; `timeout` is seconds for one request."""
        self._plain = _Client(url, token, timeout=timeout)
        self.url = self._plain.url
        self.jobs = AsyncJobs(self._plain.jobs)
        self.schedules = AsyncSchedules(self._plain.schedules)
        self.nodes = AsyncNodes(self._plain.nodes)
        self.chips = AsyncChips(self._plain.chips)
        self.teams = AsyncTeams(self._plain.teams)
        self.quotas = AsyncQuotas(self._plain.quotas)
        self.quota_requests = AsyncQuotaRequests(self._plain.quota_requests)
        self.secrets = AsyncSecrets(self._plain.secrets)
        self.tokens = AsyncTokens(self._plain.tokens)
        self.trust = AsyncTrustRules(self._plain.trust)
        self.webhooks = AsyncWebhooks(self._plain.webhooks)
        self.cluster = AsyncCluster(self._plain.cluster)

    async def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> AsyncJobHandle:
        """As `jobs.submit`, and gives an object that has `wait()`, `logs(follow=True)`, `stop()` and the rest."""
        return self.job((await self.jobs.submit(spec, idempotency_key=idempotency_key))["id"])

    def job(self, job_id: str) -> AsyncJobHandle:
        """The job of this id, which nobody is asked for yet."""
        return AsyncJobHandle(self.jobs, job_id)

    me = _call(Client.me)
    announcements = _call(Client.announcements)
    second_factor = _call(Client.second_factor)
    begin_second_factor = _call(Client.begin_second_factor)
    confirm_second_factor = _call(Client.confirm_second_factor)
    remove_second_factor = _call(Client.remove_second_factor)
    usage = _call(Client.usage)
    savings = _call(Client.savings)
    history = _call(Client.history)
    audit = _each(Client.audit)
    close = _call(Client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
