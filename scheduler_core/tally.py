"""The safety laws for all units together: one count of what they take, held against what there is.

It says yes only when every unit keeps every law; what exactly is wrong, and whose fault it is, `invariants`
says. Like it, it counts from rows and placements alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from scheduler_core.decision import Start, Unit
from scheduler_core.fairness import budget_spent, user_cap
from scheduler_core.fit import may_use
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    ISOLATION_STRENGTH,
    WHOLE_CHIP,
    ChipShare,
    Id,
    Isolation,
    Job,
    Node,
    Placement,
    Request,
)
from scheduler_core.shape import EXCLUSIVE, Tenant, tenant
from scheduler_core.slices import charge, host_cpu_claim, slice_memory, slice_milli
from scheduler_core.topology import together


def adds_up(ledger: Ledger, waiting: Mapping[Id, Job], units: Sequence[Unit]) -> bool:
    """Whether all units together keep every law; False also where this count cannot tell."""
    tally = _Tally(ledger)
    for unit in units:
        start = unit.start
        job = waiting.get(start.job)
        if unit.takings or job is None or job.version != start.version or not tally.counts(job, start):
            return False
    return tally.holds()


class _Tally:
    """What units take, added up."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: set[Id] = set()
        self._cpu: defaultdict[Id, int] = defaultdict(int)
        self._memory: defaultdict[Id, int] = defaultdict(int)
        self._milli: defaultdict[Id, int] = defaultdict(int)
        self._chip_memory: defaultdict[Id, int] = defaultdict(int)
        self._tenants: defaultdict[Id, list[tuple[Tenant, int]]] = defaultdict(list)
        """Of each chip: who takes a part of it, and the least strength that was asked for."""
        self._charges: defaultdict[tuple[Id, Id, str, bool], int] = defaultdict(int)
        """By team, user, chip type, and whether it can be taken back."""
        self._of_set: defaultdict[Id, int] = defaultdict(int)
        self._caps: dict[Id, int] = {}

    def counts(self, job: Job, start: Start) -> bool:
        """The start is in the tally; False when it breaks a law by itself, or serves one of alternatives."""
        if job.others:
            return False
        gang, placements = job.gang, start.placements
        count = len(placements)
        if not gang.minimum <= count <= gang.maximum or job.id in self._jobs:
            return False
        self._jobs.add(job.id)
        if job.set is not None:
            self._of_set[job.set] += 1
            if job.set_cap is not None:
                self._caps[job.set] = min(job.set_cap, self._caps.get(job.set, job.set_cap))
        if count > 1 and gang.spread and len({placement.node for placement in placements}) < count:
            return False
        types: set[str] = set()
        for replica, placement in enumerate(placements):
            if placement.replica != replica or not self._counts_placement(job, placement, types):
                return False
        if count > 1 and gang.within and not together(self._ledger, gang.within, placements):
            return False
        named = gang.request.chip_types
        return len(types) <= 1 and (not named or types <= set(named))

    def _counts_placement(self, job: Job, placement: Placement, types: set[str]) -> bool:
        request, node_id = job.gang.request, placement.node
        node = self._ledger.nodes.get(node_id)
        if node is None or not may_use(node, job):
            return False
        if placement.cpu != request.cpu or placement.memory != request.memory:
            return False
        self._cpu[node_id] += placement.cpu
        self._memory[node_id] += placement.memory
        shares = placement.chips
        if request.chips:
            return self._counts_chips(job, node_id, shares, types)
        if request.milli or request.chip_memory:
            return len(shares) == 1 and self._counts_part(job, request, node, shares[0], types)
        return not shares

    def _counts_chips(self, job: Job, node_id: Id, shares: Sequence[ChipShare], types: set[str]) -> bool:
        """So many different whole chips of the node."""
        count, chips, whole = len(shares), self._ledger.chips, self._milli
        if count != job.gang.request.chips or (count > 1 and len({share.chip for share in shares}) < count):
            return False
        for share in shares:
            chip = chips.get(share.chip)
            if chip is None or chip.node != node_id or not chip.healthy:
                return False
            if share.milli != WHOLE_CHIP or share.memory != chip.memory:
                return False
            types.add(chip.type)
            if chip.host_cpu:
                self._cpu[node_id] += host_cpu_claim(WHOLE_CHIP, chip.host_cpu)
            whole[chip.id] += WHOLE_CHIP
            self._chip_memory[chip.id] += chip.memory
            self._charges[job.team, job.user, chip.type, job.preemptible] += WHOLE_CHIP
        return True

    def _counts_part(self, job: Job, request: Request, node: Node, share: ChipShare, types: set[str]) -> bool:
        """A part of a chip of the node, as the request says or the pool's step rounds it (Q3)."""
        chip = self._ledger.chips.get(share.chip)
        if chip is None or chip.node != node.id or not chip.healthy:
            return False
        milli = request.milli
        if not milli:
            pool = self._ledger.pools.get(node.pool)
            milli = slice_milli(request.chip_memory, chip.memory, pool.slice_step if pool else 100)
        memory = request.chip_memory or slice_memory(milli, chip.memory)
        if share.milli != milli or share.memory != memory:
            return False
        asked = -1
        if request.isolation is not Isolation.EXCLUSIVE:
            asked = 0 if request.isolation is None else ISOLATION_STRENGTH[request.isolation]
        self._tenants[chip.id].append((tenant(job.organization, request.isolation), asked))
        types.add(chip.type)
        if chip.host_cpu:
            self._cpu[node.id] += host_cpu_claim(milli, chip.host_cpu)
        self._milli[chip.id] += milli
        self._chip_memory[chip.id] += memory
        self._charges[job.team, job.user, chip.type, job.preemptible] += charge(milli, memory, chip.memory)
        return True

    def holds(self) -> bool:
        """Whether there is room for all of it, and everybody may share with everybody beside him."""
        return (
            self._ledger.live_of_job.keys().isdisjoint(self._jobs)
            and all(self._host_has(node, cpu) for node, cpu in self._cpu.items())
            and all(self._chip_has(chip, milli) for chip, milli in self._milli.items())
            and all(self._chip_is_shared(chip) for chip in self._tenants)
            and self._teams_may()
            and self._sets_may()
        )

    def _host_has(self, node: Id, cpu: int) -> bool:
        (free_cpu, free_memory), memory = self._ledger.columns.host_left(node), self._memory[node]
        return (cpu <= 0 or cpu <= free_cpu) and (memory <= 0 or memory <= free_memory)

    def _chip_has(self, chip: Id, milli: int) -> bool:
        state, memory = self._ledger.columns.chip(chip), self._chip_memory[chip]
        if chip not in self._tenants and state.tenants:
            return False
        return milli <= state.free_milli and (not memory or memory <= state.free_memory)

    def _chip_is_shared(self, chip: Id) -> bool:
        """P4: strangers only at or above what all accept, and nobody beside one who asked for it alone."""
        state, newcomers = self._ledger.columns.chip(chip), self._tenants[chip]
        if any(state.slicing < asked for _, asked in newcomers):
            return False
        holders = {who for who, _ in state.tenants} | {who for who, _ in newcomers}
        strongest = max(who.accepts for who in holders)
        if strongest == EXCLUSIVE:
            return len(newcomers) == 1 and not state.tenants
        return len({who.organization for who in holders}) == 1 or state.slicing >= strongest

    def _teams_may(self) -> bool:
        """F1, F4 and F5."""
        ledger = self._ledger
        used: defaultdict[tuple[Id, str], int] = defaultdict(int)
        firm: defaultdict[tuple[Id, str], int] = defaultdict(int)
        of_user: defaultdict[tuple[Id, Id, str], int] = defaultdict(int)
        for (team, user, chip_type, preemptible), milli in self._charges.items():
            if milli:
                of_user[team, user, chip_type] += milli
                for payer in ledger.payers(team):
                    used[payer, chip_type] += milli
                if not preemptible:
                    firm[team, chip_type] += milli
        return (
            all(self._limit_allows(use, milli) for use, milli in used.items())
            and all(self._guarantee_covers(use, milli) for use, milli in firm.items())
            and all(self._user_may(*whose, milli) for whose, milli in of_user.items())
            and not any(budget_spent(ledger, team) for team, _, _ in of_user)
        )

    def _limit_allows(self, use: tuple[Id, str], milli: int) -> bool:
        quota = self._ledger.quotas.get(use)
        limit = None if quota is None else quota.limit
        return limit is None or self._ledger.used.get(use, 0) + milli <= limit

    def _guarantee_covers(self, use: tuple[Id, str], milli: int) -> bool:
        quota = self._ledger.quotas.get(use)
        return quota is None or self._ledger.firm.get(use, 0) + milli <= quota.guaranteed

    def _user_may(self, team: Id, user: Id, chip_type: str, milli: int) -> bool:
        cap = user_cap(self._ledger, team, chip_type)
        return cap is None or self._ledger.of_user.get((team, user, chip_type), 0) + milli <= cap

    def _sets_may(self) -> bool:
        """No array has more live tasks than its cap."""
        live = self._ledger.live_of_set
        return all(live.get(set_, 0) + self._of_set[set_] <= cap for set_, cap in self._caps.items())
