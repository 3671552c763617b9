"""What stays of a cycle: its row, one audit entry, an event for every job that it started (law 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction

from flexai.common.database import Send, as_numbers, as_texts, prepared_cursor
from flexai.common.round_trip import Answer
from flexai.scheduling.claims import Placed
from flexai.scheduling.models import Cycle, Removal
from flexai.scheduling.summaries import decided_in, reasons_in
from scheduler_core.decision import Decision

ERROR_CHARACTERS = 20_000
"""A traceback is cut to its end of this length."""
KEPT_CYCLES = 20_000
"""So many cycles of a cell are kept, then the oldest go: some ten MB."""
SCHEDULER = "scheduler"


@dataclass(slots=True)
class CycleNotes:
    """What a cycle knows of itself before it is written. Times in milliseconds."""

    started_at: datetime
    rebuilt: bool = False
    read_ms: int = 0
    decide_ms: int = 0
    waiting: int = 0
    units: int = 0
    effort: int = 0
    """Classes of nodes valued for a replica (P3), and the requests in the mix by which they were."""
    seen: int = 0
    broken_laws: list[dict[str, Any]] = field(default_factory=list)
    excesses: list[dict[str, Any]] = field(default_factory=list)
    decision: Decision | None = None
    """Whose summary is kept; None where another row of the same decision keeps it, or nothing was decided."""


def write_cycle(
    send: Send, cell_id: int, placed: Sequence[Placed], dropped: int, now: datetime, notes: CycleNotes
) -> Answer:
    """The cycle, its audit entry and its events will be written in the current transaction, and the verdicts of
    what started be gone. Answers the cycle's id and the transaction's.

    Its `apply_ms` run from the begin of the transaction; the commit itself comes on top.
    """
    return send(
        _RECORD,
        {
            "cell": cell_id,
            "now": now,
            "started": notes.started_at,
            "read": notes.read_ms,
            "decide": notes.decide_ms,
            "waiting": notes.waiting,
            "units": notes.units,
            "applied": len(placed),
            "dropped": dropped,
            "effort": notes.effort,
            "seen": notes.seen,
            "rebuilt": notes.rebuilt,
            "laws": _json(notes.broken_laws),
            "excesses": _json(notes.excesses),
            "decided": _json(decided_in(notes.decision) if notes.decision else []),
            "reasons": _json(reasons_in(notes.decision) if notes.decision else []),
            "after": _json({"started": [one.job_public_id for one in placed]}),
            "jobs": as_numbers([one.unit.start.job for one in placed]),
            "organizations": as_numbers([one.organization for one in placed]),
            "attempts": as_numbers([one.attempt for one in placed]),
            "sentences": as_texts([one.sentence for one in placed]),
        },
    )


def record_cycle(cell_id: int, notes: CycleNotes, *, error: str = "") -> int:
    """A cycle that started nothing is on record: it failed, broke a law, took or lent chips, or merely ran. Answers its
    id.

    Of cycles that merely ran only the last is kept: a following one takes its row.
    """
    decided = decided_in(notes.decision) if notes.decision else []
    idle = not (error or notes.broken_laws or notes.units or decided)
    values: dict[str, Any] = {
        "started_at": notes.started_at,
        "read_ms": notes.read_ms,
        "decide_ms": notes.decide_ms,
        "apply_ms": 0,
        "waiting": notes.waiting,
        "units": notes.units,
        "effort": notes.effort,
        "seen": notes.seen,
        "rebuilt": notes.rebuilt,
        "broken_laws": notes.broken_laws,
        "excesses": notes.excesses,
        "decided": decided,
        "reasons": reasons_in(notes.decision) if notes.decision else [],
        "error": error[-ERROR_CHARACTERS:],
    }
    with transaction.atomic():
        last = Cycle.objects.filter(cell_id=cell_id).order_by("-id").first() if idle else None
        if last is not None and not (last.units or last.error or last.broken_laws or last.decided):
            Cycle.objects.filter(pk=last.pk).update(**values)
            return last.pk
        return Cycle.objects.create(cell_id=cell_id, **values).pk


def forget_old_records(*, kept_removals_from: datetime) -> None:
    """Cycles beyond `KEPT_CYCLES` of a cell, and removals noted before the given instant, are gone."""
    with transaction.atomic(), prepared_cursor() as cursor:
        cursor.execute(_PRUNE_CYCLES, {"kept": KEPT_CYCLES})
        Removal.objects.filter(at__lt=kept_removals_from).delete()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_RECORD = """
WITH cycle AS (
    INSERT INTO scheduling_cycle (cell_id, started_at, read_ms, decide_ms, apply_ms, waiting, units, applied,
           dropped, effort, seen, rebuilt, broken_laws, excesses, decided, reasons, error)
    VALUES (%(cell)s, %(started)s, %(read)s, %(decide)s,
           floor(extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000), %(waiting)s, %(units)s,
           %(applied)s, %(dropped)s, %(effort)s, %(seen)s, %(rebuilt)s, %(laws)s::jsonb, %(excesses)s::jsonb,
           %(decided)s::jsonb, %(reasons)s::jsonb, '')
 RETURNING id),
audit AS (
    INSERT INTO tenancy_auditentry (at, actor_kind, actor, action, object_kind, object_id, after, reason,
           request_id)
    SELECT %(now)s, 'scheduler', 'scheduler', 'cycle.applied', 'cell', %(cell)s::text, %(after)s::jsonb, '',
           'cycle-' || cycle.id FROM cycle WHERE %(applied)s > 0),
event AS (
    INSERT INTO jobs_event (at, organization_id, job_id, attempt, kind, from_state, to_state, reason_code,
           sentence, facts, actor, cause)
    SELECT %(now)s, p.org, p.job, p.attempt, 'attempt.placed', 'queued', 'active', 'placed', p.sentence,
           '{}'::jsonb, 'scheduler', 'cycle-' || cycle.id
      FROM cycle, unnest(%(jobs)s::bigint[], %(organizations)s::bigint[], %(attempts)s::int[], %(sentences)s::text[])
           AS p (job, org, attempt, sentence)),
verdict AS (
    DELETE FROM scheduling_verdict WHERE job_id = ANY(%(jobs)s::bigint[]))
SELECT id, pg_current_xact_id()::text::bigint FROM cycle"""

_PRUNE_CYCLES = """
DELETE FROM scheduling_cycle c USING (
    SELECT id, row_number() OVER (PARTITION BY cell_id ORDER BY id DESC) AS age FROM scheduling_cycle) old
 WHERE old.id = c.id AND old.age > %(kept)s"""
