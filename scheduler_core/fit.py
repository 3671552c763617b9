"""What one replica needs of a node, and how a part of a chip meets it (P4, Q3, Q4). Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler_core.model import ISOLATION_STRENGTH, Id, Isolation, Job, Node, Request
from scheduler_core.shape import EXCLUSIVE, NOT_SLICED, ChipState, Tenant
from scheduler_core.slices import slice_memory, slice_milli


@dataclass(frozen=True, slots=True)
class Need:
    """One replica's request on chips of one type, as far as a placement depends on it."""

    request: Request
    chip_type: str
    """Empty for CPU only."""
    pools: tuple[Id, ...]
    tenant: Tenant | None
    """Who asks, for a slice; None where it makes no difference."""


def may_use(node: Node, job: Job) -> bool:
    """Whether the job may be placed on this node, whatever is free there: it is ready, of a pool that the job
    allows, and runs images where the job is in one (P7).
    """
    return (
        node.ready
        and (not job.pools or node.pool in job.pools)
        and (node.images or not job.gang.request.image)
    )


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
