"""A PostgreSQL and a Valkey of one's own, and a fleet of scripted agents on plain sockets."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flexai.embedded.accounts import Account
from flexai.embedded.postgres import Postgres
from flexai.embedded.valkey import Valkey
from node_agent import protocol

SLICES = 100
"""A second in so many parts; each node sends in one of them."""
HEARTBEAT_SLICES = SLICES * protocol.HEARTBEAT_SECONDS
_CONNECTING = 50
"""Connections that are opened at once."""
_AWAKE_SECONDS = 5
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


@contextmanager
def servers(folder: Path) -> Iterator[None]:
    """PostgreSQL, with the schema, and Valkey run inside the block; Django is set up for them."""
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    postgres.prepare()
    Account(*postgres.owner()).own(valkey.folder)
    running = []
    try:
        for command in (postgres.command(), valkey.command()):
            with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
                running.append(
                    subprocess.Popen(command, stdout=log, stderr=log, **postgres.spawn_options())  # type: ignore[call-overload]
                )
        postgres.wait_ready(running[0])
        valkey.wait_ready(running[1])
        os.environ |= {
            "DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, "FLEXAI_SECRET_KEY": "only-here-" * 6,
            "FLEXAI_DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=Path(__file__).parents[1], check=True,
        )  # fmt: skip
        import django

        django.setup()
        yield
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
            process.wait(30)


@contextmanager
def web(said: Path) -> Iterator[tuple[int, int, Callable[[], None]]]:
    """One web process, set up as `flexai up` does it, that also notes how late its event loop is: port, process id, and
    what stops it."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        port = listening.getsockname()[1]
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.web_process", str(descriptor), str(said)],
            pass_fds=[descriptor], env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip

        def stop() -> None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

        try:
            yield port, process.pid, stop
        finally:
            process.kill()
            process.wait()


class _Agent:
    """One connection."""

    __slots__ = ("frame", "heard", "index", "name", "pk", "socket")

    def __init__(self, index: int, pk: int, name: str) -> None:
        self.index, self.pk, self.name = index, pk, name
        self.socket: socket.socket
        self.frame = b""
        self.heard = b""


class Fleet:
    """So many nodes of so many chips, enrolled in a cell of their own."""

    def __init__(self, nodes: int, chips: int) -> None:
        self.sent = 0
        self._connected = 0
        self._chips = chips
        self._agents = [_Agent(index, *row) for index, row in enumerate(_enrol(nodes))]
        self._read = select.epoll()
        self._by_descriptor: dict[int, _Agent] = {}
        self._values = itertools.count(1)

    def connect(self, port: int) -> None:
        """All of them are connected, have said Hello and heard Welcome. Raises AssertionError if one is refused."""
        connected = threading.Event()
        awake = threading.Thread(target=self._stay_awake, args=[connected], daemon=True)
        awake.start()
        for first in range(0, len(self._agents), _CONNECTING):
            group = self._agents[first : first + _CONNECTING]
            for agent in group:
                agent.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                agent.socket.sendall(_handshake(agent.name))
            for agent in group:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += agent.socket.recv(1)
                assert head.startswith(b"HTTP/1.1 101"), head
                agent.socket.sendall(_framed(_TEXT, protocol.encode(self._hello())))
            for agent in group:
                agent.heard = agent.socket.recv(65536)
                assert b"welcome" in agent.heard, agent.heard[:200]
                agent.heard = self._after_pings(agent, agent.heard)
                agent.socket.setblocking(False)
                agent.frame = self._frame(agent, 0)
                self._by_descriptor[agent.socket.fileno()] = agent
                self._read.register(agent.socket, select.EPOLLIN)
            self._connected += len(group)
        connected.set()
        awake.join()

    def _stay_awake(self, all_connected: threading.Event) -> None:
        """Those that are connected are heard, and answer pings, while the others are not yet: the server disconnects
        the silent."""
        told = time.monotonic()
        while not all_connected.wait(0.1):
            self._hear()
            if time.monotonic() - told >= _AWAKE_SECONDS:
                told = time.monotonic()
                for agent in self._agents[: self._connected]:
                    self._send(agent, agent.frame)
                    self.sent += 1

    def run(self, seconds: int, *, heartbeats: bool) -> list[float]:
        """Every node sends a frame a second for so long. Answers how long, each second, the newest took to be seen."""
        visible: list[float] = []
        probe = _Probe(self._agents[0].pk)
        began = time.monotonic()
        for step in range(seconds * SLICES):
            self._until(began + step / SLICES)
            for agent in self._agents[step % SLICES :: SLICES]:
                if agent.index == 0:
                    value = next(self._values) % 1000
                    agent.frame = self._frame(agent, value)
                    visible += probe.expect(value)
                self._send(agent, agent.frame)
                self.sent += 1
            if heartbeats:
                beat = _framed(_TEXT, protocol.encode(protocol.Heartbeat(sent=step + 1)))
                for agent in self._agents[step % HEARTBEAT_SLICES :: HEARTBEAT_SLICES]:
                    self._send(agent, beat)
            visible += probe.look()
            self._hear()
        return visible

    def close(self) -> None:
        """Every connection is closed."""
        for agent in self._agents:
            agent.socket.close()

    def stored(self) -> int:
        """Samples that the roll-ups in PostgreSQL stand for."""
        from django.db.models import Sum

        from flexai.cluster.models import NodeMinute

        return int(NodeMinute.objects.aggregate(all=Sum("samples"))["all"] or 0)

    def _hello(self) -> protocol.Hello:
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

    def _send(self, agent: _Agent, frame: bytes) -> None:
        sent = agent.socket.send(frame)
        assert sent == len(frame), "the server does not read"

    def _until(self, instant: float) -> None:
        left = instant - time.monotonic()
        if left > 0:
            time.sleep(left)

    def _hear(self) -> None:
        """What the server says is read; its pings are answered. A connection that it ends fails."""
        for descriptor, _ in self._read.poll(0, 1000):
            agent = self._by_descriptor[descriptor]
            heard = agent.heard + agent.socket.recv(65536)
            assert len(heard) > len(agent.heard), "the server closed a connection"
            agent.heard = self._after_pings(agent, heard)

    def _after_pings(self, agent: _Agent, heard: bytes) -> bytes:
        """The frame that has begun and is not whole yet."""
        while len(heard) >= 2:
            length, head = heard[1] & 0x7F, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                head += size
                length = int.from_bytes(heard[2:head], "big") if len(heard) >= head else 1 << 62
            if len(heard) < head + length:
                break
            assert heard[0] != _CLOSE, heard[:200]
            if heard[0] == _PING:
                self._send(agent, _framed(_PONG, heard[head : head + length]))
            heard = heard[head + length :]
        return heard


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
