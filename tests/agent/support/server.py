"""A small real server that speaks the agent's protocol: uvicorn underneath, everything received kept in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from node_agent.protocol import (
    Ack,
    Heartbeat,
    Hello,
    Inventory,
    InventoryChanged,
    Logs,
    Renewed,
    ReplicaProgress,
    ReplicaReport,
    Reports,
    SecretsAsked,
    SecretsGiven,
    ServerMessage,
    Telemetry,
    Wanted,
    WantedReplica,
    Welcome,
    decode_from_agent,
    encode,
    unpack_telemetry,
)
from tests.agent.support.desk import Desk

TOKEN = "one-time-token"
OUTPUTS = "/api/v1/agents/outputs/"
PATIENCE_SECONDS = 60.0
"""What has not come by then does not come: a busy machine takes ten times as long as a quiet one."""
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class LogGapError(AssertionError):
    """A log piece began beyond what the server has: bytes were lost."""


class NodeState:
    """What the server knows of one node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted: dict[tuple[str, int, int], WantedReplica] = {}
        self.version = 0
        self.hellos: list[Hello] = []
        self.renewed = 0
        """The last heartbeat that was answered."""
        self.heartbeats: list[Heartbeat] = []
        self.send: Send | None = None
        self.forget()

    def forget(self) -> None:
        del self.hellos[:-1]
        del self.heartbeats[:-1]
        self.reports: list[ReplicaReport] = []
        self.moves: dict[tuple[str, int], list[ReplicaReport]] = {}
        self.words: dict[str, list[ReplicaProgress]] = {}
        """What replicas said of themselves, by attempt; nothing of it after the attempt's end."""
        self.logs: dict[tuple[str, int], bytearray] = {}
        self.log_bytes_received = 0
        self.telemetry: list[Telemetry] = []
        self.inventories: list[Inventory] = []
        self.frames = 0
        self.first_seen: dict[tuple[str, int, str], float] = {}


