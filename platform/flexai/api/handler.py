"""Django under ASGI with one hop to a thread for each request.

Everything here is synchronous: middleware, views, the database. Django's own handler expects an asynchronous
view at the end of the chain and crosses between event loop and thread once more each way for it.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ThreadedHandler(ASGIHandler):
    """Runs the whole synchronous chain in the request's thread."""

    def load_middleware(self, is_async: bool = False) -> None:
        """The chain is built for a thread, whatever the caller asks for."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response of the synchronous chain."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)
