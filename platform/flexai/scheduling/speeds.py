"""Learns from what running work says of itself: how fast it is on how many replicas (E1), how long it takes to be back
at work, and when it last saved its state (R3).

Words come once a second; the engine is told every ten seconds at most, and only what changed by enough to matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import transaction

from flexai.common.database import Cursor, as_rows, prepared_cursor
from scheduler_core.curves import learned

LEARN_SECONDS: Final = 10.0
SETTLED: Final = timedelta(seconds=5)
"""What is said of throughput sooner after the start is warming up."""
MATTERS: Final = 20
"""A measurement that differs from what is known by less than one part in so many tells nothing new."""
MOST_SIZES: Final = 256
"""Sizes of one job and chip type for which a speed is kept; more are not learned."""

Speeds = dict[str, dict[str, int]]
"""Thousandths of the job's own unit a second, by chip type and number of replicas, as `Job.speeds` has it."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A running attempt that has said something since it was last looked at."""

    attempt: int
    job: int
    speeds: Speeds
    restart_ms: int
    placed_at: datetime
    running_at: datetime | None
    first_at: datetime
    at: datetime
    throughput: int | None
    saves_anew: bool
    """It has a checkpoint of which the scheduler has not heard."""
    replicas: int
    chip_types: list[str]


def learn(cell_id: int, now: datetime) -> int:
    """What running work of the cell has said is known to the scheduler; how many attempts it heard something new of."""
    with transaction.atomic(), prepared_cursor() as cursor:
        jobs, attempts = [], []
        for row in cursor.execute(
            _SAID, {"cell": cell_id, "since": now - timedelta(seconds=2 * LEARN_SECONDS)}
        ):
            said = _Said(row[0], row[1], msgspec.json.decode(row[2]), *row[3:])
            speeds, restart_ms = _speeds_after(said), _restart_ms(said)
            if speeds != said.speeds or restart_ms != said.restart_ms:
                jobs.append({"job": said.job, "speeds": speeds, "restart": restart_ms})
                attempts.append(said.attempt)
            elif said.saves_anew:
                attempts.append(said.attempt)
        _write(cursor, jobs, attempts)
    return len(attempts)


def _restart_ms(said: _Said) -> int:
    return max(int((said.first_at - said.placed_at) / timedelta(milliseconds=1)), 0)


def _speeds_after(said: _Said) -> Speeds:
    """With the speed at its present size; only work on one type of chip, once it has settled, is measured."""
    settled = said.running_at is not None and said.at - said.running_at >= SETTLED
    if not settled or not said.throughput or len(said.chip_types) != 1:
        return said.speeds
    kind, size = said.chip_types[0], str(said.replicas)
    sizes = said.speeds.get(kind, {})
    known = sizes.get(size)
    if known is not None and abs(said.throughput - known) * MATTERS <= known:
        return said.speeds
    if known is None and len(sizes) >= MOST_SIZES:
        return said.speeds
    return {**said.speeds, kind: {**sizes, size: learned(known, said.throughput)}}


def _write(cursor: Cursor, jobs: list[dict[str, Any]], attempts: list[int]) -> None:
    if jobs:
        cursor.execute(_TELL_JOBS, [as_rows(jobs)])
    if attempts:
        cursor.execute(_TELL_ATTEMPTS, [attempts])
        cursor.execute(_TOLD, [attempts])


_SAID = """
SELECT a.id, j.id, j.speeds::text, j.restart_ms, a.placed_at, a.running_at, g.first_at, g.at, g.throughput_milli,
       g.saved_at IS DISTINCT FROM g.told_saved_at,
       (SELECT count(*)::int FROM jobs_replica r WHERE r.attempt_id = a.id),
       (SELECT coalesce(array_agg(DISTINCT c.type), '{}') FROM jobs_allocation l JOIN cluster_chip c ON c.id = l.chip_id
         WHERE l.attempt_id = a.id AND l.active)
  FROM jobs_attempt a JOIN jobs_attemptprogress g ON g.attempt_id = a.id JOIN jobs_job j ON j.id = a.job_id
 WHERE a.cell_id = %(cell)s AND a.state IN ('running', 'checkpointing') AND g.at > %(since)s
 ORDER BY j.id, a.id FOR NO KEY UPDATE OF j, a"""
_TELL_JOBS = """
UPDATE jobs_job j SET speeds = u.speeds, restart_ms = u.restart
  FROM json_to_recordset(%s::json) AS u(job bigint, speeds jsonb, restart int) WHERE j.id = u.job"""
_TELL_ATTEMPTS = "UPDATE jobs_attempt SET version = version + 1 WHERE id = ANY(%s)"
_TOLD = "UPDATE jobs_attemptprogress SET told_saved_at = saved_at WHERE attempt_id = ANY(%s)"
