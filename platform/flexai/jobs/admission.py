"""Whether a job can ever fit (F6), asked of the engine at submit with what is registered and limited now.

What is registered is looked at at most every two seconds, read where something of it has changed, and kept per process;
equal requests are asked once. Which types a spec means, `chip_types` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flexai.cluster.models import Cell, Chip, ChipType, Node, NodeState, Pool
from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, InvalidInput, NeverFits
from flexai.jobs.chip_types import RegisteredType, with_registered_types
from flexai.jobs.requests import gangs_from
from flexai.jobs.vocabulary import nearest
from flexai.tenancy.models import Quota, Team
from scheduler_core import model
from scheduler_core.admit import Admission
from scheduler_core.reasons import NoImages, Reason
from scheduler_core.slices import resolve_slice

KEPT_SECONDS = 2.0
MAX_ROUNDINGS = 4
"""Sentences about slices; more types say the same."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A spec that can fit: chip types as they are registered, and the roundings on them (Q3)."""

    effective: dict[str, Any]
    roundings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """What one cell has and allows, as the engine's rows."""

    cell: int
    name: str
    snapshot: model.Snapshot
    mark: tuple[object, ...]
    """Of all rows that it was read from; it moves with each of them."""
    pools: Mapping[str, int]
    types: tuple[RegisteredType, ...]
    admission: Admission
    answers: dict[tuple[object, ...], tuple[Reason, ...]] = field(default_factory=dict)

    @property
    def chip_types(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.name for one in self.types)


def cell_of(effective: Mapping[str, Any]) -> Registered:
    """The cell that has all pools the spec names; without any, the first. Raises InvalidInput for an unknown
    pool."""
    cells = _cells()
    wanted: Sequence[str] = effective["node_pools"]
    for cell in cells:
        if all(name in cell.pools for name in wanted):
            return cell
    known = sorted({name for cell in cells for name in cell.pools})
    errors = [
        FieldError("node_pools", f"there is no pool {name!r}", nearest(name, known))
        for name in wanted
        if name not in known
    ] or [FieldError("node_pools", "the pools are of different cells; a job runs in one")]
    raise InvalidInput("The node pools cannot be used so.", errors=errors)


def admit(effective: dict[str, Any], cell: Registered, *, team: int, organization: int) -> Admitted:
    """The spec with registered chip types. Raises NeverFits with the engine's sentence when it can never start, with
    none of its alternatives."""
    resolved, roundings = _with_registered_types(effective, cell)
    reasons = _reasons(resolved, cell, team, organization)
    if reasons:
        raise NeverFits(reasons[0].sentence(), errors=_hints(resolved, cell, reasons))
    asked = (resolved["resources"], *resolved["alternatives"])
    sliced = [
        told for resources in asked for told in _slice_roundings(resources, resolved["node_pools"], cell)
    ]
    return Admitted(resolved, (*roundings, *dict.fromkeys(sliced)))


def forget() -> None:
    """What was read is read anew at the next submit (tests, and whoever just registered a node)."""
    with _lock:
        _kept.clear()


_lock = threading.Lock()
_kept: dict[str, tuple[float, list[Registered]]] = {}


def _cells() -> list[Registered]:
    with _lock:
        kept = _kept.get("cells")
        if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        before = {cell.cell: cell for cell in kept[1]} if kept else {}
        read = [_registered(cell, before.get(cell.pk)) for cell in Cell.objects.order_by("id")]
        _kept["cells"] = (time.monotonic(), read)
        return read


def _registered(cell: Cell, before: Registered | None) -> Registered:
    """The cell's rows now. With thousands of chips reading them takes long, and whoever submits waits for it."""
    mark = _mark(cell)
    if before is not None and before.mark == mark:
        return before
    pools = {pool.name: pool for pool in Pool.objects.filter(cell=cell).order_by("id")}
    snapshot = model.Snapshot(
        now=0,
        pools=tuple(model.Pool(pool.pk, pool.name, pool.slice_step_milli) for pool in pools.values()),
        nodes=_nodes(cell),
        chips=_chips(cell),
        teams=_teams(cell),
    )
    return Registered(
        cell=cell.pk,
        name=cell.name,
        snapshot=snapshot,
        mark=mark,
        pools={name: pool.pk for name, pool in pools.items()},
        types=_types(snapshot.chips),
        admission=Admission(snapshot),
    )


def _mark(cell: Cell) -> tuple[object, ...]:
    """Rows, and the sum of the transactions that changed each last: it grows with every change (law 7)."""
    with prepared_cursor() as cursor:
        return tuple(cursor.execute(_MARKS, {"cell": cell.pk}).fetchall())


_MARKS = " UNION ALL ".join(
    f"SELECT count(*), sum(changed) FROM {table} {where}"  # noqa: S608 - constants alone
    for table, where in (
        ("cluster_pool", "WHERE cell_id = %(cell)s"),
        ("cluster_node", "WHERE cell_id = %(cell)s"),
        ("cluster_chip", "WHERE cell_id = %(cell)s"),
        ("tenancy_quota", "WHERE cell_id = %(cell)s"),
        ("tenancy_team", ""),
    )
)


