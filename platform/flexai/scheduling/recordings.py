"""Keeps what the scheduler saw and decided, so that an operator can replay it and ask why (X3).

A recording is a keyframe and the cycles after it. It grows in the loop's memory and becomes a row when it is
full or a minute old; a loop that dies loses that minute of it and nothing else. What is kept is bounded by
bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from flexai.common import clock
from flexai.common.database import prepared_cursor
from scheduler_core.decision import Decision
from scheduler_core.model import FeedEvent, Snapshot
from scheduler_core.policy import Policy
from scheduler_core.recording import RecordedCycle, Recording, digest, dump

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

    def store(self, keyframe: Snapshot) -> None:
        """The recording is a row, the oldest beyond `KEPT_BYTES` are gone, and the next begins at this
        keyframe: what the engine knows now, all that was heard included."""
        cycles = tuple(self._cycles)
        data = dump(Recording(self.policy, self.keyframe, cycles))
        with prepared_cursor() as cursor:
            row = {
                "cell": self.cell_id,
                "first": clock.from_ms(cycles[0].now),
                "last": clock.from_ms(cycles[-1].now),
                "cycles": len(cycles),
                "size": len(data),
                "data": data,
            }
            cursor.execute(_STORE, row)
            cursor.execute(_PRUNE, {"cell": self.cell_id, "kept": KEPT_BYTES})
        self.keyframe, self._began, self._events = keyframe, time.monotonic(), 0
        self._cycles.clear()
        self._heard.clear()


_STORE = """
INSERT INTO scheduling_recording (cell_id, first_at, last_at, cycles, size, data)
VALUES (%(cell)s, %(first)s, %(last)s, %(cycles)s, %(size)s, %(data)s)"""

_PRUNE = """
DELETE FROM scheduling_recording r USING (
    SELECT id, sum(size) OVER (ORDER BY id DESC) AS newer FROM scheduling_recording WHERE cell_id = %(cell)s) old
 WHERE old.id = r.id AND old.newer > %(kept)s"""
