"""A simulated cell as columns of whole numbers, changed in place by loops: plain ones where few jobs are played,
machine code where many are.

A policy is shown this and nothing else: no column holds a run time that has not ended yet. Who changes a
column: `hold`, `release` and the queue's own functions below; the clock sets `attained` and `predicted`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from scheduler_core.compiled import Arguments, Loop, Result, compiled
from scheduler_core.simulation.workload import Whole, Workload

CHIPS, CPU, MEMORY = 0, 1, 2
"""The columns of every table of resources: whole chips, millicores, MiB."""

MACHINE_FROM: Final = 500
"""Jobs. A run of fewer takes seconds in plain Python; to make the machine code of one policy takes up to a minute."""

COMING, WAITING, RUNNING, DONE, REFUSED = 0, 1, 2, 3, 4

WIDEST_GANG_NODES = 64
"""At most so many different nodes under one gang; bounds a row of `alloc_node`."""


JOB = np.dtype(
    [
        ("submit", np.int64),
        ("team", np.int64),
        ("kind", np.int64),  # jobs of one kind ask for the same (P6)
        ("replicas", np.int64),
        ("gang", np.int64),  # chips of the whole gang
        ("types", np.int64),  # bit mask of chip types accepted
        ("status", np.int64),
        ("runs", np.int64),
        ("started", np.int64),  # start of the present run
        ("first_start", np.int64),  # -1 before it
        ("attained", np.int64),  # ms in earlier runs, restarts included
        ("predicted", np.int64),  # ms of a whole run, from jobs that ended before the submission
        ("place_of", np.int64),  # its place in `running`, or -1
        ("alloc_nodes", np.int64),  # rows of `alloc` in use
    ]
)
NODE = np.dtype([("types", np.int64), ("up", np.int64)])


class Table(np.ndarray[tuple[int], np.dtype[np.void]]):
    """Rows of named whole numbers. `table[3].status` is read and set in plain Python as it is in machine code, and as
    a plain number; `table["status"]` is the column.
    """

    _rows: list[Any]

    def __getitem__(self, key: Any) -> Any:
        return self.view(np.ndarray)[key] if isinstance(key, str) else self._rows[key]


def empty_table(rows: int, kind: np.dtype[np.void]) -> Table:
    """So many rows of zeros."""
    table = np.zeros(rows, kind).view(Table)
    numbers = table.view(np.ndarray).view(np.int64).reshape(rows, len(kind.names or ()))
    row = _row_of(kind.names or ())
    table._rows = [row(one.data) for one in numbers]
    return table


@cache
def _row_of(names: tuple[str, ...]) -> Callable[[memoryview], Any]:
    """A view of one row of a table with these columns, which are its attributes."""

    def column(at: int) -> property:
        def told(row: Any) -> int:
            return row.numbers[at]  # type: ignore[no-any-return]

        def set_to(row: Any, number: int) -> None:
            row.numbers[at] = number

        return property(told, set_to)

    class Row:
        __slots__ = ("numbers",)

        def __init__(self, numbers: memoryview) -> None:
            self.numbers = numbers

    for at, name in enumerate(names):
        setattr(Row, name, column(at))
    return Row


WAITS, RUNS, ACTIONS, STAMP, NEWS = 0, 1, 2, 3, 4
"""Places in `State.counts`: how many wait, run, were acted on and came or ended at this instant; the number of
the pass."""


class State(NamedTuple):
    """Tables by node (`capacity`, `free`, `node`), by job (`need`, `job`, `alloc`: rows of node and replicas),
    and lists whose lengths are in `counts`.
    """

    capacity: Whole
    free: Whole
    node: Table
    need: Whole
    job: Table
    alloc: Whole
    queue: Whole
    """Waiting jobs by submission."""
    running: Whole
    """Running jobs in no order."""
    actions: Whole
    """What this instant's decision did, in order: job + 1 started, -(job + 1) evicted."""
    news: Whole
    """Who came (job + 1) or ended (-(job + 1)) at this instant."""
    failed: Whole
    """By kind: the number of the pass in which it last found no place."""
    counts: Whole


class Cluster(NamedTuple):
    """Nodes: capacity by resource (whole chips, millicores, MiB) and the chip type of each as a bit."""

    capacity: Whole
    types: Whole

    @property
    def chips(self) -> int:
        return int(self.capacity[:, CHIPS].sum())


def equal_nodes(nodes: int, chips: int) -> Cluster:
    """A cluster of equal nodes, with as much host CPU and memory as anybody asks for."""
    capacity = np.tile(np.array([chips, 2**40, 2**40], np.int64), (nodes, 1))
    return Cluster(capacity, np.ones(nodes, np.int64))


