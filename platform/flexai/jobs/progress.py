"""What running work says of itself, by the batch: the newest words of each attempt, and whether it saves a checkpoint.

Promises: words count only from a replica of a live attempt on the reporting node (law 5); of several replicas that
speak, the one with the lowest index is heard. What makes no sense the agent has refused; bounds are checked here again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.errors import InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from node_agent import protocol
from scheduler_core.lifecycle import AttemptEvent, AttemptState, move_attempt

MAX_ITEMS: Final = 500
"""Words of one message (the protocol's bound)."""
SAVING_EVERY: Final = timedelta(seconds=30)
"""An attempt is `checkpointing` no more often: who saves every second would fill its history."""
_MAX_INT32: Final = 2**31 - 1
_MAX_INT64: Final = 2**63 - 1


@dataclass(slots=True)
class Heard:
    """What became of a batch."""

    heard: int = 0
    ignored: int = 0
    """Of attempts that are unknown or over, and of replicas that do not speak for theirs."""
    foreign: dict[int, list[str]] = field(default_factory=dict)
    """node → ids of attempts that it spoke about and that have no such replica there."""


def check_progress(items: Sequence[protocol.ReplicaProgress]) -> None:
    """Raises InvalidInput when the message breaks the protocol: its numbers, its size."""
    if len(items) > MAX_ITEMS:
        raise InvalidInput(
            f"A message has progress of {len(items)} replicas; at most {MAX_ITEMS} are accepted."
        )
    for item in items:
        steps = (item.step or 0, item.saved_step or 0)
        sane = (
            0 <= item.replica <= _MAX_INT32
            and all(0 <= step <= protocol.MAX_STEP for step in steps)
            and 0 <= (item.throughput_milli or 0) <= protocol.MAX_THROUGHPUT_MILLI
            and all(0 <= at <= _MAX_INT64 for at in (item.at, item.saved_at or 0))
            and math.isfinite(item.loss or 0.0)
            and len(item.problem) <= protocol.MAX_PROBLEM
        )
        if not sane:
            raise InvalidInput(f"Progress of {item.attempt[:40]!r}: a value is out of range.")


@dataclass(frozen=True, slots=True)
class _Known:
    """A live attempt, not locked, as far as words about it need it."""

    pk: int
    state: AttemptState
    nodes: Mapping[int, int]
    """Replica → node."""
    speaker: int | None
    """The replica that has spoken for it before."""
    saving_since: datetime | None

    def saves_anew(self, now: datetime) -> bool:
        """Whether that it saves now is to be told."""
        often = self.saving_since is not None and now - self.saving_since < SAVING_EVERY
        return self.state is AttemptState.RUNNING and not often


def take_progress_of(words: Mapping[int, Sequence[protocol.ReplicaProgress]], *, at: datetime) -> Heard:
    """What replicas on several nodes (primary keys) say, committed. The items have passed `check_progress`."""
    heard = Heard()
    with transaction.atomic(), prepared_cursor() as cursor:
        known = _known(cursor, {item.attempt for items in words.values() for item in items})
        newest: dict[str, protocol.ReplicaProgress] = {}
        for node_pk, items in words.items():
            for item in items:
                attempt = known.get(item.attempt)
                if attempt is not None and attempt.nodes.get(item.replica) != node_pk:
                    heard.foreign.setdefault(node_pk, []).append(item.attempt)
                elif attempt is None or not _speaks(item, attempt, newest.get(item.attempt)):
                    heard.ignored += 1
                else:
                    newest[item.attempt] = item
                    heard.heard += 1
        if newest:
            pairs = [(known[name], item) for name, item in sorted(newest.items())]
            cursor.execute(_REMEMBER, [as_rows([_row(*pair, at) for pair in pairs])], prepare=True)
            _move(cursor, pairs, at)
    return heard


def _known(cursor: Cursor, names: set[str]) -> dict[str, _Known]:
    return {
        row[0]: _Known(row[1], AttemptState(row[2]), dict(row[3]), row[4], row[5])
        for row in cursor.execute(_LIVE, [sorted(names)], prepare=True)
    }


def _speaks(item: protocol.ReplicaProgress, attempt: _Known, other: protocol.ReplicaProgress | None) -> bool:
    before = [attempt.speaker, None if other is None else other.replica]
    return all(speaker is None or item.replica <= speaker for speaker in before)


def _row(attempt: _Known, item: protocol.ReplicaProgress, now: datetime) -> dict[str, object]:
    saved_at = None if item.saved_at is None else clock.from_ms(min(item.saved_at, clock.to_ms(now)))
    return {
        "attempt": attempt.pk, "replica": item.replica, "at": now, "step": item.step,
        "throughput": item.throughput_milli, "loss": item.loss, "saved_step": item.saved_step, "saved_at": saved_at,
        "problem": item.problem.replace("\x00", ""), "saving": item.saving and attempt.saves_anew(now),
    }  # fmt: skip


def _move(cursor: Cursor, pairs: Sequence[tuple[_Known, protocol.ReplicaProgress]], now: datetime) -> None:
    """running → checkpointing for who begins to save, and back for who has saved or goes on."""
    wanted = {
        attempt.pk: item
        for attempt, item in pairs
        if (item.saving and attempt.saves_anew(now))
        or (not item.saving and attempt.state is AttemptState.CHECKPOINTING)
    }
    if not wanted:
        return
    moved: list[tuple[LockedAttempt, Happened]] = []
    for attempt in lock_attempts(cursor, wanted):
        item = wanted[attempt.pk]
        before = AttemptState.RUNNING if item.saving else AttemptState.CHECKPOINTING
        if attempt.state is before:
            moved.append((attempt, _told(attempt, item, now)))
    rows = [{"attempt": attempt.pk, "job": attempt.job_pk, "state": told.to_state} for attempt, told in moved]
    if rows:
        cursor.execute(_MOVE_JOBS, [as_rows(rows)])
        cursor.execute(_MOVE_ATTEMPTS, [as_rows(rows)])
        write_history(cursor, [told for _, told in moved])
        publish_on_commit(
            hints=[Hint("job", one.job_id, one.job_version + 1, one.team_id) for one, _ in moved]
        )


def _told(attempt: LockedAttempt, item: protocol.ReplicaProgress, now: datetime) -> Happened:
    event = AttemptEvent.CHECKPOINT if item.saving else AttemptEvent.CHECKPOINTED
    step = "" if item.saved_step is None else f" at step {item.saved_step}"
    return Happened(
        at=now, kind="attempt.checkpointing" if item.saving else "attempt.checkpointed", actor="agent",
        sentence="It saves a checkpoint." if item.saving else f"Checkpoint saved{step}; it goes on.",
        organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number,
        from_state=attempt.state, to_state=move_attempt(attempt.state, event), reason_code=event.value,
        facts={} if item.saved_step is None else {"step": item.saved_step},
    )  # fmt: skip


_LIVE = """
SELECT a.public_id, a.id, a.state, array_agg(ARRAY[r.index, r.node_id]), g.replica, g.saving_since
FROM jobs_attempt a JOIN jobs_replica r ON r.attempt_id = a.id
LEFT JOIN jobs_attemptprogress g ON g.attempt_id = a.id
WHERE a.public_id = ANY(%s) AND a.state <> 'ended' GROUP BY a.id, g.attempt_id
"""
_REMEMBER = """
INSERT INTO jobs_attemptprogress AS g (attempt_id, replica, first_at, at, step, throughput_milli, loss, saving_since,
    saved_step, saved_at, problem)
SELECT attempt, replica, at, at, step, throughput, loss, CASE WHEN saving THEN at END, saved_step, saved_at, problem
FROM json_to_recordset(%s::json) AS u(
    attempt bigint, replica int, at timestamptz, step bigint, throughput bigint, loss float8, saving boolean,
    saved_step bigint, saved_at timestamptz, problem text)
ORDER BY attempt
ON CONFLICT (attempt_id) DO UPDATE SET replica = excluded.replica, at = excluded.at, step = excluded.step,
    throughput_milli = excluded.throughput_milli, loss = excluded.loss, problem = excluded.problem,
    saving_since = coalesce(excluded.saving_since, g.saving_since),
    saved_step = CASE WHEN excluded.saved_at IS NULL THEN g.saved_step ELSE excluded.saved_step END,
    saved_at = coalesce(excluded.saved_at, g.saved_at)
WHERE excluded.replica <= g.replica
"""
_MOVE_JOBS = """
UPDATE jobs_job j SET version = j.version + 1
FROM json_to_recordset(%s::json) AS u(job bigint) WHERE j.id = u.job
"""
_MOVE_ATTEMPTS = """
UPDATE jobs_attempt a SET state = u.state, version = a.version + 1
FROM json_to_recordset(%s::json) AS u(attempt bigint, state text) WHERE a.id = u.attempt
"""
