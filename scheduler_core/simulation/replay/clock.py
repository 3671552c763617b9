"""The virtual clock: jobs come, run and end, nodes fail and return, and what the policy did is carried out.

Only this module holds run times. A policy decides by calling `start` and `evict` on the state; `settle` then
turns what it did into ends to come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.state import (
    ACTIONS,
    CHIPS,
    NEWS,
    REFUSED,
    RUNNING,
    RUNS,
    WAITS,
    State,
    Table,
    empty_table,
    end,
    enqueue,
    evict,
)
from scheduler_core.simulation.workload import Whole, Workload

NEVER = 2**62

NOW, COMING, ENDS, CHANGES, STARTS, REJECTIONS = 0, 1, 2, 3, 4, 5
"""Places in `Hidden.cursor`: the instant, and how many of each were dealt with (ENDS: length of the heap)."""

ALLOCATED, STRANDED, LOST, EVICTIONS, MOVES, INTERRUPTED, REJECTED, DECISIONS = 0, 1, 2, 3, 4, 5, 6, 7
"""Places in `Hidden.totals`: chip-ms held; chip-ms free while somebody waited; chip-ms spent on restarts; evictions;
of these, moves: the job runs on elsewhere at the same instant."""


SECRET = np.dtype(
    [
        ("runtime", np.int64),
        ("left", np.int64),  # of the run time
        ("began", np.int64),  # start of the present run
        ("overhead", np.int64),  # ms of the present run that start the job again
        ("launches", np.int64),
        ("finished", np.int64),  # -1 before it
        ("fits", np.int64),  # 0 for a job that the empty cluster could not hold (F6)
    ]
)


class Hidden(NamedTuple):
    """What no policy sees: run times, ends to come, faults to come, and the totals of the run."""

    job: Table
    ends: Whole
    """A heap of rows (instant, job, launch)."""
    changes: Whole
    """Rows (instant, node, 1 where it comes back), sorted."""
    rejections: Whole
    """Ordinal numbers of the starts that the cell refuses to carry out, sorted."""
    restart_ms: int
    cursor: Whole
    totals: Whole


class NodeLoss(NamedTuple):
    """The node is lost at `at` ms and back at `until`: what ran on it waits again and, like after an eviction,
    keeps its progress and pays a restart.
    """

    node: int
    at: int
    until: int


def hidden_of(
    work: Workload,
    fits: NDArray[np.bool_],
    restart_ms: int,
    losses: tuple[NodeLoss, ...],
    rejected: tuple[int, ...],
) -> Hidden:
    """The clock before the first job comes."""
    jobs = len(work)
    changes = [(loss.at, loss.node, 0) for loss in losses] + [(loss.until, loss.node, 1) for loss in losses]
    table = empty_table(jobs, SECRET)
    table["runtime"] = table["left"] = work.runtime
    table["finished"], table["fits"] = -1, fits
    return Hidden(
        job=table,
        ends=np.zeros((2 * jobs + 64, 3), np.int64),
        changes=np.array(sorted(changes), np.int64).reshape(-1, 3),
        rejections=np.array(sorted(rejected), np.int64),
        restart_ms=restart_ms,
        cursor=np.zeros(6, np.int64),
        totals=np.zeros(8, np.int64),
    )


@compiled
def advance(state: State, hidden: Hidden, wake: int) -> int:
    """Go to the next instant at which something happens, or to `wake`, and let it happen; that instant, or
    NEVER where nothing is left to happen. `state.news` tells who came and who ended.
    """
    cursor = hidden.cursor
    then = min(wake, _next_instant(state, hidden))
    if then == NEVER:
        return NEVER
    _pass_time(state, hidden, then - cursor[NOW])
    cursor[NOW] = then
    state.counts[ACTIONS] = state.counts[NEWS] = 0
    while cursor[ENDS] > 0 and hidden.ends[0, 0] <= then:
        _end_next(state, hidden, then)
    while cursor[CHANGES] < len(hidden.changes) and hidden.changes[cursor[CHANGES], 0] <= then:
        _change_node(state, hidden, then)
    while cursor[COMING] < len(state.job) and state.job[cursor[COMING]].submit <= then:
        job = cursor[COMING]
        cursor[COMING] += 1
        if hidden.job[job].fits == 1:
            enqueue(state, job)
            _tell(state, job + 1)
        else:
            state.job[job].status = REFUSED
    return then


@compiled
def settle(state: State, hidden: Hidden) -> None:
    """Carry out what the policy did at this instant."""
    now = hidden.cursor[NOW]
    hidden.totals[DECISIONS] += 1
    for at in range(state.counts[ACTIONS]):
        job = -state.actions[at] - 1
        if job >= 0 and state.job[job].status == RUNNING:
            hidden.totals[MOVES] += 1
    for at in range(state.counts[ACTIONS]):
        action = state.actions[at]
        if action > 0:
            _launch(state, hidden, action - 1, now)
        else:
            _put_aside(state, hidden, -action - 1, now)
            hidden.totals[EVICTIONS] += 1


@compiled
def _next_instant(state: State, hidden: Hidden) -> int:
    then = NEVER
    cursor = hidden.cursor
    if cursor[COMING] < len(state.job):
        then = min(then, state.job[cursor[COMING]].submit)
    if cursor[ENDS] > 0:
        then = min(then, hidden.ends[0, 0])
    if cursor[CHANGES] < len(hidden.changes):
        then = min(then, hidden.changes[cursor[CHANGES], 0])
    return then


@compiled
def _pass_time(state: State, hidden: Hidden, passed: int) -> None:
    held = free = 0
    for node in range(len(state.free)):
        held += state.capacity[node, CHIPS] - state.free[node, CHIPS]
        if state.node[node].up:
            free += state.free[node, CHIPS]
    hidden.totals[ALLOCATED] += held * passed
    if state.counts[WAITS] > 0:
        hidden.totals[STRANDED] += free * passed


@compiled
def _end_next(state: State, hidden: Hidden, now: int) -> None:
    job, launch = hidden.ends[0, 1], hidden.ends[0, 2]
    pop_end(hidden)
    if state.job[job].status != RUNNING or hidden.job[job].launches != launch:
        return
    end(state, job, now)
    hidden.totals[LOST] += hidden.job[job].overhead * state.job[job].gang
    hidden.job[job].finished = now
    _tell(state, -(job + 1))


@compiled
def _change_node(state: State, hidden: Hidden, now: int) -> None:
    at = hidden.cursor[CHANGES]
    hidden.cursor[CHANGES] += 1
    node = hidden.changes[at, 1]
    state.node[node].up = hidden.changes[at, 2]
    if state.node[node].up:
        return
    for job in np.sort(state.running[: state.counts[RUNS]]):
        if _is_on(state, job, node):
            evict(state, job, now)
            _put_aside(state, hidden, job, now)
            hidden.totals[INTERRUPTED] += 1
    state.counts[ACTIONS] = 0


@compiled
def _is_on(state: State, job: int, node: int) -> bool:
    found = False
    for at in range(state.job[job].alloc_nodes):
        found = found or state.alloc[job, at, 0] == node
    return found


@compiled
def _tell(state: State, news: int) -> None:
    state.news[state.counts[NEWS]] = news
    state.counts[NEWS] += 1


@compiled
def _launch(state: State, hidden: Hidden, job: int, now: int) -> None:
    cursor = hidden.cursor
    hidden.job[job].began = now
    hidden.job[job].overhead = hidden.restart_ms if hidden.job[job].launches > 0 else 0
    hidden.job[job].launches += 1
    cursor[STARTS] += 1
    if (
        cursor[REJECTIONS] < len(hidden.rejections)
        and hidden.rejections[cursor[REJECTIONS]] <= cursor[STARTS]
    ):
        cursor[REJECTIONS] += 1
        if state.job[job].status == RUNNING:
            evict(state, job, now)
            state.counts[ACTIONS] -= 1
            hidden.totals[REJECTED] += 1
        return
    push_end(hidden, now + hidden.job[job].overhead + hidden.job[job].left, job, hidden.job[job].launches)


@compiled
def _put_aside(state: State, hidden: Hidden, job: int, now: int) -> None:
    """What the job did since it began is kept; what it spent on starting again is lost."""
    elapsed = now - hidden.job[job].began
    restarting = min(elapsed, hidden.job[job].overhead)
    hidden.job[job].left -= elapsed - restarting
    hidden.totals[LOST] += restarting * state.job[job].gang


@compiled
def push_end(hidden: Hidden, instant: int, job: int, launch: int) -> None:
    """A row more in the heap of ends, ordered by (instant, job)."""
    if hidden.cursor[ENDS] == len(hidden.ends):
        _drop_stale_ends(hidden)
    _sift_in(hidden, instant, job, launch)


@compiled
def _sift_in(hidden: Hidden, instant: int, job: int, launch: int) -> None:
    heap, at = hidden.ends, hidden.cursor[ENDS]
    hidden.cursor[ENDS] += 1
    while at > 0:
        above = (at - 1) // 2
        if not _before(instant, job, heap[above, 0], heap[above, 1]):
            break
        heap[at] = heap[above]
        at = above
    heap[at, 0], heap[at, 1], heap[at, 2] = instant, job, launch


@compiled
def _drop_stale_ends(hidden: Hidden) -> None:
    """Ends of runs that were cut short leave the heap; at most one row a job stays."""
    rows = hidden.ends.copy()
    hidden.cursor[ENDS] = 0
    for at in range(len(rows)):
        if hidden.job[rows[at, 1]].launches == rows[at, 2]:
            _sift_in(hidden, rows[at, 0], rows[at, 1], rows[at, 2])


@compiled
def pop_end(hidden: Hidden) -> None:
    """The heap without its first row."""
    heap = hidden.ends
    hidden.cursor[ENDS] -= 1
    length = hidden.cursor[ENDS]
    instant, job, launch = heap[length, 0], heap[length, 1], heap[length, 2]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= length:
            break
        if below + 1 < length and _before(
            heap[below + 1, 0], heap[below + 1, 1], heap[below, 0], heap[below, 1]
        ):
            below += 1
        if not _before(heap[below, 0], heap[below, 1], instant, job):
            break
        heap[at] = heap[below]
        at = below
    heap[at, 0], heap[at, 1], heap[at, 2] = instant, job, launch


@compiled
def _before(instant: int, job: int, other_instant: int, other_job: int) -> bool:
    return instant < other_instant or (instant == other_instant and job < other_job)
