"""Public ids: a prefix naming the kind, then time and randomness; they sort by creation."""

from __future__ import annotations

import secrets
import threading
import time
from array import array
from itertools import accumulate

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
"""A pair of digits is ten bits."""
_RANDOM_BITS = 50
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A fresh id such as `job-01kazq3v7d5t2r8xw4ye`: 48 bits of milliseconds, 50 of randomness (Crockford base 32).

    Ids made by one process grow strictly, also within a millisecond, so ten thousand tasks of an array keep
    their order.
    """
    return new_ids(prefix, 1)[0]


def new_ids(prefix: str, count: int) -> list[str]:
    """So many of them. Between one and the next lie 32 random bits."""
    steps = array("I", secrets.token_bytes(4 * (count - 1))) if count > 1 else ()
    values = list(accumulate(steps, lambda value, step: value + 1 + step, initial=0))[:count]
    if not values:
        return []
    global _last
    fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
    with _lock:
        first = max(fresh, _last + 1)
        _last = first + values[-1]
    ids = []
    time_part, time_digits = -1, ""
    for value in values:
        high, low = divmod(first + value, 1 << _RANDOM_BITS)
        if high != time_part:
            time_part, time_digits = high, f"{prefix}-{_digits(high)}"
        ids.append(time_digits + _digits(low))
    return ids


def _digits(half: int) -> str:
    """Ten digits."""
    return (
        _PAIRS[half >> 40]
        + _PAIRS[half >> 30 & 1023]
        + _PAIRS[half >> 20 & 1023]
        + _PAIRS[half >> 10 & 1023]
        + _PAIRS[half & 1023]
    )
