"""The laws of guests (Q7, T3), counted the slow and plain way from a snapshot and a decision."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from scheduler_core import Decision, Policy, Snapshot, decide
from scheduler_core.model import AllocationKind, Id, Isolation, Job, Lend, Running

RANK = {"cooperative": 0, "enforced": 1, "hardware": 2, "exclusive": 3}


def guests_of(snapshot: Snapshot) -> list[Running]:
    return [attempt for attempt in snapshot.running if attempt.kind is AllocationKind.GUEST]


def without_guests(snapshot: Snapshot) -> Snapshot:
    """The cell as its owners alone make it."""
    return replace(
        snapshot,
        running=tuple(
            replace(attempt, offered=None, busy=None)
            for attempt in snapshot.running
            if attempt.kind is AllocationKind.OWNED
        ),
    )


def guest_of(job: Job, attempt_id: Id, decision: Decision) -> Running:
    """The live attempt that apply writes for a loan."""
    loan = next(loan for loan in decision.loans if loan.start.job == job.id)
    return Running(
        attempt_id,
        job.id,
        job.team,
        job.organization,
        loan.start.placements,
        priority=job.priority,
        preemptible=True,
        set=job.set,
        isolation=job.gang.request.isolation,
        user=job.user,
        kind=AllocationKind.GUEST,
        submitted=job.submitted,
        started=decision.now,
    )


def lending_holds(snapshot: Snapshot, policy: Policy, decision: Decision) -> None:
    """Every law about who is lent what, on the cell that the decision leaves behind."""
    owners_lose_nothing(snapshot, policy, decision)
    jobs = {job.id: job for job in snapshot.jobs}
    assert len({loan.start.job for loan in decision.loans}) == len(decision.loans) <= policy.max_loans
    lives = {attempt.job for attempt in snapshot.running}
    starting = {unit.start.job for unit in decision.units}
    answered = [job for verdict in decision.verdicts for job in verdict.jobs]
    after = list(guests_of(snapshot))
    for number, loan in enumerate(decision.loans):
        job = jobs[loan.start.job]
        assert job.preemptible
        assert not job.min_runtime
        assert job.gang.within is None
        assert job.id not in lives | starting
        assert job.id not in answered
        assert job.version == loan.start.version
        places = loan.start.placements
        assert [place.replica for place in places] == list(range(job.gang.minimum))
        assert not job.gang.spread or len({place.node for place in places}) == len(places)
        for place in places:
            node = next(node for node in snapshot.nodes if node.id == place.node)
            assert node.ready
            assert node.drain_at is None
            assert not job.pools or node.pool in job.pools
            assert node.images or not job.gang.request.image
            assert (place.cpu, place.memory) == (job.gang.request.cpu, job.gang.request.memory)
            assert len(place.chips) == max(job.gang.request.chips, 1)
        after.append(guest_of(job, 10_000 + number, decision))
        _lent_by_all(snapshot, loan.lenders, after[-1])
    _fits(snapshot, after[len(guests_of(snapshot)) :], after)
    _recalled_rightly(snapshot, policy, decision)


def owners_lose_nothing(snapshot: Snapshot, policy: Policy, decision: Decision) -> None:
    """Guests change nothing for anybody else: the same starts, but for those that wait until guests have gone."""
    if policy.guest_weight:
        return  # then guests do count in the order of the line
    plain = decide(without_guests(snapshot), policy)
    withheld = {
        job
        for verdict in decision.verdicts
        if verdict.reasons[0].code == "chips_lent"
        for job in verdict.jobs
    }
    told = {unit.start.job for unit in plain.units} - {unit.start.job for unit in decision.units}
    assert told == withheld
    assert [unit for unit in plain.units if unit.start.job not in withheld] == list(decision.units)
    assert (plain.relief, plain.resizings, plain.reservations) == (
        decision.relief,
        decision.resizings,
        decision.reservations,
    )
    assert not plain.loans
    assert not plain.recalls


def _lent_by_all(snapshot: Snapshot, lenders: tuple[Id, ...], guest: Running) -> None:
    for share in (share for place in guest.placements for share in place.chips):
        owners = [
            owner
            for owner in snapshot.running
            if owner.kind is AllocationKind.OWNED
            for place in owner.placements
            if any(held.chip == share.chip for held in place.chips)
        ]
        assert owners
        assert {owner.id for owner in owners} <= set(lenders)
        for owner in owners:
            assert owner.offered is not None
            assert owner.busy is None
            assert not owner.departing
            assert owner.lend is not Lend.NEVER
            assert owner.isolation is not Isolation.EXCLUSIVE
            assert owner.lend is not Lend.TEAM or owner.team == guest.team
            assert owner.lend is not Lend.ORGANIZATION or owner.organization == guest.organization
            assert owner.job != guest.job


def _fits(snapshot: Snapshot, new: list[Running], guests: list[Running]) -> None:
    """Q7 wherever a guest came: milli, memory, host, isolation. What stood before may have become too much."""
    chips = {chip.id: chip for chip in snapshot.chips}
    owned, reserved, lent, lent_memory = Counter[Id](), Counter[Id](), Counter[Id](), Counter[Id]()
    beside: defaultdict[Id, list[tuple[Id, Isolation | None]]] = defaultdict(list)
    cpu, memory = Counter[Id](), Counter[Id]()
    for attempt in [*(one for one in snapshot.running if one.kind is AllocationKind.OWNED), *guests]:
        is_guest = attempt.kind is AllocationKind.GUEST
        for place in attempt.placements:
            cpu[place.node] += place.cpu
            memory[place.node] += place.memory
            for share in place.chips:
                beside[share.chip].append((attempt.organization, attempt.isolation))
                if is_guest:
                    lent[share.chip] += share.milli
                    lent_memory[share.chip] += share.memory
                else:
                    owned[share.chip] += share.milli
                    cap = attempt.chip_memory_cap
                    reserved[share.chip] += share.memory if cap is None else min(cap, share.memory)
                    if share.chip in chips:
                        cpu[place.node] += -(-share.milli * chips[share.chip].host_cpu // 1000)
    for guest, place in ((one, place) for one in new for place in one.placements):
        node = next(node for node in snapshot.nodes if node.id == place.node)
        assert not place.cpu or cpu[node.id] <= node.cpu
        assert not place.memory or memory[node.id] <= node.memory
        for share in place.chips:
            chip = chips[share.chip]
            assert chip.healthy
            assert chip.node == node.id
            assert lent[chip.id] <= min(1000, owned[chip.id])
            if chip.host_cpu:
                assert not share.memory, "its memory is the host's,"
                assert place.memory, "and limited there"
            else:
                assert share.memory
                assert reserved[chip.id] + lent_memory[chip.id] <= chip.memory
            slicing = max((RANK[one] for one in chip.isolation if one != "exclusive"), default=-1)
            assert slicing >= max(1, RANK[guest.isolation or "enforced"])
            for organization, accepts in beside[chip.id]:
                assert Isolation.EXCLUSIVE not in (accepts, guest.isolation)
                if organization != guest.organization:
                    assert slicing >= RANK[accepts or "enforced"]


def _recalled_rightly(snapshot: Snapshot, policy: Policy, decision: Decision) -> None:
    """Whoever has lost an owner's leave is recalled, and nobody else but for a start by right."""
    recalled = {recall.attempt: recall.ground for recall in decision.recalls}
    assert len(recalled) == len(decision.recalls)
    for guest in guests_of(snapshot):
        lapsed = False
        for share in (share for place in guest.placements for share in place.chips):
            if share.chip not in {chip.id for chip in snapshot.chips}:
                continue
            owners = [
                owner
                for owner in snapshot.running
                if owner.kind is AllocationKind.OWNED
                and any(held.chip == share.chip for place in owner.placements for held in place.chips)
            ]
            lapsed |= not owners
            for owner in owners:
                stays = owner.offered is not None and not owner.departing and owner.lend is not Lend.NEVER
                stays &= owner.lend is not Lend.TEAM or owner.team == guest.team
                stays &= owner.lend is not Lend.ORGANIZATION or owner.organization == guest.organization
                stays &= owner.busy is None or decision.now - owner.busy < policy.yield_stop
                lapsed |= not stays or owner.isolation is Isolation.EXCLUSIVE
        if guest.leaving:
            assert guest.id not in recalled
        elif lapsed:
            assert guest.id in recalled
        elif guest.id in recalled:
            assert recalled[guest.id] == "chips_needed"
