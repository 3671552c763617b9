"""The websockets of a web process: uvicorn's own, with a short way for what agents say most: telemetry and heartbeats.

The naive form takes every frame as uvicorn does: a parser written as a coroutine, an object for each frame, a queue, a
task that is woken for it, and reading paused and resumed around it. Here a frame that is whole is offered, where it is
read, to whoever asked for it; every other byte goes uvicorn's way, so that the protocol's rules stay in one place. A
text to the agent is likewise written at once where nothing stands in its way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without its compiled part
    from websockets.utils import apply_mask

EXTENSION = "flexai.short_way"
"""In the scope's extensions where this is the server."""
Taker: TypeAlias = Callable[[bytes], bool]
"""Given the payload of a whole message at once, on the event loop; False has it come by `receive` after all."""
Sayer: TypeAlias = Callable[[bytes], bool]
"""Writes a text at once, on the event loop; False where it has to go by `send`."""

_TEXT, _BINARY = 0x81, 0x82
"""First bytes of a message that is one frame."""
_MASKED = 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_MASK = 4


class AgentSocket(WebSocketsSansIOProtocol):
    """One connection, of an agent or a browser."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._takers: dict[int, Taker] = {}
        """By the message's first byte."""
        self._most = 0
        self._is_shaken = False
        """The handshake's request is behind us: from here on everything is frames."""
        self._rest = b""
        """The beginning of a frame that is not whole yet."""
        self._owed = 0
        """So many bytes still to come are of a frame that goes uvicorn's way."""

    def handle_connect(self, event: Request) -> None:
        """As uvicorn's; the application is told that it may ask for the short way."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = {"hand_to": self._hand_to, "say": self._say}

    def data_received(self, data: bytes) -> None:
        """The bytes go to a taker or to uvicorn, frame by frame, in their order."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._takers and not self._owed and self._takes_all(data):
            return
        if not self._is_shaken:  # uvicorn says the request again, and nothing after it
            self._is_shaken = True
            super().data_received(data)
            return
        at, end = 0, len(data)
        while at < end:
            if self._owed:
                part = data[at : at + self._owed]
                self._owed -= len(part)
                at += len(part)
                super().data_received(part)
                if self.transport.is_closing():
                    return
                continue
            head, size = _measure(data, at, end)
            if not head:
                break
            taker = self._taker_of(data[at], data[at + 1], size)
            if taker is not None:
                if at + head + size > end:
                    break
                payload = data[at + head : at + head + size]
                if taker(apply_mask(payload, data[at + head - _MASK : at + head])):
                    at += head + size
                    continue
            self._owed = head + size
        self._rest = data[at:]

    def _takes_all(self, data: bytes) -> bool:
        """The usual: one whole message and nothing else, which its taker takes."""
        if len(data) < 2 + _MASK:
            return False
        second = data[1]
        size, head = second & ~_MASKED, 2 + _MASK
        if size == _TWO_BYTES:
            size, head = data[2] << 8 | data[3], 4 + _MASK
        if len(data) != head + size:
            return False
        taker = self._taker_of(data[0], second, size)
        return taker is not None and taker(apply_mask(data[head:], data[head - _MASK : head]))

    def _taker_of(self, first: int, second: int, size: int) -> Taker | None:
        if size > self._most or not second & _MASKED or self.conn.current_size is not None:
            return None  # the last: it stands between the parts of another message
        return self._takers.get(first)

    def _hand_to(self, binary: Taker, text: Taker, most: int) -> None:
        """From now on messages of at most so many bytes are offered to these. Whoever takes them watches over silence
        too: the server's own pings end."""
        self._takers, self._most = {_BINARY: binary, _TEXT: text}, most
        self.stop_keepalive()

    def _say(self, text: bytes) -> bool:
        size = len(text)
        if size >= 1 << 16 or self.close_sent or not self.writable.is_set() or self.transport.is_closing():
            return False
        length = (size,) if size < _TWO_BYTES else (_TWO_BYTES, size >> 8, size & 0xFF)
        self.transport.write(bytes((_TEXT, *length)) + text)
        return True


def _measure(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Bytes of the head and of the payload of the frame that begins there; (0, 0) while its head is not whole."""
    if end - at < 2:
        return 0, 0
    size, head = data[at + 1] & ~_MASKED, 2
    if size >= _TWO_BYTES:
        head += 2 if size == _TWO_BYTES else 8
        if end - at < head:
            return 0, 0
        size = int.from_bytes(data[at + 2 : at + head])
    head += _MASK if data[at + 1] & _MASKED else 0
    return (head, size) if end - at >= head else (0, 0)


def hand_to(scope: Mapping[str, Any], *, binary: Taker, text: Taker, most: int) -> None:
    """Messages of at most so many bytes are offered to these where the server can do that; else all come by `receive`,
    as ever."""
    if (short_way := _short_way(scope)) is not None:
        short_way["hand_to"](binary, text, most)


def sayer(scope: Mapping[str, Any]) -> Sayer:
    """What writes to this connection at once, where the server can do that."""
    short_way = _short_way(scope)
    say: Sayer = (lambda _: False) if short_way is None else short_way["say"]
    return say


def _short_way(scope: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = scope.get("extensions", {}).get(EXTENSION)
    return found
