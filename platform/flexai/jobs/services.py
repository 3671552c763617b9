"""What people do with jobs: submit them, hold and resume them, stop them, ask for another run.

Every move is a conditional change of a locked row, writes history and audit, and is announced on commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import psycopg.errors
from django.db import transaction

from flexai.common import clock
from flexai.common.errors import (
    Conflict,
    FieldError,
    FlexaiError,
    Forbidden,
    InvalidInput,
    NeverFits,
    NotFound,
)
from flexai.common.events import Hint, publish_on_commit
from flexai.common.ids import new_id
from flexai.jobs import admission, spec
from flexai.jobs.insertion import Line, Template, as_raw, insert_jobs
from flexai.jobs.models import Job, JobSet
from flexai.jobs.moves import allowed_actions, hold_job, release_due, requeue_job, resume_job, stop_job
from flexai.tenancy import audit
from flexai.tenancy.models import Role
from flexai.tenancy.principals import RANK, Principal, TeamSeat
from scheduler_core.lifecycle import JobState

__all__ = [
    "MAX_BATCH",
    "Prepared",
    "Submission",
    "allowed_actions",
    "effective_of",
    "hold_job",
    "prepare",
    "release_due",
    "requeue_job",
    "resume_job",
    "stop_job",
    "submit",
    "submit_batch",
]

MAX_BATCH = 10_000
"""Specs of one batch."""
SHOWN_OF_A_SET = 10
"""Jobs of a new array that the answer tells."""
MAX_KEY = 150
"""Characters of an idempotency key."""
HINTS_AT_MOST = 50
"""A larger submit names so many jobs to the pages, and tells them to read the team's list again."""
MAX_BATCH_ERRORS = 100


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


@dataclass(frozen=True, slots=True)
class _Named:
    """One job's spec: what it shares with others, and its name."""

    prepared: Prepared
    name: str
    given: str | None


@dataclass(frozen=True, slots=True)
class _Key:
    """An idempotency key as it is stored: a user's own, with the hash of the body that came with it."""

    key: str
    hash: str


def submit(principal: Principal, raw_spec: object, *, idempotency_key: str | None = None) -> Submission:
    """The job, or the array's set of jobs, is queued or held; the scheduler is asked for a cycle.

    The same key with the same body answers what it made before, `created` False. Raises InvalidInput,
    TooLarge, NotFound or Forbidden (team), NeverFits (F6), and Conflict for a key that came with another
    body.
    """
    key = _key(principal, raw_spec, idempotency_key)
    known = _made_before(principal, key)
    if known is not None:
        return known
    named = _prepare_once(principal, raw_spec, {})
    try:
        return _create(principal, named, key)
    except psycopg.errors.UniqueViolation:
        known = _made_before(principal, key)
        if known is None:
            raise
        return known


def prepare(principal: Principal, raw_spec: object) -> Prepared:
    """The spec read, its team found and its request admitted; nothing is written. Raises as `submit` does."""
    return _prepare_once(principal, raw_spec, {}).prepared


def effective_of(raw_spec: object) -> dict[str, Any]:
    """The effective spec, before it was admitted anywhere. Raises InvalidInput."""
    return spec.parse(raw_spec).spec


@transaction.atomic
def submit_batch(principal: Principal, raw_specs: Sequence[object]) -> list[str]:
    """All are submitted, or none; their public ids in order. Equal specs are read and admitted once.

    Raises InvalidInput naming the wrong jobs by their place, and whatever else `submit` raises.
    """
    if not 1 <= len(raw_specs) <= MAX_BATCH:
        raise InvalidInput(f"A batch has 1 to {MAX_BATCH} jobs, not {len(raw_specs)}.")
    named = _prepare_all(principal, raw_specs)
    now = clock.now()
    distinct = {id(item.prepared): item.prepared for item in named}
    templates = {
        key: _template(principal, prepared, number, now)
        for number, (key, prepared) in enumerate(distinct.items())
    }
    ids = [new_id("job") for _ in named]
    lines = [
        Line(n, templates[id(item.prepared)].t, public_id, item.name, item.given)
        for n, (item, public_id) in enumerate(zip(named, ids, strict=True))
    ]
    insert_jobs(list(templates.values()), lines, at=now, actor=principal.label, cause=principal.request_id)
    audit.record(
        principal,
        "jobs.submitted",
        object_kind="batch",
        object_id=ids[0],
        after={"count": len(ids), "last": ids[-1]},
    )
    _announce({one.team for one in distinct.values()}, {one.cell for one in distinct.values()}, ids)
    return ids


