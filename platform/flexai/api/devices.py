"""Browsers that somebody signed in with before: guesses from elsewhere keep nobody out of them (device cookies).

A browser that signed in keeps a signed cookie that names its user and itself. It opens nothing: it only says that this
browser's own failures are what counts for it, and nobody else's (ADR 0039; OWASP, "Slow Down Online Guessing Attacks
with Device Cookies").
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

COOKIE: Final = "flexai_device"
PATH: Final = "/api/v1/session"
KEPT_SECONDS: Final = 180 * 24 * 3600
_SALT: Final = "flexai.device"


def name_hash(username: str) -> str:
    """A name as keys and cookies hold it."""
    return hashlib.sha256(username.lower().encode("utf-8", "replace")).hexdigest()[:24]


def remember(answer: HttpResponseBase, request: HttpRequest, username: str) -> None:
    """This browser is known for this user from now on."""
    device = known_for(request, username) or secrets.token_hex(8)
    answer.set_cookie(
        COOKIE,
        signing.dumps({"name": name_hash(username), "device": device}, salt=_SALT),
        max_age=KEPT_SECONDS,
        path=PATH,
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )


def known_for(request: HttpRequest, username: str) -> str | None:
    """Which browser this is, where it is known for this name."""
    try:
        kept: Any = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        return None
    return str(kept["device"]) if kept["name"] == name_hash(username) else None
