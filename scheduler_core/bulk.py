"""Very many small values at once: made of columns, read into columns, and told apart.

From the naive version, one value after another in Python: each of these is a loop in C. Some hundreds are taken at a
time, so that a second look at them finds them in the processor's cache.

Values that are one and the same object are known by that, and need not be compared; what is answered does not depend on
which are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice, repeat
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np

from scheduler_core.columns import Ints

T = TypeVar("T")

AT_ONCE: Final = 1024
LARGEST: Final = (1 << 63) - 1
"""What a column holds at most; what is beyond is there as this."""


def made(kind: type[T], count: int, *columns: Iterable[Any]) -> list[T]:
    """So many of a frozen dataclass with slots, which checks nothing when it is made: field by field from columns."""
    found: list[T] = []
    setters = [getattr(kind, field.name).__set__ for field in fields(kind)]  # type: ignore[arg-type]
    pairs = list(zip(setters, map(iter, columns), strict=True))
    for begin in range(0, count, AT_ONCE):
        rows = list(map(object.__new__, repeat(kind, min(AT_ONCE, count - begin))))
        for put, column in pairs:
            deque(map(put, rows, islice(column, len(rows))), maxlen=0)
        found += rows
    return found


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """All of them in order, some hundreds at a time."""
    return (rows[begin : begin + AT_ONCE] for begin in range(0, len(rows), AT_ONCE))


def column(rows: Sequence[Any], name: str) -> Ints:
    """A field of all of them, of whole numbers."""
    try:
        return np.fromiter(map(attrgetter(name), rows), np.int64, len(rows))
    except OverflowError:
        within = (max(min(getattr(row, name), LARGEST), -LARGEST) for row in rows)
        return np.fromiter(within, np.int64, len(rows))


def lengths(rows: Sequence[Sequence[Any]]) -> Ints:
    """How long each of them is."""
    return np.fromiter(map(len, rows), np.int64, len(rows))


class Sorts:
    """Jobs that have the same gang and the same facts are of one sort."""

    def __init__(self, *facts: str) -> None:
        self.examples: list[Any] = []
        """One job of each sort. Where gangs are equal and not the same, jobs that are alike may be of several."""
        self._facts = attrgetter(*facts)
        self._at: dict[Hashable, int] = {}

    def of(self, jobs: Sequence[Any]) -> list[int]:
        """The sort of each of these jobs, by its place among the examples."""
        at = self._at
        gangs = map(id, map(attrgetter("gang"), jobs))
        keys = list(zip(gangs, map(self._facts, jobs), strict=True))
        for key, job in dict(zip(keys, jobs, strict=True)).items():
            if key not in at:
                at[key] = len(self.examples)
                self.examples.append(job)
        return list(map(at.__getitem__, keys))


def distinct(values: Sequence[T]) -> tuple[list[T], Ints]:
    """Each value once, in the order in which they come, and where in that list each of them stands."""
    at = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return list(at), np.fromiter(map(at.__getitem__, values), np.int64, len(values))


def counted(values: Sequence[T]) -> list[tuple[T, int]]:
    """Each of these objects, and how often it is there."""
    counts = Counter(map(id, values))
    return [
        (value, counts[known]) for known, value in dict(zip(map(id, values), values, strict=True)).items()
    ]


def examples(codes: Ints, kinds: int) -> Ints:
    """Where one of each code stands that is there at all; codes are from 0 to below so many."""
    where = np.full(kinds, -1, np.int64)
    where[codes] = np.arange(len(codes))
    return where[where >= 0]
