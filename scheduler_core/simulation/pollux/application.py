"""How the six applications of the Pollux workloads really train, from what was measured.

The model is that of the published simulator (petuum/adaptdl, branch osdi21-artifact, `applications.py`), so that
results stand beside the authors': step times of a measured placement are interpolated over the batch on one
chip; others over nodes, chips and batch together; gradient statistics over the total batch, epoch by epoch.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from functools import cache, cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy.interpolate import LinearNDInterpolator  # type: ignore[import-untyped]

from scheduler_core.simulation.pollux.traces import (
    Epoch,
    StepTime,
    read_epochs,
    read_placements,
    read_scalability,
)

Placement: TypeAlias = tuple[int, ...]
"""Chips on each node that the job uses, none of them 0."""

MAX_EPOCHS = {"bert": 2, "cifar10": 100, "ncf": 10, "imagenet": 90, "deepspeech2": 80, "yolov3": 50}
"""When training ends; from the published simulator."""
MAX_LOCAL_BATCH = {"yolov3": 8}
"""Where the published simulator allows less than was measured."""
MOST_NODES = 16
ONE_CHIP_ONLY = {"ncf": 32768}
"""Applications that do not scale, with the batch they run at; from the published simulator."""


@cache
def application(folder: Path, name: str) -> Application:
    """The application of this name, read once."""
    return Application(
        name, read_placements(folder, name), read_scalability(folder, name), read_epochs(folder, name)
    )


class Application:
    """One application's true speed and statistical efficiency, and the bounds of its batch."""

    def __init__(
        self,
        name: str,
        placements: list[StepTime],
        scalability: list[StepTime],
        epochs: dict[int, list[Epoch]],
    ) -> None:
        self.name = name
        self.max_epochs = MAX_EPOCHS[name]
        self.min_batch = min(epochs)
        """The initial total batch: progress counts iterations at this size."""
        self.max_batch = max(epochs)
        self.min_local_batch = min(row.local_batch for row in placements)
        self.max_local_batch = MAX_LOCAL_BATCH.get(name, max(row.local_batch for row in placements))
        self._epochs = epochs
        self._batches = list(epochs)
        self._measured = _by_placement(placements)
        self._rows = placements
        self._scalability = scalability
        self._step_times: dict[tuple[Placement, int], tuple[float, float]] = {}
        self._grad_stats: dict[tuple[int, int], tuple[float, float]] = {}
        self._ends = [0.0] + [
            min(rows[epoch].progress for rows in epochs.values()) for epoch in range(self.max_epochs)
        ]

    def progress_at(self, epochs: int) -> float:
        """Training progress once so many epochs are done."""
        return self._ends[epochs]

    def step_time(self, placement: Placement, local_batch: int) -> tuple[float, float]:
        """Seconds of one step, and of its synchronisation alone."""
        key = (placement, local_batch)
        if key not in self._step_times:
            self._step_times[key] = self._interpolated(placement, local_batch)
        return self._step_times[key]

    def grad_stats(self, batch: int, epoch: int) -> tuple[float, float]:
        """Squared norm and variance of the gradient during an epoch at a total batch."""
        key = (batch, epoch)
        if key not in self._grad_stats:
            low, high, weight = self._neighbours(batch)
            at_low, at_high = self._epochs[low][epoch], self._epochs[high][epoch]
            self._grad_stats[key] = (
                at_low.grad_sqr + weight * (at_high.grad_sqr - at_low.grad_sqr),
                at_low.grad_var + weight * (at_high.grad_var - at_low.grad_var),
            )
        return self._grad_stats[key]

    def iterations_at(self, batch: int, epoch: int) -> float:
        """Iterations done at the end of this epoch (counted from 0) at a total batch: only Optimus asks."""
        low, high, weight = self._neighbours(batch)
        before, after = self._epochs[low][epoch].iteration, self._epochs[high][epoch].iteration
        return before + weight * (after - before)

    def _neighbours(self, batch: int) -> tuple[int, int, float]:
        """The measured batches around this one, and how far it lies between them."""
        at = bisect_left(self._batches, batch)
        if at == len(self._batches) or batch < self._batches[0]:
            raise ValueError(f"{self.name}: batch {batch} is outside {self.min_batch} to {self.max_batch}.")
        high = self._batches[at]
        low = high if high == batch else self._batches[at - 1]
        return low, high, (batch - low) / (high - low) if high != low else 0.0

    def _interpolated(self, placement: Placement, local_batch: int) -> tuple[float, float]:
        turned = min(placement[i:] + placement[:i] for i in range(len(placement)))
        measured = self._measured.get(turned)
        if measured is not None:
            batches, steps, syncs = measured
            if not batches[0] <= local_batch <= batches[-1]:
                raise ValueError(f"{self.name}: nothing measured for {placement} at {local_batch} a chip.")
            return float(np.interp(local_batch, batches, steps)), float(
                np.interp(local_batch, batches, syncs)
            )
        nodes = min(len(placement), MOST_NODES)
        step, sync = self._space([nodes, sum(placement), local_batch])[0]
        if math.isnan(step):
            raise ValueError(f"{self.name}: nothing measured around {placement} at {local_batch} a chip.")
        return float(step), float(sync)

    @cached_property
    def _space(self) -> LinearNDInterpolator:
        """Step times over nodes, chips and batch a chip: the means of measured placements, and scalability."""
        groups: dict[tuple[int, int, int], list[StepTime]] = defaultdict(list)
        for row in self._rows:
            groups[row.nodes, row.replicas, row.local_batch].append(row)
        points = [list(key) for key in sorted(groups)]
        values = [
            [float(np.mean([r.step_seconds for r in rows])), float(np.mean([r.sync_seconds for r in rows]))]
            for _, rows in sorted(groups.items())
        ]
        points += [[row.nodes, row.replicas, row.local_batch] for row in self._scalability]
        values += [[row.step_seconds, row.sync_seconds] for row in self._scalability]
        return LinearNDInterpolator(np.array(points, dtype=float), np.array(values))


def _by_placement(rows: list[StepTime]) -> dict[Placement, tuple[list[int], list[float], list[float]]]:
    grouped: dict[Placement, list[StepTime]] = defaultdict(list)
    for row in rows:
        grouped[row.placement].append(row)
    measured = {}
    for placement, times in grouped.items():
        times.sort(key=lambda row: row.local_batch)
        measured[placement] = (
            [row.local_batch for row in times],
            [row.step_seconds for row in times],
            [row.sync_seconds for row in times],
        )
    return measured
