"""What is announced once a transaction has committed: hints for browsers, agents and the scheduling loop (law 4).

A hint may be lost, doubled or late without harm: browsers poll on a gap, agents get full state on every contact, and
the tick runs a cycle anyway. So a broker that is down is logged and never fails a request.
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
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from flexai.common.broker import valkey

log = logging.getLogger(__name__)

HINTS_CHANNEL = "flexai:hints"
"""One message a transaction: a JSON list of `Hint`."""
AGENTS_CHANNEL = "flexai:agents"
"""One message a transaction: a JSON list of node primary keys whose wanted state changed."""
HINTS_EVERY_SECONDS = 0.02
"""Hints that follow others of their process within so long go out together, that much later at most: a person sees no
difference, and a web process that takes hundreds of jobs a second has dozens of messages to read instead."""
CYCLE_TASK = "flexai.scheduling.run_cycle"
CYCLE_PENDING_MS = 2000
"""A requested cycle is not requested again until it has begun, or so long has passed (the message may be lost)."""


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
    """At most one round trip to the broker for everything that a transaction announces."""
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
                pipe.set(_pending_key(cell), 1, nx=True, px=CYCLE_PENDING_MS)
            answers = pipe.execute()
        if cell is not None and answers[-1]:
            _send_cycle(cell)
    except (redis.RedisError, OperationalError, OSError) as error:
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


def request_cycle(cell: int) -> None:
    """A cycle of this cell is on its queue, unless one is there already. Raises broker errors."""
    if valkey().set(_pending_key(cell), 1, nx=True, px=CYCLE_PENDING_MS):
        _send_cycle(cell)


def _send_cycle(cell: int) -> None:
    current_app.send_task(CYCLE_TASK, args=[cell], queue=f"cell.{cell}", ignore_result=True, retry=False)


def cycle_begins(cell: int) -> None:
    """Called by the loop before it reads: commits from now on request another cycle."""
    try:
        valkey().delete(_pending_key(cell))
    except redis.RedisError as error:
        log.warning("broker not reached, the tick will heal it: %s", error)


def _pending_key(cell: int) -> str:
    return f"flexai:cycle_pending:{cell}"
