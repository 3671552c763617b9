"""What people do with jobs: submit them, hold and resume them, stop them, ask for another run.

Every move is a conditional change of a locked row, writes history and audit, and is announced on commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg.errors

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
from flexai.common.source import Source
from flexai.jobs import admission, deadlines, dependencies, notifying, policies, secrets, spec
from flexai.jobs.creation import (
    ALONE_BYTES,
    HINTS_AT_MOST,
    SHOWN_OF_A_SET,
    Asked,
    Key,
    Named,
    Prepared,
    Submission,
    create_batch,
    create_one,
    create_set,
    create_together,
)
from flexai.jobs.listing import JobRow
from flexai.jobs.models import Job
from flexai.jobs.moves import (
    allowed_actions,
    hold_job,
    keep_job,
    release_due,
    requeue_job,
    resume_job,
    stop_job,
)
from flexai.tenancy.principals import Principal, TeamSeat
from flexai.tenancy.roles import Action, allows, least_role

__all__ = [
    "HINTS_AT_MOST",
    "MAX_BATCH",
    "Prepared",
    "Request",
    "Submission",
    "allowed_actions",
    "effective_of",
    "hold_job",
    "keep_job",
    "prepare",
    "release_due",
    "requeue_job",
    "resume_job",
    "stop_job",
    "submit",
    "submit_batch",
    "submit_scheduled",
    "submit_together",
]


@dataclass(frozen=True, slots=True)
class Request:
    """Of one job: who asks, from where, for what, with which idempotency key."""

    principal: Principal
    spec: object
    key: str | None
    source: Source


MAX_BATCH = 10_000
"""Specs of one batch."""
MAX_KEY = 150
"""Characters of an idempotency key."""
MAX_BATCH_ERRORS = 100


def submit(principal: Principal, raw_spec: object, *, idempotency_key: str | None = None) -> Submission:
    """The job, or the set of jobs of an array or a matrix, is queued or held; the scheduler is asked for a cycle.

    The same key with the same body answers what it made before, `created` False. Raises InvalidInput,
    TooLarge, NotFound or Forbidden (team), NeverFits (F6), and Conflict for a key that came with another
    body.
    """
    return _submit(principal, raw_spec, _key(principal, raw_spec, idempotency_key))


def submit_together(asked: Sequence[Request]) -> list[JobRow | None]:
    """Each is submitted as by `submit`, by one statement for all. None for what has to be submitted by itself, of which
    nothing was written: it is refused, makes a set, waits for other jobs, is long, or its key may be known.

    Raises psycopg's other errors, after which nobody knows what was written.
    """
    read: dict[int, _Read] = {}
    ready: dict[int, Asked] = {}
    for place, one in enumerate(asked):
        with suppress(Exception):  # whatever is wrong with it, those beside it are not; by itself it is told
            named = _prepare_once(
                one.principal, one.spec, read.setdefault(id(one.principal), _Read()), arrays=False
            )
            prepared = named.prepared
            if not prepared.waits_for and len(prepared.raw) <= ALONE_BYTES:
                key = _key(one.principal, one.spec, one.key)
                ready[place] = Asked(one.principal, named, key, one.source)
    jobs: list[JobRow | None] = [None] * len(asked)
    if ready:
        with suppress(psycopg.DataError, psycopg.IntegrityError):
            for place, job in zip(ready, create_together(list(ready.values())), strict=True):
                jobs[place] = job
    return jobs


def submit_scheduled(
    principal: Principal, raw_spec: object, key: Key, *, schedule: int, instant: str
) -> Submission:
    """The same for a schedule (primary key) and one of its instants, which the job finds as FLEXAI_SCHEDULED_AT."""

    def of_schedule(prepared: Prepared) -> Prepared:
        env = prepared.effective["env"] | {"FLEXAI_SCHEDULED_AT": instant}
        return replace(prepared, schedule=schedule, effective=prepared.effective | {"env": env})

    return _submit(principal, raw_spec, key, of_schedule)


def _submit(
    principal: Principal,
    raw_spec: object,
    key: Key | None,
    change: Callable[[Prepared], Prepared] = lambda prepared: prepared,
) -> Submission:
    try:
        named = _prepare_once(principal, raw_spec, _Read())
        named = replace(named, prepared=change(named.prepared))
        if not named.prepared.makes_a_set:
            return create_one(principal, named, key)
        return _made_before(principal, key) or create_set(principal, named, key)
    except (FlexaiError, psycopg.errors.UniqueViolation):
        known = _made_before(principal, key)
        if known is None:
            raise
        return known


def prepare(principal: Principal, raw_spec: object) -> Prepared:
    """The spec read, its team found and its request admitted; nothing is written. Raises as `submit` does."""
    return _prepare_once(principal, raw_spec, _Read()).prepared


def effective_of(raw_spec: object) -> dict[str, Any]:
    """The effective spec, before it was admitted anywhere. Raises InvalidInput."""
    return spec.parse(raw_spec).spec


def submit_batch(
    principal: Principal, raw_specs: Sequence[object], *, idempotency_key: str | None = None
) -> tuple[list[str], bool]:
    """All are submitted, or none; their public ids in order, and whether they were made now. Equal specs are read and
    admitted once; the same key with the same specs answers what it made before.

    Raises InvalidInput naming the wrong jobs by their place, and whatever else `submit` raises.
    """
    if not 1 <= len(raw_specs) <= MAX_BATCH:
        raise InvalidInput(f"A batch has 1 to {MAX_BATCH} jobs, not {len(raw_specs)}.")
    key = _key(principal, raw_specs, idempotency_key)
    known = _batch_before(principal, key)
    if known:
        return known, False
    try:
        return create_batch(principal, _prepare_all(principal, raw_specs), key), True
    except (FlexaiError, psycopg.errors.UniqueViolation):
        known = _batch_before(principal, key)
        if not known:
            raise
        return known, False


def _admitted(principal: Principal, given: object, read: spec.Effective, raw: bytes) -> Prepared:
    team = _paying_team(principal, read.spec["team"])
    read = policies.under_policy(principal, team, given, read)
    effective = read.spec
    deadlines.check(effective, clock.now())
    secrets.check_named(effective["secrets"], team)
    effective["team"] = team.name
    cell = admission.cell_of(effective)
    admitted = admission.admit(effective, cell, team=team.pk, organization=principal.organization.pk)
    waits_for = dependencies.find(principal, admitted.effective) if effective["depends_on"] else ()
    roundings = (*read.roundings, *admitted.roundings)
    noticed = notifying.find(principal, team, admitted.effective)
    return Prepared(
        raw, admitted.effective, roundings, team, cell.cell, waits_for, read.tasks, noticed=noticed
    )


def _paying_team(principal: Principal, name: str) -> TeamSeat:
    """The team of this name; without a name, the only one in which the principal may submit."""
    if name:
        seat = next((seat for seat in principal.teams if seat.name == name), None)
        if seat is None:
            known = ", ".join(seat.name for seat in principal.teams[:10]) or "none"
            error = FieldError("team", f"there is no team {name!r} among yours", f"yours are {known}")
            raise InvalidInput(f"There is no team {name!r} among yours ({known}).", errors=[error])
        if not allows(Action.SUBMIT, seat.role):
            needed = least_role(Action.SUBMIT)
            raise Forbidden(
                f"You need the role {needed} in team {name} to submit; yours is {seat.role.value}."
            )
        return seat
    able = [seat for seat in principal.teams if allows(Action.SUBMIT, seat.role)]
    if len(able) == 1:
        return able[0]
    if not able:
        raise Forbidden("You are a member of no team that could pay for a job.")
    names = ", ".join(seat.name for seat in able[:10])
    error = FieldError("team", "is missing, and you may submit for several teams", f"name one of {names}")
    raise InvalidInput(f"Say which team pays: {names}.", errors=[error])


def _prepare_all(principal: Principal, raw_specs: Sequence[object]) -> list[Named]:
    errors: list[FieldError] = []
    never = False
    read = _Read()
    named: list[Named] = []
    for place, raw in enumerate(raw_specs):
        try:
            named.append(_prepare_once(principal, raw, read, arrays=False))
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


@dataclass(slots=True)
class _Read:
    """Specs of one principal that were read, by their JSON: whole, and without the name."""

    whole: dict[bytes, Named] = field(default_factory=dict)
    nameless: dict[bytes, Prepared] = field(default_factory=dict)


def _prepare_once(principal: Principal, raw: object, read: _Read, *, arrays: bool = True) -> Named:
    """The spec, and what it shares with the equal ones in `read`; the first of its kind is put there."""
    encoded = spec.encoded(raw)
    named = read.whole.get(encoded)
    if named is None:
        named = read.whole[encoded] = _prepare(principal, raw, encoded, read.nameless, arrays)
    return named


def _prepare(
    principal: Principal, raw: object, encoded: bytes, read: dict[bytes, Prepared], arrays: bool
) -> Named:
    given = raw.get("name") if isinstance(raw, Mapping) else None
    if isinstance(raw, Mapping) and given:
        encoded = spec.encoded({key: raw[key] for key in raw if key != "name"})
    found = read.get(encoded)
    if found is not None:
        name = spec.parse_name({"name": given} if given else {})
        return Named(found, name, given or None)
    parsed = spec.parse(raw)
    if not arrays and (parsed.tasks or parsed.spec["array"] is not None):
        where = "matrix" if parsed.tasks else "array"
        raise InvalidInput(
            f"`{where}` makes a set of its own; submit it by itself.",
            errors=[FieldError(where, "does not go into a batch", "submit it by itself")],
        )
    found = read[encoded] = _admitted(principal, raw, parsed, encoded)
    return Named(found, parsed.spec["name"], given or None)


def _placed(error: FlexaiError, place: int) -> list[FieldError]:
    where = f"jobs.{place}"
    if not error.errors:
        return [FieldError(where, error.detail.rstrip("."))]
    return [replace(item, field=f"{where}.{item.field}" if item.field else where) for item in error.errors]


def _key(principal: Principal, raw_spec: object, given: str | None) -> Key | None:
    if given is None:
        return None
    if not 1 <= len(given) <= MAX_KEY or not given.isprintable():
        raise InvalidInput(f"An Idempotency-Key has 1 to {MAX_KEY} printable characters.")
    return Key(f"{principal.user.pk}:{given}", hashlib.sha256(spec.canonical(raw_spec)).hexdigest())


def _made_before(principal: Principal, key: Key | None) -> Submission | None:
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
    _check_body(found.idempotency_hash, key)
    if found.set is None:
        return Submission((found,), None, False)
    of_set = Job.objects.filter(set=found.set).select_related("set", "user", "team").order_by("id")
    return Submission(tuple(of_set[:SHOWN_OF_A_SET]), found.set, False)


def _batch_before(principal: Principal, key: Key | None) -> list[str]:
    """Public ids of what the key made; empty where it made nothing. Raises Conflict when that was for
    another body."""
    if key is None:
        return []
    first = (
        Job.objects.filter(organization=principal.organization, idempotency_key=key.key)
        .values_list("public_id", "idempotency_hash", "batch__ids")
        .first()
    )
    if first is None:
        return []
    public_id, known, ids = first
    _check_body(known, key)
    return ids or [public_id]


def _check_body(known: str, key: Key) -> None:
    if known != key.hash:
        raise Conflict("This Idempotency-Key came with another body before; use a new one.")
