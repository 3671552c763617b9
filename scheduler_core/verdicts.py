"""Why a class of jobs cannot start: from the filters' counts to reasons that hold facts (P1, X1).

What blocks most comes first: the request itself, the array's cap, the team's quota, the nodes. The nodes'
part ends with the count of every node by why it was rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

from scheduler_core.census import Why
from scheduler_core.fairness import budget_spent, is_bounded, least_charge, limits_of, user_cap
from scheduler_core.filters import Rejection
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.ranking import Ranking
from scheduler_core.reasons import (
    AskedWrongly,
    BudgetSpent,
    ChipsTooSmall,
    ChipsUnhealthy,
    HeldByStrangers,
    HostTooSmall,
    IsolationNotEnforced,
    NodesNotReady,
    NodesRejected,
    NodesTooSmall,
    NoImages,
    NoNodes,
    NoRoomForSlice,
    NoSuchChips,
    NotEnoughFreeChips,
    NotEnoughHostCpu,
    NotEnoughHostMemory,
    NotEnoughNodes,
    NotEnoughRoom,
    NotEnoughTogether,
    OutsideGuarantee,
    Reason,
    SetCapReached,
    TeamLimit,
    UserCapReached,
)
from scheduler_core.request import wants_chips
from scheduler_core.slices import percent
from scheduler_core.wording import chips, cores, memory, pools


def reasons_to_wait(kind: JobClass, ledger: Ledger, placer: Placer) -> tuple[Reason, ...]:
    """Why no job of this class could start on this ledger, most blocking first; empty when one could. Of
    several alternatives (P5) each has its reasons.
    """
    if not kind.others:
        return _reasons_of_one(kind, ledger, placer)
    told: list[Reason] = []
    for choice in kind.alternatives():
        reasons = _reasons_of_one(choice, ledger, placer)
        if not reasons:
            return ()
        told += reasons
    return tuple(dict.fromkeys(told))


def _reasons_of_one(kind: JobClass, ledger: Ledger, placer: Placer) -> tuple[Reason, ...]:
    if kind.problem:
        return (AskedWrongly(kind.problem),)
    if (barred := bar_to(kind, ledger)) is not None:
        return (barred,)
    asked = placer.asked_by(kind)
    if not asked.rankings:
        return (NoSuchChips(where=_where(kind, ledger)),)
    as_of, answer = asked.answer
    if as_of != ledger.stamps.now:
        answer = None
    may_fit = not asked.is_known_to_be_full if answer is None else answer.enough_somewhere
    if may_fit and placer.fits(kind):
        return ()
    if answer is None:
        answer = _Answer(kind, asked.rankings, ledger, placer)
        asked.answer = ledger.stamps.now, answer
    told: tuple[Reason, ...] = answer.to(kind, ledger)
    return told


class _Answer:
    """What the nodes say to all classes that ask alike, whoever they are: found once, until a node changes."""

    def __init__(
        self, kind: JobClass, rankings: Sequence[tuple[str, Ranking]], ledger: Ledger, placer: Placer
    ) -> None:
        """`kind`: one of these classes."""
        named = kind.gang.request.chip_types
        if not named and len(rankings) > 1:
            censuses = [ranking.census for _, ranking in rankings]
            if not any(census.fitting for census in censuses):
                furthest = [census.furthest for census in censuses]
                rankings = [rankings[furthest.index(max(furthest))]]
        surveys = [_Survey(kind, *each, ledger, placer) for each in rankings]
        surveys.sort(key=lambda survey: survey.distance)
        self.enough_somewhere = any(survey.enough for survey in surveys)
        self._told = surveys if named else surveys[:1]
        """Every chip type that is named, the nearest first; where none is, the nearest alone."""
        self._count = self._told[0].count_of_nodes()
        told = [reason for survey in self._told for reason in survey.of_the_nodes]
        self._of_the_nodes = (*told, *self._count) if len(self._told) == 1 else _once(told, self._count)

    def to(self, kind: JobClass, ledger: Ledger) -> tuple[Reason, ...]:
        """Why this class waits: its team's reasons, then the nodes'."""
        if not is_bounded(ledger, kind.team, preemptible=kind.preemptible, user=kind.user):
            return self._of_the_nodes
        of_teams = [_of_the_team(kind, survey, ledger) for survey in self._told]
        if not any(of_teams):
            return self._of_the_nodes
        pairs = zip(of_teams, self._told, strict=True)
        told = [reason for team, survey in pairs for reason in (*team, *survey.of_the_nodes)]
        return _once(told, self._count)


def _once(told: Sequence[Reason], count: Sequence[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys((*told, *count)))


def bar_to(kind: JobClass, ledger: Ledger) -> Reason | None:
    """What keeps the whole class from starting, wherever there is room: its array's cap, a spent budget (F5)."""
    if (capped := cap_reached(kind, ledger)) is not None:
        return capped
    spent = budget_spent(ledger, kind.team)
    if spent is not None and all(wants_chips(gang.request) for gang in (kind.gang, *kind.others)):
        return BudgetSpent(spent.name)
    return None


