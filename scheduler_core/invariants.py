"""The safety laws, checked on every decision before anybody applies it.

Counted anew from rows and the unit's own placements, not by the code that found them. Costs time in
proportion to the units. A unit that breaks a law is dropped and named; the others are judged as if it had
never been.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from scheduler_core.decision import Decision, Excess, Start, Unit, Verdict, Violation
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    ISOLATION_STRENGTH,
    WHOLE_CHIP,
    Chip,
    ChipShare,
    Id,
    Isolation,
    Job,
    Placement,
    Request,
    Snapshot,
)
from scheduler_core.reasons import LawBroken
from scheduler_core.shape import EXCLUSIVE, ChipState, Tenant, tenant
from scheduler_core.slices import charge, host_cpu_claim, slice_memory, slice_milli

Broken: TypeAlias = tuple[str, str]
"""The law's name, and what is wrong in a sentence."""

Sums: TypeAlias = defaultdict[Id, int]


def check(snapshot: Snapshot, decision: Decision) -> tuple[Violation, ...]:
    """Every unit of the decision that breaks a safety law on this snapshot; none when all is well."""
    return enforce(Ledger(snapshot), {job.id: job for job in snapshot.jobs}, decision)[1]


def enforce(
    ledger: Ledger, waiting: dict[Id, Job], decision: Decision
) -> tuple[Decision, tuple[Violation, ...]]:
    """The decision without the units that break a law, and those units' jobs with the law's name.

    A dropped job gets a verdict that says so. The ledger must hold no trial.
    """
    books = _Books(ledger)
    kept: list[Unit] = []
    broken: list[Violation] = []
    for unit in decision.units:
        job = waiting.get(unit.start.job)
        fault = _judge(books, job, unit.start)
        if fault is None:
            kept.append(unit)
        else:
            broken.append(Violation(unit.start.job, *fault))
    if not broken:
        return decision, ()
    withheld = tuple(Verdict((fault.job,), (LawBroken(fault.law, fault.sentence),)) for fault in broken)
    verdicts = decision.verdicts + withheld
    return replace(decision, units=tuple(kept), verdicts=verdicts, broken=tuple(broken)), tuple(broken)


def excesses(ledger: Ledger) -> tuple[Excess, ...]:
    """What already stands above its capacity or limit: a lowered limit, a lost chip. Reported, never
    worsened.
    """
    return (
        *(excess for node in sorted(ledger.overdrawn) for excess in _node_excesses(ledger, node)),
        *(
            Excess(f"limit of {quota.chip_type}", team.id, used, quota.limit)
            for team in sorted(ledger.teams.values(), key=lambda team: team.id)
            for quota in team.quotas
            if quota.limit is not None
            and (used := ledger.used.get((team.id, quota.chip_type), 0)) > quota.limit
        ),
    )


def _node_excesses(ledger: Ledger, node: Id) -> Iterator[Excess]:
    state = ledger.states[node]
    shape = state.shape
    if shape.free_cpu < 0:
        yield Excess("node cpu", node, shape.cpu - shape.free_cpu, shape.cpu)
    if shape.free_memory < 0:
        yield Excess("node memory", node, shape.memory - shape.free_memory, shape.memory)
    for (_, chip_id), chip in sorted(zip(state.chips, shape.chips, strict=True)):
        if chip.free_milli < 0:
            yield Excess("chip milli", chip_id, WHOLE_CHIP - chip.free_milli, WHOLE_CHIP)
        if chip.free_memory < 0:
            yield Excess("chip memory", chip_id, chip.memory - chip.free_memory, chip.memory)


def _sums() -> Sums:
    return defaultdict(int)


@dataclass(slots=True)
class _Books:
    """What the units judged so far take, beside what the ledger says is held."""

    ledger: Ledger
    jobs: set[Id] = field(default_factory=set)
    cpu: Sums = field(default_factory=_sums)
    memory: Sums = field(default_factory=_sums)
    chip_milli: Sums = field(default_factory=_sums)
    chip_memory: Sums = field(default_factory=_sums)
    tenants: dict[Id, list[Tenant]] = field(default_factory=dict)
    used: defaultdict[tuple[Id, str], int] = field(default_factory=lambda: defaultdict(int))
    firm: defaultdict[tuple[Id, str], int] = field(default_factory=lambda: defaultdict(int))
    live: Sums = field(default_factory=_sums)

    def add(self, job: Job, takes: _Takes) -> None:
        """The start is taken as applied."""
        self.jobs.add(job.id)
        if job.set is not None:
            self.live[job.set] += 1
        by = tenant(job.organization, job.gang.request.isolation)
        for node, cpu in takes.cpu.items():
            self.cpu[node] += cpu
            self.memory[node] += takes.memory[node]
        for chip, milli in takes.chip_milli.items():
            self.chip_milli[chip] += milli
            self.chip_memory[chip] += takes.chip_memory[chip]
            self.tenants.setdefault(chip, []).append(by)
        for chip_type, milli in takes.charges.items():
            for payer in self.ledger.payers(job.team):
                self.used[payer, chip_type] += milli
            self.firm[job.team, chip_type] += 0 if job.preemptible else milli

    def chip(self, chip: Chip) -> ChipState:
        """What the ledger says is left of a chip."""
        state = self.ledger.states[chip.node]
        return state.shape.chips[state.chips.index((chip.index, chip.id))]


