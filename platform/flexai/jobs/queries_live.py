"""Nodes with who is on each chip, and what a job's replicas use right now. For reading only.

A tenant sees of other tenants' work only that a chip is taken: `job` is filled for jobs of organizations that the
caller may see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection

from flexai.cluster.queries import NodeNow, cluster_summary, node_now, nodes_now
from flexai.cluster.telemetry import latest, replica_samples
from flexai.common import clock
from flexai.common.database import as_numbers, prepared_cursor
from node_agent.protocol import Telemetry, replica_key

__all__ = ["chip_list", "cluster_summary", "job_usage", "node_detail", "node_list", "use_of_jobs"]

MAX_REPLICAS = 1000
"""Replicas of one answer."""


def node_list(
    cell_pk: int, *, organizations: Collection[int] | None, after_pk: int = 0, limit: int = 50
) -> list[NodeNow]:
    """Nodes of the cell with chips and who is on them. `organizations`: whose jobs are named; None: everybody's."""
    nodes = nodes_now(cell_pk, after_pk=after_pk, limit=limit)
    _name_jobs(nodes, organizations)
    return nodes


def node_detail(public_id: str, *, organizations: Collection[int] | None) -> NodeNow:
    """One node by public id or name. Raises NotFound."""
    node = node_now(public_id)
    _name_jobs([node], organizations)
    return node


def chip_list(
    cell_pk: int, *, organizations: Collection[int] | None, after_pk: int = 0, limit: int = 50
) -> list[dict[str, Any]]:
    """The chips of a page of nodes, flat, each with `node` {id, name}."""
    nodes = node_list(cell_pk, organizations=organizations, after_pk=after_pk, limit=limit)
    return [
        {**chip, "node": {"id": node["id"], "name": node["name"]}} for node in nodes for chip in node["chips"]
    ]


def job_usage(job_pk: int) -> dict[str, Any]:
    """What each replica of the job's live attempt uses now; values are None where nothing is measured."""
    with connection.cursor() as cursor:
        cursor.execute(_REPLICAS, [job_pk, MAX_REPLICAS])
        rows = cursor.fetchall()
    samples = latest(sorted({row[3] for row in rows}))
    chips = _chips_of([row[0] for row in rows])
    replicas = []
    for pk, attempt_id, index, node_pk, node_name in rows:
        sample = samples.get(node_pk)
        mine = replica_samples(sample).get(replica_key(attempt_id, index))
        by_index = {chip.index: chip for chip in sample.chips} if sample else {}
        replicas.append(
            {
                "replica": index,
                "node": node_name,
                "cpu_permille": mine.cpu_permille if mine else None,
                "memory_mib": mine.memory_mib if mine else None,
                "memory_peak_mib": mine.memory_peak_mib if mine else None,
                "wait_permille": mine.wait_permille if mine else None,
                "chips": [
                    {
                        "id": chip_id,
                        "type": kind,
                        "index": chip_index,
                        "node": node_name,
                        "use_permille": min(by_index[chip_index].use_permille, 1000)
                        if chip_index in by_index
                        else None,
                        "memory_mib": by_index[chip_index].memory_mib if chip_index in by_index else None,
                    }
                    for chip_id, kind, chip_index in chips[pk]
                ],
            }
        )
    return {"replicas": replicas, "as_of": clock.now().isoformat()}


def use_of_jobs(job_pks: Collection[int]) -> dict[int, int]:
    """Mean live use in permille of the chips each running job holds; jobs of which nothing is measured are left out.

    Where cores are the chips, other processes of the host use them too: there the job's own processor time counts.
    """
    with prepared_cursor() as cursor:
        rows = cursor.execute(CHIPS_OF_JOBS, {"jobs": as_numbers(job_pks)}).fetchall()
    return use_of(rows)


