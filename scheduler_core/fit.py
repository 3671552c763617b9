"""One replica against one node: where it would sit and how well, or why not (P1, P2, P4, Q6).

Pure functions of a need and a shape, so that an answer holds for every node of that shape (P6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from scheduler_core.model import ISOLATION_STRENGTH, WHOLE_CHIP, Id, Isolation, Request
from scheduler_core.request import wants_slice
from scheduler_core.shape import EXCLUSIVE, NOT_SLICED, ChipState, Shape, Tenant
from scheduler_core.slices import charge, host_cpu_claim, slice_memory, slice_milli


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
    """Why a shape cannot take a replica, with the most it has of what is lacking."""

    why: Why
    most: int = 0
    also: int = 0
    """For chips: how many are free; for slices: the free memory beside the free milli-chips."""
    told: str = ""


class Part(NamedTuple):
    """What a replica takes of the chip at this position of the shape."""

    position: int
    milli: int
    memory: int


class Fit(NamedTuple):
    """How a replica would sit on a shape. Scores of one need compare with each other; less is better (P2)."""

    score: tuple[int, ...]
    charge: int
    """Milli-chips that quota charges."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """One replica's request on chips of one type, as far as a placement depends on it."""

    request: Request
    chip_type: str
    """Empty for CPU only."""
    pools: tuple[Id, ...]
    tenant: Tenant | None
    """Who asks, for a slice; None where it makes no difference."""


Answer: TypeAlias = Fit | Rejection


def fit(need: Need, shape: Shape) -> Answer:
    """Where one replica would sit on a node of this shape, or the first filter that says no."""
    if need.pools and shape.pool not in need.pools:
        return Rejection(Why.OTHER_POOL)
    if need.request.chips:
        return _fit_whole_chips(need, shape)
    if wants_slice(need.request):
        return _fit_slice(need, shape)
    return _host_rejects(need.request, 0, shape) or _fit_cpu_only(need, shape)


def _fit_whole_chips(need: Need, shape: Shape) -> Answer:
    wanted = need.request.chips
    of_type = [(i, chip) for i, chip in enumerate(shape.chips) if chip.type == need.chip_type]
    healthy = [(i, chip) for i, chip in of_type if chip.healthy]
    free = [(i, chip) for i, chip in healthy if not chip.tenants]
    if not of_type:
        return Rejection(Why.NO_SUCH_CHIPS)
    if len(of_type) < wanted:
        return Rejection(Why.TOO_FEW_CHIPS, len(of_type), len(free))
    free.sort(key=lambda chip: -chip[1].health)
    chosen = free[:wanted]
    claim = sum(chip.host_cpu for _, chip in (chosen if len(chosen) == wanted else of_type[:wanted]))
    lacking = _host_too_small(need.request, claim, shape) or _not_ready(shape)
    if lacking:
        return lacking
    if len(healthy) < wanted:
        return Rejection(Why.UNHEALTHY, len(healthy), len(free))
    if len(free) < wanted:
        return Rejection(Why.BUSY, len(free), len(free))
    return _host_busy(need.request, claim, shape) or Fit(
        score=(
            _pool_rank(need, shape),
            -sum(chip.health for _, chip in chosen),
            len(free) - wanted,
            shape.free_cpu - claim - need.request.cpu,
            shape.free_memory - need.request.memory,
        ),
        charge=wanted * WHOLE_CHIP,
        parts=tuple(Part(i, WHOLE_CHIP, chip.memory) for i, chip in chosen),
    )


def _fit_slice(need: Need, shape: Shape) -> Answer:
    """The best chip for the slice; where none will do, the rejection that came furthest."""
    best: Fit | None = None
    nearest = Rejection(Why.NO_SUCH_CHIPS)
    for position, chip in enumerate(shape.chips):
        if chip.type != need.chip_type:
            continue
        answer = _fit_slice_on(position, chip, need, shape)
        if isinstance(answer, Rejection):
            nearest = max(nearest, answer)
        elif best is None or answer.score < best.score:
            best = answer
    return best or nearest


