"""Right-sizing (T5): waiting tasks of an array ask for what earlier ones used, and people are told what theirs used."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from flexai.common.database import Cursor, Writes, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.models import Job
from scheduler_core.sizing import Used, advise, right_size

SIZED_AT_ONCE: Final = 10_000
"""Tasks of one call, the largest set; the next call takes the next."""


def right_size_sets(now: datetime) -> int:
    """Tasks that no attempt was made of ask for the host memory that ended ones of their array held, and a margin; how
    many changed. What they were submitted with is kept, and theirs again when it is too little (`ending`)."""
    changed = 0
    with prepared_cursor() as cursor:
        sets = cursor.execute(_OPEN_SETS).fetchall()
        for set_pk, asked, current in sets:
            measured, peak = cursor.execute(_MEASURED, [set_pk]).fetchall()[0]
            size = right_size(asked, current, measured, peak or 0)
            if size is not None and changed < SIZED_AT_ONCE:
                sentence = (
                    f"Asks for {size} MiB of memory instead of {asked} MiB: {measured} earlier tasks of its array held "
                    f"{peak} MiB at most. It gets what it asked for should that be too little."
                )
                changed += _resize(cursor, set_pk, size, asked, sentence, now)
    return changed


def _resize(cursor: Cursor, set_pk: int, size: int, asked: int, sentence: str, now: datetime) -> int:
    given = {
        "set": set_pk, "size": size, "asked": asked, "sentence": sentence, "now": now, "limit": SIZED_AT_ONCE,
    }  # fmt: skip
    with transaction.atomic():
        rows = cursor.execute(_RESIZE, given).fetchall()
        for cell, team in {(cell, team) for cell, team in rows}:
            publish_on_commit(hints=[Hint("team", team, 0, team)], cell=cell)
    return len(rows)


def grow_back(cursor: Writes, job_pks: list[int]) -> None:
    """These jobs, whose rows the caller holds under lock, ask for the memory that they were submitted with."""
    cursor.execute(_GROW, [as_rows([{"job": pk} for pk in job_pks])])


def advice_of(job: Job, now: datetime) -> list[dict[str, Any]]:
    """What the next run of such a job could ask for, by what its last attempt used; nothing where that is not known."""
    if not job.attempts_count or job.effective_spec.get("alternatives"):
        return []
    with prepared_cursor() as cursor:
        row = cursor.execute(_USED, [job.pk]).fetchone()
    if row is None:
        return []
    began, ended, use, peak = row
    resources = job.effective_spec["resources"]
    used = Used(
        chips=resources["chips"],
        milli=resources["milli"],
        memory=job.effective_spec.get("asked_memory_mib") or resources["memory_mib"],
        run=((ended or now) - began) // timedelta(milliseconds=1),
        use=use,
        peak=peak,
    )
    return [asdict(one) for one in advise(used)]


_SIZEABLE = """
j.attempts_count = 0 AND j.effective_spec->>'right_size' = 'true' AND jsonb_typeof(j.effective_spec->'array') = 'object'
AND (j.effective_spec->'resources'->>'memory_mib')::bigint > 0
AND coalesce(jsonb_array_length(j.effective_spec->'alternatives'), 0) = 0"""
_OPEN_SETS = f"""
SELECT DISTINCT ON (j.set_id) j.set_id,
    coalesce((j.effective_spec->>'asked_memory_mib')::int, (j.effective_spec->'resources'->>'memory_mib')::int),
    (j.effective_spec->'resources'->>'memory_mib')::int
FROM jobs_job j WHERE j.set_id IS NOT NULL AND j.state = 'queued' AND {_SIZEABLE}
ORDER BY j.set_id, j.id DESC
"""  # noqa: S608 - constants alone
_MEASURED = """
SELECT count(*)::int, max(a.memory_peak_mib) FROM jobs_job j
JOIN jobs_attempt a ON a.job_id = j.id AND a.number = j.attempts_count
WHERE j.set_id = %s AND j.state = 'succeeded' AND a.memory_peak_mib > 0
"""
_RESIZE = f"""
WITH due AS (
    SELECT j.id FROM jobs_job j
    WHERE j.set_id = %(set)s AND j.state IN ('queued', 'held') AND {_SIZEABLE}
      AND (j.effective_spec->'resources'->>'memory_mib')::int <> %(size)s
    ORDER BY j.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), sized AS (
    UPDATE jobs_job j SET version = j.version + 1, spec_version = j.spec_version + 1,
        effective_spec = jsonb_set(j.effective_spec, '{{resources,memory_mib}}', to_jsonb(%(size)s::int))
            || jsonb_build_object('asked_memory_mib', %(asked)s::int)
    FROM due WHERE j.id = due.id RETURNING j.id, j.organization_id, j.team_id, j.cell_id, j.state
), told AS (
    INSERT INTO jobs_event (
        at, organization_id, job_id, kind, from_state, to_state, reason_code, sentence, facts, actor, cause)
    SELECT %(now)s, organization_id, id, 'job.right_sized', state, state, 'right_sized', %(sentence)s,
        jsonb_build_object('memory_mib', %(size)s::int, 'asked_mib', %(asked)s::int), 'platform', ''
    FROM sized ORDER BY id
)
SELECT s.cell_id, t.public_id FROM sized s JOIN tenancy_team t ON t.id = s.team_id
"""  # noqa: S608 - constants alone
_GROW = """
UPDATE jobs_job j SET spec_version = j.spec_version + 1, effective_spec = jsonb_set(
        j.effective_spec, '{resources,memory_mib}', j.effective_spec->'asked_memory_mib') - 'asked_memory_mib'
FROM json_to_recordset(%s::json) AS u(job bigint) WHERE j.id = u.job AND j.effective_spec ? 'asked_memory_mib'
"""
_USED = """
SELECT a.running_at, a.ended_at, coalesce(a.use_permille, m.use)::int,
    greatest(a.memory_peak_mib, coalesce(m.peak, 0))::int
FROM jobs_attempt a LEFT JOIN LATERAL (
    SELECT sum(use_total) / nullif(sum(samples) FILTER (WHERE use_total IS NOT NULL), 0) AS use,
        max(memory_peak_mib) AS peak
    FROM jobs_attemptminute WHERE attempt_id = a.id) m ON true
WHERE a.job_id = %s AND a.running_at IS NOT NULL ORDER BY a.number DESC LIMIT 1
"""
