"""Tables filled with very many rows in the time that a restored database takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = ANY (SELECT unnest(%s::text[])::regclass)
  AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""
"""Those that no constraint needs: made after the rows, in a fraction of the time."""


@contextmanager
def empty(*tables: str) -> Iterator[CursorWrapper]:
    """The tables are empty, and what is written to them inside the block is neither logged nor checked nor indexed;
    afterwards they have their indexes again and are analysed, as autovacuum does it."""
    from django.db import connection, transaction

    with connection.cursor() as cursor:
        with transaction.atomic():
            # Nothing that is written to a table emptied by the same transaction has to be logged.
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
            cursor.execute("SET LOCAL work_mem = '256MB'")
            indexes = _dropped(cursor, tables)
            yield cursor
            for definition in indexes:
                cursor.execute(definition)
        cursor.execute("VACUUM (ANALYZE)")


def _dropped(cursor: CursorWrapper, tables: Sequence[str]) -> list[str]:
    cursor.execute(_INDEXES, [list(tables)])
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(f"DROP INDEX {name}")
    return [definition for _, definition in found]
