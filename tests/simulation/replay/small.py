"""Workloads of a few jobs, and what became of them in seconds."""

from __future__ import annotations

from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.replay.policies import Policy
from scheduler_core.simulation.replay.running import Outcome, replay
from scheduler_core.simulation.replay.state import Cluster, cluster_of
from scheduler_core.simulation.workload import Workload, whole_chip_workload


def jobs(rows: list[tuple[int, int, int]], team: str = "a") -> Workload:
    """Jobs of one team from (submitted s, run time s, chips), in this order where submitted together."""
    return whole_chip_workload(
        "small", [(1000 * at, 1000 * length, chips, team) for at, length, chips in rows]
    )


def on_chips(chips: int) -> Cluster:
    """A cluster of so many chips, eight a node."""
    return cluster_of(chips, 8)


def played(work: Workload, cluster: Cluster, policy: Policy, *losses: NodeLoss, rejected: int = 0) -> Outcome:
    """The run; the first `rejected` starts are refused."""
    starts = tuple(range(1, rejected + 1))
    return replay(work, cluster, policy, losses=losses, rejected_starts=starts)


def ended(work: Workload, cluster: Cluster, policy: Policy) -> list[float | None]:
    """The second at which every job ended; None where it never could run."""
    return seconds(played(work, cluster, policy))


def seconds(outcome: Outcome) -> list[float | None]:
    """The second at which every job ended; None where it never could run."""
    return [None if end < 0 else end / 1000 for end in outcome.finished.tolist()]
