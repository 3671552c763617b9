"""Secrets that have to be read again, encrypted under the server's key: a copy of the database holds none."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes


class NotReadable(Exception):  # noqa: N818 - named for what is so
    """It was sealed under a key that is neither the server's nor one of its former ones, or for another place."""


def seal(text: str, *, bound_to: str = "") -> str:
    """The text as only this server can read it, and only where it is told the same place: what was copied to another
    row stays shut there."""
    return _box(bound_to).encrypt(text.encode()).decode()


def unseal(sealed: str, *, bound_to: str = "") -> str:
    """What was sealed for this place. Raises NotReadable."""
    try:
        return _box(bound_to).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise NotReadable from None


def reseal(sealed: str, *, bound_to: str = "") -> str:
    """The same, sealed under the key that holds now. Raises NotReadable."""
    return seal(unseal(sealed, bound_to=bound_to), bound_to=bound_to)


def _box(bound_to: str) -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(_key(secret, bound_to)) for secret in keys])


def _key(secret: str | bytes, bound_to: str) -> bytes:
    """A key of its own for each place."""
    info = b"flexai sealed secrets" + (f"\0{bound_to}".encode() if bound_to else b"")
    derived = HKDF(SHA256(), length=32, salt=None, info=info).derive(force_bytes(secret))
    return base64.urlsafe_b64encode(derived)
