"""Looks at what running work uses of its chips, and does what its own policy says of idle ones (T1, T2).

Every ten seconds the last whole windows of telemetry are laid over the live attempts. Who uses less than its policy
asks for has a row; the engine's ladder says what is due; each step stands in the job's history with its numbers.
What cannot be measured is not idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction

from flexai.cluster.telemetry import WINDOW_MS, Window, last_windows
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from flexai.jobs.quantities import duration_words
from node_agent.protocol import replica_key
from scheduler_core.demand import Demand, IdlePolicy, Rung, Step, below_since, steps
from scheduler_core.lifecycle import AT_WORK, AttemptEvent, AttemptState, Outcome, move_attempt, status_word

LOOK_SECONDS = WINDOW_MS / 1000
"""How often: as often as there is something new to see."""
STALE_MS = 3 * WINDOW_MS
"""A window that ended longer ago, or that took longer, says nothing about now."""


@dataclass(slots=True)
class _Running:
    """A live attempt with chips, what it asks of its use, and what was known before."""

    pk: int
    running_at: int
    policy: IdlePolicy
    kept_until: int | None
    before: int | None
    notified: int | None
    told_use: int | None
    suspensions: int
    replicas: list[tuple[int, str | None, int, list[int]]] = field(default_factory=list)
    """Node, key in hex where its own processor time counts, milli, chip indices."""


def look_at_demand(cell_id: int, now: datetime) -> tuple[Step, ...]:
    """What running attempts use is on record where it is little, and every step that is due was taken. Answers these
    steps. Raises redis errors."""
    running = _running_in(cell_id)
    windows = last_windows(sorted({replica[0] for attempt in running for replica in attempt.replicas}))
    at = clock.to_ms(now)
    demands: list[tuple[Demand, IdlePolicy]] = []
    for attempt in running:
        demand = _demand_of(attempt, windows, at)
        if demand is not None:
            demands.append((demand, attempt.policy))
    due = steps(demands, at)
    with transaction.atomic(), prepared_cursor() as cursor:
        locked = {one.pk: one for one in lock_attempts(cursor, [step.attempt for step in due])}
        standing = tuple(step for step in due if _still_runs(locked.get(step.attempt)))
        _write_down(cursor, cell_id, running, {demand.attempt: demand for demand, _ in demands})
        _take_steps(cursor, standing, locked, now)
    return standing


def _running_in(cell_id: int) -> list[_Running]:
    found: dict[int, _Running] = {}
    with prepared_cursor() as cursor:
        for row in cursor.execute(_RUNNING, [cell_id]):
            (pk, public_id, running_at, policy, kept, before, notified, use, suspensions, node, index, own, milli,
             chips) = row  # fmt: skip
            attempt = found.setdefault(
                pk, _Running(pk, running_at, _policy(policy), kept, before, notified, use, suspensions)
            )
            key = replica_key(public_id, index).hex() if own else None
            attempt.replicas.append((node, key, milli, chips))
    return list(found.values())


def _policy(given: str | None) -> IdlePolicy:
    read: Mapping[str, Any] | None = None if given is None else msgspec.json.decode(given)
    if read is None:
        return IdlePolicy()
    return IdlePolicy(read["below_permille"], read["window_ms"], Rung(read["action"]))


def _demand_of(attempt: _Running, windows: Mapping[int, Window], now: int) -> Demand | None:
    """Its measured demand; None where nothing was measured since it runs, and so nothing changes."""
    seen = [windows.get(node) for node, *_ in attempt.replicas]
    whole = [window for window in seen if window is not None and window.since >= attempt.running_at]
    if len(whole) < len(seen) and attempt.before is None:
        return None
    use = _use(attempt, windows)
    fresh = all(
        now - window.until <= STALE_MS and window.until - window.since <= STALE_MS for window in whole
    )
    kept = attempt.kept_until is not None and now < attempt.kept_until
    if use is None or not whole or not fresh or kept:
        return Demand(attempt.pk, 0, None)
    since = below_since(attempt.before, use, attempt.policy, max(window.since for window in whole))
    return Demand(
        attempt.pk, use, since, attempt.notified if since is not None else None, attempt.kept_until,
        attempt.suspensions,
    )  # fmt: skip


def _use(attempt: _Running, windows: Mapping[int, Window]) -> int | None:
    """Permille of all that it holds; None where a replica is not measured."""
    used = held = 0
    for node, key, milli, chips in attempt.replicas:
        window = windows.get(node)
        if window is None:
            return None
        if key is not None:
            mine = window.replicas.get(key)
            if mine is None:
                return None
            use = min(1000, mine * 1000 // milli)
        else:
            found = [window.chips[index] for index in chips if index in window.chips]
            if len(found) < len(chips):
                return None
            use = sum(found) // len(found)
        used, held = used + use * milli, held + milli
    return used // held if held else None


def _still_runs(attempt: LockedAttempt | None) -> bool:
    return attempt is not None and attempt.state in AT_WORK and not attempt.cancel_requested


def _write_down(
    cursor: Cursor, cell_id: int, running: Iterable[_Running], demands: Mapping[int, Demand]
) -> None:
    """Idle attempts have a row, others none; only what changed is written."""
    cursor.execute(_FORGET_ENDED, [cell_id])
    gone, rows = [], []
    for attempt in running:
        demand = demands.get(attempt.pk)
        if demand is None:
            continue
        if demand.below_since is None:
            gone += [attempt.pk] if attempt.before is not None else []
        elif attempt.before is None or demand.use != attempt.told_use:
            since = clock.from_ms(demand.below_since)
            rows.append({"attempt": attempt.pk, "since": since, "use": demand.use})
    if gone:
        cursor.execute(_FORGET, [gone])
    if rows:
        cursor.execute(_REMEMBER, {"cell": cell_id, "rows": as_rows(rows)})


def _take_steps(
    cursor: Cursor, due: Sequence[Step], locked: Mapping[int, LockedAttempt], now: datetime
) -> None:
    if not due:
        return
    history, hints, nodes = [], [], set[int]()
    notices, endings = [], []
    for step in due:
        attempt = locked[step.attempt]
        sentence = _sentence(step, now)
        history.append(_told(step, attempt, sentence, now))
        hints.append(Hint("job", attempt.job_id, attempt.job_version + 1, attempt.team_id))
        if step.rung is Rung.NOTIFY:
            acts_at = None if step.acts_at is None else clock.from_ms(step.acts_at)
            notices.append({"id": attempt.pk, "job": attempt.job_pk, "acts_at": acts_at})
            continue
        nodes |= {replica.node_pk for replica in attempt.replicas}
        cancels = step.rung is Rung.STOP
        endings.append(
            {
                "id": attempt.pk, "job": attempt.job_pk, "sentence": sentence, "reason": _REASON[step.rung],
                "outcome": (Outcome.CANCELLED if cancels else Outcome.IDLE_SUSPENDED).value,
                "status": status_word(attempt.job_state, AttemptState.STOPPING, attempt.contact_ok, cancels),
                "cancel_at": now if cancels else None,
                "start_after": None if cancels else now + timedelta(milliseconds=step.pause),
            }
        )  # fmt: skip
    for statements, rows in (((_NOTE, _SHOW), notices), ((_STOP_ATTEMPTS, _STOP_JOBS), endings)):
        for statement in statements if rows else ():
            cursor.execute(statement, {"now": now, "rows": as_rows(rows)})
    write_history(cursor, history)
    publish_on_commit(hints=hints, nodes=sorted(nodes))


_REASON = {Rung.NOTIFY: "idle", Rung.SUSPEND: Outcome.IDLE_SUSPENDED.value, Rung.STOP: "idle_stopped"}


def _told(step: Step, attempt: LockedAttempt, sentence: str, now: datetime) -> Happened:
    stops = step.rung is not Rung.NOTIFY
    to_state = move_attempt(attempt.state, AttemptEvent.STOP) if stops else attempt.state
    return Happened(
        at=now, kind="attempt.stopping" if stops else "attempt.idle", sentence=sentence, actor="scheduler",
        organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number,
        from_state=attempt.state, to_state=to_state, reason_code=_REASON[step.rung],
        facts={"use_permille": step.use, "idle_ms": step.idle_for, "pause_ms": step.pause},
    )  # fmt: skip


def _sentence(step: Step, now: datetime) -> str:
    used = f"{step.use / 10:.0f} % of its chips" if step.use else "nothing of its chips"
    idle = f"It used {used} for {duration_words(step.idle_for)}"
    if step.rung is Rung.SUSPEND:
        pause = duration_words(step.pause)
        return f"{idle}: suspended by its own policy; it waits for chips again in {pause}."
    if step.rung is Rung.STOP:
        return f"{idle}: stopped by its own policy."
    if step.acts_at is None:
        return f"{idle}."
    left = duration_words(max(0, step.acts_at - clock.to_ms(now)))
    return f"{idle}; unless that changes or somebody keeps it, its own policy acts in {left}."


_RUNNING = """
SELECT a.id, a.public_id, floor(extract(epoch FROM a.running_at) * 1000)::bigint, (j.effective_spec->'idle')::text,
       floor(extract(epoch FROM j.kept_until) * 1000)::bigint, floor(extract(epoch FROM i.since) * 1000)::bigint,
       floor(extract(epoch FROM i.notified_at) * 1000)::bigint, i.use_permille,
       (SELECT count(*)::int FROM jobs_attempt e WHERE e.job_id = j.id AND e.outcome = 'idle_suspended'),
       r.node_id, r.index, bool_and(c.driver = 'cpu'), sum(l.milli)::int, array_agg(c.index)
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
JOIN jobs_replica r ON r.attempt_id = a.id
JOIN jobs_allocation l ON l.replica_id = r.id AND l.active AND l.kind = 'owned' JOIN cluster_chip c ON c.id = l.chip_id
LEFT JOIN jobs_idleattempt i ON i.attempt_id = a.id
WHERE a.cell_id = %s AND a.state IN ('running', 'checkpointing') AND a.running_at IS NOT NULL
  AND j.cancel_requested_at IS NULL
