"""One ASGI application: the agent socket first (routed by path), then browser sockets, then Django."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
django.setup(set_prefix=False)

from flexai.api.handler import ThreadedHandler  # noqa: E402 - needs the settings, set up above
from flexai.realtime.hub import Hub  # noqa: E402 - models need the application registry, set up above
from flexai.realtime.routing import route  # noqa: E402

hub = Hub()
application = route(hub, ThreadedHandler(hub.news))
