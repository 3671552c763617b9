"""The websockets of a web process: uvicorn's own, with a short way for an agent's telemetry.

The naive form takes every frame as uvicorn does: a parser written as a coroutine, an object for each frame, a queue, a
task that is woken for it, and reading paused and resumed around it. Here a binary frame that is whole is handed to
whoever asked for it where it is read; every other byte goes uvicorn's way, so that the protocol's rules stay in one
place.
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

EXTENSION = "flexai.binary"
"""In the scope's extensions where this is the server: its `hand_to` takes a `Taker` and the most bytes of a frame."""
Taker: TypeAlias = Callable[[bytes], bool]
"""Given the payload of a binary message at once, on the event loop; False has it come by `receive` after all."""

_WHOLE_BINARY = 0x82
_MASKED = 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_MASK = 4


class AgentSocket(WebSocketsSansIOProtocol):
    """One connection, of an agent or a browser."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker: Taker | None = None
        self._most = 0
        self._is_shaken = False
        """The handshake's request is behind us: from here on everything is frames."""
        self._rest = b""
        """The beginning of a frame that is not whole yet."""
        self._owed = 0
        """So many bytes still to come are of a frame that goes uvicorn's way."""

    def handle_connect(self, event: Request) -> None:
        """As uvicorn's; the application is told that it may ask for binary frames."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = {"hand_to": self._hand_to}

    def data_received(self, data: bytes) -> None:
        """The bytes go to the taker or to uvicorn, frame by frame, in their order."""
        if not self._is_shaken:  # uvicorn says the request again, and nothing after it
            self._is_shaken = True
            super().data_received(data)
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
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
            if self._takes(data[at], data[at + 1], size):
                if at + head + size > end:
                    break
                payload = data[at + head : at + head + size]
                mask = data[at + head - _MASK : at + head]
                if self._taker(apply_mask(payload, mask)):  # type: ignore[misc]
                    at += head + size
                    continue
            self._owed = head + size
        self._rest = data[at:]

    def _hand_to(self, taker: Taker, most: int) -> None:
        """From now on the taker has the binary frames of at most so many bytes. Whoever takes them watches over
        silence too: the server's own pings end."""
        self._taker, self._most = taker, most
        self.stop_keepalive()

    def _takes(self, first: int, second: int, size: int) -> bool:
        return (
            first == _WHOLE_BINARY
            and self._taker is not None
            and size <= self._most
            and second & _MASKED != 0
            and self.conn.current_size is None  # not between the parts of another message
        )


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


def hand_binary_to(scope: Mapping[str, Any], taker: Taker, most: int) -> None:
    """Binary frames come to the taker where the server can do that; else by `receive`, as ever."""
    extension = scope.get("extensions", {}).get(EXTENSION)
    if extension is not None:
        extension["hand_to"](taker, most)
