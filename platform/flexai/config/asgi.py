"""One ASGI application: the agent socket first (routed by path), then browser sockets, then Django."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")
_django = get_asgi_application()

from flexai.realtime.routing import route  # noqa: E402 - models need the application registry, set up above

application = route(_django)
