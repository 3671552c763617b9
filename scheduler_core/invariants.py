"""The safety laws, checked on every decision before anybody applies it.

Counted anew from rows and the unit's own placements, not by the code that found them. Costs time in
proportion to the units. A unit that breaks a law is dropped and named; the others are judged as if it had
never been.

All units are first counted together (`tally`), which is quick and finds nothing wrong nearly always. Only
where it does find something are they judged one after the other, so that it can be said who broke what.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from scheduler_core.decision import Decision, Excess, Resizing, Start, Taking, Unit, Verdict, Violation
from scheduler_core.fairness import budget_spent, user_cap
from scheduler_core.fit import may_use
from scheduler_core.invariants_takings import given_up, job_of, resize_faults, taking_faults
from scheduler_core.ledger import Ledger
from scheduler_core.lending_laws import enforce_lending
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
    Running,
    Snapshot,
)
from scheduler_core.reasons import LawBroken
from scheduler_core.shape import EXCLUSIVE, ChipState, Tenant, tenant
from scheduler_core.slices import charge, host_cpu_claim, slice_memory, slice_milli
from scheduler_core.tally import adds_up
from scheduler_core.topology import together

Broken: TypeAlias = tuple[str, str]
"""The law's name, and what is wrong in a sentence."""

Sums: TypeAlias = defaultdict[Id, int]


def check(snapshot: Snapshot, decision: Decision) -> tuple[Violation, ...]:
    """Every unit and loan of the decision that breaks a safety law on this snapshot; none when all is well."""
    ledger, waiting = Ledger(snapshot), {job.id: job for job in snapshot.jobs}
    lawful, broken = enforce(ledger, waiting, decision)
    return broken + enforce_lending(ledger, waiting, lawful)[1]


def enforce(
    ledger: Ledger, waiting: dict[Id, Job], decision: Decision
) -> tuple[Decision, tuple[Violation, ...]]:
    """The decision without the units that break a law, and those units' jobs with the law's name.

    A dropped job gets a verdict that says so. The ledger must hold no trial.
    """
    if not decision.relief and not decision.resizings and adds_up(ledger, waiting, decision.units):
        return decision, ()
    books = _Books(ledger)
    kept: list[Unit] = []
    broken: list[Violation] = []
    relief, taken = _judge_relief(books, decision.relief, broken)
    for unit in decision.units:
        fault = _judge_unit(books, waiting.get(unit.start.job), unit, taken)
        if fault is None:
            kept.append(unit)
            taken |= {taking.attempt for taking in unit.takings}
        else:
            broken.append(Violation(unit.start.job, *fault))
    withheld = tuple(Verdict((fault.job,), (LawBroken(fault.law, fault.sentence),)) for fault in broken)
    resizings, dropped = _judge_resizings(books, waiting, decision.resizings, taken, broken)
    if not broken:
        return decision, ()
    verdicts = decision.verdicts + withheld
    dropped |= {fault.job for fault in broken}
    decided = replace(
        decision,
        units=tuple(kept),
        verdicts=verdicts,
        relief=relief,
        resizings=resizings,
        promises=tuple(job for job in decision.promises if job not in dropped),
        broken=tuple(broken),
    )
    return decided, tuple(broken)


def fault_of(ledger: Ledger, job: Job, start: Start) -> Broken | None:
    """The first law that this start alone would break on the ledger as it is, trial and all; None for none."""
    return _judge(_Books(ledger), job, start)


def excesses(ledger: Ledger) -> tuple[Excess, ...]:
    """What already stands above its capacity or limit: a lowered limit, a lost chip. Reported, never
    worsened.
    """
    return (
        *(excess for node in sorted(ledger.overdrawn) for excess in node_excesses(ledger, node)),
        *(
            Excess(f"limit of {quota.chip_type}", team.id, used, quota.limit)
            for team in sorted(ledger.teams.values(), key=lambda team: team.id)
            for quota in team.quotas
            if quota.limit is not None
            and (used := ledger.used.get((team.id, quota.chip_type), 0)) > quota.limit
        ),
    )


def node_excesses(ledger: Ledger, node: Id) -> Iterator[Excess]:
    """What is held of this node and its chips above what there is."""
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


