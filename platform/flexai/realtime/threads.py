"""Where the sockets' database work runs: a few long-lived threads, each with a database connection of its own.

Django's own bridge gives a connection back after every call; at hundreds of small batches a second that costs more
than the work. Here a connection stays with its thread until something goes wrong with it, and the plan of a statement
stays with the connection: of a report of two attempts, planning was a third of what the server did.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from django.db import connection

from flexai.common.database import plan_once

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 6
"""Database connections that the sockets of one web process take at most, of the pool's 24."""


class Threads:
    """A pool of them; `run` from the event loop, `close` when the process ends."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="flexai-realtime")
        self._told: WeakSet[Any] = WeakSet()
        """Connections that plan once."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, from one of the threads; its exception passes through."""

        def call() -> T:
            try:
                self._plan_once()
                return function(*args, **kwargs)
            except BaseException:
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _plan_once(self) -> None:
        connection.ensure_connection()
        if connection.connection not in self._told:
            plan_once()
            self._told.add(connection.connection)

    def close(self) -> None:
        """All threads have ended and their connections are given back."""
        together = threading.Barrier(THREADS)

        def leave() -> None:
            with suppress(threading.BrokenBarrierError):
                together.wait(5)
            connection.close()

        for _ in range(THREADS):
            self._pool.submit(leave)
        self._pool.shutdown(wait=True)
