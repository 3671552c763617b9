"""Nodes and chips as they are now: the rows, and over them the latest telemetry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypedDict

from django.db import connection

from flexai.cluster.frames import columns
from flexai.cluster.models import Cell, Node
from flexai.cluster.telemetry import Series, cluster_series, latest, latest_frames
from flexai.common.errors import NotFound
from node_agent.protocol import ChipSample, Telemetry

MAX_NODES = 200
"""Nodes of one page."""


class ChipNow(TypedDict):
    """One chip as the API shows it; `job` and `guests` are filled in by `jobs.queries_live`."""

    pk: int
    id: str
    index: int
    type: str
    memory_mib: int
    present: bool
    healthy: bool
    health: int
    health_note: str
    part_of: int | None
    isolation: list[str]
    used_milli: int
    used_memory_mib: int
    guest_milli: int
    state: str
    use_permille: int | None
    live_memory_mib: int | None
    temperature_c: int | None
    power_mw: int | None
    job: dict[str, str] | None
    guests: list[dict[str, Any]]


class NodeNow(TypedDict):
    """One node as the API shows it."""

    pk: int
    id: str
    name: str
    pool: str
    state: str
    state_reason: str
    status: str
    contact: str
    simulated: bool
    images: bool
    trust: str
    notes: list[str]
    cpu_milli: int
    used_cpu_milli: int
    memory_mib: int
    used_memory_mib: int
    use: dict[str, int] | None
    topology: list[str]
    agent_version: str
    last_seen_at: str | None
    version: int
    chips: list[ChipNow]


def nodes_now(cell_pk: int, *, after_pk: int = 0, limit: int = 50) -> list[NodeNow]:
    """Nodes of the cell in the order they enrolled, from the one after `after_pk` on; at most `MAX_NODES`."""
    nodes = Node.objects.filter(cell_id=cell_pk, pk__gt=after_pk).order_by("pk")
    return _now(list(nodes.select_related("pool", "contact")[: min(limit, MAX_NODES)]))


def node_now(public_id: str) -> NodeNow:
    """One node by public id or by name. Raises NotFound."""
    found = Node.objects.select_related("pool", "contact")
    node = found.filter(public_id=public_id).first() or found.filter(name=public_id).order_by("pk").first()
    if node is None:
        raise NotFound("There is no such node.")
    return _now([node])[0]


def cluster_summary(cell_pk: int) -> dict[str, Any]:
    """Totals of the cell, and its last hour. `chips.mean_use_permille` is None when nothing is measured."""
    with connection.cursor() as cursor:
        cursor.execute(_TYPES, [cell_pk])
        types = [
            {"type": name, "total": total, "allocated_milli": milli}
            for name, total, milli in cursor.fetchall()
        ]
        cursor.execute(_NODES, [cell_pk])
        ready, connected, total_nodes = cursor.fetchone() or (0, 0, 0)
        cursor.execute(_CHIPS, [cell_pk])
        total, allocated, busy, idle, offline = cursor.fetchone() or (0, 0, 0, 0, 0)
    series = cluster_series(cell_pk)
    return {
        "cell": Cell.objects.filter(pk=cell_pk).values_list("name", flat=True).first() or "",
        "nodes": {"ready": ready, "connected": connected, "total": total_nodes},
        "chips": {
            "total": total,
            "allocated_milli": allocated,
            "busy": busy,
            "idle": idle,
            "offline": offline,
            "mean_use_permille": mean_use(cell_pk),
        },
        "types": types,
        "series": as_lists(series),
    }


def as_lists(series: Series) -> dict[str, list[int]]:
    """The hour as the API shows it."""
    return {"at": series.at, "allocated": series.allocated, "use": series.use}


def mean_use(cell_pk: int) -> int | None:
    """Mean use in permille of the cell's chips that report now; None when none does."""
    pks = list(Node.objects.filter(cell_id=cell_pk, reachable=True).values_list("pk", flat=True))
    frames = list(latest_frames(pks).values())
    if not frames:
        return None
    use = columns(frames).chips["use"]
    return int(use.clip(max=1000).sum(dtype=int)) // len(use) if len(use) else None


def measured_by_type() -> dict[str, tuple[int, int]]:
    """For each chip type, in milli-chips over all cells: what is held on chips that report now, and how much of that is
    really used. A chip used beyond what is held of it counts as much as is held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT node_id, index, type, used_milli FROM cluster_chip WHERE used_milli > 0")
        rows = cursor.fetchall()
    frames = latest_frames(sorted({row[0] for row in rows}))
    if not frames:
        return {}
    seen, nodes = columns(list(frames.values())), list(frames)
    places = zip(
        seen.chip_frame.tolist(), seen.chips["index"].tolist(), seen.chips["use"].tolist(), strict=True
    )
    use = {(nodes[frame], index): permille for frame, index, permille in places}
    found = defaultdict[str, list[int]](lambda: [0, 0])
    for node, index, kind, held in rows:
        if (node, index) in use:
            found[kind][0] += held
            found[kind][1] += min(held, use[node, index])
    return {kind: (held, used) for kind, (held, used) in found.items()}


def allocated_milli(cell_pk: int) -> int:
    """Milli-chips of the cell that live attempts own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(used_milli), 0) FROM cluster_chip WHERE cell_id = %s", [cell_pk])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