def open_choices(kind: JobClass, ledger: Ledger) -> list[JobClass]:
    """The alternatives that make sense and that nothing but room, and quota, can keep from starting, in order (P5)."""
    return [choice for choice in kind.alternatives() if not choice.problem and bar_to(choice, ledger) is None]


def cap_reached(kind: JobClass, ledger: Ledger) -> SetCapReached | None:
    """The cap of the array that this class belongs to, when so many of its tasks live already."""
    if kind.set is None or kind.set_cap is None:
        return None
    live = ledger.live_of_set.get(kind.set, 0)
    return SetCapReached(kind.set_cap, live) if live >= kind.set_cap else None


class _Survey:
    """What stands in the way on one chip type of all classes that ask as this one does, whoever they are."""

    def __init__(
        self, kind: JobClass, chip_type: str, ranking: Ranking, ledger: Ledger, placer: Placer
    ) -> None:
        self.kind, self.chip_type, self.ledger = kind, chip_type, ledger
        self.ranking, self.census = ranking, ranking.census
        self.replicas, self.charged = (
            placer.on_nodes_alone(kind, chip_type) if self.census.fitting else (0, 0)
        )
        self.enough = self.replicas >= kind.gang.minimum
        self.name = chip_type if kind.gang.request.chip_types else ""
        """The type as the sentences say it: not at all where the job did not name one."""
        self.of_the_nodes: list[Reason] = [] if self.enough else self._of_the_nodes()
        """What keeps the gang from sitting anywhere."""

    @property
    def distance(self) -> tuple[int, int, int]:
        """How far this type is from taking the gang; the nearest sorts first."""
        return (0 if self.enough else 1, -self.replicas, -self.census.furthest)

    @cached_property
    def needed(self) -> int:
        """Milli-chips that quota would charge for the gang."""
        return self.charged if self.enough else self._least_charge() * self.kind.gang.minimum

    def _least_charge(self) -> int:
        """The least that quota would charge for one replica: where it would sit best, else anywhere (Q3)."""
        request = self.kind.gang.request
        if not request.chips and self.census.fitting and (found := self.ranking.best(1)):
            return found[0].charge
        return least_charge(self.ledger, request, self.chip_type)

    def count_of_nodes(self) -> list[Reason]:
        """P1: every node by why it was rejected."""
        if self.enough or not self.ledger.states:
            return []
        counts = [(-count, name) for count, name in zip(self.census.counts, _NAMES, strict=True) if count]
        counts.sort()
        return [NodesRejected(sum(self.census.counts), tuple([(name, -count) for count, name in counts]))]

    def _of_the_nodes(self) -> list[Reason]:
        nearest = self.census.nearest if not self.census.fitting else None
        if nearest is None and not self.census.fitting:
            return [NoNodes()]
        gang, reasons = self.kind.gang, list[Reason]()
        if gang.minimum > 1 and gang.within:
            each = _each(self.kind, self.name)
            reasons.append(NotEnoughTogether(gang.minimum, self.replicas, gang.within, each))
        elif gang.minimum > 1:
            short = NotEnoughNodes if gang.spread else NotEnoughRoom
            reasons.append(short(gang.minimum, self.replicas, _each(self.kind, self.name)))
        if nearest is not None:
            reasons.append(_CAUSES[nearest.why](self, nearest))
        if self.census.counts[Why.NOT_READY] and not (reasons and isinstance(reasons[-1], NodesNotReady)):
            reasons.append(_not_ready(self, Rejection(Why.NOT_READY)))
        return reasons

    @property
    def where(self) -> str:
        """Which nodes a sentence speaks of."""
        return _where(self.kind, self.ledger, ready_only=self.census.counts[Why.NOT_READY] > 0)

    @property
    def where_with_chips(self) -> str:
        """The same, for sentences about host CPU and memory."""
        if not wants_chips(self.kind.gang.request):
            return self.where
        return f"{self.where} with the {f'{self.name} ' if self.name else ''}chips for it"


