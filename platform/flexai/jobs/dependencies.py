"""Jobs that wait for other jobs: finding those at submit, and letting go, or giving up on, whoever waited.

Where a dependency stands follows from the rows as they are (`scheduler_core.dependencies`); nothing of it is stored.
Whoever ends a job, or asks for another run of it, has its dependents looked at after the commit; the tick looks at all
that could have moved, so an announcement that was lost costs seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.errors import FieldError, InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.models import Job
from flexai.jobs.queries import visible_jobs
from flexai.tenancy.principals import Principal
from scheduler_core.dependencies import After, Otherwise, Standing, of_all, standing
from scheduler_core.lifecycle import FINAL_JOB_STATES, JobEvent, JobState, Outcome, move_job

WAITS = "dependency"
NEVER = "dependency_never"
HELD_BY_DEPENDENCY = (WAITS, NEVER)
"""Reason codes of a job that is held by its dependencies."""
SETTLED_AT_ONCE = 5_000
"""Jobs of one transaction."""
ROUNDS = 50
"""A cancelled job may let its own dependents go, and so on; after so many rounds the next tick goes on."""
SHOWN = 50
"""Dependents that a job's page names."""
TOLD_AT_MOST = 3
"""Dependencies that a sentence names."""

_OPEN = "('held', 'queued', 'active', 'suspended')"
_FAILED = "('failed', 'cancelled', 'timed_out')"
_WORDS = {After.OK: "to succeed", After.ANY: "to end", After.NOT_OK: "to fail"}


@dataclass(frozen=True, slots=True)
class Found:
    """What a dependency is on, as it is now."""

    job: int | None
    set: int | None
    public_id: str
    name: str
    status: str
    """The job's status word; of a set, how many of its tasks have not ended."""
    after: After
    otherwise: Otherwise
    standing: Standing

    def sentence(self) -> str:
        """What is waited for, and why that has not come."""
        return f"It waits for {self.told()}; {'that one is ' if self.job else ''}{self.status}."

    def told(self) -> str:
        """`prepare (job-…) to succeed`"""
        what = "" if self.job else "all tasks of "
        return f"{what}{self.name} ({self.public_id}) {_WORDS[self.after]}"


def find(principal: Principal, effective: dict[str, Any]) -> tuple[Found, ...]:
    """What the spec's `depends_on` names, of what the principal may see; a name means the newest of that name, and a
    task of a set its whole set. The effective spec holds ids from then on. Raises InvalidInput."""
    errors: list[FieldError] = []
    named: list[tuple[dict[str, Any], Job]] = []
    for place, one in enumerate(effective["depends_on"]):
        job = _job_of(principal, one["job"])
        if job is None:
            where = f"there is no job or set {one['job']!r} that you can see"
            errors.append(
                FieldError(f"depends_on.{place}.job", where, "give an id, or a name as `ps` shows it")
            )
        else:
            named.append((one, job))
    if errors:
        raise InvalidInput(f"A dependency was not found: {errors[0].message}.", errors=errors)
    found = []
    for one, job in named:
        is_set = job.set is not None and one["job"] != job.public_id
        wanted = {"job": None if is_set else job.pk, "set": job.set_id if is_set else None}
        found.append(wanted | {"after": one["on"], "otherwise": one["otherwise"]})
        one["job"] = job.set.public_id if is_set and job.set is not None else job.public_id
    return _standing_of(found)


def _job_of(principal: Principal, text: str) -> Job | None:
    jobs = visible_jobs(principal).select_related("set")
    if text.startswith("set-"):
        return jobs.filter(set__public_id=text).order_by("id").first()
    by_id = jobs.filter(public_id=text).first() if text.startswith("job-") else None
    return by_id or jobs.filter(name=text).order_by("-id").first()


def first_sentence(found: Sequence[Found]) -> str:
    """Why a job with these dependencies is held, as long as none of them can never come."""
    waits = [one for one in found if one.standing is not Standing.MET]
    more = f" and {len(waits) - TOLD_AT_MOST} more" if len(waits) > TOLD_AT_MOST else ""
    return f"Waits for {', '.join(one.told() for one in waits[:TOLD_AT_MOST])}{more}."


def dependencies_of(job: Job) -> tuple[Found, ...]:
    """What the job waits for, or waited for, as that is now."""
    with prepared_cursor() as cursor:
        return _found_by_job(cursor, [job.pk]).get(job.pk, ())


def dependents_of(principal: Principal, job: Job) -> list[Job]:
    """The first fifty jobs, of those that the principal may see, that wait for this one or waited for it."""
    with prepared_cursor() as cursor:
        waiting = _dependents(cursor, [job.pk])
    return list(visible_jobs(principal).filter(pk__in=waiting[:SETTLED_AT_ONCE]).order_by("id")[:SHOWN])


def settle_dependents_on_commit(job_pks: Sequence[int]) -> None:
    """After the commit, whoever waits for these jobs is looked at."""
    transaction.on_commit(partial(settle_dependents, tuple(job_pks)), robust=True)


