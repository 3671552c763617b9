"""One web process on a socket that the supervisor opened. It is forked (`forkserver.py`)."""

from __future__ import annotations

import gc
import socket
from collections.abc import Sequence

import uvicorn

from flexai.realtime.websocket import AgentSocket
from node_agent.protocol import MAX_TEXT_FRAME

STOP_SECONDS = 4
"""How long open requests may take to finish; sockets are closed at once and their clients come back."""


def main(arguments: Sequence[str]) -> None:
    """Serves until SIGTERM. The argument is the socket's descriptor."""
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
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(arguments[0]))])
