"""Django behind ASGI: bodies in pieces, bounds, answers whole and in pieces, clients that go away."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from flexai.api import handler as handlers
from flexai.api.handler import ThreadedHandler


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> ThreadedHandler:
    made = ThreadedHandler()
    monkeypatch.setattr(made, "get_response", _echo)
    return made


def _echo(request: HttpRequest) -> HttpResponseBase:
    if request.path == "/stream":
        return StreamingHttpResponse(_noted_pieces())
    if request.path == "/file":
        return FileResponse(Path(__file__).open("rb"))
    answer = HttpResponse(f"{request.method} {len(request.body)} {request.body[-3:].decode()}".encode())
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    answer.headers["X-Thread"] = threading.current_thread().name
    return answer


closed: list[str] = []


def _noted_pieces() -> Iterator[bytes]:
    try:
        yield b"one "
        yield b"two"
    finally:
        closed.append(threading.current_thread().name)


async def _ask(handler: ThreadedHandler, path: str, *messages: dict[str, Any]) -> list[Any]:
    """What is sent for these messages of a client."""
    waiting = list(messages) or [{"type": "http.request"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost")]}
    await handler(scope, receive, send)
    return sent


def _piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_one_body(handler: ThreadedHandler) -> None:
    [start, body] = await _ask(handler, "/", _piece(b"abc"), _piece(b"de"), _piece(b"f", more=False))
    assert (start["status"], body["body"]) == (200, b"POST 6 def")
    cookies = [value for name, value in start["headers"] if name == b"Set-Cookie"]
    assert cookies == [b"a=1; Path=/", b"b=2; Path=/"]


async def test_a_body_larger_than_what_is_kept_in_memory_arrives(handler: ThreadedHandler) -> None:
    piece = b"x" * handlers.KEPT_IN_MEMORY
    [_, body] = await _ask(handler, "/", _piece(piece), _piece(b"end", more=False))
    assert body["body"] == f"POST {len(piece) + 3} end".encode()


async def test_a_body_without_end_is_refused_while_it_comes(
    handler: ThreadedHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "MAX_BODY_BYTES", 1000)
    [start, body] = await _ask(handler, "/", *[_piece(b"x" * 600)] * 2)
    headers = dict(start["headers"])
    assert (start["status"], headers[b"Content-Type"], headers[b"Connection"]) == (
        413, b"application/problem+json", b"close",
    )  # fmt: skip
    assert json.loads(body["body"])["code"] == "too_large"


async def test_a_client_that_goes_away_before_the_end_of_its_body_is_not_answered(
    handler: ThreadedHandler,
) -> None:
    assert await _ask(handler, "/", _piece(b"half"), {"type": "http.disconnect"}) == []
    assert await _ask(handler, "/", {"type": "http.disconnect"}) == []


async def test_an_answer_in_pieces_is_sent_in_pieces_and_closed(handler: ThreadedHandler) -> None:
    closed.clear()
    sent = await _ask(handler, "/stream")
    assert [message.get("body") for message in sent] == [None, b"one ", b"two", b""]
    assert [message.get("more_body", False) for message in sent] == [False, True, True, False]
    assert len(closed) == 1
    assert closed[0].startswith("flexai-http"), "never in the event loop"


async def test_a_file_is_sent_whole(handler: ThreadedHandler) -> None:
    sent = await _ask(handler, "/file")
    assert b"".join(message.get("body", b"") for message in sent) == Path(__file__).read_bytes()


async def test_threads_stay_and_are_bounded(handler: ThreadedHandler) -> None:
    answers = await asyncio.gather(*[_ask(handler, "/") for _ in range(100)])
    names = {dict(start["headers"])[b"X-Thread"] for start, _ in answers}
    assert 1 <= len(names) <= handlers.THREADS


async def test_what_is_not_http_is_refused(handler: ThreadedHandler) -> None:
    with pytest.raises(ValueError, match="websocket"):
        await handler({"type": "websocket"}, None, None)  # type: ignore[arg-type]