def cluster_of(chips: int, node_chips: int) -> Cluster:
    """So many chips on nodes of `node_chips`; the last node holds the rest."""
    widths = [node_chips] * (chips // node_chips) + [chips % node_chips] * (chips % node_chips > 0)
    capacity = np.array([[width, 2**40, 2**40] for width in widths], np.int64)
    return Cluster(capacity, np.ones(len(widths), np.int64))


def fresh_state(cluster: Cluster, work: Workload) -> State:
    """An empty cell before the first job comes."""
    jobs, nodes = len(work), len(cluster.types)
    need = np.stack([work.chips, work.cpu, work.memory], axis=1)
    asked = np.column_stack([need, work.replicas, work.types])
    kind = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    table = empty_table(jobs, JOB)
    table["submit"], table["team"], table["kind"] = work.submit, work.team, kind
    table["replicas"], table["gang"], table["types"] = work.replicas, work.gang_chips, work.types
    table["started"] = table["first_start"] = table["place_of"] = -1
    node = empty_table(nodes, NODE)
    node["types"], node["up"] = cluster.types, 1
    widest = int(min(WIDEST_GANG_NODES, work.replicas.max(initial=1)))
    return State(
        capacity=cluster.capacity.copy(),
        free=cluster.capacity.copy(),
        node=node,
        need=need,
        job=table,
        alloc=np.zeros((jobs, widest, 2), np.int64),
        queue=np.zeros(jobs, np.int64),
        running=np.zeros(jobs, np.int64),
        actions=np.zeros(4 * jobs + 16, np.int64),
        news=np.zeros(2 * jobs + 16, np.int64),
        failed=np.full(int(kind.max(initial=0)) + 1, -1, np.int64),
        counts=np.zeros(5, np.int64),
    )


def played_on(state: State, loop: Loop[Arguments, Result]) -> Callable[Arguments, Result]:
    """The loop as machine code where there are `MACHINE_FROM` jobs or more, else as plain Python; both do the same."""
    return loop.machine if len(state.job) >= MACHINE_FROM else loop.plain


@compiled
def enqueue(state: State, job: int) -> None:
    """The job waits, at its place by submission."""
    queue, length = state.queue, state.counts[WAITS]
    at = length
    while at > 0 and queue[at - 1] > job:
        queue[at] = queue[at - 1]
        at -= 1
    queue[at] = job
    state.counts[WAITS] = length + 1
    state.job[job].status = WAITING


@compiled
def dequeue(state: State, job: int) -> None:
    """The job no longer waits."""
    length = state.counts[WAITS]
    at = np.searchsorted(state.queue[:length], job)
    for after in range(at, length - 1):
        state.queue[after] = state.queue[after + 1]
    state.counts[WAITS] = length - 1


@compiled
def start(state: State, job: int, now: int, nodes: Whole, replicas: Whole, used: int) -> None:
    """The waiting job runs from now on these `used` nodes; it must be taken off the queue by the caller."""
    for at in range(used):
        node = nodes[at]
        state.alloc[job, at, 0] = node
        state.alloc[job, at, 1] = replicas[at]
        for resource in range(3):
            state.free[node, resource] -= replicas[at] * state.need[job, resource]
    state.job[job].alloc_nodes = used
    state.job[job].place_of = state.counts[RUNS]
    state.running[state.counts[RUNS]] = job
    state.counts[RUNS] += 1
    state.job[job].status = RUNNING
    state.job[job].started = now
    state.job[job].runs += 1
    if state.job[job].first_start < 0:
        state.job[job].first_start = now
    state.actions[state.counts[ACTIONS]] = job + 1
    state.counts[ACTIONS] += 1


@compiled
def release(state: State, job: int, now: int) -> None:
    """The running job holds nothing any more; what it ran counts as attained."""
    for at in range(state.job[job].alloc_nodes):
        for resource in range(3):
            held = state.alloc[job, at, 1] * state.need[job, resource]
            state.free[state.alloc[job, at, 0], resource] += held
    last = state.running[state.counts[RUNS] - 1]
    state.running[state.job[job].place_of] = last
    state.job[last].place_of = state.job[job].place_of
    state.job[job].place_of = -1
    state.counts[RUNS] -= 1
    state.job[job].attained += now - state.job[job].started


@compiled
def end(state: State, job: int, now: int) -> None:
    """The running job is done."""
    release(state, job, now)
    state.job[job].status = DONE


@compiled
def evict(state: State, job: int, now: int) -> None:
    """The running job waits again, with its first submission."""
    release(state, job, now)
    enqueue(state, job)
    state.actions[state.counts[ACTIONS]] = -(job + 1)
    state.counts[ACTIONS] += 1
