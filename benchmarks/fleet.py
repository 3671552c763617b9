"""A fleet of scripted agents on plain sockets in one thread: what real ones say, with as little work as it takes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import resource
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable

from node_agent import protocol

SLICES = 100
"""A second in so many parts; each node sends in one of them."""
HEARTBEAT_SLICES = SLICES * protocol.HEARTBEAT_SECONDS
COMING = 500
"""Agents that are on their way in at once, where nothing else is said."""
CONNECT_SECONDS = 120
AWAKE_SECONDS = 10
"""How often those that are in say something while the others are not yet: the server disconnects the silent."""
_SPARE_FILES = 300
"""Open files of a process besides its agents' sockets."""
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
_OPENING, _SHAKING, _GREETING, _IN = range(4)


class Fleet:
    """So many nodes of so many chips, enrolled in a cell of their own."""

    def __init__(self, nodes: int, chips: int) -> None:
        """Raises RuntimeError where the machine does not let one process hold so many sockets."""
        _may_open(nodes)
        self.sent = 0
        self._chips = chips
        self._agents = [_Agent(index, *row) for index, row in enumerate(_enrol(nodes))]
        for agent in self._agents:
            agent.frame = self._frame(agent, 0)
        self._hello = _framed(_TEXT, protocol.encode(self._said_first()))
        self._read = select.epoll()
        self._by_descriptor: dict[int, _Agent] = {}
        self._ready = 0
        self._values = itertools.count(1)

    def connect(self, port: int, *, at_once: int = COMING) -> float:
        """All have said Hello and heard Welcome, so many on their way at once; the seconds that it took.

        Raises RuntimeError when that takes longer than CONNECT_SECONDS, or one is refused.
        """
        began = told = time.monotonic()
        waiting = deque(self._agents)
        self._ready = 0
        while self._ready < len(self._agents):
            while waiting and len(self._agents) - len(waiting) - self._ready < at_once:
                self._open(waiting.popleft(), port)
            self._hear(wait_seconds=0.05)
            now = time.monotonic()
            if now - told >= AWAKE_SECONDS:
                told = now
                self._say([agent for agent in self._agents if agent.state == _IN])
            if now - began > CONNECT_SECONDS:
                raise RuntimeError(
                    f"{self._ready} of {len(self._agents)} agents were let in within {CONNECT_SECONDS} s."
                )
        return time.monotonic() - began

    def run(self, seconds: int, *, heartbeats: bool) -> list[float]:
        """Every node sends a frame a second for so long. Answers how long, each second, the newest took to be seen."""
        visible: list[float] = []
        probe = _Probe(self._agents[0].pk)
        began = time.monotonic()
        for step in range(seconds * SLICES):
            self._until(began + step / SLICES)
            now = self._agents[step % SLICES :: SLICES]
            if now and now[0].index == 0:
                value = next(self._values) % 1000
                now[0].frame = self._frame(now[0], value)
                visible += probe.expect(value)
            self._say(now)
            if heartbeats:
                beat = _framed(_TEXT, protocol.encode(protocol.Heartbeat(sent=step + 1)))
                for agent in self._agents[step % HEARTBEAT_SLICES :: HEARTBEAT_SLICES]:
                    _send(agent, beat)
            visible += probe.look()
            self._hear(wait_seconds=0)
        return visible

    def close(self) -> None:
        """Every connection is closed."""
        for agent in self._agents:
            if agent.state is not None:
                self._read.unregister(agent.socket)
                agent.socket.close()
                agent.state = None
        self._by_descriptor.clear()

    def stored(self) -> int:
        """Samples that the roll-ups in PostgreSQL stand for."""
        from django.db.models import Sum

        from flexai.cluster.models import NodeMinute

        return int(NodeMinute.objects.aggregate(all=Sum("samples"))["all"] or 0)

    # --- what is said

    def _said_first(self) -> protocol.Hello:
        chips = [
            protocol.ChipInfo(index=index, type="H100-80GB", memory_mib=81_559, isolation=["exclusive"])
            for index in range(self._chips)
        ]
        inventory = protocol.Inventory(cpu_milli=64_000, memory_mib=512_000, chips=chips)
        return protocol.Hello(protocol.VERSION, "boot", "bench", inventory)

    def _frame(self, agent: _Agent, value: int) -> bytes:
        chips = [
            protocol.ChipSample(index, (value + 37 * agent.index) % 1000, 40_000, 61, 512_000)
            for index in range(self._chips)
        ]
        key = protocol.replica_key(f"att-{agent.index}", 0)
        replicas = [protocol.ReplicaSample(key, 900, 2_000, 3_000)]
        return _framed(_BINARY, protocol.pack_telemetry(protocol.Telemetry(0, value, 1_000, chips, replicas)))

    def _say(self, agents: Iterable[_Agent]) -> None:
        for agent in agents:
            _send(agent, agent.frame)
            self.sent += 1

    def _until(self, instant: float) -> None:
        left = instant - time.monotonic()
        if left > 0:
            time.sleep(left)

    # --- what is heard

    def _open(self, agent: _Agent, port: int) -> None:
        agent.socket = socket.socket()
        agent.socket.setblocking(False)
        agent.heard, agent.state = b"", _OPENING
        agent.socket.connect_ex(("127.0.0.1", port))
        self._by_descriptor[agent.socket.fileno()] = agent
        self._read.register(agent.socket, select.EPOLLOUT)

    def _hear(self, *, wait_seconds: float) -> None:
        """What the server says is read; its pings are answered. Raises RuntimeError when it ends a connection."""
        for descriptor, _ in self._read.poll(wait_seconds, 1000):
            agent = self._by_descriptor[descriptor]
            if agent.state == _OPENING:
                if failed := agent.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise RuntimeError(f"The server cannot be reached: {os.strerror(failed)}.")
                _send(agent, _handshake(agent.name))
                agent.state = _SHAKING
                self._read.modify(descriptor, select.EPOLLIN)
                continue
            heard = agent.socket.recv(65536)
            if not heard:
                raise RuntimeError("The server closed a connection.")
            agent.heard += heard
            if agent.state == _SHAKING:
                self._shake(agent)
            if agent.state in (_GREETING, _IN):
                self._take_frames(agent)

    def _shake(self, agent: _Agent) -> None:
        head, end, rest = agent.heard.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"An agent was not let in: {agent.heard[:300]!r}")
        agent.heard, agent.state = rest, _GREETING
        _send(agent, self._hello)

    def _take_frames(self, agent: _Agent) -> None:
        """Whole frames are dealt with; what is not whole yet is kept."""
        heard = agent.heard
        while len(heard) >= 2:
            length, head = heard[1] & 0x7F, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                head += size
                length = int.from_bytes(heard[2:head]) if len(heard) >= head else 1 << 62
            if len(heard) < head + length:
                break
            if heard[0] == _CLOSE:
                raise RuntimeError(f"The server ended a connection: {heard[head : head + length]!r}")
            if heard[0] == _PING:
                _send(agent, _framed(_PONG, heard[head : head + length]))
            elif agent.state == _GREETING and b'"welcome"' in heard[head : head + length]:
                agent.state = _IN
                self._ready += 1
            heard = heard[head + length :]
        agent.heard = heard


