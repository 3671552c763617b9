"""The threads of the sockets: their connections plan a statement once, also those that replace a broken one."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection

from flexai.realtime.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)


def backend_and_plans() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), current_setting('plan_cache_mode')")
        backend, plans = cursor.fetchone()
    return int(backend), str(plans)


def lose_the_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_every_connection_of_the_threads_plans_once() -> None:
    async def ask() -> list[tuple[int, str]]:
        first = await threads.run(backend_and_plans)
        with pytest.raises(Exception, match="terminat"):
            await threads.run(lose_the_connection)
        return [first, await threads.run(backend_and_plans)]

    threads = Threads()
    try:
        answers = asyncio.run(ask())
    finally:
        threads.close()
    assert len({backend for backend, _ in answers}) == 2
    assert [plans for _, plans in answers] == ["force_generic_plan"] * 2