class _Takes:
    """What one start takes, added up: per node, per chip and per chip type."""

    __slots__ = ("charges", "chip_memory", "chip_milli", "cpu", "memory")

    def __init__(self, ledger: Ledger, start: Start) -> None:
        self.cpu, self.memory, self.chip_milli, self.chip_memory = _sums(), _sums(), _sums(), _sums()
        self.charges: dict[str, int] = {}
        for placement in start.placements:
            self.cpu[placement.node] += placement.cpu
            self.memory[placement.node] += placement.memory
            for share in placement.chips:
                chip = ledger.chips[share.chip]
                self.cpu[placement.node] += host_cpu_claim(share.milli, chip.host_cpu)
                self.chip_milli[chip.id] += share.milli
                self.chip_memory[chip.id] += share.memory
                cost = charge(share.milli, share.memory, chip.memory)
                self.charges[chip.type] = self.charges.get(chip.type, 0) + cost


def _judge(books: _Books, job: Job | None, start: Start) -> Broken | None:
    """The first law that the start breaks; one that breaks none is in the books afterwards."""
    if job is None or start.version != job.version:
        return "waiting", "The job does not wait in this version."
    if job.id in books.jobs or books.ledger.live_of_job.get(job.id, 0):
        return "one_live_attempt", "The job already has a live attempt."
    for fault in (*_gang_faults(job, start), *_place_faults(books, job, start)):
        return fault
    takes = _Takes(books.ledger, start)
    for fault in _faults_of_amount(books, job, start, takes):
        return fault
    books.add(job, takes)
    return None


def _faults_of_amount(books: _Books, job: Job, start: Start, takes: _Takes) -> Iterator[Broken]:
    yield from _capacity_faults(books, takes)
    yield from _sharing_faults(books, job, start)
    yield from _team_faults(books, job, takes)


def _gang_faults(job: Job, start: Start) -> Iterator[Broken]:
    gang = job.gang
    count = len(start.placements)
    if not gang.minimum <= count <= gang.maximum:
        yield "whole_gang", f"{count} replicas instead of {gang.minimum} to {gang.maximum}."
    if [placement.replica for placement in start.placements] != list(range(count)):
        yield "whole_gang", "The replicas are not numbered from 0."
    if gang.spread and len({placement.node for placement in start.placements}) < count:
        yield "spread", "Two replicas share a node."


def _place_faults(books: _Books, job: Job, start: Start) -> Iterator[Broken]:
    """Every replica gets what it asked for, on a node and chips that may be used."""
    ledger, request = books.ledger, job.gang.request
    types: set[str] = set()
    for placement in start.placements:
        node = ledger.nodes.get(placement.node)
        if node is None or not node.ready or (job.pools and node.pool not in job.pools):
            yield "node_in_service", f"Node {placement.node} may not be used."
            return
        for share in placement.chips:
            chip = ledger.chips.get(share.chip)
            if chip is None or chip.node != node.id or not chip.healthy:
                yield "chip_in_service", f"Chip {share.chip} may not be used on node {placement.node}."
                return
            types.add(chip.type)
        pool = ledger.pools.get(node.pool)
        if not _as_asked(ledger, request, placement, pool.slice_step if pool else 100):
            yield "as_asked", f"Replica {placement.replica} does not get what it asked for."
    if len(types) > 1 or (request.chip_types and not types <= set(request.chip_types)):
        yield "as_asked", "The chips are not all of one type that the job named."


