"""What work used, kept by the minute for a week and by the hour for a year, per attempt.

A telemetry frame names a replica by a hash of its attempt and index; only an attempt with a replica on the node that
sent the frame is meant, so that an agent speaks of its own work alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from flexai.cluster.rollups import HOUR, HOURS_KEPT, MINUTE, MINUTES_KEPT
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.partitions import Partitioned
from node_agent.protocol import replica_key

ATTEMPT_MINUTES: Final = Partitioned("jobs_attemptminute", "day", MINUTES_KEPT)
ATTEMPT_HOURS: Final = Partitioned("jobs_attempthour", "month", HOURS_KEPT)
MAX_POINTS: Final = 1440
"""Of one answer: a day by the minute, two months by the hour."""


class ReplicaRow(NamedTuple):
    """One replica over one minute: sums over its samples, and the most memory it has held."""

    node: int
    key: bytes
    """`protocol.replica_key`."""
    samples: int
    cpu: int
    memory: int
    wait: int
    peak: int


def write_attempt_minutes(cursor: Cursor, minute: datetime, rows: Sequence[ReplicaRow]) -> None:
    """What the rows say is part of their attempts' minute; rows of nobody's are left out. Inside a transaction, after
    the nodes' rows of that minute: a replica's chips used what those say."""
    ATTEMPT_MINUTES.make(cursor, minute)
    if not rows:
        return
    nodes = sorted({row.node for row in rows})
    replicas = {
        (node, replica_key(attempt, index)): pk
        for pk, node, attempt, index in cursor.execute(_REPLICAS, [nodes, minute])
    }
    found = [
        {
            "replica": replicas[row.node, row.key], "samples": row.samples, "cpu": row.cpu, "memory": row.memory,
            "wait": row.wait, "peak": row.peak,
        }
        for row in rows
        if (row.node, row.key) in replicas
    ]  # fmt: skip
    if found:
        cursor.execute(_ADD, {"at": minute, "rows": as_rows(found)})


def roll_up_hours(cursor: Cursor, hour: datetime) -> int:
    """The minutes of that hour are one row an attempt; anew where it was rolled up before. Answers the number of rows.
    Inside a transaction."""
    ATTEMPT_HOURS.make(cursor, hour)
    cursor.execute(_HOUR, {"at": hour, "until": hour + HOUR})
    return cursor.rowcount


def usage_of(attempt_pk: int, *, since: datetime, until: datetime) -> tuple[timedelta, list[dict[str, Any]]]:
    """The step, and the attempt's points from `since` to `until`, oldest first: by the minute if that makes no more
    than `MAX_POINTS` and they are still kept, else by the hour, of which the last `MAX_POINTS`."""
    is_short = until - since <= MINUTE * MAX_POINTS and clock.now() - since < MINUTES_KEPT
    step = MINUTE if is_short else HOUR
    since = since.replace(minute=since.minute if is_short else 0, second=0, microsecond=0)
    table = "jobs_attemptminute" if step == MINUTE else "jobs_attempthour"
    with prepared_cursor() as cursor:
        rows = cursor.execute(
            _POINTS.format(table=table),  # a name from two lines above
            [attempt_pk, max(since, until - step * MAX_POINTS), until],
        ).fetchall()
    names = ("at", "use_permille", "cpu_permille", "memory_mib", "memory_peak_mib", "wait_permille")
    return step, [dict(zip(names, row, strict=True)) for row in rows]


_REPLICAS = """
SELECT r.id, r.node_id, a.public_id, r.index FROM jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id
WHERE r.node_id = ANY(%s) AND (r.state <> 'ended' OR a.ended_at >= %s)
"""

_ADD = """
INSERT INTO jobs_attemptminute AS m
    (attempt_id, at, samples, use_total, cpu_total, memory_total, wait_total, memory_peak_mib)
SELECT r.attempt_id, %(at)s, sum(u.samples), sum(CASE WHEN c.own THEN
           least(1000, u.cpu / greatest(u.samples, 1) * 1000 / greatest(c.milli, 1)) ELSE c.use END * u.samples),
       sum(u.cpu), sum(u.memory), sum(u.wait), max(u.peak)
FROM json_to_recordset(%(rows)s::json)
         AS u(replica bigint, samples bigint, cpu bigint, memory bigint, wait bigint, peak int)
JOIN jobs_replica r ON r.id = u.replica
LEFT JOIN LATERAL (
    SELECT bool_and(k.driver = 'cpu') AS own, sum(l.milli) AS milli, avg(n.use_permille[k.index + 1])::bigint AS use
    FROM jobs_allocation l JOIN cluster_chip k ON k.id = l.chip_id
    LEFT JOIN cluster_nodeminute n ON n.node_id = k.node_id AND n.at = %(at)s
    WHERE l.replica_id = r.id) c ON true
GROUP BY r.attempt_id
ON CONFLICT (attempt_id, at) DO UPDATE SET
    samples = m.samples + excluded.samples, use_total = coalesce(m.use_total + excluded.use_total, m.use_total,
        excluded.use_total), cpu_total = m.cpu_total + excluded.cpu_total,
    memory_total = m.memory_total + excluded.memory_total, wait_total = m.wait_total + excluded.wait_total,
    memory_peak_mib = greatest(m.memory_peak_mib, excluded.memory_peak_mib)
"""

_HOUR = """
INSERT INTO jobs_attempthour
    (attempt_id, at, samples, use_total, cpu_total, memory_total, wait_total, memory_peak_mib)
SELECT attempt_id, %(at)s, sum(samples), sum(use_total), sum(cpu_total), sum(memory_total), sum(wait_total),
       max(memory_peak_mib)
FROM jobs_attemptminute WHERE at >= %(at)s AND at < %(until)s GROUP BY attempt_id
ON CONFLICT (attempt_id, at) DO UPDATE SET
    samples = excluded.samples, use_total = excluded.use_total, cpu_total = excluded.cpu_total,
    memory_total = excluded.memory_total, wait_total = excluded.wait_total, memory_peak_mib = excluded.memory_peak_mib
"""

_POINTS = """
SELECT at, use_total / samples, cpu_total / samples, memory_total / samples, memory_peak_mib, wait_total / samples
FROM {table} WHERE attempt_id = %s AND at >= %s AND at < %s ORDER BY at
"""
