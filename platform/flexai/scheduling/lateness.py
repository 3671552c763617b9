"""Whether a job is likely to be over by its deadline: its expected start, and how long such jobs run (X2, X4, B3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flexai.jobs.creation import Prepared
from flexai.jobs.deadlines import instant_of
from flexai.jobs.models import Attempt, Job
from flexai.jobs.quantities import duration_words
from flexai.scheduling.models import Forecast
from flexai.scheduling.predictions import learned
from flexai.scheduling.trials import Starts
from scheduler_core.lifecycle import AT_WORK, JobState


@dataclass(frozen=True, slots=True)
class Run:
    """How long the job is expected to run, in milliseconds, in one case of two and in nine of ten; None: nobody knows,
    and it needs some time at least."""

    p50: int | None
    p90: int | None


def late_reasons(job: Job, expected: Forecast | None, now: datetime) -> list[dict[str, Any]]:
    """Why the job is likely to miss its deadline, or may, as a reason; nothing where it is not."""
    if job.deadline is None:
        return []
    run = run_of(job.cell_id, job.user_id, job.team_id, job.name, job.effective_spec)
    if job.state == JobState.QUEUED and expected is not None:
        starts = expected.p50_at, expected.p90_at
    elif job.state == JobState.ACTIVE:
        began = (
            Attempt.objects.filter(job=job, state__in=AT_WORK).values_list("running_at", flat=True).first()
        )
        if began is None:
            return []
        starts = began, began
    else:
        return []
    return _reasons(starts, run, job.deadline, now)


def warnings_of(prepared: Prepared, starts: Starts | None, run: Run, now: datetime) -> list[str]:
    """What is to be feared for the deadline of a spec that is not submitted yet and would start then; nothing without a
    deadline."""
    deadline = instant_of(prepared.effective, now)
    if deadline is None:
        return []
    if starts is None:
        return ["When it would start is not in sight, so nobody can say whether it meets its deadline."]
    return [reason["sentence"] for reason in _reasons(starts, run, deadline, now)]


def run_of(cell_id: int, user: int, team: int, name: str, effective: Mapping[str, Any]) -> Run:
    """What was learned, within `max_duration`; without it `max_duration`."""
    bound: int | None = effective.get("max_duration_ms")
    prediction = learned(cell_id).of(user, team, name, effective.get("image") or "")
    if prediction is None:
        return Run(bound, bound)
    return Run(_within(prediction.p50, bound), _within(prediction.p90, bound))


def _within(learned_ms: int, bound: int | None) -> int:
    return learned_ms if bound is None else min(learned_ms, bound)


def _reasons(starts: Starts, run: Run, deadline: datetime, now: datetime) -> list[dict[str, Any]]:
    for start, length, word in ((starts[0], run.p50, "is expected to"), (starts[1], run.p90, "may")):
        end = start + timedelta(milliseconds=length or 0)
        if max(end, now) >= deadline:
            return [_reason(start, length, end, deadline, word, now)]
    return []


def _reason(
    start: datetime, length: int | None, end: datetime, deadline: datetime, word: str, now: datetime
) -> dict[str, Any]:
    begins = f"{'starts' if start >= now else 'started'} at {start:%Y-%m-%d %H:%M} UTC"
    runs = "" if length is None else f" and such a job runs for {duration_words(length)}"
    return {
        "code": "deadline_at_risk",
        "sentence": f"It {word} miss its deadline, {deadline:%Y-%m-%d %H:%M} UTC: it {begins}{runs}.",
        "facts": {
            "starts_at": start.isoformat(), "run_ms": length, "ends_at": end.isoformat(),
            "deadline": deadline.isoformat(),
        },
    }  # fmt: skip
