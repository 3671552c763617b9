"""Applies what a decision takes back (R1, R6): attempts are told to leave, and what was taken for a waiting job
is promised to it. Each unit whole, or not at all (law 2).

Nothing is freed here: chips are free when their attempt has ended (law 5). The promise keeps anybody else
from taking them meanwhile, and the cycle that sees the last of them ended starts the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.scheduling.rows import as_rows_of
from scheduler_core.decision import Ground, Rung, Taking, Unit
from scheduler_core.lifecycle import AttemptEvent, AttemptState, Outcome, move_attempt
from scheduler_core.model import Placement, Reservation

WHY: dict[Ground, str] = {
    Ground.GUARANTEE: "its team takes back what it is guaranteed",
    Ground.FAIR_SHARE: "its team has less than its fair share",
    Ground.PRIORITY: "it has a higher priority",
    Ground.SERVICE_LEVEL: "it has had less chip time so far",
    Ground.CONSOLIDATION: "it fits once this work has moved together",
    Ground.EXCESS: "more is held than there is",
}
"""The right by which chips are taken, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the units."""

    promised: tuple[Unit, ...]
    dropped: tuple[Unit, ...]
    """Those whose job or victims were no longer as decided."""
    transaction_id: int


@dataclass(frozen=True, slots=True)
class _Live:
    """A live attempt, locked together with its job."""

    id: int
    number: int
    state: AttemptState
    job: int
    job_name: str
    job_public_id: str
    job_version: int
    team_public_id: str
    organization: int


@dataclass(frozen=True, slots=True)
class _Waits:
    """A waiting job without a promise, locked."""

    id: int
    name: str
    public_id: str
    version: int
    team_public_id: str
    organization: int


def take_back(cell_id: int, units: Sequence[Unit], relief: Sequence[Taking], *, now: datetime) -> Taken:
    """The victims of every unit that still holds are told to leave, and its job has their promise; relief is
    told to leave for nobody. The others changed nothing.
    """
    takings = [taking for unit in units for taking in unit.takings] + list(relief)
    with transaction.atomic(), prepared_cursor() as cursor:
        starters = {unit.start.job: unit.start.version for unit in units}
        jobs = sorted({taking.job for taking in takings} | set(starters))
        cursor.execute(_LOCK_JOBS, [jobs, cell_id])
        waiting = {row[0]: _Waits(*row) for row in cursor.execute(_WAITING, [sorted(starters)])}
        live = {
            row[0]: _Live(row[0], row[1], AttemptState(row[2]), *row[3:])
            for row in cursor.execute(_LOCK_ATTEMPTS, [sorted({taking.attempt for taking in takings})])
        }
        standing = [unit for unit in units if _holds(unit, waiting, live)]
        for unit in standing:
            _promise(cursor, cell_id, unit, waiting[unit.start.job], now)
            _send_away(cursor, unit.takings, live, waiting[unit.start.job], now)
            _promise_moves(cursor, cell_id, unit.takings, now)
        _send_away(cursor, [taking for taking in relief if taking.attempt in live], live, None, now)
        row = cursor.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    kept = {unit.start.job for unit in standing}
    dropped = tuple(unit for unit in units if unit.start.job not in kept)
    return Taken(tuple(standing), dropped, row[0] if row else 0)


def keep(
    cell_id: int,
    reservations: Iterable[Reservation],
    before: Mapping[int, Reservation],
    forgotten: Sequence[int],
) -> int:
    """The stored reservations are these, and the jobs in `forgotten` have no promise. `before` is what was
    stored. Returns the transaction's id, or 0 when there was nothing to change.
    """
    after = {row.job: row for row in reservations}
    gone = sorted(before.keys() - after.keys())
    changed = [row for job, row in sorted(after.items()) if before.get(job) != row]
    if not (gone or changed or forgotten):
        return 0
    with transaction.atomic(), prepared_cursor() as cursor:
        if gone:
            cursor.execute("DELETE FROM scheduling_reservation WHERE id = ANY(%s)", [gone])
        if forgotten:
            cursor.execute("DELETE FROM scheduling_promise WHERE id = ANY(%s)", [list(forgotten)])
        if changed:
            rows = [
                {"job": row.job, "at": clock.from_ms(row.at), "placements": as_rows_of(row.placements)}
                for row in changed
            ]
            cursor.execute(_RESERVE, {"cell": cell_id, "rows": as_rows(rows)})
        row = cursor.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    return row[0] if row else 0


def _holds(unit: Unit, waiting: dict[int, _Waits], live: dict[int, _Live]) -> bool:
    job = waiting.get(unit.start.job)
    if job is None or job.version != unit.start.version:
        return False
    return all(taking.attempt in live for taking in unit.takings)


def _promise(cursor: Cursor, cell_id: int, unit: Unit, job: _Waits, now: datetime) -> None:
    attempts = [taking.attempt for taking in unit.takings]
    _write_promise(cursor, cell_id, job.id, attempts, unit.start.placements, now)
    sentence = (
        f"Its chips are promised: it starts when {_count(len(attempts), 'attempt')} before it has left."
    )
    write_history(
        cursor,
        [
            Happened(
                at=now, kind="job.promised", sentence=sentence, actor="scheduler", organization=job.organization,
                job=job.id, from_state="queued", to_state="queued", reason_code="promised",
                facts={"attempts": len(attempts), "ground": unit.takings[0].ground.value},
            )
        ],
    )  # fmt: skip
    publish_on_commit(hints=[Hint("job", job.public_id, job.version, job.team_public_id)])


def _promise_moves(cursor: Cursor, cell_id: int, takings: Iterable[Taking], now: datetime) -> None:
    """Work that moves has a promise of its own: it goes on in its new place."""
    for taking in takings:
        if taking.rung is Rung.MOVE:
            _write_promise(cursor, cell_id, taking.job, [taking.attempt], taking.placements, now)


def _write_promise(
    cursor: Cursor,
    cell_id: int,
    job: int,
    attempts: list[int],
    placements: Iterable[Placement],
    now: datetime,
) -> None:
    row = {"job": job, "attempts": attempts, "placements": as_rows_of(placements), "since": now}
    cursor.execute(_PROMISE, {"cell": cell_id, "rows": as_rows([row])})


def _send_away(
    cursor: Cursor, takings: Sequence[Taking], live: dict[int, _Live], for_whom: _Waits | None, now: datetime
) -> None:
    """These attempts stop with the outcome `preempted`; their nodes and everybody who looks hear of it."""
    if not takings:
        return
    rows: list[dict[str, Any]] = []
    history: list[Happened] = []
    hints: list[Hint] = []
    for taking in takings:
        attempt = live[taking.attempt]
        sentence = _sentence(taking, for_whom)
        rows.append({"id": attempt.id, "sentence": sentence, "job": attempt.job})
        history.append(
            Happened(
                at=now, kind="attempt.stopping", sentence=sentence, actor="scheduler",
                organization=attempt.organization, job=attempt.job, attempt=attempt.number,
                from_state=attempt.state, to_state=move_attempt(attempt.state, AttemptEvent.STOP),
                reason_code=Outcome.PREEMPTED.value,
                facts={"ground": taking.ground.value, "rung": taking.rung.name.lower(), "loss_ms": taking.loss},
            )
        )  # fmt: skip
        hints.append(Hint("job", attempt.job_public_id, attempt.job_version + 1, attempt.team_public_id))
    given = {"now": now, "rows": as_rows(rows)}
    cursor.execute(_STOP_ATTEMPTS, given)
    cursor.execute(_STOP_JOBS, given)
    write_history(cursor, history)
    nodes = [row[0] for row in cursor.execute(_NODES, [[row["id"] for row in rows]])]
    publish_on_commit(hints=hints, nodes=nodes)


def _sentence(taking: Taking, for_whom: _Waits | None) -> str:
    if for_whom is None:
        return f"Its chips are taken back: {WHY[taking.ground]}."
    return f"Its chips go to {for_whom.name}: {WHY[taking.ground]}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_LOCK_JOBS = "SELECT id FROM jobs_job WHERE id = ANY(%s) AND cell_id = %s ORDER BY id FOR NO KEY UPDATE"

_WAITING = """
SELECT j.id, j.name, j.public_id, j.version, t.public_id, j.organization_id
  FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
 WHERE j.id = ANY(%s) AND j.state = 'queued'
   AND NOT EXISTS (SELECT 1 FROM scheduling_promise p WHERE p.id = j.id)"""

_LOCK_ATTEMPTS = """
SELECT a.id, a.number, a.state, j.id, j.name, j.public_id, j.version, t.public_id, j.organization_id
  FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
 WHERE a.id = ANY(%s) AND a.state NOT IN ('stopping', 'ended') AND j.cancel_requested_at IS NULL
 ORDER BY a.id FOR NO KEY UPDATE OF a"""

_PROMISE = """
INSERT INTO scheduling_promise (id, cell_id, attempts, placements, since, changed)
SELECT job, %(cell)s, attempts, placements, since, 0
  FROM json_to_recordset(%(rows)s::json)
       AS u (job bigint, attempts jsonb, placements jsonb, since timestamptz)"""

_RESERVE = """
INSERT INTO scheduling_reservation (id, cell_id, at, placements, changed)
SELECT u.job, %(cell)s, u.at, u.placements, 0
  FROM json_to_recordset(%(rows)s::json) AS u (job bigint, at timestamptz, placements jsonb)
  JOIN jobs_job j ON j.id = u.job
    ON CONFLICT (id) DO UPDATE SET at = excluded.at, placements = excluded.placements"""

_STOP_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'stopping', stop_outcome = 'preempted', stopping_at = %(now)s,
       reason_code = 'preempted', sentence = u.sentence, version = a.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (id bigint, sentence text) WHERE a.id = u.id"""

_STOP_JOBS = """
UPDATE jobs_job j SET status = 'stopping', reason_code = 'preempted', sentence = u.sentence,
       version = j.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (job bigint, sentence text) WHERE j.id = u.job"""

_NODES = "SELECT DISTINCT node_id FROM jobs_replica WHERE attempt_id = ANY(%s) ORDER BY node_id"
