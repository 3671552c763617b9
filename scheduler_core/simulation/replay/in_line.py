"""Policies that never take back: strict FIFO, greedy (best fit, FGD), FIFO with EASY backfill."""

from __future__ import annotations

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.placing import find_place, replicas_that_fit
from scheduler_core.simulation.replay.state import RUNS, STAMP, WAITS, State, start
from scheduler_core.simulation.workload import Whole

STRICT, GREEDY, EASY = 0, 1, 2
NEVER = 2**62
NOT_YET = -1


@compiled
def serve_in_line(state: State, now: int, manner: int, packing: int, mix: Whole) -> None:
    """Start from the head of the queue what fits. The first that does not fit stops the line (STRICT), is
    passed over (GREEDY), or is promised the earliest instant at which it fits by predicted ends, and others
    pass only where they cannot delay it (EASY; Lifka, 1995).
    """
    state.counts[STAMP] += 1
    stamp = state.counts[STAMP]
    room = np.empty((2, state.alloc.shape[1]), np.int64)
    late = np.full(len(state.failed), -1, np.int64)
    first, promised, spare = -1, NOT_YET, state.free
    waiting = state.counts[WAITS]
    kept = at = 0
    while at < waiting and not (manner == STRICT and first >= 0):
        job = state.queue[at]
        at += 1
        used = 0
        if state.failed[state.job[job].kind] != stamp:
            used = find_place(state.free, state, job, packing, mix, room[0], room[1])
        if used and manner == EASY and first >= 0:
            if promised == NOT_YET:
                promised, spare = reserve(state, now, first, packing, mix)
            if now + state.job[job].predicted > promised:
                used = _beside(spare, state, job, packing, mix, room, late, stamp)
        elif used == 0:
            state.failed[state.job[job].kind] = stamp
        if used:
            start(state, job, now, room[0], room[1], used)
            continue
        first = job if first < 0 else first
        state.queue[kept] = job
        kept += 1
    for rest in range(at, waiting):
        state.queue[kept] = state.queue[rest]
        kept += 1
    state.counts[WAITS] = kept


@compiled
def _beside(
    spare: Whole, state: State, job: int, packing: int, mix: Whole, room: Whole, late: Whole, stamp: int
) -> int:
    """A place for a job that outlasts the promised instant: on what is free now and spare then. 0 if none."""
    if late[state.job[job].kind] == stamp:
        return 0
    used = find_place(np.minimum(state.free, spare), state, job, packing, mix, room[0], room[1])
    if used == 0:
        late[state.job[job].kind] = stamp
    else:
        _take(spare, state, job, room[0], room[1], used)
    return used


@compiled
def reserve(state: State, now: int, job: int, packing: int, mix: Whole) -> tuple[int, Whole]:
    """The earliest instant at which the job fits if all ends come as predicted, and what every node then has
    left beside it. NEVER where it fits at no time.
    """
    length = state.counts[RUNS]
    ends = np.empty(length, np.int64)
    for at in range(length):
        ends[at] = predicted_end(state, state.running[at], now)
    later = state.free.copy()
    fitting = 0
    for node in range(len(later)):
        fitting += replicas_that_fit(later, state, job, node)
    instant = now
    for at in np.argsort(ends, kind="mergesort"):
        if fitting >= state.job[job].replicas:
            break
        fitting += _give_back(later, state, job, state.running[at])
        instant = ends[at]
    room = np.empty((2, state.alloc.shape[1]), np.int64)
    used = find_place(later, state, job, packing, mix, room[0], room[1])
    if used == 0:
        return NEVER, later
    _take(later, state, job, room[0], room[1], used)
    return instant, later


@compiled
def predicted_end(state: State, job: int, now: int) -> int:
    """When the running job should end. A prediction that has run out is doubled until it lies ahead."""
    length = max(state.job[job].predicted, 1)
    while state.job[job].started + length <= now:
        length *= 2
    return int(state.job[job].started + length)


@compiled
def _give_back(free: Whole, state: State, job: int, ending: int) -> int:
    """What the ending job holds is free; by how many replicas the job's room grew."""
    grown = 0
    for at in range(state.job[ending].alloc_nodes):
        node = state.alloc[ending, at, 0]
        grown -= replicas_that_fit(free, state, job, node)
        for resource in range(3):
            free[node, resource] += state.alloc[ending, at, 1] * state.need[ending, resource]
        grown += replicas_that_fit(free, state, job, node)
    return grown


@compiled
def _take(free: Whole, state: State, job: int, nodes: Whole, replicas: Whole, used: int) -> None:
    for at in range(used):
        for resource in range(3):
            free[nodes[at], resource] -= replicas[at] * state.need[job, resource]
