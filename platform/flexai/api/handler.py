"""Django under ASGI, with one hop to a thread for each request and threads that stay.

Everything here is synchronous: middleware, views, the database. Django's own handler expects an asynchronous
view at the end of the chain: it makes a thread for each request and crosses over to it four times, which costs
more than most requests do.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from flexai.api.lane import Lane, Plain
from flexai.api.problems import answer_to
from flexai.api.waiting import Answer, News, Receive, Scope, Send, Unchanged, Waits, awaited_by
from flexai.common.errors import TooLarge
from flexai.common.postgresql.base import keep_connection

THREADS = 16
"""Requests that one web process works on at once, each thread with a connection of the pool's 24 that it keeps; more
wait their turn."""
MAX_BODY_BYTES = 48 * 1024 * 1024
"""No view takes more; what a view takes is checked by its parser."""
KEPT_IN_MEMORY = 2 * 1024 * 1024
"""Bytes of a body; a larger one waits in an unnamed file for its view."""


class BodyTooLargeError(Exception):
    """More than `MAX_BODY_BYTES` were sent."""


class ThreadedHandler(ASGIHandler):
    """Runs the whole synchronous chain in one of its threads, as a WSGI server does.

    A client that goes away is noticed when the answer is sent: what it asked for is done all the same. `news` of a
    topic is what requests that wait for a change are woken by; without it they are answered at once.
    """

    def __init__(self, news: News | None = None) -> None:
        super().__init__()
        self._waits = None if news is None else Waits(news)
        self._lane = Lane()
        self._threads = ThreadPoolExecutor(THREADS, "flexai-http", initializer=keep_connection)

    def load_middleware(self, is_async: bool = False) -> None:
        """The chain is built for a thread, whatever the caller asks for."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """One request from body to answer. Raises ValueError for what is not HTTP."""
        if scope["type"] != "http":
            raise ValueError(f"Django handles HTTP only, not {scope['type']}.")
        run = asyncio.get_running_loop().run_in_executor
        try:
            body = await _body(receive)
        except RequestAborted:
            return
        except BodyTooLargeError:
            await _send_whole(send, _encoded(_too_large()))
            return
        plain = self._lane.plain(scope, body)
        answer = None if plain is None else await self._in_lane(plain)
        awaited = None if self._waits is None else awaited_by(scope)
        if awaited is not None and self._waits is not None:
            ask = partial(run, self._threads, self._answer_bare, scope)
            answer = await self._waits.until_changed(awaited, ask, receive)
            if answer is None:
                return
        elif answer is None:
            answer = await run(self._threads, self._answer, scope, body)
            self._lane.learn(scope, answer)
        status, headers, content, _ = answer
        if isinstance(content, bytes):
            await _send_whole(send, answer)
            return
        pieces = iter(content)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        try:
            while piece := await run(self._threads, next, pieces, b""):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await run(self._threads, content.close)

    async def _in_lane(self, plain: Plain) -> Answer | None:
        try:
            return await self._lane.answer(plain)
        except Exception as error:  # whatever it was, nobody knows whether the job is there
            return _encoded(answer_to(error, plain.source.request_id))

    def _answer_bare(self, scope: Scope) -> Answer:
        """To a request without a body."""
        return self._answer(scope, io.BytesIO())

    def _answer(self, scope: Scope, body: IO[bytes]) -> Answer:
        """Status, headers and content; a streaming response is still open."""
        with body:
            set_script_prefix(get_script_prefix(scope))
            signals.request_started.send(sender=self.__class__, scope=scope)
            request, response = self.create_request(cast(Any, scope), body)
            if request is not None:
                response = self.get_response(request)
            assert response is not None
            response._handler_class = self.__class__  # type: ignore[attr-defined]
            if isinstance(response, StreamingHttpResponse):
                if isinstance(response, FileResponse):
                    response.block_size = self.chunk_size
                close_old_connections()
                return Answer(response.status_code, _headers(response), response)
            try:
                return _encoded(cast(HttpResponse, response))
            finally:
                response.close()


async def _body(receive: Receive) -> IO[bytes]:
    """What the client sent, to be read from its beginning. Raises RequestAborted when it went away, and
    BodyTooLargeError."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return io.BytesIO(message.get("body", b""))
    body: IO[bytes] = tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY)  # noqa: SIM115 - closed by who reads it
    while message["type"] == "http.request":
        body.write(message.get("body", b""))
        if body.tell() > MAX_BODY_BYTES:
            body.close()
            raise BodyTooLargeError
        if not message.get("more_body", False):
            body.seek(0)
            return body
        message = await receive()
    body.close()
    raise RequestAborted


def _encoded(response: HttpResponse) -> Answer:
    unchanged = response if isinstance(response, Unchanged) else None
    return Answer(response.status_code, _headers(response), response.content, unchanged)


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    headers += [
        (b"Set-Cookie", cookie.OutputString().encode("ascii").strip()) for cookie in response.cookies.values()
    ]
    return headers


async def _send_whole(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.content})


def _too_large() -> HttpResponse:
    detail = f"The body is larger than the {MAX_BODY_BYTES // 1024} KiB that this server accepts."
    answer = answer_to(TooLarge(detail), "")
    answer.headers["Connection"] = "close"
    return answer
