"""One node's connection to the server: it comes back by itself, and carries state, never commands.

Hello → Welcome → Wanted; from then on reports and logs flow up and are acknowledged, wanted states flow down,
heartbeats renew the leases. Whatever is lost with a connection is sent again on the next, from the last
acknowledged position."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from node_agent import enrol
from node_agent.clocks import boottime_ms
from node_agent.enrol import Credential, Enrolment
from node_agent.outbox import Outbox, Track
from node_agent.protocol import (
    HEARTBEAT_SECONDS,
    TELEMETRY_SECONDS,
    VERSION,
    Ack,
    Heartbeat,
    Hello,
    Inventory,
    InventoryChanged,
    Refused,
    Renewed,
    ServerMessage,
    Telemetry,
    Wanted,
    WantedReplica,
    Welcome,
    decode_from_server,
    encode,
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
MISSED_HEARTBEATS = 3
"""So many without an answer, and the connection is taken for dead."""

_OPEN_SECONDS = 15.0
_CREDENTIAL_CODES = ("credential", "revoked", "unauthorized", "forbidden")
"""Codes of `Refused` that no quick retry can mend."""
_AGENT_VERSION = "0.1.0"

log = logging.getLogger(__name__)


class Executor(Protocol):
    """What carries out wanted states: real processes, or simulated ones."""

    def apply(self, wanted: list[WantedReplica]) -> None:
        """Make it so."""

    def live(self) -> list[tuple[str, int]]:
        """(attempt, replica) of everything that has not ended."""

    def tracks(self) -> list[Track]:
        """What the server may not have yet."""

    def acknowledged(self, track: Track) -> None:
        """The server has all of this replica."""

    def renewed(self, sent: int) -> None:
        """Leases run from this boot-time instant."""

    def inventory(self) -> Inventory:
        """What the node has; the same object as long as nothing changes, where that is easy."""

    def telemetry(self) -> Telemetry:
        """What it does now."""


class RefusedError(Exception):
    """The server does not accept this node's credential."""


class TurnedAwayError(Exception):
    """The server will not go on with this connection, for a reason that may pass."""


@dataclass
class _Session:
    """What belongs to one connection only."""

    socket: ClientConnection
    welcomed: asyncio.Event
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    last_answer: int = 0
    wanted_version: int = -1
    unapplied: Wanted | None = None
    """A wanted state that waits for the first renewal: without one no lease could be honoured."""
    renewed: bool = False
    told: Inventory | None = None
    """The inventory that the server has."""


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
        session = _Session(socket, asyncio.Event())
        async with socket:
            tasks = [
                asyncio.create_task(job(session))
                for job in (self._receive, self._send, self._beat, self._sample)
            ]
            try:
                await self._hello(session)
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _hello(self, session: _Session) -> None:
        session.told = self._executor.inventory()
        hello = Hello(
            version=VERSION,
            boot_id=self._boot_id,
            agent_version=_AGENT_VERSION,
            inventory=session.told,
            live=self._executor.live(),
        )
        await session.socket.send(encode(hello), text=True)
        await self._heartbeat(session)

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
        if isinstance(message, Ack):
            self._outbox.acknowledge(message.seq)
            if self._outbox.has_something():
                self._something.set()
        elif isinstance(message, Wanted):
            self._take_wanted(session, message)
        elif isinstance(message, Renewed):
            self._take_renewal(session, message.sent)
        elif isinstance(message, Welcome):
            log.info("%s: connected to %s as %s.", self._name, self._enrolment.server, message.name)
            self._failures = 0
            session.heartbeat_seconds = max(1, message.heartbeat_seconds)
            self._outbox.restart(self._executor.tracks())
            session.welcomed.set()
            self._something.set()
        elif isinstance(message, Refused):
            sentence = f"{message.message[:300]} ({message.code[:50]})"
            raise RefusedError(sentence) if message.code in _CREDENTIAL_CODES else TurnedAwayError(sentence)

    def _take_wanted(self, session: _Session, wanted: Wanted) -> None:
        if wanted.version < session.wanted_version:
            return
        session.wanted_version = wanted.version
        if session.renewed:
            self._executor.apply(wanted.replicas)
        else:
            session.unapplied = wanted

    def _take_renewal(self, session: _Session, sent: int) -> None:
        now = boottime_ms()
        if not 0 < sent <= now:
            log.error("%s: ignored a renewal from an instant that is not in the past.", self._name)
            return
        session.last_answer = now
        session.renewed = True
        self._executor.renewed(sent)
        if session.unapplied is not None:
            waiting, session.unapplied = session.unapplied, None
            self._executor.apply(waiting.replicas)

    async def _send(self, session: _Session) -> None:
        await session.welcomed.wait()
        while True:
            await self._something.wait()
            await asyncio.sleep(BATCH_SECONDS)
            self._something.clear()
            while frames := self._outbox.frames():
                for frame in frames:
                    await session.socket.send(frame, text=True)

    async def _beat(self, session: _Session) -> None:
        session.last_answer = boottime_ms()
        await session.welcomed.wait()
        while True:
            await asyncio.sleep(session.heartbeat_seconds)
            silent_ms = boottime_ms() - session.last_answer
            if silent_ms > MISSED_HEARTBEATS * session.heartbeat_seconds * 1000:
                raise TimeoutError(f"the server has not answered for {silent_ms // 1000} s")
            await self._heartbeat(session)

    async def _heartbeat(self, session: _Session) -> None:
        beat = Heartbeat(sent=boottime_ms(), wanted_version=max(0, session.wanted_version))
        await session.socket.send(encode(beat), text=True)

    async def _sample(self, session: _Session) -> None:
        await session.welcomed.wait()
        while True:
            await session.socket.send(pack_telemetry(self._executor.telemetry()))
            await self._tell_inventory(session)
            await asyncio.sleep(TELEMETRY_SECONDS)

    async def _tell_inventory(self, session: _Session) -> None:
        now = self._executor.inventory()
        if now is not session.told and now != session.told:
            log.warning("%s: the chips, or their health, have changed.", self._name)
            await session.socket.send(encode(InventoryChanged(inventory=now)), text=True)
        session.told = now


def _short(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
