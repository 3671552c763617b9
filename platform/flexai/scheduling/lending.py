"""Applies what a decision lends and recalls (T3): each loan and each recall whole, or not at all (law 2).

A loan holds when its job still waits in the version that was decided on, its owners still offer what they hold there,
and nothing rises above capacity (Q7). Loans are few, so each has a transaction of its own; one that loses a race is
decided on again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction

from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.common.ids import new_id
from flexai.jobs.history import Happened, write_history
from flexai.scheduling.apply import LOST_RACE, REFUSED
from flexai.scheduling.claims import DoesNotHold
from scheduler_core.decision import Loan, Recall, RecallGround
from scheduler_core.lifecycle import AttemptEvent, AttemptState, Outcome, move_attempt
from scheduler_core.model import Placement

log = logging.getLogger(__name__)

WHY: dict[RecallGround, str] = {
    RecallGround.OWNER_BACK: "the owner of its chips uses them again",
    RecallGround.OWNER_GONE: "the owner of its chips has ended",
    RecallGround.OWNER_KEEPS: "the owner of its chips lends them no longer",
    RecallGround.CHIPS_NEEDED: "somebody starts in its place by right",
}
"""Why a guest must go, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What became of loans and recalls."""

    jobs: tuple[int, ...]
    """Jobs that are guests now."""
    recalled: tuple[int, ...]
    """Attempts that were told to leave."""
    transaction_ids: tuple[int, ...]
    """Those that wrote; the feed knows the loop's own rows by them."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A waiting job, locked."""

    id: int
    public_id: str
    team_public_id: str
    organization: int
    version: int


@dataclass(frozen=True, slots=True)
class _Lender:
    """A live attempt that lends, locked."""

    id: int
    number: int
    state: str
    job: int
    job_public_id: str
    job_version: int
    team_public_id: str
    organization: int


def lend_and_recall(cell_id: int, loans: Sequence[Loan], recalls: Sequence[Recall], *, now: datetime) -> Lent:
    """The jobs of the loans that still hold are guests, and the guests of the recalls that still hold are stopping.
    Their histories say it, and their owners', with the numbers. Browsers and agents hear of it on commit.
    """
    recalled, recalling = _recall_all(cell_id, recalls, now) if recalls else ((), 0)
    jobs: list[int] = []
    transactions = [recalling] if recalling else []
    for loan in loans:
        try:
            with transaction.atomic(), prepared_cursor() as cursor:
                cursor.execute(_LOCK_JOBS, [[loan.start.job], cell_id])
                _lend(cursor, cell_id, loan, now)
                transactions.append(_transaction(cursor))
        except (*REFUSED, *LOST_RACE) as error:
            log.info("cell %s: job %s is not lent to: %s", cell_id, loan.start.job, error)
        else:
            jobs.append(loan.start.job)
    return Lent(tuple(jobs), recalled, tuple(transactions))


def _recall_all(cell_id: int, recalls: Sequence[Recall], now: datetime) -> tuple[tuple[int, ...], int]:
    with transaction.atomic(), prepared_cursor() as cursor:
        cursor.execute(_LOCK_JOBS, [sorted({recall.job for recall in recalls}), cell_id])
        return _recall(cursor, recalls, now), _transaction(cursor)


def _transaction(cursor: Cursor) -> int:
    row = cursor.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    return row[0] if row else 0


def _lend(cursor: Cursor, cell_id: int, loan: Loan, now: datetime) -> None:
    """The job is a guest. Raises DoesNotHold, or an IntegrityError, where that does not hold any more."""
    places = loan.start.placements
    row = cursor.execute(_WAITING, [loan.start.job, loan.start.version]).fetchone()
    if row is None:
        raise DoesNotHold("its job does not wait any more")
    job = _Job(*row)
    lenders = [_Lender(*found) for found in cursor.execute(_LENDERS, [list(loan.lenders)])]
    if len(lenders) < len(loan.lenders):
        raise DoesNotHold("an owner does not offer its chips any more")
    where = "; ".join(_take(cursor, place) for place in sorted(places, key=lambda place: place.node))
    sentence = f"Placed as a guest on {where}: it makes way when the owner is back."
    values = {
        "now": now, "cell": cell_id, "job": job.id, "version": job.version, "attempt": new_id("att"),
        "sentence": sentence, "lenders": list(loan.lenders),
        "places": as_rows(
            [{"index": p.replica, "node": p.node, "cpu": p.cpu, "memory": p.memory} for p in places]
        ),
        "shares": as_rows([{"index": p.replica, **asdict(share)} for p in places for share in p.chips]),
        "rule": msgspec.json.encode(asdict(loan.rule)).decode(),
    }  # fmt: skip
    claimed = cursor.execute(_CLAIM, values).fetchone()
    if claimed is None:
        raise DoesNotHold("its job does not wait any more")
    milli = sum(share.milli for place in places for share in place.chips)
    facts = {**asdict(loan.rule), "milli": milli}
    told = Happened(
        at=now, kind="attempt.placed", sentence=sentence, actor="scheduler", organization=job.organization,
        job=job.id, attempt=claimed[0], from_state="queued", to_state="active", reason_code="guest", facts=facts,
    )  # fmt: skip
    write_history(cursor, [told, *(_told_lender(lender, where, milli, now) for lender in lenders)])
    hints = [Hint("job", job.public_id, job.version + 1, job.team_public_id)]
    hints += [Hint("job", one.job_public_id, one.job_version, one.team_public_id) for one in lenders]
    publish_on_commit(hints=hints, nodes={place.node for place in places})


