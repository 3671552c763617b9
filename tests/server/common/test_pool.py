"""The pool lends connections that work, without asking the server each time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection

from flexai.common.postgresql.base import check_still_open

pytestmark = pytest.mark.django_db(transaction=True)


def _server_process() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_connection_that_the_server_closed_is_not_lent_again() -> None:
    _server_process()
    parameters: dict[str, Any] = connection.get_connection_params()
    connection.close()
    with psycopg.connect(**parameters, autocommit=True) as other:
        ended = other.execute(
            "SELECT pid, pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended, "the pool's own"
    assert _server_process() not in [pid for pid, _ in ended]


def test_a_connection_in_order_is_lent_again_without_a_word_to_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _server_process()
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def noted(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(str(query))
        return execute(self, query, *arguments, **options)

    connection.close()
    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    _server_process()
    assert sent == []


def test_a_notice_is_no_reason_to_give_a_connection_up() -> None:
    parameters: dict[str, Any] = connection.get_connection_params()
    with (
        psycopg.connect(**parameters, autocommit=True) as listening,
        psycopg.connect(**parameters, autocommit=True) as speaking,
    ):
        listening.execute("LISTEN something")
        speaking.execute("NOTIFY something")
        check_still_open(listening)
        assert listening.execute("SELECT 1").fetchone() == (1,)
