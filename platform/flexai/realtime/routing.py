"""Which socket goes where: agents by path before Channels, browsers through Channels, everything else to Django."""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.urls import path

from flexai.realtime.agents import serve_agent
from flexai.realtime.browsers import BrowserConsumer
from flexai.realtime.hub import Hub

log = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

AGENT_PATH = "/ws/agent/v1"
BROWSER_PATH = "/ws/v1"
GC_THRESHOLD = 20_000
"""Young objects between two collections: with everything imported frozen, collecting less often halves its cost."""


def sockets(hub: Hub) -> dict[str, Application]:
    """Every socket of a web process, by its path."""
    browsers = URLRouter([path(BROWSER_PATH.lstrip("/"), BrowserConsumer.as_asgi(hub=hub))])
    return {AGENT_PATH: partial(serve_agent, hub), BROWSER_PATH: AuthMiddlewareStack(browsers)}


def route(hub: Hub, django_app: Application) -> Application:
    """The ASGI application of a web process; its hub lives from the server's start to its end."""
    by_path = sockets(hub)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(hub, receive, send)
        elif scope["type"] != "websocket":
            await django_app(scope, receive, send)
        elif scope["path"] in by_path:
            await by_path[scope["path"]](scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 4404})

    return application


async def _live(hub: Hub, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await hub.start()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD, 50, 50)
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await hub.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
