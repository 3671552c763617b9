"""What is announced once a transaction has committed: hints for browsers, agents and scheduling loops (law 4).

A hint may be lost, doubled or late without harm: browsers poll on a gap, agents get full state on every contact, and
a loop that hears nothing runs a cycle anyway. So a broker that is down is logged and never fails a request.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import redis
from django.db import transaction

from flexai.common.broker import valkey

log = logging.getLogger(__name__)

HINTS_CHANNEL = "flexai:hints"
"""One message a transaction: a JSON list of `Hint`."""
AGENTS_CHANNEL = "flexai:agents"
"""One message a transaction: a JSON list of node primary keys whose wanted state changed."""
HINTS_EVERY_SECONDS = 0.02
"""Hints that follow others of their process within so long go out together, that much later at most: a person sees no
difference, and a web process that takes hundreds of jobs a second has dozens of messages to read instead."""


def cell_queue(cell: int) -> str:
    """The Celery queue of which a worker takes this cell's loop (primary key)."""
    return f"cell.{cell}"


def cycle_channel(cell: int) -> str:
    """Where the loop of this cell (primary key) hears that there may be something to decide; messages are empty."""
    return f"flexai:cycle:{cell}"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something a browser may be looking at has changed; it belongs to a team (public id) or to the cluster. It travels
    to the web processes as it is."""

    kind: str
    """job, logs, verdict, node, team"""
    id: str
    version: int = 0
    team: str = ""
    """Public id of the team whose members may hear it; empty with `node`: everybody signed in."""
    data: Mapping[str, object] = field(default_factory=dict)


def publish_on_commit(
    *, hints: Iterable[Hint] = (), nodes: Iterable[int] = (), cell: int | None = None
) -> None:
    """After the current transaction commits: browsers hear `hints`, the agents of `nodes` (primary keys) fetch their
    wanted state, and a cycle of `cell` (primary key) is requested."""
    transaction.on_commit(partial(_publish, tuple(hints), tuple(nodes), cell))


def _publish(hints: Sequence[Hint], nodes: tuple[int, ...], cell: int | None) -> None:
    """One round trip to the broker for everything that a transaction announces."""
    hints = _spaced.due(hints)
    if hints or nodes or cell is not None:
        _send(hints, nodes, cell)


def _send(hints: Sequence[Hint], nodes: tuple[int, ...] = (), cell: int | None = None) -> None:
    try:
        with valkey().pipeline(transaction=False) as pipe:
            if hints:
                pipe.publish(HINTS_CHANNEL, msgspec.json.encode(hints))
            if nodes:
                pipe.publish(AGENTS_CHANNEL, json.dumps(sorted(set(nodes))))
            if cell is not None:
                pipe.publish(cycle_channel(cell), b"")
            pipe.execute()
    except (redis.RedisError, OSError) as error:
        log.warning("broker not reached, the tick will heal it: %s", error)


class Spaced:
    """Lets hints pass when none passed just before; gathers those that follow, and sends them when it is time."""

    def __init__(self, send: Callable[[Sequence[Hint]], None], every_seconds: float) -> None:
        self._send = send
        self._every = every_seconds
        self._changed = threading.Condition()
        self._gathered: list[Hint] = []
        self._next_at = 0.0
        self._sender: threading.Thread | None = None

    def due(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        """The hints, to be sent now by the caller; or none: then they will be sent soon."""
        if not hints:
            return ()
        with self._changed:
            now = time.monotonic()
            if now >= self._next_at and not self._gathered:
                self._next_at = now + self._every
                return hints
            self._gathered += hints
            if len(self._gathered) == len(hints):
                self._wake()
            return ()

    def _wake(self) -> None:
        if self._sender is None or not self._sender.is_alive():
            self._sender = threading.Thread(target=self._run, name="flexai-hints", daemon=True)
            self._sender.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._gathered:
                    self._changed.wait()
                left = self._next_at - time.monotonic()
            if left > 0:
                time.sleep(left)
            with self._changed:
                hints, self._gathered = self._gathered, []
                self._next_at = time.monotonic() + self._every
            self._send(hints)


_spaced = Spaced(_send, HINTS_EVERY_SECONDS)
