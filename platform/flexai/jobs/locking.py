"""Attempts and replicas read under lock: the working copies of everything that moves or ends an attempt.

Lock order everywhere (law 8): jobs, attempts, replicas, nodes, chips, team use; each by ascending id. An attempt is
only ever locked together with its job, so going job by job keeps that order. Locks are NO KEY UPDATE: rows that
merely refer to a locked one need not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from flexai.common.database import Cursor
from scheduler_core.lifecycle import AttemptState, JobState


@dataclass(slots=True)
class LockedReplica:
    """A replica of a locked attempt; changed in place while reports are folded in."""

    pk: int
    attempt_pk: int
    index: int
    node_pk: int
    node_name: str
    state: str
    outcome: str
    exit_code: int | None
    sentence: str
    cpu_milli: int
    memory_mib: int
    log_size: int | None
    image: str


@dataclass(slots=True)
class LockedAttempt:
    """A live attempt with its job; changed in place while reports are folded in."""

    pk: int
    attempt_id: str
    """Public id: the fence."""
    number: int
    state: AttemptState
    stop_outcome: str
    contact_ok: bool
    exit_code: int | None
    reason_code: str
    sentence: str
    placed_at: datetime
    running_at: datetime | None
    stopping_at: datetime | None
    cpu_time_ms: int
    memory_peak_mib: int
    use_permille: int | None
    energy_mj: int | None
    job_pk: int
    job_id: str
    job_state: JobState
    job_version: int
    failures: int
    cancel_requested: bool
    retry: Mapping[str, Any]
    """As in the effective spec."""
    cell_pk: int
    organization_pk: int
    team_pk: int
    team_id: str
    deadline: datetime | None
    """Its job's."""
    was_sized_down: bool
    """It was placed with less memory than was asked for (T5)."""
    saved_at: datetime | None
    """Its last observed checkpoint, where its job goes on from one (R3)."""
    replicas: list[LockedReplica] = field(default_factory=list)

    def is_past_deadline(self, now: datetime) -> bool:
        """Whether its job has to be over."""
        return self.deadline is not None and self.deadline <= now


_ATTEMPTS = """
SELECT a.id, a.public_id, a.number, a.state, a.stop_outcome, a.contact_ok, a.exit_code, a.reason_code, a.sentence,
       a.placed_at, a.running_at, a.stopping_at, a.cpu_time_ms, a.memory_peak_mib, a.use_permille, a.energy_mj,
       j.id, j.public_id, j.state, j.version, j.failures, j.cancel_requested_at IS NOT NULL,
       (j.effective_spec->'retry')::text, a.cell_id, j.organization_id, j.team_id, t.public_id, j.deadline,
       j.effective_spec ? 'asked_memory_mib',
       CASE WHEN coalesce(j.effective_spec->>'checkpoint_path', '') <> '' THEN g.saved_at END
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
LEFT JOIN jobs_attemptprogress g ON g.attempt_id = a.id
WHERE a.{column} = ANY(%s) AND a.state <> 'ended'
ORDER BY j.id, a.id FOR NO KEY UPDATE OF j, a
"""
_BY_PK = _ATTEMPTS.format(column="id")
_BY_PUBLIC_ID = _ATTEMPTS.format(column="public_id")

_REPLICAS = """
SELECT r.id, r.attempt_id, r.index, r.node_id, n.name, r.state, r.outcome, r.exit_code, r.sentence,
       r.cpu_milli, r.memory_mib, r.log_size, r.image
FROM jobs_replica r JOIN cluster_node n ON n.id = r.node_id
WHERE r.attempt_id = ANY(%s) ORDER BY r.id FOR NO KEY UPDATE OF r
"""


def lock_attempts(cursor: Cursor, pks: Iterable[int]) -> list[LockedAttempt]:
    """Those of the attempts that are live, with job and replicas, locked until the transaction ends."""
    return _locked(cursor, _BY_PK, sorted(set(pks)))


def lock_attempts_named(cursor: Cursor, attempt_ids: Iterable[str]) -> list[LockedAttempt]:
    """The same by public ids; what is unknown or ended is left out."""
    return _locked(cursor, _BY_PUBLIC_ID, sorted(set(attempt_ids)))


def _locked(cursor: Cursor, statement: str, keys: Sequence[object]) -> list[LockedAttempt]:
    attempts = [_attempt(row) for row in cursor.execute(statement, [list(keys)], prepare=True)]
    by_pk = {attempt.pk: attempt for attempt in attempts}
    if by_pk:
        for row in cursor.execute(_REPLICAS, [list(by_pk)], prepare=True):
            replica = LockedReplica(*row)
            by_pk[replica.attempt_pk].replicas.append(replica)
    for attempt in attempts:
        attempt.replicas.sort(key=lambda replica: replica.index)
    return attempts


def _attempt(row: tuple[Any, ...]) -> LockedAttempt:
    attempt = LockedAttempt(*row)
    attempt.state = AttemptState(attempt.state)
    attempt.job_state = JobState(attempt.job_state)
    attempt.retry = msgspec.json.decode(row[22] or b"{}")
    return attempt