def settle_on_commit(job_pks: Sequence[int]) -> None:
    """After the commit, these jobs are looked at: what they wait for may have ended in the meantime."""
    transaction.on_commit(partial(_settle_and_follow, tuple(job_pks)), robust=True)


def settle_dependents(job_pks: Iterable[int]) -> int:
    """Whoever waits for these jobs goes on, goes on waiting, or has ended; how many moved."""
    with prepared_cursor() as cursor:
        waiting = _dependents(cursor, list(job_pks))
    return _settle_and_follow(waiting)


def settle_all() -> int:
    """The same for every job whose dependencies could have moved; how many did. Safe to call at any time."""
    moved, last = 0, 0
    while True:
        with prepared_cursor() as cursor:
            waiting = [row[0] for row in cursor.execute(_COULD_MOVE, [last, SETTLED_AT_ONCE], prepare=True)]
        moved += _settle_and_follow(waiting)
        if len(waiting) < SETTLED_AT_ONCE:
            return moved
        last = waiting[-1]


def _settle_and_follow(job_pks: Sequence[int]) -> int:
    moved, waiting = 0, list(job_pks)
    for _ in range(ROUNDS):
        if not waiting:
            break
        ended: list[int] = []
        for start in range(0, len(waiting), SETTLED_AT_ONCE):
            count, cancelled = _settle(waiting[start : start + SETTLED_AT_ONCE], clock.now())
            moved, ended = moved + count, ended + cancelled
        with prepared_cursor() as cursor:
            waiting = _dependents(cursor, ended) if ended else []
    return moved


@transaction.atomic
def _settle(job_pks: Sequence[int], now: datetime) -> tuple[int, list[int]]:
    """How many of the jobs moved, and which of them have ended by it."""
    with prepared_cursor() as cursor:
        held = cursor.execute(_HELD, [list(job_pks)], prepare=True).fetchall()
        found = _found_by_job(cursor, [row[0] for row in held])
        moves = [move for row in held if (move := _move(_Held(*row), found.get(row[0], ()), now)) is not None]
        if not moves:
            return 0, []
        cursor.execute(_MOVE, [as_rows([move.row for move in moves])], prepare=True)
        write_history(cursor, [move.event for move in moves])
    publish_on_commit(hints=[move.hint for move in moves])
    for cell in {move.cell for move in moves if move.row["state"] == JobState.QUEUED}:
        publish_on_commit(cell=cell)
    return len(moves), [
        move.event.job for move in moves if JobState(str(move.row["state"])) in FINAL_JOB_STATES
    ]


@dataclass(frozen=True, slots=True)
class _Held:
    pk: int
    public_id: str
    organization: int
    team: str
    cell: int
    reason_code: str
    version: int
    start_after: datetime | None


@dataclass(frozen=True, slots=True)
class _Move:
    row: Mapping[str, object]
    event: Happened
    hint: Hint
    cell: int


def _move(job: _Held, found: Sequence[Found], now: datetime) -> _Move | None:
    """Where the job goes from here; None: it stays as it is."""
    state, code, sentence = _next(job, found, now)
    if code == job.reason_code:
        return None
    ended = state is JobState.CANCELLED
    row = {
        "id": job.pk, "state": state, "reason_code": code, "sentence": sentence, "ended_at": now if ended else None,
        "outcome": Outcome.CANCELLED.value if ended else "",
    }  # fmt: skip
    event = Happened(
        at=now, kind=f"job.{_KINDS.get(state, 'waits')}", sentence=sentence, actor="platform", job=job.pk,
        organization=job.organization, from_state=JobState.HELD, to_state=state, reason_code=code,
        facts={"depends_on": [one.public_id for one in found]},
    )  # fmt: skip
    return _Move(row, event, Hint("job", job.public_id, job.version + 1, job.team), job.cell)


_KINDS = {JobState.QUEUED: "released", JobState.CANCELLED: "cancelled"}


def _next(job: _Held, found: Sequence[Found], now: datetime) -> tuple[JobState, str, str]:
    where = of_all(one.standing for one in found)
    if where is Standing.NEVER:
        never = [one for one in found if one.standing is Standing.NEVER]
        because = f"it waited for {never[0].told()}, which cannot come: {never[0].status}"
        if any(one.otherwise is Otherwise.CANCEL for one in never):
            return move_job(JobState.HELD, JobEvent.CANCEL), NEVER, f"Cancelled: {because}."
        return JobState.HELD, NEVER, f"Can not start: {because}. Requeue what it waits for, or stop this job."
    if where is Standing.PENDING:
        return JobState.HELD, WAITS, first_sentence(found)
    if job.start_after is not None and job.start_after > now:
        return JobState.HELD, "start_after", f"Held until {job.start_after:%Y-%m-%dT%H:%M:%SZ}."
    return move_job(JobState.HELD, JobEvent.RELEASE), "released", "What it waited for has come."


