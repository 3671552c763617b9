"""Statements in one message: what they answer, what an error leaves, and that a plan is made once."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from django.db import connection, transaction

from flexai.common.database import Cursor, at_once, gathered, prepared_cursor

pytestmark = pytest.mark.django_db(transaction=True)

_VALUES = """
SELECT %(number)s + 1, %(text)s::text, %(none)s::text, %(true)s, %(at)s, ARRAY[1, 2]::bigint[], 100 %% 7, %(number)s"""


def test_values_come_back_as_what_they_went_as() -> None:
    at = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
    values = {"number": 2**40, "text": "é\"'\\", "none": None, "true": True, "at": at, "unused": object}
    with prepared_cursor() as cursor, at_once(cursor) as send:
        answer = send(_VALUES, values)
    assert answer.fetchone() == (2**40 + 1, "é\"'\\", None, True, at, [1, 2], 2, 2**40)
    assert answer.fetchone() is None
    with prepared_cursor() as cursor, pytest.raises(TypeError, match="bytes"), at_once(cursor) as send:
        send("SELECT %(bytes)s", {"bytes": b""})


def test_they_are_done_in_order_and_counted() -> None:
    with transaction.atomic(), prepared_cursor() as cursor:
        with at_once(cursor) as send:
            send("CREATE TEMPORARY TABLE numbers (number int) ON COMMIT DROP", {})
        with at_once(cursor) as send:
            written = send("INSERT INTO numbers SELECT generate_series(1, %(last)s)", {"last": 3})
            changed = send("UPDATE numbers SET number = number + 1 WHERE number > %(than)s", {"than": 1})
            read = send("SELECT number FROM numbers ORDER BY number", {})
        assert (written.rowcount, changed.rowcount, read.rowcount) == (3, 2, 3)
        assert [number for (number,) in read] == [1, 3, 4]


def test_an_error_is_the_first_ones_and_takes_the_transaction_along() -> None:
    with prepared_cursor() as cursor:
        with pytest.raises(psycopg.errors.DivisionByZero):
            _fail_in_a_transaction(cursor)
        for _ in range(2):  # what was being planned when something failed is planned again
            with at_once(cursor) as send:
                there, quotient = (
                    send("SELECT to_regclass('left_over')", {}),
                    send("SELECT 1 / %(by)s", {"by": 1}),
                )
            assert (there.fetchone(), quotient.fetchone()) == ((None,), (1,))


def test_a_block_that_raises_sends_nothing() -> None:
    with prepared_cursor() as cursor:
        with pytest.raises(KeyError):
            _raise_in_the_block(cursor)
        assert cursor.execute("SELECT to_regclass('left_over')").fetchone() == (None,)


def test_a_plan_is_made_once_and_more_than_a_buffer_goes_both_ways() -> None:
    large = "x" * 3_000_000
    with prepared_cursor() as cursor:
        for _ in range(3):
            with at_once(cursor) as send:
                answers = [send("SELECT %(large)s::text AS many", {"large": large}) for _ in range(4)]
            assert [answer.fetchone() for answer in answers] == [(large,)] * 4
        assert _plans(cursor) == 1
        with transaction.atomic():
            cursor.execute("SELECT 1")
            transaction.set_rollback(True)
        assert _plans(cursor) == 0, "psycopg forgets its plans after a rollback"
        with at_once(cursor) as send:
            answer = send("SELECT %(large)s::text AS many", {"large": "y"})
        assert answer.fetchone() == ("y",)


def _plans(cursor: Cursor) -> int:
    found = cursor.execute(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%AS many'"
    ).fetchone()
    assert found is not None
    return int(found[0])


def test_a_connection_that_is_gone_is_an_operational_error() -> None:
    with prepared_cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        with psycopg.connect(**connection.get_connection_params() | {"autocommit": True}) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError), at_once(cursor) as send:
                send("SELECT 1", {})
    connection.close()


def _fail_in_a_transaction(cursor: Cursor) -> None:
    with transaction.atomic():
        with at_once(cursor) as send:
            send("CREATE TABLE left_over (number int)", {})
        with at_once(cursor) as send:
            send("SELECT 1 / %(by)s", {"by": 0})
            send("SELECT 2 AS not_done", {})


def _raise_in_the_block(cursor: Cursor) -> None:
    with at_once(cursor) as send:
        send("CREATE TABLE left_over (number int)", {})
        send("SELECT %(missing)s", {})


def test_what_is_written_for_a_cursor_goes_together_too() -> None:
    with transaction.atomic(), prepared_cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers (number int) ON COMMIT DROP")
        with gathered(cursor) as later:
            later.execute(
                "INSERT INTO numbers SELECT %s::int + 100 %% 7 FROM generate_series(1, %s)",
                [5, 2],
                prepare=True,
            )
            later.execute(
                "UPDATE numbers SET number = number + u.by FROM json_to_recordset(%s::json) AS u(by int)",
                ['[{"by": 10}]'],
            )
        assert cursor.execute("SELECT number FROM numbers").fetchall() == [(17,), (17,)]
