"""Statements that are repeated all day: Django's connection and transactions, planned once by the server.

Django binds parameters on the client and prepares nothing. The hot paths bind on the server and keep their plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
import psycopg
from django.db import connection

Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]


@contextmanager
def prepared_cursor() -> Iterator[Cursor]:
    """A cursor on Django's connection of this thread, inside its transaction. Raises psycopg's own errors."""
    connection.ensure_connection()
    raw = connection.connection
    raw.prepare_threshold = 1
    with psycopg.Cursor(raw) as cursor:
        yield cursor


def as_rows(rows: Sequence[object]) -> str:
    """Rows as one parameter, read in SQL by `json_to_recordset(%s::json) AS u(name type, …)`."""
    return msgspec.json.encode(rows).decode()
