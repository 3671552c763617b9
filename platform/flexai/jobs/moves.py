"""What people do to jobs that exist: stop, hold, resume, ask for another run; and holding until a time.

The row is locked, the lifecycle says whether the move is legal, and whoever comes second finds it moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from flexai.common import clock, source
from flexai.common.database import prepared_cursor
from flexai.common.errors import Conflict, FieldError, Forbidden, InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs import deadlines, dependencies
from flexai.jobs.history import Happened, write_history
from flexai.jobs.models import Attempt, IdleAttempt, Job, Replica
from flexai.jobs.quantities import duration_words
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action
from scheduler_core.dependencies import Standing
from scheduler_core.lifecycle import (
    FINAL_JOB_STATES,
    AttemptEvent,
    AttemptState,
    JobEvent,
    JobState,
    Outcome,
    move_attempt,
    move_job,
    status_word,
)

KEEP_MS = 3_600_000
MAX_KEEP_MS = 7 * 86_400_000
MAX_REASON = 500
"""Characters of a reason that is kept."""

ACTIONS: dict[JobState, tuple[str, ...]] = {
    JobState.HELD: ("stop", "resume"),
    JobState.QUEUED: ("stop", "hold"),
    JobState.ACTIVE: ("stop", "keep"),
    JobState.SUSPENDED: ("stop", "resume"),
    **dict.fromkeys(FINAL_JOB_STATES, ("requeue",)),
}
"""What may be done to a job in each state."""


def allowed_actions(principal: Principal, job: Job) -> list[str]:
    """The actions that the principal may take on the job as it is now."""
    if not may_act(principal, job):
        return []
    if job.state == JobState.ACTIVE and job.cancel_requested_at is not None:
        return []
    actions = list(ACTIONS[JobState(job.state)])
    if job.state == JobState.HELD and job.reason_code in dependencies.HELD_BY_DEPENDENCY:
        actions = ["stop", "hold"]
    if _pauses(job, clock.now()):
        actions.append("resume")
    if _is_too_late(job, clock.now()):
        actions.remove("requeue")
    return actions


def stop_job(principal: Principal, job: Job, *, reason: str = "") -> Job:
    """A waiting job is cancelled; of an active one the node is told to stop it, and its status is
    `cancelling` until the node confirms or the lease is over. Stopping twice changes nothing.

    Raises Forbidden (members stop their own, maintainers anyone's) and Conflict when it has ended.
    """
    return _move(principal, job, "job.stopped", reason, _stop)


def resume_job(principal: Principal, job: Job) -> Job:
    """A held or suspended job is queued; a held one whose dependencies or `start_after` have not come is held for those
    alone; one that pauses because its chips were idle may start at once.

    Raises Forbidden, and Conflict in any other state.
    """
    return _move(principal, job, "job.resumed", "", _resume)


def hold_job(principal: Principal, job: Job) -> Job:
    """A queued job waits for `resume`. Raises Forbidden, and Conflict in any other state."""
    return _move(principal, job, "job.held", "", _hold)


def requeue_job(principal: Principal, job: Job) -> Job:
    """A job that has ended is queued for another run, with its retries fresh; a deadline that is a duration counts
    from now. Raises Forbidden, and Conflict where it has not ended or its deadline has passed."""
    return _move(principal, job, "job.requeued", "", _requeue)


def keep_job(principal: Principal, job: Job, *, for_ms: int = KEEP_MS) -> Job:
    """The chips of an active job stay its own for so long, used or not: its idleness counts anew from then (T2).

    Raises Forbidden, Conflict unless it is active, and InvalidInput above `MAX_KEEP_MS`.
    """
    if not 1000 <= for_ms <= MAX_KEEP_MS:
        bounds = f"must be 1 s to {duration_words(MAX_KEEP_MS)}"
        raise InvalidInput(f"`seconds` {bounds}.", errors=[FieldError("seconds", bounds)])

    def keep(principal: Principal, job: Job, now: datetime) -> Sequence[int]:
        if job.state != JobState.ACTIVE:
            raise Conflict(f"Only an active job holds chips that can be kept; this one is {job.status}.")
        job.kept_until, job.version = now + timedelta(milliseconds=for_ms), job.version + 1
        job.sentence = f"Its chips are kept for {duration_words(for_ms)}, as {principal.user.username} asked."
        IdleAttempt.objects.filter(attempt__job=job).delete()
        return ()

    return _move(principal, job, "job.kept", "", keep)


def _pauses(job: Job, now: datetime) -> bool:
    """Whether it was suspended for idleness and may not start again yet."""
    return job.state == JobState.QUEUED and job.start_after is not None and job.start_after > now


def _is_too_late(job: Job, now: datetime) -> bool:
    """Whether it has ended, and its deadline is an instant that has passed: another run would be over at once."""
    deadline = deadlines.instant_of(job.effective_spec, now)
    return JobState(job.state) in FINAL_JOB_STATES and deadline is not None and deadline <= now


def release_due(now: datetime) -> int:
    """Held jobs whose `start_after` has passed are queued; how many. What a person holds stays held."""
    with transaction.atomic(), prepared_cursor() as cursor:
        rows = cursor.execute(_RELEASE, [now, RELEASED_AT_ONCE, now]).fetchall()
        for cell in {row[0] for row in rows}:
            hints = [Hint("job", job, version, team) for of, job, version, team in rows if of == cell]
            publish_on_commit(hints=hints, cell=cell)
    return len(rows)


RELEASED_AT_ONCE = 1000
"""Of one call; the next tick takes the next."""
_RELEASE = """
WITH due AS (
    SELECT id FROM jobs_job
    WHERE state = 'held' AND reason_code = 'start_after' AND start_after <= %s
    ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE jobs_job j SET state = 'queued', status = 'queued', version = j.version + 1,
    reason_code = 'released',
        sentence = 'Its start_after has come; it waits for the scheduler''s next cycle.'
    FROM due WHERE j.id = due.id
    RETURNING j.id, j.organization_id, j.team_id, j.cell_id, j.public_id, j.version, j.sentence
), told AS (
    INSERT INTO jobs_event (
        at, organization_id, job_id, kind, from_state, to_state, reason_code, sentence, facts, actor, cause)
    SELECT %s, organization_id, id, 'job.released', 'held', 'queued', 'released', sentence, '{}'::jsonb,
    'platform', ''
    FROM moved ORDER BY id
)
SELECT m.cell_id, m.public_id, m.version, t.public_id FROM moved m JOIN tenancy_team t ON t.id = m.team_id
"""


@transaction.atomic
def _move(
    principal: Principal,
    job: Job,
    action: str,
    reason: str,
    change: Callable[[Principal, Job, datetime], Sequence[int]],
) -> Job:
    """Lock, change, write down, announce. `change` moves the locked row and says which nodes have to hear of
    it."""
    locked = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    if not may_act(principal, locked):
        raise Forbidden(
            "Members act on their own jobs; somebody else's needs the role maintainer in its team."
        )
    reason = reason.strip()[:MAX_REASON]
    before, version = locked.state, locked.version
    now = clock.now()
    nodes = change(principal, locked, now)
    if locked.version == version:
        return _whole(locked)
    if reason:
        locked.sentence = f"{locked.sentence.rstrip('.')}: {reason}"
    locked.save(update_fields=_MOVED_FIELDS)
    _write_down(principal, locked, action, before, reason, now)
    whole = _whole(locked)
    hint = Hint("job", locked.public_id, locked.version, whole.team.public_id)
    publish_on_commit(hints=[hint], nodes=nodes, cell=locked.cell_id)
    dependencies.settle_dependents_on_commit([locked.pk])
    return whole


_MOVED_FIELDS = [
    "state", "status", "reason_code", "sentence", "version", "ended_at", "cancel_requested_at", "exit_code",
    "outcome", "failures", "started_at", "start_after", "kept_until",
    "deadline",
]  # fmt: skip


def _stop(principal: Principal, job: Job, now: datetime) -> Sequence[int]:
    who = f"by {principal.user.username}"
    if job.state == JobState.ACTIVE:
        return _stop_active(job, now, f"Stop requested {who}.")
    if JobState(job.state) in FINAL_JOB_STATES:
        raise Conflict(f"The job has ended already: {job.status}.")
    _moved(job, JobEvent.CANCEL, "cancelled", f"Cancelled {who}.")
    job.cancel_requested_at, job.ended_at, job.outcome = now, now, Outcome.CANCELLED.value
    return ()


def _stop_active(job: Job, now: datetime, sentence: str) -> Sequence[int]:
    if job.cancel_requested_at is not None:
        return ()
    attempt = (
        Attempt.objects.select_for_update(no_key=True)
        .filter(job=job)
        .exclude(state=AttemptState.ENDED.value)
        .first()
    )
    job.cancel_requested_at = now
    job.reason_code, job.sentence, job.version = "cancel_requested", sentence, job.version + 1
    if attempt is None:
        job.status = status_word(JobState.ACTIVE, None, True, True)
        return ()
    if attempt.state != AttemptState.STOPPING.value:
        attempt.state = move_attempt(AttemptState(attempt.state), AttemptEvent.STOP).value
        attempt.stopping_at = now
    attempt.stop_outcome = Outcome.CANCELLED.value
    attempt.version = F("version") + 1
    attempt.save(update_fields=["state", "stopping_at", "stop_outcome", "version"])
    job.status = status_word(JobState.ACTIVE, AttemptState(attempt.state), attempt.contact_ok, True)
    return list(Replica.objects.filter(attempt=attempt).values_list("node_id", flat=True))


def _resume(principal: Principal, job: Job, now: datetime) -> Sequence[int]:
    if job.state == JobState.HELD and _waits_for_others(job):
        return ()
    if job.state == JobState.HELD and job.start_after is not None and job.start_after > now:
        if job.reason_code != "start_after":
            job.reason_code, job.sentence = "start_after", f"Held until {job.start_after:%Y-%m-%dT%H:%M:%SZ}."
            job.version += 1
        return ()
    if _pauses(job, now):
        job.start_after, job.version = None, job.version + 1
        job.reason_code, job.sentence = "resumed", f"Resumed by {principal.user.username}."
        return ()
    event = {JobState.HELD: JobEvent.RELEASE, JobState.SUSPENDED: JobEvent.RESUME}.get(JobState(job.state))
    if event is None:
        raise Conflict(f"Only a held or suspended job can be resumed; this one is {job.status}.")
    _moved(
        job, event, "resumed", f"Resumed by {principal.user.username}; waits for the scheduler's next cycle."
    )
    return ()


def _hold(principal: Principal, job: Job, now: datetime) -> Sequence[int]:
    if job.state == JobState.HELD and job.reason_code != "hold":
        job.reason_code, job.version = "hold", job.version + 1
        job.sentence = f"Held by {principal.user.username} until somebody resumes it."
        return ()
    if job.state != JobState.QUEUED:
        raise Conflict(f"Only a queued job can be held; this one is {job.status}.")
    _moved(job, JobEvent.HOLD, "hold", f"Held by {principal.user.username} until somebody resumes it.")
    return ()


def _waits_for_others(job: Job) -> bool:
    """Whether its dependencies alone hold it once nobody else does. Raises Conflict when they held it already."""
    found = dependencies.dependencies_of(job)
    if all(one.standing is Standing.MET for one in found):
        return False
    if job.reason_code in dependencies.HELD_BY_DEPENDENCY:
        raise Conflict(f"Its dependencies hold it, and `resume` does not change them. {job.sentence}")
    job.reason_code, job.version = dependencies.WAITS, job.version + 1
    job.sentence = dependencies.first_sentence(found)
    dependencies.settle_on_commit([job.pk])
    return True


def _requeue(principal: Principal, job: Job, now: datetime) -> Sequence[int]:
    if JobState(job.state) not in FINAL_JOB_STATES:
        raise Conflict(f"Only a job that has ended can be requeued; this one is {job.status}.")
    if _is_too_late(job, now):
        raise Conflict(
            f"Its deadline, {job.deadline:%Y-%m-%dT%H:%M:%SZ}, has passed; submit it anew with another."
        )
    job.deadline = deadlines.instant_of(job.effective_spec, now)
    _moved(job, JobEvent.REQUEUE, "requeued", f"Requeued by {principal.user.username}.")
    job.ended_at = job.cancel_requested_at = job.exit_code = job.started_at = None
    job.outcome, job.failures = "", 0
    return ()


def _moved(job: Job, event: JobEvent, code: str, sentence: str) -> None:
    state = move_job(JobState(job.state), event)
    job.state = state.value
    job.status = status_word(state, None, True, False)
    job.reason_code, job.sentence = code, sentence
    job.version += 1


def _write_down(principal: Principal, job: Job, action: str, before: str, reason: str, now: datetime) -> None:
    with prepared_cursor() as cursor:
        write_history(
            cursor,
            [
                Happened(
                    at=now,
                    kind=action,
                    sentence=job.sentence,
                    actor=principal.label,
                    organization=job.organization_id,
                    job=job.pk,
                    attempt=job.attempts_count or None,
                    from_state=before,
                    to_state=job.state,
                    reason_code=job.reason_code,
                    cause=source.request_id(),
                )
            ],
        )
    audit.record(principal, action, job, before={"state": before}, after={"state": job.state}, reason=reason)


def _whole(job: Job) -> Job:
    """The row with what an answer shows of it."""
    return Job.objects.select_related("team", "user", "set").get(pk=job.pk)


def may_act(principal: Principal, job: Job) -> bool:
    """Whether the principal may steer this job."""
    if job.organization_id != principal.organization.pk:
        return False
    is_own = job.user_id == principal.user.pk
    return principal.may(Action.STEER_OWN if is_own else Action.STEER_ANY, job.team_id)
