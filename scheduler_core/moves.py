"""Work that moves together so that a waiting gang fits (R7).

Only work that goes on from a checkpoint moves, and only whole: every replica gets a new place on capacity that
is free now, outside the nodes that are cleared. Nobody loses chips by it, so no right over a team is needed;
what it costs is the way since the last checkpoint and a restart, and that is why the policy bounds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import merge
from itertools import islice

from scheduler_core.clearing import LOOKS_PER_NODE, Found, may_free_enough
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.live import Listed
from scheduler_core.model import WHOLE_CHIP, Id, Placement, Running
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.rights import Rights
from scheduler_core.shape import tenant


class Kinds:
    """The class in which each live attempt's job would wait, kept from search to search."""

    def __init__(self) -> None:
        self._of: dict[Id, tuple[Running, JobClass]] = {}
        self._known: dict[JobClass, JobClass] = {}
        """Each class once: it is quicker to see that two are the same than that they are equal."""

    def of(self, attempt: Running) -> JobClass:
        """Its class, as long as its row is this one."""
        known = self._of.get(attempt.id)
        if known is None or known[0] is not attempt:
            job = job_of(attempt)
            assert job is not None, "only work whose request is known moves"
            kind = JobClass.of(job)
            known = self._of[attempt.id] = attempt, self._known.setdefault(kind, kind)
        return known[1]

    def keep(self, running: Collection[Id]) -> None:
        """Who lives no longer is forgotten, now and then."""
        if len(self._of) > 64 + 2 * len(running):
            self._of = {attempt: known for attempt, known in self._of.items() if attempt in running}
            self._known = {kind: kind for _, kind in self._of.values()}


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
        kinds: Kinds,
        budget: int,
    ) -> None:
        self._kind, self._chip_type, self._budget = kind, chip_type, budget
        self._ledger, self._placer, self._rights, self._policy = ledger, placer, rights, policy
        self._moves: dict[Id, tuple[Placement, ...]] = {}
        self._kind_of = kinds.of
        self._takes = placer.ranking(kind, chip_type).takes
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
        kind = self._kind_of(attempt)
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
        movable = [attempt for attempt in ledger.running_on(node) if self._may_move(attempt)]
        if not movable or not may_free_enough(node, self._kind.gang.request, movable, ledger):
            return None
        if self._stuck and all(self._kind_of(attempt) in self._stuck for attempt in movable):
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
        kind = self._kind_of(attempt)
        self._ledger.bill(
            attempt.staying, team=attempt.team, preemptible=attempt.preemptible, sign=-1, user=attempt.user
        )
        new = () if kind in self._stuck else self._placer.place(kind)
        if not new:
            self._stuck.add(kind)
        return new

    def _may_move(self, attempt: Running) -> bool:
        movable = attempt.checkpoint and attempt.gang is not None and attempt.id not in self._moves
        return movable and self._rights.may_be_taken(attempt)

    def _nodes(self) -> list[Id]:
        """The nodes to look at: those whose work was saved last."""
        policy, ledger = self._policy, self._ledger
        nodes: dict[Id, None] = {}
        looks = LOOKS_PER_NODE * policy.max_nodes_searched
        for *_, attempt_id in islice(merge(*self._lists(looks)), looks):
            if len(nodes) >= policy.max_nodes_searched:
                break
            if self._may_move(attempt := ledger.running[attempt_id]):
                nodes.update(dict.fromkeys(place.node for place in attempt.placements))
        return list(nodes)[: policy.max_nodes_searched]

    def _lists(self, looks: int) -> Iterator[list[Listed]]:
        for team, by_priority in self._ledger.preemptible_of.items():
            yield from (self._rights.listed(team, priority, looks).entries for priority in by_priority)

    def _loss(self, attempt: Id) -> tuple[int, Id]:
        return self._rights.reckoned(self._ledger.running[attempt]), attempt

    def _taking(self, attempt_id: Id) -> Taking:
        attempt = self._ledger.running[attempt_id]
        loss, new = self._rights.loss(attempt), self._moves[attempt_id]
        return Taking(attempt.id, attempt.job, Rung.MOVE, Ground.CONSOLIDATION, loss, (), new)
