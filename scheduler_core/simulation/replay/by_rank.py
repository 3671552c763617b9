"""Policies that take back: whoever ranks first runs, at the cost of those who rank last (Tiresias and ours)."""

from __future__ import annotations

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.placing import BEST_FIT, find_place, replicas_that_fit, taken_already
from scheduler_core.simulation.replay.state import CHIPS, RUNS, STAMP, WAITS, State, dequeue, evict, start
from scheduler_core.simulation.workload import Whole

NEVER = 2**62


@compiled
def serve_by_rank(state: State, now: int, level: Whole, rank: Whole, quantum: int) -> None:
    """Let the waiting jobs through in order of `rank` (unique, lowest first; sorted by level before all). One
    starts on free capacity; else it takes the place of running jobs of a higher level that are past `quantum`
    ms of their run, no victim needlessly. Where one of a kind finds no place, the later of its kind wait too.
    """
    state.counts[STAMP] += 1
    stamp = state.counts[STAMP]
    loose = np.zeros_like(state.free)
    loose_above = -1
    room, no_mix = np.empty((2, state.alloc.shape[1]), np.int64), np.zeros(1, np.int64)
    while True:
        job = first_in_rank(state, rank, stamp)
        if job < 0:
            return
        used = find_place(state.free, state, job, BEST_FIT, no_mix, room[0], room[1])
        if used == 0:
            if loose_above != level[job]:
                loose_above = int(level[job])
                count_loose(loose, state, now, level, loose_above, quantum)
            used = make_room(state, now, job, level, rank, loose, quantum, room)
            loose_above = -1 if used else loose_above
        if used == 0:
            state.failed[state.job[job].kind] = stamp
            continue
        dequeue(state, job)
        start(state, job, now, room[0], room[1], used)


@compiled
def first_in_rank(state: State, rank: Whole, stamp: int) -> int:
    """The waiting job that ranks first among the kinds that may still find a place, or -1."""
    best = -1
    for at in range(state.counts[WAITS]):
        job = state.queue[at]
        if state.failed[state.job[job].kind] != stamp and (best < 0 or rank[job] < rank[best]):
            best = job
    return best


@compiled
def _may_go(state: State, now: int, job: int, quantum: int) -> bool:
    ran = now - state.job[job].started
    return bool(ran > 0 and ran >= quantum)


@compiled
def count_loose(loose: Whole, state: State, now: int, level: Whole, above: int, quantum: int) -> None:
    """`loose`: what running jobs above this level hold on every node and may have to give."""
    loose[:] = 0
    for index in range(state.counts[RUNS]):
        job = state.running[index]
        if level[job] > above and _may_go(state, now, job, quantum):
            _relieve(state, job, loose, 1)


@compiled
def make_room(
    state: State, now: int, job: int, level: Whole, rank: Whole, loose: Whole, quantum: int, room: Whole
) -> int:
    """Evict what must go for the job, last in rank first, none needlessly; its nodes in `room`, or 0."""
    used = _emptiest_reach(state, job, loose, room)
    if used == 0:
        return 0
    short = np.zeros_like(state.free)
    for at in range(used):
        for resource in range(3):
            need = room[1, at] * state.need[job, resource]
            short[room[0, at], resource] = need - state.free[room[0, at], resource]
    candidates = np.empty(state.counts[RUNS], np.int64)
    found = 0
    for index in range(state.counts[RUNS]):
        victim = state.running[index]
        if (
            level[victim] > level[job]
            and _may_go(state, now, victim, quantum)
            and _helps(state, victim, short)
        ):
            candidates[found] = victim
            found += 1
    candidates = candidates[:found]
    victims = candidates[np.argsort(-rank[candidates])]
    taken = 0
    while taken < found and short.max() > 0:
        _relieve(state, victims[taken], short, -1)
        taken += 1
    for at in range(taken - 1, -1, -1):
        _relieve(state, victims[at], short, 1)
        if _still_short(state, victims[at], short):
            _relieve(state, victims[at], short, -1)
            evict(state, victims[at], now)
    return used


@compiled
def _emptiest_reach(state: State, job: int, loose: Whole, room: Whole) -> int:
    """Nodes where the job fits on what is free and loose, those with most free first; how many, or 0."""
    reach = state.free + loose
    missing, used = state.job[job].replicas, 0
    while missing > 0 and used < room.shape[1]:
        best, best_free = -1, -1
        for node in range(len(reach)):
            if state.free[node, CHIPS] <= best_free or taken_already(room[0], used, node):
                continue
            if replicas_that_fit(reach, state, job, node) > 0:
                best, best_free = node, state.free[node, CHIPS]
        if best < 0:
            return 0
        room[0, used] = best
        room[1, used] = min(missing, replicas_that_fit(reach, state, job, best))
        missing -= room[1, used]
        used += 1
    return used if missing == 0 else 0


@compiled
def _helps(state: State, victim: int, short: Whole) -> bool:
    for at in range(state.job[victim].alloc_nodes):
        node = state.alloc[victim, at, 0]
        for resource in range(3):
            if short[node, resource] > 0 and state.need[victim, resource] > 0:
                return True
    return False


@compiled
def _relieve(state: State, victim: int, short: Whole, sign: int) -> None:
    for at in range(state.job[victim].alloc_nodes):
        for resource in range(3):
            held = state.alloc[victim, at, 1] * state.need[victim, resource]
            short[state.alloc[victim, at, 0], resource] += sign * held


@compiled
def _still_short(state: State, victim: int, short: Whole) -> bool:
    for at in range(state.job[victim].alloc_nodes):
        node = state.alloc[victim, at, 0]
        for resource in range(3):
            if short[node, resource] > 0:
                return True
    return False


@compiled
def levels_by_service(
    state: State, now: int, thresholds: Whole, per_chip: bool, first_started: bool, level: Whole, rank: Whole
) -> int:
    """Sets `level` (thresholds passed by attained service) and `rank` (level, then first start or submission)
    of every active job; the earliest instant after now at which a running job changes its level, or NEVER.
    """
    wake = NEVER
    for index in range(state.counts[WAITS] + state.counts[RUNS]):
        runs = index >= state.counts[WAITS]
        job = state.running[index - state.counts[WAITS]] if runs else state.queue[index]
        width = max(state.job[job].gang, 1) if per_chip else 1
        service = (state.job[job].attained + (now - state.job[job].started if runs else 0)) * width
        above = 0
        while above < len(thresholds) and thresholds[above] <= service:
            above += 1
        if runs and above < len(thresholds):
            wake = min(wake, now + (thresholds[above] - service + width - 1) // width)
        since = state.job[job].submit
        if first_started and state.job[job].first_start >= 0:
            since = state.job[job].first_start
        level[job] = above
        rank[job] = (above * 2**36 + since) * 2**18 + job
    return wake
