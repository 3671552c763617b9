"""A real server (uvicorn) with our sockets and hub on a free port, in a thread of the test's process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from django.db import connection
from websockets.sync.client import ClientConnection, connect

from flexai.api.handler import THREADS, ThreadedHandler
from flexai.realtime.hub import Hub
from flexai.realtime.routing import route
from flexai.realtime.websocket import AgentSocket
from node_agent import protocol
from tests.support.placed import credential_of
from tests.support.waiting import wait_for

T = TypeVar("T")


@dataclass(frozen=True)
class Web:
    """Where it listens, and its hub."""

    port: int
    hub: Hub

    def agent(self, node: Any, credential: str | None = None) -> ClientConnection:
        """An open agent socket of this node. Raises websockets' InvalidStatus when it is not let in."""
        secret = credential_of(node) if credential is None else credential
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/agent/v1",
            additional_headers={"Authorization": f"Bearer {secret}"},
            max_size=None,
        )

    def browser(self, **options: Any) -> ClientConnection:
        """An open browser socket."""
        return connect(f"ws://127.0.0.1:{self.port}/ws/v1", **options)


@contextmanager
def web(*, api: bool = False) -> Iterator[Web]:
    """The server answers inside the block and has ended, with its connections, after it; with `api` also what is no
    socket."""
    hub = Hub()
    handler = ThreadedHandler(hub.news) if api else None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = uvicorn.Config(
        route(hub, handler or _no_pages), host="127.0.0.1", port=port, ws=AgentSocket, lifespan="on",
        log_level="warning", timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield Web(port, hub)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not end"
        if handler is not None:
            end_threads(handler)


def end_threads(handler: ThreadedHandler) -> None:
    """Each gives back the connection that it keeps."""
    together = threading.Barrier(THREADS + 1)

    def leave() -> None:
        together.wait(20)
        connection.close()

    for threads, count in ((handler._threads, THREADS), (handler._lane._thread, 1)):
        for _ in range(count):
            threads.submit(leave)
    for threads in (handler._threads, handler._lane._thread):
        threads.shutdown(wait=True)


async def _no_pages(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Agent:
    """A scripted agent on an open socket: says Hello at once and keeps what it is told."""

    def __init__(
        self, socket: ClientConnection, *, boot_id: str = "boot-1", live: Any = (), chips: Any = ()
    ) -> None:
        self.socket = socket
        self.say(
            protocol.Hello(
                version=protocol.VERSION, boot_id=boot_id, agent_version="test", live=list(live),
                inventory=protocol.Inventory(cpu_milli=64_000, memory_mib=64_000, chips=list(chips)),
            )
        )  # fmt: skip
        self.welcome = self.hear(protocol.Welcome)

    def say(self, message: Any) -> None:
        """Send one message."""
        self.socket.send(protocol.encode(message).decode(), text=True)

    def hear(self, kind: type[T], timeout: float = 60) -> T:
        """The next message of this kind; others before it are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.socket.recv(timeout=max(0.01, deadline - time.monotonic()))
            message = protocol.decode_from_server(frame)
            if isinstance(message, kind):
                return message

    def hear_wanted(self, until: Callable[[protocol.Wanted], bool]) -> protocol.Wanted:
        """The first wanted state of which this holds."""
        while True:
            wanted = self.hear(protocol.Wanted)
            if until(wanted):
                return wanted


def heard_until(
    socket: ClientConnection, until: Callable[[dict[str, Any]], bool], timeout: float = 60
) -> dict[str, Any]:
    """The first message to a browser of which this holds."""
    deadline = time.monotonic() + timeout
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic())))
        if until(message):
            return message


def eventually(holds: Callable[[], Any], timeout: float = 60) -> None:
    """Returns when it holds; fails when it has not within the time."""
    wait_for(holds, "it to hold", timeout)
