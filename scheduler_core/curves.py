"""Speed-up curves from what running work has measured of itself (E1).

A job measures its throughput on the sizes that it happens to have. The naive curve has these points and no others,
and beyond the last of them nothing is gained: a job that has run on one replica only would never grow. So the rest of
the curve is what is assumed of everybody (`elastic.assumed_speedup`), scaled to the nearest measured size, and straight
lines between two measured sizes. A job that turns out slower than assumed has measured it then, and is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scheduler_core.elastic import assumed_speedup

PART: Final = 4
"""A new measurement counts for one part in so many: a single odd one moves little."""


def learned(known: int | None, measured: int) -> int:
    """The throughput that a size is known for, once more measured."""
    return measured if known is None else known + (measured - known) // PART


def curve_of(measured: Mapping[int, int], maximum: int) -> tuple[int, ...]:
    """Throughput on 1, 2, … `maximum` replicas, for `Curve.points`; empty where nothing was measured. Sizes are 1 or
    more, measurements positive.
    """
    points = sorted((size, value) for size, value in measured.items() if value > 0)
    if not points:
        return ()
    return tuple(_at(points, size) for size in range(1, maximum + 1))


def _at(points: list[tuple[int, int]], size: int) -> int:
    below = max((point for point in points if point[0] <= size), default=None)
    above = min((point for point in points if point[0] >= size), default=None)
    if below is None or above is None:
        near, value = below or above or (size, 0)
        return value * assumed_speedup(size) // assumed_speedup(near)
    if below[0] == above[0]:
        return below[1]
    return below[1] + (above[1] - below[1]) * (size - below[0]) // (above[0] - below[0])
