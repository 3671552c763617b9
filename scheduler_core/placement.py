"""Where a gang sits: whole or not at all (Q2, Q8), the best nodes first (P2), equal nodes scored once (P6).

All replicas of a gang sit on chips of one type: the types are tried in order, so that on each "the best node
first" is also complete. A slice that is given in memory may cost more quota on one chip than on another; its
score begins with that cost, which keeps it complete there too. Replicas that are to sit together are placed
in one domain of the topology after the other, so that a domain in which the gang fits is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import groupby, islice
from typing import Any, Final

from scheduler_core.fairness import is_bounded, room
from scheduler_core.filters import take_census, together
from scheduler_core.fit import Need
from scheduler_core.ledger import Ledger
from scheduler_core.model import Gang, Id, Placement, Request
from scheduler_core.ordering import JobClass
from scheduler_core.ranking import Ranking, Seat
from scheduler_core.request import types_to_try, wants_chips, wants_slice
from scheduler_core.seats import KEPT
from scheduler_core.shape import tenant
from scheduler_core.topology import domains_in_order
from scheduler_core.worth import Worth

KEEP_CYCLES: Final = 64
"""Cycles for which the ranking of a need nobody asks for is kept: about a minute at one cycle a second."""

MAX_SEATS: Final = 1 << 18
"""Seats that all needs remember together, about: 40 MB. The more needs there are, the fewer has each,"""
LEAST_KEPT: Final = 16
"""and no fewer than these."""


class Asked:
    """What classes ask for that ask alike, whoever they are."""

    __slots__ = ("answer", "asked_in", "nodes", "rankings")

    def __init__(self, rankings: tuple[tuple[str, Ranking], ...]) -> None:
        self.rankings = rankings
        """By chip type in the order to try."""
        self.asked_in = -1
        """The last cycle in which one of them did."""
        self.nodes: tuple[int, frozenset[Id]] = (-1, frozenset())
        """Of which state of the nodes it is known where those start whom nothing else bounds, and where."""
        self.answer: tuple[int, Any] = (-1, None)
        """Of which state of the nodes it was last said why they wait, and what."""

    @property
    def is_known_to_be_full(self) -> bool:
        """Whether no node can take a replica, as the count of the nodes as they are now has told."""
        return all(ranking.is_known_to_be_full for _, ranking in self.rankings)


class Placer:
    """Finds placements on a ledger, and keeps its nodes in order for every need it was asked about."""

    def __init__(self, ledger: Ledger, worth: Worth | None = None) -> None:
        """`worth` values nodes where a place is found to start at (P3)."""
        self._ledger, self._worth = ledger, worth
        self._rankings: dict[Need, Ranking] = {}
        self._of_class: dict[JobClass, Asked] = {}
        self._alike: dict[tuple[Gang, tuple[tuple[str, Ranking], ...]], Asked] = {}
        """The same, once for all classes that ask alike."""
        self._types: tuple[str, ...] = ()
        """The cell's chip types in this cycle."""
        self.forgotten = 0
        """How often rankings were forgotten: whoever keeps some asks for them anew then."""
        self._counted: dict[Ranking, None] = {}
        """For whom nodes were counted last, and what those need, in numbers; some may not be asked for any more."""
        self._numbers = together([])
        self._cycle = 0
        self._made = 0
        """Rankings so far."""

    def begin_cycle(self) -> None:
        """What has long been out of use is gone."""
        self._cycle += 1
        if self._types != self._ledger.chip_types():
            self._types = self._ledger.chip_types()
            self._of_class.clear()
            self._alike.clear()
            self.forgotten += 1
        if self._cycle % KEEP_CYCLES == 0:
            self._forget_needs_out_of_use()

    def place(self, kind: JobClass, *, valued: bool = False) -> tuple[Placement, ...]:
        """Placements for the gang, held in the ledger's trial; empty, with nothing held, when it does not
        fit. `valued`: where least is lost of the value of nodes, as far as this cycle's effort goes (P3).
        """
        if kind.problem:
            return ()
        worth = self._worth if valued and self._worth is not None and self._worth.effort else None
        for chip_type, ranking in self._by_loss(kind, worth):
            if _is_known_not_to_fit(kind.gang, ranking):
                continue
            placements = self._place_on(kind, chip_type, ranking, worth, bounded_by_team=True)
            if len(placements) >= kind.gang.minimum:
                return placements
        return ()

    def _by_loss(self, kind: JobClass, worth: Worth | None) -> Iterable[tuple[str, Ranking]]:
        """The chip types in the order to try: where none is preferred, of those that are equally fast first the one on
        which a replica costs least of a node's value. Slower ones are valued only where no faster one has done.
        """
        rankings, request = self.rankings_of(kind), kind.gang.request
        if worth is None or len(rankings) < 2 or (request.chip_types and request.in_order):
            yield from rankings
            return

        def slowness(of_type: tuple[str, Ranking]) -> int:
            return -self._ledger.speed(of_type[0])

        for _, alike in groupby(sorted(rankings, key=slowness), slowness):
            yield from _least_lost_first(list(alike), kind, worth)

    def note_asked(self, kind: JobClass) -> None:
        """The class was asked for in this cycle, and could not be placed: its verdict will need a count of nodes."""
        if not kind.problem:
            self.rankings_of(kind)

    def fits(self, kind: JobClass) -> bool:
        """Whether `place` would find placements. Nothing is held afterwards."""
        return bool(self.nodes_for(kind))

    def nodes_for(self, kind: JobClass) -> frozenset[Id]:
        """The nodes on which `place` would find placements; none where it would not. Nothing is held afterwards."""
        if is_single(kind.gang) and not kind.problem:
            return self._node_for_one(kind)
        mark = self._ledger.mark()
        placements = self.place(kind)
        self._ledger.rewind(mark)
        return frozenset(placement.node for placement in placements)

    def as_many_as_fit(
        self, kind: JobClass, chip_type: str, among: Set[Id] | None = None
    ) -> tuple[Placement, ...]:
        """As many replicas as the nodes can take, up to the gang's minimum, with the team's quota aside, on
        nodes `among` these alone; held in the ledger's trial.
        """
        ranking = self.ranking(kind, chip_type)
        return self._place_among(kind, ranking, None, None, among, bounded_by_team=False)

    def put(self, kind: JobClass, chip_type: str, node: Id, replica: int) -> Placement | None:
        """One replica on just this node as it is now, with the team's quota aside, held in the ledger's trial;
        None, with nothing held, when it does not fit there.
        """
        found = self.ranking(kind, chip_type).on(node)
        if found is None:
            return None
        placement = _placement(replica, found, kind.gang.request)
        self.hold(kind, placement)
        return placement

    def hold(self, kind: JobClass, placement: Placement) -> None:
        """One replica of a job of this class is held here in the ledger's trial, whatever it makes of the
        node.
        """
        by = tenant(kind.organization, kind.gang.request.isolation)
        self._ledger.hold(placement, team=kind.team, preemptible=kind.preemptible, by=by, user=kind.user)

    def takes(self, kind: JobClass, chip_type: str, node: Id) -> bool:
        """Whether one replica could sit on this node as it is now, with the team's quota aside."""
        return self.ranking(kind, chip_type).takes(node)

    def on_nodes_alone(self, kind: JobClass, chip_type: str) -> tuple[int, int]:
        """How many replicas, up to the gang's minimum, the nodes could take with the team's quota aside, and
        the milli-chips that quota would charge for them. Nothing is held afterwards.
        """
        ranking = self.ranking(kind, chip_type)
        known: tuple[int, int] | None = ranking.known.get(kind.gang)
        if known is None and ranking.is_known_to_be_full:
            known = ranking.known[kind.gang] = 0, 0
        elif known is None and is_single(kind.gang):
            known = ranking.known[kind.gang] = next(((1, seat.charge) for seat in ranking.best(1)), (0, 0))
        elif known is None:
            mark = self._ledger.mark()
            placements = self._place_on(kind, chip_type, ranking, None, bounded_by_team=False)
            charged = sum(milli for placement in placements for _, milli in self._ledger.charges(placement))
            self._ledger.rewind(mark)
            known = ranking.known[kind.gang] = len(placements), charged
        return known

    def count_nodes(self, kinds: Iterable[JobClass]) -> None:
        """Why nodes cannot take what these classes, and others in this cycle, ask for is known (P1)."""
        for kind in kinds:
            self.note_asked(kind)
        asked = [ranking for ranking in self._rankings.values() if ranking.asked_in == self._cycle]
        if not asked:
            return
        if len(self._counted) > 2 * len(asked) or not self._counted.keys() >= set(asked):
            self._counted = dict.fromkeys(asked)
            self._numbers = together([ranking.numbers for ranking in asked])
        counted = take_census(
            [ranking.need for ranking in self._counted], self._numbers, self._ledger.columns
        )
        for ranking, census in zip(self._counted, counted, strict=True):
            ranking.learn(census)

    def chip_types(self, request: Request) -> tuple[str, ...]:
        """The chip types to try, in order (`types_to_try`); one empty name for CPU only."""
        if not wants_chips(request):
            return ("",)
        return types_to_try(request, self._ledger.chip_types())

    def ranking(self, kind: JobClass, chip_type: str) -> Ranking:
        """The nodes for one replica of this class on this chip type, as they are now."""
        for name, ranking in self.rankings_of(kind):
            if name == chip_type:
                return ranking
        return self._ranking_for(kind, chip_type)

    def rankings_of(self, kind: JobClass) -> tuple[tuple[str, Ranking], ...]:
        """The nodes for one replica of this class on each chip type, in the order to try."""
        return self.asked_by(kind).rankings

    def asked_by(self, kind: JobClass) -> Asked:
        """What this class asks for, as do all that ask alike."""
        known = self._of_class.get(kind)
        if known is None:
            names = self.chip_types(kind.gang.request)
            rankings = tuple((name, self._ranking_for(kind, name)) for name in names)
            known = self._alike.setdefault((kind.gang, rankings), Asked(rankings))
            self._of_class[kind] = known
        if known.asked_in != self._cycle:
            known.asked_in = self._cycle
            for _, ranking in known.rankings:
                ranking.asked_in = self._cycle
        return known

    def _ranking_for(self, kind: JobClass, chip_type: str) -> Ranking:
        """Classes that need the same of a node share one ranking."""
        request = kind.gang.request
        who = tenant(kind.organization, request.isolation) if wants_slice(request) else None
        need = Need(request, chip_type, kind.pools, who)
        ranking = self._rankings.get(need)
        if ranking is None:
            kept = max(LEAST_KEPT, min(KEPT, MAX_SEATS // (len(self._rankings) + 1)))
            self._made += 1
            ranking = self._rankings[need] = Ranking(need, self._ledger, kept, self._made)
        ranking.asked_in = self._cycle
        return ranking

    def _forget_needs_out_of_use(self) -> None:
        since = self._cycle - KEEP_CYCLES
        self._rankings = {
            need: ranking for need, ranking in self._rankings.items() if ranking.asked_in > since
        }
        self._of_class = {kind: asked for kind, asked in self._of_class.items() if asked.asked_in > since}
        self._alike = {what: asked for what, asked in self._alike.items() if asked.asked_in > since}
        self.forgotten += 1

    def _node_for_one(self, kind: JobClass) -> frozenset[Id]:
        """The node on which a single replica would sit; found once for all who ask alike and are bounded by room."""
        asked, now = self.asked_by(kind), self._ledger.stamps.now
        bounded = is_bounded(self._ledger, kind.team, preemptible=kind.preemptible, user=kind.user)
        if not bounded and asked.nodes[0] == now:
            return asked.nodes[1]
        seats = (seat for name, ranking in asked.rankings for seat in self._seat_for_one(kind, name, ranking))
        found = frozenset([seat.node for seat in islice(seats, 1)])
        if not bounded:
            asked.nodes = now, found
        return found

    def _seat_for_one(self, kind: JobClass, chip_type: str, ranking: Ranking) -> list[Seat]:
        """Where a single replica would sit, if its team may be charged for it."""
        found = ranking.best(1)
        if not found or not found[0].charge:
            return found
        left = room(self._ledger, kind.team, chip_type, preemptible=kind.preemptible, user=kind.user)
        return found if left is None or found[0].charge <= left else []

    def _place_on(
        self, kind: JobClass, chip_type: str, ranking: Ranking, worth: Worth | None, *, bounded_by_team: bool
    ) -> tuple[Placement, ...]:
        """As many replicas as fit on this type, held in the trial; nothing is held when they are too few, but
        for the question how many the nodes alone could take.
        """
        gang, ledger = kind.gang, self._ledger
        left = None
        if bounded_by_team:
            left = room(ledger, kind.team, chip_type, preemptible=kind.preemptible, user=kind.user)
        if gang.within is None and gang.near is None:
            return self._place_among(kind, ranking, worth, left, None, bounded_by_team=bounded_by_team)
        most: tuple[Placement, ...] = ()
        for domain in domains_in_order(gang, ledger, ranking.nodes()):
            if bounded_by_team and gang.spread and domain is not None and len(domain) < gang.minimum:
                continue
            mark = ledger.mark()
            found = self._place_among(kind, ranking, worth, left, domain, bounded_by_team=bounded_by_team)
            if len(found) >= gang.minimum:
                return found
            most = max(most, found, key=len)
            ledger.rewind(mark)
        return most

    def _place_among(
        self,
        kind: JobClass,
        ranking: Ranking,
        worth: Worth | None,
        left: int | None,
        domain: Set[Id] | None,
        *,
        bounded_by_team: bool,
    ) -> tuple[Placement, ...]:
        """The same among the nodes of a domain; `left` is what the team may still be charged."""
        gang, ledger = kind.gang, self._ledger
        wanted = gang.maximum if bounded_by_team else gang.minimum
        by = tenant(kind.organization, gang.request.isolation)
        mark, charged, ran_out = ledger.mark(), 0, True
        placements: list[Placement] = []
        for seat in _seats(ranking, worth, wanted, domain, spread=gang.spread):
            charged += seat.charge
            if left is not None and charged > left and seat.charge:
                ran_out = False
                break
            placement = _placement(len(placements), seat, gang.request)
            ledger.hold(placement, team=kind.team, preemptible=kind.preemptible, by=by, user=kind.user)
            placements.append(placement)
        if len(placements) < gang.minimum and bounded_by_team:
            ledger.rewind(mark)
            if ran_out and gang.within is None and gang.near is None:
                ranking.known[gang] = len(placements), charged
            return ()
        return tuple(placements)


def is_single(gang: Gang) -> bool:
    """Whether it is one replica that may sit anywhere."""
    return gang.maximum == 1 and gang.within is None and gang.near is None


def _least_lost_first(
    alike: Sequence[tuple[str, Ranking]], kind: JobClass, worth: Worth
) -> Sequence[tuple[str, Ranking]]:
    """Types without a place come last."""
    if len(alike) < 2:
        return alike
    losses = [
        None if _is_known_not_to_fit(kind.gang, ranking) else ranking.least_loss(worth)
        for _, ranking in alike
    ]
    order = sorted(range(len(alike)), key=lambda at: (losses[at] is None, losses[at] or ()))
    return [alike[at] for at in order]


def _is_known_not_to_fit(gang: Gang, ranking: Ranking) -> bool:
    known: tuple[int, int] | None = ranking.known.get(gang)
    return known is not None and known[0] < gang.minimum


def _placement(replica: int, seat: Seat, request: Request) -> Placement:
    return Placement(replica, seat.node, request.cpu, request.memory, seat.chips)


def _seats(
    ranking: Ranking, worth: Worth | None, wanted: int, domain: Set[Id] | None, *, spread: bool
) -> Iterator[Seat]:
    """The best node for each replica in turn; with `spread` each on a node of its own (Q8)."""
    at_once, turns = (wanted, 1) if spread else (1, wanted)
    for _ in range(turns):
        if worth is None:
            yield from ranking.best(at_once, domain)
        else:
            yield from ranking.best_valued(worth, at_once, domain)
