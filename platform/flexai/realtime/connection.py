"""One agent's connection: what waits to be sent to it, what it sent that is not committed yet, and its bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from flexai.realtime.said import Said
from flexai.realtime.websocket import Sayer
from node_agent import protocol

SendFrame: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

MAX_QUEUED_BYTES = 4 * 1024 * 1024
"""Received and not committed; beyond it the socket is not read, so that the agent slows down."""
MAX_UNSENT = 10_000
"""Frames waiting for an agent that does not read; beyond it the connection ends."""
MAX_FRAMES_A_SECOND = 5_000
"""Text and binary; an agent at full speed sends some hundreds."""

CLOSE_MALFORMED = 4400
CLOSE_FORBIDDEN = 4403
CLOSE_VERSION = 4406
CLOSE_SILENT = 4408
CLOSE_REPLACED = 4409
CLOSE_GAP = 4410
CLOSE_RATE = 4429
CLOSE_TOO_LARGE = 1009
CLOSE_RESTART = 1012
CLOSE_FAILED = 1011


@dataclass(slots=True)
class Queued:
    """One message that waits for its transaction."""

    seq: int
    size: int
    reports: list[protocol.ReplicaReport]
    logs: list[protocol.LogPiece]
    progress: list[protocol.ReplicaProgress]


class AgentConnection:
    """Lives on the event loop. Frames are sent in order: at once while the agent reads, else by one task, so that
    nobody waits for a slow agent."""

    def __init__(self, send: SendFrame, say: Sayer, *, node_pk: int, cell_pk: int, peer: str) -> None:
        self.node_pk = node_pk
        self.cell_pk = cell_pk
        self.peer = peer
        self.node_id = ""
        self.said = Said()
        self.heard_at = asyncio.get_running_loop().time()
        self.frames_this_second = 0
        self.ahead_ms = 0
        """By how much the node's wall clock is ahead of ours, as its last heartbeat said."""
        self.queue: deque[Queued] = deque()
        self.is_closing = False
        self._queued_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._send, self._say = send, say
        self._unsent: deque[dict[str, Any]] = deque()
        self._something = asyncio.Event()

    # --- to the agent

    def post(self, message: protocol.ServerMessage) -> None:
        """The message will be sent, after those posted before it."""
        if self.is_closing:
            return
        if len(self._unsent) >= MAX_UNSENT:
            self.close(CLOSE_SILENT, "the agent does not read what it is sent")
            return
        text = protocol.encode(message)
        if self._unsent or not self._say(text):
            self._unsent.append({"type": "websocket.send", "text": text.decode()})
            self._something.set()

    def post_wanted(self, wanted: protocol.Wanted) -> None:
        """The wanted state will be sent, unless the agent was sent the same before."""
        if (message := self.said.wanted(wanted.replicas)) is not None:
            self.post(message)

    def refuse(self, code: str, message: str, close_code: int) -> None:
        """The agent is told why, then the connection closes."""
        self.post(protocol.Refused(code=code, message=message))
        self.close(close_code, message)

    def close(self, close_code: int, reason: str) -> None:
        """The connection closes once what was posted is sent."""
        if self.is_closing:
            return
        self._unsent.append({"type": "websocket.close", "code": close_code, "reason": reason[:100]})
        self.is_closing = True
        self._something.set()

    async def pump(self) -> None:
        """Send what is posted until the connection closes."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._unsent:
                frame = self._unsent[0]
                await self._send(frame)
                self._unsent.popleft()  # only now: until it is sent nothing may overtake it
                if frame["type"] == "websocket.close":
                    return

    # --- from the agent

    def take_in(self, queued: Queued) -> None:
        """The message waits for its transaction."""
        self.queue.append(queued)
        self._queued_bytes += queued.size
        if self._queued_bytes > MAX_QUEUED_BYTES:
            self._room.clear()

    def taken(self, queued: list[Queued]) -> None:
        """These messages are committed or dropped."""
        self._queued_bytes -= sum(one.size for one in queued)
        if self._queued_bytes <= MAX_QUEUED_BYTES:
            self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be read from the socket for now."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Returns when more may be read from the socket."""
        await self._room.wait()
