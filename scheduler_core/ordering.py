"""Who is next (F3): teams by the service level of their next job and then by dominant share, inside a team by
priority, level, submit time and id; equal jobs as one class (P6).

From the naive version: sort all waiting jobs, try each. Two departures. A start raises its team's share, so
the order is a heap of teams, each holding a heap of its classes. And when one job of a class does not fit, no
other of that class can, since a cycle only ever uses up: the whole class leaves the line at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeAlias

from scheduler_core.bulk import counted
from scheduler_core.fairness import least_charge
from scheduler_core.ledger import Ledger
from scheduler_core.model import Choose, Gang, Id, Job, Running, Team
from scheduler_core.policy import Policy
from scheduler_core.request import problem_with, types_to_try, wants_chips
from scheduler_core.service import level_of
from scheduler_core.trial import Use

Place: TypeAlias = tuple[int, int, int, Id]
"""A job's place inside its team: (-priority, service level, submitted, id); less is earlier."""

Share: TypeAlias = tuple[int, int]
"""How much a team has of its share (`fairness.Standing`); less is earlier."""

TeamPlace: TypeAlias = tuple[int, Share]
"""A team's place among teams: the service level of its next job, then its share; less is earlier."""

DEFAULT: Final = Policy()

FIRST: Final = 4
"""Jobs of a class that are looked at in every cycle; in a full cell most classes start none."""


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
    priority: int = 50
    level: int = 0
    """The service level that it has reached (F3)."""
    user: Id | None = None
    """Only where its team caps its users (F5): else they are all alike."""
    run_time: int | None = None
    """How long it is expected to run (B1); None never ends."""
    longest: int | None = None
    """How long it may well run (B2); None never ends."""
    others: tuple[Gang, ...] = ()
    choose: Choose = Choose.EARLIEST_FINISH
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
            (self.set, self.set_cap, self.user),
            (self.priority, self.level),
            (self.run_time, self.longest),
            (self.others, self.choose),
        )
        object.__setattr__(self, "_hash", hash(facts))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def of(cls, job: Job, policy: Policy = DEFAULT, *, per_user: bool = False) -> JobClass:
        """The class of this job."""
        return cls(*_facts_of(job, policy, per_user=per_user))

    def alternatives(self) -> tuple[JobClass, ...]:
        """The class with each of its gangs alone, in order (P5)."""
        if not self.others:
            return (self,)
        return tuple(replace(self, gang=gang, others=()) for gang in (self.gang, *self.others))


Facts: TypeAlias = tuple[Any, ...]
"""What makes a class, in the order of its fields."""


def _facts_of(job: Job, policy: Policy, *, per_user: bool) -> Facts:
    capped = job.set is not None and job.set_cap is not None
    return (
        job.team,
        job.organization,
        job.gang,
        job.pools,
        job.preemptible,
        job.set if capped else None,
        job.set_cap if capped else None,
        job.priority,
        level_of(job, policy),
        job.user if per_user else None,
        expected_run(job, policy),
        longest_run(job, policy),
        job.others,
        job.choose,
    )


def inside_guarantee(kind: JobClass, chip_type: str, ledger: Ledger) -> bool:
    """Whether the team, with one more gang of this class, would still be within what it is guaranteed (R2)."""
    quota = ledger.quotas.get((kind.team, chip_type))
    if quota is None or not quota.guaranteed:
        return False
    needed = least_charge(ledger, kind.gang.request, chip_type) * kind.gang.minimum
    return ledger.own.get((kind.team, chip_type), 0) + needed <= quota.guaranteed


def expected_run(job: Job | Running, policy: Policy) -> int | None:
    """How long a job runs as far as anybody knows, in milliseconds; None never ends (B1).

    The median of what was learned, within `max_duration`; without it `max_duration`; without both the
    policy's `run_time`.
    """
    if job.endless:
        return None
    return _within(job.prediction.p50 if job.prediction else None, job.max_duration, policy.run_time)


def longest_run(job: Job | Running, policy: Policy) -> int | None:
    """The same by the ninth decile of what was learned: what B2 reckons with."""
    if job.endless:
        return None
    return _within(job.prediction.p90 if job.prediction else None, job.max_duration, policy.run_time)


def _within(learned: int | None, bound: int | None, default: int) -> int:
    if learned is None:
        return default if bound is None else bound
    return learned if bound is None else min(learned, bound)


