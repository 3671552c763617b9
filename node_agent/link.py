"""One node's connection to the server: it comes back by itself, and carries state, never commands.

Hello → Welcome → Wanted; from then on reports and logs flow up and are acknowledged, wanted states flow down,
heartbeats renew the leases. Whatever is lost with a connection is sent again on the next, from the last
acknowledged position."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from node_agent import enrol
from node_agent.clocks import boottime_ms, wall_ms
from node_agent.conversation import Conversation, Executor, RefusedError, TurnedAwayError
from node_agent.enrol import Credential, Enrolment
from node_agent.outbox import Outbox, Track
from node_agent.protocol import (
    TELEMETRY_SECONDS,
    ServerMessage,
    Welcome,
    decode_from_server,
    pack_telemetry,
)

MAX_SERVER_FRAME = 64 * 1024 * 1024
"""Bytes. A wanted state lists everything on the node, files included; a larger frame closes the connection."""
LEAST_BACKOFF_SECONDS = 0.1
MOST_BACKOFF_SECONDS = 10.0
REFUSED_SECONDS = 30.0
"""Between attempts with a credential that the server refuses."""
BATCH_SECONDS = 0.002
"""How long a move waits for company."""

_OPEN_SECONDS = 15.0
log = logging.getLogger(__name__)


@dataclass
class _Session:
    """What belongs to one connection only."""

    socket: ClientConnection
    said: Conversation
    welcomed: asyncio.Event


class Link:
    """Keeps one node connected."""

    def __init__(self, enrolment: Enrolment, executor: Executor, *, boot_id: str) -> None:
        self._enrolment = enrolment
        self._executor = executor
        self._boot_id = boot_id
        self._outbox = Outbox(executor.acknowledged)
        self._something = asyncio.Event()
        self._credential: Credential | None = None
        self._failures = 0
        self._name = enrolment.name

    def changed(self, track: Track) -> None:
        """The track has more to send."""
        self._outbox.touch(track)
        self._something.set()

    async def run(self) -> None:
        """Connected whenever that is possible, until cancelled. Raises `EnrolRefusedError` at the first enrolment."""
        self._credential = self._enrolment.stored()
        while True:
            if self._credential is None:
                await self._enrol()
            try:
                await self._converse()
                delay = self._backoff()
            except RefusedError as error:
                delay = await self._refused(error)
            except TurnedAwayError as error:
                delay = self._backoff()
                log.error("%s: the server turned this connection away: %s", self._name, error)
            except (OSError, TimeoutError, WebSocketException) as error:
                delay = self._backoff()
                log.warning(
                    "%s: no connection to %s (%s).", self._name, self._enrolment.server, _short(error)
                )
            await asyncio.sleep(delay)

    # --- a credential ----------------------------------------------------------------------------------------------

    async def _enrol(self) -> None:
        while self._credential is None:
            try:
                self._credential = await self._enrolment.enrol()
            except enrol.EnrolUnreachableError as error:
                log.warning("%s: %s", self._name, error)
                await asyncio.sleep(self._backoff())
        self._failures = 0
        log.info("%s: enrolled as %s.", self._name, self._credential.node_id)

    async def _refused(self, error: RefusedError) -> float:
        """Try the enrolment token once more, if there is one; else come back slowly. Returns seconds to wait."""
        log.error("%s: the server refuses this node: %s", self._name, error)
        if self._enrolment.token is not None:
            try:
                self._credential = await self._enrolment.enrol()
            except (enrol.EnrolRefusedError, enrol.EnrolUnreachableError) as refusal:
                log.error("%s: %s", self._name, refusal)
            else:
                log.info("%s: enrolled again as %s.", self._name, self._credential.node_id)
                return LEAST_BACKOFF_SECONDS
        log.error("%s: next attempt in %d s.", self._name, REFUSED_SECONDS)
        return REFUSED_SECONDS * random.uniform(0.8, 1.2)

    def _backoff(self) -> float:
        delay = min(MOST_BACKOFF_SECONDS, LEAST_BACKOFF_SECONDS * (1 << min(self._failures, 10)))
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)

    # --- one connection --------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """From Hello to the end of the connection. Raises `RefusedError`, or what ended it."""
        assert self._credential is not None
        url = "ws" + self._enrolment.server.removeprefix("http") + "/ws/agent/v1"
        try:
            socket = await connect(
                url,
                additional_headers={"Authorization": f"Bearer {self._credential.credential}"},
                compression=None,
                max_size=MAX_SERVER_FRAME,
                open_timeout=_OPEN_SECONDS,
                ping_interval=None,
                proxy=None,
                close_timeout=1,
            )
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise RefusedError(f"credential not accepted ({error.response.status_code})") from error
            raise
        said = Conversation(
            self._executor, self._outbox, boot_id=self._boot_id, name=self._name, now=boottime_ms()
        )
        session = _Session(socket, said, asyncio.Event())
        async with socket:
            tasks = [
                asyncio.create_task(job(session))
                for job in (self._receive, self._send, self._beat, self._sample)
            ]
            try:
                for frame in said.opening(boottime_ms(), wall_ms()):
                    await socket.send(frame, text=True)
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, session: _Session) -> None:
        why = "closed by the server"
        try:
            async for frame in session.socket:
                self._take_frame(session, frame)
        except ConnectionClosed as error:
            why = str(error)
        code, reason = session.socket.close_code, session.socket.close_reason
        if code in (4401, 4403):
            raise RefusedError(f"credential not accepted ({code} {reason})")
        log.warning("%s: the connection ended: %s.", self._name, why[:200])

    def _take_frame(self, session: _Session, frame: str | bytes) -> None:
        try:
            message = decode_from_server(frame)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            log.error(
                "%s: skipped a frame of %d bytes from the server that makes no sense: %s",
                self._name,
                len(frame),
                str(error)[:200],
            )
        else:
            self._take(session, message)

    def _take(self, session: _Session, message: ServerMessage) -> None:
        session.said.take(message, boottime_ms())
        if isinstance(message, Welcome):
            log.info("%s: connected to %s as %s.", self._name, self._enrolment.server, message.name)
            self._failures = 0
            session.welcomed.set()
        if self._outbox.has_something() or self._executor.lacking():
            self._something.set()

    async def _send(self, session: _Session) -> None:
        await session.welcomed.wait()
        while True:
            await self._something.wait()
            await asyncio.sleep(BATCH_SECONDS)
            self._something.clear()
            await self._ask(session)
            while frames := self._outbox.frames():
                for frame in frames:
                    await session.socket.send(frame, text=True)

    async def _beat(self, session: _Session) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.welcomed.wait(), session.said.heartbeat_seconds)
        await _moment_within(session.said.heartbeat_seconds)
        while True:
            if (frame := session.said.heartbeat(boottime_ms(), wall_ms())) is not None:
                await session.socket.send(frame, text=True)
            await asyncio.sleep(session.said.heartbeat_seconds)

    async def _sample(self, session: _Session) -> None:
        await session.welcomed.wait()
        await _moment_within(TELEMETRY_SECONDS)
        while True:
            await session.socket.send(pack_telemetry(self._executor.telemetry()))
            if (frame := session.said.news_of_inventory()) is not None:
                await session.socket.send(frame, text=True)
            await self._ask(session)
            await asyncio.sleep(TELEMETRY_SECONDS)

    async def _ask(self, session: _Session) -> None:
        """At each wanted state, and each second: an image may have come since, or no answer."""
        while (frame := session.said.question(boottime_ms())) is not None:
            await session.socket.send(frame, text=True)


async def _moment_within(seconds: float) -> None:
    """A moment of this node's own. After a restart of the server a thousand nodes are let in within the same tenths of
    a second: all that they say at an interval would come together from then on, and what else is asked waits for it."""
    await asyncio.sleep(random.uniform(0, seconds))


def _short(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
