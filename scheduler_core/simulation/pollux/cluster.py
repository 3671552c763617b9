"""The published cluster: 16 nodes of 4 chips, decided anew every 60 seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from scheduler_core.simulation.pollux.application import Placement
from scheduler_core.simulation.pollux.job import TrainingJob

NODES = 16
CHIPS_A_NODE = 4
ROUND_SECONDS = 60
MOST_ROUNDS = 7 * 24 * 60
"""A week: a run that takes longer is stuck."""

Allocation: TypeAlias = tuple[int, ...]
"""The node of each chip that a job has, equal nodes side by side."""
Allocations: TypeAlias = dict[str, Allocation]
"""By the job's name; absent is none."""


class RoundPolicy(Protocol):
    """Decides each round who has which chips."""

    fixed_batch: bool
    """Whether jobs train at the batch they were submitted with."""

    @property
    def efforts(self) -> tuple[int, int] | None:
        """The least and the most that the engine's decisions thought with (S4); None of another's."""

    def allocate(self, now: int, jobs: Sequence[TrainingJob], held: Mapping[str, Allocation]) -> Allocations:
        """Chips of every job that is to have some. `jobs` are those submitted and not completed, `now` in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one workload under one policy; times in seconds."""

    completion: dict[str, int]
    """From submission to the end, by job."""
    makespan: int
    restarts: int
    chip_seconds: int
    efforts: tuple[int, int] | None
    """The least and the most that the engine's decisions thought with (S4); None of another's."""


def simulate(jobs: Sequence[TrainingJob], policy: RoundPolicy) -> Outcome:
    """Run a workload to its end. A policy that never ends it, or gives a chip twice, is an error."""
    held: Allocations = {}
    for number in range(1, MOST_ROUNDS + 1):
        now = number * ROUND_SECONDS
        for job in jobs:
            job.pass_time(ROUND_SECONDS)
        active = [job for job in jobs if job.submission.at <= now and job.completed_at is None]
        if active:
            held = _reallocate(now, active, held, policy)
        elif all(job.completed_at is not None for job in jobs):
            return _outcome(jobs, policy)
    raise RuntimeError(f"not everything was completed after {MOST_ROUNDS} rounds")


def _reallocate(
    now: int, active: Sequence[TrainingJob], held: Allocations, policy: RoundPolicy
) -> Allocations:
    names = {job.submission.name for job in active}
    held = {name: chips for name, chips in held.items() if name in names}
    given = policy.allocate(now, active, held)
    used = Counter(node for chips in given.values() for node in chips)
    if any(count > CHIPS_A_NODE for count in used.values()):
        raise RuntimeError(f"at {now} s a node has more work than chips: {used.most_common(1)}")
    for job in active:
        name = job.submission.name
        if given.get(name, ()) != held.get(name, ()):
            job.put_on(placement_of(given.get(name, ())))
    return given


def placement_of(chips: Allocation) -> Placement:
    """Chips on each node, in the order of the allocation."""
    counts: dict[int, int] = {}
    for node in chips:
        counts[node] = counts.get(node, 0) + 1
    return tuple(counts.values())


def _outcome(jobs: Sequence[TrainingJob], policy: RoundPolicy) -> Outcome:
    ended = {job.submission.name: job.completed_at for job in jobs}
    submitted = {job.submission.name: job.submission.at for job in jobs}
    return Outcome(
        {name: at - submitted[name] for name, at in ended.items() if at is not None},
        max(at for at in ended.values() if at is not None) - min(submitted.values()),
        sum(max(job.restarts, 0) for job in jobs),
        sum(job.chip_seconds for job in jobs),
        policy.efforts,
    )
