"""Keeps what the scheduler saw and decided, so that an operator can replay it and ask why (X3).

A recording is a keyframe and the cycles after it. It grows in the loop's memory and becomes a row when it is
full or a minute old, written by a thread of its own: no job waits for it. A loop that dies loses that minute of it and
nothing else; one that cannot be written is told in the log with its times. Nothing is decided by recordings, so that
a lost one is a gap for whoever wants to replay, and no more. What is kept is bounded by bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import psycopg
from django.db import Error as DatabaseError
from django.db import connection, transaction

from flexai.common import clock
from flexai.common.database import prepared_cursor
from scheduler_core.decision import Decision
from scheduler_core.model import FeedEvent, Snapshot
from scheduler_core.policy import Policy
from scheduler_core.recording import RecordedCycle, Recording, digest, dump

log = logging.getLogger(__name__)

MAX_CYCLES: Final = 500
MAX_EVENTS: Final = 50_000
"""A recording is full at so many cycles or events: it replays in seconds."""
MAX_AGE_SECONDS: Final = 60.0
KEPT_BYTES: Final = 256 * 1024 * 1024
"""Of all recordings of a cell; then the oldest go."""


@dataclass(slots=True)
class Recorder:
    """The recording under way of one cell."""

    cell_id: int
    policy: Policy
    keyframe: Snapshot
    _heard: list[FeedEvent] = field(default_factory=list)
    _cycles: list[RecordedCycle] = field(default_factory=list)
    _events: int = 0
    _began: float = field(default_factory=time.monotonic)
    _last: Future[None] | None = None

    def heard(self, events: Iterable[FeedEvent]) -> None:
        """The engine was told these events."""
        self._heard.extend(events)

    def decided(self, now: int, decision: Decision) -> None:
        """The engine decided at `now` (ms since the epoch), on everything heard."""
        self._cycles.append(RecordedCycle(now, tuple(self._heard), digest(decision)))
        self._events += len(self._heard)
        self._heard.clear()

    @property
    def due(self) -> bool:
        """Whether it is to be stored now; never without a cycle."""
        if not self._cycles:
            return False
        full = len(self._cycles) >= MAX_CYCLES or self._events >= MAX_EVENTS
        return full or time.monotonic() - self._began >= MAX_AGE_SECONDS

    def cut(self, keyframe: Snapshot) -> Recording:
        """What was recorded; the next recording begins at this keyframe: what the engine knows now, all that was heard
        included."""
        recording = Recording(self.policy, self.keyframe, tuple(self._cycles))
        self.keyframe, self._began, self._events = keyframe, time.monotonic(), 0
        self._cycles.clear()
        self._heard.clear()
        return recording

    def store(self, keyframe: Snapshot) -> None:
        """What was recorded is being stored, and the next recording begins at this keyframe. Waits while the one before
        is not stored yet: no more than two are in memory."""
        if self._last is not None:
            self._last.result()
        self._last = _thread.submit(_store_beside, self.cell_id, self.cut(keyframe))


def store(cell_id: int, recording: Recording) -> None:
    """The recording is a row, and the oldest beyond `KEPT_BYTES` are gone. Raises the database's errors."""
    data, cycles = dump(recording), recording.cycles
    with transaction.atomic(), prepared_cursor() as cursor:
        row = {
            "cell": cell_id,
            "first": clock.from_ms(cycles[0].now),
            "last": clock.from_ms(cycles[-1].now),
            "cycles": len(cycles),
            "size": len(data),
            "data": data,
        }
        cursor.execute(_STORE, row)
        cursor.execute(_PRUNE, {"cell": cell_id, "kept": KEPT_BYTES})


_thread = ThreadPoolExecutor(1, "flexai-recordings")


def _store_beside(cell_id: int, recording: Recording) -> None:
    first, last = (clock.from_ms(recording.cycles[place].now) for place in (0, -1))
    try:
        store(cell_id, recording)
    except (psycopg.Error, DatabaseError):
        log.exception(
            "cell %s: its %d cycles from %s to %s cannot be replayed, their recording was not stored",
            cell_id, len(recording.cycles), first, last,
        )  # fmt: skip
    finally:
        connection.close()


_STORE = """
INSERT INTO scheduling_recording (cell_id, first_at, last_at, cycles, size, data)
VALUES (%(cell)s, %(first)s, %(last)s, %(cycles)s, %(size)s, %(data)s)"""

_PRUNE = """
DELETE FROM scheduling_recording r USING (
    SELECT id, sum(size) OVER (ORDER BY id DESC) AS newer FROM scheduling_recording WHERE cell_id = %(cell)s) old
 WHERE old.id = r.id AND old.newer > %(kept)s"""