def _of_the_team(kind: JobClass, survey: _Survey, ledger: Ledger) -> list[Reason]:
    """The cap on each user (F5); the limits of the team and of those above it, the nearest first; its guarantee."""
    chip_type, reasons = survey.chip_type, _of_the_user(kind, survey, ledger)
    for payer, limit in limits_of(ledger, kind.team, chip_type):
        used = ledger.used.get((payer, chip_type), 0)
        if used + survey.needed > limit:
            name = ledger.teams[payer].name
            reasons.append(TeamLimit(name, chip_type, survey.needed, used, limit))
    own = None if kind.preemptible else ledger.quotas.get((kind.team, chip_type))
    if own is not None:
        firm = ledger.firm.get((kind.team, chip_type), 0)
        if firm + survey.needed > own.guaranteed:
            name = ledger.teams[kind.team].name
            reasons.append(OutsideGuarantee(name, chip_type, survey.needed, firm, own.guaranteed))
    return reasons


def _of_the_user(kind: JobClass, survey: _Survey, ledger: Ledger) -> list[Reason]:
    """The team's cap on each of its users (F5)."""
    cap = None if kind.user is None else user_cap(ledger, kind.team, survey.chip_type)
    if cap is None or kind.user is None:
        return []
    used = ledger.of_user.get((kind.team, kind.user, survey.chip_type), 0)
    if used + survey.needed <= cap:
        return []
    return [UserCapReached(ledger.teams[kind.team].name, survey.chip_type, survey.needed, used, cap)]


def _other_pool(survey: _Survey, _: Rejection) -> Reason:
    return NoNodes(_pool_names(survey.kind, survey.ledger))


def _no_images(survey: _Survey, _: Rejection) -> Reason:
    return NoImages(_where(survey.kind, survey.ledger))


def _no_such_chips(survey: _Survey, _: Rejection) -> Reason:
    return NoSuchChips(survey.name, _where(survey.kind, survey.ledger))


def _too_few_chips(survey: _Survey, _: Rejection) -> Reason:
    largest = survey.census.most(Why.TOO_FEW_CHIPS)
    needed = survey.kind.gang.request.chips
    return NodesTooSmall(needed, largest, survey.name, _where(survey.kind, survey.ledger))


def _chips_too_small(survey: _Survey, _: Rejection) -> Reason:
    needed = survey.kind.gang.request.chip_memory
    return ChipsTooSmall(needed, survey.census.most(Why.CHIPS_TOO_SMALL), survey.name)


def _isolation(survey: _Survey, _: Rejection) -> Reason:
    wanted = survey.kind.gang.request.isolation
    return IsolationNotEnforced("" if wanted is None else wanted.value, survey.name)


def _cpu_too_small(survey: _Survey, nearest: Rejection) -> Reason:
    return HostTooSmall("cpu", nearest.also, nearest.most, survey.where_with_chips)


