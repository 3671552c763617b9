"""Applies what a decision takes back or shares out anew (R1, R6, E1): attempts are told to leave, and what was decided
for those who start or go on is promised to them. Each unit whole, or not at all (law 2).

Nothing is freed here: chips are free when their attempt has ended (law 5). The promise keeps anybody else
from taking them meanwhile, and the cycle that sees the last of them ended starts the job.

What is shrunk goes on by a checkpoint and a new attempt: it leaves whole, and is promised the places that it keeps.
All promises of one unit name the same attempts, so that each thing that comes back serves one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

import msgspec
from django.db import transaction

from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.scheduling.leaving import (
    HeldBack,
    Live,
    leaves_of,
    leaves_of_relocated,
    leaves_of_resizing,
    lock_live,
    send_away,
)
from flexai.scheduling.rows import PlacementRow, as_rows_of
from scheduler_core.decision import Resizing, Rung, Start, Taking, Unit
from scheduler_core.model import Placement, Reservation

Changing: TypeAlias = Unit | Resizing
"""What makes live attempts leave."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the units."""

    promised: tuple[Changing, ...]
    dropped: tuple[Changing, ...]
    """Those whose jobs or attempts were no longer as decided."""
    transaction_id: int


@dataclass(frozen=True, slots=True)
class _Waits:
    """A waiting job without a promise, locked."""

    id: int
    name: str
    public_id: str
    version: int
    team_public_id: str
    organization: int


def take_back(
    cell_id: int,
    units: Sequence[Unit],
    relief: Sequence[Taking],
    *,
    now: datetime,
    resizings: Sequence[Resizing] = (),
) -> Taken:
    """The victims of every unit that still holds are told to leave, and its job has their promise; so are those who
    are resized, and each of them has the promise of its new place; relief is told to leave for nobody. The others
    changed nothing.
    """
    changing: list[Changing] = [*units, *resizings]
    with transaction.atomic(), prepared_cursor() as cursor:
        starts = {start.job for one in changing for start in _starts_of(one)}
        leaving = {attempt: job for one in changing for attempt, job in _leaving_of(one).items()}
        leaving |= {taking.attempt: taking.job for taking in relief}
        cursor.execute(_LOCK_JOBS, [sorted(starts | set(leaving.values())), cell_id])
        waiting = {row[0]: _Waits(*row) for row in cursor.execute(_WAITING, [sorted(starts)])}
        live = lock_live(cursor, leaving)
        standing = [one for one in changing if _holds(one, waiting, live)]
        for one in standing:
            if isinstance(one, Unit):
                _carry_out(cursor, cell_id, one, waiting[one.start.job], live, now)
            else:
                _resize(cursor, cell_id, one, waiting, live, now)
        _relieve(cursor, cell_id, [taking for taking in relief if taking.attempt in live], live, now)
        row = cursor.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    dropped = tuple(one for one in changing if one not in standing)
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


def _starts_of(one: Changing) -> Sequence[Start]:
    return (one.start,) if isinstance(one, Unit) else one.starts


def _leaving_of(one: Changing) -> dict[int, int]:
    """Attempt → job."""
    leaving = one.takings if isinstance(one, Unit) else one.resizes
    return {row.attempt: row.job for row in leaving}


def _holds(one: Changing, waiting: Mapping[int, _Waits], live: Mapping[int, Live]) -> bool:
    jobs = [(waiting.get(start.job), start.version) for start in _starts_of(one)]
    waits = all(job is not None and job.version == version for job, version in jobs)
    return waits and all(attempt in live for attempt in _leaving_of(one))


def _carry_out(
    cursor: Cursor, cell_id: int, unit: Unit, job: _Waits, live: Mapping[int, Live], now: datetime
) -> None:
    """The job has the promise of its place, and its victims leave; who moves or is shrunk has one of its own."""
    attempts = [taking.attempt for taking in unit.takings]
    _promise(cursor, cell_id, unit.start, attempts, job, unit.takings[0].ground.value, now)
    send_away(cursor, leaves_of(unit.takings, live, job.name), live, now)
    for taking in unit.takings:
        if taking.rung is Rung.MOVE:
            _write_promise(cursor, cell_id, taking.job, [taking.attempt], taking.placements, now)
        elif taking.rung is Rung.SHRINK:
            _write_promise(cursor, cell_id, taking.job, attempts, _kept(cursor, taking), now)


