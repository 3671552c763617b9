"""New jobs of requests that come at the same moment: one look-up of tokens, one statement, one thread for all of them.

Who submits thousands of jobs one by one does it in requests that are all alike, and what each of them costs is mostly
what surrounds it. Here they are only ever accepted. Whatever is not plain, or would be refused, goes the way of every
other request, as if it had not been here, and is answered there; and how an answer looks is taken from there too.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec
from django.db import close_old_connections

from flexai.api.middleware import request_id_of
from flexai.api.renderers import JSONRenderer
from flexai.api.throttling import may_call
from flexai.api.waiting import Answer, Scope
from flexai.common.postgresql.base import keep_connection
from flexai.common.source import Source
from flexai.jobs import presenting, services
from flexai.jobs.creation import ALONE_BYTES
from flexai.tenancy.principals import Scope as TokenScope
from flexai.tenancy.tokens import principals_for_tokens

log = logging.getLogger(__name__)

PATH: Final = "/api/v1/jobs"
TOGETHER: Final = 64
"""Requests of one statement."""
WAITED_FOR_SECONDS: Final = 0.004
"""So long, about a statement, those who came together last are waited for to come together again."""
MOST_SITES: Final = 100
_ELSEWHERE: Final = frozenset({b"cookie", b"content-encoding", b"transfer-encoding", b"if-match", b"expect"})
"""Headers of requests that are not plain."""
_OWN: Final = frozenset({b"x-request-id", b"content-length"})
"""Headers that each answer has of its own."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A request for one job, that may go with others."""

    secret: str
    body: bytes
    key: str | None
    source: Source
    site: tuple[bytes, ...]
    """What the headers of the answer depend on."""


class Lane:
    """Of one process; all but the work happens on its event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "flexai-lane", initializer=keep_connection)
        self._line: list[tuple[Plain, asyncio.Future[Answer | None]]] = []
        self._is_busy = False
        self._expected = 1
        self._expected_until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._headers: dict[tuple[bytes, ...], list[tuple[bytes, bytes]]] = {}

    def plain(self, scope: Scope, body: IO[bytes]) -> Plain | None:
        """The request, where it may go with others."""
        if scope["method"] != "POST" or scope["path"] != PATH or scope.get("query_string"):
            return None
        headers = dict(scope["headers"])
        kind, _, secret = headers.get(b"authorization", b"").partition(b" ")
        site = _site(headers)
        if (
            site not in self._headers
            or kind.lower() != b"bearer"
            or headers.get(b"content-type") != b"application/json"
            or not _ELSEWHERE.isdisjoint(headers)
            or len(headers) != len(scope["headers"])
            or not isinstance(body, io.BytesIO)
            or body.getbuffer().nbytes > ALONE_BYTES
        ):
            return None
        key = headers.get(b"idempotency-key")
        sent = headers.get(b"x-request-id", b"").decode("latin-1")
        address = scope["client"][0] if scope.get("client") else ""
        return Plain(
            secret.strip().decode("latin-1"),
            body.getvalue(),
            None if key is None else key.decode("latin-1"),
            Source(request_id_of(sent), address),
            site,
        )

    def learn(self, scope: Scope, answer: Answer) -> None:
        """How an accepted job is answered: the headers that all such answers have."""
        headers = dict(scope["headers"])
        if (
            scope["method"] != "POST" or scope["path"] != PATH or answer.status != 201 or b"cookie" in headers
            or b"authorization" not in headers or any(name == b"Set-Cookie" for name, _ in answer.headers)
        ):  # fmt: skip
            return
        if len(self._headers) >= MOST_SITES:
            self._headers.clear()
        of_all = [(name, value) for name, value in answer.headers if name.lower() not in _OWN]
        self._headers[_site(headers)] = of_all

    async def answer(self, plain: Plain) -> Answer | None:
        """The job was accepted; or None: the request goes the way of others. Raises psycopg's errors, after which
        nobody knows."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | None] = loop.create_future()
        self._line.append((plain, future))
        self._go_on(loop)
        return await future

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The next statement runs, unless one does already, or those who came together last are not all back yet.

        Clients in a loop are answered together and come back one by one: taken as they come, four of them would go
        as one and three, for the price of two statements. Who comes alone waits for nobody.
        """
        if self._is_busy or not self._line:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if len(self._line) < self._expected and loop.time() < self._expected_until:
            self._alarm = loop.call_at(self._expected_until, self._go_on, loop)
            return
        line, self._line = self._line[:TOGETHER], self._line[TOGETHER:]
        self._is_busy = True
        self._thread.submit(self._work, line, loop)

    def _work(
        self, line: list[tuple[Plain, asyncio.Future[Answer | None]]], loop: asyncio.AbstractEventLoop
    ) -> None:
        outcome: Sequence[Answer | None] | Exception
        try:
            outcome = self._accept([plain for plain, _ in line])
        except Exception as error:  # each of them answers it
            outcome = error
        loop.call_soon_threadsafe(self._tell, line, outcome, loop)

    def _tell(
        self,
        line: list[tuple[Plain, asyncio.Future[Answer | None]]],
        outcome: Sequence[Answer | None] | Exception,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._is_busy = False
        self._expected = min(len(line) + len(self._line), TOGETHER)
        self._expected_until = loop.time() + WAITED_FOR_SECONDS
        for place, (_, future) in enumerate(line):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome[place])
        self._go_on(loop)

    def _accept(self, line: Sequence[Plain]) -> list[Answer | None]:
        close_old_connections()
        principals = principals_for_tokens({plain.secret for plain in line})
        asked: dict[int, services.Request] = {}
        for place, plain in enumerate(line):
            principal = principals.get(plain.secret)
            if principal is None or TokenScope.WRITE.value not in principal.scopes or not may_call(principal):
                continue
            try:
                spec = msgspec.json.decode(plain.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            asked[place] = services.Request(principal, spec, plain.key, plain.source)
        answers: list[Answer | None] = [None] * len(line)
        jobs = services.submit_together(list(asked.values()))
        accepted = [(place, job) for place, job in zip(asked, jobs, strict=True) if job is not None]
        told = presenting.present_created([job for _, job in accepted])
        for (place, _), body in zip(accepted, told, strict=True):
            answers[place] = self._answer(line[place], body)
        return answers

    def _answer(self, plain: Plain, told: Mapping[str, Any]) -> Answer:
        content = JSONRenderer().render(told)
        own = [
            (b"Content-Length", str(len(content)).encode()),
            (b"X-Request-ID", plain.source.request_id.encode()),
        ]
        return Answer(201, [*self._headers[plain.site], *own], content)


def _site(headers: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    return headers.get(b"host", b""), headers.get(b"x-forwarded-proto", b"")