@dataclass(slots=True)
class Cohort:
    """The waiting jobs of one class, in order."""

    kind: JobClass
    places: list[Place] = field(default_factory=list)
    jobs: list[Id] = field(default_factory=list)
    """The same by id alone."""
    apart: bool = False
    """Made for one job that stands in line by itself."""
    _first: tuple[int, ...] | None = field(default=None, repr=False, compare=False)
    """What `first` says, until somebody comes or goes."""

    @property
    def is_elastic(self) -> bool:
        return self.kind.gang.minimum < self.kind.gang.maximum

    def enter(self, place: Place) -> None:
        """The job with this place is in it."""
        last = not self.places or self.places[-1] < place
        at = len(self.places) if last else bisect_left(self.places, place)
        self.places.insert(at, place)
        self.jobs.insert(at, place[-1])
        self._first = None

    def leave(self, place: Place) -> None:
        """It no longer is."""
        at = bisect_left(self.places, place)
        del self.places[at], self.jobs[at]
        self._first = None

    def first(self) -> tuple[int, ...]:
        """When its first jobs were submitted and their ids, in order, one after another."""
        if self._first is None:
            self._first = tuple([number for place in self.places[:FIRST] for number in place[2:]])
        return self._first

    def without(self, jobs: Set[Id], count: int) -> tuple[Id, ...]:
        """All but these of its jobs, in order; so many of them are its own. Costs little where they are its first ones,
        as who starts mostly is."""
        if all(map(jobs.__contains__, self.jobs[:count])):
            return tuple(self.jobs[count:])
        return tuple([job for job in self.jobs if job not in jobs])


class Waiting:
    """All waiting jobs of a cell, kept in their classes."""

    def __init__(self, jobs: Iterable[Job], policy: Policy = DEFAULT, teams: Iterable[Team] = ()) -> None:
        self.jobs: dict[Id, Job] = {}
        self._policy = policy
        self._cohorts: dict[Facts, Cohort] = {}
        self._cohort_of: dict[Id, Cohort] = {}
        self._elastic = 0
        """Classes whose gangs may have more than their minimum."""
        self._kinds: dict[Facts, JobClass] = {}
        """Of these and some that nobody is in any more: one class is one object, which is quick to find."""
        self._in_order: list[Cohort] | None = None
        """All of them, while nobody has come or gone since they were put in order."""
        self._capping: set[Id] = {team.id for team in teams if team.user_caps}
        for job in jobs:
            self.note(job)

    def note(self, job: Job) -> None:
        """This job waits, and is now so."""
        if self.jobs.get(job.id) == job:
            return
        self.forget(job.id)
        facts = self._facts_of(job)
        cohort = self._cohorts.get(facts)
        if cohort is None:
            cohort = self._cohorts[facts] = Cohort(self._kind(facts))
            self._elastic += cohort.is_elastic
        cohort.enter(place_of(job, cohort.kind))
        self._in_order = None
        self.jobs[job.id] = job
        self._cohort_of[job.id] = cohort

    def _kind(self, facts: Facts) -> JobClass:
        kind = self._kinds.get(facts)
        if kind is None:
            if len(self._kinds) > 64 + 2 * len(self._cohorts):
                self._kinds = {facts: cohort.kind for facts, cohort in self._cohorts.items()}
            kind = self._kinds[facts] = JobClass(*facts)
        return kind

    def forget(self, job_id: Id) -> None:
        """This job no longer waits; one that never did is left alone."""
        job = self.jobs.pop(job_id, None)
        if job is None:
            return
        cohort = self._cohort_of.pop(job_id)
        cohort.leave(place_of(job, cohort.kind))
        self._in_order = None
        if not cohort.places:
            del self._cohorts[self._facts_of(job)]
            self._elastic -= cohort.is_elastic

    def note_team(self, team: Id, *, caps_users: bool) -> None:
        """The team caps its users, or does not: that decides whether their jobs are alike (F5)."""
        if caps_users == (team in self._capping):
            return
        jobs = [job for job in self.jobs.values() if job.team == team]
        for job in jobs:
            self.forget(job.id)
        (self._capping.add if caps_users else self._capping.discard)(team)
        for job in jobs:
            self.note(job)

    def _facts_of(self, job: Job) -> Facts:
        return _facts_of(job, self._policy, per_user=job.team in self._capping)

    def kind_of(self, job_id: Id) -> JobClass:
        """The class of a waiting job."""
        return self._cohort_of[job_id].kind

    @property
    def any_elastic(self) -> bool:
        """Whether anybody waits whose gang may have more than its minimum (E1)."""
        return self._elastic > 0

    def count_by_class(self, jobs: Collection[Id]) -> dict[JobClass, int]:
        """How many of these jobs wait in each class."""
        cohorts = list(filter(None, map(self._cohort_of.get, jobs)))
        return {cohort.kind: count for cohort, count in counted(cohorts)}

    def cohorts(self) -> Sequence[Cohort]:
        """Every class with somebody waiting, the earliest first job first."""
        if self._in_order is None:
            self._in_order = sorted(self._cohorts.values(), key=lambda cohort: cohort.places[0])
        return self._in_order

    def submitted_after(self, instant: int) -> Iterator[int]:
        """For each class the first of its submit times after this instant."""
        for cohort in self._cohorts.values():
            priority, level, *_ = cohort.places[0]
            at = bisect_left(cohort.places, (priority, level, instant + 1, 0))
            if at < len(cohort.places):
                yield cohort.places[at][2]

    def demand(self, ledger: Ledger) -> dict[Use, int]:
        """What each team's waiting jobs ask for, in milli-chips: each on its first alternative and there on
        the first chip type to try; gangs at their minimum (F2).
        """
        asked: dict[Use, int] = {}
        for cohort in self._cohorts.values():
            kind, request = cohort.kind, cohort.kind.gang.request
            if kind.problem or not wants_chips(request):
                continue
            for chip_type in types_to_try(request, ledger.chip_types())[:1]:
                milli = least_charge(ledger, request, chip_type) * kind.gang.minimum
                use = (kind.team, chip_type)
                asked[use] = asked.get(use, 0) + milli * len(cohort.places)
        return asked

    def line(
        self,
        standing: Callable[[Id], Share],
        ledger: Ledger,
        *,
        without: Collection[Id] = (),
        apart: Collection[Id] = (),
    ) -> Line:
        """The waiting jobs in the order of this cycle. Jobs in `without` are not in it; each of those in
        `apart` is a class of its own.
        """
        return Line(self, standing, ledger, frozenset(without), frozenset(apart))


