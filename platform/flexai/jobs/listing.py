"""What answers show of jobs, as it is read: plain rows, all of a page in one message to the server (ADR 0034).

As models, with the ten tables that belong to them, fifty jobs took most of a list's processor time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from flexai.common.database import as_numbers, at_once, prepared_cursor
from flexai.jobs.models import Job
from flexai.jobs.queries_live import CHIPS_OF_JOBS, use_of


class JobRow(NamedTuple):
    """A job, with the names of what it belongs to."""

    pk: int
    public_id: str
    name: str
    type: str
    state: str
    status: str
    sentence: str
    """Why it is where it is; while it waits, the scheduler's verdict, which says it best."""
    team: str
    """Public id."""
    team_name: str
    user: str
    priority: int
    preemptible: bool
    set: str | None
    index_in_set: int | None
    labels: Mapping[str, str]
    effective: Mapping[str, Any]
    attempts_count: int
    exit_code: int | None
    outcome: str
    reason_code: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deadline: datetime | None
    version: int


class Idle(NamedTuple):
    """As `jobs.models.IdleAttempt`."""

    since: datetime
    use_permille: int
    notified_at: datetime | None
    acts_at: datetime | None


class Slow(NamedTuple):
    """As `jobs.models.Straggler`."""

    since: datetime | None
    sign: str
    sentence: str
    facts: Mapping[str, Any]
    told_at: datetime | None
    acts_at: datetime | None
    leaves_at: datetime | None


class Said(NamedTuple):
    """As `jobs.models.AttemptProgress`."""

    at: datetime
    step: int | None
    throughput_milli: int | None
    loss: float | None
    saved_step: int | None
    saved_at: datetime | None
    problem: str


class Place(NamedTuple):
    """The last attempt of a job: where it is or was, and what it holds or held."""

    state: str
    placed_at: datetime
    first_running_at: datetime | None
    """Of all attempts of the job."""
    use_permille: int | None
    memory_peak_mib: int
    nodes: Sequence[str]
    """One a replica, by index."""
    chip_types: Sequence[str]
    """Each once."""
    milli: int
    """Of all its chips."""
    idle: Idle | None
    slow: Slow | None
    said: Said | None
    is_guest: bool
    halted_at: datetime | None
    """Since when its node has halted it for the owner of its chips."""
    offered_at: datetime | None
    """Since when its own chips are on offer."""
    busy_at: datetime | None


class Shown(NamedTuple):
    """All that a list shows of a job."""

    job: JobRow
    place: Place | None
    """None before its first attempt."""
    use_permille: int | None
    """Live; None where nothing is measured."""


def read(job_pks: Sequence[int]) -> list[Shown]:
    """The jobs in this order; one that is no more is left out. One round trip, and one for live use where any runs."""
    if not job_pks:
        return []
    asked = {"jobs": as_numbers(job_pks)}
    with prepared_cursor() as cursor, at_once(cursor) as send:
        jobs, attempts, chips = send(_jobs(), asked), send(_LAST_ATTEMPTS, asked), send(CHIPS_OF_JOBS, asked)
    found = {row[0]: _job_of(row) for row in jobs}
    places = {row[0]: _place_of(row) for row in attempts}
    use = use_of(list(chips))
    return [Shown(found[pk], places.get(pk), use.get(pk)) for pk in job_pks if pk in found]


def row_of(job: Job) -> JobRow:
    """The same of a job that was just made: with its team and user, and without a verdict."""
    return JobRow(
        job.pk, job.public_id, job.name, job.type, job.state, job.status, job.sentence, job.team.public_id,
        job.team.name, job.user.username, job.priority, job.preemptible,
        None if job.set is None else job.set.public_id, job.index, job.labels, job.effective_spec, job.attempts_count,
        job.exit_code, job.outcome, job.reason_code, job.submitted_at, job.started_at, job.ended_at, job.deadline,
        job.version,
    )  # fmt: skip


_LABELS, _EFFECTIVE = JobRow._fields.index("labels"), JobRow._fields.index("effective")


def _job_of(row: Sequence[Any]) -> JobRow:
    values = list(row)
    values[_LABELS], values[_EFFECTIVE] = (
        msgspec.json.decode(row[_LABELS]),
        msgspec.json.decode(row[_EFFECTIVE]),
    )
    return JobRow._make(values)


def _place_of(row: Sequence[Any]) -> Place:
    """Of a row of `_LAST_ATTEMPTS`; what is not there has no instant in its first column."""
    own, idle, slow, said, rest = row[1:9], row[9:13], row[13:20], row[20:27], row[27:]
    parts = (
        None if idle[0] is None else Idle._make(idle),
        None if slow[1] is None else Slow._make((*slow[:3], msgspec.json.decode(slow[3]), *slow[4:])),
        None if said[0] is None else Said._make(said),
    )
    return Place._make((*own, *parts, *rest))


@cache
def _jobs() -> str:
    """The statement of the jobs; verdicts are of an app above, which hangs them on jobs."""
    return _JOBS.format(verdicts=Job._meta.get_field("verdict").related_model._meta.db_table)


_JOBS = """
SELECT j.id, j.public_id, j.name, j.type, j.state, j.status,
    CASE WHEN j.state = 'queued' THEN coalesce(v.sentence, j.sentence) ELSE j.sentence END,
    t.public_id, t.name, u.username, j.priority, j.preemptible, s.public_id, j.index, j.labels, j.effective_spec,
    j.attempts_count, j.exit_code, j.outcome, j.reason_code, j.submitted_at, j.started_at, j.ended_at, j.deadline,
    j.version
FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id JOIN tenancy_user u ON u.id = j.user_id
LEFT JOIN jobs_jobset s ON s.id = j.set_id LEFT JOIN {verdicts} v ON v.job_id = j.id
WHERE j.id = ANY (%(jobs)s::bigint[])
"""
_LAST_ATTEMPTS = """
SELECT a.job_id, a.state, a.placed_at,
    CASE WHEN j.attempts_count = 1 THEN a.running_at
        ELSE (SELECT min(f.running_at) FROM jobs_attempt f WHERE f.job_id = j.id) END,
    a.use_permille, a.memory_peak_mib,
    ARRAY(SELECT n.name FROM jobs_replica r JOIN cluster_node n ON n.id = r.node_id
        WHERE r.attempt_id = a.id ORDER BY r.index),
    coalesce(held.types, '{}'), coalesce(held.milli, 0),
    i.since, i.use_permille, i.notified_at, i.acts_at,
    w.since, w.sign, w.sentence, w.facts, w.told_at, w.acts_at, w.leaves_at,
    p.at, p.step, p.throughput_milli, p.loss, p.saved_step, p.saved_at, p.problem,
    g.attempt_id IS NOT NULL, g.paused_at, o.offered_at, o.busy_at
FROM jobs_job j JOIN jobs_attempt a ON a.job_id = j.id AND a.number = j.attempts_count
LEFT JOIN jobs_idleattempt i ON i.attempt_id = a.id LEFT JOIN jobs_straggler w ON w.attempt_id = a.id
LEFT JOIN jobs_attemptprogress p ON p.attempt_id = a.id LEFT JOIN jobs_guest g ON g.attempt_id = a.id
LEFT JOIN jobs_offer o ON o.attempt_id = a.id
LEFT JOIN LATERAL (SELECT array_agg(DISTINCT c.type) AS types, sum(l.milli)::bigint AS milli
    FROM jobs_allocation l JOIN cluster_chip c ON c.id = l.chip_id WHERE l.attempt_id = a.id) held ON true
WHERE j.id = ANY (%(jobs)s::bigint[])
"""
