"""The agents' socket: plain ASGI, one coroutine a connection (19 µs a message, where a Channels consumer takes 137).

Authenticates before the socket opens; then Hello, Welcome and the wanted state, and from then on every message is
decoded, bounded and handed to whoever commits it. What is wrong ends this connection with a reason, and no other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from flexai.cluster import services
from flexai.common import clock
from flexai.common.errors import FlexaiError, InvalidInput, Unauthenticated, Unavailable
from flexai.jobs.contact import Arrival
from flexai.jobs.logs import check_logs
from flexai.jobs.progress import check_progress
from flexai.jobs.reports import check_reports
from flexai.jobs.secrets import check_asked, give_secrets
from flexai.realtime.board import Origin
from flexai.realtime.clocks import ahead_ms, moves_by_ours, words_by_ours
from flexai.realtime.connection import (
    CLOSE_FAILED,
    CLOSE_FORBIDDEN,
    CLOSE_GAP,
    CLOSE_MALFORMED,
    CLOSE_RATE,
    CLOSE_SILENT,
    CLOSE_TOO_LARGE,
    CLOSE_VERSION,
    MAX_FRAMES_A_SECOND,
    AgentConnection,
)
from flexai.realtime.hub import Hub
from flexai.realtime.intake import AWAY
from flexai.realtime.said import Order
from flexai.realtime.websocket import hand_to, sayer
from node_agent import protocol

log = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HELLO_SECONDS = 10
"""A socket that is open so long without a Hello is closed."""
MAX_NUMBER = 2**63 - 1
_HEARTBEAT = protocol.encode(protocol.Heartbeat(sent=0)).partition(b",")[0]
"""How a heartbeat begins, as an agent encodes it."""
INVENTORY_EVERY_SECONDS = 1.0
"""An agent's inventory is taken at most so often."""


class Refusal(Exception):  # noqa: N818 - it says what happens
    """This connection is refused: a code for the agent, a sentence for people, a code for the socket."""

    def __init__(self, code: str, sentence: str, close_code: int) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.close_code = code, sentence, close_code


async def serve_agent(hub: Hub, scope: Scope, receive: Receive, send: Send) -> None:
    """One agent's connection from its handshake to its end."""
    await receive()
    try:
        node = await hub.credentials.ask(_credential(scope))
    except FlexaiError as error:
        await _deny(scope, send, error)
        return
    except AWAY as error:
        log.warning("an agent was not let in, the database is away: %s", error)
        await _deny(scope, send, Unavailable("The database is not reached; try again."))
        return
    await send({"type": "websocket.accept"})
    connection = AgentConnection(send, sayer(scope), node_pk=node.pk, cell_pk=node.cell_id, peer=_peer(scope))
    pump = asyncio.ensure_future(connection.pump())
    try:
        await _converse(hub, connection, scope, receive)
    except Refusal as refusal:
        log.warning("agent of node %s refused (%s): %s", node.name, refusal.code, refusal.sentence)
        connection.refuse(refusal.code, refusal.sentence, refusal.close_code)
        hub.note_refusal(node.pk, refusal.code, refusal.sentence)
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(asyncio.shield(pump), 5)
    finally:
        hub.leave(connection)
        pump.cancel()


