"""Statements that are repeated all day: Django's connection and transactions, planned once by the server.

Django binds parameters on the client and prepares nothing. The hot paths bind on the server and keep their plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import msgspec
import psycopg
from django.db import connection

from flexai.common.round_trip import Answer, RoundTrip

Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]
Send: TypeAlias = Callable[[str, Mapping[str, Any]], Answer]


@contextmanager
def prepared_cursor() -> Iterator[Cursor]:
    """A cursor on Django's connection of this thread, inside its transaction. Raises psycopg's own errors."""
    connection.ensure_connection()
    raw = connection.connection
    raw.prepare_threshold = 1
    with psycopg.Cursor(raw) as cursor:
        yield cursor


@contextmanager
def at_once(cursor: Cursor) -> Iterator[Send]:
    """Statements that are sent together at the end of the block, and done in their order: one round trip. What they
    answered is read after the block, which raises the first one's error; those after it are not done then."""
    trip = RoundTrip(cursor.connection)
    yield trip.send
    trip.run()


class Writes(Protocol):
    """A cursor, or what gathers statements for one message: whoever needs no answer takes either."""

    def execute(self, query: str, params: Sequence[Any], /, *, prepare: bool | None = None) -> object:
        """Done now, or when the message is sent."""


@contextmanager
def gathered(cursor: Cursor) -> Iterator[Writes]:
    """The same for statements that are written for a cursor, with parameters in order."""
    trip = RoundTrip(cursor.connection)
    yield trip
    trip.run()


def plan_anew() -> None:
    """Statements of this thread's connection are planned again when next asked for, for tables as they are now.

    A plan is kept until the server's statistics move, and those come a minute late: one that was made while a table was
    empty reads all of it meanwhile.
    """
    with prepared_cursor() as cursor:
        cursor.execute("DISCARD PLANS", prepare=False)


def plan_once() -> None:
    """From now on a statement of this thread's connection is planned once, for whatever values it is given. Left to
    itself the server plans some of them for the values of each time, which may take longer than to run them.

    Its plans take it that pages lie in memory, as those of what lives do: a few rows are looked up by their keys, where
    by the server's defaults a table of some thousand rows is read as a whole.
    """
    with prepared_cursor() as cursor:
        cursor.execute(
            "SELECT set_config('plan_cache_mode', 'force_generic_plan', false),"
            " set_config('random_page_cost', '1.1', false)",
            prepare=False,
        )


def as_rows(rows: Sequence[object]) -> str:
    """Rows as one parameter, read in SQL by `json_to_recordset(%s::json) AS u(name type, …)`. The server takes 4 µs to
    read one: where there are thousands, give columns instead."""
    return msgspec.json.encode(rows).decode()


def as_numbers(column: Iterable[int]) -> str:
    """Whole numbers as one parameter: `%s::bigint[]`, and several side by side by `unnest(…) AS u (name, …)`."""
    return f"{{{','.join(map(str, column))}}}"


def as_texts(column: Sequence[str]) -> str:
    """Texts as one parameter: `%s::text[]`."""
    if not column:
        return "{}"
    inside = '","'.join(column)
    if "\\" in inside or inside.count('"') > 2 * (len(column) - 1):
        inside = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in column])
    return f'{{"{inside}"}}'


def as_columns(rows: Sequence[tuple[int, ...]], names: str) -> dict[str, str]:
    """Rows of whole numbers as one parameter a column, by the names, which are parted by spaces."""
    keys = names.split()
    columns: Iterable[Iterable[int]] = zip(*rows, strict=True) if rows else [()] * len(keys)
    return {key: as_numbers(column) for key, column in zip(keys, columns, strict=True)}