def use_of(rows: Collection[Sequence[Any]]) -> dict[int, int]:
    """The same of what `CHIPS_OF_JOBS` answered."""
    samples = latest(sorted({row[1] for row in rows})) if rows else {}
    used, held = defaultdict[int, int](int), defaultdict[int, int](int)
    for job_pk, node, by_core, attempt, index, milli, chips in rows:
        own = replica_key(attempt, index) if by_core else None
        use = _use_of(samples.get(node), own, milli, chips)
        if use is not None:
            used[job_pk] += use * milli
            held[job_pk] += milli
    return {job_pk: used[job_pk] // milli for job_pk, milli in held.items()}


def _use_of(sample: Telemetry | None, own: bytes | None, milli: int, chips: Sequence[int]) -> int | None:
    """Permille of what a replica holds: of its own processor time where `own` is its key, else of its chips."""
    if sample is None:
        return None
    if own is not None:
        mine = replica_samples(sample).get(own)
        return None if mine is None else min(1000, mine.cpu_permille * 1000 // milli)
    by_index = {chip.index: min(chip.use_permille, 1000) for chip in sample.chips}
    found = [by_index[index] for index in chips if index in by_index]
    return sum(found) // len(found) if found else None


_REPLICAS = """
SELECT r.id, a.public_id, r.index, r.node_id, n.name
FROM jobs_attempt a JOIN jobs_replica r ON r.attempt_id = a.id JOIN cluster_node n ON n.id = r.node_id
WHERE a.job_id = %s AND a.state <> 'ended' ORDER BY r.index LIMIT %s
"""
_CHIPS = """
SELECT l.replica_id, c.public_id, c.type, c.index FROM jobs_allocation l JOIN cluster_chip c ON c.id = l.chip_id
WHERE l.replica_id = ANY(%s) AND l.active ORDER BY c.index
"""
CHIPS_OF_JOBS = """
SELECT a.job_id, r.node_id, bool_and(c.driver = 'cpu'), a.public_id, r.index, sum(l.milli)::int, array_agg(c.index)
FROM jobs_attempt a JOIN jobs_replica r ON r.attempt_id = a.id
JOIN jobs_allocation l ON l.replica_id = r.id AND l.active JOIN cluster_chip c ON c.id = l.chip_id
WHERE a.job_id = ANY(%(jobs)s::bigint[]) AND a.state <> 'ended'
GROUP BY a.job_id, r.id, a.public_id
"""
"""What each replica of running jobs holds."""
_ON_CHIPS = """
SELECT DISTINCT ON (l.chip_id) l.chip_id, j.organization_id, j.public_id, j.name
FROM jobs_allocation l JOIN jobs_attempt a ON a.id = l.attempt_id JOIN jobs_job j ON j.id = a.job_id
WHERE l.chip_id = ANY(%s) AND l.active ORDER BY l.chip_id, l.milli DESC, l.id
"""


def _chips_of(replica_pks: Sequence[int]) -> dict[int, list[tuple[str, str, int]]]:
    chips: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_CHIPS, [list(replica_pks)])
        for replica_pk, chip_id, kind, index in cursor.fetchall():
            chips[replica_pk].append((chip_id, kind, index))
    return chips


def _name_jobs(nodes: Sequence[NodeNow], organizations: Collection[int] | None) -> None:
    """The largest allocation names the chip's job; where it may not be named, the chip is just taken. So for guests."""
    taken = [chip["pk"] for node in nodes for chip in node["chips"] if chip["used_milli"]]
    if not taken:
        return
    _name_guests(nodes, organizations)
    with connection.cursor() as cursor:
        cursor.execute(_ON_CHIPS, [taken])
        rows = cursor.fetchall()
    jobs = {
        chip: {"id": job, "name": name}
        for chip, organization, job, name in rows
        if organizations is None or organization in organizations
    }
    for node in nodes:
        for chip in node["chips"]:
            chip["job"] = jobs.get(chip["pk"])


def _name_guests(nodes: Sequence[NodeNow], organizations: Collection[int] | None) -> None:
    lent = {chip["pk"]: chip for node in nodes for chip in node["chips"] if chip["guest_milli"]}
    if not lent:
        return
    with connection.cursor() as cursor:
        cursor.execute(_GUESTS, [list(lent)])
        for chip, organization, job, name, milli, since, halted, idle_since, use in cursor.fetchall():
            if organizations is None or organization in organizations:
                lent[chip]["guests"].append(
                    {
                        "id": job, "name": name, "milli": milli, "since": since.isoformat(),
                        "halted_at": halted and halted.isoformat(),
                        "owner_idle_since": idle_since and idle_since.isoformat(), "owner_use_permille": use,
                    }
                )  # fmt: skip


_GUESTS = """
SELECT l.chip_id, j.organization_id, j.public_id, j.name, l.milli, a.placed_at, g.paused_at,
    o.idle_since, o.use_permille
FROM jobs_allocation l JOIN jobs_attempt a ON a.id = l.attempt_id JOIN jobs_job j ON j.id = a.job_id
JOIN jobs_guest g ON g.attempt_id = a.id
LEFT JOIN LATERAL (
    SELECT f.idle_since, f.use_permille FROM jobs_offer f JOIN jobs_allocation w ON w.attempt_id = f.attempt_id
    WHERE w.chip_id = l.chip_id AND w.active AND w.kind = 'owned' ORDER BY w.milli DESC LIMIT 1) o ON true
WHERE l.chip_id = ANY(%s) AND l.active AND l.kind = 'guest' ORDER BY l.id
"""
