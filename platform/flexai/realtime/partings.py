"""Nodes whose sockets have closed: recorded together, and unreachable together unless they come back in time.

A cluster's sockets close at once when its network does or when the web process is stopped; a transaction for each node
would then take minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from flexai.cluster import services
from flexai.common import clock
from flexai.jobs import contact
from flexai.realtime.intake import AWAY
from flexai.realtime.threads import Threads

log = logging.getLogger(__name__)

CONTACT_SECONDS = 15
"""A node whose socket closed and did not come back for so long is unreachable."""


class Partings:
    """Lives on the event loop. `is_here` says whether a node has a socket again."""

    def __init__(self, threads: Threads, is_here: Callable[[int], bool]) -> None:
        self._threads = threads
        self._is_here = is_here
        self._gone: set[int] = set()
        self._recording: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Task[None]] = set()

    def put(self, node_pk: int) -> None:
        """The node's socket has closed now."""
        self._gone.add(node_pk)
        if self._recording is None or self._recording.done():
            self._recording = asyncio.get_running_loop().create_task(self._record())

    def stop(self) -> None:
        """Nothing more is recorded: the sweep of another process will find who stays away."""
        for task in (*self._waiting, self._recording):
            if task is not None:
                task.cancel()

    async def _record(self) -> None:
        """All that have gone until now are in one statement; who goes meanwhile is in the next."""
        while self._gone:
            gone, self._gone = self._gone, set()
            at = clock.now()
            try:
                await self._threads.run(services.heard, gone, at=at)
            except AWAY as error:
                log.warning("the last contact of %d nodes is not recorded: %s", len(gone), error)
            waiting = asyncio.get_running_loop().create_task(self._lose(gone, at + timedelta(seconds=1)))
            self._waiting.add(waiting)
            waiting.add_done_callback(self._waiting.discard)

    async def _lose(self, gone: Collection[int], since: datetime) -> None:
        await asyncio.sleep(CONTACT_SECONDS)
        away = [node_pk for node_pk in gone if not self._is_here(node_pk)]
        if not away:
            return
        try:
            await self._threads.run(contact.lose_contact, away, silent_since=since)
        except AWAY as error:
            log.warning("contact of %d nodes not recorded; the sweep will: %s", len(away), error)
