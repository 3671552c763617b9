"""What to take for one gang on one chip type, up to one rung (R1-R5).

From the naive version: lift everything that may be taken, see whether the gang fits, then put back one after
another, the dearest first, whatever it fits without. What remains is irreducible (R5), for room only ever
helps. One departure: only the nodes with the least to lose are looked at, each for the cheapest set that makes
room for one more replica, and the cheapest nodes are cleared until the gang fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, merge
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.fairness import least_charge
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Job, Placement, Request, Running
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.rights import Rights, Sort, ToLookAt

LOOKS_PER_NODE: Final = 16
"""Attempts that a search looks at for each node that it may examine; most nodes hold no more."""

CHOICES: Final = 8
"""Nodes among which the cheapest is cleared, for each replica that has no place yet."""

Cost: TypeAlias = tuple[int, int, int, int, tuple[Id, ...]]
"""What is compared when two sets of takings would do (R1): rung, height of the victim who has had least, loss,
number of victims, ids."""

Gone: TypeAlias = dict[Id, frozenset[int]]
"""The replicas that each attempt has given up so far."""


class Option(NamedTuple):
    """One more thing that could be taken: these replicas of an attempt. Less is better (R1)."""

    rung: int
    height: int
    """Less for who has had more: minus its service level, where it keeps what it has done."""
    loss: int
    attempt: Id
    replicas: tuple[int, ...]


Plan: TypeAlias = tuple[Cost, tuple[Option, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """What to take, and where the gang then sits."""

    takings: tuple[Taking, ...]
    placements: tuple[Placement, ...]


class Clearing:
    """One search. It works in the ledger's trial and leaves there what it lifted; the caller rewinds."""

    def __init__(
        self,
        job: Job,
        kind: JobClass,
        chip_type: str,
        rung: Rung,
        ledger: Ledger,
        placer: Placer,
        rights: Rights,
        policy: Policy,
    ) -> None:
        self._job, self._kind, self._chip_type, self._rung = job, kind, chip_type, rung
        self._ledger, self._placer, self._rights = ledger, placer, rights
        self._most_nodes = most_nodes(kind, policy)
        self._could_take = placer.ranking(kind, chip_type).could_take
        self._gone: Gone = {}
        self._grounds: dict[Id, Ground | None] = {}
        self._by_right: dict[Sort, Ground | None] | None = None
        """The same of those who are alike, while nothing changes hands."""
        self._takeable: dict[Id, bool] = {}
        self._charge = kind.gang.minimum * least_charge(ledger, kind.gang.request, chip_type)

    def run(self) -> Found | None:
        """An irreducible set of takings with which the gang fits; None where none was found."""
        ledger, start = self._ledger, self._ledger.mark()
        cleared = self._clear_nodes()
        ledger.rewind(start)
        for attempt, replicas in self._gone.items():
            ledger.lift(ledger.running[attempt], _places(ledger.running[attempt], replicas))
        if not cleared or not (self._gone or self._quota_binds()):
            return None
        swayed, self._rights.swayed = self._rights.swayed, True
        if not self._placer.fits(self._kind) and not self._make_room_in_quota():
            return None
        self._put_back_what_is_not_needed()
        placements = self._placer.place(self._kind)
        if not self._gone or not placements or not self._stays_within(placements):
            return None
        self._rights.swayed = swayed
        return Found(tuple(self._taking(attempt) for attempt in sorted(self._gone)), placements)

    # -- nodes --------------------------------------------------------------------------------------------

    def _clear_nodes(self) -> bool:
        """Enough nodes are cleared for the whole gang, quotas aside; false when that cannot be done."""
        gang = self._kind.gang
        held = self._placer.as_many_as_fit(self._kind, self._chip_type)
        used = {place.node for place in held} if gang.spread else set()
        short = gang.minimum - len(held)
        heap = self._plans(used, CHOICES * short)
        heapify(heap)
        while short and heap:
            known, node = heappop(heap)
            plan = self._plan(node, used)
            if plan is None:
                continue
            if plan > known:
                heappush(heap, (plan, node))
                continue
            touched = self._apply(plan[1])
            if self._placer.put(self._kind, self._chip_type, node, gang.minimum - short) is None:
                return False
            short -= 1
            if gang.spread:
                used.add(node)
            for other in sorted(touched | {node}):
                if (again := self._plan(other, used)) is not None:
                    heappush(heap, (again, other))
        return not short

    def _plans(self, used: set[Id], wanted: int) -> list[tuple[Plan, Id]]:
        """How to make room on each node that is looked at, until there are so many to choose from."""
        found: list[tuple[Plan, Id]] = []
        for node in self._nodes() if wanted else ():
            if (plan := self._plan(node, used)) is not None:
                found.append((plan, node))
            if len(found) >= wanted:
                break
        self._by_right = None
        return found

    def _plan(self, node: Id, used: set[Id]) -> Plan | None:
        """The cheapest that makes room for one more replica on this node; None when nothing does."""
        if node in used or node not in self._ledger.states:
            return None
        options = sorted(self._options(node))
        running = [self._ledger.running[attempt] for attempt in {option.attempt for option in options}]
        if not may_free_enough(node, self._kind.gang.request, running, self._ledger):
            return None
        mark, before = self._ledger.mark(), dict(self._gone)
        done: list[Option] = []
        for option in options:
            if self._takes(node):
                break
            if self._lift(option):
                done = [
                    other for other in done if other.attempt != option.attempt or len(option.replicas) == 1
                ]
                done.append(option)
        enough = self._takes(node)
        if enough:
            done = self._needed(node, done, before)
        self._ledger.rewind(mark)
        self._gone = before
        return (_cost(done), tuple(done)) if enough else None

    def _needed(self, node: Id, done: list[Option], before: Gone) -> list[Option]:
        """Those that the node really needs, the dearest put back first."""
        needed = list(done)
        for option in sorted(done, reverse=True):
            self._put_back(option.attempt, option.replicas, before)
            if self._takes(node):
                needed.remove(option)
            else:
                self._lift(option)
        return needed

    def _takes(self, node: Id) -> bool:
        return self._placer.takes(self._kind, self._chip_type, node)

    def _apply(self, options: tuple[Option, ...]) -> set[Id]:
        """The options are taken. Returns the nodes that changed."""
        touched: set[Id] = set()
        for option in options:
            self._lift(option)
            touched.update(place.node for place in self._ledger.running[option.attempt].placements)
        return touched

    def _options(self, node: Id) -> Iterator[Option]:
        """What may be taken on this node up to the rung: single replicas of elastic work, and whole gangs (R4)."""
        for attempt in self._ledger.running_on(node):
            gone = self._gone.get(attempt.id, frozenset())
            if len(gone) < len(attempt.placements) and self._ground(attempt) is not None:
                yield from self._of_attempt(attempt, node, gone)

    def _of_attempt(self, attempt: Running, node: Id | None, gone: frozenset[int]) -> Iterator[Option]:
        spare, height = _spare(attempt) - len(gone), self._rights.height(attempt)
        here = [
            place.replica
            for place in attempt.placements
            if place.replica not in gone and (node is None or place.node == node)
        ]
        for replica in here[-spare:] if spare > 0 else ():
            loss = 0 if gone else self._rights.loss_of_shrinking(attempt)
            yield Option(Rung.SHRINK, height, loss, attempt.id, (replica,))
        worst = self._rights.worst_rung(attempt)
        if worst <= self._rung:
            every = tuple(place.replica for place in attempt.placements)
            yield Option(worst, height, self._rights.reckoned(attempt), attempt.id, every)

    # -- who ----------------------------------------------------------------------------------------------

    def _nodes(self) -> list[Id]:
        """The nodes to look at, of those that could take a replica: those of the attempts with the least to lose."""
        nodes: dict[Id, None] = {}
        most = min(self._most_nodes, len(self._ledger.states))
        for attempt in self._candidates():
            nodes.update(dict.fromkeys([p.node for p in attempt.placements if self._could_take(p.node)]))
            if len(nodes) >= most:
                break
        return list(nodes)[: self._most_nodes]

    def _candidates(self) -> Iterator[Running]:
        """Attempts that the job may take from, those whose work was saved last first. Nothing is lifted meanwhile, so
        that it is asked once about those who are alike.
        """
        looks, rights, running = LOOKS_PER_NODE * self._most_nodes, self._rights, self._ledger.running
        by_right = self._by_right = {}
        out_of_reach: set[Sort] = set()

        def ask(attempt: Running) -> Sort:
            sort = rights.sort_of(attempt)
            if sort not in by_right:
                by_right[sort] = rights.ground(self._job, self._chip_type, self._charge, attempt)
                if _spare(attempt) <= 0 and rights.worst_rung(attempt) > self._rung:
                    out_of_reach.add(sort)
            return sort

        lists = list(self._lists(looks))
        if sum(len(each.entries) for each in lists) <= looks:
            lists = [each for each in lists if any(by_right[ask(one)] is not None for one in each.examples)]
        for *_, attempt_id in islice(merge(*[each.entries for each in lists]), looks):
            attempt = running[attempt_id]
            if (sort := ask(attempt)) not in out_of_reach:
                ground = self._grounds.setdefault(attempt_id, by_right[sort])
                if ground is not None and self._may_be_taken(attempt):
                    yield attempt

    def _lists(self, looks: int) -> Iterator[ToLookAt]:
        job, rights = self._job, self._rights
        for team, by_priority in self._ledger.preemptible_of.items():
            own = team == job.team
            if own or rights.may_take_from(job, self._chip_type, self._charge, team):
                for priority in by_priority:
                    if not own or priority <= job.priority:
                        yield rights.listed(team, priority, looks)

    def _ground(self, attempt: Running) -> Ground | None:
        if attempt.id not in self._grounds:
            self._grounds[attempt.id] = self._ground_of_the_like(attempt)
        return self._grounds[attempt.id] if self._may_be_taken(attempt) else None

    def _ground_of_the_like(self, attempt: Running) -> Ground | None:
        known, rights = self._by_right, self._rights
        if known is not None and (sort := rights.sort_of(attempt)) in known:
            return known[sort]
        return rights.ground(self._job, self._chip_type, self._charge, attempt)

    def _may_be_taken(self, attempt: Running) -> bool:
        """The same answer for the whole search."""
        known = self._takeable.get(attempt.id)
        if known is None:
            known = self._takeable[attempt.id] = self._rights.may_be_taken(attempt)
        return known

    # -- one thing more, one thing less -------------------------------------------------------------------

    def _lift(self, option: Option) -> bool:
        """These replicas are taken, unless their team cannot spare them (R2)."""
        attempt = self._ledger.running[option.attempt]
        gone = self._gone.get(attempt.id, frozenset())
        more = _places(attempt, frozenset(option.replicas) - gone)
        ground = self._ground(attempt)
        assert ground is not None, "only what may be taken is an option"
        self._ledger.lift(attempt, more)
        if not self._rights.spares(attempt, self._job.team, ground, more):
            self._ledger.put_back(attempt, more)
            self._rights.swayed = True
            return False
        self._gone[attempt.id] = gone | frozenset(option.replicas)
        return True

    def _put_back(self, attempt: Id, replicas: Iterable[int], before: Gone) -> None:
        """These replicas stay after all, as far as they were not gone before."""
        row, keep = self._ledger.running[attempt], before.get(attempt, frozenset())
        back = frozenset(replicas) - keep
        self._ledger.put_back(row, _places(row, back))
        left = self._gone[attempt] - back
        if left:
            self._gone[attempt] = left
        else:
            del self._gone[attempt]

    # -- quota --------------------------------------------------------------------------------------------

    def _quota_binds(self) -> list[Id]:
        """The team and those above it whose limit leaves no room for the gang."""
        ledger = self._ledger
        return [
            payer
            for payer in ledger.payers(self._job.team)
            if (quota := ledger.quotas.get((payer, self._chip_type))) is not None
            and quota.limit is not None
            and ledger.used.get((payer, self._chip_type), 0) + self._charge > quota.limit
        ]

    def _make_room_in_quota(self) -> bool:
        """Work below the limits that bind is taken, the cheapest first, until the gang fits."""
        binding = set(self._quota_binds())
        if not binding:
            return False
        options = [
            option
            for attempt in self._candidates()
            if binding & set(self._ledger.payers(attempt.team))
            for option in self._of_attempt(attempt, None, self._gone.get(attempt.id, frozenset()))
            if any(
                name == self._chip_type
                for place in attempt.placements
                for name, _ in self._ledger.charges(place)
            )
        ]
        self._by_right = None
        for option in sorted(options)[: self._most_nodes]:
            if self._lift(option) and self._placer.fits(self._kind):
                return True
        return False

    # -- R5 -----------------------------------------------------------------------------------------------

    def _put_back_what_is_not_needed(self) -> None:
        """What the gang fits without stays: whole attempts first, the dearest first, then single replicas."""
        for option in sorted((self._whole(attempt) for attempt in self._gone), reverse=True):
            self._put_back(option.attempt, option.replicas, {})
            if self._placer.fits(self._kind):
                continue
            self._lift_again(option.attempt, option.replicas)
            self._keep_some(self._ledger.running[option.attempt])

    def _keep_some(self, attempt: Running) -> None:
        """As many replicas stay as can, if its minimum can (R4)."""
        gone = sorted(self._gone[attempt.id], reverse=True)
        if len(gone) > _spare(attempt):
            if attempt.gang is None or not _spare(attempt):
                return
            least = gone[-attempt.gang.minimum :]
            self._put_back(attempt.id, least, {})
            if not self._placer.fits(self._kind):
                self._lift_again(attempt.id, least)
                return
        for replica in sorted(self._gone[attempt.id]):
            self._put_back(attempt.id, [replica], {})
            if not self._placer.fits(self._kind):
                self._lift_again(attempt.id, [replica])

    def _lift_again(self, attempt: Id, replicas: Iterable[int]) -> None:
        row, again = self._ledger.running[attempt], frozenset(replicas)
        self._ledger.lift(row, _places(row, again))
        self._gone[attempt] = self._gone.get(attempt, frozenset()) | again

    def _whole(self, attempt: Id) -> Option:
        """All that is taken from the attempt, as one option."""
        taking, row = self._taking(attempt), self._ledger.running[attempt]
        loss = taking.loss if taking.rung is Rung.SHRINK else self._rights.reckoned(row)
        gone = tuple(sorted(self._gone[attempt]))
        return Option(taking.rung, self._rights.height(row), loss, attempt, gone)

    def _taking(self, attempt_id: Id) -> Taking:
        attempt, gone = self._ledger.running[attempt_id], self._gone[attempt_id]
        ground = self._ground(attempt)
        assert ground is not None, "only what may be taken is taken"
        if len(gone) == len(attempt.placements):
            rung = self._rights.worst_rung(attempt)
            return Taking(attempt.id, attempt.job, rung, ground, self._rights.loss(attempt))
        keeps = tuple(place.replica for place in attempt.placements if place.replica not in gone)
        loss = self._rights.loss_of_shrinking(attempt)
        return Taking(attempt.id, attempt.job, Rung.SHRINK, ground, loss, keeps)

    def _stays_within(self, placements: tuple[Placement, ...]) -> bool:
        """R2 once more, with everything taken and the gang in its place."""
        charged = (name for place in placements for name, _ in self._ledger.charges(place))
        chip_type = next(charged, "")
        return all(
            self._rights.ends_within(self._job.team, chip_type, 0, attempt.team, ground)
            for attempt in (self._ledger.running[attempt] for attempt in self._gone)
            if attempt.team != self._job.team and (ground := self._ground(attempt)) is not None
        )


def most_nodes(kind: JobClass, policy: Policy) -> int:
    """So many nodes one search looks at."""
    return max(policy.max_nodes_searched, CHOICES * kind.gang.minimum)


def may_free_enough(node: Id, request: Request, leaving: Iterable[Running], ledger: Ledger) -> bool:
    """Whether the node may have the whole chips of one replica once all these have left it: a quick no."""
    held = (len(place.chips) for attempt in leaving for place in attempt.placements if place.node == node)
    return not request.chips or request.chips <= ledger.columns.untouched(node) + sum(held)


def _places(attempt: Running, replicas: frozenset[int]) -> tuple[Placement, ...]:
    return tuple(place for place in attempt.placements if place.replica in replicas)


def _spare(attempt: Running) -> int:
    """How many replicas an elastic attempt can give up (R4)."""
    return len(attempt.placements) - attempt.gang.minimum if attempt.gang is not None else 0


def _cost(options: list[Option]) -> Cost:
    ids = tuple(sorted({option.attempt for option in options}))
    rung = max((option.rung for option in options), default=0)
    height = max((option.height for option in options if option.rung == rung), default=0)
    return rung, height, sum(option.loss for option in options), len(ids), ids
