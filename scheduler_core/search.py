"""The earliest instant at which a gang fits (B1): the cell is walked from end to end of what runs.

From the naive version: for each instant at which something ends, build the cell of that instant and try to
place the gang. Four departures. Only the nodes on which something ends are looked at again, until enough of
them can take a replica; inside an instant in the order of nodes, so that what ends on the others need not be
known. A node is built only once so much has come free there that it might do. And whether its chips would do
is remembered per frame, as equal nodes are one (P6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Final

from scheduler_core.fit import enforces, may_join, sides
from scheduler_core.horizon import Horizon, Release, instant_and_node, releases_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, ChipShare, Id, Placement
from scheduler_core.ordering import JobClass
from scheduler_core.request import wants_slice
from scheduler_core.shape import Frame, NodeState, Tenant, tenant
from scheduler_core.slices import host_cpu_claim
from scheduler_core.topology import Domain, domain_of

MAX_ENDS: Final = 50_000
"""Ends that one search walks past, on nodes that might do; a gang that fits only after more of them gets no
reservation yet."""

NO_ROOM: Final = -1
"""Of a node whose chips of the type are too few for one replica, however many are free."""


@dataclass(frozen=True, slots=True)
class Shade:
    """What a reservation holds now, and what it will hold as soon as that comes free."""

    by: Tenant
    held: tuple[Placement, ...]
    awaited: tuple[Placement, ...]
    until: int | None
    """When its job is expected to have ended; None where it never does."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The earliest instant at which a gang is expected to fit, and where."""

    at: int
    kind: JobClass
    """With the one alternative that fits (P5)."""
    chip_type: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What a search looks at: the ledger with its trial, what ends, what stands reserved, what closes."""

    ledger: Ledger
    horizon: Horizon
    now: int
    shades: Sequence[Shade]
    closing: Mapping[Id, int]
    """Nodes that this gang may use only until an instant (B5)."""
    started: Iterable[Release] = ()
    """What this cycle starts gives back, in order."""


def earliest(
    view: View,
    kind: JobClass,
    chip_type: str,
    fitting: Iterable[Id],
    only: Collection[Id] | None = None,
    before: int | None = None,
) -> Opening | None:
    """The earliest instant from now on at which the gang fits on this chip type, with what the trial and the
    shades hold kept from it; None where it never does, as far as can be seen. `fitting`: the nodes that can
    take a replica now. `only`: on these nodes. From the instant `before` on nobody wants to know.
    """
    search = _Search(view, kind, chip_type, fitting, only)
    ends = merge(
        view.horizon.releases(search.may_do, only), view.started, _ends_of(view), key=instant_and_node
    )
    at, node = view.now, None
    for count, release in enumerate(ends):
        if (release.at, release.node) != (at, node):
            if node is not None:
                search.look_at(node, at)
            if search.done(at, inside=release.at == at):
                return search.opening(at)
            at, node = release.at, release.node
        if count >= MAX_ENDS or (before is not None and at >= before):
            return None
        search.give_back(release)
    if node is not None:
        search.look_at(node, at)
    return search.opening(at) if search.done(at) else None


def _ends_of(view: View) -> list[Release]:
    """What those who hold a reservation give back after their run."""
    ends = [
        release
        for shade in view.shades
        if shade.until is not None
        for part in (shade.held, shade.awaited)
        for release in releases_of(max(shade.until, view.now + 1), shade.by, part)
    ]
    return sorted(ends, key=instant_and_node)


class _Search:
    """The nodes as they will be, and which of them can take replicas."""

    def __init__(
        self,
        view: View,
        kind: JobClass,
        chip_type: str,
        fitting: Iterable[Id],
        only: Collection[Id] | None,
    ) -> None:
        self._view, self._kind, self._chip_type = view, kind, chip_type
        self._seat = Seat(kind, chip_type)
        request = kind.gang.request
        self._least = request.chips * WHOLE_CHIP or request.milli or int(bool(request.chip_memory))
        """Milli-chips that one replica needs at least."""
        self._only = None if only is None else frozenset(only)
        self._ahead: dict[Id, NodeState] = {}
        """Nodes that are no longer as they are now."""
        self._coming: dict[Id, list[Release]] = {}
        """What has come free of a node since it was last built."""
        self._room: dict[Id, int] = {}
        """Milli-chips of the type that a node has free at most, where something has come free."""
        self._since: dict[Id, list[int]] = {}
        """For each node the instants from which it takes one replica more."""
        self._count: dict[Domain, int] = {}
        self._fresh = (view.now, 0)
        """The last instant at which nodes took more replicas, and how many more."""
        self._most = 1 if kind.gang.spread else kind.gang.minimum
        for shade in view.shades:
            for placement in shade.awaited:
                if (state := self._state(placement.node)) is not None:
                    self._ahead[placement.node] = state.taken(placement, shade.by)
        for node in {*fitting, *view.closing} if self._only is None else self._only:
            self.look_at(node, view.now)

    def give_back(self, release: Release) -> None:
        """This is free from its instant on."""
        node = release.node
        if (self._only is None or node in self._only) and self.may_do(node):
            freed = [share.milli for placement in release.placements for share in placement.chips]
            self._room[node] += sum(freed)
            self._coming.setdefault(node, []).append(release)

    def may_do(self, node: Id) -> bool:
        """Whether the node has chips enough for one replica, however many are free."""
        room = self._room.get(node)
        if room is None:
            room = self._room[node] = self._room_on(node)
        return room != NO_ROOM

    def look_at(self, node: Id, at: int) -> None:
        """How many replicas the node takes is known as of this instant."""
        since = self._since.get(node, [])
        if len(since) >= self._most or self._room.get(node, self._least) < self._least:
            return
        state = self._state(node)
        count = 0 if state is None or not self._open(node, at) else self._seats_on(state, node)
        if count > len(since):
            more, domain = count - len(since), self._domain(node)
            self._count[domain] = self._count.get(domain, 0) + more
            self._since[node] = since + [at] * more
            self._fresh = (at, more + (self._fresh[1] if self._fresh[0] == at else 0))

    def done(self, at: int, *, inside: bool = False) -> bool:
        """Whether the gang fits by this instant. `inside` it, not all of its nodes were looked at yet: then only
        where it would sit on those before them anyway.
        """
        gang = self._kind.gang
        if inside:
            return not gang.within and self._fresh[0] == at and self._fresh[1] >= gang.minimum
        return any(count >= gang.minimum for count in self._count.values()) and self._chosen(at) is not None

    def opening(self, at: int) -> Opening | None:
        """Where the gang would sit: on what comes free last, so that it keeps the least from others now."""
        placements: list[Placement] = []
        for node in self._chosen(at) or ():
            state = self._state(node)
            assert state is not None
            for earlier in placements:
                if earlier.node == node:
                    state = state.taken(earlier, self._seat.by)
            placed = self._seat.take(state, self._view.ledger.states[node], node, len(placements))
            if placed is None:
                return None
            placements.append(placed)
        return Opening(at, self._kind, self._chip_type, tuple(placements))

    def _chosen(self, at: int) -> list[Id] | None:
        """A node for each replica, in the first domain by name that has enough of them."""
        needed = self._kind.gang.minimum
        found: dict[Domain, list[tuple[int, Id]]] = {}
        for node, since in self._since.items():
            if self._open(node, at):
                found.setdefault(self._domain(node), []).extend((-instant, node) for instant in since)
        enough = sorted(domain for domain, seats in found.items() if len(seats) >= needed)
        return [node for _, node in sorted(found[enough[0]])[:needed]] if enough else None

    def _seats_on(self, state: NodeState, node: Id) -> int:
        if not self._seat.fits(state):
            return 0
        count = 1
        while count < self._most:
            placed = self._seat.take(state, state, node, 0)
            if placed is None or not self._seat.fits(state := state.taken(placed, self._seat.by)):
                break
            count += 1
        return count

    def _room_on(self, node: Id) -> int:
        """What is free there before anything else comes free; NO_ROOM where one replica is too much for it."""
        ledger = self._view.ledger
        if node not in ledger.states or ledger.capacity_on(node, self._chip_type) < self._least:
            return NO_ROOM
        state = self._ahead.get(node)
        if state is None:
            return ledger.columns.free_on(node, self._chip_type)
        return sum([max(chip.free_milli, 0) for chip in state.frame.chips if chip.type == self._chip_type])

    def _state(self, node: Id) -> NodeState | None:
        state = self._ahead.get(node) or self._view.ledger.states.get(node)
        if state is not None and node in self._coming:
            for release in self._coming.pop(node):
                for placement in release.placements:
                    state = state.given_back(placement, release.by)
            self._ahead[node] = state
        if state is not None and node in self._view.closing and state.frame.build.unready is not None:
            return state.closed(None)
        return state

    def _open(self, node: Id, at: int) -> bool:
        """Whether the gang could start there at this instant and be gone before the node closes (B5)."""
        closes = self._view.closing.get(node)
        return closes is None or (self._kind.longest is not None and at + self._kind.longest <= closes)

    def _domain(self, node: Id) -> Domain:
        return domain_of(self._view.ledger.nodes[node], self._kind.gang.within or 0)


class Seat:
    """How one replica of a class sits on a node, on chips of one type."""

    def __init__(self, kind: JobClass, chip_type: str) -> None:
        self._request, self._pools, self._chip_type = kind.gang.request, kind.pools, chip_type
        self.by = tenant(kind.organization, kind.gang.request.isolation)
        self._claims: dict[Frame, int | None] = {}

    def fits(self, state: NodeState) -> bool:
        """Whether the node can take one replica."""
        frame = state.frame
        claim = self._claims.get(frame, -1)
        if claim == -1:
            claim = self._claims[frame] = self._claim(frame)
        request = self._request
        return (
            claim is not None
            and request.cpu + claim <= max(state.free_cpu, 0)
            and request.memory <= max(state.free_memory, 0)
        )

    def take(self, state: NodeState, today: NodeState, node: Id, replica: int) -> Placement | None:
        """What the replica would hold there: chips that are busy today before those that are free."""
        free = {
            which[1] for which, chip in zip(today.chips, today.frame.chips, strict=True) if not chip.tenants
        }
        usable = self._usable(state.frame)
        ordered = sorted(
            usable, key=lambda n: (state.chips[n][1] in free, -state.frame.chips[n].health, state.chips[n])
        )
        shares = [self._share(state, n) for n in ordered[: self._request.chips or 1]]
        shares.sort(key=lambda share: share.chip)
        placed = Placement(replica, node, self._request.cpu, self._request.memory, tuple(shares))
        return placed if self.fits(state) else None

    def _claim(self, frame: Frame) -> int | None:
        """Millicores that its chips claim; None where the chips will not do."""
        request, build = self._request, frame.build
        if build.unready is not None or (self._pools and build.pool not in self._pools):
            return None
        if request.image and not build.images:
            return None
        if not self._chip_type:
            return 0
        usable = self._usable(frame)
        if len(usable) < (request.chips or 1):
            return None
        if request.chips:
            return request.chips * frame.chips[usable[0]].host_cpu
        chip = frame.chips[usable[0]]
        return host_cpu_claim(sides(request, chip, build.slice_step)[0], chip.host_cpu)

    def _usable(self, frame: Frame) -> list[int]:
        """Positions of the chips that would do."""
        if not self._chip_type:
            return []
        fits = self._slice_fits if wants_slice(self._request) else self._whole_fits
        return [n for n, chip in enumerate(frame.chips) if chip.type == self._chip_type and fits(frame, n)]

    def _whole_fits(self, frame: Frame, position: int) -> bool:
        chip = frame.chips[position]
        return chip.healthy and not chip.tenants and chip.free_milli == WHOLE_CHIP

    def _slice_fits(self, frame: Frame, position: int) -> bool:
        chip, request = frame.chips[position], self._request
        if not chip.healthy or request.chip_memory > chip.memory or not enforces(chip, request.isolation):
            return False
        milli, memory = sides(request, chip, frame.build.slice_step)
        return milli <= chip.free_milli and memory <= chip.free_memory and may_join(chip, self.by)

    def _share(self, state: NodeState, position: int) -> ChipShare:
        chip, chip_id = state.frame.chips[position], state.chips[position][1]
        if self._request.chips:
            return ChipShare(chip_id, WHOLE_CHIP, chip.memory)
        return ChipShare(chip_id, *sides(self._request, chip, state.frame.build.slice_step))
