"""New jobs of specs that were read and admitted: written with first event and audit, then announced.

A job that begins held is no work for the scheduler, and asks for no cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from django.db import connection, transaction

from flexai.common import clock, source
from flexai.common.events import Hint, publish_on_commit
from flexai.common.ids import new_id, new_ids
from flexai.jobs import deadlines
from flexai.jobs.dependencies import WAITS, Found, first_sentence, settle_on_commit
from flexai.jobs.insertion import Line, Template, Told, Wait, as_raw, insert_jobs
from flexai.jobs.models import Job, JobSet
from flexai.jobs.notifying import Noticed
from flexai.jobs.spec_matrix import Task
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal, TeamSeat, partial_row
from scheduler_core.dependencies import Standing
from scheduler_core.lifecycle import JobState

SHOWN_OF_A_SET = 10
"""Jobs of a new array that the answer tells."""
HINTS_AT_MOST = 50
"""A larger submit names so many jobs to the pages, and tells them to read the team's list again."""
ALONE_BYTES = 64 * 1024
"""A longer spec is written by itself: its neighbours would wait for it."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a spec: its jobs (the first ten of an array), and whether they are new."""

    jobs: tuple[Job, ...]
    set: JobSet | None
    created: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """A spec that was read, admitted and charged to a team, before anything is written. Specs that differ in
    their names only share one."""

    raw: bytes
    """JSON of what was submitted, without its name."""
    effective: dict[str, Any]
    roundings: tuple[str, ...]
    team: TeamSeat
    cell: int
    waits_for: tuple[Found, ...] = ()
    """Its dependencies, as they were just now."""
    tasks: tuple[Task, ...] = ()
    """Of its matrix."""
    schedule: int | None = None
    """Whose job it is; None: somebody submits it."""
    noticed: Noticed | None = None
    """Who is told of it."""

    @property
    def makes_a_set(self) -> bool:
        """Whether it makes many jobs: an array or a matrix."""
        return bool(self.tasks) or self.effective["array"] is not None


@dataclass(frozen=True, slots=True)
class Named:
    """One job's spec: what it shares with others, and its name."""

    prepared: Prepared
    name: str
    given: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key as it is stored: a user's own, with the hash of the body that came with it."""

    key: str
    hash: str

    def of_place(self, place: int) -> Key:
        """That of one job of a batch, whose first has the key itself; none that a client sends is like the others."""
        return self if place == 0 else Key(f"{self.key}\n{place}", self.hash)


def create_one(principal: Principal, named: Named, key: Key | None) -> Submission:
    """The job exists and is announced. Raises psycopg's UniqueViolation when the key is taken."""
    prepared, now = named.prepared, clock.now()
    new = _new(Asked(principal, named, key, source.current()), now)
    with transaction.atomic() if prepared.waits_for else _savepoint():
        [pk] = _write([new])
        _settle_if_held(prepared, [pk])
    return Submission((_as_job(prepared, new.template, new.line, pk, principal, None, now),), None, True)


@dataclass(frozen=True, slots=True)
class Asked:
    """One job of several whose requests came together."""

    principal: Principal
    named: Named
    key: Key | None
    source: source.Source


def create_together(asked: Sequence[Asked]) -> list[Job]:
    """The jobs exist, each as by `create_one`, and are announced; they know their teams. For plain jobs, outside a
    transaction. Raises psycopg's DataError or IntegrityError when one of them cannot be: then none is there."""
    now = clock.now()
    new = [_new(one, now) for one in asked]
    pks = _write(new)
    jobs = []
    for one, made, pk in zip(asked, new, pks, strict=True):
        job = _as_job(one.named.prepared, made.template, made.line, pk, one.principal, None, now)
        job.team = one.named.prepared.team.as_team(one.principal.organization)
        jobs.append(job)
    return jobs


@transaction.atomic
def create_set(principal: Principal, named: Named, key: Key | None) -> Submission:
    """The set and its jobs exist and are announced. Raises psycopg's UniqueViolation when the key is taken."""
    prepared, now = named.prepared, clock.now()
    template = _template(principal, prepared, 0, now)
    made, indices = _set_of(principal, named)
    lines = [
        Line(n, 0, public_id, named.name, named.given, made.pk, index, own=own)
        for n, (public_id, (index, own)) in enumerate(zip(new_ids("job", made.size), indices, strict=True))
    ]
    lines[0] = _with_key(lines[0], key)
    after = {"name": named.name, "team": prepared.team.pk, "count": made.size}
    entry = audit.entry(principal, "set.submitted", made, after=after)
    pks = insert_jobs([template], lines, [entry], _waits(prepared, template), _told(prepared, template))
    _settle_if_held(prepared, pks.values())
    jobs = tuple(
        _as_job(prepared, template, line, pks[line.public_id], principal, made, now)
        for line in lines[:SHOWN_OF_A_SET]
    )
    _announce({prepared.team.public_id}, _cells_with_work([template]), [line.public_id for line in lines])
    return Submission(jobs, made, True)


