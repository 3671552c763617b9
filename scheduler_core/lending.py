"""Idle chips lent to guests, and guests called back (T3, Q7).

The naive rule gives an idle chip to the next in line and evicts the owner, or the guest, when that turns out wrong.
Here the owner keeps what it has. Whoever waits may use it meanwhile as a *guest*, and lives by its owner:

- *Owners first.* Guests are in none of the books that owners are placed by. The line is served as if there were no
  guests; where somebody is to start on what a guest holds, the guest goes, and the start waits until it has gone.
- *Only what is on offer.* Each owner of the chip offers it (the ladder, `offers`), does not use it now, lets
  this team or organization in, and did not ask for the chip alone; both sides accept the isolation.
- *Only what is held to a limit.* The chip enforces limits, and the guest has one for its memory: a share of the
  chip's, or of the host's where a core is the chip. Σ guests ≤ what the chip's owners hold, and ≤ 1000.
- *A guest can go at any time*: it is preemptible and has no `min_runtime`.
- *A gang comes and goes whole*: every replica on chips on offer, of one type, and one recall is of all of them.

Lending, and lending again, is always a decision; yielding is not: the rule goes with the guest (`YieldRule`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from typing import ClassVar, Final

from scheduler_core.decision import Decision, Loan, Recall, RecallGround, Start, Unit, Verdict, YieldRule
from scheduler_core.fairness import budget_spent
from scheduler_core.fit import may_use
from scheduler_core.guests import (
    LEAST_SLICING,
    Room,
    guest_share,
    may_be_guest,
    may_lend,
    shares_of,
    slicing_of,
)
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    ISOLATION_STRENGTH,
    AllocationKind,
    Chip,
    ChipShare,
    Id,
    Job,
    Placement,
    Running,
)
from scheduler_core.policy import Policy
from scheduler_core.reasons import CycleBound, Reason
from scheduler_core.shape import tenant
from scheduler_core.wording import counted

MAX_CLASSES_ASKED: Final = 256
"""Classes of jobs for which one cycle looks for a chip on offer; the next cycle goes on."""


@dataclass(frozen=True, slots=True)
class ChipsLent(Reason):
    """T3: its chips are free, and guests who used them are leaving."""

    code: ClassVar[str] = "chips_lent"
    guests: int

    def sentence(self) -> str:
        has = "has" if self.guests == 1 else "have"
        return f"Its place is lent out: it starts when {counted(self.guests, 'guest')} {has} left."


class Lending:
    """Who is a guest where, cycle after cycle."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger, self._policy = ledger, policy
        self._offering: set[Id] = set()
        """Live attempts that offer their chips."""
        for attempt in ledger.running.values():
            self.note(attempt)

    def note(self, attempt: Running) -> None:
        """This attempt is live, and is now so."""
        if attempt.kind is AllocationKind.OWNED and attempt.offered is not None:
            self._offering.add(attempt.id)
        else:
            self._offering.discard(attempt.id)

    def forget(self, attempts: Collection[Id]) -> None:
        """They have ended."""
        self._offering.difference_update(attempts)

    def turns(self, now: int) -> Iterator[int]:
        """When owners who are back will have been so for as long as guests may stay (S6)."""
        for attempt in self._offering if self._ledger.guests else ():
            owner = self._ledger.running.get(attempt)
            if owner is not None and owner.busy is not None and owner.busy + self._policy.yield_stop > now:
                yield owner.busy + self._policy.yield_stop

    def lend(self, decision: Decision, waiting: Mapping[Id, Job], now: int) -> Decision:
        """The decision with guests: who must go, who starts only when they have gone, who is let in.

        The ledger must hold no trial. Costs nothing where nobody offers and nobody is a guest.
        """
        if not self._ledger.guests and not self._offering:
            return decision
        room = Room(self._ledger)
        recalls = {guest.id: ground for guest in room.staying() if (ground := self._lapsed(guest, room, now))}
        kept, withheld = self._make_way(decision.units, room, recalls)
        loans = self._let_in(decision, waiting, room, now)
        places = {unit.start.job: unit.start.placements for unit in decision.units}
        promises = self._ledger.promises
        promised = (job for job in withheld if job in promises and promises[job].placements == places[job])
        return replace(
            decision,
            units=kept,
            promises=(*decision.promises, *promised),
            verdicts=_without(decision.verdicts, {loan.start.job for loan in loans})
            + tuple(Verdict((job,), (ChipsLent(guests),)) for job, guests in withheld.items()),
            loans=loans,
            recalls=tuple(self._recall(guest, recalls[guest], now) for guest in sorted(recalls)),
        )

    def _lapsed(self, guest: Running, room: Room, now: int) -> RecallGround | None:
        """Why this guest must go; None while all its owners let it stay."""
        for share in shares_of(guest):
            chip = self._ledger.chips.get(share.chip)
            if chip is None:
                continue
            owners = room.owners_of(chip)
            if not owners or any(owner.departing for owner, _ in owners):
                return RecallGround.OWNER_GONE
            for owner, _ in owners:
                if owner.offered is None or not may_lend(owner, guest):
                    return RecallGround.OWNER_KEEPS
                if owner.busy is not None and now - owner.busy >= self._policy.yield_stop:
                    return RecallGround.OWNER_BACK
        return None

    def _make_way(
        self, units: tuple[Unit, ...], room: Room, recalls: dict[Id, RecallGround]
    ) -> tuple[tuple[Unit, ...], dict[Id, int]]:
        """The units that start now; and of each that must wait for guests to go, its job and how many they are.

        Those guests are recalled too. What takes chips back starts later anyway, and meets guests then.
        """
        kept: list[Unit] = []
        withheld: dict[Id, int] = {}
        for unit in units:
            places = unit.start.placements
            room.plan(places)
            in_the_way = set() if unit.takings else room.in_the_way(places, recalls)
            for guest in in_the_way:
                recalls.setdefault(guest, RecallGround.CHIPS_NEEDED)
            if in_the_way:
                withheld[unit.start.job] = len(in_the_way)
            else:
                kept.append(unit)
        return tuple(kept), withheld

    def _let_in(
        self, decision: Decision, waiting: Mapping[Id, Job], room: Room, now: int
    ) -> tuple[Loan, ...]:
        """Waiting jobs that start as guests: teams with the fewest lent milli-chips first, then priority, submit
        time, id; where one of a class finds no chip, none of it does (P6).
        """
        offers = self._offers(room, now)
        line = _Line(self._ledger, decision, waiting) if offers else None
        loans: list[Loan] = []
        asked = 0
        while line and len(loans) < self._policy.max_loans and asked < MAX_CLASSES_ASKED:
            job = line.next()
            if job is None:
                break
            found = self._place(job, offers, room)
            if found is None:
                asked += 1
                line.drop()
                continue
            loans.append(found)
            for place in found.start.placements:
                room.let_in(job, place)
            line.go_on(sum(share.milli for place in found.start.placements for share in place.chips))
        return tuple(loans)

    def _offers(self, room: Room, now: int) -> list[Chip]:
        """Chips all of whose owners offer them and do not use them; the longest on offer first."""
        closed = _closing(self._ledger, now)
        seen: dict[Id, tuple[int, Id, Chip]] = {}
        for attempt in sorted(self._offering):
            owner = self._ledger.running.get(attempt)
            for share in shares_of(owner) if owner else ():
                chip = self._ledger.chips.get(share.chip)
                if chip is None or chip.id in seen or chip.node in closed or not self._is_open(chip):
                    continue
                owners = room.owners_of(chip)
                if all(_offers_now(owner) for owner, _ in owners):
                    since = max(owner.offered or 0 for owner, _ in owners)
                    seen[chip.id] = (since, chip.id, chip)
        return [chip for _, _, chip in sorted(seen.values(), key=lambda found: found[:2])]

    def _is_open(self, chip: Chip) -> bool:
        node = self._ledger.nodes.get(chip.node)
        return node is not None and node.ready and chip.healthy and slicing_of(chip) >= LEAST_SLICING

    def _place(self, job: Job, offers: Iterable[Chip], room: Room) -> Loan | None:
        """Its least number of replicas on the first chips that will do, all of one type; None where there are none.

        Each replica is let in while the next is looked for, so that none takes what another has.
        """
        by_type: defaultdict[str, list[Chip]] = defaultdict(list)
        for chip in offers:
            by_type[chip.type].append(chip)
        for chips in by_type.values():
            places: list[Placement] = []
            while len(places) < job.gang.minimum:
                barred = {place.node for place in places} if job.gang.spread else ()
                place = self._replica(job, len(places), [c for c in chips if c.node not in barred], room)
                if place is None:
                    break
                room.let_in(job, place)
                places.append(place)
            for place in places:
                room.let_out(job, place)
            if len(places) == job.gang.minimum:
                return self._loan(job, tuple(places), room)
        return None

    def _replica(self, job: Job, number: int, chips: Iterable[Chip], room: Room) -> Placement | None:
        """This replica on the first of the chips that will do, all on one node."""
        request = job.gang.request
        found: defaultdict[Id, list[ChipShare]] = defaultdict(list)
        for chip in chips:
            share = self._share(job, chip, room)
            if share is None or not room.host_has(chip.node, request):
                continue
            together = found[chip.node]
            together.append(share)
            if len(together) == (request.chips or 1):
                return Placement(number, chip.node, request.cpu, request.memory, tuple(together))
        return None

    def _loan(self, job: Job, places: tuple[Placement, ...], room: Room) -> Loan:
        policy = self._policy
        chips = [self._ledger.chips[share.chip] for place in places for share in place.chips]
        lenders = {owner.id for chip in chips for owner, _ in room.owners_of(chip)}
        rule = YieldRule(policy.yield_above, policy.yield_pause, policy.yield_stop, policy.yield_memory_floor)
        return Loan(Start(job.id, job.version, places), tuple(sorted(lenders)), rule)

    def _share(self, job: Job, chip: Chip, room: Room) -> ChipShare | None:
        """What the job would hold of this chip; None where it may not be a guest there, or has no room."""
        request = job.gang.request
        node = self._ledger.nodes[chip.node]
        if not may_use(node, job) or (request.chip_types and chip.type not in request.chip_types):
            return None
        if request.image and not node.images:
            return None
        if request.isolation is not None and slicing_of(chip) < ISOLATION_STRENGTH[request.isolation]:
            return None
        owners = room.owners_of(chip)
        if any(owner.job == job.id or not may_lend(owner, job) for owner, _ in owners):
            return None
        if not room.accepts(chip, tenant(job.organization, request.isolation)):
            return None
        pool = self._ledger.pools.get(node.pool)
        share = guest_share(request, chip, pool.slice_step if pool else 100)
        if share is None or request.chip_memory > chip.memory or not room.chip_has(chip, share):
            return None
        return share

    def _recall(self, guest: Id, ground: RecallGround, now: int) -> Recall:
        attempt = self._ledger.guests[guest]
        milli = sum(share.milli for share in shares_of(attempt))
        lost = max(now - attempt.saved, 0) + attempt.restart_cost
        return Recall(attempt.id, attempt.job, ground, milli * lost // 1000)


class _Line:
    """Classes of waiting jobs that may be guests, in the order in which they are asked."""

    def __init__(self, ledger: Ledger, decision: Decision, waiting: Mapping[Id, Job]) -> None:
        self._ledger, self._waiting = ledger, waiting
        self._passed_over = {*ledger.promises, *decision.promises, *(fault.job for fault in decision.broken)}
        self._lent: Counter[Id] = Counter()
        self._of_set: Counter[Id] = Counter(
            job.set for unit in decision.units if (job := waiting.get(unit.start.job)) and job.set is not None
        )
        for guest in ledger.guests.values():
            self._lent[guest.team] += sum(share.milli for share in shares_of(guest))
        self._heap: list[tuple[tuple[int, int, int, Id], int]] = []
        self._left: dict[int, Iterator[Id]] = {}
        self._now: Job | None = None
        for number, verdict in enumerate(decision.verdicts):
            first = waiting.get(verdict.jobs[0])
            if first is None or not may_be_guest(first) or isinstance(verdict.reasons[0], CycleBound):
                continue
            self._left[number] = iter(verdict.jobs)
            job = self._next_of(number)
            if job is not None:
                self._heap.append((self._place_of(job), number))
        heapify(self._heap)

    def next(self) -> Job | None:
        """Whoever is asked now; None when nobody is left. Then `go_on` or `drop`."""
        while self._heap:
            (place, number) = self._heap[0]
            job = self._waiting[place[-1]]
            if not self._may_start(job):
                self.drop()
            elif self._place_of(job) != place:
                heapreplace(self._heap, (self._place_of(job), number))
            else:
                self._now = job
                return job
        return None

    def drop(self) -> None:
        """The class of whoever was asked is asked no more."""
        heappop(self._heap)

    def go_on(self, milli: int) -> None:
        """Whoever was asked has been lent so much; the next of its class is asked in its turn."""
        number = self._heap[0][1]
        if self._now is not None:
            self._lent[self._now.team] += milli
            if self._now.set is not None:
                self._of_set[self._now.set] += 1
        job = self._next_of(number)
        if job is None:
            heappop(self._heap)
        else:
            heapreplace(self._heap, (self._place_of(job), number))

    def _next_of(self, number: int) -> Job | None:
        for job_id in self._left[number]:
            job = self._waiting.get(job_id)
            if job is not None and self._may_start(job) and not job.min_runtime:
                return job
        return None

    def _may_start(self, job: Job) -> bool:
        """Nothing but room keeps it from starting: law 5, R6, F5 and the array's cap."""
        ledger = self._ledger
        if job.id in self._passed_over or ledger.live_of_job.get(job.id, 0):
            return False
        if job.set is not None and job.set_cap is not None:
            live = ledger.live_of_set.get(job.set, 0) + self._of_set[job.set]
            if live >= job.set_cap:
                return False
        return budget_spent(ledger, job.team) is None

    def _place_of(self, job: Job) -> tuple[int, int, int, Id]:
        return self._lent[job.team], -job.priority, job.submitted, job.id


def _offers_now(owner: Running) -> bool:
    return owner.offered is not None and owner.busy is None and not owner.departing


def _closing(ledger: Ledger, now: int) -> set[Id]:
    """Nodes that will close: nothing new is lent there (B5)."""
    closing = {node for node, row in ledger.nodes.items() if row.drain_at is not None}
    for window in ledger.windows.values():
        if window.ends > now:
            closing.update(window.nodes)
    return closing


def _without(verdicts: tuple[Verdict, ...], started: Set[Id]) -> tuple[Verdict, ...]:
    """The verdicts less those who do not wait any more."""
    if not started:
        return verdicts
    left: list[Verdict] = []
    for verdict in verdicts:
        if started and not started.isdisjoint(verdict.jobs):
            jobs = tuple(job for job in verdict.jobs if job not in started)
            left += [replace(verdict, jobs=jobs)] if jobs else []
        else:
            left.append(verdict)
    return tuple(left)
