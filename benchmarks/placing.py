"""How fast waiting jobs get chips on 1,000 simulated nodes of 8 chips: a backlog at once, and a steady stream.

The platform is whole: API, scheduler, worker, PostgreSQL that syncs, and a web process to which all 1,000 nodes are
connected; nodes and chips are simulated, nothing else is. A job counts from the message that tells its node, sent right
after the transaction that placed it has committed, so no figure is better than what is durable.

Peers, measured on this class of machine: kube-scheduler 357 jobs/s (paced: p50 7.1 ms, p99 16.4 ms, its store not
syncing to disk), Volcano 178 jobs/s and 263 gang replicas/s (paced: p50 9.6 s), YuniKorn 503 to 714 jobs/s.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.live import Live, platform
from flexai.client import Client
from flexai.common.events import AGENTS_CHANNEL
from flexai.embedded.home import Home
from flexai.embedded.postgres import Postgres
from flexai.embedded.valkey import Valkey

NODES = 1000
CHIPS = 8
WARM_UP = 20
PATIENCE_SECONDS = 600
Spec = dict[str, Any]
CHIP_JOB: Spec = {
    "name": "placed",
    "commands": ["true"],
    "env": {"FLEXAI_SIMULATE_SECONDS": "3600"},
    "resources": {"accelerators": "H100-80GB:1"},
}


class Placings:
    """Hears of every transaction that gave nodes something new, with the time of this process's clock."""

    def __init__(self, live: Live) -> None:
        socket = Valkey(Home(live.folder / "data").sockets / "valkey").socket
        self._channel = redis.Redis(unix_socket_path=str(socket)).pubsub()
        self._channel.subscribe(AGENTS_CHANNEL)
        self._heard: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ended.is_set():
            message = self._channel.get_message(ignore_subscribe_messages=True, timeout=0.5)
            if message is not None:
                self._heard.append((time.time(), len(json.loads(message["data"]))))

    def since(self, when: float) -> list[float]:
        """Times at which it heard, after this one, in order."""
        return [at for at, _ in list(self._heard) if at > when]

    def close(self) -> None:
        """It listens no more."""
        self._ended.set()
        self._thread.join()
        self._channel.close()


@contextmanager
def cluster() -> Iterator[tuple[Live, Client, Placings]]:
    """A platform with all nodes connected and nothing to do."""
    with (
        platform("--no-agent", "--simulate", f"{NODES}x{CHIPS}:H100-80GB") as live,
        live.client() as client,
    ):
        until(lambda: client.cluster.summary()["nodes"]["ready"] == NODES, "the nodes", 1.0)
        placings = Placings(live)
        try:
            yield live, client, placings
        finally:
            placings.close()


WANTED_SECONDS = 15
"""After so long machine code was made before, and nobody saw who looked for it."""


def warm_up(live: Live, client: Client, spec: Spec) -> None:
    """The engine's machine code is made, as it is once after an installation or an upgrade; a few such jobs have run,
    so that what is loaded at first use is there."""
    begun = time.monotonic()
    until(
        lambda: time.monotonic() - begun > WANTED_SECONDS or any(map(_makes_machine_code, live.processes())),
        "machine code to be wanted",
    )
    until(lambda: not any(map(_makes_machine_code, live.processes())), "machine code to be made", 1.0)
    ids = client.jobs.batch([{**spec, "env": {"FLEXAI_SIMULATE_SECONDS": "0"}}] * WARM_UP)
    until(lambda: client.jobs.counts().get("succeeded", 0) == len(ids), "the first jobs")


def _makes_machine_code(pid: int) -> bool:
    return b"flexai.scheduling.making" in _command_line(pid)


@contextmanager
def scheduler_stopped(live: Live) -> Iterator[None]:
    """Inside, no cycle runs: the scheduler's process is halted."""
    loops = [
        pid
        for pid in live.processes()
        if b"flexai.embedded.worker" in (line := _command_line(pid)) and b"cell." in line
    ]
    if not loops:
        raise RuntimeError("No scheduler is found among the platform's processes.")
    for pid in loops:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in loops:
            os.kill(pid, signal.SIGCONT)


def until(holds: Any, what: str, every_seconds: float = 0.05) -> None:
    """It holds afterwards. Raises RuntimeError when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE_SECONDS} s in vain for {what}")
        time.sleep(every_seconds)


def waiting(client: Client) -> int:
    """Jobs that nothing was given to yet."""
    return int(client.jobs.counts().get("queued", 0))


@dataclass(frozen=True, slots=True)
class Placed:
    """How one job was placed, by the platform's clock. Times in seconds since the epoch, spans in milliseconds."""

    submitted_at: float
    """When the API began to write it."""
    cycle_at: float
    """When the pass began that placed it."""
    read_ms: int
    decide_ms: int
    apply_ms: int
    """Without the commit."""


def placed(live: Live) -> dict[str, Placed]:
    """Every job that was placed, by its id."""
    home = Home(live.folder / "data")
    url = Postgres(home.folder / "postgres").url
    with psycopg.connect(url) as connection:
        return {row[0]: Placed(*row[1:]) for row in connection.execute(_PLACED)}


_PLACED = """
SELECT j.public_id, extract(epoch FROM j.submitted_at)::float8, extract(epoch FROM c.started_at)::float8, c.read_ms,
       c.decide_ms, c.apply_ms
  FROM jobs_event e JOIN jobs_job j ON j.id = e.job_id JOIN scheduling_cycle c ON e.cause = 'cycle-' || c.id
 WHERE e.kind = 'attempt.placed'"""


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
