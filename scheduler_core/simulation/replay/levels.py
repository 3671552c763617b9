"""Service levels with moves, the rule's prototype: whoever has had least chip-time runs (ADR 0004, R1, R5, R7).

This plays the rule on the simulator's own tables. It is not the engine: what the engine does is measured by
driving `scheduler_core.Scheduler`.
"""

from __future__ import annotations

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.by_rank import (
    count_loose,
    first_in_rank,
    levels_by_service,
    make_room,
)
from scheduler_core.simulation.replay.clock import NEVER, Hidden, advance, settle
from scheduler_core.simulation.replay.moving import make_room_by_moving
from scheduler_core.simulation.replay.placing import BEST_FIT, find_place
from scheduler_core.simulation.replay.state import RUNS, STAMP, WAITS, State, dequeue, played_on, start
from scheduler_core.simulation.workload import Whole

FIRST_THRESHOLD = 60_000
"""Chip-ms: a chip-minute. Each level above is twice as wide."""
LEVELS = 32
"""Enough for 4,000 chip-years."""
MIN_RUNTIME_MS = 300_000
"""Ten restarts of 30 s: nobody is taken or moved earlier, so at most a tenth of what it holds is lost (R1)."""


def doubling_thresholds(first: int) -> tuple[int, ...]:
    """Chip-ms at which a job passes into the next level, each twice the one before."""
    return tuple(first << level for level in range(LEVELS))


class Levels:
    """The rule's prototype: levels by attained chip-time over all teams, FIFO by first start inside a level.

    A waiting job takes free capacity; else running jobs move together to make room; else it takes the place of
    jobs of higher levels, from the highest downwards. It looks again whenever something came or ended, and
    once a `min_runtime` while somebody waits and a running job passes a threshold.
    """

    def __init__(
        self,
        name: str,
        thresholds: tuple[int, ...] = doubling_thresholds(FIRST_THRESHOLD),
        min_runtime: int = MIN_RUNTIME_MS,
    ) -> None:
        self.name, self.min_runtime = name, min_runtime
        self.thresholds = np.array(thresholds, np.int64)

    def begin(self, state: State, hidden: Hidden) -> None:
        self._state, self._hidden = state, hidden
        self._play = played_on(state, _play)
        self._wake = np.full(1, NEVER, np.int64)
        self._level = np.zeros(len(state.job), np.int64)
        self._rank = np.zeros(len(state.job), np.int64)

    def play(self, instants: int) -> bool:
        rows = (self._wake, self._level, self._rank)
        return self._play(self._state, self._hidden, self.thresholds, self.min_runtime, *rows, instants)


@compiled
def _play(
    state: State,
    hidden: Hidden,
    thresholds: Whole,
    min_runtime: int,
    wake: Whole,
    level: Whole,
    rank: Whole,
    instants: int,
) -> bool:
    for _ in range(instants):
        now = advance(state, hidden, wake[0])
        if now == NEVER:
            return False
        wake[0] = NEVER
        if state.counts[WAITS] > 0:
            wake[0] = levels_by_service(state, now, thresholds, True, True, level, rank)
            serve_by_level(state, now, level, rank, min_runtime)
            if state.counts[WAITS] > 0:
                wake[0] = _next_look(state, now, max(wake[0], now + min_runtime), min_runtime)
            else:
                wake[0] = NEVER
        settle(state, hidden)
    return True


@compiled
def _next_look(state: State, now: int, crossing: int, min_runtime: int) -> int:
    """The next instant worth a look: a threshold passed, or a run that has lasted `min_runtime`."""
    then = crossing
    for index in range(state.counts[RUNS]):
        ripe = state.job[state.running[index]].started + min_runtime
        if ripe > now:
            then = min(then, ripe)
    return then if state.counts[RUNS] > 0 else NEVER


@compiled
def serve_by_level(state: State, now: int, level: Whole, rank: Whole, min_runtime: int) -> None:
    """Let the waiting jobs through in order of `rank`, each on free capacity, else by moves, else at the cost
    of higher levels. Where one of a kind finds no place, the later of its kind wait too (P6).
    """
    state.counts[STAMP] += 1
    stamp = state.counts[STAMP]
    loose = np.zeros_like(state.free)
    room, no_mix = np.empty((2, state.alloc.shape[1]), np.int64), np.zeros(1, np.int64)
    while True:
        job = first_in_rank(state, rank, stamp)
        if job < 0:
            return
        used = find_place(state.free, state, job, BEST_FIT, no_mix, room[0], room[1])
        if used == 0:
            used = make_room_by_moving(state, now, job, min_runtime, room)
        if used == 0:
            used = _take_from_the_top(state, now, job, level, rank, loose, min_runtime, room)
        if used == 0:
            state.failed[state.job[job].kind] = stamp
            continue
        dequeue(state, job)
        start(state, job, now, room[0], room[1], used)


@compiled
def _take_from_the_top(
    state: State, now: int, job: int, level: Whole, rank: Whole, loose: Whole, min_runtime: int, room: Whole
) -> int:
    """Evict for the job from as few of the highest levels as let it fit; its nodes in `room`, or 0."""
    own, above = level[job], 0
    for index in range(state.counts[RUNS]):
        above = max(above, int(level[state.running[index]]))
    used = 0
    while used == 0 and above > own:
        above -= 1
        count_loose(loose, state, now, level, above, min_runtime)
        level[job] = above
        used = make_room(state, now, job, level, rank, loose, min_runtime, room)
    level[job] = own
    return int(used)
