"""The mail server, as one address in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_BACKENDS = "django.core.mail.backends"
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Mail:
    """As Django's settings want it."""

    backend: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    starts_tls: bool = False
    is_tls: bool = False
    folder: str | None = None


def mail_settings(url: str) -> Mail:
    """`smtps://user:password@host` (TLS), `smtp+tls://…` (STARTTLS), `smtp://host` (neither, so without a password),
    `file:///folder` and `console:` for trying; empty for none. Raises ImproperlyConfigured."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ImproperlyConfigured("FLEXAI_MAIL_URL is no address") from None
    scheme = parts.scheme
    if not url:
        return Mail(f"{_BACKENDS}.dummy.EmailBackend")
    if scheme == "console":
        return Mail(f"{_BACKENDS}.console.EmailBackend")
    if scheme == "file" and parts.path:
        return Mail(f"{_BACKENDS}.filebased.EmailBackend", folder=unquote(parts.path))
    if scheme not in _PORTS or not host:
        raise ImproperlyConfigured(
            "FLEXAI_MAIL_URL must be smtps://, smtp+tls:// or smtp:// and a host, file:///FOLDER, or console:"
        )
    if scheme == "smtp" and parts.password:
        raise ImproperlyConfigured(
            "FLEXAI_MAIL_URL: a password needs smtps:// or smtp+tls://, or everybody reads it"
        )
    return Mail(
        f"{_BACKENDS}.smtp.EmailBackend",
        host,
        port or _PORTS[scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        starts_tls=scheme == "smtp+tls",
        is_tls=scheme == "smtps",
    )
