"""The safety laws of guests (Q7, T3), checked on every decision before anybody applies it.

Counted anew from rows and the loans alone, not by the code that found them. A loan or a recall that breaks a law is
dropped and named; the others are judged as if it had never been.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from scheduler_core.decision import Decision, Loan, Recall, Start, Verdict, Violation
from scheduler_core.fit import may_use
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    ISOLATION_STRENGTH,
    WHOLE_CHIP,
    Chip,
    Id,
    Isolation,
    Job,
    Lend,
    Placement,
    Running,
)
from scheduler_core.reasons import LawBroken
from scheduler_core.slices import host_cpu_claim, slice_memory, slice_milli

Broken: TypeAlias = tuple[str, str]
"""The law's name, and what is wrong in a sentence."""


def enforce_lending(
    ledger: Ledger, waiting: Mapping[Id, Job], decision: Decision
) -> tuple[Decision, tuple[Violation, ...]]:
    """The decision without the loans and recalls that break a law, and their jobs with the law's name.

    The units must be lawful among themselves already (`invariants`). The ledger must hold no trial.
    """
    if not (decision.loans or decision.recalls or ledger.guests):
        return decision, ()
    books = _Guests(ledger, decision)
    broken: list[Violation] = []
    recalls: list[Recall] = []
    for recall in decision.recalls:
        fault = _recall_fault(ledger, recall, recalls)
        if fault is None:
            recalls.append(recall)
        else:
            broken.append(Violation(recall.job, *fault))
    units = []
    for unit in decision.units:
        fault = None if unit.takings else books.fault_of_start(unit.start)
        if fault is None:
            units.append(unit)
        else:
            broken.append(Violation(unit.start.job, *fault))
    loans: list[Loan] = []
    for loan in decision.loans:
        fault = next(books.faults_of(loan, waiting.get(loan.start.job)), None)
        if fault is None:
            loans.append(loan)
            books.add(waiting[loan.start.job], loan)
        else:
            broken.append(Violation(loan.start.job, *fault))
    if not broken:
        return decision, ()
    told = tuple(Verdict((fault.job,), (LawBroken(fault.law, fault.sentence),)) for fault in broken)
    decided = replace(
        decision,
        units=tuple(units),
        verdicts=decision.verdicts + told,
        broken=decision.broken + tuple(broken),
        loans=tuple(loans),
        recalls=tuple(recalls),
    )
    return decided, tuple(broken)


def _recall_fault(ledger: Ledger, recall: Recall, before: list[Recall]) -> Broken | None:
    guest = ledger.guests.get(recall.attempt)
    if guest is None or guest.leaving or guest.job != recall.job:
        return "recalled_alive", f"Attempt {recall.attempt} is no guest, or is leaving already."
    if any(one.attempt == recall.attempt for one in before):
        return "recalled_once", f"Attempt {recall.attempt} would be recalled twice."
    return None


