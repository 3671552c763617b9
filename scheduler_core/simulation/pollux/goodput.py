"""What a job knows of its own speed: a fitted model of step times, and the goodput it promises.

Goodput = examples a second x statistical efficiency (Qiao et al., "Pollux: Co-adaptive Cluster Scheduling for
Goodput-Optimized Deep Learning", OSDI'21, sections 3 and 4.1). The step-time model has seven parameters: computing
is linear in the batch on a chip; synchronising costs one constant within a node and another across nodes, each
with a term for every replica after the second; the two overlap as a p-norm. What was never tried is assumed
free (section 4.1), so a job is worth growing until it has measured that it is not.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler_core.compiled import compiled
from scheduler_core.simulation.pollux.application import Application

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

CANDIDATES = 50
"""Total batches tried between the least and the most, geometrically spaced; as in the published agent."""
SURPRISE = 0.05
"""A measurement further from the model than this share makes the job fit its model anew."""
NOTHING = 1e-8
"""Stands for a cost of zero where a logarithm needs more."""


MOST_STEPS = 60
"""Of a fit: it has long converged."""
ENOUGH = 1e-5
"""A step of a fit that gains less ends it."""
MOST_DAMPING = 1e6
STUCK = 1e-4
"""A parameter that the last fit left below this starts afresh: from next to nothing it would not come back."""
LEAST_ROOT = 1e-4
AGAINST_SLOWDOWN, AGAINST_OVERLAP = 1e-2, 1e-3
"""Weights of the published agent's priors: against slowing down with every replica, and against overlap."""
ALONE, WITHIN, ACROSS = 0, 1, 2
"""One chip; several on one node; several nodes."""


