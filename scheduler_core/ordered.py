"""A long list that stays in order while things come and go.

A plain list moves all that stands behind whatever comes or goes: with a hundred thousand entries some thirty
microseconds each time. Here it is cut into parts of some hundreds, and one part moves. What goes is not looked for
either, for a search through scattered entries costs more than all else: it is passed over by whoever reads, and now and
then one part, each in its turn, is rid of what has gone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain, filterfalse, islice
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T", bound=Any)

LONGEST: Final = 1024
"""Entries of a part from which on it is cut in two."""
SWEEP_EVERY: Final = 256
"""Entries that go before the next part is rid of what has gone: a quarter of a list in parts of 512 at most is passed
over."""


class Ordered(Generic[T]):
    """Different entries in order, least first."""

    def __init__(self, entries: Iterable[T] = ()) -> None:
        ordered = sorted(entries)
        half = LONGEST // 2
        self._parts = [ordered[at : at + half] for at in range(0, len(ordered), half)]
        self._lasts = [part[-1] for part in self._parts]
        """Of each part its last entry."""
        self._count = len(ordered)
        self._gone: set[T] = set()
        """What still stands in its part, and is there no longer."""
        self._sweeps = 0
        """Entries that have gone so far."""
        self._swept = 0
        """Which part is next to be rid of them."""

    def __iter__(self) -> Iterator[T]:
        entries = chain.from_iterable(self._parts)
        return filterfalse(self._gone.__contains__, entries) if self._gone else entries

    def __len__(self) -> int:
        return self._count

    def first(self, count: int) -> list[T]:
        """The first so many."""
        return list(islice(self, count))

    def add(self, entry: T) -> None:
        """The entry, which is not there, is in its place."""
        self._count += 1
        if entry in self._gone:
            self._gone.remove(entry)
            return
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
        self._count -= 1
        self._gone.add(entry)
        self._sweeps += 1
        if self._sweeps % SWEEP_EVERY == 0 or not self._count:
            self._sweep()

    def before(self, bound: Any) -> list[T]:
        """The entries that are less than this."""
        at = bisect_left(self._lasts, bound)
        found = list(chain.from_iterable(self._parts[:at]))
        if at < len(self._parts):
            part = self._parts[at]
            found += part[: bisect_left(part, bound)]
        return list(filterfalse(self._gone.__contains__, found)) if self._gone else found

    def _sweep(self) -> None:
        """The next part holds only what is there; of an empty list no part is left."""
        if not self._count:
            self._parts, self._lasts = [], []
            self._gone.clear()
            return
        at = self._swept = self._swept % len(self._parts)
        left, gone = self._parts[at], list(filter(self._gone.__contains__, self._parts[at]))
        if gone:
            self._gone.difference_update(gone)
            left = list(filterfalse(set(gone).__contains__, left))
        if left:
            self._parts[at], self._lasts[at] = left, left[-1]
            self._swept += 1
        else:
            del self._parts[at], self._lasts[at]
