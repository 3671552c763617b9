"""What is learned as jobs come and end, as the engine is told it: run times (B3), and what is asked for (P3)."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from functools import partial
from typing import Final

from scheduler_core.mix import LATEST_JOBS, MOST_OF_ONE, as_rows, has_moved, mix_of
from scheduler_core.model import FeedEvent, Gang, Prediction, Remove, Request, Seen, Upsert
from scheduler_core.simulation.replay.predictions import BUCKETS, ENOUGH, bucket_bounds

MIX_HELP: Final = (
    "the engine is told what the latest jobs asked for, as the platform tells it, and values nodes by it"
)
MIX_MS: Final = 300_000
"""How often the mix is looked at: as the platform does."""


class LearnedMix:
    """What the latest jobs asked for; told by the platform's rule."""

    def __init__(self) -> None:
        self._latest: deque[tuple[Request, int]] = deque(maxlen=LATEST_JOBS)
        self._told: dict[Request, int] = {}
        self._next_ms = 0

    def note(self, gang: Gang) -> None:
        """A job came that asks for this."""
        self._latest.append((gang.request, min(gang.minimum, MOST_OF_ONE)))

    def news(self, now: int) -> list[FeedEvent]:
        """What there is to tell the engine at this instant (ms)."""
        if now < self._next_ms:
            return []
        self._next_ms = now + MIX_MS
        came = mix_of(self._latest)
        if not came or (self._told and not has_moved(self._told, came)):
            return []
        gone = [Remove(Seen, row) for row in range(len(came) + 1, len(self._told) + 1)]
        self._told = came
        return [*gone, *map(Upsert, as_rows(came))]


class LearnedTimes:
    """Counts of ended jobs by group and run time, in steps of a quarter; the narrowest group with enough ended
    jobs speaks.
    """

    def __init__(self) -> None:
        self._bounds: list[int] = bucket_bounds().tolist()
        self._counts: defaultdict[tuple[int, ...], list[int]] = defaultdict(partial(list, [0] * BUCKETS))

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
