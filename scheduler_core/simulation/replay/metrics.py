"""What a run is judged by. Times in hours, shares in percent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.replay.running import Outcome
from scheduler_core.simulation.workload import Workload

HOUR_MS = 3_600_000

Hours = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the table."""

    policy: str
    mean_completion: float
    p50_completion: float
    p99_completion: float
    mean_wait: float
    """From submission to the first start."""
    p99_wait: float
    mean_queueing: float
    """Completion less run time: the whole of what the cluster cost the job, restarts included."""
    p99_queueing: float
    makespan: float
    allocation: float | None
    """Chip-time held, of all there was until the last end; none where the cluster has no size."""
    useful: float | None
    """Chip-time that was asked for and worked on, of all there was until the last end."""
    stranded: float
    """Chip-time free while somebody waited, of all there was: fragmentation and what a policy leaves idle."""
    jain: float
    """Jain's index (1 = equal) over the teams' run time / completion time."""
    restarts: int
    moves: int
    lost: float
    """Chip-time spent on starting again, of the chip-time held."""


def summary(outcome: Outcome) -> Summary:
    """The figures of a run."""
    done = outcome.finished >= 0
    work = outcome.work
    completion = _hours(outcome.finished - work.submit)[done]
    wait = _hours(outcome.first_start - work.submit)[done]
    queueing = completion - _hours(work.runtime)[done]
    makespan = int(outcome.finished.max() - work.submit[0])
    there_was = outcome.chips * makespan
    asked = int((work.replicas * work.milli * work.runtime)[done].sum()) / 1000
    return Summary(
        outcome.policy,
        mean_completion=float(completion.mean()),
        p50_completion=float(np.percentile(completion, 50)),
        p99_completion=float(np.percentile(completion, 99)),
        mean_wait=float(wait.mean()),
        p99_wait=float(np.percentile(wait, 99)),
        mean_queueing=float(queueing.mean()),
        p99_queueing=float(np.percentile(queueing, 99)),
        makespan=makespan / HOUR_MS,
        allocation=100 * outcome.allocated / there_was,
        useful=100 * asked / there_was,
        stranded=100 * outcome.stranded / there_was,
        jain=jain_index(_by_team(outcome, done)),
        restarts=int((outcome.runs - 1).clip(0).sum()),
        moves=outcome.moves,
        lost=100 * outcome.lost / outcome.allocated,
    )


def floor(work: Workload) -> Summary:
    """What no policy can beat: every job starts when it comes and runs alone."""
    runtime = _hours(work.runtime)
    makespan = int((work.submit + work.runtime).max() - work.submit[0]) / HOUR_MS
    quantiles = [float(np.percentile(runtime, percent)) for percent in (50, 99)]
    return Summary(
        "no-queue floor",
        mean_completion=float(runtime.mean()),
        p50_completion=quantiles[0],
        p99_completion=quantiles[1],
        mean_wait=0,
        p99_wait=0,
        mean_queueing=0,
        p99_queueing=0,
        makespan=makespan,
        allocation=None,
        useful=None,
        stranded=0,
        jain=1,
        restarts=0,
        moves=0,
        lost=0,
    )


def jain_index(values: Hours) -> float:
    """(sum x)^2 / (n sum x^2) (Jain, Chiu and Hawe, 1984); 1 where there is nobody."""
    return float(values.sum() ** 2 / (len(values) * (values**2).sum())) if len(values) else 1.0


def _by_team(outcome: Outcome, done: NDArray[np.bool_]) -> Hours:
    work = outcome.work
    values = []
    for team in range(len(work.teams)):
        mine = done & (work.team == team)
        if mine.any():
            values.append(work.runtime[mine].sum() / (outcome.finished - work.submit)[mine].sum())
    return np.array(values, np.float64)


def _hours(milliseconds: NDArray[np.int64]) -> Hours:
    return milliseconds / HOUR_MS