@dataclass
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
    of_user: defaultdict[tuple[Id, Id, str], int] = field(default_factory=lambda: defaultdict(int))
    live: Sums = field(default_factory=_sums)

    def credit(self, takes: _Takes, victims: Iterable[tuple[Running, tuple[Placement, ...]]]) -> None:
        """Of a start that waits for its victims, what they still hold is counted with them; and they are
        charged no longer (R6).
        """
        for victim, places in victims:
            given = _Takes(self.ledger, places)
            for mine, sums, theirs in (
                (takes.cpu, self.cpu, given.cpu),
                (takes.memory, self.memory, given.memory),
                (takes.chip_milli, self.chip_milli, given.chip_milli),
                (takes.chip_memory, self.chip_memory, given.chip_memory),
            ):
                for place in theirs.keys() & mine.keys():
                    spared = min(mine[place], theirs[place])
                    mine[place] -= spared
                    sums[place] -= spared
            self.uncharge(victim, places)

    def uncharge(self, victim: Running, places: tuple[Placement, ...]) -> None:
        """What is on its way out is charged to nobody."""
        for chip_type, milli in _Takes(self.ledger, places).charges.items():
            for payer in self.ledger.payers(victim.team):
                self.used[payer, chip_type] -= milli
            self.of_user[victim.team, victim.user, chip_type] -= milli

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
            self.of_user[job.team, job.user, chip_type] += milli

    def copied(self) -> _Books:
        """The same in books of their own."""
        own = {name: value.copy() for name, value in vars(self).items() if name != "ledger"}
        own["tenants"] = {chip: list(holders) for chip, holders in self.tenants.items()}
        return _Books(self.ledger, **own)

    def chip(self, chip: Chip) -> ChipState:
        """What the ledger says is left of a chip."""
        return self.ledger.columns.chip(chip.id)


class _Takes:
    """What one start takes, added up: per node, per chip and per chip type."""

    __slots__ = ("charges", "chip_memory", "chip_milli", "cpu", "memory")

    def __init__(self, ledger: Ledger, placements: Iterable[Placement]) -> None:
        self.cpu, self.memory, self.chip_milli, self.chip_memory = _sums(), _sums(), _sums(), _sums()
        self.charges: dict[str, int] = {}
        for placement in placements:
            self.cpu[placement.node] += placement.cpu
            self.memory[placement.node] += placement.memory
            for share in placement.chips:
                chip = ledger.chips.get(share.chip)
                if chip is None:
                    continue
                self.cpu[placement.node] += host_cpu_claim(share.milli, chip.host_cpu)
                self.chip_milli[chip.id] += share.milli
                self.chip_memory[chip.id] += share.memory
                cost = charge(share.milli, share.memory, chip.memory)
                self.charges[chip.type] = self.charges.get(chip.type, 0) + cost


def _judge_relief(
    books: _Books, relief: Iterable[Taking], broken: list[Violation]
) -> tuple[tuple[Taking, ...], set[Id]]:
    """The takings that break no law, no longer charged for what they give up; and their attempts."""
    kept: list[Taking] = []
    taken: set[Id] = set()
    for taking in relief:
        fault = next(taking_faults(books.ledger, (taking,), taken), None)
        if fault is not None:
            broken.append(Violation(taking.job, *fault))
            continue
        attempt = books.ledger.running[taking.attempt]
        books.uncharge(attempt, given_up(attempt, taking))
        taken.add(taking.attempt)
        kept.append(taking)
    return tuple(kept), taken


def _judge_unit(books: _Books, job: Job | None, unit: Unit, taken: set[Id]) -> Broken | None:
    """The first law that the unit breaks, counting its victims gone; one that breaks none is in the books."""
    if not unit.takings:
        return _judge(books, job, unit.start)
    ledger = books.ledger
    for fault in taking_faults(ledger, unit.takings, taken):
        return fault
    for fault in _move_faults(books, unit.takings):
        return fault
    victims = [(attempt, given_up(attempt, taking)) for attempt, taking in _victims(ledger, unit.takings)]
    mark = ledger.mark()
    for attempt, places in victims:
        ledger.lift(attempt, places)
    broken = _judge(books, job, unit.start)
    ledger.rewind(mark)
    if broken is None and job is not None:
        books.credit(_Takes(ledger, unit.start.placements), victims)
        for moved, start in _moves(ledger, unit.takings):
            books.add(moved, _Takes(ledger, start.placements))
    return broken


def _judge_resizings(
    books: _Books,
    waiting: dict[Id, Job],
    resizings: Iterable[Resizing],
    taken: set[Id],
    broken: list[Violation],
) -> tuple[tuple[Resizing, ...], set[Id]]:
    """Those that break no law, all that leaves for them gone; and the jobs of the others."""
    kept: list[Resizing] = []
    dropped: set[Id] = set()
    for resizing in resizings:
        before = books.copied()
        fault = _judge_resizing(books, waiting, resizing, taken)
        if fault is None:
            kept.append(resizing)
            taken |= set(resizing.attempts)
            continue
        books.__dict__.update(before.__dict__)
        broken.append(fault)
        dropped |= {job for job, _ in resizing.promised}
    return tuple(kept), dropped


