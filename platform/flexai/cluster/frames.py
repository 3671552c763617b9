"""Telemetry frames of many nodes as columns: what is done with all of them is done in NumPy, not frame by frame.

The naive form unpacks each frame into objects: at 80,000 chips a second that alone takes a core. Here the frames'
bytes are put end to end, and one array looks at all chips, another at all replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Whole: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[Any]
Ended: TypeAlias = tuple[list[Any], Whole]
"""Keys, and for each a row of samples, sums and peaks."""

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
    heads = np.frombuffer(b"".join([frame[: HEAD.itemsize] for frame in frames]), HEAD)
    chip_counts, replica_counts = heads["chips"].astype(np.int64), heads["replicas"].astype(np.int64)
    ends = (HEAD.itemsize + chip_counts * CHIP.itemsize).tolist()
    pairs = list(zip(frames, ends, strict=True))
    numbers = np.arange(len(frames))
    return Columns(
        heads=heads,
        chips=np.frombuffer(b"".join([frame[HEAD.itemsize : end] for frame, end in pairs]), CHIP),
        chip_frame=np.repeat(numbers, chip_counts),
        replicas=np.frombuffer(b"".join([frame[end:] for frame, end in pairs]), REPLICA),
        replica_frame=np.repeat(numbers, replica_counts),
    )


class Tally:
    """Sums and peaks by key, over a window and over the minute that the windows make up.

    Keys are whole numbers or bytes; each has a row from its first mention until `start_over`.
    """

    def __init__(self, sums: int, peaks: int = 0) -> None:
        """Of each key so many values are summed, and of so many after them the largest is kept."""
        self._sums = sums
        self._rows: dict[Any, int] = {}
        self._window = np.zeros((0, 1 + sums + peaks), np.int64)
        self._minute = self._window.copy()

    def add(self, keys: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
        """One sample of each key, no key twice: the columns of values in order, sums first."""
        rows = self._rows_of(keys)
        window, sums = self._window, 1 + self._sums
        window[rows, 0] += 1
        for column, value in enumerate(values, 1):
            if column < sums:
                window[rows, column] += value
            else:
                window[rows, column] = np.maximum(window[rows, column], value)

    def end_window(self) -> Ended:
        """Keys that had samples in the window and, by key, samples, sums and peaks; the next window begins."""
        sums = 1 + self._sums
        self._minute[:, :sums] += self._window[:, :sums]
        np.maximum(self._minute[:, sums:], self._window[:, sums:], out=self._minute[:, sums:])
        ended, self._window = self._window, np.zeros_like(self._window)
        return self._with_samples(ended)

    def end_minute(self) -> Ended:
        """The same over all windows since the last minute; every key is forgotten."""
        ended = self._with_samples(self._minute)
        self._rows = {}
        self._window, self._minute = self._window[:0].copy(), self._minute[:0].copy()
        return ended

    def _rows_of(self, keys: Sequence[Any]) -> Whole:
        known = self._rows
        try:
            rows = [known[key] for key in keys]
        except KeyError:
            rows = [known.setdefault(key, len(known)) for key in keys]
            self._window = _grown(self._window, len(known))
            self._minute = _grown(self._minute, len(known))
        return np.array(rows, np.int64)

    def _with_samples(self, table: Whole) -> Ended:
        has = table[: len(self._rows), 0] > 0
        keys = [key for key, one in zip(self._rows, has.tolist(), strict=True) if one]
        return keys, table[: len(self._rows)][has]


def _grown(table: Whole, rows: int) -> Whole:
    if rows <= len(table):
        return table
    grown = np.zeros((max(rows, 2 * len(table)), table.shape[1]), np.int64)
    grown[: len(table)] = table
    return grown
