"""The loop's way to PostgreSQL: Django's connection, with statements prepared by the server.

Django binds parameters on the client and prepares nothing; the loop repeats a dozen statements all day, so it
saves their planning. Transactions stay Django's (`transaction.atomic`), and so do commit hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
import psycopg
from django.db import connection

Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]


@contextmanager
def loop_cursor() -> Iterator[Cursor]:
    """A cursor on Django's connection of this thread. Raises psycopg's own errors, not Django's."""
    connection.ensure_connection()
    raw = connection.connection
    raw.prepare_threshold = 0
    with psycopg.Cursor(raw) as cursor:
        yield cursor


def as_rows(rows: list[dict[str, Any]]) -> str:
    """Rows as one parameter, read in SQL by `json_to_recordset(%s::json)`."""
    return msgspec.json.encode(rows).decode()
