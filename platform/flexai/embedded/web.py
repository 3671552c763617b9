"""One web process on a socket that the supervisor opened: `python -m flexai.embedded.web SOCKET GATE`."""

from __future__ import annotations

import gc
import os
import socket
import sys

import uvicorn

from flexai.realtime.websocket import AgentSocket
from node_agent.protocol import MAX_TEXT_FRAME

STOP_SECONDS = 4
"""How long open requests may take to finish; sockets are closed at once and their clients come back."""


def main(descriptor: int, gate: int) -> None:
    """Loads everything, waits until the gate's other end is closed (the schema is current), serves until SIGTERM."""
    config = uvicorn.Config(
        "flexai.config.asgi:application",
        loop="uvloop",
        ws=AgentSocket,
        http="httptools",
        ws_max_size=MAX_TEXT_FRAME,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=30,
    )
    config.load()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    os.read(gate, 1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
