"""Whether a job is likely to be over by its deadline: its expected start, and how long such jobs run (X2, X4, B3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from flexai.common import clock
from flexai.jobs.creation import Prepared
from flexai.jobs.deadlines import instant_of
from flexai.jobs.models import Attempt, Job
from flexai.jobs.quantities import duration_words
from flexai.scheduling.models import Forecast
from flexai.scheduling.policies import policy_of
from flexai.scheduling.predictions import learned
from flexai.scheduling.rows import JobRow
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.principals import Principal
from scheduler_core.forecast import forecast
from scheduler_core.lifecycle import AT_WORK, JobState

Starts = tuple[datetime, datetime]
"""When a job is expected to start, in one case of two and in nine of ten."""
_NEW = 2**62
"""The id of a job that is not there yet: it comes after all others."""


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


def starts_of_new(principal: Principal, prepared: Prepared, now: datetime) -> Starts | None:
    """When it would be expected to start, were it submitted now: the engine is asked on a copy of the cell (X4). None
    where that is not in sight."""
    snapshot = take_snapshot(prepared.cell, now)
    pools = {pool.name: pool.id for pool in snapshot.pools}
    job = _row_of(principal, prepared, now).as_engine(pools, learned(prepared.cell))
    copy = replace(snapshot, jobs=(*snapshot.jobs, job))
    found = next((one for one in forecast(copy, policy_of(prepared.cell)) if one.job == _NEW), None)
    if found is None:
        return None
    first = prepared.effective["start_after"]
    first = now if first is None else max(now, datetime.fromisoformat(first))
    return max(clock.from_ms(found.p50), first), max(clock.from_ms(found.p90), first)


def _row_of(principal: Principal, prepared: Prepared, now: datetime) -> JobRow:
    """The row that a submit would write, as the feed would read it."""
    effective = prepared.effective
    raw = {
        key: msgspec.Raw(msgspec.json.encode(effective[key]))
        for key in ("resources", "replicas", "alternatives")
    }
    return JobRow(
        id=_NEW, changed=0, name=effective["name"], team=prepared.team.pk, organization=principal.organization.pk,
        user=principal.user.pk, priority=effective["priority"], preemptible=effective["preemptible"],
        submitted=clock.to_ms(now), start_after=None, version=1, set=None, set_cap=None,
        min_runtime=effective["min_runtime_ms"], max_duration=effective["max_duration_ms"],
        node_pools=effective["node_pools"], attained=0, times_taken=0,
        checkpoint=bool(effective["checkpoint_path"]), endless=effective["type"] != "task",
        choose=effective["choose"], speeds=None, restart_cost=0,
        image=effective["image"] or "", **raw,
    )  # fmt: skip


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
