"""A workload and a cluster as the rows that the engine is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from scheduler_core.model import (
    WHOLE_CHIP,
    Chip,
    Gang,
    Job,
    Node,
    Placement,
    Pool,
    Prediction,
    Quota,
    Request,
    Running,
    Snapshot,
    Team,
)
from scheduler_core.simulation.replay.state import CHIPS, CPU, MEMORY, Cluster
from scheduler_core.simulation.workload import Workload

CHIP_MEMORY = 16 * 1024
"""MiB of every chip: no workload asks for chip memory, so a slice's part is all that it decides."""
SLICE_STEP = 10
"""Milli-chips: the traces ask in hundredths of a chip."""
ORGANIZATION = 1


Quotas: TypeAlias = Mapping[str, tuple[Quota, ...]]
"""By the team's name; who is not among them has none, and no limit."""


def empty_cell(work: Workload, cluster: Cluster, quotas: Quotas) -> Snapshot:
    """The cell before the first job comes: one pool, the cluster's nodes, the workload's teams."""
    nodes, chips = [], []
    for index, capacity in enumerate(cluster.capacity.tolist()):
        node = index + 1
        nodes.append(Node(node, f"node-{node}", 1, capacity[CPU], capacity[MEMORY]))
        chip_type = work.type_names[int(cluster.types[index]).bit_length() - 1]
        chips += [Chip(100 * node + n, node, n, chip_type, CHIP_MEMORY) for n in range(capacity[CHIPS])]
    teams = tuple(
        Team(1 + number, name, ORGANIZATION, quotas=quotas.get(name, ()))
        for number, name in enumerate(work.teams)
    )
    return Snapshot(0, (Pool(1, "cell", SLICE_STEP),), tuple(nodes), tuple(chips), teams)


def gang_of(work: Workload, index: int, *, sliced: bool) -> Gang:
    """What the job asks for: slices by milli-chips where the cell can share chips, else whole chips."""
    chips, milli = int(work.chips[index]), int(work.milli[index])
    slice_ = milli if sliced and chips == 1 and milli < WHOLE_CHIP else 0
    mask, every = int(work.types[index]), (1 << len(work.type_names)) - 1
    named = () if mask & every == every or not chips else work.type_names
    request = Request(
        chips=0 if slice_ else chips,
        milli=slice_,
        chip_types=tuple(name for bit, name in enumerate(named) if mask >> bit & 1),
        in_order=False,
        cpu=int(work.cpu[index]),
        memory=int(work.memory[index]),
    )
    replicas = int(work.replicas[index])
    return Gang(request, replicas, replicas, spread=False)


def job_row(work: Workload, index: int, gang: Gang, prediction: Prediction | None, restart_ms: int) -> Job:
    """The job as it first waits. Everybody is preemptible and keeps what it has done (the protocol)."""
    return Job(
        index + 1,
        f"job-{index + 1}",
        int(work.team[index]) + 1,
        ORGANIZATION,
        1,
        gang,
        submitted=int(work.submit[index]),
        preemptible=True,
        prediction=prediction,
        checkpoint=True,
        restart_cost=restart_ms,
    )


def attempt_row(job: Job, attempt: int, placements: tuple[Placement, ...], now: int) -> Running:
    """The live attempt of the job that starts now."""
    return Running(
        attempt,
        job.id,
        job.team,
        job.organization,
        placements,
        priority=job.priority,
        preemptible=job.preemptible,
        started=now,
        user=job.user,
        gang=job.gang,
        submitted=job.submitted,
        attained=job.attained,
        prediction=job.prediction,
        checkpoint=job.checkpoint,
        restart_cost=job.restart_cost,
        times_taken=job.times_taken,
        curves=job.curves,
    )


def job_again(attempt: Running, served: int, *, taken: bool) -> Job:
    """The job of an attempt that has left, after so many further chip-ms; `taken` counts against R1's cap."""
    if attempt.gang is None:
        raise ValueError(f"attempt {attempt.id} does not say what its job asks for")
    return Job(
        attempt.job,
        f"job-{attempt.job}",
        attempt.team,
        attempt.organization,
        attempt.user,
        attempt.gang,
        submitted=attempt.submitted,
        preemptible=True,
        attained=attempt.attained + served,
        prediction=attempt.prediction,
        checkpoint=attempt.checkpoint,
        restart_cost=attempt.restart_cost,
        times_taken=attempt.times_taken + taken,
        curves=attempt.curves,
    )


def milli_of(placements: tuple[Placement, ...]) -> int:
    """Milli-chips that the placements hold."""
    return sum(share.milli for place in placements for share in place.chips)
