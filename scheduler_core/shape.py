"""What a node has left, as a value: two nodes of equal shape are one class, scored once (P6).

A shape is a *frame* (what the node is, and the state of its chips) and the host CPU and memory that are left
beside it. It holds no ids and no names. Its chips are sorted by state, so that nodes which differ only in
*which* chip is taken have one shape. The node's own chip ids lie beside it, in the shape's order.

From the naive version: build the new shape at every change. One departure: what is left of host CPU and
memory takes thousands of values, what is left of the chips together few. So a frame is made once, and
remembers what each share that is taken or given back makes of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from scheduler_core.model import (
    ISOLATION_STRENGTH,
    WHOLE_CHIP,
    Chip,
    ChipShare,
    Id,
    Isolation,
    Placement,
)
from scheduler_core.slices import host_cpu_claim

MAX_FRAMES: Final = 50_000
"""Frames remembered together with what shares make of them; past it the memory starts afresh (≈ 100 MB)."""

NOT_SLICED = -1
"""`ChipState.slicing` of a chip that enforces no slice class at all."""

EXCLUSIVE = ISOLATION_STRENGTH[Isolation.EXCLUSIVE]
BESIDE_STRANGERS = ISOLATION_STRENGTH[Isolation.ENFORCED]
"""What a job that names no class accepts beside another organization (P4); beside its own it accepts any."""


class Tenant(NamedTuple):
    """Who holds a part of a chip: an organization, and the class it accepts beside another one (P4)."""

    organization: Id
    accepts: int


def tenant(organization: Id, isolation: Isolation | None) -> Tenant:
    """The tenant that a job of this organization with this request is on a chip."""
    return Tenant(organization, BESIDE_STRANGERS if isolation is None else ISOLATION_STRENGTH[isolation])


class ChipState(NamedTuple):
    """One chip: what it is and what is left of it."""

    type: str
    healthy: bool
    health: int
    memory: int
    host_cpu: int
    slicing: int
    """Strength of the strongest slice class that it enforces, or NOT_SLICED."""
    free_milli: int
    free_memory: int
    tenants: tuple[tuple[Tenant, int], ...]
    """Who holds it, each with the number of its shares."""


def as_new(chip: Chip) -> ChipState:
    """The chip when nobody holds it."""
    slicing = [ISOLATION_STRENGTH[level] for level in chip.isolation if level is not Isolation.EXCLUSIVE]
    return ChipState(
        type=chip.type,
        healthy=chip.healthy,
        health=chip.health,
        memory=chip.memory,
        host_cpu=chip.host_cpu,
        slicing=max(slicing, default=NOT_SLICED),
        free_milli=WHOLE_CHIP,
        free_memory=chip.memory,
        tenants=(),
    )


class Build(NamedTuple):
    """What a node is, its chips aside."""

    pool: Id
    slice_step: int
    unready: str | None
    """Why nothing new may be placed here; None when it is ready."""
    cpu: int
    memory: int
    images: bool


class Shape(NamedTuple):
    """One node: what it is and what is left of it, without ids. The first fields are its `Build`."""

    pool: Id
    slice_step: int
    unready: str | None
    cpu: int
    memory: int
    images: bool
    free_cpu: int
    free_memory: int
    chips: tuple[ChipState, ...]


Change: TypeAlias = tuple[int, int, int, Tenant, int]
"""Of the chip at a position: milli-chips and MiB taken from it, by whom, and how many shares more it has."""


class Changed(NamedTuple):
    """What a change makes of a frame. The chip then stands among those of its state, from `low` to `high`,
    in the order of ids.
    """

    frame: Frame
    low: int
    high: int
    claim: int
    """Millicores of the node that the chip's shares claim more than before (Q6)."""


class Frame:
    """What a node is and how its chips stand. While it is remembered there is one object for each."""

    __slots__ = ("_changes", "_frames", "build", "chips", "kinds", "marks", "overdrawn")

    def __init__(
        self, build: Build, chips: tuple[ChipState, ...], marks: tuple[int, ...], frames: Frames
    ) -> None:
        self.build = build
        self.chips = chips
        self.overdrawn = any(chip.free_milli < 0 or chip.free_memory < 0 for chip in chips)
        """Whether more is held of a chip than there is."""
        self.marks = marks
        """For each chip a number that stands for its state and for no other."""
        self.kinds = tuple(dict(zip(marks, chips, strict=True)).items())
        """The different states of its chips, each with its number."""
        self._frames = frames
        self._changes: dict[Change, Changed] = {}

    def changed(self, change: Change) -> Changed:
        """The frame after this change to one of its chips."""
        known = self._changes.get(change)
        if known is None:
            known = self._changes[change] = self._frames.changed(self, change)
        return known

    def rebuilt(self, build: Build) -> Frame:
        """The same chips in a node that is otherwise so."""
        return self._frames.of(build, self.chips)

    def forget(self) -> None:
        """What changes make of it is worked out anew when next asked."""
        self._changes.clear()