def place_of(job: Job, kind: JobClass) -> Place:
    """Where the job stands inside its team (F3)."""
    return (-job.priority, kind.level, job.submitted, job.id)


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

    def __init__(
        self,
        waiting: Waiting,
        standing: Callable[[Id], Share],
        ledger: Ledger,
        without: frozenset[Id],
        apart: frozenset[Id],
    ) -> None:
        self._jobs = waiting.jobs
        self._standing, self._ledger = standing, ledger
        self._passed_over = without | apart
        self._heads: dict[Id, _Heads] = {}
        self._left: list[tuple[int, Cohort]] = []
        """Classes that left the line, and from which of their jobs on."""
        for cohort in waiting.cohorts():
            self._enter(cohort, 0)
        for job_id in sorted(apart - without):
            if job_id in self._jobs:
                kind = waiting.kind_of(job_id)
                alone = Cohort(kind, [place_of(self._jobs[job_id], kind)], [job_id], apart=True)
                self._heads.setdefault(kind.team, []).append((alone.places[0], 0, alone))
        for heads in self._heads.values():
            heapify(heads)
        self._teams: list[tuple[TeamPlace, Place, Id]] = [
            (self._place_of(heads), heads[0][0], team) for team, heads in self._heads.items() if heads
        ]
        heapify(self._teams)

    def next(self) -> Turn | None:
        """Whose turn it is; None when the line is empty."""
        if not self._teams:
            return None
        _, _, team = heappop(self._teams)
        place, index, cohort = heappop(self._heads[team])
        return Turn(self._jobs[place[-1]], cohort, index)

    def go_on(self, turn: Turn) -> None:
        """The class stays in line with its next job; its team's share is taken anew."""
        self._enter(turn.cohort, turn.index + 1)
        self._return(turn.kind.team)

    def leave_out(self, turn: Turn) -> None:
        """The rest of the class has left the line (P6); its team stays in it with its other classes."""
        self._left.append((turn.index, turn.cohort))
        self._return(turn.kind.team)

    def stand_aside(self, turn: Turn) -> None:
        """The job has left the line, for it holds a reservation; its class stays in line with the next."""
        if not turn.cohort.apart:
            place = turn.cohort.places[turn.index]
            self._left.append((0, Cohort(turn.kind, [place], [place[-1]], apart=True)))
            self.go_on(turn)
        else:
            self.leave_out(turn)

    def readmit(self) -> None:
        """Whoever left the line is in it again: something that was kept from them has become free."""
        left, self._left = self._left, []
        for index, cohort in left:
            self._enter(cohort, index)
        self._teams = [
            (self._place_of(heads), heads[0][0], team) for team, heads in self._heads.items() if heads
        ]
        heapify(self._teams)

    def __iter__(self) -> Iterator[Turn]:
        """Everybody in line, as if nobody started."""
        while (turn := self.next()) is not None:
            yield turn
            self.go_on(turn)

    def _enter(self, cohort: Cohort, index: int) -> None:
        """The class stands in line from this job on; those who stand elsewhere are passed over."""
        places, passed_over = cohort.places, self._passed_over
        if passed_over and not cohort.apart:
            while index < len(places) and places[index][-1] in passed_over:
                index += 1
        if index < len(places):
            heappush(self._heads.setdefault(cohort.kind.team, []), (places[index], index, cohort))

    def _return(self, team: Id) -> None:
        if heads := self._heads[team]:
            heappush(self._teams, (self._place_of(heads), heads[0][0], team))

    def _place_of(self, heads: _Heads) -> TeamPlace:
        """Where the team stands with whom it would send next. What stays inside its guarantee counts as level 0:
        levels order what is borrowed.
        """
        kind = heads[0][2].kind
        names = types_to_try(kind.gang.request, self._ledger.chip_types())
        owed = kind.level and any(inside_guarantee(kind, name, self._ledger) for name in names[:1])
        return 0 if owed else kind.level, self._standing(kind.team)
