"""Who is next (F3): teams by dominant share, inside a team by priority, submit time and id; equal jobs as one
class (P6).

From the naive version: sort all waiting jobs, try each. Two departures. A start raises its team's share, so
the order is a heap of teams, each holding a heap of its classes. And when one job of a class does not fit, no
other of that class can, since a cycle only ever uses up: the whole class leaves the line at once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from scheduler_core.fairness import Share, dominant_share
from scheduler_core.ledger import Ledger
from scheduler_core.model import Gang, Id, Job
from scheduler_core.request import problem_with

Place: TypeAlias = tuple[int, int, Id]
"""A job's place inside its team: (-priority, submitted, id); less is earlier."""


@dataclass(frozen=True, slots=True)
class JobClass:
    """What two waiting jobs must have in common for the engine to answer both alike (P6)."""

    team: Id
    organization: Id
    gang: Gang
    pools: tuple[Id, ...]
    preemptible: bool
    set: Id | None
    """Only where the set has a cap: else its tasks are like any others."""
    set_cap: int | None
    problem: str = field(init=False, compare=False)
    """What is wrong with the request (Q2); empty when it makes sense."""
    _hash: int = field(init=False, compare=False, repr=False)
    """Kept, because classes are looked up far more often than made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem", problem_with(self.gang))
        facts = (
            self.team,
            self.organization,
            self.gang,
            self.pools,
            self.preemptible,
            self.set,
            self.set_cap,
        )
        object.__setattr__(self, "_hash", hash(facts))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def of(cls, job: Job) -> JobClass:
        """The class of this job."""
        capped = job.set is not None and job.set_cap is not None
        set_, cap = (job.set, job.set_cap) if capped else (None, None)
        return cls(job.team, job.organization, job.gang, job.pools, job.preemptible, set_, cap)


@dataclass(slots=True)
class Cohort:
    """The waiting jobs of one class, in order."""

    kind: JobClass
    places: list[Place] = field(default_factory=list)


class Waiting:
    """All waiting jobs of a cell, kept in their classes."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs: dict[Id, Job] = {}
        self._cohorts: dict[JobClass, Cohort] = {}
        self._cohort_of: dict[Id, Cohort] = {}
        for job in jobs:
            self.note(job)

    def note(self, job: Job) -> None:
        """This job waits, and is now so."""
        if self.jobs.get(job.id) == job:
            return
        self.forget(job.id)
        kind = JobClass.of(job)
        cohort = self._cohorts.get(kind)
        if cohort is None:
            cohort = self._cohorts[kind] = Cohort(kind)
        insort(cohort.places, place_of(job))
        self.jobs[job.id] = job
        self._cohort_of[job.id] = cohort

    def forget(self, job_id: Id) -> None:
        """This job no longer waits; one that never did is left alone."""
        job = self.jobs.pop(job_id, None)
        if job is None:
            return
        cohort = self._cohort_of.pop(job_id)
        del cohort.places[bisect_left(cohort.places, place_of(job))]
        if not cohort.places:
            del self._cohorts[cohort.kind]

    def cohorts(self) -> list[Cohort]:
        """Every class with somebody waiting, the earliest first job first."""
        return sorted(self._cohorts.values(), key=lambda cohort: cohort.places[0])

    def line(self, ledger: Ledger) -> Line:
        """The waiting jobs in the order of this cycle."""
        return Line(self, ledger)


def place_of(job: Job) -> Place:
    """Where the job stands inside its team (F3)."""
    return (-job.priority, job.submitted, job.id)


@dataclass(frozen=True, slots=True)
class Turn:
    """It is this job's turn."""

    job: Job
    cohort: Cohort
    index: int
    """Of the job in its cohort."""

    @property
    def kind(self) -> JobClass:
        return self.cohort.kind


_Heads: TypeAlias = "list[tuple[Place, int, Cohort]]"


class Line:
    """The order of one cycle. After each `next`, say whether the class stays in line."""

    def __init__(self, waiting: Waiting, ledger: Ledger) -> None:
        self._jobs = waiting.jobs
        self._ledger = ledger
        self._heads: dict[Id, _Heads] = {}
        for cohort in waiting.cohorts():
            self._heads.setdefault(cohort.kind.team, []).append((cohort.places[0], 0, cohort))
        for heads in self._heads.values():
            heapify(heads)
        self._teams: list[tuple[Share, Place, Id]] = [
            (dominant_share(ledger, team), heads[0][0], team) for team, heads in self._heads.items()
        ]
        heapify(self._teams)

    def next(self) -> Turn | None:
        """Whose turn it is; None when the line is empty."""
        if not self._teams:
            return None
        _, _, team = heappop(self._teams)
        place, index, cohort = heappop(self._heads[team])
        return Turn(self._jobs[place[2]], cohort, index)

    def go_on(self, turn: Turn) -> None:
        """The class stays in line with its next job; its team's share is taken anew."""
        index = turn.index + 1
        if index < len(turn.cohort.places):
            heappush(self._heads[turn.kind.team], (turn.cohort.places[index], index, turn.cohort))
        self.leave_out(turn)

    def leave_out(self, turn: Turn) -> None:
        """The rest of the class has left the line (P6); its team stays in it with its other classes."""
        team = turn.kind.team
        if heads := self._heads[team]:
            heappush(self._teams, (dominant_share(self._ledger, team), heads[0][0], team))

    def __iter__(self) -> Iterator[Turn]:
        """Everybody in line, as if nobody started."""
        while (turn := self.next()) is not None:
            yield turn
            self.go_on(turn)