def create_batch(principal: Principal, named: Sequence[Named], key: Key | None = None) -> list[str]:
    """All jobs exist and are announced, or none; their public ids in order. Raises psycopg's UniqueViolation when the
    key is taken."""
    now = clock.now()
    distinct = {id(item.prepared): item.prepared for item in named}
    templates = {
        key: _template(principal, prepared, number, now)
        for number, (key, prepared) in enumerate(distinct.items())
    }
    ids = new_ids("job", len(named))
    lines = [
        Line(n, templates[id(item.prepared)].t, public_id, item.name, item.given)
        for n, (item, public_id) in enumerate(zip(named, ids, strict=True))
    ]
    if key is not None:
        lines = [_with_key(line, key.of_place(line.n)) for line in lines]
    entry = audit.entry(
        principal,
        "jobs.submitted",
        object_kind="batch",
        object_id=ids[0],
        after={"count": len(ids), "last": ids[-1]},
    )
    waits = [wait for key, prepared in distinct.items() for wait in _waits(prepared, templates[key])]
    told = [one for key, prepared in distinct.items() for one in _told(prepared, templates[key])]
    with transaction.atomic() if waits else _savepoint():
        pks = insert_jobs(list(templates.values()), lines, [entry], waits, told)
        for item, public_id in zip(named, ids, strict=True):
            _settle_if_held(item.prepared, [pks[public_id]])
        teams = {prepared.team.public_id for prepared in distinct.values()}
        _announce(teams, _cells_with_work(templates.values()), ids)
    return ids


@dataclass(frozen=True, slots=True)
class _New:
    """One job to be, with its audit entry, the public id of its team, what it waits for, and whom it tells."""

    template: Template
    line: Line
    entry: audit.Entry
    team: str
    waits: Sequence[Wait] = ()
    told: Sequence[Told] = ()


def _new(asked: Asked, now: datetime) -> _New:
    principal, named, prepared = asked.principal, asked.named, asked.named.prepared
    with source.asked_from(asked.source.request_id, asked.source.address):
        template = _template(principal, prepared, 0, now)
        line = _with_key(Line(0, 0, new_id("job"), named.name, named.given), asked.key)
        entry = audit.entry(
            principal,
            "job.submitted",
            object_kind="job",
            object_id=line.public_id,
            after={"name": named.name, "team": prepared.team.pk},
        )
    waits, told = _waits(prepared, template), _told(prepared, template)
    return _New(template, line, entry, prepared.team.public_id, waits, told)


def _write(new: Sequence[_New]) -> list[int]:
    """They exist and are announced; primary keys, in order."""
    templates = [msgspec.structs.replace(one.template, t=place) for place, one in enumerate(new)]
    lines = [msgspec.structs.replace(one.line, n=place, t=place) for place, one in enumerate(new)]
    waits = [msgspec.structs.replace(wait, t=place) for place, one in enumerate(new) for wait in one.waits]
    told = [msgspec.structs.replace(item, t=place) for place, one in enumerate(new) for item in one.told]
    pks = insert_jobs(templates, lines, [one.entry for one in new], waits, told)
    hints = [Hint("job", one.line.public_id, 1, one.team) for one in new]
    _publish(hints, _cells_with_work(templates))
    return [pks[line.public_id] for line in lines]


@contextmanager
def _savepoint() -> Iterator[None]:
    """Inside a transaction, one that can be undone by itself; a single statement needs none of its own."""
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield


def _with_key(line: Line, key: Key | None) -> Line:
    return line if key is None else msgspec.structs.replace(line, key=key.key, hash=key.hash)


def _set_of(principal: Principal, named: Named) -> tuple[JobSet, list[tuple[int, Task | None]]]:
    """The set, and the index of each of its jobs with its values of the matrix."""
    effective, tasks = named.prepared.effective, named.prepared.tasks
    indices: list[tuple[int, Task | None]] = list(enumerate(tasks))
    if not tasks:
        ranges = effective["array"]["indices"]
        indices = [(index, None) for first, last, step in ranges for index in range(first, last + 1, step)]
    made = JobSet.objects.create(
        organization=principal.organization,
        team_id=named.prepared.team.pk,
        name=named.name,
        size=len(indices),
        cap=effective["matrix" if tasks else "array"]["cap"],
    )
    return made, sorted(indices, key=lambda one: one[0])


