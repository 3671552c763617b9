"""Run times learned from jobs that ended, as the engine is told them (B3)."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from scheduler_core.model import Prediction
from scheduler_core.simulation.replay.predictions import BUCKETS, ENOUGH, bucket_bounds


class LearnedTimes:
    """Counts of ended jobs by group and run time, in steps of a quarter; the narrowest group with enough ended
    jobs speaks.
    """

    def __init__(self) -> None:
        self._bounds: list[int] = bucket_bounds().tolist()
        self._counts: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * BUCKETS)

    def note_end(self, groups: tuple[tuple[int, ...], ...], runtime: int) -> None:
        """A job of these groups ended after so many ms."""
        bucket = min(bisect_left(self._bounds, runtime), BUCKETS - 1)
        for group in groups:
            self._counts[group][bucket] += 1

    def predict(self, groups: tuple[tuple[int, ...], ...]) -> Prediction | None:
        """The median and the ninth decile of the first of these groups in which enough have ended."""
        for group in groups:
            counts = self._counts.get(group)
            if counts is not None and (total := sum(counts)) >= ENOUGH:
                return Prediction(
                    self._quantile(counts, (total + 1) // 2), self._quantile(counts, (9 * total + 9) // 10)
                )
        return None

    def _quantile(self, counts: list[int], wanted: int) -> int:
        seen = 0
        for bucket, count in enumerate(counts):
            seen += count
            if seen >= wanted:
                return self._bounds[bucket]
        return self._bounds[-1]