def _resize(
    cursor: Cursor,
    cell_id: int,
    resizing: Resizing,
    waiting: Mapping[int, _Waits],
    live: Mapping[int, Live],
    now: datetime,
) -> None:
    """All its attempts leave, and each of its jobs has the promise of its place (E1, R8)."""
    attempts = list(resizing.attempts)
    for start in resizing.starts:
        _promise(cursor, cell_id, start, attempts, waiting[start.job], "elastic", now)
    starting = [waiting[start.job].name for start in resizing.starts]
    leaves = leaves_of_resizing(resizing, live, starting)
    relocated = [row.attempt for row in resizing.resizes if len(row.placements) == live[row.attempt].replicas]
    if relocated:
        rows = cursor.execute(_MOVED, {"now": now, "attempts": relocated})
        why = {attempt: HeldBack(sentence, msgspec.json.decode(facts)) for attempt, sentence, facts in rows}
        leaves += leaves_of_relocated(resizing, live, why)
    send_away(cursor, leaves, live, now)
    for resize in resizing.resizes:
        _write_promise(cursor, cell_id, resize.job, attempts, resize.placements, now)


def _relieve(
    cursor: Cursor, cell_id: int, relief: Sequence[Taking], live: Mapping[int, Live], now: datetime
) -> None:
    """An excess is worked off: nobody gets the chips, and who is shrunk keeps the rest of its places."""
    send_away(cursor, leaves_of(relief, live, ""), live, now)
    for taking in relief:
        if taking.rung is Rung.SHRINK:
            _write_promise(cursor, cell_id, taking.job, [taking.attempt], _kept(cursor, taking), now)


def _kept(cursor: Cursor, taking: Taking) -> tuple[Placement, ...]:
    """The places of the replicas that stay, numbered anew."""
    rows = cursor.execute(_PLACES, [taking.attempt, list(taking.keeps)]).fetchall()
    places = [
        PlacementRow(replica, node, cpu, memory, shares).as_engine()
        for replica, node, cpu, memory, shares in rows
    ]
    return tuple(replace(place, replica=number) for number, place in enumerate(places))


def _promise(
    cursor: Cursor, cell_id: int, start: Start, attempts: list[int], job: _Waits, ground: str, now: datetime
) -> None:
    _write_promise(cursor, cell_id, job.id, attempts, start.placements, now)
    sentence = (
        f"Its chips are promised: it starts when {_count(len(attempts), 'attempt')} before it has left."
    )
    write_history(
        cursor,
        [
            Happened(
                at=now, kind="job.promised", sentence=sentence, actor="scheduler", organization=job.organization,
                job=job.id, from_state="queued", to_state="queued", reason_code="promised",
                facts={"attempts": len(attempts), "ground": ground},
            )
        ],
    )  # fmt: skip
    publish_on_commit(hints=[Hint("job", job.public_id, job.version, job.team_public_id)])


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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_LOCK_JOBS = "SELECT id FROM jobs_job WHERE id = ANY(%s) AND cell_id = %s ORDER BY id FOR NO KEY UPDATE"

_WAITING = """
SELECT j.id, j.name, j.public_id, j.version, t.public_id, j.organization_id
  FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
 WHERE j.id = ANY(%s) AND j.state = 'queued'
   AND NOT EXISTS (SELECT 1 FROM scheduling_promise p WHERE p.id = j.id)"""

_MOVED = """
UPDATE jobs_straggler SET moved_at = %(now)s, leaves_at = NULL WHERE attempt_id = ANY(%(attempts)s)
RETURNING attempt_id, sentence, facts::text"""

_PLACES = """
SELECT r.index, r.node_id, r.cpu_milli, r.memory_mib,
       (SELECT json_agg(json_build_array(l.chip_id, l.milli, l.memory_mib) ORDER BY l.chip_id)
          FROM jobs_allocation l WHERE l.replica_id = r.id AND l.active AND l.kind = 'owned')
  FROM jobs_replica r WHERE r.attempt_id = %s AND r.index = ANY(%s) ORDER BY r.index"""

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
