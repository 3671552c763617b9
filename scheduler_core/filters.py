"""Why nodes cannot take a replica, counted (P1): the facts that verdicts are made of (X1).

From the naive version: ask every filter of every node. Two departures. What a need's chips meet in a frame is
worked out once for all nodes of that frame, and remembered. And only nodes with the chips for it are looked at
one by one, for their host CPU and memory.
"""

from __future__ import annotations

from bisect import bisect_left
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
        self._nodes_of: dict[Frame, set[Id]] = {}
        self._noted: dict[Id, NodeState] = {}
        self._met: dict[Need, dict[Frame, Met]] = {}
        self._met_by_chip: dict[Need, dict[tuple[int, int], tuple[Order, Met]]] = {}
        """By the mark of the chip's state and the pool's step."""
        self._groups: dict[Need, tuple[Counter[Group], dict[Group, Hosts]]] = {}
        """For each need's chips, as the nodes are now."""
        self._read = len(ledger.changed)
        self._stamp = ledger.stamp
        for node in ledger.states:
            self._note(node)

    def catch_up(self) -> None:
        """What changed since the last time is counted as it is now."""
        ledger = self._ledger
        if self._stamp != ledger.stamp:
            for node in dict.fromkeys(ledger.changed[self._read :]):
                if ledger.states.get(node) is not self._noted.get(node):
                    self._note(node)
            self._read = len(ledger.changed)
            self._stamp = ledger.stamp

    def from_the_start(self) -> None:
        """The ledger's list of changes, which has been read to its end, begins anew."""
        self._read = 0

    def keep(self, needs: Set[Need]) -> None:
        """Nobody asks for other needs' chips than these any more."""
        for known in (self._met, self._met_by_chip, self._groups):
            for need in known.keys() - needs:
                del known[need]

    def census(self, need: Need) -> Census:
        """Every node that cannot take a replica, by why."""
        request = need.request
        groups, hosts_of = self._grouped(without_host(need))
        counts: Counter[Rejection] = Counter()
        for group, count in groups.items():
            rejection = _of_group(group, request.cpu, request.memory)
            if rejection is not None:
                counts[rejection] += count
            else:
                counts.update(_of_hosts(hosts_of[group], request.cpu + group.met.claim, request.memory))
        return Census(counts)

    def _note(self, node: Id) -> None:
        self._groups.clear()
        before, after = self._noted.pop(node, None), self._ledger.states.get(node)
        if before is not None:
            nodes = self._nodes_of[before.frame]
            nodes.discard(node)
            if not nodes:
                del self._nodes_of[before.frame]
        if after is not None:
            self._noted[node] = after
            self._nodes_of.setdefault(after.frame, set()).add(node)

    def _grouped(self, need: Need) -> tuple[Counter[Group], dict[Group, Hosts]]:
        known = self._groups.get(need)
        if known is None:
            groups: Counter[Group] = Counter()
            hosts_of: dict[Group, Hosts] = {}
            states = self._ledger.states
            for frame, nodes in self._nodes_of.items():
                met, build = self._meet(need, frame), frame.build
                group = Group(met, build.unready, build.cpu, build.memory)
                groups[group] += len(nodes)
                if met.never is None and met.now is None and build.unready is None:
                    hosts = hosts_of.setdefault(group, [])
                    hosts += [(states[node].free_cpu, states[node].free_memory) for node in nodes]
            for hosts in hosts_of.values():
                hosts.sort()
            known = self._groups[need] = groups, hosts_of
        return known

    def _meet(self, need: Need, frame: Frame) -> Met:
        met = self._met.setdefault(need, {})
        known = met.get(frame)
        if known is None:
            if len(met) >= MAX_FRAMES:
                met.clear()
            known = met[frame] = self._meet_anew(need, frame)
        return known

    def _meet_anew(self, need: Need, frame: Frame) -> Met:
        if need.pools and frame.build.pool not in need.pools:
            return Met(Rejection(Why.OTHER_POOL))
        if need.request.chips:
            return _whole_chips(need, frame)
        if not wants_slice(need.request):
            return Met(None)
        by_chip = self._met_by_chip.setdefault(need, {})
        step = frame.build.slice_step
        best = NO_CHIP
        for mark, chip in dict(zip(frame.marks, frame.chips, strict=True)).items():
            if chip.type == need.chip_type:
                found = by_chip.get((mark, step))
                if found is None:
                    met = _part_of(chip, need, step)
                    found = by_chip[mark, step] = (_order(met), met)
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