def _dependents(cursor: Cursor, job_pks: Sequence[int]) -> list[int]:
    return [row[0] for row in cursor.execute(_DEPENDENTS, [list(job_pks), list(job_pks)], prepare=True)]


def _found_by_job(cursor: Cursor, job_pks: Sequence[int]) -> dict[int, tuple[Found, ...]]:
    found: dict[int, list[Found]] = {}
    for pk, *row in cursor.execute(_STANDING.format(given=_OF_JOBS), [list(job_pks)], prepare=True):
        found.setdefault(pk, []).append(_found(row))
    return {pk: tuple(of_job) for pk, of_job in found.items()}


def _standing_of(wanted: Sequence[Mapping[str, object]]) -> tuple[Found, ...]:
    with prepared_cursor() as cursor:
        rows = cursor.execute(_STANDING.format(given=_GIVEN), [as_rows(wanted)], prepare=True).fetchall()
    return tuple(_found(row[1:]) for row in rows)


def _found(row: Sequence[Any]) -> Found:
    job, made_set, public_id, name, after, otherwise, status, one_is_open, one_has_failed = row
    word = After(after)
    stands = standing(word, one_is_open=one_is_open, one_has_failed=one_has_failed)
    if made_set is not None:
        status = _set_words(one_is_open, one_has_failed)
    return Found(job, made_set, public_id, name, status, word, Otherwise(otherwise), stands)


def _set_words(one_is_open: bool, one_has_failed: bool) -> str:
    ended = "not all of its tasks have ended" if one_is_open else "all of its tasks have ended"
    return f"{ended}, and not all have succeeded" if one_has_failed else ended


_OF_JOBS = """
    SELECT job_id, on_job_id AS on_job, on_set_id AS on_set, after, otherwise, id AS place
    FROM jobs_dependency WHERE job_id = ANY(%s)
"""
_GIVEN = """
    SELECT 0 AS job_id, r.job AS on_job, r.set AS on_set, r.after, r.otherwise, row_number() OVER () AS place
    FROM json_to_recordset(%s::json) AS r(job bigint, set bigint, after text, otherwise text)
"""
_STANDING = f"""
WITH wanted AS ({{given}}), of_sets AS (
    SELECT s.id, s.public_id, s.name,
        EXISTS (SELECT 1 FROM jobs_job t WHERE t.set_id = s.id AND t.state IN {_OPEN}) AS one_is_open,
        EXISTS (SELECT 1 FROM jobs_job t WHERE t.set_id = s.id AND t.state IN {_FAILED}) AS one_has_failed
    FROM jobs_jobset s WHERE s.id IN (SELECT on_set FROM wanted))
SELECT w.job_id, w.on_job, w.on_set, coalesce(o.public_id, s.public_id), coalesce(o.name, s.name), w.after,
    w.otherwise, coalesce(o.status, ''), coalesce(s.one_is_open, o.state IN {_OPEN}),
    coalesce(s.one_has_failed, o.state IN {_FAILED})
FROM wanted w LEFT JOIN jobs_job o ON o.id = w.on_job LEFT JOIN of_sets s ON s.id = w.on_set
ORDER BY w.job_id, w.place
"""  # noqa: S608 - the lists of states are constants
_DEPENDENTS = """
SELECT job_id FROM jobs_dependency WHERE on_job_id = ANY(%s)
UNION SELECT d.job_id FROM jobs_dependency d
WHERE d.on_set_id IN (SELECT set_id FROM jobs_job WHERE id = ANY(%s) AND set_id IS NOT NULL)
ORDER BY 1
"""
_COULD_MOVE = f"""
SELECT j.id FROM jobs_job j
WHERE j.state = 'held' AND j.reason_code IN ('dependency', 'dependency_never') AND j.id > %s AND (
    j.reason_code = 'dependency_never'
    OR EXISTS (SELECT 1 FROM jobs_dependency d JOIN jobs_job o ON o.id = d.on_job_id
               WHERE d.job_id = j.id AND o.state NOT IN {_OPEN})
    OR EXISTS (SELECT 1 FROM jobs_dependency d WHERE d.job_id = j.id AND d.on_set_id IS NOT NULL))
ORDER BY j.id LIMIT %s
"""  # noqa: S608 - the lists of states are constants
_HELD = """
SELECT j.id, j.public_id, j.organization_id, t.public_id, j.cell_id, j.reason_code, j.version, j.start_after
FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
WHERE j.id = ANY(%s) AND j.state = 'held' AND j.reason_code IN ('dependency', 'dependency_never')
ORDER BY j.id FOR NO KEY UPDATE OF j
"""
_MOVE = """
UPDATE jobs_job j SET state = u.state, status = u.state, reason_code = u.reason_code, sentence = u.sentence,
    ended_at = u.ended_at, outcome = u.outcome, version = j.version + 1
FROM json_to_recordset(%s::json) AS u(
    id bigint, state text, reason_code text, sentence text, ended_at timestamptz, outcome text)
WHERE j.id = u.id
"""
