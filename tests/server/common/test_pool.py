"""The pool lends connections that work, without asking the server each time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection

from flexai.common.postgresql.base import Pool, is_still_open

pytestmark = pytest.mark.django_db(transaction=True)


def _server_process() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_however_many_connections_the_server_closed_the_next_is_one_that_works() -> None:
    _server_process()
    parameters: dict[str, Any] = connection.get_connection_params()
    with (
        Pool(kwargs=parameters | {"autocommit": True}, min_size=6, max_size=6, open=True) as pool,
        psycopg.connect(**parameters, autocommit=True) as other,
    ):
        pool.wait(20)
        lent = [pool.getconn() for _ in range(6)]
        before = {one.info.backend_pid for one in lent}
        for one in lent:
            pool.putconn(one)
        for process in before:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
        with pool.connection(timeout=4) as fresh:
            assert fresh.execute("SELECT 1").fetchone() == (1,)
            assert fresh.info.backend_pid not in before


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
        assert is_still_open(listening)
        assert listening.execute("SELECT 1").fetchone() == (1,)
