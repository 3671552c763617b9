"""Deadlines: the instant by which a job has to be over, what is refused of it at submit, and what the tick does.

A deadline ends a job wherever it is: held, queued, suspended or running. It does not change its place in the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.errors import FieldError, InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.dependencies import settle_dependents_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from scheduler_core.lifecycle import DEADLINE, AttemptEvent, AttemptState, Outcome, move_attempt, status_word

TIMED_OUT_AT_ONCE: Final = 1000
"""Jobs of one call, waiting ones and running ones each; the next tick takes the next."""


def instant_of(effective: Mapping[str, Any], submitted: datetime) -> datetime | None:
    """The instant that the spec names, or so long after the submit as it says; None without a deadline."""
    if effective.get("deadline") is not None:
        return datetime.fromisoformat(effective["deadline"])
    if effective.get("deadline_ms") is not None:
        return submitted + timedelta(milliseconds=effective["deadline_ms"])
    return None


def check(effective: Mapping[str, Any], now: datetime) -> None:
    """Raises InvalidInput for a deadline that has passed, or that comes before the job may start."""
    deadline = instant_of(effective, now)
    if deadline is None:
        return
    start_after = effective.get("start_after")
    first = now if start_after is None else max(now, datetime.fromisoformat(start_after))
    if deadline > first:
        return
    wrong = "has passed" if deadline <= now else "is no later than its `start_after`"
    errors = [
        FieldError("deadline", wrong, "give a later instant, or a duration from the submit, such as 4h")
    ]
    raise InvalidInput(f"The deadline {deadline:%Y-%m-%dT%H:%M:%SZ} {wrong}.", errors=errors)


def time_out_due(now: datetime) -> int:
    """Jobs that wait past their deadline have timed out, and those that run past it are being stopped for it; how many
    moved. Safe to call at any time."""
    return _end_waiting(now) + _stop_running(now)


@transaction.atomic
def _end_waiting(now: datetime) -> int:
    with prepared_cursor() as cursor:
        rows = cursor.execute(_END_WAITING, {"now": now, "limit": TIMED_OUT_AT_ONCE}).fetchall()
    publish_on_commit(hints=[Hint("job", job, version, team) for _, _, job, version, team in rows])
    for cell in {row[1] for row in rows}:
        publish_on_commit(cell=cell)
    settle_dependents_on_commit([row[0] for row in rows])
    return len(rows)


@transaction.atomic
def _stop_running(now: datetime) -> int:
    with prepared_cursor() as cursor:
        due = cursor.execute(_RUNNING, [now, TIMED_OUT_AT_ONCE]).fetchall()
        attempts = [one for one in lock_attempts(cursor, [row[0] for row in due]) if _is_to_stop(one, now)]
        if not attempts:
            return 0
        rows = as_rows([_stopped(attempt) for attempt in attempts])
        _stop(cursor, rows, attempts, now)
    hints = [Hint("job", one.job_id, one.job_version + 1, one.team_id) for one in attempts]
    nodes = sorted({replica.node_pk for attempt in attempts for replica in attempt.replicas})
    publish_on_commit(hints=hints, nodes=nodes)
    return len(attempts)


def _is_to_stop(attempt: LockedAttempt, now: datetime) -> bool:
    """What is being stopped for another reason ends for that; its job times out then."""
    goes_on = attempt.state is not AttemptState.STOPPING and not attempt.cancel_requested
    return goes_on and attempt.is_past_deadline(now)


def _stopped(attempt: LockedAttempt) -> dict[str, object]:
    state = move_attempt(attempt.state, AttemptEvent.STOP)
    return {
        "id": attempt.pk, "job": attempt.job_pk, "sentence": _SENTENCE,
        "status": status_word(attempt.job_state, state, attempt.contact_ok, False),
    }  # fmt: skip


_SENTENCE = "Stopped at its deadline."


def _stop(cursor: Cursor, rows: str, attempts: list[LockedAttempt], now: datetime) -> None:
    for statement in (_STOP_ATTEMPTS, _SHOW_STOPPING):
        cursor.execute(
            statement, {"now": now, "rows": rows, "code": DEADLINE, "outcome": Outcome.TIMED_OUT.value}
        )
    write_history(
        cursor,
        [
            Happened(
                at=now, kind="attempt.stopping", sentence=_SENTENCE, actor="platform", job=one.job_pk,
                organization=one.organization_pk, attempt=one.number, from_state=one.state,
                to_state=move_attempt(one.state, AttemptEvent.STOP), reason_code=DEADLINE,
            )
            for one in attempts
        ],
    )  # fmt: skip


_END_WAITING = """
WITH due AS (
    SELECT id, state, attempts_count FROM jobs_job
    WHERE state IN ('held', 'queued', 'suspended') AND deadline <= %(now)s
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
    UPDATE jobs_job j SET state = 'timed_out', status = 'timed_out', version = j.version + 1, ended_at = %(now)s,
        outcome = 'timed_out', reason_code = 'deadline', sentence = 'Its deadline passed before it could '
            || CASE WHEN due.attempts_count > 0 THEN 'go on' ELSE 'start' END || '.'
    FROM due WHERE j.id = due.id
    RETURNING j.id, j.organization_id, j.team_id, j.cell_id, j.public_id, j.version, j.sentence, due.state AS before,
        j.deadline
), told AS (
    INSERT INTO jobs_event (
        at, organization_id, job_id, kind, from_state, to_state, reason_code, sentence, facts, actor, cause)
    SELECT %(now)s, organization_id, id, 'job.timed_out', before, 'timed_out', 'deadline', sentence,
        jsonb_build_object('deadline', deadline), 'platform', ''
    FROM moved ORDER BY id
)
SELECT m.id, m.cell_id, m.public_id, m.version, t.public_id FROM moved m JOIN tenancy_team t ON t.id = m.team_id
"""
_RUNNING = """
SELECT a.id FROM jobs_job j JOIN jobs_attempt a ON a.job_id = j.id AND a.state NOT IN ('stopping', 'ended')
WHERE j.state = 'active' AND j.deadline <= %s AND j.cancel_requested_at IS NULL
ORDER BY j.id LIMIT %s
"""
_STOP_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'stopping', stop_outcome = %(outcome)s, stopping_at = %(now)s,
    reason_code = %(code)s, sentence = u.sentence, version = a.version + 1
FROM json_to_recordset(%(rows)s::json) AS u(id bigint, sentence text) WHERE a.id = u.id
"""
_SHOW_STOPPING = """
UPDATE jobs_job j SET status = u.status, reason_code = %(code)s, sentence = u.sentence, version = j.version + 1
FROM json_to_recordset(%(rows)s::json) AS u(job bigint, status text, sentence text) WHERE j.id = u.job
"""
