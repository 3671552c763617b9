"""The engine on the published cluster: `scheduler_core.Scheduler`, told by its feed, decides every round (E1).

A job tells what it has learned of its own speed: its goodput at its best batch on 1, 2, … chips. As in Pollux it
may grow to twice what it has tried (and to a node), so that its model is never asked for far more than it has
seen. It waits, runs and is resized as a gang of one chip a replica; it saves its state when it is told to leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scheduler_core import Policy, Snapshot
from scheduler_core.elastic import MICRO
from scheduler_core.model import Chip, Curve, Gang, Id, Job, Node, Pool, Request, Running, Team
from scheduler_core.simulation.driven.cell import Cell, Hooks
from scheduler_core.simulation.pollux.cluster import CHIPS_A_NODE, NODES, Allocation, Allocations
from scheduler_core.simulation.pollux.job import RESTART_SECONDS, TrainingJob

MOST_POINTS = 10**12
"""Of a curve relative to its first point: a job that promises more is wrong about itself."""
CHIP_TYPE = "T4"
ONE_CHIP = Request(chips=1)


class Flexai:
    """The engine with its default policy."""

    def __init__(self, *, fixed_batch: bool = False) -> None:
        self.fixed_batch = fixed_batch
        self._cell = Cell(_empty_cell(), Policy(), Hooks(lambda attempt: None, lambda attempt, moves: None))
        self._ids: dict[str, Id] = {}

    @property
    def efforts(self) -> tuple[int, int]:
        """The least and the most that its decisions thought with (S4)."""
        return self._cell.efforts

    def allocate(self, now: int, jobs: Sequence[TrainingJob], held: Mapping[str, Allocation]) -> Allocations:
        """Tell the engine who has come, ended and learned, let it decide, and read off who sits where."""
        cell, ms = self._cell, now * 1000
        there = {job.submission.name for job in jobs}
        attempt_of = {attempt.job: attempt for attempt in cell.running.values()}
        for name in self._ids.keys() - there:
            if (attempt := attempt_of.get(self._ids[name])) is not None:
                cell.end(attempt)
        for job in jobs:
            name = job.submission.name
            if name not in self._ids:
                self._ids[name] = len(self._ids) + 1
                cell.come(_waiting(self._ids[name], job, ms))
            elif (attempt := attempt_of.get(self._ids[name])) is not None:
                cell.tell(_as_learned(attempt, job, ms))
        cell.decide(ms)
        sits = {attempt.job: _nodes(attempt) for attempt in cell.running.values()}
        return {name: sits[job_id] for name, job_id in self._ids.items() if job_id in sits}


def _empty_cell() -> Snapshot:
    nodes = tuple(Node(n, f"node-{n}", 1, 0, 0) for n in range(1, NODES + 1))
    chips = tuple(Chip(10 * n.id + i, n.id, i, CHIP_TYPE, 16_384) for n in nodes for i in range(CHIPS_A_NODE))
    return Snapshot(0, (Pool(1, "cluster"),), nodes, chips, (Team(1, "all", 1),))


def _waiting(job_id: Id, job: TrainingJob, now: int) -> Job:
    return Job(
        job_id,
        job.submission.name,
        1,
        1,
        1,
        Gang(ONE_CHIP, 1, min(CHIPS_A_NODE, job.most_chips), spread=False),
        submitted=now,
        preemptible=True,
        checkpoint=True,
        restart_cost=RESTART_SECONDS * 1000,
    )


def _as_learned(attempt: Running, job: TrainingJob, now: int) -> Running:
    """The attempt with the speed that its job has measured so far; its state is as good as saved."""
    points = _curve(job)
    curves = (Curve(CHIP_TYPE, points),) if points else ()
    most = len(points) or min(CHIPS_A_NODE, job.most_chips)
    gang = Gang(ONE_CHIP, 1, most, spread=False)
    return replace(attempt, gang=gang, curves=curves, checkpointed=now)


def _nodes(attempt: Running) -> Allocation:
    return tuple(sorted(place.node - 1 for place in attempt.placements))


def _curve(job: TrainingJob) -> tuple[int, ...]:
    """Goodput within a node as far as one goes, across nodes beyond; nothing before the job has run."""
    if not job.most_chips_tried:
        return ()
    most = min(job.most_chips, max(CHIPS_A_NODE, 2 * job.most_chips_tried))
    within = job.goodputs(min(most, CHIPS_A_NODE), across_nodes=False)
    across = job.goodputs(most, across_nodes=True) if most > CHIPS_A_NODE else []
    points = within + across[CHIPS_A_NODE:]
    one = points[0] or max(points)
    return tuple(min(round(MICRO * point / one), MOST_POINTS) for point in points)
