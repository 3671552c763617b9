"""Tables of history that are partitioned by time: a span that is old enough goes by dropping its partition, at once and
without a trace, where deleting rows would cost as much as writing them did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from psycopg import sql

from flexai.common.database import Cursor

_LOCK = 7_245_001
"""Of PostgreSQL's advisory locks: one process at a time makes or drops partitions."""


@dataclass(frozen=True, slots=True)
class Partitioned:
    """A table that PostgreSQL partitions by range of the timestamp `at`."""

    table: str
    span: Literal["day", "month"]
    kept: timedelta
    """A partition goes when all of it is older."""

    def make(self, cursor: Cursor, at: datetime) -> None:
        """There is a partition for this instant. Inside a transaction."""
        start, end = self._bounds(at)
        cursor.execute("SELECT to_regclass(%s)", [self._name(start)])
        found = cursor.fetchone()
        if found is not None and found[0] is not None:
            return
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                sql.Identifier(self._name(start)), sql.Identifier(self.table), start, end
            )
        )

    def drop_old(self, cursor: Cursor, now: datetime) -> Sequence[str]:
        """Partitions that are wholly older than `kept` are gone; answers their names. Inside a transaction."""
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_PARTITIONS, [self.table])
        oldest = self._name(self._bounds(now - self.kept)[0])
        gone = [name for (name,) in cursor.fetchall() if name < oldest]
        for name in gone:
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        return gone

    def _bounds(self, at: datetime) -> tuple[datetime, datetime]:
        day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.span == "day":
            return day, day + timedelta(days=1)
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)

    def _name(self, start: datetime) -> str:
        return f"{self.table}_{start:%Y%m%d}"


_PARTITIONS = """
SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""
