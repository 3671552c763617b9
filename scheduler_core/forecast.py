"""When a waiting job is expected to start (X2): the engine itself, asked on a copy of the cell (X4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from scheduler_core.engine import decide
from scheduler_core.model import Id, Prediction, Snapshot
from scheduler_core.policy import Policy

MOST: Final = 100
"""Waiting jobs for which a start is predicted: one reservation is searched for each."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a job is expected to start, in milliseconds since the epoch; `p50` ≤ `p90`."""

    job: Id
    p50: int
    p90: int


def forecast(snapshot: Snapshot, policy: Policy, most: int = MOST) -> tuple[Forecast, ...]:
    """The expected starts of the first waiting jobs, in the order of their ids.

    An approximation: every gang that does not fit reserves, in the order of this cycle's line, at most so
    many. `p50` takes what runs, and what is reserved, to end by the median of its prediction, `p90` by the
    ninth decile. Who comes later, takes back or ends early is not foreseen. Jobs that would start now are
    expected now; jobs that nothing in sight lets start have no forecast.
    """
    median = _starts(snapshot, policy, most)
    late = _starts(_by_ninth_decile(snapshot), policy, most)
    return tuple(Forecast(job, at, max(at, late[job])) for job, at in sorted(median.items()) if job in late)


def _starts(snapshot: Snapshot, policy: Policy, most: int) -> dict[Id, int]:
    decision = decide(snapshot, replace(policy, max_reservations=most, reserve_age=0))
    starts = {row.job: row.at for row in decision.reservations}
    started = [unit.start for unit in decision.units]
    started += [start for resizing in decision.resizings for start in resizing.starts]
    return starts | {start.job: snapshot.now for start in started}


def _by_ninth_decile(snapshot: Snapshot) -> Snapshot:
    """The same cell with everything as long as nine of ten."""
    return replace(
        snapshot,
        jobs=tuple(replace(job, prediction=_late(job.prediction)) for job in snapshot.jobs),
        running=tuple(replace(run, prediction=_late(run.prediction)) for run in snapshot.running),
        reservations=(),
    )


def _late(prediction: Prediction | None) -> Prediction | None:
    return None if prediction is None else Prediction(prediction.p90, prediction.p90)
