"""Why nodes cannot take a replica, counted (P1): the facts that verdicts are made of (X1).

From the naive version: ask every filter of every node. Two departures. Nodes on which a need's chips meet the
same are kept in one group, with what is left of their hosts in order: to count a need is to look at its groups.
And a node that changes moves from one group to another, so that nothing is counted anew.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from scheduler_core.fit import Need, enforces, may_join, sides
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id
from scheduler_core.request import wants_slice
from scheduler_core.shape import MAX_FRAMES, ChipState, Frame, NodeState
from scheduler_core.slices import host_cpu_claim


class Why(IntEnum):
    """The filters in the order they are asked: the first that says no is why a node is rejected (P1).

    Up to `HOST_MEMORY_TOO_SMALL` it could never fit there (F6); from `NOT_READY` on it could, at another
    time.
    """

    OTHER_POOL = 0
    NO_SUCH_CHIPS = 1
    TOO_FEW_CHIPS = 2
    CHIPS_TOO_SMALL = 3
    ISOLATION = 4
    HOST_CPU_TOO_SMALL = 5
    HOST_MEMORY_TOO_SMALL = 6
    NOT_READY = 7
    UNHEALTHY = 8
    BUSY = 9
    HELD_BY_STRANGERS = 10
    CPU_BUSY = 11
    MEMORY_BUSY = 12


class Rejection(NamedTuple):
    """Why nodes cannot take a replica, with the most that one of them has of what is lacking."""

    why: Why
    most: int = 0
    also: int = 0
    """For chips: how many are free; for slices: the free memory beside the free milli-chips; for the host:
    how much is needed."""
    told: str = ""


class Met(NamedTuple):
    """What a need's chips meet in a frame. `never` is about the chips as they are registered, `now` about
    what is healthy and free; without either the chips are there.
    """

    never: Rejection | None
    now: Rejection | None = None
    claim: int = 0
    """Millicores that the chips would claim (Q6)."""


class Group(NamedTuple):
    """Nodes on which a need's chips meet the same, and whose hosts are alike."""

    met: Met
    unready: str | None
    cpu: int
    memory: int


Hosts: TypeAlias = list[tuple[int, int]]
"""Free host CPU and memory of nodes, in order."""


Order: TypeAlias = tuple[int, int, int, int]
"""How far a chip comes through the filters; less is further."""


class Census:
    """Every node of a cell that cannot take a replica, by why."""

    def __init__(self, rejections: Counter[Rejection]) -> None:
        self.rejections = rejections
        self.by_why: Counter[Why] = Counter()
        for rejection, count in rejections.items():
            self.by_why[rejection.why] += count
        self.nearest = max(rejections, default=None)
        """Of a node that came furthest through the filters, with the most of what is lacking."""

    def most(self, why: Why) -> int:
        """The most that any node rejected for this has of what is lacking."""
        return max((found.most for found in self.rejections if found.why is why), default=0)


class Filters:
    """Counts every node of a ledger by why it cannot take a replica."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._groups: dict[Need, Groups] = {}
        """For each need's chips."""

    def begin_cycle(self) -> None:
        """Every count is up to date, before the ledger's list of changes begins anew."""
        for groups in self._groups.values():
            groups.catch_up()
            groups.read = 0

    def keep(self, needs: Set[Need]) -> None:
        """Nobody asks for other needs' chips than these any more."""
        for need in self._groups.keys() - needs:
            del self._groups[need]

    def census(self, need: Need) -> Census:
        """Every node that cannot take a replica, by why."""
        request, chips = need.request, without_host(need)
        groups = self._groups.get(chips)
        if groups is None:
            groups = self._groups[chips] = Groups(chips, self._ledger)
        groups.catch_up()
        counts: Counter[Rejection] = Counter()
        for group, hosts in groups.hosts_of.items():
            if not hosts:
                continue
            rejection = _of_group(group, request.cpu, request.memory)
            if rejection is not None:
                counts[rejection] += len(hosts)
            else:
                counts.update(_of_hosts(hosts, request.cpu + group.met.claim, request.memory))
        return Census(counts)


