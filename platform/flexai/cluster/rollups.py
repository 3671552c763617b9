"""Telemetry that is kept: by the minute for a week, by the hour for a year, per node with its chips.

Rows of one span that come twice (a web process that restarted, a node that moved to another) are merged by their
samples. What ended work used is in `jobs.usage`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from psycopg import sql

from flexai.common.database import Cursor
from flexai.common.partitions import Partitioned

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
MINUTES_KEPT: Final = timedelta(days=7)
HOURS_KEPT: Final = timedelta(days=366)
NODE_MINUTES: Final = Partitioned("cluster_nodeminute", "day", MINUTES_KEPT)
NODE_HOURS: Final = Partitioned("cluster_nodehour", "month", HOURS_KEPT)

ARRAYS: Final = ("use_permille", "memory_use_permille", "memory_mib", "temperature_c", "power_mw")
"""The columns by chip index, in the order in which they are written."""
_COLUMNS: Final = ("node_id", "samples", "host_cpu_permille", "host_memory_mib", *ARRAYS)

NodeRow = tuple[int, int, int, int, list[int], list[int], list[int], list[int], list[int]]
"""`_COLUMNS` in order."""
_LINE: Final = "\t".join(["%d"] * 4 + ["%s"] * len(ARRAYS)) + "\n"
"""A row as COPY reads it, but for the brackets of its lists."""


def write_node_minutes(cursor: Cursor, minute: datetime, rows: Iterable[NodeRow]) -> None:
    """The rows are part of that minute. Inside a transaction."""
    NODE_MINUTES.make(cursor, minute)
    cursor.execute(_STAGE)
    cursor.execute("TRUNCATE staged_node_minute")
    lines = "".join(_LINE % row for row in rows)
    with cursor.copy("COPY staged_node_minute FROM STDIN") as copy:
        copy.write(lines.replace("[", "{").replace("]", "}"))
    cursor.execute(_MERGE, {"at": minute})


def roll_up_hours(cursor: Cursor, hour: datetime) -> int:
    """The minutes of that hour are one row a node; an hour that was rolled up before is rolled up anew. Answers the
    number of rows. Inside a transaction."""
    NODE_HOURS.make(cursor, hour)
    cursor.execute(_HOUR, {"at": hour, "until": hour + HOUR})
    return cursor.rowcount


_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_node_minute (node_id bigint, samples int, host_cpu_permille int,
    host_memory_mib int, use_permille int[], memory_use_permille int[], memory_mib int[], temperature_c int[],
    power_mw int[])
"""


def _merged(column: str) -> str:
    """SQL of the mean of two means by their samples."""
    return f"(m.{column} * m.samples + excluded.{column} * excluded.samples) / (m.samples + excluded.samples)"


def _merged_array(column: str) -> str:
    mean = "(coalesce(a, 0)::bigint * m.samples + coalesce(b, 0)::bigint * excluded.samples)"
    both = f"unnest(m.{column}, excluded.{column}) WITH ORDINALITY AS u(a, b, i)"
    return f"ARRAY(SELECT {mean} / (m.samples + excluded.samples) FROM {both} ORDER BY i)"  # noqa: S608 - our columns


def _mean_of(column: str) -> str:
    return f"sum(u.{column}::bigint * m.samples) / sum(m.samples) AS {column}"


_MERGE = sql.SQL(
    f"""
INSERT INTO cluster_nodeminute AS m (at, {", ".join(_COLUMNS)})
SELECT %(at)s, {", ".join(_COLUMNS)} FROM staged_node_minute ORDER BY node_id
ON CONFLICT (node_id, at) DO UPDATE SET
    samples = m.samples + excluded.samples,
    host_cpu_permille = {_merged("host_cpu_permille")},
    host_memory_mib = ({_merged("host_memory_mib::bigint")}),
    {", ".join(f"{column} = {_merged_array(column)}" for column in ARRAYS)}
"""  # noqa: S608 - names of columns from above
)

_HOUR = sql.SQL(
    f"""
INSERT INTO cluster_nodehour (at, {", ".join(_COLUMNS)})
SELECT %(at)s, n.node_id, n.samples, n.cpu, n.memory, {", ".join(f"c.{column}" for column in ARRAYS)}
FROM (SELECT node_id, sum(samples) AS samples, sum(host_cpu_permille::bigint * samples) / sum(samples) AS cpu,
             sum(host_memory_mib::bigint * samples) / sum(samples) AS memory
      FROM cluster_nodeminute WHERE at >= %(at)s AND at < %(until)s GROUP BY node_id) n
JOIN (SELECT node_id, {", ".join(f"array_agg({column} ORDER BY i) AS {column}" for column in ARRAYS)}
      FROM (SELECT m.node_id, u.i, {", ".join(_mean_of(column) for column in ARRAYS)}
            FROM cluster_nodeminute m, unnest({", ".join(f"m.{column}" for column in ARRAYS)})
                 WITH ORDINALITY AS u({", ".join(ARRAYS)}, i)
            WHERE m.at >= %(at)s AND m.at < %(until)s GROUP BY m.node_id, u.i) by_chip
      GROUP BY node_id) c ON c.node_id = n.node_id
ON CONFLICT (node_id, at) DO UPDATE SET samples = excluded.samples, host_cpu_permille = excluded.host_cpu_permille,
    host_memory_mib = excluded.host_memory_mib, {", ".join(f"{column} = excluded.{column}" for column in ARRAYS)}
"""  # noqa: S608 - names of columns from above
)
