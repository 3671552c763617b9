"""One training job of a Pollux workload: it trains, measures itself, and picks its batch.

It follows the published simulator step by step (petuum/adaptdl, branch osdi21-artifact, `simulator.py`): times are
whole seconds, epochs end on them, and each change of chips costs `RESTART_SECONDS` without progress.
"""

from __future__ import annotations

import math

from scheduler_core.simulation.pollux.application import ONE_CHIP_ONLY, Application, Placement
from scheduler_core.simulation.pollux.goodput import (
    NOTHING,
    BestBatches,
    Measurement,
    StepModel,
    best_batches,
    fit,
    misses,
    step_seconds,
)
from scheduler_core.simulation.pollux.traces import Submission

RESTART_SECONDS = 30
MOST_CHIPS = 64
"""Of one job: what was measured."""


class TrainingJob:
    """A job with its progress, its chips and what it has learned of its own speed."""

    def __init__(self, submission: Submission, app: Application, *, fixed_batch: bool) -> None:
        """With `fixed_batch` it trains at the batch it was submitted with, otherwise at the best it knows of."""
        self.submission = submission
        self.app = app
        self.batch = submission.batch if fixed_batch else ONE_CHIP_ONLY.get(app.name)
        """The total batch it must keep to; None lets it choose."""
        self.completed_at: int | None = None
        self.placement: Placement = ()
        self.local_batch = 0
        self.accumulations = 0
        self.progress = 0.0
        self.epoch = 0
        self.chip_seconds = 0
        self.restarts = -1
        """Changes of its chips after the first."""
        self.gradient: tuple[float, float] | None = None
        self.model: StepModel | None = None
        self._now = 0
        self._restarting = 0
        self._measured: dict[tuple[int, int, int], Measurement] = {}
        self._goodputs: dict[bool, list[float]] = {}

    @property
    def most_chips_tried(self) -> int:
        return max((replicas for _, replicas, _ in self._measured), default=0)

    @property
    def most_chips(self) -> int:
        """On how many it can run at all."""
        if self.app.name in ONE_CHIP_ONLY:
            return 1
        return min(MOST_CHIPS, (self.batch or self.app.max_batch) // self.app.min_local_batch)

    def goodputs(self, chips: int, *, across_nodes: bool) -> list[float]:
        """At its best batch on 1.. `chips` chips, as it knows itself now; it must have run before. With a fixed
        batch, whole batches a second; 0 where its part would be too small for a chip.
        """
        known = self._goodputs.get(across_nodes, [])
        if len(known) < chips:
            counts = range(1, chips + 1)
            if self.batch is not None:
                known = [self._speed(self.batch, replicas, across_nodes) for replicas in counts]
            else:
                known = [float(value) for value in self._best(counts, across_nodes).goodput]
            self._goodputs[across_nodes] = known
        return known[:chips]

    def _speed(self, batch: int, replicas: int, across_nodes: bool) -> float:
        if self.model is None:
            self.model = fit(list(self._measured.values()))
        local_batch, accumulations = self._split(batch, replicas)
        if local_batch < self.app.min_local_batch:
            return 0.0
        return 1 / step_seconds(self.model, replicas, local_batch, accumulations, across_nodes=across_nodes)

    def _best(self, chips: range, across_nodes: bool) -> BestBatches:
        assert self.model is not None
        assert self.gradient is not None
        return best_batches(self.app, self.model, self.gradient, chips=chips, across_nodes=across_nodes)

    def put_on(self, placement: Placement) -> None:
        """It leaves its chips and restarts on these; on none it waits."""
        self.placement = placement
        if placement:
            self._pick_batch()
            self._restarting = RESTART_SECONDS
            self.restarts += 1

    def pass_time(self, seconds: int) -> None:
        """So many seconds later."""
        end = self._now + seconds
        if self.placement and self.completed_at is None:
            waited = min(self._restarting, seconds)
            self._restarting -= waited
            self._now += waited
            while self._now < end and self.completed_at is None:
                self._train(end - self._now)
            self.chip_seconds += sum(self.placement) * (self._now - end + seconds)
        self._now = end

    def _train(self, seconds: int) -> None:
        """Until the seconds are over or the epoch ends, whichever comes first."""
        batch = sum(self.placement) * self.local_batch * (self.accumulations + 1)
        step, sync = self.app.step_time(self.placement, self.local_batch)
        gradient = self.app.grad_stats(batch, self.epoch)
        self._learn(step, sync, gradient)
        scale = batch / self.app.min_batch
        gain = (gradient[1] + gradient[0]) / (gradient[1] / scale + gradient[0])
        speed = gain / (step + (step - sync) * self.accumulations)
        epoch_end = self.app.progress_at(self.epoch + 1)
        if self.progress + speed * seconds < epoch_end:
            self.progress += speed * seconds
            self._now += seconds
        else:
            self._now += round((epoch_end - self.progress) / speed)
            self.progress = epoch_end
            self.epoch += 1
            if self.epoch == self.app.max_epochs:
                self.completed_at = self._now
        self._pick_batch()

    def _learn(self, step: float, sync: float, gradient: tuple[float, float]) -> None:
        if gradient != self.gradient:
            self.gradient = gradient
            self._goodputs.clear()
        key = (len(self.placement), sum(self.placement), self.local_batch)
        if key in self._measured:
            return
        self._measured[key] = Measurement(*key, step - sync, step)
        if self.batch is not None:
            self.model = None
            self._goodputs.clear()
        elif self.model is None or misses(self.model, self._measured[key]):
            self.model = fit(list(self._measured.values()), self.model)
            self._goodputs.clear()

    def _pick_batch(self) -> None:
        """The best total batch it knows of for its chips, or the fixed one, split over chips and accumulations."""
        replicas = sum(self.placement)
        batch = self.batch
        if batch is None and self.model is None:
            batch = max(self.app.min_batch, self.app.min_local_batch * replicas)
        if batch is None:
            best = self._best(range(replicas, replicas + 1), len(self.placement) > 1)
            self.local_batch, self.accumulations = int(best.local_batch[0]), int(best.accumulations[0])
        else:
            self.local_batch, self.accumulations = self._split(batch, replicas)
        self.local_batch = min(self.local_batch, self.app.max_batch // (replicas * (self.accumulations + 1)))

    def _split(self, batch: int, replicas: int) -> tuple[int, int]:
        """The batch on a chip, and steps without synchronising before each one with."""
        each = math.ceil(batch / replicas - NOTHING)
        accumulations = math.ceil(each / self.app.max_local_batch - NOTHING) - 1
        if replicas == 1 and batch > self.app.min_batch:
            accumulations = max(1, accumulations)
        return math.ceil(each / (accumulations + 1) - NOTHING), accumulations
