"""Where a gang sits: whole or not at all (Q2, Q8), the best nodes first (P2), equal nodes scored once (P6).

From the naive version: score every node for every replica, take the best. Three departures. Answers are kept
per shape, so a node of a known shape costs a look-up. Nodes are kept ranked between placements and cycles,
and only those that changed are ranked again. And all replicas of a gang sit on chips of one type: the types
are tried in order, so that on each the best node first is also complete. A slice that is given in memory may
cost more quota on one chip than on another; its score begins with that cost, which keeps "best first"
complete there too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from scheduler_core.fairness import room
from scheduler_core.fit import Answer, Fit, Need, Rejection, fit
from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Id, Placement, Request
from scheduler_core.ordering import JobClass
from scheduler_core.request import wants_chips, wants_slice
from scheduler_core.shape import NodeState, tenant

KEEP_CYCLES: Final = 64
"""Cycles for which the ranking of a need nobody asks for is kept: about a minute at one cycle a second."""

MAX_ANSWERS: Final = 50_000
"""Answers that one ranking remembers by shape; past it the memory starts afresh."""


class Placer:
    """Finds placements on a ledger, and keeps its nodes ranked for every need it was asked about."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rankings: dict[Need, Ranking] = {}
        self._of_class: dict[tuple[JobClass, str], Ranking] = {}
        """The rankings asked for in this cycle."""
        self._cycle = 0

    def begin_cycle(self) -> None:
        """Every ranking in use is up to date, and those out of use are gone."""
        self._cycle += 1
        self._of_class.clear()
        changed = list(dict.fromkeys(self._ledger.changed))
        for need, ranking in list(self._rankings.items()):
            if self._cycle - ranking.asked_in > KEEP_CYCLES:
                del self._rankings[need]
            else:
                ranking.look_at(changed)
                ranking.read = 0
        self._ledger.changed.clear()

    def place(self, kind: JobClass) -> tuple[Placement, ...]:
        """Placements for the gang, held in the ledger's trial; empty, with nothing held, when it does not
        fit.
        """
        if kind.problem:
            return ()
        for chip_type in self.chip_types(kind.gang.request):
            placements = self._place_on(kind, chip_type, bounded_by_team=True)
            if len(placements) >= kind.gang.minimum:
                return placements
        return ()

    def fits(self, kind: JobClass) -> bool:
        """Whether `place` would find placements. Nothing is held afterwards."""
        mark = self._ledger.mark()
        placements = self.place(kind)
        self._ledger.rewind(mark)
        return bool(placements)

    def on_nodes_alone(self, kind: JobClass, chip_type: str) -> tuple[int, int]:
        """How many replicas, up to the gang's minimum, the nodes could take with the team's quota aside, and
        the milli-chips that quota would charge for them. Nothing is held afterwards.
        """
        mark = self._ledger.mark()
        placements = self._place_on(kind, chip_type, bounded_by_team=False)
        charged = sum(milli for placement in placements for _, milli in self._ledger.charges(placement))
        self._ledger.rewind(mark)
        return len(placements), charged

    def chip_types(self, request: Request) -> tuple[str, ...]:
        """The chip types to try, in order: as named, else fastest first; one empty name for CPU only."""
        if not wants_chips(request):
            return ("",)
        return tuple(dict.fromkeys(request.chip_types)) or self._ledger.chip_types()

    def ranking(self, kind: JobClass, chip_type: str) -> Ranking:
        """The nodes for one replica of this class on this chip type, as they are now."""
        ranking = self._of_class.get((kind, chip_type))
        if ranking is None:
            ranking = self._of_class[kind, chip_type] = self._ranking_for(kind, chip_type)
        ranking.catch_up()
        return ranking

    def _ranking_for(self, kind: JobClass, chip_type: str) -> Ranking:
        """Classes that need the same of a node share one ranking."""
        request = kind.gang.request
        who = tenant(kind.organization, request.isolation) if wants_slice(request) else None
        need = Need(request, chip_type, kind.pools, who)
        ranking = self._rankings.get(need)
        if ranking is None:
            ranking = self._rankings[need] = Ranking(need, self._ledger)
        ranking.asked_in = self._cycle
        return ranking

    def _place_on(self, kind: JobClass, chip_type: str, *, bounded_by_team: bool) -> tuple[Placement, ...]:
        """As many replicas as fit on this type, held in the trial; nothing is held when they are too few."""
        gang, ledger = kind.gang, self._ledger
        left = room(ledger, kind.team, chip_type, preemptible=kind.preemptible) if bounded_by_team else None
        wanted = gang.maximum if bounded_by_team else gang.minimum
        by = tenant(kind.organization, gang.request.isolation)
        mark = ledger.mark()
        placements: list[Placement] = []
        for node, found in self._choices(kind, chip_type, wanted):
            if left is not None:
                left -= found.charge
                if left < 0 and found.charge:
                    break
            placement = _placement(len(placements), node, found, gang.request, ledger.states[node])
            ledger.hold(placement, team=kind.team, preemptible=kind.preemptible, by=by)
            placements.append(placement)
        if len(placements) < gang.minimum and bounded_by_team:
            ledger.rewind(mark)
            return ()
        return tuple(placements)

    def _choices(self, kind: JobClass, chip_type: str, wanted: int) -> Iterator[tuple[Id, Fit]]:
        """The best node for each replica in turn; with `spread` each on a node of its own (Q8)."""
        ranking = self.ranking(kind, chip_type)
        if kind.gang.spread:
            yield from ranking.best(wanted)
            return
        for _ in range(wanted):
            ranking.catch_up()
            yield from ranking.best(1)


