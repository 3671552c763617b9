"""A long list that stays in order while things come and go.

A plain list moves all that stands behind whatever comes or goes: with a hundred thousand entries some thirty
microseconds each time. Here it is cut into parts of some hundreds, and one part moves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T", bound=Any)

LONGEST: Final = 1024
"""Entries of a part from which on it is cut in two."""


class Ordered(Generic[T]):
    """Different entries in order, least first."""

    def __init__(self, entries: Iterable[T] = ()) -> None:
        ordered = sorted(entries)
        half = LONGEST // 2
        self._parts = [ordered[at : at + half] for at in range(0, len(ordered), half)]
        self._lasts = [part[-1] for part in self._parts]
        """Of each part its last entry."""

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._parts)

    def add(self, entry: T) -> None:
        """The entry is in its place."""
        if not self._parts:
            self._parts, self._lasts = [[entry]], [entry]
            return
        at = min(bisect_left(self._lasts, entry), len(self._parts) - 1)
        part = self._parts[at]
        insort(part, entry)
        self._lasts[at] = part[-1]
        if len(part) >= LONGEST:
            self._parts[at : at + 1] = [part[: LONGEST // 2], part[LONGEST // 2 :]]
            self._lasts[at : at + 1] = [part[LONGEST // 2 - 1], part[-1]]

    def remove(self, entry: T) -> None:
        """The entry, which is there, is there no longer."""
        at = bisect_left(self._lasts, entry)
        part = self._parts[at]
        del part[bisect_left(part, entry)]
        if part:
            self._lasts[at] = part[-1]
        else:
            del self._parts[at], self._lasts[at]

    def before(self, bound: Any) -> list[T]:
        """The entries that are less than this."""
        at = bisect_left(self._lasts, bound)
        found = list(chain.from_iterable(self._parts[:at]))
        if at < len(self._parts):
            part = self._parts[at]
            found += part[: bisect_left(part, bound)]
        return found