@transaction.atomic
def _create(principal: Principal, named: _Named, key: _Key | None) -> Submission:
    now, prepared = clock.now(), named.prepared
    template = _template(principal, prepared, 0, now)
    made_set, indices = _set_of(principal, named)
    set_pk = made_set.pk if made_set else None
    lines = [
        Line(n, 0, new_id("job"), named.name, named.given, set_pk, index) for n, index in enumerate(indices)
    ]
    if key is not None:
        lines[0] = msgspec.structs.replace(lines[0], key=key.key, hash=key.hash)
    pks = insert_jobs([template], lines, at=now, actor=principal.label, cause=principal.request_id)
    jobs = tuple(
        _as_job(template, line, pks[line.public_id], principal, made_set, now)
        for line in lines[:SHOWN_OF_A_SET]
    )
    _record(principal, jobs[0], made_set)
    _announce({prepared.team}, {prepared.cell}, [line.public_id for line in lines])
    return Submission(jobs, made_set, True)


def _set_of(principal: Principal, named: _Named) -> tuple[JobSet | None, list[int | None]]:
    array = named.prepared.effective["array"]
    if array is None:
        return None, [None]
    indices: list[int | None] = [
        index for first, last, step in array["indices"] for index in range(first, last + 1, step)
    ]
    made = JobSet.objects.create(
        organization=principal.organization,
        team_id=named.prepared.team.pk,
        name=named.name,
        size=len(indices),
        cap=array["cap"],
    )
    return made, sorted(indices, key=lambda index: index or 0)


def _record(principal: Principal, job: Job, made_set: JobSet | None) -> None:
    after = {"name": job.name, "team": job.team_id}
    if made_set is None:
        audit.record(principal, "job.submitted", job, after=after)
    else:
        audit.record(principal, "set.submitted", made_set, after={**after, "count": made_set.size})


def _template(principal: Principal, prepared: Prepared, number: int, now: datetime) -> Template:
    effective = prepared.effective
    state, reason_code, sentence = first_state(effective, now)
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
        labels=effective["labels"],
        spec=msgspec.Raw(prepared.raw),
        effective=as_raw(effective),
    )


def first_state(effective: Mapping[str, Any], now: datetime) -> tuple[JobState, str, str]:
    """Where a job begins, with reason code and sentence: held by its user, held until its time, or queued."""
    start_after = effective["start_after"]
    if effective["hold"]:
        return JobState.HELD, "hold", "Held until somebody resumes it."
    if start_after is not None and datetime.fromisoformat(start_after) > now:
        return JobState.HELD, "start_after", f"Held until {start_after}."
    return JobState.QUEUED, "submitted", "Waits for the scheduler's next cycle."


def _as_job(
    template: Template, line: Line, pk: int, principal: Principal, made_set: JobSet | None, now: datetime
) -> Job:
    """The row that was just written, without reading it."""
    start_after = template.start_after
    return Job(
        id=pk,
        public_id=line.public_id,
        organization=principal.organization,
        team_id=template.team,
        cell_id=template.cell,
        user=principal.user,
        set=made_set,
        index=line.index,
        name=line.name,
        state=template.state,
        status=template.state,
        reason_code=template.reason_code,
        sentence=template.sentence,
        priority=template.priority,
        preemptible=template.preemptible,
        spec=msgspec.json.decode(template.spec) | ({} if line.given is None else {"name": line.given}),
        effective_spec=msgspec.json.decode(template.effective) | {"name": line.name},
        labels=template.labels,
        idempotency_key=line.key,
        idempotency_hash=line.hash,
        submitted_at=now,
        start_after=None if start_after is None else datetime.fromisoformat(start_after),
        version=1,
    )


def _announce(teams: Iterable[TeamSeat], cells: Iterable[int], ids: Sequence[str]) -> None:
    """Pages hear of the first jobs; that there are more, they hear of the team."""
    teams = list(teams)
    hints = [
        Hint("job", public_id, 1, team.public_id) for public_id in ids[:HINTS_AT_MOST] for team in teams[:1]
    ]
    if len(teams) > 1 or len(ids) > HINTS_AT_MOST:
        hints += [Hint("team", team.public_id, 0, team.public_id) for team in teams]
    for number, cell in enumerate(sorted(cells)):
        publish_on_commit(hints=hints if not number else (), cell=cell)