class Ranking:
    """All nodes for one need: those that can take a replica, best first; the others counted by why (P1)."""

    def __init__(self, need: Need, ledger: Ledger) -> None:
        self.asked_in = 0
        self.read = len(ledger.changed)
        """How far the ledger's list of changed nodes has been read."""
        self.rejections: Counter[Rejection] = Counter()
        self._need = need
        self._ledger = ledger
        self._answers: dict[Id, tuple[int, Answer]] = {}
        self._by_shape: dict[int, Answer] = {}
        self._fitting: list[tuple[tuple[int, ...], Id]] = []
        self.look_at(ledger.states)

    def __len__(self) -> int:
        """How many nodes could take a replica."""
        return len(self._fitting)

    def best(self, count: int) -> list[tuple[Id, Fit]]:
        """The best nodes, at most so many, each with how a replica would sit there."""
        chosen = []
        for _, node in self._fitting[:count]:
            answer = self._answers[node][1]
            assert isinstance(answer, Fit)
            chosen.append((node, answer))
        return chosen

    def catch_up(self) -> None:
        """Nodes that changed since the last time are ranked anew."""
        changed = self._ledger.changed
        if self.read < len(changed):
            self.look_at(changed[self.read :])
            self.read = len(changed)

    def look_at(self, nodes: Iterable[Id]) -> None:
        """These nodes are ranked as they are now."""
        serials, answers = self._ledger.serials, self._answers
        for node in nodes:
            serial = serials.get(node)
            known = answers.get(node)
            if known is None or known[0] != serial:
                self._rank_anew(node, serial, known)

    def _rank_anew(self, node: Id, serial: int | None, known: tuple[int, Answer] | None) -> None:
        if known is not None:
            self._take_out(node, known[1])
        if serial is None:
            self._answers.pop(node, None)
            return
        answer = self._answer(node, serial)
        self._answers[node] = (serial, answer)
        if isinstance(answer, Fit):
            insort(self._fitting, (answer.score, node))
        else:
            self.rejections[answer] += 1

    def _take_out(self, node: Id, answer: Answer) -> None:
        if isinstance(answer, Fit):
            del self._fitting[bisect_left(self._fitting, (answer.score, node))]
        elif self.rejections[answer] == 1:
            del self.rejections[answer]
        else:
            self.rejections[answer] -= 1

    def _answer(self, node: Id, serial: int) -> Answer:
        answer = self._by_shape.get(serial)
        if answer is None:
            if len(self._by_shape) >= MAX_ANSWERS:
                self._by_shape.clear()
            answer = self._by_shape[serial] = fit(self._need, self._ledger.states[node].shape)
        return answer


def _placement(replica: int, node: Id, found: Fit, request: Request, state: NodeState) -> Placement:
    shares = [ChipShare(state.chips[part.position][1], part.milli, part.memory) for part in found.parts]
    shares.sort(key=lambda share: share.chip)
    return Placement(replica, node, request.cpu, request.memory, tuple(shares))
