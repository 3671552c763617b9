"""The history of jobs, written by the batch in the transaction that moves them (law 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from flexai.common.database import Writes, as_rows

MAX_SENTENCE = 2000
"""Characters of a sentence that is kept; an agent's text is cut here."""

_INSERT = """
INSERT INTO jobs_event (at, organization_id, job_id, attempt, kind, from_state, to_state, reason_code, sentence,
    facts, actor, cause)
SELECT at, organization, job, attempt, kind, from_state, to_state, reason_code, sentence, facts, actor, cause
FROM json_to_recordset(%s::json) AS u(
    at timestamptz, organization bigint, job bigint, attempt int, kind text, from_state text,
    to_state text, reason_code text, sentence text, facts jsonb, actor text, cause text)
"""


class Happened(msgspec.Struct, frozen=True):
    """One row of a job's history."""

    at: datetime
    kind: str
    """`attempt.running`, `job.succeeded` …"""
    sentence: str
    actor: str
    organization: int
    job: int
    attempt: int | None = None
    """Attempt number."""
    from_state: str = ""
    to_state: str = ""
    reason_code: str = ""
    facts: Mapping[str, object] = {}
    cause: str = ""


def write_history(cursor: Writes, rows: Sequence[Happened]) -> None:
    """The rows are in the history once the transaction commits."""
    if rows:
        cursor.execute(_INSERT, [as_rows(rows)], prepare=True)
