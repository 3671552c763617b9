"""Run times learned from jobs that ended: all that a policy may know of run times (B3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.state import State
from scheduler_core.simulation.workload import Whole

SHORTEST_MS, BUCKETS = 1_000, 84
ENOUGH = 10
"""Ended jobs of a group before it speaks for itself; with fewer the next wider group speaks."""
NOTHING_KNOWN_MS = 3_600_000
"""The prediction before any job has ended: an hour."""


class Learned(NamedTuple):
    """Counts of ended jobs by group and run time; `groups` lists every job's groups, the narrowest first."""

    groups: Whole
    counts: Whole
    totals: Whole
    bounds: Whole


def nothing_learned(state: State) -> Learned:
    """Before any job has ended. Groups: team and gang size; gang size; all."""
    narrow = np.unique(np.column_stack([state.job["team"], state.job["gang"]]), axis=0, return_inverse=True)[
        1
    ].reshape(-1)
    wide = np.unique(state.job["gang"], return_inverse=True)[1].reshape(-1)
    first_wide = int(narrow.max(initial=-1)) + 1
    everybody = first_wide + int(wide.max(initial=-1)) + 1
    groups = np.column_stack([narrow, wide + first_wide, np.full(len(wide), everybody)]).astype(np.int64)
    counts = np.zeros((everybody + 1, BUCKETS), np.int64)
    return Learned(groups, counts, np.zeros(everybody + 1, np.int64), bucket_bounds())


def bucket_bounds() -> Whole:
    """Upper bounds in ms, each a quarter above the one before: a second to about three years."""
    bounds = [SHORTEST_MS]
    while len(bounds) < BUCKETS:
        bounds.append(bounds[-1] * 5 // 4)
    return np.array(bounds, np.int64)


@compiled
def note_end(learned: Learned, job: int, runtime: int) -> None:
    """The job ended after so many ms."""
    bucket = min(int(np.searchsorted(learned.bounds, runtime)), BUCKETS - 1)
    for group in learned.groups[job]:
        learned.counts[group, bucket] += 1
        learned.totals[group] += 1


@compiled
def predicted_quantile(learned: Learned, job: int, parts: int, of: int) -> int:
    """The run time in ms that `parts` in `of` of the ended jobs stay below, in the narrowest group of the job
    in which enough have ended.
    """
    for group in learned.groups[job]:
        if learned.totals[group] >= ENOUGH:
            wanted = (learned.totals[group] * parts + of - 1) // of
            seen = 0
            for bucket in range(BUCKETS):
                seen += learned.counts[group, bucket]
                if seen >= wanted:
                    return int(learned.bounds[bucket])
    return NOTHING_KNOWN_MS
