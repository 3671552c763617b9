"""A hostile stretch of network between an agent and its server: delays, drops, doubles, cuts, and half-open silence.

It understands WebSocket framing, so that it can lose or double whole messages, as a faulty middlebox would; what is
said before the upgrade passes as it is.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_BINARY, _TEXT = 2, 1


@dataclass
class Weather:
    """What happens to frames that pass; may be changed at any time, by any thread."""

    delay_ms: tuple[int, int] = (0, 0)
    drop_permille: int = 0
    double_permille: int = 0
    cut_permille: int = 0
    """Per frame: the connection ends there."""
    swallows: bool = False
    """Half-open: both ends think that they are connected, and nothing passes."""
    closed: bool = False
    """No connection is let through, and none lives on."""
    seen: Counter[str] = field(default_factory=Counter)


class Proxy:
    """Listens on `port` and passes everything on to a server on this machine."""

    def __init__(self, server_port: int, seed: int) -> None:
        self.weather = Weather()
        self.port = 0
        self._server_port = server_port
        self._dice = random.Random(seed)
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._run()])

    def close_all(self) -> None:
        """Connections that live now are cut."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()

    async def _run(self) -> None:
        self._over = asyncio.Event()
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        listening.close()
        self._cut_all()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.closed:
            self.weather.seen["refused"] += 1
            writer.transport.abort()
            return
        there, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        pair = (writer, to_server)
        self._pairs.add(pair)
        try:
            ways = [
                asyncio.ensure_future(self._pass(reader, to_server)),
                asyncio.ensure_future(self._pass(there, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._pairs.discard(pair)
            for one in pair:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Head and body of HTTP pass; after an upgrade each frame meets the weather."""
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        if b"\nupgrade:" not in head.lower():
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
            return
        while True:
            await self._meet(await _frame(reader), writer)

    async def _meet(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        weather, dice = self.weather, self._dice
        if weather.swallows:
            weather.seen["swallowed"] += 1
            return
        if weather.delay_ms[1]:
            weather.seen["delayed"] += 1
            await asyncio.sleep(dice.randint(*weather.delay_ms) / 1000)
        message = frame[0] & 0x0F in (_TEXT, _BINARY)
        if message and dice.randrange(1000) < weather.drop_permille:
            weather.seen["dropped"] += 1
            return
        if dice.randrange(1000) < weather.cut_permille:
            weather.seen["cut"] += 1
            writer.write(frame[: len(frame) // 2])
            raise ConnectionResetError
        if message and dice.randrange(1000) < weather.double_permille:
            weather.seen["doubled"] += 1
            writer.write(frame)
        writer.write(frame)
        await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One whole WebSocket frame as it came, masked or not."""
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    extra = await reader.readexactly({126: 2, 127: 8}.get(size, 0))
    length = int.from_bytes(extra, "big") if extra else size
    return head + extra + await reader.readexactly(length + (4 if head[1] & 0x80 else 0))


@contextmanager
def proxied(server_port: int, seed: int) -> Iterator[Proxy]:
    """A proxy in good weather inside the block."""
    proxy = Proxy(server_port, seed)
    proxy._thread.start()
    assert proxy._ready.wait(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(proxy._over.set)
        proxy._thread.join(20)
        assert not proxy._thread.is_alive(), "the proxy did not end"
        proxy._loop.close()