@dataclass(frozen=True, slots=True)
class StepModel:
    """The seven parameters, in seconds."""

    compute: float
    compute_each: float
    across: float
    across_each: float
    within: float
    within_each: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One configuration that the job has run in."""

    nodes: int
    replicas: int
    local_batch: int
    compute_seconds: float
    step_seconds: float


@dataclass(frozen=True, slots=True)
class Grid:
    """Every batch that an application may choose on some numbers of chips: arrays of `CANDIDATES` x numbers."""

    replicas: Floats
    batch: Floats
    """In all; 0 where it is not allowed."""
    local_batch: Integers
    accumulations: Integers
    """Steps without synchronising before each one with."""


@dataclass(frozen=True, slots=True)
class BestBatches:
    """The best batch on some numbers of chips, and the goodput it promises."""

    goodput: Floats
    local_batch: Integers
    accumulations: Integers


@cache
def grid(app: Application, chips: range) -> Grid:
    """The candidates of an application on these numbers of chips."""
    replicas = np.array(chips, dtype=np.float64)
    least = np.maximum(app.min_batch, app.min_local_batch * replicas)
    each = np.geomspace(least, app.max_batch, CANDIDATES) / replicas
    accumulations = np.ceil(each / app.max_local_batch - NOTHING) - 1
    # Gradient statistics from a single batch are too rough to scale up on: one chip takes two.
    lonely = (replicas == 1) & (each > app.min_batch + NOTHING)
    accumulations = np.where(lonely, np.maximum(accumulations, 1), accumulations).astype(np.int64)
    local = np.ceil(each / (accumulations + 1) - NOTHING).astype(np.int64)
    allowed = (app.min_local_batch <= local) & (local <= app.max_local_batch)
    batch = np.where(allowed, replicas * local * (accumulations + 1), 0.0)
    return Grid(replicas, batch, local, accumulations)


def best_batches(
    app: Application,
    model: StepModel,
    gradient: tuple[float, float],
    *,
    chips: range,
    across_nodes: bool,
) -> BestBatches:
    """The batch of most goodput on each of these numbers of chips, on one node or across several."""
    choices = grid(app, chips)
    goodput, best = _best_of.machine(
        choices.replicas,
        choices.batch,
        choices.local_batch,
        choices.accumulations,
        float(app.min_batch),
        np.array(astuple(model)),
        np.array(gradient),
        across_nodes,
    )
    at = best, np.arange(len(chips))
    return BestBatches(goodput, choices.local_batch[at], choices.accumulations[at])


@compiled
def _best_of(
    replicas: Floats,
    batch: Floats,
    local_batch: Integers,
    accumulations: Integers,
    min_batch: float,
    model: Floats,
    gradient: Floats,
    across_nodes: bool,
) -> tuple[Floats, Integers]:
    """For every column the best goodput and its row; a batch of 0 is not allowed."""
    goodput = np.zeros(len(replicas))
    best = np.zeros(len(replicas), dtype=np.int64)
    squared, variance = gradient
    for column in range(len(replicas)):
        kind = ACROSS if across_nodes else WITHIN if replicas[column] > 1 else ALONE
        wait = _network_seconds(model, kind, max(replicas[column] - 2, NOTHING)) ** model[6]
        for row in range(CANDIDATES):
            if batch[row, column] == 0.0:
                continue
            compute = model[0] + model[1] * local_batch[row, column]
            seconds = accumulations[row, column] * compute + (compute ** model[6] + wait) ** (1 / model[6])
            scale = batch[row, column] / min_batch
            promised = (variance + squared) / (variance / scale + squared) / seconds
            if promised > goodput[column]:
                goodput[column], best[column] = promised, row
    return goodput, best


@compiled
def _network_seconds(model: Floats, kind: int, more: float) -> float:
    """Of one synchronisation with so many replicas after the second."""
    seconds: float = NOTHING
    if kind == ACROSS:
        seconds = model[2] + model[3] * more
    elif kind == WITHIN:
        seconds = model[4] + model[5] * more
    return seconds


def step_seconds(
    model: StepModel, replicas: int, local_batch: int, accumulations: int, *, across_nodes: bool
) -> float:
    """What the model expects one whole step to take, accumulations included."""
    kind = ACROSS if across_nodes else WITHIN if replicas > 1 else ALONE
    compute = model.compute + model.compute_each * local_batch
    network = _network_seconds.machine(np.array(astuple(model)), kind, max(float(replicas - 2), NOTHING))
    overlapped: float = (compute**model.overlap + network**model.overlap) ** (1 / model.overlap)
    return accumulations * compute + overlapped


def misses(model: StepModel, seen: Measurement) -> bool:
    """Whether the model says something else than `SURPRISE` allows: then it is worth fitting anew."""
    compute = model.compute + model.compute_each * seen.local_batch
    step = step_seconds(model, seen.replicas, seen.local_batch, 0, across_nodes=seen.nodes > 1)
    errors = math.log(compute / seen.compute_seconds), math.log(step / seen.step_seconds)
    return max(map(abs, errors)) > SURPRISE


def _kind(seen: Measurement) -> int:
    return ACROSS if seen.nodes > 1 else WITHIN if seen.replicas > 1 else ALONE


def fit(measurements: list[Measurement], before: StepModel | None = None) -> StepModel:
    """The model closest to what was measured: the root mean squares of the logarithms' errors, and the priors of
    the published agent (petuum/adaptdl, `goodput.py`), by Levenberg-Marquardt on the parameters' logarithms, from
    the model `before` where there was one.

    Terms that nothing measured speaks of are held at next to nothing. Without a measurement across nodes, that
    is taken to cost a tenth more than within one.
    """
    kinds = np.array([_kind(row) for row in measurements])
    columns = np.array(
        [
            [max(row.replicas - 2, NOTHING) for row in measurements],
            [row.local_batch for row in measurements],
            [math.log(row.compute_seconds) for row in measurements],
            [math.log(row.step_seconds) for row in measurements],
        ]
    )  # by columns as it is: turned round it would be of another kind to the compiler, but for a single row
    start, free = _start(kinds, columns, before)
    values = [float(value) for value in _descended.machine(start, free, kinds, columns)]
    if not (kinds == ACROSS).any():
        values[2] = max(values[2], values[4] * 1.1)
        values[3] = max(values[3], values[5] * 1.1)
    return StepModel(*values)


def _start(kinds: Integers, columns: Floats, before: StepModel | None) -> tuple[Floats, Integers]:
    """Where to start, and which parameters are free to move from there."""
    values = np.array([1e-1, 1e-2, 1e-1, 1e-2, 1e-1, 1e-2, 1.1])
    if before is not None:
        last = np.array(astuple(before))
        values = np.where(last > STUCK, last, values)
        values[6] = min(max(values[6], 1.05), 9.0)
    known = np.ones(7, dtype=bool)
    known[2:4] = (kinds == ACROSS).any()
    known[4:6] = (kinds == WITHIN).any()
    if not (columns[0] > NOTHING).any():
        known[[3, 5]] = False
    values[~known] = NOTHING
    if len(np.unique(columns[1])) == 1:
        values[0], known[0] = float(np.exp(columns[2]).mean()) / 2, False
    return values, np.flatnonzero(known)


@compiled
def _descended(values: Floats, free: Integers, kinds: Integers, columns: Floats) -> Floats:
    """The values of least loss near these; only the `free` ones move, the first six by factors."""
    loss, slope, curvature = _quadratic(values, kinds, columns)
    damping = 1e-2
    for _ in range(MOST_STEPS):
        system = np.empty((len(free), len(free)))
        down = np.empty(len(free))
        for row in range(len(free)):
            down[row] = -slope[free[row]]
            for column in range(len(free)):
                system[row, column] = curvature[free[row], free[column]]
            system[row, row] += damping * (system[row, row] + NOTHING)
        step = np.linalg.solve(system, down)
        moved = values.copy()
        for row in range(len(free)):
            if free[row] == 6:
                moved[6] = min(max(values[6] + min(max(step[row], -2.0), 2.0), 1.0), 10.0)
            else:
                moved[free[row]] = max(values[free[row]] * np.exp(min(max(step[row], -3.0), 3.0)), NOTHING)
        there, slope_there, curvature_there = _quadratic(moved, kinds, columns)
        if there < loss:
            gained = loss - there
            values, loss, slope, curvature = moved, there, slope_there, curvature_there
            damping /= 5
            if gained < ENOUGH:
                break
        elif damping > MOST_DAMPING:
            break
        else:
            damping *= 5
    return values


@compiled
def _quadratic(values: Floats, kinds: Integers, columns: Floats) -> tuple[float, Floats, Floats]:
    """The loss, and its slope and curvature (Gauss-Newton) by the logarithms of six values and the overlap."""
    count = len(kinds)
    errors = np.zeros((2, count))
    slopes = np.zeros((2, count, 7))
    for at in range(count):
        more, local_batch, log_compute_seen, log_step_seen = columns[:, at]
        _row(values, kinds[at], more, local_batch, errors[:, at], slopes[:, at])
        errors[0, at] -= log_compute_seen
        errors[1, at] -= log_step_seen
    loss, slope, curvature = 0.0, np.zeros(7), np.zeros((7, 7))
    for part in range(2):
        root = np.sqrt((errors[part] ** 2).mean())
        weight = 1 / (count * max(root, LEAST_ROOT))
        loss += root
        slope += weight * (errors[part] @ slopes[part])
        curvature += weight * (slopes[part].T @ slopes[part])
    for first in (2, 4):
        ratio = values[first + 1] / values[first]
        pull = 2 * AGAINST_SLOWDOWN * ratio**2
        loss += AGAINST_SLOWDOWN * ratio**2
        slope[first + 1] += pull
        slope[first] -= pull
        curvature[first, first] += pull
        curvature[first + 1, first + 1] += pull
        curvature[first, first + 1] -= pull
        curvature[first + 1, first] -= pull
    loss += AGAINST_OVERLAP * (values[6] - 1) ** 2
    slope[6] += 2 * AGAINST_OVERLAP * (values[6] - 1)
    curvature[6, 6] += 2 * AGAINST_OVERLAP
    return loss, slope, curvature


@compiled
def _row(values: Floats, kind: int, more: float, local_batch: float, logs: Floats, slopes: Floats) -> None:
    """Sets the logarithms of the predicted compute and step time, and their slopes, for one measurement."""
    overlap = values[6]
    compute = values[0] + values[1] * local_batch
    network = _network_seconds(values, kind, more)
    log_compute, log_network = np.log(compute), np.log(network)
    high = max(log_compute, log_network)
    log_sum = overlap * high + np.log1p(np.exp(-overlap * abs(log_compute - log_network)))
    share = np.exp(overlap * log_compute - log_sum)
    logs[0], logs[1] = log_compute, log_sum / overlap
    slopes[0, 0], slopes[0, 1] = values[0] / compute, values[1] * local_batch / compute
    slopes[1, 0], slopes[1, 1] = share * slopes[0, 0], share * slopes[0, 1]
    if kind != ALONE:
        first = 2 if kind == ACROSS else 4
        slopes[1, first] = (1 - share) * values[first] / network
        slopes[1, first + 1] = (1 - share) * values[first + 1] * more / network
    slopes[1, 6] = (share * log_compute + (1 - share) * log_network - log_sum / overlap) / overlap
