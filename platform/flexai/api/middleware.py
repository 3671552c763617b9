"""What every answer carries: a request id, and a policy of what a page may load. And the console's messages."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from django.contrib.messages.middleware import MessageMiddleware
from django.http import HttpRequest, HttpResponse

from flexai.common.source import asked_from

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' ws://{host} wss://{host}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""No inline scripts, and nothing is evaluated, in the console neither (ADR 0040). Inline styles are needed: the
dashboard's component library writes its theme into a style element, and the console's theme its colours."""
CONSOLE = "/console/"


class ConsoleMessages(MessageMiddleware):
    """Messages from one page to the next, which the console alone has."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path.startswith(CONSOLE):
            super().process_request(request)


class ContentSecurityPolicy:
    """Gives the request an id (`request.request_id`, header X-Request-ID) and the answer its policy; what is done
    meanwhile has it as its source.

    The id a caller sends is kept when it is plain; anything else is replaced.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = request_id_of(request.headers.get("X-Request-ID", ""))
        request.request_id = request_id  # type: ignore[attr-defined]
        with asked_from(request_id, request.META.get("REMOTE_ADDR", "")):
            response = self._get_response(request)
        response.headers["X-Request-ID"] = request_id
        if "Content-Security-Policy" not in response.headers:
            response.headers["Content-Security-Policy"] = _POLICY.format(host=request.get_host())
        response.headers.setdefault("Referrer-Policy", "same-origin")
        return response


def request_id_of(sent: str) -> str:
    """What the caller sent, or one that is made."""
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
