"""A web process as `flexai up` runs it, that writes down how late its event loop was:
`python -m benchmarks.web_process SOCKET FILE`."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import time
from pathlib import Path

import uvicorn

from flexai.realtime.websocket import AgentSocket
from node_agent.protocol import MAX_TEXT_FRAME

LOOK_SECONDS = 0.02


def main(descriptor: int, said: Path) -> None:
    """Serves until SIGTERM, then writes [[at, late by], …] in seconds of the monotonic clock."""
    config = uvicorn.Config(
        "flexai.config.asgi:application", loop="uvloop", ws=AgentSocket, http="httptools",
        ws_max_size=MAX_TEXT_FRAME, log_level="warning", access_log=False, timeout_graceful_shutdown=4,
        timeout_keep_alive=30,
    )  # fmt: skip
    config.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    _Watched(config, said).run(sockets=[socket.socket(fileno=descriptor)])


class _Watched(uvicorn.Server):
    """Notes every `LOOK_SECONDS` by how much it was called too late."""

    def __init__(self, config: uvicorn.Config, said: Path) -> None:
        super().__init__(config)
        self._said = said
        self._lags: list[tuple[float, float]] = []

    async def main_loop(self) -> None:
        """As uvicorn's, watched."""
        watch = asyncio.create_task(self._watch())
        await super().main_loop()
        watch.cancel()
        self._said.write_text(json.dumps(self._lags))

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self._lags.append((now, now - began - LOOK_SECONDS))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
