"""What people ask of the scheduler: why a job waits, and how the last cycles went."""

from __future__ import annotations

from typing import Any

from flexai.common import clock
from flexai.jobs.dependencies import Found, dependencies_of
from flexai.jobs.models import Job
from flexai.scheduling.forecasts import forecast_of
from flexai.scheduling.lateness import late_reasons
from flexai.scheduling.models import Cycle, Recording, Verdict
from flexai.scheduling.policies import policy_of
from flexai.scheduling.snapshot import take_snapshot, too_many_wait
from scheduler_core.dependencies import Standing
from scheduler_core.explain import Explanation, NotWaiting, explain
from scheduler_core.lifecycle import JobState


def explain_job(job: Job) -> dict[str, Any]:
    """Status, sentence, reasons, since when, the place in the order (from 1) with the number of jobs ahead, and when
    it is expected to start.

    Position and number are None for a job that does not wait, or where too many wait; the forecast where there is none.
    """
    answer: dict[str, Any] = {
        "status": job.status,
        "sentence": job.sentence,
        "reasons": [],
        "since": _since(job),
        "queue_position": None,
        "ahead": None,
        "forecast": None,
    }
    if job.state == JobState.HELD:
        answer["reasons"] = [
            _as_reason(one) for one in dependencies_of(job) if one.standing is not Standing.MET
        ]
    if job.state != JobState.QUEUED:
        answer["reasons"] += late_reasons(job, None, clock.now())
        return answer
    answer["forecast"] = forecast_of(job, clock.now())
    explanation = _explanation(job)
    if explanation is not None:
        answer.update(queue_position=explanation.position, ahead=len(explanation.ahead))
        answer["reasons"] = [
            {"code": reason.code, "sentence": reason.sentence(), "facts": reason.facts()}
            for reason in explanation.reasons
        ] + [
            {
                "code": f"would_start_{change.change}",
                "sentence": change.sentence,
                "facts": {"value": change.value},
            }
            for change in explanation.would_start
        ]
        if explanation.reasons:
            answer["sentence"] = explanation.reasons[0].sentence()
    verdict = Verdict.objects.filter(job=job).first()
    if verdict is not None:
        answer["since"] = verdict.since
        if not answer["reasons"]:
            answer.update(sentence=verdict.sentence, reasons=verdict.reasons)
    answer["reasons"] = [*answer["reasons"], *late_reasons(job, answer["forecast"], clock.now())]
    return answer


def _as_reason(found: Found) -> dict[str, Any]:
    facts = {"id": found.public_id, "name": found.name, "on": found.after.value, "status": found.status}
    return {"code": f"dependency_{found.standing.value}", "sentence": found.sentence(), "facts": facts}


def last_recordings(cell_id: int, limit: int) -> list[Recording]:
    """The newest recordings without their data, newest first."""
    return list(Recording.objects.filter(cell_id=cell_id).defer("data").order_by("-id")[:limit])


def last_cycles(cell_id: int, limit: int) -> list[Cycle]:
    """The newest cycles on record, newest first. A cycle that merely ran keeps one row, the newest."""
    return list(Cycle.objects.filter(cell_id=cell_id).order_by("-id")[:limit])


def _since(job: Job) -> Any:
    return job.ended_at or (job.started_at if job.state == JobState.ACTIVE else None) or job.submitted_at


def _explanation(job: Job) -> Explanation | None:
    """The engine's own answer on the rows as they are; None when it does not wait for the engine or too many
    do."""
    if too_many_wait(job.cell_id):
        return None
    try:
        return explain(take_snapshot(job.cell_id, clock.now()), policy_of(job.cell_id), job.pk)
    except NotWaiting:
        return None
