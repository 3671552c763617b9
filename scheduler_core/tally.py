"""The safety laws for all starts together: what they take is counted at once, and held against what there is.

It says yes only when every start keeps every law; what exactly is wrong, and whose fault it is, `invariants`
says. Like it, it counts from rows and placements alone. From the naive version, one start after another: each question
is asked of all starts at once, over arrays of whole numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from scheduler_core.columns import Ints
from scheduler_core.decision import Start, Unit
from scheduler_core.fairness import budget_spent, user_cap
from scheduler_core.filters import BEYOND
from scheduler_core.fit import may_use
from scheduler_core.ledger import Ledger
from scheduler_core.model import ISOLATION_STRENGTH, WHOLE_CHIP, Gang, Id, Isolation, Job, Request
from scheduler_core.shape import EXCLUSIVE, Tenant, tenant
from scheduler_core.topology import together

FEW: Final = 4
"""Units up to which it is as quick to judge one after the other."""
DEFAULT_STEP: Final = 100
"""Of a pool that is not known."""


def adds_up(ledger: Ledger, waiting: Mapping[Id, Job], units: Sequence[Unit]) -> bool:
    """Whether all units together keep every law; False also where this count cannot tell."""
    if len(units) <= FEW or any(unit.takings for unit in units):
        return not units
    starts = [unit.start for unit in units]
    jobs = [job for start in starts if (job := waiting.get(start.job)) is not None]
    if len(jobs) < len(starts):
        return False
    if any(job.others or job.version != start.version for job, start in zip(jobs, starts, strict=True)):
        return False
    ids = {job.id for job in jobs}
    if len(ids) < len(jobs) or not ledger.live_of_job.keys().isdisjoint(ids):
        return False
    tally = _Tally(ledger, jobs, starts)
    return (
        tally.is_known()
        and tally.is_as_asked()
        and tally.has_room()
        and tally.teams_may()
        and tally.sets_may()
    )


class _Tally:
    """What starts take, start by start, placement by placement, and share by share."""

    def __init__(self, ledger: Ledger, jobs: Sequence[Job], starts: Sequence[Start]) -> None:
        self._ledger, self._jobs, self._starts = ledger, jobs, starts
        self._places = [place for start in starts for place in start.placements]
        self._shares = [share for place in self._places for share in place.chips]
        counts = [len(start.placements) for start in starts]
        self._start_of = np.repeat(np.arange(len(starts)), np.array(counts, np.int64))
        """Of each placement."""
        held = np.array([len(place.chips) for place in self._places], np.int64)
        self._place_of = np.repeat(np.arange(len(self._places)), held)
        """Of each share."""
        self._nodes, self._node_of = _distinct([place.node for place in self._places])
        self._chips, self._chip_of = _distinct([share.chip for share in self._shares])
        gangs: dict[Gang, int] = {}
        self._gang_of = np.array([gangs.setdefault(job.gang, len(gangs)) for job in jobs])
        """Of each start."""
        self._gangs = list(gangs)

    def is_known(self) -> bool:
        """Every node and chip is there, in service, and the chip on the node; no placement has a chip twice."""
        nodes = [self._ledger.nodes.get(node) for node in self._nodes]
        chips = [self._ledger.chips.get(chip) for chip in self._chips]
        self._node_rows = [node for node in nodes if node is not None and node.ready]
        self._chip_rows = [chip for chip in chips if chip is not None and chip.healthy]
        if len(self._node_rows) < len(nodes) or len(self._chip_rows) < len(chips):
            return False
        here = np.array([node.id for node in self._node_rows])[self._node_of[self._place_of]]
        if np.any(np.array([chip.node for chip in self._chip_rows], np.int64)[self._chip_of] != here):
            return False
        pairs = self._place_of * max(len(chips), 1) + self._chip_of
        return len(np.unique(pairs)) == len(pairs)

    def is_as_asked(self) -> bool:
        """Every gang is whole, and every replica has what it asked for where its job allows."""
        return all(map(self._gang_is_whole, self._jobs, self._starts)) and self._chips_are_as_asked()

    def _gang_is_whole(self, job: Job, start: Start) -> bool:
        gang, places = job.gang, start.placements
        if not gang.minimum <= len(places) <= gang.maximum:
            return False
        for replica, place in enumerate(places):
            if (
                place.replica != replica
                or place.cpu != gang.request.cpu
                or place.memory != gang.request.memory
            ):
                return False
            if not may_use(self._ledger.nodes[place.node], job):
                return False
        if len(places) == 1:
            return True
        if gang.spread and len({place.node for place in places}) < len(places):
            return False
        return not gang.within or together(self._ledger, gang.within, places)

    def _chips_are_as_asked(self) -> bool:
        """So many whole chips, or the part of one, as the request says or the pool's step rounds it (Q3); all chips
        of a gang of one type that it named."""
        requests = [gang.request for gang in self._gangs]
        if not all(map(_makes_sense, requests)):
            return False
        chips = np.array([request.chips for request in requests])
        sliced = np.array([bool(r.milli or r.chip_memory) and not r.chips for r in requests])
        wanted = np.where(chips > 0, chips, sliced)[self._gang_of][self._start_of]
        if np.any(np.bincount(self._place_of, minlength=len(self._places)) != wanted):
            return False
        self._share_start = self._start_of[self._place_of]
        gang_of = self._gang_of[self._share_start]
        sizes = np.array([chip.memory for chip in self._chip_rows], np.int64)
        size, self._is_part = sizes[self._chip_of], sliced[gang_of]
        milli, memory = self._sides(requests, gang_of, size)
        self._milli = np.where(self._is_part, milli, WHOLE_CHIP)
        self._memory = np.where(self._is_part, memory, size)
        self._charge = np.maximum(self._milli, np.where(self._is_part, _share(self._memory, size), 0))
        if np.any(np.array([share.milli for share in self._shares]) != self._milli) or np.any(
            np.array([share.memory for share in self._shares]) != self._memory
        ):
            return False
        return self._types_are_as_asked()

    def _sides(self, requests: Sequence[Request], gang_of: Ints, size: Ints) -> tuple[Ints, Ints]:
        """What a slice is to hold on its chip: milli-chips and memory."""
        pools = self._ledger.pools
        steps = [pools[n.pool].slice_step if n.pool in pools else DEFAULT_STEP for n in self._node_rows]
        step = np.array(steps, np.int64)[self._node_of[self._place_of]]
        asked_milli = np.array([request.milli for request in requests])[gang_of]
        asked_memory = np.array([request.chip_memory for request in requests])[gang_of]
        stepped = np.minimum(WHOLE_CHIP, -(-_share(asked_memory, size) // step) * step)
        milli = np.where(asked_milli > 0, asked_milli, stepped)
        return milli, np.where(asked_memory > 0, asked_memory, milli * size // WHOLE_CHIP)

    def _types_are_as_asked(self) -> bool:
        names, of_chip = _distinct([chip.type for chip in self._chip_rows])
        of_share = of_chip[self._chip_of]
        self._type_names = names
        self._type_of = np.full(len(self._starts), -1)
        """Of each start that has chips."""
        self._type_of[self._share_start] = of_share
        if np.any(self._type_of[self._share_start] != of_share):
            return False
        pairs = set(zip(self._gang_of.tolist(), self._type_of.tolist(), strict=True))
        named = ((self._gangs[gang].request.chip_types, chip_type) for gang, chip_type in pairs)
        return all(not types or chip_type < 0 or names[chip_type] in types for types, chip_type in named)

    def has_room(self) -> bool:
        """Whether there is room for all of it, and everybody may share with everybody beside him."""
        columns = self._ledger.columns
        host_cpu = np.array([chip.host_cpu for chip in self._chip_rows], np.int64)[self._chip_of]
        cpu = np.array([place.cpu for place in self._places], np.int64)
        np.add.at(cpu, self._place_of, -(-self._milli * host_cpu // WHOLE_CHIP))
        memory = np.array([place.memory for place in self._places], np.int64)
        cpu, memory = _sums(self._node_of, cpu, self._nodes), _sums(self._node_of, memory, self._nodes)
        free_cpu, free_memory = columns.hosts_left(self._nodes)
        if np.any((cpu > 0) & (cpu > free_cpu)) or np.any((memory > 0) & (memory > free_memory)):
            return False
        milli = _sums(self._chip_of, self._milli, self._chips)
        memory = _sums(self._chip_of, self._memory, self._chips)
        free_milli, free_memory, slicing = columns.chips_left(self._chips)
        if np.any(milli > free_milli) or np.any((memory > 0) & (memory > free_memory)):
            return False
        return self._may_share(slicing)

    def _may_share(self, slicing: Ints) -> bool:
        """P4: strangers only at or above what all accept, and nobody beside one who asked for it alone, or for all of
        it."""
        columns, part = self._ledger.columns, self._is_part
        whole = np.unique(self._chip_of[~part]).tolist()
        if any(columns.tenants(self._chips[chip]) for chip in whole):
            return False
        isolations = [gang.request.isolation for gang in self._gangs]
        asked = np.array([_enforced(isolation) for isolation in isolations])[self._gang_of[self._share_start]]
        if np.any(asked[part] > slicing[self._chip_of[part]]):
            return False
        newcomers: defaultdict[int, list[Tenant]] = defaultdict(list)
        known: dict[tuple[Id, int], Tenant] = {}
        starts = self._share_start[part]
        for chip, start, gang in zip(
            self._chip_of[part].tolist(), starts.tolist(), self._gang_of[starts].tolist(), strict=True
        ):
            asks = self._jobs[start].organization, gang
            if asks not in known:
                known[asks] = tenant(asks[0], isolations[gang])
            newcomers[chip].append(known[asks])
        return all(
            _get_on(list(columns.tenants(self._chips[chip])), come, int(slicing[chip]))
            for chip, come in newcomers.items()
        )

    def teams_may(self) -> bool:
        """F1, F4 and F5."""
        ledger, names = self._ledger, self._type_names
        charged = np.zeros(len(self._starts), np.int64)
        np.add.at(charged, self._share_start, self._charge)
        used: Counter[tuple[Id, str]] = Counter()
        firm: Counter[tuple[Id, str]] = Counter()
        of_user: Counter[tuple[Id, Id, str]] = Counter()
        by_whom: Counter[tuple[Id, Id, int, bool]] = Counter()
        for job, chip_type, milli in zip(self._jobs, self._type_of.tolist(), charged.tolist(), strict=True):
            if milli:
                by_whom[job.team, job.user, chip_type, job.preemptible] += milli
        for (team, user, chip_type, preemptible), milli in by_whom.items():
            of_user[team, user, names[chip_type]] += milli
            for payer in ledger.payers(team):
                used[payer, names[chip_type]] += milli
            if not preemptible:
                firm[team, names[chip_type]] += milli
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

    def sets_may(self) -> bool:
        """No array has more live tasks than its cap."""
        live, starting = self._ledger.live_of_set, Counter(job.set for job in self._jobs)
        capped = ((job.set, job.set_cap) for job in self._jobs if job.set_cap is not None)
        return all(live.get(set_, 0) + starting[set_] <= cap for set_, cap in capped if set_ is not None)


def _distinct(values: Iterable[Any]) -> tuple[list[Any], Ints]:
    """Each value once, and where in that list each of them stands."""
    values = list(values)
    at = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return list(at), np.array([at[value] for value in values], np.int64)


def _sums(of: Ints, amounts: Ints, what: Sequence[Id]) -> Ints:
    found = np.zeros(len(what), np.int64)
    np.add.at(found, of, amounts)
    return found


def _makes_sense(request: Request) -> bool:
    amounts = (request.chips, request.milli, request.chip_memory, request.cpu, request.memory)
    return min(amounts) >= 0 and max(amounts) < BEYOND


def _share(memory: Ints, size: Ints) -> Ints:
    """Milli-chips' worth of this memory, rounded up; a chip without memory has no share to give (Q3)."""
    return np.where(size > 0, -(-memory * WHOLE_CHIP // np.maximum(size, 1)), 0)


def _enforced(isolation: Isolation | None) -> int:
    """The least strength that a chip must enforce for such a slice."""
    if isolation is Isolation.EXCLUSIVE:
        return -1
    return 0 if isolation is None else ISOLATION_STRENGTH[isolation]


def _get_on(there: Sequence[Tenant], newcomers: Sequence[Tenant], slicing: int) -> bool:
    everybody = {*there, *newcomers}
    strongest = max(who.accepts for who in everybody)
    if strongest == EXCLUSIVE:
        return len(newcomers) == 1 and not there
    return slicing >= strongest or len({who.organization for who in everybody}) == 1
