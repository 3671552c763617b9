"""The safety laws for all starts together: what they take is counted at once, and held against what there is.

It says yes only when every start keeps every law; what exactly is wrong, and whose fault it is, `invariants`
says. Like it, it counts from rows and placements alone. From the naive version, one start after another: each question
is asked of all starts at once, over arrays of whole numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

import numpy as np

from scheduler_core.bulk import Sorts, chunks, column, distinct, examples, lengths
from scheduler_core.columns import Ints
from scheduler_core.decision import Start, Unit
from scheduler_core.fairness import budget_spent, user_cap
from scheduler_core.filters import BEYOND
from scheduler_core.fit import may_use
from scheduler_core.ledger import Ledger
from scheduler_core.model import ISOLATION_STRENGTH, WHOLE_CHIP, Gang, Id, Isolation, Job, Placement, Request
from scheduler_core.shape import EXCLUSIVE, Tenant, tenant
from scheduler_core.topology import together

FEW: Final = 4
"""Units up to which it is as quick to judge one after the other."""
_OF_PLACES: Final = (("node", "node"), ("replica", "replica"), ("cpu", "cpu"), ("host", "memory"))
_OF_SHARES: Final = (("chip", "chip"), ("milli", "milli"), ("memory", "memory"))
"""Columns, and the fields of placements and of shares that are read into them."""
DEFAULT_STEP: Final = 100
"""Of a pool that is not known."""


def adds_up(ledger: Ledger, waiting: Mapping[Id, Job], units: Sequence[Unit]) -> bool:
    """Whether all units together keep every law; False also where this count cannot tell."""
    if len(units) <= FEW or any(map(attrgetter("takings"), units)):
        return not units
    tally = _Tally(ledger)
    return (
        all(tally.reads(some, waiting) for some in chunks(units))
        and tally.nobody_starts_twice()
        and tally.is_known()
        and tally.is_as_asked()
        and tally.has_room()
        and tally.teams_may()
        and tally.sets_may()
    )


class _Tally:
    """What starts take, start by start, placement by placement, and share by share."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ids: list[Id] = []
        self._starts: list[Start] = []
        self._sorts = Sorts("pools", "organization", "team", "user", "preemptible", "set", "set_cap")
        self._sort_of: list[int] = []
        """Of each start what its job is to the laws."""
        self._columns: defaultdict[str, list[Ints]] = defaultdict(list)

    def reads(self, units: Sequence[Unit], waiting: Mapping[Id, Job]) -> bool:
        """These units too are counted; not if one is no start of a waiting job in its version, with one gang alone."""
        starts = list(map(attrgetter("start"), units))
        ids = list(map(attrgetter("job"), starts))
        jobs = [job for job in map(waiting.get, ids) if job is not None]
        if len(jobs) < len(starts) or any(map(attrgetter("others"), jobs)):
            return False
        if list(map(attrgetter("version"), jobs)) != list(map(attrgetter("version"), starts)):
            return False
        self._ids += ids
        self._starts += starts
        self._sort_of += self._sorts.of(jobs)
        of_starts = list(map(attrgetter("placements"), starts))
        places = list(chain.from_iterable(of_starts))
        of_places = list(map(attrgetter("chips"), places))
        shares = list(chain.from_iterable(of_places))
        self._columns["counts"].append(lengths(of_starts))
        self._columns["held"].append(lengths(of_places))
        for what, rows in ((_OF_PLACES, places), (_OF_SHARES, shares)):
            for name, field in what:
                self._columns[name].append(column(rows, field))
        return True

    def nobody_starts_twice(self) -> bool:
        """Each job once, and none that still has a live attempt. What was read is then in columns."""
        self._settle()
        different = set(self._ids)
        return len(different) == len(self._ids) and self._ledger.live_of_job.keys().isdisjoint(different)

    def _settle(self) -> None:
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        self._counts, self._held = columns["counts"], columns["held"]
        """Placements of each start, and shares of each placement."""
        self._start_of = np.repeat(np.arange(len(self._starts)), self._counts)
        """Of each placement."""
        self._place_of = np.repeat(np.arange(len(self._held)), self._held)
        """Of each share."""
        self._share_start = self._start_of[self._place_of]
        self._replica, self._cpu, self._host = (columns[name] for name in ("replica", "cpu", "host"))
        self._told_milli, self._told_memory = columns["milli"], columns["memory"]
        nodes, self._node_of = np.unique(columns["node"], return_inverse=True)
        chips, self._chip_of = np.unique(columns["chip"], return_inverse=True)
        self._nodes, self._chips = nodes.tolist(), chips.tolist()
        self._sort_of_start = np.array(self._sort_of, np.int64)
        self._jobs: list[Job] = self._sorts.examples
        """One of each sort."""
        self._gangs, gang_of = distinct([job.gang for job in self._jobs])
        self._gang_of_sort, self._gang_of = gang_of, gang_of[self._sort_of_start]
        """Of each sort, and of each start."""

    def is_known(self) -> bool:
        """Every node and chip is there, in service, and the chip on the node; no placement has a chip twice."""
        nodes = list(map(self._ledger.nodes.get, self._nodes))
        chips = list(map(self._ledger.chips.get, self._chips))
        self._node_rows = [node for node in nodes if node is not None and node.ready]
        self._chip_rows = [chip for chip in chips if chip is not None and chip.healthy]
        if len(self._node_rows) < len(nodes) or len(self._chip_rows) < len(chips):
            return False
        here = np.array(self._nodes, np.int64)[self._node_of[self._place_of]]
        if np.any(column(self._chip_rows, "node")[self._chip_of] != here):
            return False
        several = self._held[self._place_of] > 1
        pairs = self._place_of[several] * max(len(chips), 1) + self._chip_of[several]
        return len(np.unique(pairs)) == len(pairs)

    def is_as_asked(self) -> bool:
        """Every gang is whole, and every replica has what it asked for where its job allows."""
        return self._gangs_are_whole() and self._nodes_are_allowed() and self._chips_are_as_asked()

    def _gangs_are_whole(self) -> bool:
        """As many replicas as asked for, numbered from 0, each with what it asked of the host; where several, on nodes
        of their own and together as the gang wants them."""
        if not all(_makes_sense(gang.request) for gang in self._gangs):
            return False
        least, most = column(self._gangs, "minimum"), column(self._gangs, "maximum")
        if np.any((self._counts < least[self._gang_of]) | (self._counts > most[self._gang_of])):
            return False
        begins = np.cumsum(self._counts) - self._counts
        replica = np.arange(len(self._held)) - begins[self._start_of]
        requests = [gang.request for gang in self._gangs]
        of_gang = self._gang_of[self._start_of]
        if (
            np.any(self._replica != replica)
            or np.any(self._cpu != column(requests, "cpu")[of_gang])
            or np.any(self._host != column(requests, "memory")[of_gang])
        ):
            return False
        several = np.flatnonzero(self._counts > 1).tolist()
        return all(
            self._sit_as_asked(self._gangs[self._gang_of[at]], self._starts[at].placements) for at in several
        )

    def _sit_as_asked(self, gang: Gang, places: Sequence[Placement]) -> bool:
        if gang.spread and len({place.node for place in places}) < len(places):
            return False
        return not gang.within or together(self._ledger, gang.within, places)

    def _nodes_are_allowed(self) -> bool:
        """Of jobs that allow the same nodes, on nodes that are the same to them, one is asked about."""
        kinds, is_kind = distinct(list(map(attrgetter("pool", "images"), self._node_rows)))
        sorts = self._sort_of_start[self._start_of]
        pairs = sorts * len(kinds) + is_kind[self._node_of]
        return all(
            may_use(self._node_rows[self._node_of[at]], self._jobs[sorts[at]])
            for at in examples(pairs, len(self._jobs) * len(kinds)).tolist()
        )

    def _chips_are_as_asked(self) -> bool:
        """So many whole chips, or the part of one, as the request says or the pool's step rounds it (Q3); all chips
        of a gang of one type that it named."""
        requests = [gang.request for gang in self._gangs]
        chips = np.array([request.chips for request in requests])
        sliced = np.array([bool(r.milli or r.chip_memory) and not r.chips for r in requests])
        if np.any(self._held != np.where(chips > 0, chips, sliced)[self._gang_of[self._start_of]]):
            return False
        gang_of = self._gang_of[self._share_start]
        sizes = column(self._chip_rows, "memory")
        size, self._is_part = sizes[self._chip_of], sliced[gang_of]
        milli, memory = self._sides(requests, gang_of, size)
        self._milli = np.where(self._is_part, milli, WHOLE_CHIP)
        self._memory = np.where(self._is_part, memory, size)
        self._charge = np.maximum(self._milli, np.where(self._is_part, _share(self._memory, size), 0))
        if np.any(self._told_milli != self._milli) or np.any(self._told_memory != self._memory):
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
        names, of_chip = distinct(list(map(attrgetter("type"), self._chip_rows)))
        of_share = of_chip[self._chip_of]
        self._type_names = names
        self._type_of = np.full(len(self._starts), -1)
        """Of each start that has chips."""
        self._type_of[self._share_start] = of_share
        if np.any(self._type_of[self._share_start] != of_share):
            return False
        pairs = self._gang_of * (len(names) + 1) + self._type_of + 1
        named = (
            (self._gangs[self._gang_of[at]].request.chip_types, int(self._type_of[at]))
            for at in examples(pairs, len(self._gangs) * (len(names) + 1)).tolist()
        )
        return all(not types or chip_type < 0 or names[chip_type] in types for types, chip_type in named)

    def has_room(self) -> bool:
        """Whether there is room for all of it, and everybody may share with everybody beside him."""
        columns = self._ledger.columns
        host_cpu = column(self._chip_rows, "host_cpu")[self._chip_of]
        cpu, memory = self._cpu.copy(), self._host
        np.add.at(cpu, self._place_of, -(-self._milli * host_cpu // WHOLE_CHIP))
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
        whole = np.zeros(len(self._chips), bool)
        whole[self._chip_of[~part]] = True
        if columns.anybody_holds([self._chips[chip] for chip in np.flatnonzero(whole).tolist()]):
            return False
        isolations = [gang.request.isolation for gang in self._gangs]
        asked = np.array([_enforced(isolation) for isolation in isolations])[self._gang_of[self._share_start]]
        if np.any(asked[part] > slicing[self._chip_of[part]]):
            return False
        everybody, who = distinct(
            [tenant(job.organization, job.gang.request.isolation) for job in self._jobs]
        )
        newcomers = np.zeros((len(self._chips), len(everybody)), np.int64)
        np.add.at(newcomers, (self._chip_of[part], who[self._sort_of_start[self._share_start[part]]]), 1)
        shared = np.flatnonzero(newcomers.any(axis=1))
        held = [tuple(columns.tenants(self._chips[chip])) for chip in shared.tolist()]
        there, is_held = distinct(held)
        rows = np.column_stack((newcomers[shared].clip(max=2), is_held, slicing[shared]))
        return all(
            _get_on(there[row[-2]], _tenants(everybody, row), row[-1])
            for row in set(map(tuple, rows.tolist()))
        )

    def teams_may(self) -> bool:
        """F1, F4 and F5."""
        ledger, names = self._ledger, self._type_names
        charged = np.zeros(len(self._starts), np.int64)
        np.add.at(charged, self._share_start, self._charge)
        used: Counter[tuple[Id, str]] = Counter()
        firm: Counter[tuple[Id, str]] = Counter()
        of_user: Counter[tuple[Id, Id, str]] = Counter()
        for job, chip_type, milli in self._by_whom(charged):
            of_user[job.team, job.user, names[chip_type]] += milli
            for payer in ledger.payers(job.team):
                used[payer, names[chip_type]] += milli
            if not job.preemptible:
                firm[job.team, names[chip_type]] += milli
        return (
            all(self._limit_allows(use, milli) for use, milli in used.items())
            and all(self._guarantee_covers(use, milli) for use, milli in firm.items())
            and all(self._user_may(*whose, milli) for whose, milli in of_user.items())
            and not any(budget_spent(ledger, team) for team, _, _ in of_user)
        )

    def _by_whom(self, charged: Ints) -> Iterator[tuple[Job, int, int]]:
        """What the starts of each sort are charged of each chip type."""
        sums = np.zeros((len(self._jobs), len(self._type_names) + 1), np.int64)
        np.add.at(sums, (self._sort_of_start, self._type_of), charged)
        for sort, chip_type in np.argwhere(sums).tolist():
            yield self._jobs[sort], chip_type, int(sums[sort, chip_type])

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
        live, starting = self._ledger.live_of_set, Counter[Id | None]()
        for job, count in zip(self._jobs, np.bincount(self._sort_of_start).tolist(), strict=True):
            starting[job.set] += count
        capped = ((job.set, job.set_cap) for job in self._jobs if job.set_cap is not None)
        return all(live.get(set_, 0) + starting[set_] <= cap for set_, cap in capped if set_ is not None)


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


def _tenants(everybody: Sequence[Tenant], counts: Sequence[int]) -> list[Tenant]:
    """So often each of them."""
    return [who for who, count in zip(everybody, counts, strict=False) for _ in range(count)]


def _get_on(there: Sequence[Tenant], newcomers: Sequence[Tenant], slicing: int) -> bool:
    """Whether they may share a chip; who comes more than twice may as well come twice."""
    everybody = {*there, *newcomers}
    strongest = max(who.accepts for who in everybody)
    if strongest == EXCLUSIVE:
        return len(newcomers) == 1 and not there
    return slicing >= strongest or len({who.organization for who in everybody}) == 1
