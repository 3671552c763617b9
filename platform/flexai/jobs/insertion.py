"""New jobs as rows, many at once: jobs, their names, their first events and the audit in one statement, however many
they are.

Specs that are equal but for the name travel once (a *template*): ten thousand tasks of an array are one template
and ten thousand short lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from flexai.common.database import as_rows, prepared_cursor
from flexai.tenancy.audit import Entry


class Template(msgspec.Struct, frozen=True):
    """What jobs share that are equal but for the name; `spec` and `effective` are JSON texts."""

    t: int
    """Its place among the templates."""
    name: str
    """What its jobs are called, of which nothing else is said; `effective` has it."""
    given: str | None
    """That name as it was submitted, which `spec` lacks; None where none was."""
    organization: int
    team: int
    cell: int
    user: int
    state: str
    reason_code: str
    sentence: str
    priority: int
    preemptible: bool
    start_after: str | None
    deadline: datetime | None
    labels: dict[str, str]
    spec: msgspec.Raw
    effective: msgspec.Raw
    at: datetime
    actor: str
    cause: str
    """Request id."""
    schedule: int | None = None
    set: int | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job to be: its public id, its template, and what is its own."""

    n: int
    """Order: primary keys grow with it."""
    t: int
    public_id: str
    name: str | None = None
    """None: as its template's."""
    given: str | None = None
    """A name of its own as it was submitted."""
    index: int | None = None
    key: str | None = None
    hash: str = ""
    cause: str | None = None
    """Request id; None: its template's."""
    own: dict[str, str] | None = None
    """Its values of the set's matrix: variables, labels, and `matrix` of its effective spec."""


class Wait(msgspec.Struct, frozen=True):
    """A dependency of every job of a template, on a job or on a set (primary keys)."""

    t: int
    on_job: int | None
    on_set: int | None
    after: str
    otherwise: str


class Told(msgspec.Struct, frozen=True):
    """Who is told of which events of every job of a template (primary keys)."""

    t: int
    on: tuple[str, ...]
    users: tuple[int, ...]
    hook: int | None


