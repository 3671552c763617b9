"""A whole cell is read by one statement, and comes in parts."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection

from flexai.common.database import prepared_cursor
from flexai.scheduling import reading
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)

GATE = 4711
PATIENCE = "10s"
"""So long a part waits for the one before it to be heard of, then it fails."""


def test_a_part_is_there_while_the_server_reads_the_next() -> None:
    """The last table is read once the others were heard of."""
    tables = ["'small'::text", "'also'::text", "'first'::text", "'second'::text"]
    tables.append(f"(SELECT 'last'::text FROM (SELECT pg_advisory_xact_lock({GATE})) AS gate)")
    statement = reading._in_parts(tables)
    settings = connection.get_connection_params()
    where = {key: settings[key] for key in ("host", "port", "user", "password", "dbname") if key in settings}
    with psycopg.connect(**where, autocommit=True) as gate, prepared_cursor() as cursor:
        gate.execute("SELECT pg_advisory_lock(%s)", [GATE])
        cursor.execute(f"SET lock_timeout = '{PATIENCE}'")
        coming = (row[3:] for row in psycopg.RawCursor(cursor.connection).stream(statement, [1]) if row[0])
        heard = [next(coming) for _ in range(3)]
        gate.execute("SELECT pg_advisory_unlock(%s)", [GATE])
        heard += coming
        cursor.execute("RESET lock_timeout")
    assert heard == [
        ("small", "also", None, None, None),
        (None, None, "first", None, None),
        (None, None, None, "second", None),
        (None, None, None, None, "last"),
    ]


def test_each_table_is_in_one_part_and_all_are_of_one_instant() -> None:
    world = World()
    world.a_node(chips=2)
    world.a_job(chips=1)
    parts = list(reading.read_all(world.cell.pk))
    assert len({(part.xmin, part.policy, part.database_started) for part in parts}) == 1
    assert [bool(part.pools) for part in parts] == [True, False, False, False]
    assert [len(part.nodes) for part in parts] == [1, 0, 0, 0]
    assert [len(part.waiting) for part in parts] == [0, 0, 1, 0]
    assert [len(part.chips) for part in parts] == [0, 0, 0, 2]