class _Agent:
    """One node's connection."""

    __slots__ = ("frame", "heard", "index", "name", "pk", "socket", "state")

    def __init__(self, index: int, pk: int, name: str) -> None:
        self.index, self.pk, self.name = index, pk, name
        self.socket: socket.socket
        self.state: int | None = None
        self.frame = b""
        self.heard = b""


class _Probe:
    """How long it takes until a value that one node sends can be read."""

    def __init__(self, node_pk: int) -> None:
        self._node = node_pk
        self._value = 0
        self._since: float | None = None
        self._looked = 0.0

    def expect(self, value: int) -> list[float]:
        """This value is being sent now. The time waited for the one before, if it has still not been seen."""
        late = [] if self._since is None else [time.monotonic() - self._since]
        if self._since is None:
            self._value, self._since = value, time.monotonic()
        return late

    def look(self) -> list[float]:
        """The time waited, when the value, or a later one, has come; looked for every 20 ms."""
        from flexai.cluster.telemetry import latest

        now = time.monotonic()
        if self._since is None or now - self._looked < 0.02:
            return []
        self._looked = now
        sample = latest([self._node]).get(self._node)
        if sample is None or sample.host_cpu_permille < self._value:
            return []
        waited, self._since = now - self._since, None
        return [waited]


def _may_open(sockets: int) -> None:
    """This process, and those that it starts, may open so many sockets."""
    needed = sockets + _SPARE_FILES
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise RuntimeError(
            f"{sockets} agents need {needed} open files in one process; the hard limit here is {most} "
            f"(ulimit -Hn). Raise it, or set FLEXAI_BENCH_NODES to {most - _SPARE_FILES} at most."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if most == resource.RLIM_INFINITY else most, most))


def _enrol(nodes: int) -> list[tuple[int, str]]:
    from flexai.cluster.models import Cell, Node, NodeContact, Pool

    cell = Cell.objects.first() or Cell.objects.create(name="bench")
    pool = Pool.objects.create(cell=cell, name="bench")
    made = Node.objects.bulk_create(
        [
            Node(
                cell=cell, pool=pool, name=f"bench-{number}",
                credential_hash=hashlib.sha256(_credential(f"bench-{number}").encode()).hexdigest(),
            )
            for number in range(nodes)
        ],
        batch_size=1000,
    )  # fmt: skip
    NodeContact.objects.bulk_create([NodeContact(node=node) for node in made], batch_size=1000)
    return [(node.pk, node.name) for node in made]


def _credential(name: str) -> str:
    return f"flxa_{name}"


def _handshake(name: str) -> bytes:
    key = base64.b64encode(name.encode().ljust(16, b"-")[:16]).decode()
    return (
        f"GET /ws/agent/v1 HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {_credential(name)}\r\n\r\n"
    ).encode()


def _framed(kind: int, payload: bytes) -> bytes:
    """A masked frame with a mask of zeros, which leaves the payload as it is."""
    if len(payload) < 126:
        head = struct.pack(">BB", kind, 0x80 | len(payload))
    else:
        head = struct.pack(">BBH", kind, 0xFE, len(payload))
    return head + bytes(4) + payload


def _send(agent: _Agent, frame: bytes) -> None:
    if agent.socket.send(frame) != len(frame):
        raise RuntimeError("The server does not read.")