GROUP BY a.id, j.id, i.attempt_id, r.id ORDER BY a.id, r.index
"""
_FORGET = "DELETE FROM jobs_idleattempt WHERE attempt_id = ANY(%s)"
_FORGET_ENDED = """
DELETE FROM jobs_idleattempt i USING jobs_attempt a
 WHERE i.cell_id = %s AND a.id = i.attempt_id AND a.state NOT IN ('running', 'checkpointing')"""
_REMEMBER = """
INSERT INTO jobs_idleattempt (attempt_id, cell_id, since, use_permille)
SELECT u.attempt, %(cell)s, u.since, u.use
  FROM json_to_recordset(%(rows)s::json) AS u(attempt bigint, since timestamptz, use int)
    ON CONFLICT (attempt_id) DO UPDATE SET use_permille = excluded.use_permille
"""
_NOTE = """
UPDATE jobs_idleattempt i SET notified_at = %(now)s, acts_at = u.acts_at
  FROM json_to_recordset(%(rows)s::json) AS u(id bigint, acts_at timestamptz) WHERE i.attempt_id = u.id"""
_SHOW = """
UPDATE jobs_job j SET version = j.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u(job bigint) WHERE j.id = u.job"""
_STOP_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'stopping', stop_outcome = u.outcome, stopping_at = %(now)s, reason_code = u.reason,
       sentence = u.sentence, version = a.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u(id bigint, outcome text, reason text, sentence text) WHERE a.id = u.id"""
_STOP_JOBS = """
UPDATE jobs_job j SET status = u.status, reason_code = u.reason, sentence = u.sentence, version = j.version + 1,
       cancel_requested_at = u.cancel_at, start_after = coalesce(u.start_after, j.start_after)
  FROM json_to_recordset(%(rows)s::json)
       AS u(job bigint, status text, reason text, sentence text, cancel_at timestamptz, start_after timestamptz)
 WHERE j.id = u.job"""
