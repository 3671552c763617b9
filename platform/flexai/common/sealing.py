"""Secrets that have to be read again, encrypted under the server's key: a copy of the database holds none."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes


class NotReadable(Exception):  # noqa: N818 - named for what is so
    """It was sealed under a key that is neither the server's nor one of its former ones."""


def seal(text: str) -> str:
    """The text as only this server can read it."""
    return _box().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed. Raises NotReadable."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise NotReadable from None


def reseal(sealed: str) -> str:
    """The same, sealed under the key that holds now. Raises NotReadable."""
    return seal(unseal(sealed))


def _box() -> MultiFernet:
    return MultiFernet(
        [Fernet(_key(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    )


def _key(secret: str | bytes) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"flexai sealed secrets").derive(force_bytes(secret))
    return base64.urlsafe_b64encode(derived)