class Frames:
    """Every frame that was met lately, and which chip states there are."""

    def __init__(self) -> None:
        self._frame_of: dict[tuple[Build, tuple[int, ...]], Frame] = {}
        self._mark_of: dict[ChipState, int] = {}
        """For each chip state a number, because numbers are faster to look up than states."""
        self._last_mark = 0

    def of(self, build: Build, chips: tuple[ChipState, ...]) -> Frame:
        """The frame of these chips, which come in order."""
        return self._known(build, chips, tuple([self._mark(chip) for chip in chips]))

    def changed(self, frame: Frame, change: Change) -> Changed:
        """The frame with one chip changed and again in order."""
        marks = frame.marks
        place, milli, memory, by, count = change
        old, sign = frame.chips[place], 1 if count > 0 else -1
        new = _shared(old, milli, memory, by, count)
        others = frame.chips[:place] + frame.chips[place + 1 :]
        their_marks = marks[:place] + marks[place + 1 :]
        low, high = bisect_left(others, new), bisect_right(others, new)
        chips = (*others[:low], new, *others[low:])
        after = self._known(frame.build, chips, (*their_marks[:low], self._mark(new), *their_marks[low:]))
        return Changed(after, low, high, sign * host_cpu_claim(sign * milli, old.host_cpu))

    def _known(self, build: Build, chips: tuple[ChipState, ...], marks: tuple[int, ...]) -> Frame:
        frame = self._frame_of.get((build, marks))
        if frame is None:
            if len(self._frame_of) >= MAX_FRAMES:
                for old in self._frame_of.values():
                    old.forget()
                self._frame_of.clear()
                self._mark_of.clear()
            frame = self._frame_of[build, marks] = Frame(build, chips, marks, self)
        return frame

    def _mark(self, chip: ChipState) -> int:
        """Never given twice, so that frames from before the memory started afresh are not mixed up."""
        mark = self._mark_of.get(chip)
        if mark is None:
            self._last_mark += 1
            mark = self._mark_of[chip] = self._last_mark
        return mark


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node's frame, what is left of its host, and in the frame's order which chips these are: (index, id)."""

    frame: Frame
    free_cpu: int
    free_memory: int
    chips: tuple[tuple[int, Id], ...]

    @property
    def shape(self) -> Shape:
        """The same as one value, without ids."""
        return Shape(*self.frame.build, self.free_cpu, self.free_memory, self.frame.chips)

    @property
    def overdrawn(self) -> bool:
        """Whether more is held than there is: an excess that already stands."""
        return self.free_cpu < 0 or self.free_memory < 0 or self.frame.overdrawn

    def closed(self, because: str | None) -> NodeState:
        """The node as one that takes nothing new for this reason, or with None as one that does."""
        build = self.frame.build._replace(unready=because)
        return NodeState(self.frame.rebuilt(build), self.free_cpu, self.free_memory, self.chips)

    def taken(self, placement: Placement, by: Tenant) -> NodeState:
        """The node once `by` holds this placement; what is left may become negative."""
        return self._moved(placement, by, 1)

    def given_back(self, placement: Placement, by: Tenant) -> NodeState:
        """The node once `by` no longer holds this placement."""
        return self._moved(placement, by, -1)

    def _moved(self, placement: Placement, by: Tenant, sign: int) -> NodeState:
        free_cpu = self.free_cpu - sign * placement.cpu
        free_memory = self.free_memory - sign * placement.memory
        frame, chips = self.frame, self.chips
        for share in placement.chips:
            place = _place_of(share, chips)
            if place is not None:
                frame, low, high, claim = frame.changed(
                    (place, sign * share.milli, sign * share.memory, by, sign)
                )
                free_cpu -= claim
                if high > low or place != low:
                    chips = _in_order(chips, place, low, high)
        return NodeState(frame, free_cpu, free_memory, chips)


def _place_of(share: ChipShare, chips: tuple[tuple[int, Id], ...]) -> int | None:
    """Where the share's chip stands; None when it is no chip of the node."""
    for place, (_, chip) in enumerate(chips):
        if chip == share.chip:
            return place
    return None


def _in_order(
    chips: tuple[tuple[int, Id], ...], place: int, low: int, high: int
) -> tuple[tuple[int, Id], ...]:
    """The chip at the place among those of its new state: by index, then by id (symmetry)."""
    moved = list(chips)
    chip = moved.pop(place)
    insort(moved, chip, low, high)
    return tuple(moved)


def _shared(chip: ChipState, milli: int, memory: int, by: Tenant, count: int) -> ChipState:
    held = dict(chip.tenants)
    held[by] = held.get(by, 0) + count
    tenants = tuple(sorted((who, shares) for who, shares in held.items() if shares))
    return ChipState(*chip[:6], chip.free_milli - milli, chip.free_memory - memory, tenants)
