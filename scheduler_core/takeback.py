"""What is taken from running work so that a waiting gang fits (R1, R2, R6, R7).

The rungs are tried in order, least disturbing first (R1): only shrinking elastic work, then moves, then also
work that goes on from a checkpoint, then all that may be taken. The first that lets the gang start is used.
How one rung is searched is told in `clearing`, moves in `moves`, and by what right in `rights`.

Work is bounded by counts of the policy, never by a clock. A gang that takes starts with its minimum: what is
beyond grows later into leftover room (E1).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from scheduler_core.clearing import LOOKS_PER_NODE, Clearing, Found, most_nodes
from scheduler_core.decision import Resizing, Rung, Start, Taking, Unit
from scheduler_core.fairness import FairShares
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Job, Running
from scheduler_core.moves import Consolidation, Movers
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.policy import SECOND, Policy, next_beat
from scheduler_core.promises import Coming, hold_promise, hold_start
from scheduler_core.rights import Rights

T = TypeVar("T")

TURN: Final = 2 * SECOND
"""So long the same classes behind the first are searched; then others have their turn."""
GOLDEN: Final = 0x9E3779B97F4A7C15
"""2⁶⁴ over the golden ratio: its multiples modulo 2⁶⁴ come everywhere, whichever of them are left out."""


class TakeBack:
    """Finds what to take, cycle after cycle."""

    def __init__(self, ledger: Ledger, placer: Placer, policy: Policy) -> None:
        self._ledger = ledger
        self._placer = placer
        self._policy = policy
        self._searches = 0
        self._moves = 0
        self.rights = Rights(ledger, policy, 0, FairShares())
        self.promised: list[Id] = []
        """Jobs that were promised chips in this cycle."""
        self._cut_short = False
        """Whether a bound of the cycle ended a search: with what was decided, the next one may find more."""
        self.asked: set[JobClass] = set()
        """Classes for whom this cycle has searched."""
        self._left_out = False
        """Whether there are others for whom it might have."""
        self._movers = Movers(ledger, placer)
        self._in_vain: set[Hashable] = set()
        """What this cycle has searched for and not found, each in which state of the nodes."""

    def begin_cycle(self, now: int, shares: FairShares) -> None:
        """Nothing is taken yet; `shares` are the fair shares of this cycle (R2)."""
        self._searches = self._moves = 0
        self._cut_short = self._left_out = False
        self.asked.clear()
        self.rights = Rights(self._ledger, self._policy, now, shares)
        self.promised = []
        self._in_vain.clear()
        self._movers.begin_cycle()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to take, or the cycle has searched enough."""
        return self._searches >= self._policy.max_searches or not self._ledger.preemptible_of

    def may_search(self, kind: JobClass) -> bool:
        """Whether it is worth looking, for who comes first in line."""
        return not self.is_done and not kind.problem

    @property
    def leaves_out(self) -> bool:
        """Whether its bound keeps the cycle from searching for everybody."""
        searched = self._searches >= self._policy.max_searches > 0
        return searched and bool(self._ledger.preemptible_of)

    def whose_turn(self, left: Sequence[T]) -> Sequence[T]:
        """Of those who come behind the first in line, for whom there were searches enough: as many as a quarter of
        these. Which ones changes with every `TURN` and comes to all of them, so that nobody is kept from what is due to
        it by those before it for whom there is nothing; and no memory is needed for that (S1).
        """
        most = max(1, self._policy.max_searches // 4)
        self._left_out = len(left) > most
        first = ((self.rights.now // TURN + self._policy.seed) * GOLDEN % 2**64) * len(left) >> 64
        return (*left[first:], *left[:first])[:most]

    def turns(self, now: int) -> Iterator[int]:
        """When a search may find something that this cycle did not, other than by whose protection ends (S6)."""
        bounded = self._cut_short or self._searches >= self._policy.max_searches
        if bounded and self.promised:
            yield now
        if self._left_out:
            yield now - now % TURN + TURN
        if self.rights.swayed:
            yield next_beat(now)

    def take_for(self, job: Job, kind: JobClass, barred: Collection[Id] = ()) -> Unit | None:
        """The job's start with all that is taken for it, held in the trial as a promise; None, with nothing
        held, when it cannot start by taking or the cycle has searched enough. Nothing is taken on `barred`
        nodes: they are reserved for somebody before it (B2).
        """
        self._searches += 1
        self.rights.barred = frozenset(barred)
        search = (self._ledger.stamps.now, self.rights.barred, *_what_a_search_depends_on(kind))
        if search in self._in_vain or not self.rights.allow_anything(
            LOOKS_PER_NODE * most_nodes(kind, self._policy)
        ):
            return None
        least = replace(kind, gang=replace(kind.gang, maximum=kind.gang.minimum))
        for rung in self._rungs():
            for chip_type in self._placer.chip_types(kind.gang.request):
                mark = self._ledger.mark()
                found = self._search(rung, job, least, chip_type)
                self._ledger.rewind(mark)
                if found is not None:
                    return self._promise(job, found)
        self._in_vain.add(search)
        return None

    def _rungs(self) -> Iterator[Rung]:
        """Those on which there is something to take that was not there to be taken on the one before."""
        if self._ledger.spare:
            yield Rung.SHRINK
        if self._moves < self._policy.max_moves:
            yield Rung.MOVE
        else:
            self._cut_short = True
        yield Rung.SUSPEND
        if self._ledger.unsaved:
            yield Rung.EVICT

    def _search(self, rung: Rung, job: Job, kind: JobClass, chip_type: str) -> Found | None:
        ledger, placer, policy = self._ledger, self._placer, self._policy
        if rung is Rung.MOVE:
            left = policy.max_moves - self._moves
            self._cut_short |= left < policy.max_moves
            return Consolidation(
                kind, chip_type, ledger, placer, self.rights, policy, self._movers, left
            ).run()
        return Clearing(job, kind, chip_type, rung, ledger, placer, self.rights, policy).run()

    def _promise(self, job: Job, found: Found) -> Unit:
        """The unit, with all that it promises held in the trial."""
        unit = Unit(Start(job.id, job.version, found.placements), found.takings)
        hold_unit(self._ledger, job, unit)
        for taking in found.takings:
            self.rights.taken.add(taking.attempt)
            if taking.rung is Rung.MOVE:
                self._moves += 1
                self.promised.append(taking.job)
        self.promised.append(job.id)
        return unit


def _what_a_search_depends_on(kind: JobClass) -> tuple[Hashable, ...]:
    """What two classes must have in common for a search to find the same for both."""
    who = kind.team, kind.organization, kind.user
    return (*who, kind.preemptible, kind.priority, kind.level, kind.pools, kind.gang)


def hold_unit(ledger: Ledger, job: Job, unit: Unit) -> None:
    """The unit is held in the trial: its start, or with takings its promise and those of what moves; its
    victims still hold what they have, and are charged no longer for what they give up.
    """
    if not unit.takings:
        hold_start(ledger, job, unit.start.placements)
        return
    leaving = []
    for taking in unit.takings:
        leaving.append(_told_to_go(ledger, taking))
        if taking.rung is Rung.MOVE and (moved := job_of(ledger.running[taking.attempt])) is not None:
            hold_start(ledger, moved, taking.placements)
    hold_promise(ledger, job, unit.start.placements, Coming(leaving))


def hold_resizing(ledger: Ledger, waiting: Mapping[Id, Job], resizing: Resizing) -> None:
    """The unit is held in the trial: all its jobs are promised their places, and its attempts, which still hold
    what they have, are charged no longer.
    """
    leaving = [replace(ledger.running[attempt], leaving=True) for attempt in resizing.attempts]
    for told in leaving:
        ledger.bill(told.departing, team=told.team, preemptible=told.preemptible, sign=-1, user=told.user)
    coming = Coming(leaving)
    for start in resizing.starts:
        hold_promise(ledger, waiting[start.job], start.placements, coming)
    for told, resize in zip(leaving, resizing.resizes, strict=True):
        job = job_of(told)
        assert job is not None, "only work whose request is known is resized"
        hold_promise(ledger, job, resize.placements, coming)


def _told_to_go(ledger: Ledger, taking: Taking) -> Running:
    """The attempt as it will be known once it has been told; what departs is charged to nobody, until rewound."""
    attempt = ledger.running[taking.attempt]
    if taking.rung is Rung.SHRINK:
        going = tuple(place.replica for place in attempt.placements if place.replica not in taking.keeps)
        told = replace(attempt, going=going)
    else:
        told = replace(attempt, leaving=True)
    ledger.bill(
        told.departing, team=attempt.team, preemptible=attempt.preemptible, sign=-1, user=attempt.user
    )
    return told