_INSERT = """
WITH t AS MATERIALIZED (
    SELECT r.*, (SELECT id FROM tenancy_team WHERE id = r.team FOR KEY SHARE) AS team_id,
        (SELECT id FROM tenancy_user WHERE id = r."user" FOR KEY SHARE) AS user_id,
        CASE WHEN r.given IS NULL THEN r.spec ELSE r.spec || jsonb_build_object('name', r.given) END AS named,
        pg_current_xact_id()::text::bigint AS changed
    FROM json_to_recordset(%s::json) AS r(
        t int, name text, given text, organization bigint, team bigint, cell bigint, "user" bigint, state text,
        reason_code text, sentence text, priority int, preemptible boolean, start_after timestamptz,
        deadline timestamptz, labels jsonb, spec jsonb, effective jsonb, at timestamptz, actor text, cause text,
        schedule bigint, "set" bigint)
), lines AS MATERIALIZED (
    SELECT nextval('jobs_job_id_seq') AS id, r.*
    FROM json_to_recordset(%s::json) AS r(
        n int, t int, public_id text, name text, given text, index int, key text, hash text, cause text, own jsonb)
), made AS (
    INSERT INTO jobs_job (
        id, public_id, organization_id, team_id, cell_id, user_id, set_id, schedule_id, index, name, type, state,
        status, reason_code, sentence, priority, preemptible, spec, effective_spec, spec_version, labels,
        idempotency_key, idempotency_hash, submitted_at, start_after, deadline, attempts_count, failures, outcome,
        version, changed)
    SELECT l.id, l.public_id, t.organization, t.team_id, t.cell, t.user_id, t."set", t.schedule, l.index,
        coalesce(l.name, t.name), 'task', t.state, t.state, t.reason_code, t.sentence, t.priority, t.preemptible,
        CASE WHEN l.name IS NULL THEN t.named WHEN l.given IS NULL THEN t.spec
            ELSE t.spec || jsonb_build_object('name', l.given) END,
        CASE WHEN l.name IS NULL AND l.own IS NULL THEN t.effective
            ELSE t.effective || jsonb_build_object('name', coalesce(l.name, t.name)) || CASE WHEN l.own IS NULL
                THEN '{}'::jsonb ELSE jsonb_build_object(
                    'matrix', l.own, 'env', (t.effective->'env') || l.own, 'labels', t.labels || l.own) END END,
        1, CASE WHEN l.own IS NULL THEN t.labels ELSE t.labels || l.own END, l.key, coalesce(l.hash, ''), t.at,
        t.start_after, t.deadline, 0, 0, '', 1, t.changed
    FROM lines l JOIN t USING (t)
), named AS (
    INSERT INTO jobs_jobname (organization_id, name)
    SELECT DISTINCT t.organization, coalesce(l.name, t.name) FROM lines l JOIN t USING (t) ORDER BY 1, 2
    ON CONFLICT (organization_id, name) DO NOTHING
), told AS (
    INSERT INTO jobs_event (
        at, organization_id, job_id, kind, from_state, to_state, reason_code, sentence, facts, actor, cause)
    SELECT t.at, t.organization, l.id, 'job.submitted', '', t.state, t.reason_code, t.sentence, '{}'::jsonb, t.actor,
        coalesce(l.cause, t.cause)
    FROM lines l JOIN t USING (t)
){waiting}{noticed}{batched}, audited AS (
    INSERT INTO tenancy_auditentry (
        at, organization_id, actor_kind, actor, action, object_kind, object_id, before, after, reason,
        request_id, address)
    SELECT * FROM json_to_recordset(%s::json) AS r(
        at timestamptz, organization bigint, actor_kind text, actor text, action text, object_kind text,
        object_id text, before jsonb, after jsonb, reason text, request_id text,
        address text)
)
SELECT id FROM lines ORDER BY n
"""
_WAITING = """, waiting AS (
    INSERT INTO jobs_dependency (job_id, on_job_id, on_set_id, after, otherwise)
    SELECT lines.id, w.on_job, w.on_set, w.after, w.otherwise
    FROM json_to_recordset(%s::json) AS w(t int, on_job bigint, on_set bigint, after text, otherwise text)
    JOIN lines USING (t)
)"""
_NOTICED = """, noticed AS (
    INSERT INTO jobs_notice (job_id, "on", users, hook_id)
    SELECT lines.id, n."on", n.users, n.hook
    FROM json_to_recordset(%s::json) AS n(t int, "on" text[], users bigint[], hook bigint)
    JOIN lines USING (t)
)"""
_BATCHED = """, batched AS (
    INSERT INTO jobs_batch (job_id, ids)
    SELECT (SELECT id FROM lines ORDER BY n LIMIT 1), ARRAY(SELECT public_id FROM lines ORDER BY n)
)"""


@cache
def _insert(waits: bool, told: bool, is_batch: bool) -> str:
    """The statement, without what most jobs have not: the server sets up each part of it anew every time."""
    parts = {"{waiting}": _WAITING * waits, "{noticed}": _NOTICED * told, "{batched}": _BATCHED * is_batch}
    statement = _INSERT
    for place, part in parts.items():
        statement = statement.replace(place, part)
    return statement


def insert_jobs(
    templates: Sequence[Template],
    lines: Sequence[Line],
    entries: Sequence[Entry],
    waits: Sequence[Wait] = (),
    told: Sequence[Told] = (),
    *,
    is_batch: bool = False,
) -> list[int]:
    """The jobs exist with their first event, their dependencies, whom they tell, and the audit's entries; primary keys
    in the order of the lines. A batch is remembered by its first job.

    All of it or nothing: in the caller's transaction, or, where there is none, in one of its own. Raises
    psycopg's UniqueViolation when an idempotency key is taken, and NotNullViolation when a team or a user has
    gone (ADR 0014); a set or a schedule that is named is made or locked by the caller's transaction.
    """
    parts = [as_rows(part) for part in (templates, lines, *filter(None, (waits, told)), entries)]
    with prepared_cursor() as cursor:
        rows = cursor.execute(_insert(bool(waits), bool(told), is_batch), parts, prepare=True)
        return [pk for (pk,) in rows.fetchall()]


def as_raw(value: Any) -> msgspec.Raw:
    """The value as JSON text, to be embedded as it is."""
    return msgspec.Raw(msgspec.json.encode(value))