def _admitted(principal: Principal, read: spec.Effective, raw: bytes) -> Prepared:
    effective = read.spec
    team = _paying_team(principal, effective["team"])
    effective["team"] = team.name
    cell = admission.cell_of(effective)
    admitted = admission.admit(effective, cell, team=team.pk, organization=principal.organization.pk)
    return Prepared(raw, admitted.effective, (*read.roundings, *admitted.roundings), team, cell.cell)


def _paying_team(principal: Principal, name: str) -> TeamSeat:
    """The team of this name; without a name, the only one in which the principal may submit."""
    if name:
        seat = next((seat for seat in principal.teams if seat.name == name), None)
        if seat is None:
            known = ", ".join(seat.name for seat in principal.teams[:10]) or "none"
            error = FieldError("team", f"there is no team {name!r} among yours", f"yours are {known}")
            raise InvalidInput(f"There is no team {name!r} among yours ({known}).", errors=[error])
        if RANK[seat.role] < RANK[Role.MEMBER]:
            raise Forbidden(f"You need the role member in team {name} to submit; yours is {seat.role.value}.")
        return seat
    able = [seat for seat in principal.teams if RANK[seat.role] >= RANK[Role.MEMBER]]
    if len(able) == 1:
        return able[0]
    if not able:
        raise Forbidden("You are a member of no team that could pay for a job.")
    names = ", ".join(seat.name for seat in able[:10])
    error = FieldError("team", "is missing, and you may submit for several teams", f"name one of {names}")
    raise InvalidInput(f"Say which team pays: {names}.", errors=[error])


def _prepare_all(principal: Principal, raw_specs: Sequence[object]) -> list[_Named]:
    errors: list[FieldError] = []
    never = False
    made: dict[bytes, Prepared] = {}
    named: list[_Named] = []
    for place, raw in enumerate(raw_specs):
        try:
            named.append(_prepare_once(principal, raw, made, arrays=False))
        except (InvalidInput, NeverFits, NotFound, Forbidden) as error:
            never = never or isinstance(error, NeverFits)
            errors += _placed(error, place)
            if len(errors) >= MAX_BATCH_ERRORS:
                break
    if errors:
        kind = NeverFits if never else InvalidInput
        first = errors[0]
        raise kind(f"Nothing was submitted; first {first.field}: {first.message}.", errors=errors)
    return named


def _prepare_once(
    principal: Principal, raw: object, made: dict[bytes, Prepared], *, arrays: bool = True
) -> _Named:
    """The spec, and what it shares with the equal ones in `made`; the first of its kind is put there."""
    given = raw.get("name") if isinstance(raw, Mapping) else None
    rest = {key: raw[key] for key in raw if key != "name"} if isinstance(raw, Mapping) and given else raw
    encoded = spec.encoded(rest)
    found = made.get(encoded)
    if found is not None:
        name = spec.parse_name({"name": given} if given else {})
        return _Named(found, name, given or None)
    read = spec.parse(raw)
    if read.spec["array"] is not None and not arrays:
        raise InvalidInput(
            "An array is a set of its own; submit it by itself.",
            errors=[FieldError("array", "does not go into a batch", "submit it by itself")],
        )
    found = made[encoded] = _admitted(principal, read, encoded)
    return _Named(found, read.spec["name"], given or None)


def _placed(error: FlexaiError, place: int) -> list[FieldError]:
    where = f"jobs.{place}"
    if not error.errors:
        return [FieldError(where, error.detail.rstrip("."))]
    return [replace(item, field=f"{where}.{item.field}" if item.field else where) for item in error.errors]


def _key(principal: Principal, raw_spec: object, given: str | None) -> _Key | None:
    if given is None:
        return None
    if not 1 <= len(given) <= MAX_KEY or not given.isprintable():
        raise InvalidInput(f"An Idempotency-Key has 1 to {MAX_KEY} printable characters.")
    body = spec.encoded(raw_spec, order="deterministic")
    return _Key(f"{principal.user.pk}:{given}", hashlib.sha256(body).hexdigest())


def _made_before(principal: Principal, key: _Key | None) -> Submission | None:
    """What the key made, if it did. Raises Conflict when that was for another body."""
    if key is None:
        return None
    found = (
        Job.objects.filter(organization=principal.organization, idempotency_key=key.key)
        .select_related("set", "user", "team")
        .first()
    )
    if found is None:
        return None
    if found.idempotency_hash != key.hash:
        raise Conflict("This Idempotency-Key came with another body before; use a new one.")
    if found.set is None:
        return Submission((found,), None, False)
    of_set = Job.objects.filter(set=found.set).select_related("set", "user", "team").order_by("id")
    return Submission(tuple(of_set[:SHOWN_OF_A_SET]), found.set, False)