def _template(principal: Principal, prepared: Prepared, number: int, now: datetime) -> Template:
    effective = prepared.effective
    state, reason_code, sentence = _first_state(prepared, now)
    return Template(
        t=number,
        organization=principal.organization.pk,
        team=prepared.team.pk,
        cell=prepared.cell,
        user=principal.user.pk,
        state=state.value,
        reason_code=reason_code,
        sentence=sentence,
        priority=effective["priority"],
        preemptible=effective["preemptible"],
        start_after=effective["start_after"],
        deadline=deadlines.instant_of(effective, now),
        labels=effective["labels"],
        spec=msgspec.Raw(prepared.raw),
        effective=as_raw(effective),
        at=now,
        actor=principal.label,
        cause=source.request_id(),
        schedule=prepared.schedule,
    )


def _first_state(prepared: Prepared, now: datetime) -> tuple[JobState, str, str]:
    """Where a job begins, with reason code and sentence: held by its user, by its dependencies, until its time, or
    queued."""
    start_after = prepared.effective["start_after"]
    if prepared.effective["hold"]:
        return JobState.HELD, "hold", "Held until somebody resumes it."
    if any(one.standing is not Standing.MET for one in prepared.waits_for):
        return JobState.HELD, WAITS, first_sentence(prepared.waits_for)
    if start_after is not None and datetime.fromisoformat(start_after) > now:
        return JobState.HELD, "start_after", f"Held until {start_after}."
    return JobState.QUEUED, "submitted", "Waits for the scheduler's next cycle."


def _waits(prepared: Prepared, template: Template) -> list[Wait]:
    return [
        Wait(template.t, one.job, one.set, one.after.value, one.otherwise.value) for one in prepared.waits_for
    ]


def _told(prepared: Prepared, template: Template) -> list[Told]:
    one = prepared.noticed
    return [] if one is None else [Told(template.t, one.on, one.users, one.hook)]


def _settle_if_held(prepared: Prepared, pks: Iterable[int]) -> None:
    """What it waits for may have ended between being looked at and being written down, or can never come."""
    if prepared.waits_for:
        settle_on_commit(list(pks))


def _as_job(
    prepared: Prepared,
    template: Template,
    line: Line,
    pk: int,
    principal: Principal,
    made_set: JobSet | None,
    now: datetime,
) -> Job:
    """The row that was just written, without reading it."""
    start_after = template.start_after
    effective = prepared.effective | {"name": line.name}
    labels = template.labels | (line.own or {})
    if line.own is not None:
        effective |= {"matrix": line.own, "env": effective["env"] | line.own, "labels": labels}
    known = {
        "id": pk,
        "public_id": line.public_id,
        "organization_id": template.organization,
        "team_id": template.team,
        "cell_id": template.cell,
        "user_id": template.user,
        "schedule_id": template.schedule,
        "index": line.index,
        "name": line.name,
        "state": template.state,
        "status": template.state,
        "reason_code": template.reason_code,
        "sentence": template.sentence,
        "priority": template.priority,
        "preemptible": template.preemptible,
        "spec": msgspec.json.decode(template.spec) | ({} if line.given is None else {"name": line.given}),
        "effective_spec": effective,
        "labels": labels,
        "idempotency_key": line.key,
        "idempotency_hash": line.hash,
        "submitted_at": now,
        "start_after": None if start_after is None else datetime.fromisoformat(start_after),
        "deadline": template.deadline,
        "version": 1,
    }
    job = partial_row(Job, **_new_columns() | known)
    job.organization, job.user, job.set = principal.organization, principal.user, made_set
    return job


@cache
def _new_columns() -> dict[str, Any]:
    """What a job has that only came to be, where nothing else is said."""
    return {column.attname: column.get_default() for column in Job._meta.concrete_fields}


def _cells_with_work(templates: Iterable[Template]) -> set[int]:
    return {template.cell for template in templates if template.state == JobState.QUEUED}


def _announce(teams: set[str], cells: set[int], ids: Sequence[str]) -> None:
    """Pages hear of the first jobs; that there are more, they hear of the team."""
    hints = [Hint("job", public_id, 1, team) for public_id in ids[:HINTS_AT_MOST] for team in list(teams)[:1]]
    if len(teams) > 1 or len(ids) > HINTS_AT_MOST:
        hints += [Hint("team", team, 0, team) for team in sorted(teams)]
    _publish(hints, cells)


def _publish(hints: Sequence[Hint], cells: set[int]) -> None:
    for number, cell in enumerate(sorted(cells) or [None]):
        publish_on_commit(hints=hints if not number else (), cell=cell)
