"""Heartbeats of all agents of this process: committed together, then answered (law 5).

The naive form commits whatever came while the last commit ran: two or three of a large cluster's, each time with a
change of threads and a transaction. Here they are gathered for a tenth of a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from flexai.cluster import services
from flexai.common import clock
from flexai.jobs.contact import regain_contact
from flexai.realtime.connection import CLOSE_FORBIDDEN, AgentConnection
from flexai.realtime.intake import AWAY
from flexai.realtime.threads import Threads
from node_agent import protocol

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.1
"""From one commit to the next: little beside any lease, and to who comes when nobody else does nothing."""


class Renewals:
    """Lives on the event loop. A renewal is answered only once it is committed; one that fails is not answered. Nodes
    whose leases are renewed are then told to `wake`: what they should do may have changed unheard."""

    def __init__(self, threads: Threads, wake: Callable[[Iterable[int]], None]) -> None:
        self._threads = threads
        self._wake = wake
        self._asked: dict[AgentConnection, int] = {}
        self._task: asyncio.Task[None] | None = None

    def put(self, connection: AgentConnection, sent: int) -> None:
        """The connection's node asked for a renewal of its leases at its boot-time clock `sent`."""
        self._asked[connection] = max(sent, self._asked.get(connection, sent))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        clock_of_loop = asyncio.get_running_loop().time
        while self._asked:
            began = clock_of_loop()
            asked, self._asked = self._asked, {}
            try:
                await self._renew(asked)
            except AWAY as error:
                log.warning("leases of %d nodes are not renewed; they ask again: %s", len(asked), error)
            self._wake(connection.node_pk for connection in asked)
            await asyncio.sleep(max(0, began + GATHER_SECONDS - clock_of_loop()))

    async def _renew(self, asked: dict[AgentConnection, int]) -> None:
        pks = {connection.node_pk for connection in asked}
        renewed = await self._threads.run(services.renew, pks, at=clock.now())
        for connection, sent in asked.items():
            _, is_revoked = renewed.get(connection.node_pk, (False, True))
            if is_revoked:
                connection.refuse("revoked", "the credential of this node was revoked", CLOSE_FORBIDDEN)
            else:
                connection.post(protocol.Renewed(sent=sent))
        lost = [
            node
            for node, (is_reachable, is_revoked) in renewed.items()
            if not is_reachable and not is_revoked
        ]
        if lost:
            await self._threads.run(regain_contact, lost)