_TYPES = """
SELECT c.type, count(*), coalesce(sum(c.used_milli), 0) FROM cluster_chip c
WHERE c.cell_id = %s AND (c.present OR c.used_milli > 0)
  AND NOT EXISTS (SELECT FROM cluster_chip i WHERE i.parent_id = c.id AND i.present)
GROUP BY c.type ORDER BY c.type
"""
_NODES = """
SELECT count(*) FILTER (WHERE reachable AND state = 'ready'), count(*) FILTER (WHERE reachable),
       count(*) FILTER (WHERE state <> 'dead')
FROM cluster_node WHERE cell_id = %s
"""
_CHIPS = """
SELECT count(*), coalesce(sum(c.used_milli), 0), count(*) FILTER (WHERE live AND c.used_milli > 0),
       count(*) FILTER (WHERE live AND c.used_milli = 0), count(*) FILTER (WHERE NOT live)
FROM (SELECT c.*, c.present AND c.healthy AND n.reachable AND n.state <> 'dead' AS live
      FROM cluster_chip c JOIN cluster_node n ON n.id = c.node_id
      WHERE c.cell_id = %s AND (c.present OR c.used_milli > 0)
        AND NOT EXISTS (SELECT FROM cluster_chip i WHERE i.parent_id = c.id AND i.present)) c
"""
_CHIPS_OF = """
SELECT c.node_id, c.id, c.public_id, c.index, c.type, c.memory_mib, c.present,
       c.healthy AND c.cordoned_because = '', c.health,
       coalesce('Cordoned: ' || nullif(c.cordoned_because, ''), nullif(c.health_note, ''), c.health_reason), p.index,
       c.isolation, c.used_milli, c.used_memory_mib, c.guest_milli, c.cordoned_because <> '', c.drained_at IS NOT NULL
FROM cluster_chip c LEFT JOIN cluster_chip p ON p.id = c.parent_id
WHERE c.node_id = ANY(%s) AND (c.present OR c.used_milli > 0) ORDER BY c.node_id, c.index
"""


def _now(nodes: Sequence[Node]) -> list[NodeNow]:
    pks = [node.pk for node in nodes]
    samples = latest(pks)
    chips: dict[int, list[ChipNow]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_CHIPS_OF, [pks])
        by_node = {pk: _by_index(samples.get(pk)) for pk in pks}
        for node_pk, *values in cursor.fetchall():
            chips[node_pk].append(_chip(values, by_node[node_pk]))
    return [_node(node, samples.get(node.pk), chips[node.pk]) for node in nodes]


def _by_index(sample: Telemetry | None) -> dict[int, ChipSample]:
    return {} if sample is None else {chip.index: chip for chip in sample.chips}


def _chip(values: Sequence[Any], samples: dict[int, ChipSample]) -> ChipNow:
    (pk, public_id, index, kind, memory, present, healthy, health, note, parent, isolation, used_milli,
     used_memory, guest_milli, cordoned, drained) = values  # fmt: skip
    sample = samples.get(index)
    return {
        "pk": pk,
        "id": public_id,
        "index": index,
        "type": kind,
        "memory_mib": memory,
        "present": present,
        "healthy": healthy,
        "health": health,
        "health_note": note,
        "part_of": parent,
        "isolation": isolation,
        "used_milli": used_milli,
        "used_memory_mib": used_memory,
        "guest_milli": guest_milli,
        "state": "cordoned" if cordoned else "drained" if drained else "in_service",
        "use_permille": min(sample.use_permille, 1000) if sample else None,
        "live_memory_mib": sample.memory_mib if sample else None,
        "temperature_c": sample.temperature_c or None if sample else None,
        "power_mw": sample.power_mw or None if sample else None,
        "job": None,
        "guests": [],
    }


def _node(node: Node, sample: Telemetry | None, chips: list[ChipNow]) -> NodeNow:
    contact = getattr(node, "contact", None)
    seen_at = contact.seen_at if contact is not None else None
    is_lost = not node.reachable and node.state != "dead"
    return {
        "pk": node.pk,
        "id": node.public_id,
        "name": node.name,
        "pool": node.pool.name,
        "state": node.state,
        "state_reason": node.state_reason,
        "status": "unreachable" if is_lost else node.state,
        "contact": "ok" if node.reachable else "unreachable",
        "simulated": node.simulated,
        "images": node.images,
        "trust": "separate_users" if node.separate_users else "one_user",
        "notes": node.notes,
        "cpu_milli": node.cpu_milli,
        "used_cpu_milli": node.used_cpu_milli,
        "memory_mib": node.memory_mib,
        "used_memory_mib": node.used_memory_mib,
        "use": None
        if sample is None
        else {"cpu_permille": min(sample.host_cpu_permille, 1000), "memory_mib": sample.host_memory_mib},
        "topology": node.topology,
        "agent_version": node.agent_version,
        "last_seen_at": seen_at.isoformat() if seen_at else None,
        "version": node.version,
        "chips": chips,
    }