def _judge_resizing(
    books: _Books, waiting: dict[Id, Job], resizing: Resizing, taken: set[Id]
) -> Violation | None:
    """The first law that it breaks; one that breaks none is in the books (E1, R4, R6, F4)."""
    ledger = books.ledger
    for resize in resizing.resizes:
        for fault in resize_faults(ledger, resize, taken):
            return Violation(resize.job, *fault)
    leaving = [ledger.running[resize.attempt] for resize in resizing.resizes]
    resized = (
        job_of(attempt, len(row.placements)) for attempt, row in zip(leaving, resizing.resizes, strict=True)
    )
    starts = [Start(row.job, 0, row.placements) for row in resizing.resizes]
    asked = [*zip(resized, starts, strict=True), *((waiting.get(row.job), row) for row in resizing.starts)]
    mark = ledger.mark()
    for attempt in leaving:
        ledger.lift(attempt)
    broken = None
    for job, start in asked:
        if (found := _judge(books, job, start)) is not None:
            broken = broken or Violation(start.job, *found)
    ledger.rewind(mark)
    places = [place for _, start in asked for place in start.placements]
    books.credit(_Takes(ledger, places), [(attempt, attempt.placements) for attempt in leaving])
    return broken


def _move_faults(books: _Books, takings: Iterable[Taking]) -> Iterator[Broken]:
    """A move lands whole, as asked, on capacity that is free before anybody leaves (R7)."""
    for job, start in _moves(books.ledger, takings):
        yield from (*_gang_faults(job, start), *_place_faults(books, job, start))
        takes = _Takes(books.ledger, start.placements)
        yield from (*_capacity_faults(books, takes), *_sharing_faults(books, job, start))


def _moves(ledger: Ledger, takings: Iterable[Taking]) -> Iterator[tuple[Job, Start]]:
    for attempt, taking in _victims(ledger, takings):
        if taking.placements and (job := job_of(attempt)) is not None:
            yield job, Start(job.id, job.version, taking.placements)


def _victims(ledger: Ledger, takings: Iterable[Taking]) -> Iterator[tuple[Running, Taking]]:
    return ((ledger.running[taking.attempt], taking) for taking in takings)


def _judge(books: _Books, job: Job | None, start: Start) -> Broken | None:
    """The first law that the start breaks; one that breaks none is in the books afterwards."""
    if job is None or start.version != job.version:
        return "waiting", "The job does not wait in this version."
    if job.id in books.jobs or books.ledger.live_of_job.get(job.id, 0):
        return "one_live_attempt", "The job already has a live attempt."
    job = _as_chosen(books, job, start)
    for fault in (*_gang_faults(job, start), *_place_faults(books, job, start)):
        return fault
    takes = _Takes(books.ledger, start.placements)
    for fault in _faults_of_amount(books, job, start, takes):
        return fault
    books.add(job, takes)
    return None


def _as_chosen(books: _Books, job: Job, start: Start) -> Job:
    """The job with the one of its alternatives that the start serves (P5); as it is where it serves none."""
    for gang in (job.gang, *job.others) if job.others else ():
        chosen = replace(job, gang=gang)
        if not any(True for _ in (*_gang_faults(chosen, start), *_place_faults(books, chosen, start))):
            return chosen
    return job


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
        if node is None or not may_use(node, job):
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
    within = job.gang.within
    if within and len(start.placements) > 1 and not together(ledger, within, start.placements):
        yield "topology", f"The replicas do not share the first {within} parts of the topology."


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
        state = ledger.states[node]
        if cpu[node] > 0 and cpu[node] + books.cpu[node] > state.free_cpu:
            yield "node_cpu", f"Node {node} has {state.free_cpu - books.cpu[node]} millicores left."
        if memory[node] > 0 and memory[node] + books.memory[node] > state.free_memory:
            yield "node_memory", f"Node {node} has {state.free_memory - books.memory[node]} MiB left."
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
    """F1, F4, F5 and the array's cap."""
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
        cap = user_cap(ledger, job.team, chip_type)
        of_user = (job.team, job.user, chip_type)
        if cap is not None and ledger.of_user.get(of_user, 0) + books.of_user[of_user] + milli > cap:
            yield "user_cap", f"Team {job.team} allows each user {cap} milli {chip_type}."
        if (spent := budget_spent(ledger, job.team)) is not None:
            yield "budget", f"The budget of team {spent.id} is spent."
    if job.set is not None and job.set_cap is not None:
        live = ledger.live_of_set.get(job.set, 0) + books.live[job.set]
        if live >= job.set_cap:
            yield "set_cap", f"{live} tasks of the set live; its cap is {job.set_cap}."