def _take(cursor: Cursor, place: Placement) -> str:
    """The counters of node and chips have moved (Q7); the node's name and the chips' indexes, for people."""
    node = cursor.execute(
        _TAKE_NODE, {"node": place.node, "cpu": place.cpu, "memory": place.memory}
    ).fetchone()
    if node is None:
        raise DoesNotHold("its node has no room left for it, or is not in service")
    chips = cursor.execute(
        _TAKE_CHIPS, {"taken": as_rows([asdict(share) for share in place.chips]), "node": place.node}
    ).fetchall()
    if len(chips) < len(place.chips):
        raise DoesNotHold("a chip has no room left for it, or is not in service")
    indexes = sorted(index for (index,) in chips)
    return f"{node[0]}, chip{'s' if len(indexes) > 1 else ''} {', '.join(map(str, indexes))}"


def _told_lender(lender: _Lender, where: str, milli: int, now: datetime) -> Happened:
    sentence = f"A guest uses what it does not use on {where}; the guest makes way when it is back."
    return Happened(
        at=now, kind="attempt.lent", sentence=sentence, actor="scheduler", organization=lender.organization,
        job=lender.job, attempt=lender.number, from_state=lender.state, to_state=lender.state, reason_code="lent",
        facts={"milli": milli},
    )  # fmt: skip


def _recall(cursor: Cursor, recalls: Sequence[Recall], now: datetime) -> tuple[int, ...]:
    """The guests that still run are stopping, with the outcome `preempted`."""
    by_attempt = {recall.attempt: recall for recall in recalls}
    rows: list[dict[str, Any]] = []
    history, hints, nodes = [], [], set[int]()
    for pk, number, state, job, public_id, version, team, organization, on in cursor.execute(
        _GUESTS, [sorted(by_attempt)]
    ).fetchall():
        recall = by_attempt[pk]
        sentence = f"Its chips are taken back: {WHY[recall.ground]}."
        rows.append({"id": pk, "job": job, "sentence": sentence})
        to_state = move_attempt(AttemptState(state), AttemptEvent.STOP)
        history.append(
            Happened(
                at=now, kind="attempt.stopping", sentence=sentence, actor="scheduler", organization=organization,
                job=job, attempt=number, from_state=state, to_state=to_state, reason_code="recalled",
                facts={"ground": recall.ground.value, "loss_ms": recall.loss},
            )
        )  # fmt: skip
        hints.append(Hint("job", public_id, version + 1, team))
        nodes.update(on)
    if rows:
        given = {"now": now, "rows": as_rows(rows), "outcome": Outcome.PREEMPTED.value}
        cursor.execute(_STOP_ATTEMPTS, given)
        cursor.execute(_STOP_JOBS, given)
        write_history(cursor, history)
        publish_on_commit(hints=hints, nodes=sorted(nodes))
    return tuple(row["id"] for row in rows)


_LOCK_JOBS = "SELECT id FROM jobs_job WHERE id = ANY(%s) AND cell_id = %s ORDER BY id FOR NO KEY UPDATE"

_WAITING = """
SELECT j.id, j.public_id, t.public_id, j.organization_id, j.version
  FROM jobs_job j JOIN tenancy_team t ON t.id = j.team_id
 WHERE j.id = %s AND j.version = %s AND j.state = 'queued'
   AND NOT EXISTS (SELECT 1 FROM scheduling_promise p WHERE p.id = j.id)"""

_LENDERS = """
SELECT a.id, a.number, a.state, j.id, j.public_id, j.version, t.public_id, j.organization_id
  FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
  JOIN jobs_offer o ON o.attempt_id = a.id AND o.offered_at IS NOT NULL AND o.busy_at IS NULL
 WHERE a.id = ANY(%s) AND a.state IN ('running', 'checkpointing') ORDER BY a.id FOR SHARE OF a"""