def _as_asked(ledger: Ledger, request: Request, placement: Placement, step: int) -> bool:
    if (placement.cpu, placement.memory) != (request.cpu, request.memory):
        return False
    if len({share.chip for share in placement.chips}) < len(placement.chips):
        return False
    if request.chips:
        whole = all(
            share == ChipShare(share.chip, WHOLE_CHIP, _size(ledger, share)) for share in placement.chips
        )
        return whole and len(placement.chips) == request.chips
    if not (request.milli or request.chip_memory):
        return not placement.chips
    if len(placement.chips) != 1:
        return False
    share = placement.chips[0]
    milli = request.milli or slice_milli(request.chip_memory, _size(ledger, share), step)
    memory = request.chip_memory or slice_memory(request.milli, _size(ledger, share))
    return (share.milli, share.memory) == (milli, memory)


def _size(ledger: Ledger, share: ChipShare) -> int:
    return ledger.chips[share.chip].memory


def _capacity_faults(books: _Books, takes: _Takes) -> Iterator[Broken]:
    """No unit creates or increases an excess of host CPU, host memory or a chip."""
    ledger, cpu, memory = books.ledger, takes.cpu, takes.memory
    milli, chip_memory = takes.chip_milli, takes.chip_memory
    for node in cpu:
        shape = ledger.states[node].shape
        if cpu[node] > 0 and cpu[node] + books.cpu[node] > shape.free_cpu:
            yield "node_cpu", f"Node {node} has {shape.free_cpu - books.cpu[node]} millicores left."
        if memory[node] > 0 and memory[node] + books.memory[node] > shape.free_memory:
            yield "node_memory", f"Node {node} has {shape.free_memory - books.memory[node]} MiB left."
    for chip_id in milli:
        chip = books.chip(ledger.chips[chip_id])
        if milli[chip_id] + books.chip_milli[chip_id] > chip.free_milli:
            yield (
                "chip_milli",
                f"Chip {chip_id} has {chip.free_milli - books.chip_milli[chip_id]} milli left.",
            )
        if chip_memory[chip_id] and chip_memory[chip_id] + books.chip_memory[chip_id] > chip.free_memory:
            left = chip.free_memory - books.chip_memory[chip_id]
            yield "chip_memory", f"Chip {chip_id} has {left} MiB left."


def _sharing_faults(books: _Books, job: Job, start: Start) -> Iterator[Broken]:
    """P4: the class that was asked for is enforced, and strangers share only at or above what both accept."""
    wanted = job.gang.request.isolation
    newcomer = tenant(job.organization, wanted)
    inside: dict[Id, int] = {}
    for share in (share for placement in start.placements for share in placement.chips):
        chip = books.ledger.chips[share.chip]
        state = books.chip(chip)
        sliced = not job.gang.request.chips
        if sliced and wanted is not Isolation.EXCLUSIVE:
            asked = 0 if wanted is None else ISOLATION_STRENGTH[wanted]
            if state.slicing < asked:
                yield "isolation", f"Chip {chip.id} does not enforce the isolation asked for."
        holders = [holder for holder, _ in state.tenants] + books.tenants.get(chip.id, [])
        holders += [newcomer] * inside.get(chip.id, 0)
        inside[chip.id] = inside.get(chip.id, 0) + 1
        for holder in holders:
            strongest = max(holder.accepts, newcomer.accepts)
            stranger = holder.organization != newcomer.organization
            if strongest == EXCLUSIVE or (stranger and state.slicing < strongest):
                yield "isolation", f"Chip {chip.id} is held by work that does not share it with this job."


def _team_faults(books: _Books, job: Job, takes: _Takes) -> Iterator[Broken]:
    """F1, F4 and the array's cap."""
    ledger = books.ledger
    for chip_type, milli in takes.charges.items():
        if not milli:
            continue
        for payer in ledger.payers(job.team):
            quota = ledger.quotas.get((payer, chip_type))
            would_use = ledger.used.get((payer, chip_type), 0) + books.used[payer, chip_type] + milli
            if quota is not None and quota.limit is not None and would_use > quota.limit:
                yield "team_limit", f"Team {payer} would use {would_use} of {quota.limit} milli {chip_type}."
        own = ledger.quotas.get((job.team, chip_type))
        firm = ledger.firm.get((job.team, chip_type), 0) + books.firm[job.team, chip_type]
        if own is not None and not job.preemptible and firm + milli > own.guaranteed:
            yield "guarantee", f"Team {job.team} is guaranteed {own.guaranteed} milli {chip_type}."
    if job.set is not None and job.set_cap is not None:
        live = ledger.live_of_set.get(job.set, 0) + books.live[job.set]
        if live >= job.set_cap:
            yield "set_cap", f"{live} tasks of the set live; its cap is {job.set_cap}."
