"""Consolidation: running jobs move so that a waiting gang fits, when all of them have a place elsewhere (R7)."""

from __future__ import annotations

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.placing import replicas_that_fit, taken_already
from scheduler_core.simulation.replay.state import CHIPS, RUNS, State, dequeue, evict, start
from scheduler_core.simulation.workload import Whole

NODES_TRIED = 8
"""Nodes looked at for each replica, those with the least to clear first: bounds the work of one attempt."""


@compiled
def make_room_by_moving(state: State, now: int, job: int, quantum: int, room: Whole) -> int:
    """Move running jobs onto free capacity elsewhere so that the whole gang fits; its nodes in `room`, or 0
    with nothing changed. Only jobs on one node move, past `quantum` ms of their run, none needlessly.
    """
    if state.free[:, CHIPS].sum() < state.job[job].gang:
        return 0
    trial = state.free.copy()
    movers = np.empty((state.counts[RUNS] + 1, 2), np.int64)
    moving = used = 0
    for _ in range(state.job[job].replicas):
        if used == room.shape[1]:
            return 0
        node, moving = _clear_a_node(state, now, job, quantum, trial, movers, moving, room, used)
        if node < 0:
            return 0
        room[0, used], room[1, used] = node, 1
        used += 1
    place = np.empty((2, 1), np.int64)
    for at in range(moving):
        evict(state, movers[at, 0], now)
    for at in range(moving):
        place[0, 0], place[1, 0] = movers[at, 1], state.job[movers[at, 0]].replicas
        dequeue(state, movers[at, 0])
        start(state, movers[at, 0], now, place[0], place[1], 1)
    return used


@compiled
def _clear_a_node(
    state: State,
    now: int,
    job: int,
    quantum: int,
    trial: Whole,
    movers: Whole,
    moving: int,
    room: Whole,
    used: int,
) -> tuple[int, int]:
    """A node on which one replica fits once the movers noted have gone; -1 if none of those tried."""
    tried = np.zeros(len(trial), np.bool_)
    for _ in range(NODES_TRIED):
        best, most = -1, -1
        for node in range(len(trial)):
            if tried[node] or taken_already(room[0], used, node) or trial[node, CHIPS] <= most:
                continue
            if replicas_that_fit(state.capacity, state, job, node) > 0:
                best, most = node, trial[node, CHIPS]
        if best < 0:
            break
        tried[best] = True
        moved = _plan_moves(state, now, job, quantum, trial, movers, moving, best, room, used)
        if moved >= 0:
            for resource in range(3):
                trial[best, resource] -= state.need[job, resource]
            return best, moved
    return -1, moving


@compiled
def _plan_moves(
    state: State,
    now: int,
    job: int,
    quantum: int,
    trial: Whole,
    movers: Whole,
    moving: int,
    node: int,
    room: Whole,
    used: int,
) -> int:
    """Note who leaves the node and where to, largest first, until one replica fits; how many are noted then,
    or -1 with `trial` as it was.
    """
    before = trial.copy()
    residents = _residents(state, now, quantum, node, movers, moving)
    planned = moving
    for resident in residents:
        if replicas_that_fit(trial, state, job, node) > 0:
            break
        if (
            trial[node, CHIPS] + state.job[resident].gang > state.need[job, CHIPS]
            and resident != residents[-1]
        ):
            smaller = _smaller_left(state, residents, resident)
            if smaller:
                continue
        goal = _destination(state, resident, trial, node, room, used)
        if goal < 0:
            continue
        for resource in range(3):
            held = state.job[resident].replicas * state.need[resident, resource]
            trial[node, resource] += held
            trial[goal, resource] -= held
        movers[planned, 0], movers[planned, 1] = resident, goal
        planned += 1
    if replicas_that_fit(trial, state, job, node) > 0:
        return planned
    trial[:] = before
    return -1


@compiled
def _smaller_left(state: State, residents: Whole, resident: int) -> bool:
    found = False
    for other in residents:
        found = found or state.job[other].gang < state.job[resident].gang
    return found


@compiled
def _residents(state: State, now: int, quantum: int, node: int, movers: Whole, moving: int) -> Whole:
    """Jobs that may leave this node, the largest first."""
    found = np.empty(state.counts[RUNS], np.int64)
    length = 0
    for index in range(state.counts[RUNS]):
        job = state.running[index]
        ran = now - state.job[job].started
        if state.job[job].alloc_nodes != 1 or state.alloc[job, 0, 0] != node or ran <= 0 or ran < quantum:
            continue
        if not taken_already(movers[:, 0], moving, job):
            found[length] = job
            length += 1
    found = np.sort(found[:length])
    sizes = np.empty(length, np.int64)
    for at in range(length):
        sizes[at] = -state.job[found[at]].gang
    return found[np.argsort(sizes, kind="mergesort")]


@compiled
def _destination(state: State, job: int, trial: Whole, node: int, room: Whole, used: int) -> int:
    """The fullest other node that takes all of the job, or -1."""
    best, least = -1, 2**62
    for other in range(len(trial)):
        if other == node or trial[other, CHIPS] >= least or taken_already(room[0], used, other):
            continue
        if replicas_that_fit(trial, state, job, other) >= state.job[job].replicas:
            best, least = other, trial[other, CHIPS]
    return best