def _credential(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            if kind.lower() == "bearer":
                return str(secret.strip())
    raise Unauthenticated("Give the agent's credential in the header Authorization: Bearer.")


async def _deny(scope: Scope, send: Send, error: FlexaiError) -> None:
    """HTTP 401, 403 or 503 with the reason as problem+json, where the server can; else a close before the open."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + error.status, "reason": error.detail[:100]})
        return
    body = {
        "type": "about:blank",
        "title": error.code,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    await send(
        {
            "type": "websocket.http.response.start",
            "status": error.status,
            "headers": [(b"content-type", b"application/problem+json")],
        }
    )
    await send({"type": "websocket.http.response.body", "body": json.dumps(body).encode()})


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _converse(hub: Hub, connection: AgentConnection, scope: Scope, receive: Receive) -> None:
    """Hello, Welcome, and whatever comes until the socket closes. Raises Refusal."""
    hello = await _hello(receive)
    if hello is None:
        return
    arrival = await _arrive(hub, connection, hello)
    connection.node_id, connection.said.missing = arrival.node_id, arrival.missing
    connection.post(
        protocol.Welcome(node=arrival.node_id, name=arrival.name, server_time=clock.to_ms(clock.now()))
    )
    hub.join(connection)
    listener = _Listener(hub, connection)
    hand_to(
        scope,
        binary=listener.takes_telemetry,
        text=listener.takes_heartbeat,
        most=protocol.MAX_BINARY_FRAME,
    )
    while True:
        if connection.is_full:
            await connection.room()
        message = await receive()
        if message["type"] == "websocket.disconnect" or connection.is_closing:
            return
        data = message.get("bytes")
        if data is not None:
            listener.take_telemetry(data)
        else:
            await listener.take(message)


async def _hello(receive: Receive) -> protocol.Hello | None:
    try:
        message = await asyncio.wait_for(receive(), HELLO_SECONDS)
    except TimeoutError:
        sentence = f"no Hello within {HELLO_SECONDS} s"
        raise Refusal("hello_late", sentence, CLOSE_SILENT) from None
    if message["type"] == "websocket.disconnect":
        return None
    hello = _decode(_text(message))
    if not isinstance(hello, protocol.Hello):
        raise Refusal("malformed", "the first frame must be a Hello", CLOSE_MALFORMED)
    if hello.version != protocol.VERSION:
        sentence = f"the agent speaks protocol version {hello.version}, the server {protocol.VERSION}"
        raise Refusal("version", sentence, CLOSE_VERSION)
    return hello


async def _arrive(hub: Hub, connection: AgentConnection, hello: protocol.Hello) -> Arrival:
    try:
        return await hub.arrivals.ask(services.Comer(connection.node_pk, hello, connection.peer))
    except InvalidInput as error:
        raise Refusal("malformed", error.detail, CLOSE_MALFORMED) from error
    except FlexaiError as error:
        raise Refusal(error.code, error.detail, CLOSE_FORBIDDEN) from error
    except AWAY as error:
        raise Refusal("away", "the database is away; try again", CLOSE_FAILED) from error


def _text(message: Mapping[str, Any]) -> str:
    text = message.get("text")
    if text is None:
        raise Refusal("malformed", "expected a text frame", CLOSE_MALFORMED)
    if len(text) > protocol.MAX_TEXT_FRAME:
        sentence = (
            f"a text frame of {len(text)} characters; at most {protocol.MAX_TEXT_FRAME} bytes are accepted"
        )
        raise Refusal("too_large", sentence, CLOSE_TOO_LARGE)
    return str(text)


def _decode(text: str) -> protocol.AgentMessage:
    try:
        return protocol.decode_from_agent(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal("malformed", f"a frame was not understood: {error}"[:300], CLOSE_MALFORMED) from error


def _is_in_range(*numbers: int) -> bool:
    return all(0 <= number <= MAX_NUMBER for number in numbers)


class _Listener:
    """What the frames of one connection mean."""

    def __init__(self, hub: Hub, connection: AgentConnection) -> None:
        self._hub = hub
        self._connection = connection
        self._origin = Origin(connection.node_pk, connection.node_id, connection.cell_pk)
        self._clock = asyncio.get_running_loop().time
        self._inventory_at = -INVENTORY_EVERY_SECONDS

    async def take(self, frame: Mapping[str, Any]) -> None:
        """A text frame: decode, bound, hand on. Raises Refusal."""
        self._count()
        text = _text(frame)
        message = _decode(text)
        number = getattr(message, "sent", 0) or getattr(message, "seq", 0)
        if not _is_in_range(number, getattr(message, "wall", 0)):
            raise Refusal("malformed", "sent, seq or wall is out of range", CLOSE_MALFORMED)
        if isinstance(message, protocol.Heartbeat):
            self._take_heartbeat(message)
        elif isinstance(message, protocol.Reports | protocol.Logs):
            self._take_in(message, len(text))
        elif isinstance(message, protocol.InventoryChanged):
            await self._change_inventory(message.inventory)
        elif isinstance(message, protocol.SecretsAsked):
            await self._give_secrets(message)
        else:
            raise Refusal("malformed", "a second Hello on one connection", CLOSE_MALFORMED)

    def takes_heartbeat(self, data: bytes) -> bool:
        """The same where it is read; any other message, and what is refused, is left to `take`, and so is all that
        comes after the end."""
        if not data.startswith(_HEARTBEAT) or not self._may_say_more():
            return False
        try:
            message = protocol.decode_from_agent(data)
        except (msgspec.DecodeError, RecursionError):
            return False
        if not (isinstance(message, protocol.Heartbeat) and _is_in_range(message.sent, message.wall)):
            return False
        self._count()
        self._take_heartbeat(message)
        return True

    def _take_heartbeat(self, message: protocol.Heartbeat) -> None:
        connection = self._connection
        connection.ahead_ms = ahead_ms(message.wall, clock.to_ms(clock.now()))
        connection.said.heartbeat(message.wanted_version)
        self._hub.renewals.put(connection, message.sent)

    def takes_telemetry(self, data: bytes) -> bool:
        """A binary frame where it is read; what is refused is left to `take_telemetry`, and so is all that comes after
        the end."""
        if not self._may_say_more():
            return False
        try:
            protocol.check_telemetry(data)
        except ValueError:
            return False
        self._count()
        self._hub.board.put(self._origin, data)
        return True

    def take_telemetry(self, data: bytes) -> None:
        """A binary frame: bound, hand on. Raises Refusal."""
        self._count()
        if len(data) > protocol.MAX_BINARY_FRAME:
            sentence = (
                f"a binary frame of {len(data)} bytes; at most {protocol.MAX_BINARY_FRAME} are accepted"
            )
            raise Refusal("too_large", sentence, CLOSE_TOO_LARGE)
        try:
            protocol.check_telemetry(data)
        except ValueError as error:
            raise Refusal("malformed", str(error), CLOSE_MALFORMED) from error
        self._hub.board.put(self._origin, data)

    def _may_say_more(self) -> bool:
        connection = self._connection
        return not connection.is_closing and connection.frames_this_second < MAX_FRAMES_A_SECOND

    def _count(self) -> None:
        connection = self._connection
        connection.heard_at = self._clock()
        connection.frames_this_second += 1
        if connection.frames_this_second > MAX_FRAMES_A_SECOND:
            raise Refusal("rate", f"more than {MAX_FRAMES_A_SECOND} frames in a second", CLOSE_RATE)

    def _take_in(self, message: protocol.Reports | protocol.Logs, size: int) -> None:
        try:
            if isinstance(message, protocol.Reports):
                check_reports(message.items)
                check_progress(message.progress)
            else:
                check_logs(message.items)
        except InvalidInput as error:
            raise Refusal("malformed", error.detail, CLOSE_MALFORMED) from error
        order = self._connection.said.order_of(message.seq)
        if order is Order.GAP:
            sentence = "a message before this one is missing; everything not acknowledged is to be sent again"
            raise Refusal("gap", sentence, CLOSE_GAP)
        if isinstance(message, protocol.Reports) and (ahead := self._connection.ahead_ms):
            message = protocol.Reports(
                message.seq, moves_by_ours(message.items, ahead), words_by_ours(message.progress, ahead)
            )
        if order is Order.NEXT:
            self._hub.intake.put(self._connection, message, size)

    async def _change_inventory(self, inventory: protocol.Inventory) -> None:
        wait = self._inventory_at + INVENTORY_EVERY_SECONDS - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        self._inventory_at = self._clock()
        connection = self._connection
        try:
            await self._hub.threads.run(
                services.change_inventory, connection.node_pk, inventory, connection.peer
            )
        except InvalidInput as error:
            raise Refusal("malformed", error.detail, CLOSE_MALFORMED) from error
        except AWAY as error:
            raise Refusal("away", "the database is away; try again", CLOSE_FAILED) from error

    async def _give_secrets(self, message: protocol.SecretsAsked) -> None:
        """A message each, so that none is larger than one job's can be. What the database does not answer now is asked
        for again."""
        connection = self._connection
        try:
            check_asked(message.replicas)
            answer = await self._hub.threads.run(give_secrets, connection.node_pk, message.replicas)
        except InvalidInput as error:
            raise Refusal("malformed", error.detail, CLOSE_MALFORMED) from error
        except AWAY as error:
            log.warning("secrets that node %s asked for were not given: %s", connection.node_id, error)
            return
        for given in answer.given:
            connection.post(given)
        if answer.foreign:
            sentence = "an agent asks for the secrets of replicas on its own node alone"
            raise Refusal("foreign", sentence, CLOSE_FORBIDDEN)