_TAKE_NODE = """
UPDATE cluster_node n
   SET used_cpu_milli = n.used_cpu_milli + %(cpu)s, used_memory_mib = n.used_memory_mib + %(memory)s,
       wanted_version = n.wanted_version + 1
 WHERE n.id = %(node)s AND n.state = 'ready' AND n.reachable
   AND (%(cpu)s = 0 OR n.used_cpu_milli + %(cpu)s <= n.cpu_milli)
   AND (%(memory)s = 0 OR n.used_memory_mib + %(memory)s <= n.memory_mib)
RETURNING n.name"""

_TAKE_CHIPS = """
UPDATE cluster_chip c
   SET guest_milli = c.guest_milli + t.milli, guest_memory_mib = c.guest_memory_mib + t.memory
  FROM json_to_recordset(%(taken)s::json) AS t (chip bigint, milli bigint, memory bigint)
 WHERE c.id = t.chip AND c.node_id = %(node)s AND c.present AND c.healthy
   AND c.guest_milli + t.milli <= least(1000, c.used_milli)
   AND (t.memory = 0 OR c.used_memory_mib + c.guest_memory_mib + t.memory <= c.memory_mib)
RETURNING c.index"""

_CLAIM = """
WITH job AS (
    UPDATE jobs_job j
       SET state = 'active', status = 'starting', reason_code = 'guest', sentence = %(sentence)s,
           attempts_count = j.attempts_count + 1, version = j.version + 1, changed = pg_current_xact_id()::text::bigint,
           ended_at = NULL, exit_code = NULL, outcome = ''
     WHERE j.id = %(job)s AND j.state = 'queued' AND j.version = %(version)s
 RETURNING j.id, j.organization_id, j.cell_id, j.attempts_count,
           (j.effective_spec->>'lease_ms')::bigint AS lease_ms),
attempt AS (
    INSERT INTO jobs_attempt (public_id, organization_id, cell_id, job_id, number, state, outcome, contact_ok,
           stop_outcome, lease_ms, reason_code, sentence, placed_at, cpu_time_ms, memory_peak_mib, version, changed)
    SELECT %(attempt)s, organization_id, cell_id, id, attempts_count, 'placed', '', true,
           '', lease_ms, 'guest', %(sentence)s, %(now)s, 0, 0, 0, pg_current_xact_id()::text::bigint FROM job
 RETURNING id),
replica AS (
    INSERT INTO jobs_replica (attempt_id, index, node_id, state, generation, cpu_milli, memory_mib, outcome,
           sentence, log_offset)
    SELECT a.id, p.index, p.node, 'placed', 1, p.cpu, p.memory, '', '', 0
      FROM attempt a, json_to_recordset(%(places)s::json) AS p (index int, node bigint, cpu int, memory int)
     ORDER BY p.index
 RETURNING id, attempt_id, index),
reservation AS (DELETE FROM scheduling_reservation v USING job WHERE v.id = job.id),
verdict AS (DELETE FROM scheduling_verdict v USING job WHERE v.job_id = job.id),
guest AS (
    INSERT INTO jobs_guest (attempt_id, cell_id, lenders, rule)
    SELECT id, %(cell)s, %(lenders)s, %(rule)s::jsonb FROM attempt),
allocation AS (
    INSERT INTO jobs_allocation (attempt_id, replica_id, chip_id, kind, milli, memory_mib, charge_milli, cpu_milli,
           active)
    SELECT r.attempt_id, r.id, s.chip, 'guest', s.milli, s.memory, 0, 0, true
      FROM replica r JOIN json_to_recordset(%(shares)s::json) AS s (index int, chip bigint, milli bigint, memory bigint)
        ON s.index = r.index
     ORDER BY s.chip)
SELECT attempts_count FROM job"""

_GUESTS = """
SELECT a.id, a.number, a.state, j.id, j.public_id, j.version, t.public_id, j.organization_id,
       ARRAY(SELECT r.node_id FROM jobs_replica r WHERE r.attempt_id = a.id)
  FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
  JOIN jobs_guest g ON g.attempt_id = a.id
 WHERE a.id = ANY(%s) AND a.state NOT IN ('stopping', 'ended') AND j.cancel_requested_at IS NULL
 ORDER BY a.id FOR NO KEY UPDATE OF a"""

_STOP_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'stopping', stop_outcome = %(outcome)s, stopping_at = %(now)s,
       reason_code = 'recalled', sentence = u.sentence, version = a.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (id bigint, sentence text) WHERE a.id = u.id"""

_STOP_JOBS = """
UPDATE jobs_job j SET status = 'stopping', reason_code = 'recalled', sentence = u.sentence,
       version = j.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (job bigint, sentence text) WHERE j.id = u.job"""
