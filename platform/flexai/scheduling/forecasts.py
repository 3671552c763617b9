"""When waiting jobs are expected to start, kept so that it can be shown, and scored against what happened (X2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from flexai.common import clock
from flexai.common.database import as_rows, prepared_cursor
from flexai.jobs.models import Job
from flexai.scheduling.models import Forecast
from flexai.scheduling.policies import policy_of
from flexai.scheduling.snapshot import take_snapshot, too_many_wait
from scheduler_core.forecast import Forecast as Expected
from scheduler_core.forecast import forecast
from scheduler_core.lifecycle import JobState

FORECAST_SECONDS: Final = 30.0
"""How often starts are forecast."""
WORTH_IT: Final = timedelta(seconds=10)
"""Nothing is forecast while nobody has waited for so long: what comes and goes in a burst needs no forecast."""
STANDS: Final = timedelta(seconds=3 * FORECAST_SECONDS)
"""A forecast that was not renewed for so long is not shown any more."""
SCORED: Final = timedelta(days=7)
"""Forecasts of jobs that began in so long are scored."""
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Score:
    """How the first forecast of each job held."""

    scored: int
    """Jobs with a forecast that began in the last week."""
    within_p50: int
    """Of these, those that began no later than their P50 said; half of them, if the forecasts are good."""
    within_p90: int
    """And no later than P90; nine of ten."""


def forecast_starts(cell_id: int, now: datetime) -> int:
    """The expected starts of the cell's first waiting jobs are on record. Answers of how many."""
    queued = Job.objects.filter(cell_id=cell_id, state=JobState.QUEUED)
    if not queued.filter(submitted_at__lte=now - WORTH_IT)[:1]:
        return 0
    if too_many_wait(cell_id):
        return 0
    expected = forecast(take_snapshot(cell_id, now), policy_of(cell_id))
    _keep(cell_id, expected, now)
    return len(expected)


def forecast_of(job: Job, now: datetime) -> Forecast | None:
    """What is expected of a waiting job; None where nothing is, or nothing fresh."""
    return Forecast.objects.filter(job=job, made_at__gt=now - STANDS).first()


def score(cell_id: int, now: datetime) -> Score:
    """How forecasts held of which the truth is known by now."""
    with prepared_cursor() as cursor:
        row = cursor.execute(_SCORE, {"cell": cell_id, "since": now - SCORED}).fetchone()
    assert row is not None
    return Score(*row)


def forget_old_forecasts(now: datetime) -> None:
    """Forecasts of jobs that wait no longer, made longer ago than `KEPT`, are gone."""
    Forecast.objects.filter(~Q(job__state=JobState.QUEUED), first_made_at__lt=now - KEPT).delete()


def _keep(cell_id: int, expected: Sequence[Expected], now: datetime) -> None:
    rows = [
        {"job": one.job, "p50": clock.from_ms(one.p50), "p90": clock.from_ms(one.p90)} for one in expected
    ]
    with prepared_cursor() as cursor:
        cursor.execute(_KEEP, {"cell": cell_id, "now": now, "rows": as_rows(rows)})


_KEEP = """
INSERT INTO scheduling_forecast AS f (
    job_id, cell_id, made_at, p50_at, p90_at, first_made_at, first_p50_at, first_p90_at)
SELECT j.id, %(cell)s, %(now)s, e.p50, e.p90, %(now)s, e.p50, e.p90
FROM json_to_recordset(%(rows)s::json) AS e(job bigint, p50 timestamptz, p90 timestamptz)
JOIN jobs_job j ON j.id = e.job AND j.state = 'queued'
ON CONFLICT (job_id) DO UPDATE SET made_at = excluded.made_at, p50_at = excluded.p50_at, p90_at = excluded.p90_at
"""
_SCORE = """
SELECT count(*), count(*) FILTER (WHERE began.at <= f.first_p50_at), count(*) FILTER (WHERE began.at <= f.first_p90_at)
FROM scheduling_forecast f
CROSS JOIN LATERAL (
    SELECT min(a.placed_at) AS at FROM jobs_attempt a
     WHERE a.job_id = f.job_id AND a.placed_at >= f.first_made_at) began
WHERE f.cell_id = %(cell)s AND began.at >= %(since)s
"""
