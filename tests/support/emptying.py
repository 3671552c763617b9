"""What a test committed is taken out of the database in milliseconds.

Django truncates every table and makes what it keeps in them anew: more than half a second of processor time after each
of some 300 tests, nearly all of it for tables in which nothing was.
"""

from __future__ import annotations

from functools import cache

from django.db import connection, transaction
from django.test import TransactionTestCase
from psycopg import sql

KEPT = frozenset({"django_content_type", "auth_permission"})
"""Made by `migrate` from the code alone: no test changes them."""


def empty_quickly() -> None:
    """Tests that commit leave the database as `flush` would from now on."""
    TransactionTestCase._fixture_teardown = lambda _: _empty()  # type: ignore[attr-defined]


def _empty() -> None:
    """Every table that `flush` empties is empty. As it does, waits for whoever still writes, and tells no trigger."""
    everything = _tables()
    with transaction.atomic(), connection.cursor() as cursor:
        names = sql.SQL(", ").join(map(sql.Identifier, everything))
        cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(
                    sql.Literal(name), sql.Identifier(name)
                )
                for name in everything
            )
        )
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))


@cache
def _tables() -> tuple[str, ...]:
    found = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return tuple(sorted(set(found) - KEPT))
