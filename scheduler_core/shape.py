"""What a node has left, as a value: two nodes of equal shape are one class, scored once (P6).

A shape holds no ids and no names. Its chips are sorted by state, so that nodes which differ only in *which*
chip is taken have one shape. The node's own chip ids lie beside it, in the shape's order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from scheduler_core.model import ISOLATION_STRENGTH, WHOLE_CHIP, Chip, Id, Isolation, Node, Placement
from scheduler_core.slices import host_cpu_claim

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


class Shape(NamedTuple):
    """One node: what it is and what is left of it, without ids."""

    pool: Id
    slice_step: int
    unready: str | None
    """Why nothing new may be placed here; None when it is ready."""
    cpu: int
    memory: int
    free_cpu: int
    free_memory: int
    chips: tuple[ChipState, ...]


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node's shape and, in the same order, which chips these are: (index, id)."""

    shape: Shape
    chips: tuple[tuple[int, Id], ...]

    def taken(self, placement: Placement, by: Tenant) -> NodeState:
        """The node once `by` holds this placement; what is left may become negative."""
        return self._moved(placement, by, 1)

    def given_back(self, placement: Placement, by: Tenant) -> NodeState:
        """The node once `by` no longer holds this placement."""
        return self._moved(placement, by, -1)

    def _moved(self, placement: Placement, by: Tenant, sign: int) -> NodeState:
        shape = self.shape
        free_cpu = shape.free_cpu - sign * placement.cpu
        free_memory = shape.free_memory - sign * placement.memory
        if not placement.chips:
            return NodeState(Shape(*shape[:5], free_cpu, free_memory, shape.chips), self.chips)
        shares = {share.chip: share for share in placement.chips}
        moved = list(zip(shape.chips, self.chips, strict=True))
        for place, (state, position) in enumerate(moved):
            if (share := shares.get(position[1])) is not None:
                free_cpu -= sign * host_cpu_claim(share.milli, state.host_cpu)
                shared = _shared(state, sign * share.milli, sign * share.memory, by, sign)
                moved[place] = (shared, position)
        return _sorted(Shape(*shape[:5], free_cpu, free_memory, ()), moved)


def empty(node: Node, slice_step: int, chips: Iterable[Chip]) -> NodeState:
    """A node on which nothing runs."""
    unready = None if node.ready else node.unready_because or "not ready"
    shape = Shape(node.pool, slice_step, unready, node.cpu, node.memory, node.cpu, node.memory, ())
    return _sorted(shape, [(_untouched(chip), (chip.index, chip.id)) for chip in chips])


def overdrawn(shape: Shape) -> bool:
    """Whether more is held than there is: an excess that already stands."""
    if shape.free_cpu < 0 or shape.free_memory < 0:
        return True
    return any(chip.free_milli < 0 or chip.free_memory < 0 for chip in shape.chips)


def _untouched(chip: Chip) -> ChipState:
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


def _shared(chip: ChipState, milli: int, memory: int, by: Tenant, count: int) -> ChipState:
    held = dict(chip.tenants)
    held[by] = held.get(by, 0) + count
    tenants = tuple(sorted((who, shares) for who, shares in held.items() if shares))
    return ChipState(*chip[:6], chip.free_milli - milli, chip.free_memory - memory, tenants)


def _sorted(shape: Shape, chips: list[tuple[ChipState, tuple[int, Id]]]) -> NodeState:
    """The canonical order: by state, then by index and id (symmetry)."""
    chips.sort()
    states, positions = zip(*chips, strict=True) if chips else ((), ())
    return NodeState(Shape(*shape[:7], tuple(states)), tuple(positions))