def _nodes(cell: Cell) -> tuple[model.Node, ...]:
    rows = (
        Node.objects.filter(cell=cell, credential_revoked_at=None)
        .exclude(state=NodeState.DEAD)
        .order_by("id")
        .values_list("id", "name", "pool_id", "cpu_milli", "memory_mib", "images")
    )
    return tuple(
        model.Node(pk, name, pool, cpu, memory, images=images) for pk, name, pool, cpu, memory, images in rows
    )


def _chips(cell: Cell) -> tuple[model.Chip, ...]:
    rows = (
        Chip.objects.filter(cell=cell, present=True, node__credential_revoked_at=None)
        .exclude(node__state=NodeState.DEAD)
        .order_by("id")
        .values_list("id", "node_id", "index", "type", "memory_mib", "isolation", "host_cpu_milli")
    )
    return tuple(
        model.Chip(
            pk, node, index, kind, memory,
            isolation=frozenset(model.Isolation(level) for level in isolation), host_cpu=host_cpu,
        )
        for pk, node, index, kind, memory, isolation, host_cpu in rows
    )  # fmt: skip


def _types(chips: Iterable[model.Chip]) -> tuple[RegisteredType, ...]:
    """By name."""
    sizes: dict[str, set[int]] = {}
    for chip in chips:
        sizes.setdefault(chip.type, set()).add(chip.memory)
    vendors = dict(ChipType.objects.values_list("name", "vendor"))
    return tuple(
        RegisteredType(name, vendors.get(name, "").lower(), frozenset(sizes[name])) for name in sorted(sizes)
    )


def _teams(cell: Cell) -> tuple[model.Team, ...]:
    quotas: dict[int, list[model.Quota]] = {}
    for quota in Quota.objects.filter(cell=cell).order_by("chip_type"):
        quotas.setdefault(quota.team_id, []).append(
            model.Quota(quota.chip_type, quota.guaranteed_milli, quota.limit_milli, quota.over_quota_weight)
        )
    rows = Team.objects.order_by("id").values_list("id", "name", "organization_id", "parent_id")
    return tuple(
        model.Team(pk, name, organization, parent, tuple(quotas.get(pk, ())))
        for pk, name, organization, parent in rows
    )


def _reasons(
    effective: Mapping[str, Any], cell: Registered, team: int, organization: int
) -> tuple[Reason, ...]:
    """Why it can never start; empty when one of its alternatives can."""
    found = [_reasons_of(gang, effective, cell, team, organization) for gang in gangs_from(effective)]
    return () if () in found else tuple(reason for reasons in found for reason in reasons)


def _reasons_of(
    gang: model.Gang, effective: Mapping[str, Any], cell: Registered, team: int, organization: int
) -> tuple[Reason, ...]:
    pools = tuple(cell.pools[name] for name in effective["node_pools"])
    key = (team, organization, gang, pools, effective["preemptible"])
    with _lock:
        if key not in cell.answers:
            cell.answers[key] = cell.admission.reasons(
                model.Job(
                    id=0,
                    name=effective["name"],
                    team=team,
                    organization=organization,
                    user=0,
                    gang=gang,
                    pools=pools,
                    preemptible=effective["preemptible"],
                )
            )
        return cell.answers[key]


def _with_registered_types(
    effective: dict[str, Any], cell: Registered
) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = [effective["resources"], *effective["alternatives"]]
    meant, told = with_registered_types(asked, cell.types)
    if meant == asked:
        return effective, ()
    return {**effective, "resources": meant[0], "alternatives": meant[1:]}, told


def _slice_roundings(resources: Mapping[str, Any], pools: Sequence[str], cell: Registered) -> list[str]:
    if not resources["milli"] and not resources["chip_memory_mib"]:
        return []
    steps = {pool.id: pool.slice_step for pool in cell.snapshot.pools}
    node_pool = {node.id: node.pool for node in cell.snapshot.nodes}
    allowed = {cell.pools[name] for name in pools} or set(steps)
    kinds = sorted(
        {
            (chip.memory, steps[node_pool[chip.node]])
            for chip in cell.snapshot.chips
            if (not resources["chip_types"] or chip.type in resources["chip_types"])
            and node_pool.get(chip.node) in allowed
            and chip.memory >= max(1, resources["chip_memory_mib"])
        }
    )
    told: list[str] = []
    for memory, step in kinds[:MAX_ROUNDINGS]:
        told += resolve_slice(
            milli=resources["milli"], memory=resources["chip_memory_mib"], chip_memory=memory, step=step
        ).roundings
    return told


def _hints(effective: Mapping[str, Any], cell: Registered, reasons: Sequence[Reason]) -> list[FieldError]:
    hints = [
        FieldError(
            "resources.accelerators", f"no chip of type {name} is registered", nearest(name, cell.chip_types)
        )
        for resources in (effective["resources"], *effective["alternatives"])
        for name in resources["chip_types"]
        if name not in cell.chip_types
    ]
    if any(isinstance(reason, NoImages) for reason in reasons):
        hint = "leave it out: commands run on the node itself"
        hints.append(FieldError("image", "no node that it may run on runs images", hint))
    return hints or [FieldError("", reason.sentence()) for reason in reasons]
