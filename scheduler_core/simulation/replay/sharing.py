"""The sharing incentive: no team does worse in the shared cluster than in one of its own (DRF, Themis)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.replay.policies import Policy
from scheduler_core.simulation.replay.running import Outcome, replay
from scheduler_core.simulation.replay.state import Cluster, cluster_of
from scheduler_core.simulation.workload import NODE_CHIPS, Workload

FEWEST_JOBS = 100
"""A team with fewer jobs has no mean worth holding a policy to."""
MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class Alone:
    """A team in a cluster of its own, of the size of its guarantee."""

    team: int
    chips: int
    jobs: NDArray[np.bool_]
    """The team's jobs that such a cluster can hold."""
    mean_completion: float
    """Hours."""


@dataclass(frozen=True, slots=True)
class Incentive:
    """One team under one policy: finish-time fairness is `shared` over `alone` (Mahajan et al., NSDI'20)."""

    team: str
    guarantee: int
    jobs: int
    shared: float
    alone: float

    @property
    def violated(self) -> bool:
        return self.shared > MARGIN * self.alone


def guarantees(work: Workload, chips: int) -> list[int]:
    """Chips guaranteed to every team: its share of the chip-time, rounded."""
    chip_time = work.gang_chips * work.runtime
    return [
        round(chips * int(chip_time[work.team == team].sum()) / work.chip_time)
        for team in range(len(work.teams))
    ]


def own_nodes(guarantee: int) -> Cluster:
    """A team's own cluster: nodes of eight."""
    return cluster_of(guarantee, NODE_CHIPS)


def teams_alone(
    work: Workload,
    chips: int,
    policy: Callable[[], Policy],
    *,
    own_cluster: Callable[[int], Cluster] = own_nodes,
    fewest_jobs: int = FEWEST_JOBS,
) -> list[Alone]:
    """Every team with jobs enough, replayed in a cluster of its own (of so many chips) under this policy."""
    alone = []
    for team, guarantee in enumerate(guarantees(work, chips)):
        jobs = (work.team == team) & (work.gang_chips <= guarantee)
        if (work.team == team).sum() < fewest_jobs or not jobs.any():
            continue
        outcome = replay(work.only(jobs), own_cluster(guarantee), policy())
        jobs[np.flatnonzero(jobs)[outcome.finished < 0]] = False
        done = outcome.finished >= 0
        if not done.any():
            continue
        mean = float((outcome.finished - outcome.work.submit)[done].mean()) / 3_600_000
        alone.append(Alone(team, guarantee, jobs, mean))
    return alone


def incentives(outcome: Outcome, alone: list[Alone]) -> list[Incentive]:
    """Every team's mean completion in the shared run beside the one in its own cluster."""
    work = outcome.work
    completion = (outcome.finished - work.submit) / 3_600_000
    return [
        Incentive(
            work.teams[own.team],
            own.chips,
            int(own.jobs.sum()),
            float(completion[own.jobs].mean()),
            own.mean_completion,
        )
        for own in alone
    ]