def _fit_slice_on(position: int, chip: ChipState, need: Need, shape: Shape) -> Answer:
    request = need.request
    if request.chip_memory > chip.memory:
        return Rejection(Why.CHIPS_TOO_SMALL, chip.memory)
    if not _enforces(chip, request.isolation):
        return Rejection(Why.ISOLATION)
    milli = request.milli or slice_milli(request.chip_memory, chip.memory, shape.slice_step)
    memory = request.chip_memory or slice_memory(request.milli, chip.memory)
    claim = host_cpu_claim(milli, chip.host_cpu)
    lacking = _host_too_small(request, claim, shape) or _not_ready(shape)
    if lacking:
        return lacking
    if not chip.healthy:
        return Rejection(Why.UNHEALTHY)
    if milli > chip.free_milli or memory > chip.free_memory:
        return Rejection(Why.BUSY, chip.free_milli, chip.free_memory)
    if not _may_join(chip, need.tenant):
        return Rejection(Why.HELD_BY_STRANGERS)
    cost = charge(milli, memory, chip.memory)
    return _host_busy(request, claim, shape) or Fit(
        score=(
            cost,
            _pool_rank(need, shape),
            0 if chip.tenants else 1,
            -chip.health,
            chip.free_milli - milli,
            chip.free_memory - memory,
            _untouched_chips(shape),
            shape.free_cpu - claim - request.cpu,
            shape.free_memory - request.memory,
        ),
        charge=cost,
        parts=(Part(position, milli, memory),),
    )


def _fit_cpu_only(need: Need, shape: Shape) -> Answer:
    return Fit(
        score=(
            _pool_rank(need, shape),
            _untouched_chips(shape),
            shape.free_cpu - need.request.cpu,
            shape.free_memory - need.request.memory,
        ),
        charge=0,
        parts=(),
    )


def _enforces(chip: ChipState, wanted: Isolation | None) -> bool:
    """Any chip can be exclusive: nobody else is let in. A slice class must be enforced by the chip (Q4)."""
    if wanted is Isolation.EXCLUSIVE:
        return True
    return chip.slicing > NOT_SLICED and (wanted is None or chip.slicing >= ISOLATION_STRENGTH[wanted])


def _may_join(chip: ChipState, newcomer: Tenant | None) -> bool:
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


def _host_rejects(request: Request, claim: int, shape: Shape) -> Rejection | None:
    return _host_too_small(request, claim, shape) or _not_ready(shape) or _host_busy(request, claim, shape)


def _host_too_small(request: Request, claim: int, shape: Shape) -> Rejection | None:
    if request.cpu + claim > shape.cpu:
        return Rejection(Why.HOST_CPU_TOO_SMALL, shape.cpu, request.cpu + claim)
    if request.memory > shape.memory:
        return Rejection(Why.HOST_MEMORY_TOO_SMALL, shape.memory, request.memory)
    return None


def _not_ready(shape: Shape) -> Rejection | None:
    return None if shape.unready is None else Rejection(Why.NOT_READY, told=shape.unready)


def _host_busy(request: Request, claim: int, shape: Shape) -> Rejection | None:
    """A request of 0 takes nothing, so it fits even on a node that is overdrawn."""
    if request.cpu + claim > max(shape.free_cpu, 0):
        return Rejection(Why.CPU_BUSY, shape.free_cpu, request.cpu + claim)
    if request.memory > max(shape.free_memory, 0):
        return Rejection(Why.MEMORY_BUSY, shape.free_memory, request.memory)
    return None


def _pool_rank(need: Need, shape: Shape) -> int:
    return need.pools.index(shape.pool) if need.pools else 0


def _untouched_chips(shape: Shape) -> int:
    return sum(1 for chip in shape.chips if chip.healthy and not chip.tenants)
