"""Public ids: a prefix naming the kind, then time and randomness; they sort by creation."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 50
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A fresh id such as `job-01kazq3v7d5t2r8xw4ye`: 48 bits of milliseconds, 50 of randomness (Crockford base 32).

    Ids made by one process grow strictly, also within a millisecond, so ten thousand tasks of an array keep
    their order.
    """
    global _last
    fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
    with _lock:
        _last = max(fresh, _last + 1)
        value = _last
    digits = []
    for _ in range(20):
        value, rest = divmod(value, 32)
        digits.append(_ALPHABET[rest])
    return f"{prefix}-{''.join(reversed(digits))}"
