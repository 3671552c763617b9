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
from flexai.common.ids import new_ids
from flexai.jobs import deadlines
from flexai.jobs.dependencies import WAITS, Found, first_sentence, settle_on_commit
from flexai.jobs.insertion import Line, Template, Told, Wait, as_raw, insert_jobs
from flexai.jobs.listing import JobRow
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


@dataclass(frozen=True, slots=True)
class Asked:
    """One job of several whose requests came together."""

    principal: Principal
    named: Named
    key: Key | None
    source: source.Source


def create_one(principal: Principal, named: Named, key: Key | None) -> Submission:
    """The job exists and is announced. Raises psycopg's UniqueViolation when the key is taken."""
    prepared, now = named.prepared, clock.now()
    with transaction.atomic() if prepared.waits_for else _savepoint():
        [(public_id, pk, template)] = _write([Asked(principal, named, key, source.current())], now)
        _settle_if_held(prepared, [pk])
    return Submission((_as_job(named, template, public_id, pk, principal, now, key=key),), None, True)


def create_together(asked: Sequence[Asked]) -> list[JobRow]:
    """The jobs exist, each as by `create_one`, and are announced. For plain jobs, outside a transaction. Raises
    psycopg's DataError or IntegrityError when one of them cannot be: then none is there."""
    now = clock.now()
    return [
        _as_row(one, template, public_id, pk, now)
        for one, (public_id, pk, template) in zip(asked, _write(asked, now), strict=True)
    ]


@transaction.atomic
def create_set(principal: Principal, named: Named, key: Key | None) -> Submission:
    """The set and its jobs exist and are announced. Raises psycopg's UniqueViolation when the key is taken."""
    prepared, now = named.prepared, clock.now()
    made, indices = _set_of(principal, named)
    template = msgspec.structs.replace(_template(principal, named, 0, now), set=made.pk)
    ids = new_ids("job", made.size)
    lines = [
        Line(n, 0, public_id, index=index, own=own)
        for n, (public_id, (index, own)) in enumerate(zip(ids, indices, strict=True))
    ]
    lines[0] = _with_key(lines[0], key)
    after = {"name": named.name, "team": prepared.team.pk, "count": made.size}
    entry = audit.entry(principal, "set.submitted", made, after=after)
    pks = insert_jobs([template], lines, [entry], _waits(prepared, template), _told(prepared, template))
    _settle_if_held(prepared, pks)
    jobs = tuple(
        _as_job(named, template, public_id, pk, principal, now, made, index, own, key if place == 0 else None)
        for place, (public_id, pk, (index, own)) in enumerate(
            zip(ids[:SHOWN_OF_A_SET], pks, indices, strict=False)
        )
    )
    _announce({prepared.team.public_id}, _cells_with_work([template]), ids)
    return Submission(jobs, made, True)


def create_batch(principal: Principal, named: Sequence[Named], key: Key | None = None) -> list[str]:
    """All jobs exist and are announced, or none; their public ids in order. Raises psycopg's UniqueViolation when the
    key is taken."""
    now = clock.now()
    new = _new([(principal, item) for item in named], now)
    ids = [line.public_id for line in new.lines]
    new.lines[0] = _with_key(new.lines[0], key)
    entry = audit.entry(
        principal,
        "jobs.submitted",
        object_kind="batch",
        object_id=ids[0],
        after={"count": len(ids), "last": ids[-1]},
    )
    is_batch = key is not None and len(ids) > 1
    with transaction.atomic() if new.waits else _savepoint():
        pks = insert_jobs(new.templates, new.lines, [entry], new.waits, new.told, is_batch=is_batch)
        if new.waits:
            settle_on_commit([pk for pk, item in zip(pks, named, strict=True) if item.prepared.waits_for])
        teams = {item.prepared.team.public_id for item in new.first}
        _announce(teams, _cells_with_work(new.templates), ids)
    return ids


@dataclass(slots=True)
class _New:
    """Jobs to be, what they share, what they wait for, and whom they tell."""

    first: list[Named]
    """The first job of each template."""
    templates: list[Template]
    lines: list[Line]
    waits: list[Wait]
    told: list[Told]