class FakeServer:
    """Enrols, acknowledges, renews and records. Every behaviour can be switched off."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        self.credentials: dict[str, str] = {}
        self.reset_behaviour()
        self.heartbeat_seconds = 1
        self.enrolments: list[dict[str, str]] = []
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def reset_behaviour(self) -> None:
        """Everything on, as a server should be."""
        self.acknowledges = True
        self.renews = True
        self.accepts_credentials = True
        self.drops_when_ended = True
        self.secrets: dict[str, str] | str = {}
        """What replicas that ask are given, or why they are refused."""
        self.gives = True
        self.asked: list[tuple[str, int, int]] = []
        self.desk = Desk()

    def forget(self) -> None:
        """What was received so far, but for the last hello."""
        for node in self.nodes.values():
            node.forget()

    @property
    def is_started(self) -> bool:
        return self._server is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def node(self) -> NodeState:
        """The only node."""
        (node,) = self.nodes.values()
        return node

    async def start(self) -> None:
        if self._socket.fileno() < 0:
            self._socket = socket.socket(proto=socket.IPPROTO_TCP)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", self.port))
        config = uvicorn.Config(
            self._app, log_level="warning", lifespan="off", interface="asgi3", ws="websockets-sansio",
            timeout_graceful_shutdown=1,
            ws_max_size=8 << 20, ws_per_message_deflate=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Gone, as if killed: connections drop."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            await self._task
            self._server = None
        self._socket.close()
        for node in self.nodes.values():
            node.send = None

    async def want(self, *replicas: WantedReplica, node: NodeState | None = None) -> None:
        """Add (or replace) wanted replicas and say so."""
        node = node or self.node
        for replica in replicas:
            node.wanted[replica.attempt, replica.replica, replica.generation] = replica
        await self.send_wanted(node)

    async def unwant(self, *attempts: str) -> None:
        """Want these attempts no longer and say so."""
        for key in [key for key in self.node.wanted if key[0] in attempts]:
            del self.node.wanted[key]
        await self.send_wanted(self.node)

    async def send_wanted(self, node: NodeState) -> None:
        node.version += 1
        await self.send(node, Wanted(version=node.version, replicas=list(node.wanted.values())))

    async def send(self, node: NodeState, message: ServerMessage) -> None:
        if node.send is not None:
            with contextlib.suppress(OSError):  # it has just gone; the next connection gets it all
                await node.send({"type": "websocket.send", "text": encode(message).decode()})

    async def send_raw(self, data: bytes | str) -> None:
        assert self.node.send is not None
        key = "text" if isinstance(data, str) else "bytes"
        await self.node.send({"type": "websocket.send", key: data})

    async def until(
        self, condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS, what: str = ""
    ) -> Any:
        """The first true value of the condition. Raises `AssertionError` when it never came."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {seconds} s: {what or condition}; nodes: {self._story()}")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout=min(left, 0.25))

    async def connected(self, name: str | None = None) -> NodeState:
        def ready() -> NodeState | None:
            for node in self.nodes.values():
                if node.send is not None and (name is None or node.name == name):
                    return node
            return None

        found: NodeState = await self.until(ready, what="a connected node")
        return found

    async def ended(
        self, attempt: str, replica: int = 0, *, seconds: float = PATIENCE_SECONDS
    ) -> ReplicaReport:
        """The report of its end."""
        await self.reached(attempt, "ended", replica, seconds=seconds)
        return self.node.moves[attempt, replica][-1]

    async def reached(
        self, attempt: str, state: str, replica: int = 0, *, seconds: float = PATIENCE_SECONDS
    ) -> ReplicaReport:
        def moved() -> ReplicaReport | None:
            moves = self.node.moves.get((attempt, replica), [])
            return next((move for move in moves if move.state == state), None)

        found: ReplicaReport = await self.until(moved, seconds=seconds, what=f"{attempt} {state}")
        return found

    @property
    def words(self) -> dict[str, list[ReplicaProgress]]:
        """What replicas of the one node said of themselves, by attempt."""
        return self.node.words

    def log(self, attempt: str, replica: int = 0) -> bytes:
        return bytes(self.node.logs.get((attempt, replica), b""))

    def states(self, attempt: str, replica: int = 0) -> list[str]:
        return [move.state for move in self.node.moves.get((attempt, replica), [])]

    # --- ASGI --------------------------------------------------------------------------------------

    async def _app(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        if scope["path"].startswith(OUTPUTS):
            await self._take_outputs(scope, body, send)
            return
        asked = json.loads(body)
        self.enrolments.append(asked)
        if scope["path"] == "/api/v1/agents/enrol" and asked["token"] == TOKEN:
            self.credentials[asked["credential"]] = asked["name"]
            status, answer = 201, {"node_id": f"node-{asked['name']}"}
        else:
            status, answer = 403, {"title": "Refused", "detail": "The enrolment token is not known."}
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def _take_outputs(self, scope: MutableMapping[str, Any], body: bytes, send: Send) -> None:
        headers = dict(scope["headers"])
        secret = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        status, answer = 401, b"{}"
        if secret in self.credentials:
            path, query = scope["path"].removeprefix(OUTPUTS), scope["query_string"].decode()
            status, answer = self.desk.answer(scope["method"], path, query, body)
        length = str(len(answer)).encode()
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]}
        )
        await send({"type": "http.response.body", "body": answer})
        self._changed.set()

    async def _websocket(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        headers = dict(scope["headers"])
        credential = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        name = self.credentials.get(credential)
        if name is None or not self.accepts_credentials:
            await send({"type": "websocket.close", "code": 4401})
            return
        await send({"type": "websocket.accept"})
        node = self.nodes.setdefault(name, NodeState(name))
        try:
            while True:
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    return
                node.frames += 1
                text = event.get("text")
                if text is None:
                    node.telemetry.append(unpack_telemetry(event["bytes"]))
                else:
                    await self._take(node, text, send)
                self._changed.set()
        finally:
            if node.send is send:
                node.send = None

    async def _take(self, node: NodeState, text: str, send: Send) -> None:
        message = decode_from_agent(text)
        if isinstance(message, Hello):
            node.hellos.append(message)
            node.send = send
            await self.send(
                node,
                Welcome(
                    node=f"node-{node.name}",
                    name=node.name,
                    server_time=0,
                    heartbeat_seconds=self.heartbeat_seconds,
                ),
            )
            await self.send_wanted(node)
        elif isinstance(message, Heartbeat):
            node.heartbeats.append(message)
            if self.renews:
                node.renewed = message.sent
                await self.send(node, Renewed(sent=message.sent))
        elif isinstance(message, SecretsAsked):
            self.asked += message.replicas
            for key in message.replicas if self.gives else ():
                is_refused = isinstance(self.secrets, str)
                words = {"refused": self.secrets} if is_refused else {"values": self.secrets}
                await self.send(node, SecretsGiven(*key, **words))  # type: ignore[arg-type]
        elif isinstance(message, InventoryChanged):
            node.inventories.append(message.inventory)
        elif isinstance(message, Reports):
            await self._take_reports(node, message)
        elif isinstance(message, Logs):
            self._take_logs(node, message)
            if self.acknowledges:
                await self.send(node, Ack(seq=message.seq))

    async def _take_reports(self, node: NodeState, message: Reports) -> None:
        now = time.monotonic()
        dropped = False
        for words in message.progress:
            assert "ended" not in self.states(words.attempt, words.replica)
            node.words.setdefault(words.attempt, []).append(words)
        for report in message.items:
            node.reports.append(report)
            moves = node.moves.setdefault((report.attempt, report.replica), [])
            known = [(move.state, move.generation) for move in moves]
            if not report.note and (report.state, report.generation) not in known:
                moves.append(report)
                node.first_seen[report.attempt, report.replica, report.state] = now
            if report.state == "ended" and self.drops_when_ended and self.acknowledges:
                key = (report.attempt, report.replica, report.generation)
                dropped |= node.wanted.pop(key, None) is not None
        if self.acknowledges:
            await self.send(node, Ack(seq=message.seq))
        if dropped:
            await self.send_wanted(node)

    def _take_logs(self, node: NodeState, message: Logs) -> None:
        for piece in message.items:
            log = node.logs.setdefault((piece.attempt, piece.replica), bytearray())
            if piece.offset > len(log):
                raise LogGapError(f"piece at {piece.offset}, log has {len(log)}")
            node.log_bytes_received += len(piece.data)
            log[piece.offset : piece.offset + len(piece.data)] = piece.data

    def _story(self) -> dict[str, Any]:
        return {
            node.name: {str(key): [m.state for m in moves] for key, moves in list(node.moves.items())[:10]}
            for node in self.nodes.values()
        }
