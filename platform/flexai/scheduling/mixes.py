"""What a cell has been asked for lately: the mix by which its engine values what remains of nodes (P3).

Learned from the cell's latest jobs by the engine's rule (`scheduler_core.mix`). It says what was asked for and how
often, and nothing of who asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from flexai.common.database import prepared_cursor
from flexai.jobs.requests import request_from
from flexai.scheduling.models import Mix
from scheduler_core.mix import LATEST_JOBS, MOST_OF_ONE, as_rows, has_moved, mix_of
from scheduler_core.model import Request

AMONG_JOBS: Final = 50_000
"""A cell's latest jobs are looked for among so many of all cells. A cell that was asked for nothing meanwhile keeps its
mix."""


def learn(cell_id: int, now: datetime) -> bool:
    """The cell's mix is on record, and will be told to its engine, if it has moved. Returns whether it has."""
    came = mix_of(_latest(cell_id))
    if not came:
        return False
    told = Mix.objects.filter(cell_id=cell_id).values_list("requests", flat=True).first()
    if told is not None and not has_moved(dict(_requests(told)), came):
        return False
    requests = [[_resources(row.request), row.count] for row in as_rows(came)]
    Mix.objects.update_or_create(cell_id=cell_id, defaults={"requests": requests, "learned_at": now})
    return True


def _latest(cell_id: int) -> list[tuple[Request, int]]:
    """What the cell's latest jobs asked for."""
    asked = {"cell": cell_id, "among": AMONG_JOBS, "latest": LATEST_JOBS, "of_one": MOST_OF_ONE}
    with prepared_cursor() as cursor:
        rows = cursor.execute(_LATEST, asked).fetchall()
    return list(_requests((msgspec.json.decode(text), count) for text, count in rows))


def _requests(rows: Iterable[tuple[dict[str, Any], int]]) -> Iterable[tuple[Request, int]]:
    return ((request_from(resources, in_image=False), count) for resources, count in rows)


def _resources(request: Request) -> dict[str, Any]:
    """As a spec has them."""
    return {
        "chips": request.chips,
        "milli": request.milli,
        "chip_memory_mib": request.chip_memory,
        "chip_types": list(request.chip_types),
        "in_order": request.in_order,
        "cpu_milli": request.cpu,
        "memory_mib": request.memory,
        "isolation": None,
    }


_LATEST = """
SELECT latest.asked::text, sum(latest.replicas)::bigint
FROM (SELECT (effective_spec->'resources') || '{"isolation": null}' AS asked,
             least((effective_spec->'replicas'->>'min')::bigint, %(of_one)s) AS replicas
        FROM jobs_job
       WHERE cell_id = %(cell)s AND id > (SELECT coalesce(max(id), 0) FROM jobs_job) - %(among)s
         AND (index IS NULL OR index < %(of_one)s)
       ORDER BY id DESC LIMIT %(latest)s) latest
GROUP BY latest.asked"""
