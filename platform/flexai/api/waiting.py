"""Requests that wait for a change: answered when there is one, or as unchanged (304) when their time is over.

A view that finds nothing new returns `Unchanged`. The handler asks it again when there is news, and once more at the
end: a hint may be lost. Each time the request goes through everything again: who asks, in which scope, and what they
may see. Between, neither a thread nor a connection of the database is held.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from django.http import HttpResponseNotModified, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from flexai.api.pagination import optional_whole_parameter
from flexai.api.throttling import caller_of
from flexai.common.errors import FieldError, InvalidInput

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
News: TypeAlias = Callable[[str, frozenset[str]], AbstractContextManager[asyncio.Event]]
"""An event that is set when there may be something new, of one of these kinds, about a topic."""

LONGEST_SECONDS: Final = 60
"""What lies between, such as a proxy, ends a silent connection after about so long."""
AT_MOST: Final = 2000
"""Requests that wait in one process. Beyond it, and beyond the next, they are answered at once."""
OF_ONE_CALLER: Final = 200
_AWAITED: Final = re.compile(r"/api/v1/jobs/(job-[0-9a-z]{1,40})(/logs)?")

PARAMETERS: Final = [
    OpenApiParameter(
        "version",
        OpenApiTypes.INT,
        description="`version` of what you have: while it is the same, the answer is 304 without a body.",
    ),
    OpenApiParameter(
        "wait",
        OpenApiTypes.INT,
        description=f"With `version`: seconds to wait for another one, {LONGEST_SECONDS} at most. Where too many wait "
        "already, the answer is 304 at once, with Retry-After.",
    ),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the caller has, and how long it waits for something else."""

    version: int
    seconds: int


class Unchanged(HttpResponseNotModified):
    """The caller has it already, and waits for so many seconds."""

    def __init__(self, request: Request, seen: Seen) -> None:
        super().__init__()
        self.seconds = seen.seconds
        self.caller = caller_of(request.auth)


class Answer(NamedTuple):
    """What is sent; a streaming response is still open."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes | StreamingHttpResponse
    unchanged: Unchanged | None = None
    """Set where the request may go on waiting."""


def seen_from(request: Request) -> Seen | None:
    """What the query string says; None where the caller has nothing yet. Raises InvalidInput."""
    version = optional_whole_parameter(request, "version", 0, 2**31 - 1)
    seconds = optional_whole_parameter(request, "wait", 0, LONGEST_SECONDS)
    if version is None and seconds is not None:
        error = FieldError("version", "is missing", "give the `version` of what you have, or no `wait`")
        raise InvalidInput("`wait` needs `version`.", errors=[error])
    return None if version is None else Seen(version, seconds or 0)


class Awaited(NamedTuple):
    """What a request would wait for: hints of these kinds about a topic."""

    topic: str
    kinds: frozenset[str]


def awaited_by(scope: Scope) -> Awaited | None:
    """None where the request does not wait. What a job logs, or why it waits, is no change of the job."""
    if scope["method"] != "GET" or b"wait=" not in scope.get("query_string", b""):
        return None
    found = _AWAITED.fullmatch(scope["path"])
    if found is None:
        return None
    return Awaited(f"job:{found[1]}", frozenset({"job", "logs"} if found[2] else {"job"}))


class Waits:
    """Those of one process; all but the asking happens on its event loop."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._callers: Counter[tuple[str, int] | None] = Counter()

    async def until_changed(
        self, awaited: Awaited, ask: Callable[[], Awaitable[Answer]], receive: Receive
    ) -> Answer | None:
        """The first answer that is news, or the last that is none; None when the client has gone."""
        with self._news(*awaited) as news:  # before the first look: what changes after it is heard
            answer = await ask()
            if answer.unchanged is None or not answer.unchanged.seconds:
                return answer
            with self._counted(answer.unchanged.caller) as may_wait:
                if may_wait:
                    return await _wait(answer, news, ask, receive)
                return answer._replace(headers=[*answer.headers, (b"Retry-After", b"1")])

    @contextmanager
    def _counted(self, caller: tuple[str, int] | None) -> Iterator[bool]:
        """Whether there is room for one more; it is counted inside the block."""
        may_wait = self._callers[caller] < OF_ONE_CALLER and self._callers.total() < AT_MOST
        self._callers[caller] += may_wait
        try:
            yield may_wait
        finally:
            self._callers[caller] -= may_wait
            if not self._callers[caller]:
                del self._callers[caller]


async def _wait(
    answer: Answer, news: asyncio.Event, ask: Callable[[], Awaitable[Answer]], receive: Receive
) -> Answer | None:
    """A server that stops ends its requests: then what is known is the answer."""
    assert answer.unchanged is not None
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + answer.unchanged.seconds
    gone = loop.create_task(_until_gone(receive))
    try:
        while answer.unchanged is not None and (left := ends_at - loop.time()) > 0:
            heard = loop.create_task(news.wait())
            try:
                await asyncio.wait({heard, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                return answer
            finally:
                heard.cancel()
            if gone.done():
                return None
            news.clear()
            answer = await ask()
    finally:
        gone.cancel()
    return answer


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