class _Guests:
    """Everybody on the chips that are lent: owners, guests, and what the decision adds."""

    def __init__(self, ledger: Ledger, decision: Decision) -> None:
        self._ledger = ledger
        self._starting = {unit.start.job for unit in decision.units}
        self._milli: Counter[Id] = Counter()
        self._memory: Counter[Id] = Counter()
        self._host_cpu: Counter[Id] = Counter()
        self._host_memory: Counter[Id] = Counter()
        self._beside: defaultdict[Id, list[tuple[Id, Isolation | None]]] = defaultdict(list)
        self._of_set: Counter[Id] = Counter()
        self._newly_owned: set[Id] = set()
        for guest in ledger.guests.values():
            for place in guest.placements:
                self._host_cpu[place.node] += place.cpu
                self._host_memory[place.node] += place.memory
                for share in place.chips:
                    self._milli[share.chip] += share.milli
                    self._memory[share.chip] += share.memory
                    self._beside[share.chip].append((guest.organization, guest.isolation))

    def fault_of_start(self, start: Start) -> Broken | None:
        """Whoever starts by right meets no guest, on its chips or on its host; one that does not is counted."""
        nodes = {place.node for place in start.placements}
        for place in start.placements:
            for share in place.chips:
                if self._milli[share.chip] or self._memory[share.chip] or self._beside[share.chip]:
                    return "chip_lent", f"A guest is on chip {share.chip}, on which the job would start."
        for place in start.placements:
            claims = sum(
                host_cpu_claim(share.milli, self._ledger.chips[share.chip].host_cpu) for share in place.chips
            )
            self._host_cpu[place.node] += place.cpu + claims
            self._host_memory[place.node] += place.memory
            self._newly_owned |= {share.chip for share in place.chips}
        for node in nodes:
            state = self._ledger.states[node]
            short = self._host_cpu[node] > state.free_cpu or self._host_memory[node] > state.free_memory
            if short and any(
                place.node == node for guest in self._ledger.guests.values() for place in guest.placements
            ):
                return "host_lent", f"Guests hold what the job would take of node {node}."
        return None

    def faults_of(self, loan: Loan, job: Job | None) -> Iterator[Broken]:
        """Every law that this loan breaks, beside those before it."""
        start = loan.start
        if job is None or job.version != start.version:
            yield "waiting", "The job does not wait in this version."
            return
        if job.id in self._starting or self._ledger.live_of_job.get(job.id, 0):
            yield "one_live_attempt", "The job already has a live attempt, or starts by right."
        if not job.preemptible or job.min_runtime:
            yield "guest_preemptible", "A guest must be able to go at any time."
        if [place.replica for place in start.placements] != list(range(job.gang.minimum)):
            yield "guest_whole", f"A guest is {job.gang.minimum} replicas, numbered from 0."
            return
        if job.gang.within is not None:
            yield "guest_whole", "A gang that must be in one part of the topology is no guest."
        if job.gang.spread and len({place.node for place in start.placements}) < len(start.placements):
            yield "spread", "Two replicas share a node."
        types = {
            chip.type
            for place in start.placements
            for share in place.chips
            if (chip := self._ledger.chips.get(share.chip)) is not None
        }
        if len(types) > 1:
            yield "as_asked", f"The guest gets chips of {len(types)} types."
        if job.set is not None and job.set_cap is not None:
            live = self._ledger.live_of_set.get(job.set, 0) + self._of_set[job.set]
            if live >= job.set_cap:
                yield "set_cap", f"{live} tasks of the set live; its cap is {job.set_cap}."
        yield from self._faults_of_places(job, start.placements)

    def _faults_of_places(self, job: Job, places: Sequence[Placement]) -> list[Broken]:
        """Each beside the replicas before it, which are counted for that long."""
        found: list[Broken] = []
        for place in places:
            found += self._faults_of_place(job, place)
            self._hold(job, place)
        for place in places:
            self._hold(job, place, -1)
        return found

    def _faults_of_place(self, job: Job, place: Placement) -> Iterator[Broken]:
        ledger, request = self._ledger, job.gang.request
        node = ledger.nodes.get(place.node)
        if node is None or not may_use(node, job):
            yield "node_in_service", f"Node {place.node} may not be used."
            return
        if request.image and not node.images:
            yield "images", f"Node {node.id} runs no images."
        state = ledger.states[node.id]
        if place.cpu and self._host_cpu[node.id] + place.cpu > state.free_cpu:
            yield "node_cpu", f"Node {node.id} has no {place.cpu} millicores left for a guest."
        if place.memory and self._host_memory[node.id] + place.memory > state.free_memory:
            yield "node_memory", f"Node {node.id} has no {place.memory} MiB left for a guest."
        chips = [ledger.chips.get(share.chip) for share in place.chips]
        types = {chip.type for chip in chips if chip is not None}
        if (place.cpu, place.memory) != (request.cpu, request.memory) or len(set(chips)) < len(chips):
            yield "as_asked", "The guest does not get what it asked for."
        if len(chips) != max(request.chips, 1):
            yield "as_asked", f"The guest gets {len(chips)} chips."
        if request.chip_types and not types <= set(request.chip_types):
            yield "as_asked", "The chips are not of a type that the job named."
        for share, chip in zip(place.chips, chips, strict=True):
            if chip is None or chip.node != node.id or not chip.healthy:
                yield "chip_in_service", f"Chip {share.chip} may not be used on node {node.id}."
                continue
            pool = ledger.pools.get(node.pool)
            milli, memory = _asked(job, chip, pool.slice_step if pool else 100)
            if (share.milli, share.memory) != (milli, memory):
                yield "as_asked", f"The guest does not get what it asked for of chip {chip.id}."
            yield from self._faults_on_chip(job, chip, milli, memory)

    def _faults_on_chip(self, job: Job, chip: Chip, milli: int, memory: int) -> Iterator[Broken]:
        """Q7 and T3 on one chip."""
        owners = [
            (attempt, held)
            for attempt in self._ledger.running_on(chip.node)
            for place in attempt.placements
            for held in place.chips
            if held.chip == chip.id
        ]
        if not owners or chip.id in self._newly_owned:
            yield "lent_by_owner", f"Chip {chip.id} has no owner who lends it."
        for owner, _ in owners:
            if owner.departing or owner.offered is None or owner.busy is not None:
                yield "lent_by_owner", f"Attempt {owner.id} does not offer chip {chip.id}."
            if not _lets_in(owner, job):
                yield "lend", f"Attempt {owner.id} does not lend to this job."
        lent = min(WHOLE_CHIP, sum(held.milli for _, held in owners))
        if self._milli[chip.id] + milli > lent:
            yield (
                "guest_milli",
                f"Chip {chip.id} lends {lent} milli, of which {self._milli[chip.id]} are lent.",
            )
        reserved = sum(_capped(owner, held.memory) for owner, held in owners)
        if memory and reserved + self._memory[chip.id] + memory > chip.memory:
            yield "guest_memory", f"Chip {chip.id} has no {memory} MiB beside {reserved} MiB of its owners."
        if chip.host_cpu and not job.gang.request.memory:
            yield "guest_cap", "The guest's memory has no limit."
        slicing = max(
            (ISOLATION_STRENGTH[one] for one in chip.isolation if one is not Isolation.EXCLUSIVE), default=-1
        )
        asked = job.gang.request.isolation
        if slicing < ISOLATION_STRENGTH[max(asked or Isolation.ENFORCED, Isolation.ENFORCED, key=_rank)]:
            yield (
                "isolation",
                f"Chip {chip.id} does not hold a guest to its limits, or not as strictly as asked.",
            )
        beside = [(owner.organization, owner.isolation) for owner, _ in owners] + self._beside[chip.id]
        for organization, accepts in beside:
            strongest = max(_rank(accepts or Isolation.ENFORCED), _rank(asked or Isolation.ENFORCED))
            if Isolation.EXCLUSIVE in (accepts, asked) or (
                organization != job.organization and slicing < strongest
            ):
                yield "isolation", f"Chip {chip.id} is held by work that does not share it with this job."

    def add(self, job: Job, loan: Loan) -> None:
        """The loan is taken as applied."""
        self._starting.add(job.id)
        if job.set is not None:
            self._of_set[job.set] += 1
        for place in loan.start.placements:
            self._hold(job, place)

    def _hold(self, job: Job, place: Placement, times: int = 1) -> None:
        self._host_cpu[place.node] += times * place.cpu
        self._host_memory[place.node] += times * place.memory
        for share in place.chips:
            self._milli[share.chip] += times * share.milli
            self._memory[share.chip] += times * share.memory
            who = job.organization, job.gang.request.isolation
            self._beside[share.chip].append(who) if times > 0 else self._beside[share.chip].remove(who)


def _asked(job: Job, chip: Chip, step: int) -> tuple[int, int]:
    """Milli-chips and MiB of the chip that the job's request means there (Q3, Q6)."""
    request = job.gang.request
    if request.chips:
        return WHOLE_CHIP, 0 if chip.host_cpu else chip.memory
    milli = request.milli or slice_milli(request.chip_memory, chip.memory, step)
    memory = request.chip_memory or slice_memory(request.milli, chip.memory)
    return milli, 0 if chip.host_cpu else memory


def _capped(owner: Running, memory: int) -> int:
    return memory if owner.chip_memory_cap is None else min(memory, owner.chip_memory_cap)


def _lets_in(owner: Running, job: Job) -> bool:
    allowed = {
        Lend.NEVER: False,
        Lend.TEAM: owner.team == job.team,
        Lend.ORGANIZATION: owner.organization == job.organization,
        Lend.ANY: True,
    }
    return allowed[owner.lend] and owner.isolation is not Isolation.EXCLUSIVE


def _rank(isolation: Isolation) -> int:
    return ISOLATION_STRENGTH[isolation]
