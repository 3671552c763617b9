"""Work that moves together so that a waiting gang fits (R7).

Only work that goes on from a checkpoint moves, and only whole: every replica gets a new place on capacity that
is free now, outside the nodes that are cleared. Nobody loses chips by it, so no right over a team is needed;
what it costs is the way since the last checkpoint and a restart, and that is why the policy bounds it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import merge
from itertools import islice

from scheduler_core.clearing import LOOKS_PER_NODE, Found, may_free_enough
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Id, Placement, Running
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.rights import Rights
from scheduler_core.shape import tenant


class Movers:
    """What is known of live work that may move, kept from search to search: in which class its job would wait, which
    classes have another place, and on which nodes it sits.
    """

    def __init__(self, ledger: Ledger, placer: Placer) -> None:
        self._ledger, self._placer = ledger, placer
        self._kind_of: dict[Id, tuple[Running, JobClass]] = {}
        self._kinds: dict[JobClass, JobClass] = {}
        """Each class once: it is quicker to see that two are the same than that they are equal."""
        self._placed: dict[JobClass, tuple[int, bool]] = {}
        """Whether a class had a place, and in which state of the nodes."""
        self._nodes: dict[Hashable, tuple[Id, ...]] = {}
        self._movable_on: dict[Id, tuple[Hashable, list[Running]]] = {}
        """By node, with what else that depends on."""

    def begin_cycle(self) -> None:
        """Other work may move than in the cycle before; who lives no longer is forgotten, now and then."""
        self._nodes.clear()
        self._movable_on.clear()
        running = self._ledger.running
        if len(self._kind_of) > 64 + 2 * len(running):
            self._kind_of = {attempt: known for attempt, known in self._kind_of.items() if attempt in running}
            self._kinds = {kind: kind for _, kind in self._kind_of.values()}
            self._placed.clear()

    def kind_of(self, attempt: Running) -> JobClass:
        """Its class, as long as its row is this one."""
        known = self._kind_of.get(attempt.id)
        if known is None or known[0] is not attempt:
            job = job_of(attempt)
            assert job is not None, "only work whose request is known moves"
            kind = JobClass.of(job)
            known = self._kind_of[attempt.id] = attempt, self._kinds.setdefault(kind, kind)
        return known[1]

    def movable_on(self, node: Id, rights: Rights) -> list[Running]:
        """The work on this node that may move, and has another place as things are now."""
        key = self._ledger.stamps.now, rights.barred, len(rights.taken)
        known = self._movable_on.get(node)
        if known is None or known[0] != key:
            here = [attempt for attempt in self._ledger.running_on(node) if may_move(attempt, rights)]
            known = key, [attempt for attempt in here if self._has_a_place(self.kind_of(attempt))]
            self._movable_on[node] = known
        return known[1]

    def nodes(self, rights: Rights, looks: int) -> tuple[Id, ...]:
        """The nodes of work that may move, as much of it as so many looks find: first where it was saved last."""
        key = looks, rights.barred, len(rights.taken)
        known = self._nodes.get(key)
        if known is None:
            running, by_team = self._ledger.running, self._ledger.preemptible_of
            lists = [rights.listed(team, priority, looks) for team in by_team for priority in by_team[team]]
            looked_at = islice(merge(*[each.entries for each in lists]), looks)
            movable = [a for *_, attempt in looked_at if may_move(a := running[attempt], rights)]
            known = self._nodes[key] = tuple(dict.fromkeys(p.node for a in movable for p in a.placements))
        return known

    def _has_a_place(self, kind: JobClass) -> bool:
        """Whether one more gang of this class would fit on what is free, whatever its team may be charged."""
        stamps, placer, gang = self._ledger.stamps, self._placer, kind.gang
        since, had = self._placed.get(kind, (-1, False))
        if since == stamps.now or (not had and stamps.only_less_room_since(since)):
            return had
        types = placer.chip_types(gang.request)
        has = any(placer.on_nodes_alone(kind, chip_type)[0] >= gang.minimum for chip_type in types)
        self._placed[kind] = stamps.now, has
        return has


def may_move(attempt: Running, rights: Rights) -> bool:
    """Whether it is work that goes on elsewhere from where it was saved, and this cycle may move it."""
    return attempt.checkpoint and attempt.gang is not None and rights.may_be_taken(attempt)


class Consolidation:
    """One search for moves, at most `budget` of them. It works in the ledger's trial; the caller rewinds."""

    def __init__(
        self,
        kind: JobClass,
        chip_type: str,
        ledger: Ledger,
        placer: Placer,
        rights: Rights,
        policy: Policy,
        movers: Movers,
        budget: int,
    ) -> None:
        self._kind, self._chip_type, self._budget = kind, chip_type, budget
        self._ledger, self._placer, self._rights, self._policy = ledger, placer, rights, policy
        self._moves: dict[Id, tuple[Placement, ...]] = {}
        self._movers = movers
        ranking = placer.ranking(kind, chip_type)
        self._takes, self._could_take = ranking.takes, ranking.could_take
        self._stuck: set[JobClass] = set()
        """Classes of work for which there is no new place at all."""

    def run(self) -> Found | None:
        """An irreducible set of moves with which the gang fits; None where none was found."""
        start = self._ledger.mark()
        if not self._may_be_enough() or not self._clear_nodes():
            return None
        if not self._moves:
            return None
        swayed, self._rights.swayed = self._rights.swayed, True
        for moved in sorted(self._moves, key=self._loss, reverse=True):
            rest = {attempt: new for attempt, new in self._moves.items() if attempt != moved}
            if self._fits_with(rest, start):
                self._moves = rest
        if not self._moves or not self._fits_with(self._moves, start):
            return None
        placements = self._placer.place(self._kind)
        self._rights.swayed = swayed
        return Found(tuple(self._taking(attempt) for attempt in sorted(self._moves)), placements)

    def _may_be_enough(self) -> bool:
        """Whether as much is free as the gang needs, in whatever pieces: moves make no more of it. Of one type they do,
        by work that goes on with another."""
        gang, columns = self._kind.gang, self._ledger.columns
        needed = gang.minimum * (gang.request.chips * WHOLE_CHIP or gang.request.milli)
        if not needed or columns.has_free(needed, self._chip_type):
            return True
        return bool(self._ledger.roaming) and columns.has_free(needed, None)

    def _fits_with(self, moves: dict[Id, tuple[Placement, ...]], start: int) -> bool:
        """Whether the gang fits once these have moved; they are moved in the trial afterwards."""
        self._ledger.rewind(start)
        for attempt, new in moves.items():
            self._move(self._ledger.running[attempt], new)
        return self._placer.fits(self._kind)

    def _move(self, attempt: Running, new: tuple[Placement, ...]) -> None:
        self._ledger.lift(attempt, attempt.placements)
        kind = self._movers.kind_of(attempt)
        for placement in new:
            self._placer.hold(kind, placement)

    def _clear_nodes(self) -> bool:
        """Enough nodes are cleared for the whole gang; false when that cannot be done."""
        gang = self._kind.gang
        held = self._placer.as_many_as_fit(self._kind, self._chip_type)
        used = {place.node for place in held} if gang.spread else set()
        short = gang.minimum - len(held)
        for node in self._nodes():
            if not short:
                break
            if node not in used and self._clear(node, gang.minimum - short):
                short -= 1
                if gang.spread:
                    used.add(node)
        return not short

    def _clear(self, node: Id, replica: int) -> bool:
        """The node takes one more replica once some of its work has moved elsewhere; else nothing changed.

        The replica is held beside the work that moves, so that the node is more than full and nothing is
        moved back onto it.
        """
        ledger, placer, mark = self._ledger, self._placer, self._ledger.mark()
        movers = self._fewest(node)
        if movers is None:
            return False
        self._rights.swayed = True
        if len(movers) + len(self._moves) > self._budget:
            return False
        for attempt in movers:
            self._vacate(node, attempt)
        put = placer.put(self._kind, self._chip_type, node, replica)
        for attempt in movers:
            self._occupy(node, attempt)
        places: dict[Id, tuple[Placement, ...]] = {}
        for attempt in movers if put is not None else ():
            if new := self._new_place(attempt):
                places[attempt.id] = new
        if put is None or len(places) < len(movers):
            ledger.rewind(mark)
            return False
        self._moves |= places
        return True

    def _fewest(self, node: Id) -> list[Running] | None:
        """Those on this node that have to move, the dearest kept where it can be; None where it never fits."""
        ledger, mark = self._ledger, self._ledger.mark()
        movable = [
            attempt for attempt in self._movers.movable_on(node, self._rights) if self._is_left(attempt)
        ]
        if not movable or not may_free_enough(node, self._kind.gang.request, movable, ledger):
            return None
        movers: list[Running] = []
        for attempt in sorted(movable, key=lambda attempt: self._loss(attempt.id)):
            if self._takes(node):
                break
            self._vacate(node, attempt)
            movers.append(attempt)
        enough = self._takes(node)
        for attempt in reversed(list(movers) if enough else []):
            self._occupy(node, attempt)
            if self._takes(node):
                movers.remove(attempt)
            else:
                self._vacate(node, attempt)
        ledger.rewind(mark)
        return movers if enough else None

    def _vacate(self, node: Id, attempt: Running) -> None:
        """What it holds of this node is free; what its team is charged does not matter to the node."""
        by = tenant(attempt.organization, attempt.isolation)
        for place in attempt.placements:
            if place.node == node:
                self._ledger.unshadow(place, by=by)

    def _occupy(self, node: Id, attempt: Running) -> None:
        """It holds that again."""
        by = tenant(attempt.organization, attempt.isolation)
        for place in attempt.placements:
            if place.node == node:
                self._ledger.shadow(place, by=by)

    def _new_place(self, attempt: Running) -> tuple[Placement, ...]:
        """A complete new place on what is free now, held; its team is charged once, not twice."""
        kind = self._movers.kind_of(attempt)
        self._ledger.bill(
            attempt.staying, team=attempt.team, preemptible=attempt.preemptible, sign=-1, user=attempt.user
        )
        new = self._placer.place(kind)
        if not new:
            self._stuck.add(kind)
        return new

    def _is_left(self, attempt: Running) -> bool:
        """Whether it has neither moved nor turned out to have no place."""
        return attempt.id not in self._moves and self._movers.kind_of(attempt) not in self._stuck

    def _nodes(self) -> Iterator[Id]:
        """The nodes to look at, of those that could take a replica: those whose work was saved last."""
        most = self._policy.max_nodes_searched
        nodes = self._movers.nodes(self._rights, LOOKS_PER_NODE * most)
        return islice(filter(self._could_take, nodes), most)

    def _loss(self, attempt: Id) -> tuple[int, Id]:
        return self._rights.reckoned(self._ledger.running[attempt]), attempt

    def _taking(self, attempt_id: Id) -> Taking:
        attempt = self._ledger.running[attempt_id]
        loss, new = self._rights.loss(attempt), self._moves[attempt_id]
        return Taking(attempt.id, attempt.job, Rung.MOVE, Ground.CONSOLIDATION, loss, (), new)
