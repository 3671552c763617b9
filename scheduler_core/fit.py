"""One replica against what a node has open: how it would sit there, and how well (P2, P4, Q6).

A node offers a few *openings*: so many free chips, this much of a sliced chip, its host alone. Nodes with an
equal opening answer a need alike but for their host CPU and memory, so a need is scored once for all of them
(P6). Pure functions of a need and an opening.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from scheduler_core.model import ISOLATION_STRENGTH, WHOLE_CHIP, Id, Isolation, Request
from scheduler_core.request import wants_slice
from scheduler_core.shape import EXCLUSIVE, NOT_SLICED, ChipState, Frame, Tenant
from scheduler_core.slices import charge, host_cpu_claim, slice_memory, slice_milli


class WholeChips(NamedTuple):
    """An opening: untouched healthy chips of one type."""

    pool: Id
    chip_type: str
    chips: tuple[ChipState, ...]
    """The healthiest first."""


class PartOfChip(NamedTuple):
    """An opening: what is left of one healthy chip."""

    pool: Id
    chip_type: str
    slice_step: int
    chip: ChipState
    """Its tenants with one share each: how many they hold makes no difference."""
    untouched: int
    """Healthy chips of the node that nobody holds."""


class HostAlone(NamedTuple):
    """An opening: host CPU and memory, without chips."""

    pool: Id
    chip_type: str
    """Always empty."""
    untouched: int


Opening: TypeAlias = WholeChips | PartOfChip | HostAlone


@dataclass(frozen=True, slots=True)
class Need:
    """One replica's request on chips of one type, as far as a placement depends on it."""

    request: Request
    chip_type: str
    """Empty for CPU only."""
    pools: tuple[Id, ...]
    tenant: Tenant | None
    """Who asks, for a slice; None where it makes no difference."""

    @property
    def opening(self) -> type[Opening]:
        """The kind of opening that it looks for."""
        if self.request.chips:
            return WholeChips
        return PartOfChip if wants_slice(self.request) else HostAlone


HEAD: Final = 2
"""So many numbers of a score come before the value of what remains (P2): the quota it costs, and the pool."""


class Offer(NamedTuple):
    """How a replica would sit in an opening. Scores of one need compare with each other; less is better (P2).
    Between equal scores the node with the least host CPU left, then memory, then the least id is better.
    """

    score: tuple[int, ...]
    charge: int
    """Milli-chips that quota charges."""
    chips: int
    """How many chips it takes, and of each chip:"""
    milli: int
    memory: int
    claim: int
    """Millicores that its chips claim together (Q6)."""


def openings(frame: Frame) -> dict[Opening, tuple[int, ...]]:
    """What a node of this frame offers, each with the positions of the chips, the best first; nothing where
    the node may not be used.
    """
    build = frame.build
    if build.unready is not None:
        return {}
    healthy = [place for place, chip in enumerate(frame.chips) if chip.healthy]
    untouched = [place for place in healthy if not frame.chips[place].tenants]
    found: dict[Opening, tuple[int, ...]] = {HostAlone(build.pool, "", len(untouched)): ()}
    for chip_type in {frame.chips[place].type for place in untouched}:
        free = [place for place in untouched if frame.chips[place].type == chip_type]
        free.sort(key=lambda place: -frame.chips[place].health)
        found[WholeChips(build.pool, chip_type, tuple([frame.chips[place] for place in free]))] = tuple(free)
    for place in healthy:
        chip = frame.chips[place]
        if chip.free_milli > 0:
            seen = chip._replace(tenants=tuple([(who, 1) for who, _ in chip.tenants]))
            part = PartOfChip(build.pool, chip.type, build.slice_step, seen, len(untouched))
            found.setdefault(part, (place,))
    return found


def offer(need: Need, opening: Opening) -> Offer | None:
    """How one replica would sit in this opening; None when it cannot. Host CPU and memory are not looked at."""
    if need.pools and opening.pool not in need.pools:
        return None
    rank = need.pools.index(opening.pool) if need.pools else 0
    if isinstance(opening, WholeChips):
        return _of_whole_chips(need.request, rank, opening)
    if isinstance(opening, PartOfChip):
        return _of_a_slice(need, rank, opening)
    return Offer((0, rank, opening.untouched, 0), 0, 0, 0, 0, 0)


def _of_whole_chips(request: Request, rank: int, opening: WholeChips) -> Offer | None:
    left = len(opening.chips) - request.chips
    if left < 0:
        return None
    chosen = opening.chips[: request.chips]
    claim = sum([chip.host_cpu for chip in chosen])
    score = (0, rank, -sum([chip.health for chip in chosen]), left, claim)
    return Offer(score, request.chips * WHOLE_CHIP, request.chips, WHOLE_CHIP, 0, claim)


def _of_a_slice(need: Need, rank: int, opening: PartOfChip) -> Offer | None:
    chip = opening.chip
    request = need.request
    if request.milli > chip.free_milli or request.chip_memory > chip.free_memory:
        return None
    if request.chip_memory > chip.memory or not enforces(chip, request.isolation):
        return None
    milli, memory = sides(request, chip, opening.slice_step)
    if milli > chip.free_milli or memory > chip.free_memory or not may_join(chip, need.tenant):
        return None
    cost, claim = charge(milli, memory, chip.memory), host_cpu_claim(milli, chip.host_cpu)
    score = (
        cost,
        rank,
        0 if chip.tenants else 1,
        -chip.health,
        chip.free_milli - milli,
        chip.free_memory - memory,
        opening.untouched,
        claim,
    )
    return Offer(score, cost, 1, milli, memory, claim)


def sides(request: Request, chip: ChipState, step: int) -> tuple[int, int]:
    """The slice's milli-chips and MiB on this chip (Q3)."""
    milli = request.milli or slice_milli(request.chip_memory, chip.memory, step)
    return milli, request.chip_memory or slice_memory(request.milli, chip.memory)


def enforces(chip: ChipState, wanted: Isolation | None) -> bool:
    """Any chip can be exclusive: nobody else is let in. A slice class must be enforced by the chip (Q4)."""
    if wanted is Isolation.EXCLUSIVE:
        return True
    return chip.slicing > NOT_SLICED and (wanted is None or chip.slicing >= ISOLATION_STRENGTH[wanted])


def may_join(chip: ChipState, newcomer: Tenant | None) -> bool:
    """P4: beside its own organization always, beside another only at or above the class both accept.

    Whoever asks for an exclusive chip joins nobody and is joined by nobody.
    """
    if newcomer is None or not chip.tenants:
        return True
    if newcomer.accepts == EXCLUSIVE:
        return False
    for holder, _ in chip.tenants:
        stranger = holder.organization != newcomer.organization
        if holder.accepts == EXCLUSIVE or (stranger and chip.slicing < max(holder.accepts, newcomer.accepts)):
            return False
    return True


class Part(NamedTuple):
    """What a replica takes of the chip at this position of the frame."""

    position: int
    milli: int
    memory: int


class Fit(NamedTuple):
    """How a replica would sit on a node."""

    score: tuple[int, ...]
    charge: int
    """Milli-chips that quota charges."""
    parts: tuple[Part, ...]


def parts_of(found: Offer, positions: tuple[int, ...], frame: Frame) -> tuple[Part, ...]:
    """The offer's chips on a node of this frame."""
    if found.chips == 1 and found.memory:
        return (Part(positions[0], found.milli, found.memory),)
    chips = frame.chips
    return tuple([Part(at, found.milli, found.memory or chips[at].memory) for at in positions[: found.chips]])