class Groups:
    """All nodes by what a need's chips meet there, kept up to date."""

    def __init__(self, need: Need, ledger: Ledger) -> None:
        self.hosts_of: dict[Group, Hosts] = {}
        """What is left of the hosts of each group."""
        self.read = len(ledger.changed)
        """How far the ledger's list of changes was read."""
        self._need = need
        self._ledger = ledger
        self._noted: dict[Id, tuple[NodeState, Hosts]] = {}
        self._hosts_of_frame: dict[Frame, Hosts] = {}
        self._by_chip: dict[tuple[int, int], tuple[Order, Met]] = {}
        """By the mark of the chip's state and the pool's step."""
        self._stamp = ledger.stamp
        for node in ledger.states:
            self._note(node)

    def catch_up(self) -> None:
        """What changed since the last time is counted as it is now."""
        ledger = self._ledger
        if self._stamp != ledger.stamp:
            for node in dict.fromkeys(ledger.changed[self.read :]):
                self._note(node)
            self._stamp = ledger.stamp
        self.read = len(ledger.changed)

    def _note(self, node: Id) -> None:
        before, after = self._noted.get(node), self._ledger.states.get(node)
        if before is not None:
            state, hosts = before
            if state is after:
                return
            del hosts[bisect_left(hosts, (state.free_cpu, state.free_memory))]
            del self._noted[node]
        if after is not None:
            hosts = self._hosts(after.frame)
            self._noted[node] = after, hosts
            insort(hosts, (after.free_cpu, after.free_memory))

    def _hosts(self, frame: Frame) -> Hosts:
        """Those of the group to which nodes of this frame belong."""
        known = self._hosts_of_frame.get(frame)
        if known is None:
            if len(self._hosts_of_frame) >= MAX_FRAMES:
                self._hosts_of_frame.clear()
            build = frame.build
            group = Group(self._meet(frame), build.unready, build.cpu, build.memory)
            known = self._hosts_of_frame[frame] = self.hosts_of.setdefault(group, [])
        return known

    def _meet(self, frame: Frame) -> Met:
        need = self._need
        if need.pools and frame.build.pool not in need.pools:
            return Met(Rejection(Why.OTHER_POOL))
        if need.request.chips:
            return _whole_chips(need, frame)
        if not wants_slice(need.request):
            return Met(None)
        step = frame.build.slice_step
        best = NO_CHIP
        for mark, chip in frame.kinds:
            if chip.type == need.chip_type:
                found = self._by_chip.get((mark, step))
                if found is None:
                    met = _part_of(chip, need, step)
                    found = self._by_chip[mark, step] = (_order(met), met)
                if found[0] < best[0]:
                    best = found
        return best[1]


def without_host(need: Need) -> Need:
    """The need with nothing asked of the host but its chips."""
    return replace(need, request=replace(need.request, cpu=0, memory=0))


def _of_group(group: Group, cpu: int, memory: int) -> Rejection | None:
    """The filter that rejects the whole group; None when its hosts are to be looked at one by one."""
    met = group.met
    if met.never is not None:
        return met.never
    if cpu + met.claim > group.cpu:
        return Rejection(Why.HOST_CPU_TOO_SMALL, group.cpu, cpu + met.claim)
    if memory > group.memory:
        return Rejection(Why.HOST_MEMORY_TOO_SMALL, group.memory, memory)
    if group.unready is not None:
        return Rejection(Why.NOT_READY, told=group.unready)
    return met.now


def _of_hosts(hosts: Hosts, cpu: int, memory: int) -> Counter[Rejection]:
    """Those with too little host CPU, and of the others those with too little host memory. A request of 0
    takes nothing, so it fits even where more is held than there is.
    """
    counts: Counter[Rejection] = Counter()
    enough = bisect_left(hosts, (cpu,)) if cpu else 0
    if enough:
        counts[Rejection(Why.CPU_BUSY, hosts[enough - 1][0], cpu)] = enough
    short = [free for _, free in hosts[enough:] if free < memory] if memory else []
    if short:
        counts[Rejection(Why.MEMORY_BUSY, max(short), memory)] = len(short)
    return counts


def _whole_chips(need: Need, frame: Frame) -> Met:
    wanted = need.request.chips
    of_type = [chip for chip in frame.chips if chip.type == need.chip_type]
    healthy = [chip for chip in of_type if chip.healthy]
    free = sorted((chip for chip in healthy if not chip.tenants), key=lambda chip: -chip.health)
    if not of_type:
        return Met(Rejection(Why.NO_SUCH_CHIPS))
    if len(of_type) < wanted:
        return Met(Rejection(Why.TOO_FEW_CHIPS, len(of_type), len(free)))
    claim = sum([chip.host_cpu for chip in (free if len(free) >= wanted else of_type)[:wanted]])
    if len(healthy) < wanted:
        return Met(None, Rejection(Why.UNHEALTHY, len(healthy), len(free)), claim)
    if len(free) < wanted:
        return Met(None, Rejection(Why.BUSY, len(free), len(free)), claim)
    return Met(None, None, claim)


def _part_of(chip: ChipState, need: Need, step: int) -> Met:
    request = need.request
    if request.chip_memory > chip.memory:
        return Met(Rejection(Why.CHIPS_TOO_SMALL, chip.memory))
    if not enforces(chip, request.isolation):
        return Met(Rejection(Why.ISOLATION))
    milli, memory = sides(request, chip, step)
    claim = host_cpu_claim(milli, chip.host_cpu)
    if not chip.healthy:
        return Met(None, Rejection(Why.UNHEALTHY), claim)
    if milli > chip.free_milli or memory > chip.free_memory:
        return Met(None, Rejection(Why.BUSY, chip.free_milli, chip.free_memory), claim)
    if not may_join(chip, need.tenant):
        return Met(None, Rejection(Why.HELD_BY_STRANGERS), claim)
    return Met(None, None, claim)


def _order(met: Met) -> Order:
    """The chip that comes furthest through the filters first; of those that pass, the one that claims least."""
    if met.never is not None:
        return (2, -met.never.why, -met.never.most, -met.never.also)
    if met.now is not None:
        return (1, -met.now.why, -met.now.most, -met.now.also)
    return (0, met.claim, 0, 0)


NO_CHIP: Final = (_order(Met(Rejection(Why.NO_SUCH_CHIPS))), Met(Rejection(Why.NO_SUCH_CHIPS)))
