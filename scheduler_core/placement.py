"""Where a gang sits: whole or not at all (Q2, Q8), the best nodes first (P2), equal nodes scored once (P6).

All replicas of a gang sit on chips of one type: the types are tried in order, so that on each "the best node
first" is also complete. A slice that is given in memory may cost more quota on one chip than on another; its
score begins with that cost, which keeps it complete there too. Replicas that are to sit together are placed
in one domain of the topology after the other, so that a domain in which the gang fits is found.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Set
from typing import Any, Final, TypeAlias

from scheduler_core.columns import Columns
from scheduler_core.fairness import room
from scheduler_core.filters import Census, take_census, without_host
from scheduler_core.fit import HEAD, Fit, Need, Offer, offer, openings, parts_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Id, Placement, Request
from scheduler_core.ordering import JobClass
from scheduler_core.request import wants_chips, wants_slice
from scheduler_core.shape import Frame, NodeState, Tenant, tenant
from scheduler_core.shelves import Choice, Shelf, Shelves
from scheduler_core.topology import domains_in_order

KEEP_CYCLES: Final = 64
"""Cycles for which the ranking of a need nobody asks for is kept: about a minute at one cycle a second."""

MAX_LOSSES: Final = 50_000
"""Classes of nodes of which one ranking remembers what is lost; past it the memory starts afresh."""

Value: TypeAlias = Callable[[NodeState, NodeState], int]
"""What the cell loses when a node goes from the first state to the second (P3): less is better. It follows
from the two states alone; when the mix of requests behind it changes, it is another function."""

NOBODY: Final = Tenant(0, 0)
"""Who takes a part where only the amounts matter."""


class Placer:
    """Finds placements on a ledger, and keeps its nodes in order for every need it was asked about."""

    def __init__(self, ledger: Ledger, value: Value | None = None) -> None:
        self._ledger = ledger
        self._value = value
        self._shelves = Shelves(ledger)
        self._columns = Columns(ledger)
        self._rankings: dict[Need, Ranking] = {}
        self._of_class: dict[JobClass, tuple[tuple[str, Ranking], ...]] = {}
        """The rankings asked for in this cycle, by chip type in the order to try."""
        self._cycle = 0
        self._effort = 0

    def begin_cycle(self, effort: int = 0) -> None:
        """Everything in use is up to date, and what is out of use is gone. `effort` is for this cycle (S4): so
        many classes of nodes are valued for each replica; with 0 none is, and the first in order is taken.
        """
        self._cycle += 1
        self._effort = effort
        self._of_class.clear()
        self._shelves.catch_up()
        self._columns.table()
        self._ledger.changed.clear()
        self._shelves.from_the_start()
        self._columns.from_the_start()
        if self._cycle % KEEP_CYCLES == 0:
            self._forget_needs_out_of_use()

    def place(self, kind: JobClass) -> tuple[Placement, ...]:
        """Placements for the gang, held in the ledger's trial; empty, with nothing held, when it does not
        fit.
        """
        if kind.problem:
            return ()
        for chip_type, ranking in self._rankings_of(kind):
            placements = self._place_on(kind, chip_type, ranking, bounded_by_team=True)
            if len(placements) >= kind.gang.minimum:
                return placements
        return ()

    def fits(self, kind: JobClass) -> bool:
        """Whether `place` would find placements. Nothing is held afterwards."""
        mark = self._ledger.mark()
        placements = self.place(kind)
        self._ledger.rewind(mark)
        return bool(placements)

    def as_many_as_fit(
        self, kind: JobClass, chip_type: str, among: Set[Id] | None = None
    ) -> tuple[Placement, ...]:
        """As many replicas as the nodes can take, up to the gang's minimum, with the team's quota aside, on
        nodes `among` these alone; held in the ledger's trial.
        """
        ranking = self.ranking(kind, chip_type)
        return self._place_among(kind, ranking, None, among, bounded_by_team=False)

    def put(self, kind: JobClass, chip_type: str, node: Id, replica: int) -> Placement | None:
        """One replica on just this node as it is now, with the team's quota aside, held in the ledger's trial;
        None, with nothing held, when it does not fit there.
        """
        found = self.ranking(kind, chip_type).on(node)
        if found is None:
            return None
        placement = placement_of(replica, node, found, kind.gang.request, self._ledger.states[node])
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
        return self.ranking(kind, chip_type).on(node) is not None

    def on_nodes_alone(self, kind: JobClass, chip_type: str) -> tuple[int, int]:
        """How many replicas, up to the gang's minimum, the nodes could take with the team's quota aside, and
        the milli-chips that quota would charge for them. Nothing is held afterwards.
        """
        ranking = self.ranking(kind, chip_type)
        known: tuple[int, int] | None = ranking.known.get(kind.gang)
        if known is None:
            mark = self._ledger.mark()
            placements = self._place_on(kind, chip_type, ranking, bounded_by_team=False)
            charged = sum(milli for placement in placements for _, milli in self._ledger.charges(placement))
            self._ledger.rewind(mark)
            known = ranking.known[kind.gang] = len(placements), charged
        return known

    def count_nodes(self) -> None:
        """For every need asked for in this cycle it is known why nodes cannot take it (P1)."""
        asked = [ranking for ranking in self._rankings.values() if ranking.asked_in == self._cycle]
        for ranking, census in zip(
            asked, take_census([ranking.need for ranking in asked], self._columns), strict=True
        ):
            ranking.learn(census)

    def chip_types(self, request: Request) -> tuple[str, ...]:
        """The chip types to try, in order: as named, else fastest first; one empty name for CPU only."""
        if not wants_chips(request):
            return ("",)
        return tuple(dict.fromkeys(request.chip_types)) or self._ledger.chip_types()

    def ranking(self, kind: JobClass, chip_type: str) -> Ranking:
        """The nodes for one replica of this class on this chip type, as they are now."""
        for name, ranking in self._rankings_of(kind):
            if name == chip_type:
                return ranking
        return self._ranking_for(kind, chip_type)

    def _rankings_of(self, kind: JobClass) -> tuple[tuple[str, Ranking], ...]:
        known = self._of_class.get(kind)
        if known is None:
            names = self.chip_types(kind.gang.request)
            known = tuple((name, self._ranking_for(kind, name)) for name in names)
            self._of_class[kind] = known
        return known

    def _ranking_for(self, kind: JobClass, chip_type: str) -> Ranking:
        """Classes that need the same of a node share one ranking."""
        request = kind.gang.request
        who = tenant(kind.organization, request.isolation) if wants_slice(request) else None
        need = Need(request, chip_type, kind.pools, who)
        ranking = self._rankings.get(need)
        if ranking is None:
            ranking = self._rankings[need] = Ranking(need, self._ledger, self._shelves, self._columns)
        ranking.asked_in = self._cycle
        ranking.use(self._value, self._effort)
        return ranking

    def _forget_needs_out_of_use(self) -> None:
        for need, ranking in list(self._rankings.items()):
            if self._cycle - ranking.asked_in >= KEEP_CYCLES:
                del self._rankings[need]
        in_use = {ranking.chips for ranking in self._rankings.values()}
        self._shelves.keep(in_use)

    def _place_on(
        self, kind: JobClass, chip_type: str, ranking: Ranking, *, bounded_by_team: bool
    ) -> tuple[Placement, ...]:
        """As many replicas as fit on this type, held in the trial; nothing is held when they are too few, but
        for the question how many the nodes alone could take.
        """
        gang, ledger = kind.gang, self._ledger
        left = None
        if bounded_by_team:
            left = room(ledger, kind.team, chip_type, preemptible=kind.preemptible, user=kind.user)
        if gang.within is None and gang.near is None:
            return self._place_among(kind, ranking, left, None, bounded_by_team=bounded_by_team)
        most: tuple[Placement, ...] = ()
        for domain in domains_in_order(gang, ledger, ranking.nodes()):
            if bounded_by_team and gang.spread and domain is not None and len(domain) < gang.minimum:
                continue
            mark = ledger.mark()
            found = self._place_among(kind, ranking, left, domain, bounded_by_team=bounded_by_team)
            if len(found) >= gang.minimum:
                return found
            most = max(most, found, key=len)
            ledger.rewind(mark)
        return most

    def _place_among(
        self,
        kind: JobClass,
        ranking: Ranking,
        left: int | None,
        domain: Set[Id] | None,
        *,
        bounded_by_team: bool,
    ) -> tuple[Placement, ...]:
        """The same among the nodes of a domain; `left` is what the team may still be charged."""
        gang, ledger = kind.gang, self._ledger
        wanted = gang.maximum if bounded_by_team else gang.minimum
        by = tenant(kind.organization, gang.request.isolation)
        mark = ledger.mark()
        placements: list[Placement] = []
        for node, found in _choices(ranking, wanted, domain, spread=gang.spread):
            if left is not None:
                left -= found.charge
                if left < 0 and found.charge:
                    break
            placement = placement_of(len(placements), node, found, gang.request, ledger.states[node])
            ledger.hold(placement, team=kind.team, preemptible=kind.preemptible, by=by, user=kind.user)
            placements.append(placement)
        if len(placements) < gang.minimum and bounded_by_team:
            ledger.rewind(mark)
            return ()
        return tuple(placements)


class Ranking:
    """All nodes for one need, as they are now: those that can take a replica, best first; the others counted
    by why (P1).
    """

    def __init__(self, need: Need, ledger: Ledger, shelves: Shelves, columns: Columns) -> None:
        self.asked_in = 0
        self.chips = without_host(need)
        """The need as far as chips go."""
        self.need = need
        self._ledger = ledger
        self._shelves = shelves
        self._columns = columns
        self._aisle = shelves.aisle(self.chips)
        self._value: Value | None = None
        self._effort = 0
        self._stamp = ledger.stamps.now
        self._known: dict[Hashable, Any] = {}
        self._full_since: int | None = None
        """The ledger's stamp when no node could take a replica."""
        self._losses: dict[tuple[Frame, int, int, Shelf], int] = {}
        """What was lost by taking the replica in, by class of nodes (P6)."""

    def use(self, value: Value | None, effort: int) -> None:
        """Weigh so many classes of nodes by this value; none with effort 0 or without a value."""
        if value is not self._value:
            self._value = value
            self._losses.clear()
        self._effort = effort if value is not None else 0

    def __len__(self) -> int:
        """How many nodes could take a replica."""
        return self.census.fitting

    @property
    def census(self) -> Census:
        """Every other node, by why it cannot."""
        counted: Census | None = self.known.get("census")
        if counted is None:
            (counted,) = take_census([self.need], self._columns)
            self.learn(counted)
        return counted

    def learn(self, census: Census) -> None:
        """This is the census of the nodes as they are now."""
        self.known["census"] = census
        if not census.fitting:
            self._full_since = self._ledger.stamps.now

    @property
    def known(self) -> dict[Hashable, Any]:
        """What was found out of the nodes as they are now; empty again as soon as one of them changes."""
        if self._stamp != self._ledger.stamps.now:
            self._known.clear()
            self._stamp = self._ledger.stamps.now
        return self._known

    def best(self, count: int, among: Set[Id] | None = None) -> list[tuple[Id, Fit]]:
        """The best nodes, at most so many, each with how a replica would sit there; `among` leaves out all
        others.
        """
        if self._full_since is not None and self._ledger.stamps.only_less_room_since(self._full_since):
            return []
        if self._effort:
            chosen = self._weighed(count, among)
        elif count == 1 and among is None:
            chosen = self._first()
        else:
            chosen = [choice for _, choice in zip(range(count), self._in_order(among), strict=False)]
        if not chosen and among is None:
            self._full_since = self._ledger.stamps.now
        return [(node, self._fit(node, found, shelf)) for node, found, shelf in chosen]

    def on(self, node: Id) -> Fit | None:
        """How a replica would sit on just this node; None when it cannot."""
        state = self._ledger.states.get(node)
        need, best = self.need, None
        for opening, positions in openings(state.frame).items() if state is not None else ():
            if not isinstance(opening, need.opening) or opening.chip_type != need.chip_type:
                continue
            found = offer(need, opening)
            if state is None or found is None or not host_takes(need.request, found.claim, state):
                continue
            if best is None or found.score < best.score:
                best = Fit(found.score, found.charge, tuple(parts_of(found, positions, state.frame)))
        return best

    def nodes(self) -> list[Id]:
        """Every node that can take a replica, best first but for the value of what remains."""
        return [node for node, _, _ in self._in_order(None)]

    def _first(self) -> list[Choice]:
        known = self.known
        if "first" not in known:
            self._shelves.catch_up()
            request = self.need.request
            choice = self._aisle.first(request.cpu, request.memory)
            known["first"] = [] if choice is None else [choice]
        return known["first"]  # type: ignore[no-any-return]

    def _in_order(self, among: Set[Id] | None) -> Iterator[Choice]:
        """Every node once, in the opening that is best for it."""
        self._shelves.catch_up()
        request = self.need.request
        seen: set[Id] = set()
        for choice in self._aisle.nodes(request.cpu, request.memory):
            node = choice[0]
            if node not in seen and (among is None or node in among):
                yield choice
                seen.add(node)

    def _weighed(self, count: int, among: Set[Id] | None) -> list[Choice]:
        """P3: of the first classes of nodes that cost no more quota and are of no worse pool, those from which
        the least is lost. Between equal losses the order stands.
        """
        states = self._ledger.states
        weighed: list[tuple[tuple[int, ...], int, int, Choice]] = []
        classes: set[tuple[Frame, int, int, Shelf]] = set()
        for place, choice in enumerate(self._in_order(among)):
            node, found, shelf = choice
            head = found.score[:HEAD]
            if len(weighed) >= count and (head != weighed[-1][0] or len(classes) >= self._effort):
                break
            state = states[node]
            like = (state.frame, state.free_cpu, state.free_memory, shelf)
            classes.add(like)
            weighed.append((head, self._loss(like, choice), place, choice))
        weighed.sort(key=lambda entry: entry[:3])
        return [choice for _, _, _, choice in weighed[:count]]

    def _loss(self, like: tuple[Frame, int, int, Shelf], choice: Choice) -> int:
        known = self._losses.get(like)
        if known is None:
            assert self._value is not None
            if len(self._losses) >= MAX_LOSSES:
                self._losses.clear()
            node, found, shelf = choice
            state = self._ledger.states[node]
            there = placement_of(0, node, self._fit(node, found, shelf), self.need.request, state)
            known = self._losses[like] = self._value(state, state.taken(there, NOBODY))
        return known

    def _fit(self, node: Id, found: Offer, shelf: Shelf) -> Fit:
        frame = self._ledger.states[node].frame
        positions = self._shelves.positions(frame, shelf)
        return Fit(found.score, found.charge, parts_of(found, positions, frame))


def placement_of(replica: int, node: Id, found: Fit, request: Request, state: NodeState) -> Placement:
    """The replica on this node, its chips by id."""
    shares = [ChipShare(state.chips[part.position][1], part.milli, part.memory) for part in found.parts]
    if len(shares) > 1:
        shares.sort(key=lambda share: share.chip)
    return Placement(replica, node, request.cpu, request.memory, tuple(shares))


def host_takes(request: Request, claim: int, state: NodeState) -> bool:
    """Whether the host has the CPU and memory; who asks for nothing of one takes nothing of it."""
    cpu = request.cpu + claim
    return (not cpu or cpu <= state.free_cpu) and (not request.memory or request.memory <= state.free_memory)


def _choices(
    ranking: Ranking, wanted: int, domain: Set[Id] | None, *, spread: bool
) -> Iterator[tuple[Id, Fit]]:
    """The best node for each replica in turn; with `spread` each on a node of its own (Q8)."""
    if spread:
        yield from ranking.best(wanted, domain)
        return
    for _ in range(wanted):
        yield from ranking.best(1, domain)