def _new(asked: Sequence[tuple[Principal, Named]], now: datetime) -> _New:
    first: dict[int, tuple[int, Principal, Named]] = {}
    of = [first.setdefault(id(named.prepared), (len(first), principal, named)) for principal, named in asked]
    templates = [_template(principal, named, place, now) for place, principal, named in first.values()]
    lines = [
        Line(n, place, public_id)
        if named is its_first or (named.name == its_first.name and named.given == its_first.given)
        else Line(n, place, public_id, named.name, named.given)
        for n, (public_id, (_, named), (place, _, its_first)) in enumerate(
            zip(new_ids("job", len(asked)), asked, of, strict=True)
        )
    ]
    firsts = [named for _, _, named in first.values()]
    pairs = [(named.prepared, template) for named, template in zip(firsts, templates, strict=True)]
    waits = [wait for prepared, template in pairs for wait in _waits(prepared, template)]
    return _New(firsts, templates, lines, waits, [told for pair in pairs for told in _told(*pair)])


def _write(asked: Sequence[Asked], now: datetime) -> list[tuple[str, int, Template]]:
    """They exist and are announced; public id, primary key and template of each, in order."""
    new = _new([(one.principal, one.named) for one in asked], now)
    lines = [
        _with_key(msgspec.structs.replace(line, cause=one.source.request_id), one.key)
        for line, one in zip(new.lines, asked, strict=True)
    ]
    entries = [
        audit.entry(
            one.principal,
            "job.submitted",
            object_kind="job",
            object_id=line.public_id,
            after={"name": one.named.name, "team": one.named.prepared.team.pk},
            asked=one.source,
        )
        for one, line in zip(asked, lines, strict=True)
    ]
    pks = insert_jobs(new.templates, lines, entries, new.waits, new.told)
    hints = [
        Hint("job", line.public_id, 1, one.named.prepared.team.public_id)
        for one, line in zip(asked, lines, strict=True)
    ]
    _publish(hints, _cells_with_work(new.templates))
    return [(line.public_id, pk, new.templates[line.t]) for line, pk in zip(lines, pks, strict=True)]


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


def _template(principal: Principal, named: Named, place: int, now: datetime) -> Template:
    prepared = named.prepared
    effective = prepared.effective | {"name": named.name}
    state, reason_code, sentence = _first_state(prepared, now)
    return Template(
        t=place,
        name=named.name,
        given=named.given,
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
    named: Named,
    template: Template,
    public_id: str,
    pk: int,
    principal: Principal,
    now: datetime,
    made_set: JobSet | None = None,
    index: int | None = None,
    own: Task | None = None,
    key: Key | None = None,
) -> Job:
    """The row that was just written, without reading it."""
    effective = named.prepared.effective | {"name": named.name}
    labels = template.labels | (own or {})
    if own is not None:
        effective |= {"matrix": own, "env": effective["env"] | own, "labels": labels}
    known = {
        "id": pk,
        "public_id": public_id,
        "organization_id": template.organization,
        "team_id": template.team,
        "cell_id": template.cell,
        "user_id": template.user,
        "schedule_id": template.schedule,
        "index": index,
        "name": named.name,
        "state": template.state,
        "status": template.state,
        "reason_code": template.reason_code,
        "sentence": template.sentence,
        "priority": template.priority,
        "preemptible": template.preemptible,
        "spec": msgspec.json.decode(template.spec) | ({} if named.given is None else {"name": named.given}),
        "effective_spec": effective,
        "labels": labels,
        "idempotency_key": None if key is None else key.key,
        "idempotency_hash": "" if key is None else key.hash,
        "submitted_at": now,
        "start_after": None if template.start_after is None else datetime.fromisoformat(template.start_after),
        "deadline": template.deadline,
        "version": 1,
    }
    job = partial_row(Job, **_new_columns() | known)
    job.organization, job.user, job.set = principal.organization, principal.user, made_set
    return job


def _as_row(asked: Asked, template: Template, public_id: str, pk: int, now: datetime) -> JobRow:
    """The same as answers show it: of a plain job, which is in no set."""
    prepared, name = asked.named.prepared, asked.named.name
    return JobRow(
        pk, public_id, name, "task", template.state, template.state, template.sentence, prepared.team.public_id,
        prepared.team.name, asked.principal.user.username, template.priority, template.preemptible, None, None,
        template.labels, prepared.effective, 0, None, "", template.reason_code, now, None, None, template.deadline, 1,
    )  # fmt: skip


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
