"""Whose size is open in a cycle, and between whom chips may change hands (E1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from scheduler_core.decision import Start, Unit
from scheduler_core.elastic import ElasticJob
from scheduler_core.fairness import budget_spent, least_charge
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, AllocationKind, Curve, Id, Job, Placement, Running
from scheduler_core.ordering import JobClass, Waiting
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy, last_beat
from scheduler_core.request import wants_chips
from scheduler_core.rights import Rights
from scheduler_core.verdicts import bar_to

MOST_WAITING: Final = 64
"""Waiting jobs of one class that one cycle makes room for."""

GroupKey: TypeAlias = tuple[str, Id, int]
"""A chip type, a team, and a priority, negative so that the highest goes first."""


@dataclass(frozen=True, slots=True)
class Player:
    """A gang whose size is open: it runs, starts in this cycle, or waits for room."""

    kind: JobClass
    """On its one chip type."""
    rule: ElasticJob
    attempt: Running | None = None
    job: Job | None = None
    start: Start | None = None
    """What the line gave it."""

    @property
    def id(self) -> Id:
        return self.rule.id

    @property
    def chip_type(self) -> str:
        return self.kind.gang.request.chip_types[0]

    @property
    def has(self) -> int:
        """Replicas for which it holds chips."""
        return len(self.start.placements) if self.start else self.rule.size


@dataclass(slots=True)
class Group:
    """The players of one team, priority and chip type; only among them chips change hands."""

    team: Id
    chip_type: str
    players: list[Player] = field(default_factory=list)


class Players:
    """Finds them, cycle after cycle."""

    def __init__(self, ledger: Ledger, placer: Placer, policy: Policy, waiting: Waiting) -> None:
        self._ledger, self._placer, self._policy, self._waiting = ledger, placer, policy, waiting
        self._now = 0
        self._rights: Rights

    def begin(self, now: int, rights: Rights) -> None:
        """Of the cycle at this instant; whom `rights` has plans for takes no part."""
        self._now, self._rights = last_beat(now), rights

    def any(self, units: Mapping[Id, Unit]) -> bool:
        """Whether there is anything elastic at all: a quick look."""
        jobs = self._waiting.jobs
        return bool(self._ledger.elastic) or (
            self._waiting.any_elastic
            and any(job.gang.minimum < job.gang.maximum for job in map(jobs.get, units) if job is not None)
        )

    def groups(self, units: Mapping[Id, Unit], passed_over: Set[Id], barred: Mapping[Id, str]) -> list[Group]:
        """Everybody whose size is open, by chip type, team and priority; who waits, only where somebody runs who
        may give. Work on `barred` nodes is left alone.
        """
        groups: dict[GroupKey, Group] = {}
        for player in (*self._live(barred), *self._starting(units, passed_over, barred)):
            key = _group_of(player)
            groups.setdefault(key, Group(player.kind.team, player.chip_type)).players.append(player)
        if any(player.attempt for group in groups.values() for player in group.players):
            for player in self._left_over(units, passed_over):
                if (key := _group_of(player)) in groups:
                    groups[key].players.append(player)
        return [groups[key] for key in sorted(groups)]

    def _live(self, barred: Mapping[Id, str]) -> Iterator[Player]:
        for attempt_id in sorted(self._ledger.elastic):
            attempt = self._ledger.running[attempt_id]
            job = job_of(attempt)
            chip_type = self._type_of(attempt.placements)
            if job is None or attempt.gang is None or not chip_type or not self._may_resize(attempt):
                continue
            if any(place.node in barred for place in attempt.placements):
                continue
            milli = sum(milli for place in attempt.placements for _, milli in self._ledger.charges(place))
            kind = self._kind(replace(job, gang=attempt.gang), chip_type)
            rule = replace(
                self._rule(attempt.job, kind, attempt.curves),
                size=len(attempt.placements),
                attained=attempt.attained + milli * max(self._now - attempt.started, 0) // WHOLE_CHIP,
                restart_cost=attempt.restart_cost + max(self._now - attempt.saved, 0),
                since_resize=self._since_resize(attempt),
            )
            yield Player(kind, rule, attempt=attempt)

    def _starting(
        self, units: Mapping[Id, Unit], without: Set[Id], barred: Mapping[Id, str]
    ) -> Iterator[Player]:
        for unit in units.values():
            job = self._waiting.jobs.get(unit.start.job)
            if job is None or job.id in without or unit.takings or job.others:
                continue
            if job.gang.minimum == job.gang.maximum:
                continue
            chip_type = self._type_of(unit.start.placements)
            if not chip_type or any(place.node in barred for place in unit.start.placements):
                continue
            kind = self._kind(job, chip_type)
            rule = replace(self._rule(job.id, kind, job.curves), attained=job.attained)
            yield Player(kind, rule, job=job, start=unit.start)

    def _left_over(self, units: Mapping[Id, Unit], without: Set[Id]) -> Iterator[Player]:
        """Waiting jobs that only room keeps from starting, in the order of their teams' lines."""
        for cohort in self._waiting.cohorts():
            kind = cohort.kind
            if kind.problem or kind.others or not wants_chips(kind.gang.request):
                continue
            if bar_to(kind, self._ledger) is not None:
                continue
            chip_type = self._placer.chip_types(kind.gang.request)[0]
            for place in cohort.places[:MOST_WAITING]:
                if place[-1] not in units and place[-1] not in without:
                    job = self._waiting.jobs[place[-1]]
                    own = self._kind(job, chip_type)
                    rule = replace(self._rule(job.id, own, job.curves), attained=job.attained)
                    yield Player(own, rule, job=job)

    def _may_resize(self, attempt: Running) -> bool:
        return (
            attempt.preemptible
            and attempt.checkpoint
            and attempt.kind is AllocationKind.OWNED
            and not attempt.departing
            and self._rights.may_be_resized(attempt, self._now)
            and self._since_resize(attempt) >= self.interval
            and budget_spent(self._ledger, attempt.team) is None
        )

    @property
    def interval(self) -> int:
        """Nobody is resized twice at one instant."""
        return max(self._policy.resize_interval, 1)

    def _since_resize(self, attempt: Running) -> int:
        return self._now - max(attempt.started, attempt.resized or 0)

    def _rule(self, job: Id, kind: JobClass, curves: Iterable[Curve]) -> ElasticJob:
        gang, chip_type = kind.gang, kind.gang.request.chip_types[0]
        points = next((curve.points for curve in curves if curve.chip_type == chip_type), ())
        width = max(least_charge(self._ledger, gang.request, chip_type), 1)
        return ElasticJob(job, gang.minimum, gang.maximum, 0, points, width, due=True)

    def _kind(self, job: Job, chip_type: str) -> JobClass:
        """The job's class on this chip type alone."""
        team = self._ledger.teams.get(job.team)
        kind = JobClass.of(job, self._policy, per_user=bool(team and team.user_caps))
        request = replace(job.gang.request, chip_types=(chip_type,))
        return replace(kind, gang=replace(job.gang, request=request), others=())

    def _type_of(self, placements: Iterable[Placement]) -> str:
        return next((name for place in placements for name, _ in self._ledger.charges(place)), "")


def _group_of(player: Player) -> GroupKey:
    return player.chip_type, player.kind.team, -player.kind.priority
