"""How far a replay has come, on standard error: a bar where somebody watches, else a line a minute."""

from __future__ import annotations

import sys
import time
from typing import Final

LINE_SECONDS: Final = 60
BAR: Final = 30
"""Characters of the bar."""


class Progress:
    """Told again and again how many of so many jobs are done under which policy."""

    def __init__(self, jobs: int, title: str) -> None:
        self._jobs, self._title = jobs, title
        self._said = time.monotonic()

    def __call__(self, policy: str, done: int) -> None:
        if sys.stderr.isatty():
            filled = BAR * done // max(1, self._jobs)
            bar = "#" * filled + "." * (BAR - filled)
            print(f"\r\x1b[K{self._title} {policy:18} [{bar}] {done}/{self._jobs}", end="", file=sys.stderr)
        elif time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            print(f"{self._title} {policy}: {done} of {self._jobs} jobs", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """The bar is gone; what is printed next stands in its place."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
