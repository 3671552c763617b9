"""The pool lends connections that work, without asking the server each time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import close_old_connections, connection, connections

from flexai.common.postgresql.base import Pool, is_still_open, keep_connection

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


class TestKept:
    """A thread of the web process keeps its connection from request to request."""

    @pytest.fixture
    def thread(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(1, initializer=keep_connection) as thread:
            yield thread
            thread.submit(connections.close_all).result(20)

    def test_it_is_the_same_one_in_the_next_request(self, thread: ThreadPoolExecutor) -> None:
        before = thread.submit(_server_process).result(20)
        thread.submit(close_old_connections).result(20)
        assert thread.submit(_server_process).result(20) == before

    def test_one_that_the_server_closed_is_another_in_the_next_request(
        self, thread: ThreadPoolExecutor
    ) -> None:
        before = thread.submit(_server_process).result(20)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        thread.submit(close_old_connections).result(20)
        assert thread.submit(_server_process).result(20) != before

    def test_one_whose_loss_was_heard_where_django_did_not_see_it_is_another_in_the_next_request(
        self, thread: ThreadPoolExecutor
    ) -> None:
        """A COPY, a pipeline and whatever else speaks to psycopg itself hear of the end first."""
        before = thread.submit(_server_process).result(20)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        with pytest.raises(psycopg.OperationalError):
            thread.submit(lambda: connection.connection.execute("SELECT 1")).result(20)
        thread.submit(close_old_connections).result(20)
        assert thread.submit(_server_process).result(20) != before

    def test_others_give_theirs_back(self) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_server_process).result(20)
            thread.submit(close_old_connections).result(20)
            assert thread.submit(lambda: connection.connection).result(20) is None
