"""Telemetry frames of many nodes as columns: what is done with all of them is done in NumPy, not frame by frame.

The naive form unpacks each frame into objects: at 80,000 chips a second that alone takes a core. Here the frames'
bytes are put end to end, and one array looks at all chips, another at all replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Whole: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[Any]
Ended: TypeAlias = tuple[Records, Whole]
"""Keys in order, and for each a row of samples, sums and peaks."""

HEAD = np.dtype(
    [
        ("magic", "S4"), ("version", "u1"), ("reserved", "u1"), ("chips", "<u2"), ("replicas", "<u2"), ("at", "<i8"),
        ("cpu", "<u2"), ("memory", "<u4"),
    ]
)  # fmt: skip
CHIP = np.dtype(
    [
        ("index", "<u2"), ("use", "<u2"), ("memory", "<u4"), ("temperature", "<i2"), ("power", "<u4"),
        ("flags", "<u2"), ("clock", "<u2"), ("memory_use", "<u2"),
    ]
)  # fmt: skip
REPLICA = np.dtype(
    [("key", "V16"), ("cpu", "<u2"), ("memory", "<u4"), ("memory_peak", "<u4"), ("wait", "<u2")]
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Frames side by side; `*_frame` says which frame, counted from 0, a record comes from."""

    heads: Records
    chips: Records
    chip_frame: Whole
    replicas: Records
    replica_frame: Whole


def columns(frames: Sequence[bytes]) -> Columns:
    """The frames, which have passed `protocol.check_telemetry`, in columns."""
    every = np.frombuffer(b"".join(frames), np.uint8)
    sizes = np.fromiter(map(len, frames), np.int64, len(frames))
    begins = np.cumsum(sizes) - sizes
    heads = _records(every, begins, HEAD)
    chips, replicas = heads["chips"].astype(np.int64), heads["replicas"].astype(np.int64)
    chips_begin = begins + HEAD.itemsize
    replicas_begin = chips_begin + chips * CHIP.itemsize
    numbers = np.arange(len(frames))
    return Columns(
        heads=heads,
        chips=_records(every, _each(chips_begin, chips, CHIP.itemsize), CHIP),
        chip_frame=np.repeat(numbers, chips),
        replicas=_records(every, _each(replicas_begin, replicas, REPLICA.itemsize), REPLICA),
        replica_frame=np.repeat(numbers, replicas),
    )


def _each(begins: Whole, counts: Whole, size: int) -> Whole:
    """Where records of that size begin: so many, one behind the other, from each of the beginnings."""
    before = np.cumsum(counts) - counts
    each: Whole = np.repeat(begins - before * size, counts) + np.arange(counts.sum()) * size
    return each


def _records(every: NDArray[np.uint8], begins: Whole, kind: np.dtype[Any]) -> Records:
    if not len(begins):
        return np.empty(0, kind)
    return sliding_window_view(every, kind.itemsize)[begins].view(kind)[:, 0]


class Tally:
    """Sums and peaks by key, over a window and over the minute that the windows make up.

    Keys are whole numbers, or bytes of one length; each has a row, in their order, from its first mention until
    `end_minute`.
    """

    def __init__(self, sums: int, peaks: int = 0, keys: str = "i8") -> None:
        """Of each key so many values are summed, and of so many after them the largest is kept."""
        self._sums = 1 + sums
        self._keys: Records = np.zeros(0, keys)
        self._window = np.zeros((0, 1 + sums + peaks), np.int64)
        self._minute = self._window.copy()

    def add(self, keys: Records, values: Sequence[NDArray[Any]]) -> None:
        """One sample of each key, no key twice: the columns of values in order, sums first."""
        rows, sums = self._rows_of(keys), self._sums
        added = np.empty((len(keys), self._window.shape[1]), np.int64)
        added[:, 0] = 1
        for column, value in enumerate(values, 1):
            added[:, column] = value
        had = self._window[rows]
        added[:, :sums] += had[:, :sums]
        np.maximum(added[:, sums:], had[:, sums:], out=added[:, sums:])
        self._window[rows] = added

    def end_window(self) -> Ended:
        """Keys that had samples in the window, in order, and their samples, sums and peaks; the next window begins."""
        sums = self._sums
        self._minute[:, :sums] += self._window[:, :sums]
        np.maximum(self._minute[:, sums:], self._window[:, sums:], out=self._minute[:, sums:])
        ended, self._window = self._window, np.zeros_like(self._window)
        return self._with_samples(ended)

    def end_minute(self) -> Ended:
        """The same over all windows since the last minute; every key is forgotten."""
        ended = self._with_samples(self._minute)
        self._keys = self._keys[:0]
        self._window, self._minute = self._window[:0], self._minute[:0]
        return ended

    def _rows_of(self, keys: Records) -> Whole:
        rows = np.searchsorted(self._keys, keys)
        if len(self._keys) and bool((self._keys.take(rows, mode="clip") == keys).all()):
            return rows
        known = np.union1d(self._keys, keys)
        rows = np.searchsorted(known, self._keys)
        self._window, self._minute = (
            _moved(table, rows, len(known)) for table in (self._window, self._minute)
        )
        self._keys = known
        return np.searchsorted(known, keys)

    def _with_samples(self, table: Whole) -> Ended:
        has = table[:, 0] > 0
        return self._keys[has], table[has]


def _moved(table: Whole, rows: Whole, size: int) -> Whole:
    moved = np.zeros((size, table.shape[1]), np.int64)
    moved[rows] = table
    return moved
