"""What other quotas or another budget would do, told before they are set: the next decision with and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from flexai.cluster.models import Cell
from flexai.jobs.models import Job
from flexai.scheduling.policies import policy_of
from flexai.scheduling.snapshot import take_snapshot, too_many_wait
from flexai.tenancy.quotas import QuotaLine
from scheduler_core.decision import Decision, Ground, Rung
from scheduler_core.engine import decide
from scheduler_core.model import Quota, Snapshot

MOST_NAMED: Final = 50
"""Jobs that an impact names of each kind."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A job that the next decision treats otherwise."""

    job: Job
    what: str
    """In a few words: what happens to it that would not, or what does not happen that would."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What the next decision would do otherwise. Later decisions, and jobs that nobody has submitted yet, it cannot
    know."""

    foretold: bool
    """False: too many jobs wait, nothing was decided."""
    gainers: tuple[Moved, ...] = ()
    losers: tuple[Moved, ...] = ()
    gaining: int = 0
    """How many gain, named or not."""
    losing: int = 0


def impact_of(cell_id: int, tree: Mapping[int, Sequence[QuotaLine]], now: datetime) -> Impact:
    """What these quotas would do to the cell's jobs if they were set now. `tree` has all lines of each team that it
    names, by primary key; they are right by themselves. Nothing is written."""
    return _impact(cell_id, now, lambda snapshot: _with(snapshot, tree))


def impact_of_budget(team_pk: int, *, is_spent: bool, now: datetime) -> Impact:
    """What it would do to the jobs of every cell if the team's hard budget were spent now, or were not (F5)."""

    def other(snapshot: Snapshot) -> Snapshot:
        teams = (
            replace(team, budget_left=0 if is_spent else None) if team.id == team_pk else team
            for team in snapshot.teams
        )
        return replace(snapshot, teams=tuple(teams))

    parts = [_impact(pk, now, other) for pk in Cell.objects.order_by("pk").values_list("pk", flat=True)]
    return Impact(
        foretold=all(part.foretold for part in parts),
        gainers=tuple(moved for part in parts for moved in part.gainers)[:MOST_NAMED],
        losers=tuple(moved for part in parts for moved in part.losers)[:MOST_NAMED],
        gaining=sum(part.gaining for part in parts),
        losing=sum(part.losing for part in parts),
    )


def _impact(cell_id: int, now: datetime, other: Callable[[Snapshot], Snapshot]) -> Impact:
    if too_many_wait(cell_id):
        return Impact(foretold=False)
    snapshot, policy = take_snapshot(cell_id, now), policy_of(cell_id)
    gained, lost = difference(decide(snapshot, policy), decide(other(snapshot), policy))
    return Impact(
        foretold=True,
        gainers=_named(gained),
        losers=_named(lost),
        gaining=len(gained),
        losing=len(lost),
    )


def difference(one: Decision, other: Decision) -> tuple[dict[int, str], dict[int, str]]:
    """To whom the other decision does better, and to whom worse: jobs, each with what is otherwise."""
    gained: dict[int, str] = {}
    lost: dict[int, str] = {}
    before, after = _fates(one), _fates(other)
    for job in before.keys() | after.keys():
        old, new = before.get(job, _SAME), after.get(job, _SAME)
        if old.rank != new.rank:
            (gained if new.rank > old.rank else lost)[job] = new.words or f"no longer {old.words}"
    return gained, lost


@dataclass(frozen=True, slots=True)
class _Fate:
    """What a decision does to a job; the higher the rank, the better for it."""

    rank: int
    words: str


_SAME = _Fate(0, "")
_TAKEN: Final = {
    Rung.SHRINK: _Fate(-1, "shrinks"),
    Rung.MOVE: _Fate(-2, "moves to other chips"),
    Rung.SUSPEND: _Fate(-3, "is preempted, with its checkpoint"),
    Rung.EVICT: _Fate(-4, "is preempted, without a checkpoint"),
}
_GROUNDS: Final = {
    Ground.GUARANTEE: "for a guarantee",
    Ground.FAIR_SHARE: "for a fairer share",
    Ground.PRIORITY: "for a higher priority",
}


def _fates(decision: Decision) -> dict[int, _Fate]:
    fates: dict[int, _Fate] = {}
    for unit in decision.units:
        fates[unit.start.job] = (
            _Fate(2, "starts") if not unit.takings else _Fate(1, "starts when others made room")
        )
    for taking in (*(t for unit in decision.units for t in unit.takings), *decision.relief):
        fate = _TAKEN[taking.rung]
        ground = _GROUNDS.get(taking.ground, "")
        fates[taking.job] = replace(fate, words=f"{fate.words} {ground}".strip())
    return fates


def _with(snapshot: Snapshot, tree: Mapping[int, Sequence[QuotaLine]]) -> Snapshot:
    teams = tuple(
        replace(team, quotas=tuple(_quotas(tree[team.id]))) if team.id in tree else team
        for team in snapshot.teams
    )
    return replace(snapshot, teams=teams)


def _quotas(lines: Iterable[QuotaLine]) -> Iterable[Quota]:
    for line in sorted(lines, key=lambda line: line["chip_type"]):
        yield Quota(
            line["chip_type"],
            line.get("guaranteed_milli", 0),
            line.get("limit_milli"),
            line.get("over_quota_weight", 1),
        )


def _named(words: Mapping[int, str]) -> tuple[Moved, ...]:
    jobs = Job.objects.filter(pk__in=sorted(words)[:MOST_NAMED]).select_related("team", "organization")
    return tuple(Moved(job, words[job.pk]) for job in jobs.order_by("pk"))