def _memory_too_small(survey: _Survey, nearest: Rejection) -> Reason:
    return HostTooSmall("memory", nearest.also, nearest.most, survey.where_with_chips)


def _not_ready(survey: _Survey, _: Rejection) -> Reason:
    told = tuple(why for why in survey.census.not_ready if why != "not ready")
    return NodesNotReady(survey.census.counts[Why.NOT_READY], told)


def _unhealthy(survey: _Survey, nearest: Rejection) -> Reason:
    needed = survey.kind.gang.request.chips or 1
    return ChipsUnhealthy(needed, nearest.most, survey.name, survey.where)


def _busy(survey: _Survey, nearest: Rejection) -> Reason:
    request = survey.kind.gang.request
    if not request.chips:
        return NoRoomForSlice(request.milli, request.chip_memory, nearest.most, nearest.also, survey.name)
    census, where = survey.census, survey.where
    with_chips = [Why.UNHEALTHY, Why.BUSY]
    if census.counts[Why.HOST_CPU_TOO_SMALL] or census.counts[Why.HOST_MEMORY_TOO_SMALL]:
        where = f"{where} large enough"
    else:
        with_chips.append(Why.TOO_FEW_CHIPS)
    return NotEnoughFreeChips(request.chips, census.most_also(with_chips), survey.name, where)


def _held_by_strangers(survey: _Survey, _: Rejection) -> Reason:
    return HeldByStrangers(survey.name)


def _cpu_busy(survey: _Survey, nearest: Rejection) -> Reason:
    return NotEnoughHostCpu(nearest.also, nearest.most, survey.where_with_chips)


def _memory_busy(survey: _Survey, nearest: Rejection) -> Reason:
    return NotEnoughHostMemory(nearest.also, nearest.most, survey.where_with_chips)


_CAUSES: dict[Why, Callable[[_Survey, Rejection], Reason]] = {
    Why.OTHER_POOL: _other_pool,
    Why.NO_IMAGES: _no_images,
    Why.NO_SUCH_CHIPS: _no_such_chips,
    Why.TOO_FEW_CHIPS: _too_few_chips,
    Why.CHIPS_TOO_SMALL: _chips_too_small,
    Why.ISOLATION: _isolation,
    Why.HOST_CPU_TOO_SMALL: _cpu_too_small,
    Why.HOST_MEMORY_TOO_SMALL: _memory_too_small,
    Why.NOT_READY: _not_ready,
    Why.UNHEALTHY: _unhealthy,
    Why.BUSY: _busy,
    Why.HELD_BY_STRANGERS: _held_by_strangers,
    Why.CPU_BUSY: _cpu_busy,
    Why.MEMORY_BUSY: _memory_busy,
}


_NAMES: Final = [*(why.name.lower() for why in Why), "fits"]


def _where(kind: JobClass, ledger: Ledger, *, ready_only: bool = False) -> str:
    """ "node", "ready node of pool a100" …: the nodes that the job may use."""
    of_pools = f" of {pools(_pool_names(kind, ledger))}" if kind.pools else ""
    return f"{'ready ' if ready_only else ''}node{of_pools}"


def _pool_names(kind: JobClass, ledger: Ledger) -> tuple[str, ...]:
    return tuple(_pool_name(pool, ledger) for pool in kind.pools)


def _pool_name(pool: Id, ledger: Ledger) -> str:
    row = ledger.pools.get(pool)
    return row.name if row else f"{pool}"


def _each(kind: JobClass, chip_type: str) -> str:
    """What every replica of a gang needs, in words."""
    request = kind.gang.request
    if request.chips:
        return chips(request.chips * 1000, chip_type)
    if request.milli:
        return f"{percent(request.milli)} of one {f'{chip_type} ' if chip_type else ''}chip"
    if request.chip_memory:
        return f"{memory(request.chip_memory)} of one chip's memory"
    wanted = [cores(request.cpu)] * bool(request.cpu) + [memory(request.memory)] * bool(request.memory)
    return " and ".join(wanted)
