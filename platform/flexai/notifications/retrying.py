"""When a message is tried again, and when it is given up. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

FIRST_PAUSE_MS = 5_000
FACTOR = 4
LONGEST_PAUSE_MS = 6 * 3_600_000
MAX_TRIES = 16
"""5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 5:41 h, then every 6 hours: two and a half days in all."""
JITTER_PERCENT = 20
"""By so much a pause is longer or shorter, so that receivers are not met by everything at once."""
SWITCHED_OFF_AFTER = timedelta(days=5)
"""A webhook that took nothing for so long is switched off."""
LEASE = timedelta(seconds=60)
"""So long after a try began, it is taken for lost with the process that made it."""
TAKEN = range(200, 300)
GONE = 410
"""The receiver says that it wants no more: the webhook is switched off at once."""


def pause_after(tries: int, *, draw: Callable[[int, int], int], asked_ms: int = 0) -> timedelta:
    """How long to wait after so many tries. `draw` gives a whole number between two, both among them; `asked_ms` is
    what the receiver asked for, which counts up to the longest pause."""
    usual = min(FIRST_PAUSE_MS * FACTOR ** min(tries - 1, 20), LONGEST_PAUSE_MS)
    jitter = usual * JITTER_PERCENT // 100
    return timedelta(milliseconds=max(usual + draw(-jitter, jitter), min(asked_ms, LONGEST_PAUSE_MS)))


def asked_ms(retry_after: str) -> int:
    """What a `Retry-After` header asks for; 0 where it names no seconds."""
    text = retry_after.strip()
    return int(text) * 1000 if text.isascii() and text.isdigit() and len(text) <= 6 else 0
