"""Reports and logs of all agents of this process, committed together: group commit.

The naive form is a transaction a message: at a thousand small messages a second the commits cost more than the work.
Here one transaction runs at a time; whatever arrives meanwhile, or soon after, is the next one. Nothing is acknowledged
before its commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import django.db
import psycopg
from django.db import transaction

from flexai.common import clock
from flexai.jobs.logs import take_logs_of
from flexai.jobs.progress import take_progress_of
from flexai.jobs.reports import take_reports_of
from flexai.realtime.connection import (
    CLOSE_FAILED,
    CLOSE_FORBIDDEN,
    AgentConnection,
    Queued,
)
from flexai.realtime.threads import Threads
from node_agent import protocol

log = logging.getLogger(__name__)

MESSAGES_A_TURN = 64
BYTES_A_TURN = 1536 * 1024
"""What one agent may bring into one transaction, so that a flood of one does not hold up the others."""
BYTES_A_BATCH = 8 * 1024 * 1024
GATHER_SECONDS = 0.05
"""From one transaction to the next, unless there is more to take than fits into one. Whoever comes alone waits for
nobody; of fifty starts a second, each reported and logged, several share a transaction and its sync to disk."""
FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 5.0
AWAY = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""The database is not there, or the transaction lost a race: the same batch is tried again."""


@dataclass(slots=True)
class Committed:
    """What the agents are to be told."""

    foreign: set[int] = field(default_factory=set)
    """Nodes that spoke about what is not theirs."""


class Intake:
    """Lives on the event loop; the transactions run on `threads`."""

    def __init__(self, threads: Threads, *, gather: float = GATHER_SECONDS) -> None:
        self._threads = threads
        self._gather = gather
        self._ready: dict[AgentConnection, None] = {}
        self._task: asyncio.Task[None] | None = None

    def put(self, connection: AgentConnection, message: protocol.Reports | protocol.Logs, size: int) -> None:
        """The message will be committed and then acknowledged, after those put before it by the same connection."""
        if isinstance(message, protocol.Reports):
            queued = Queued(message.seq, size, message.items, [], message.progress)
        else:
            queued = Queued(message.seq, size, [], message.items, [])
        connection.take_in(queued)
        self._ready[connection] = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def finish(self) -> None:
        """Everything put so far is committed, or given up on within a second; agents send it again."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=1)
            self._task.cancel()

    async def _run(self) -> None:
        time = asyncio.get_running_loop().time
        while self._ready:
            next_at = time() + self._gather
            batch = self._take()
            is_all = not self._ready
            try:
                committed = await self._until_committed(batch)
            except Exception:
                log.exception("a batch of %d agents failed; each is tried alone", len(batch))
                await self._one_by_one(batch)
            else:
                self._answer(batch, committed)
            if is_all:
                await asyncio.sleep(max(0, next_at - time()))

    def _take(self) -> dict[AgentConnection, list[Queued]]:
        """A turn of each connection that has something; who has more goes to the end of the line."""
        batch: dict[AgentConnection, list[Queued]] = {}
        total = 0
        for connection in list(self._ready):
            del self._ready[connection]
            size = 0
            turn: list[Queued] = []
            while connection.queue and len(turn) < MESSAGES_A_TURN and size < BYTES_A_TURN:
                queued = connection.queue.popleft()
                turn.append(queued)
                size += queued.size
            if connection.queue:
                self._ready[connection] = None
            if turn:
                batch[connection] = turn
            total += size
            if total >= BYTES_A_BATCH:
                break
        return batch

    async def _until_committed(self, batch: Mapping[AgentConnection, list[Queued]]) -> Committed:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._threads.run(_commit, batch)
            except AWAY as error:
                log.warning("a batch of %d agents is tried again in %.2f s: %s", len(batch), delay, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _one_by_one(self, batch: Mapping[AgentConnection, list[Queued]]) -> None:
        for connection, turn in batch.items():
            alone = {connection: turn}
            try:
                self._answer(alone, await self._until_committed(alone))
            except Exception:
                log.exception("what node %s sent could not be stored", connection.node_pk)
                connection.taken(turn)
                connection.refuse(
                    "failed", "what was sent could not be stored; the server's log says why", CLOSE_FAILED
                )

    def _answer(self, batch: Mapping[AgentConnection, list[Queued]], committed: Committed) -> None:
        for connection, turn in batch.items():
            connection.taken(turn)
            connection.post(protocol.Ack(seq=max(queued.seq for queued in turn)))
            if connection.node_pk in committed.foreign:
                sentence = "an agent speaks only for the replicas on its own node"
                connection.refuse("foreign", sentence, CLOSE_FORBIDDEN)


def _commit(batch: Mapping[AgentConnection, list[Queued]]) -> Committed:
    """One transaction for everything in the batch, after one for progress: locks are taken in order in each."""
    reports: dict[int, list[protocol.ReplicaReport]] = {}
    logs: dict[int, list[protocol.LogPiece]] = {}
    progress: dict[int, list[protocol.ReplicaProgress]] = {}
    for connection, turn in batch.items():
        for queued in turn:
            if queued.reports:
                reports.setdefault(connection.node_pk, []).extend(queued.reports)
            if queued.logs:
                logs.setdefault(connection.node_pk, []).extend(queued.logs)
            if queued.progress:
                progress.setdefault(connection.node_pk, []).extend(queued.progress)
    committed = Committed()
    at = clock.now()
    if progress:  # before the moves: an attempt's last words come with its end
        committed.foreign |= set(take_progress_of(progress, at=at).foreign)
    with transaction.atomic():
        if reports:
            committed.foreign |= set(take_reports_of(reports, at=at).foreign)
        if logs:
            committed.foreign |= set(take_logs_of(logs, at=at).foreign)
    return committed
