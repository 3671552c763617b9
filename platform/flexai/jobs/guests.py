"""What nodes report of guests that make way (T3): halted while the owner of their chips is back, and let go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flexai.common import clock
from flexai.common.database import Cursor, as_rows
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import MAX_SENTENCE, Happened, write_history
from flexai.jobs.locking import LockedAttempt
from node_agent import protocol


def take_notes(
    cursor: Cursor, notes: Sequence[tuple[LockedAttempt, protocol.ReplicaReport]], now: datetime
) -> None:
    """Guests are on record as halted or not, by the latest note; their histories say each step once, however
    often it is reported. The attempts are locked; a note about work that is no guest changes nothing.
    """
    if not notes:
        return
    rows = [
        {
            "attempt": attempt.pk,
            "kind": f"attempt.{item.note}",
            "at": _instant(item, attempt, now),
            "halted": item.note == "paused",
        }
        for attempt, item in notes
    ]
    new = {
        (pk, kind, at) for pk, kind, at in cursor.execute(_NEW, [as_rows(rows)])
    }  # fmt: skip
    fresh = [
        (attempt, item, row)
        for (attempt, item), row in zip(notes, rows, strict=True)
        if (row["attempt"], row["kind"], row["at"]) in new
    ]
    if not fresh:
        return
    last = {row["attempt"]: row for _, _, row in fresh}
    cursor.execute(_HALT, [as_rows(list(last.values()))])
    said = {attempt.job_pk: (attempt, item) for attempt, item, _ in fresh}
    told = [{"job": job, "sentence": item.sentence[:MAX_SENTENCE]} for job, (_, item) in said.items()]
    cursor.execute(_SAY, [as_rows(told)])
    write_history(cursor, [_told(attempt, item, row["at"]) for attempt, item, row in fresh])
    for attempt, _ in said.values():
        attempt.job_version += 1
    publish_on_commit(
        hints=[Hint("job", one.job_id, one.job_version, one.team_id) for one, _ in said.values()]
    )


def _instant(item: protocol.ReplicaReport, attempt: LockedAttempt, now: datetime) -> datetime:
    """When it was, by the node's clock, but not before the attempt and not after now."""
    at = clock.from_ms(item.at) if 0 < item.at < clock.to_ms(now) else now
    return max(at, attempt.placed_at)


def _told(attempt: LockedAttempt, item: protocol.ReplicaReport, at: object) -> Happened:
    assert isinstance(at, datetime)
    return Happened(
        at=at, kind=f"attempt.{item.note}", sentence=item.sentence.replace("\x00", "")[:MAX_SENTENCE], actor="agent",
        organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number, from_state=attempt.state,
        to_state=attempt.state, reason_code=item.note,
    )  # fmt: skip


_NEW = """
SELECT u.attempt, u.kind, u.at FROM json_to_recordset(%s::json) AS u(attempt bigint, kind text, at timestamptz)
  JOIN jobs_guest g ON g.attempt_id = u.attempt JOIN jobs_attempt a ON a.id = u.attempt
 WHERE NOT EXISTS (SELECT 1 FROM jobs_event e
                    WHERE e.job_id = a.job_id AND e.attempt = a.number AND e.kind = u.kind AND e.at = u.at)"""
_HALT = """
UPDATE jobs_guest g SET paused_at = CASE WHEN u.halted THEN u.at END
  FROM json_to_recordset(%s::json) AS u(attempt bigint, at timestamptz, halted boolean)
 WHERE g.attempt_id = u.attempt"""
_SAY = """
UPDATE jobs_job j SET sentence = u.sentence, version = j.version + 1
  FROM json_to_recordset(%s::json) AS u(job bigint, sentence text) WHERE j.id = u.job"""
