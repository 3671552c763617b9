"""What nodes report of work that waits for its image there: told in its history, and in its sentence until it is taken
up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flexai.common import clock
from flexai.common.database import Cursor, as_rows
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import MAX_SENTENCE, Happened, write_history
from flexai.jobs.locking import LockedAttempt
from node_agent import protocol

PULLING = "pulling"


def take_pulls(
    cursor: Cursor, pulls: Sequence[tuple[LockedAttempt, protocol.ReplicaReport]], now: datetime
) -> None:
    """The attempts, which are locked, say what their nodes are fetching. Each sentence stands in the history once,
    however many replicas and reports say it; one about a replica that was taken up meanwhile changes nothing.
    """
    told: dict[tuple[int, str], Happened] = {}
    attempts = {}
    for attempt, item in pulls:
        sentence = item.sentence.replace("\x00", "")[:MAX_SENTENCE]
        if any(one.index == item.replica and one.state == "placed" for one in attempt.replicas):
            told[attempt.job_pk, sentence] = _happened(attempt, item, sentence, now)
            attempts[attempt.job_pk] = attempt
    if not told:
        return
    asked = [{"job": job, "attempt": attempts[job].number, "sentence": said} for job, said in told]
    new = [told[job, said] for job, said in cursor.execute(_NEW, [PULLING, as_rows(asked)]).fetchall()]
    if not new:
        return
    last = {one.job: one.sentence for one in new if one.job is not None}
    cursor.execute(_SAY, [PULLING, as_rows([{"job": job, "sentence": said} for job, said in last.items()])])
    write_history(cursor, new)
    for job in last:
        attempts[job].job_version += 1
    publish_on_commit(
        hints=[
            Hint("job", one.job_id, one.job_version, one.team_id) for one in (attempts[job] for job in last)
        ]
    )


def _happened(attempt: LockedAttempt, item: protocol.ReplicaReport, sentence: str, now: datetime) -> Happened:
    at = clock.from_ms(item.at) if 0 < item.at < clock.to_ms(now) else now
    return Happened(
        at=max(at, attempt.placed_at), kind="attempt.pulling", sentence=sentence, actor="agent",
        organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number, from_state=attempt.state,
        to_state=attempt.state, reason_code=PULLING,
    )  # fmt: skip


_NEW = """
SELECT u.job, u.sentence
  FROM (SELECT 'attempt.' || %s::text AS kind, r.* FROM json_to_recordset(%s::json) AS r(
            job bigint, attempt int, sentence text)) u
 WHERE NOT EXISTS (SELECT 1 FROM jobs_event e WHERE e.job_id = u.job AND e.attempt = u.attempt AND e.kind = u.kind
                                                AND e.sentence = u.sentence)"""
_SAY = """
UPDATE jobs_job j SET sentence = u.sentence, reason_code = %s, version = j.version + 1
  FROM json_to_recordset(%s::json) AS u(job bigint, sentence text) WHERE j.id = u.job"""
