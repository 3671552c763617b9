"""Live attempts are told to leave: why each of them, and with which outcome, so that its job goes on as decided.

A job that is shrunk, grown or moved ends its attempt like one that is preempted; what differs is what it hears, and
that its next place is promised. Nothing is freed here (law 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flexai.common.database import Cursor, as_rows
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from scheduler_core.decision import Ground, Resizing, Rung, Taking
from scheduler_core.lifecycle import AttemptEvent, AttemptState, Outcome, move_attempt

WHY: Mapping[Ground, str] = {
    Ground.GUARANTEE: "its team takes back what it is guaranteed",
    Ground.FAIR_SHARE: "its team has less than its fair share",
    Ground.PRIORITY: "it has a higher priority",
    Ground.SERVICE_LEVEL: "it has had less chip time so far",
    Ground.CONSOLIDATION: "it fits once this work has moved together",
    Ground.EXCESS: "more is held than there is",
}
"""The right by which chips are taken, as the end of a sentence."""
NAMED = 3
"""A sentence names so many jobs, then says how many more."""


@dataclass(frozen=True, slots=True)
class Live:
    """A live attempt, locked together with its job."""

    id: int
    number: int
    state: AttemptState
    job: int
    job_name: str
    job_public_id: str
    job_version: int
    team_public_id: str
    organization: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Leave:
    """That one attempt is to leave."""

    attempt: int
    outcome: Outcome
    sentence: str
    facts: dict[str, object] = field(default_factory=dict)


def lock_live(cursor: Cursor, attempts: Iterable[int]) -> dict[int, Live]:
    """Those of the attempts that have not been told to go, locked; their jobs are locked by the caller."""
    rows = cursor.execute(_LOCK_ATTEMPTS, [sorted(set(attempts))])
    return {row[0]: Live(row[0], row[1], AttemptState(row[2]), *row[3:]) for row in rows}


def leaves_of(takings: Iterable[Taking], live: Mapping[int, Live], for_whom: str) -> list[Leave]:
    """What the victims of a unit hear; `for_whom` is the name of the job that gets the chips, empty for nobody."""
    return [_leave_of(taking, live[taking.attempt], for_whom) for taking in takings]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """By what an attempt is held back (T6): the beginning of a sentence, and its numbers."""

    sentence: str
    facts: Mapping[str, object]


def leaves_of_relocated(
    resizing: Resizing, live: Mapping[int, Live], why: Mapping[int, HeldBack]
) -> list[Leave]:
    """What those hear who go on elsewhere with as many replicas as they have (R8)."""
    found = []
    for row in resizing.resizes:
        if len(row.placements) == live[row.attempt].replicas:
            held = why.get(row.attempt, HeldBack("Something holds it back", {}))
            sentence = f"{held.sentence}: by its own policy it goes on elsewhere."
            found.append(Leave(row.attempt, Outcome.MOVED, sentence, {**held.facts, "loss_ms": row.loss}))
    return found


def leaves_of_resizing(resizing: Resizing, live: Mapping[int, Live], starting: Sequence[str]) -> list[Leave]:
    """What those who are resized hear (E1); `starting` are the names of the waiting jobs that they make room for."""
    grows = {row.attempt: len(row.placements) > live[row.attempt].replicas for row in resizing.resizes}
    growing = [live[attempt].job_name for attempt, more in grows.items() if more]
    found = []
    for row in resizing.resizes:
        attempt, after = live[row.attempt], len(row.placements)
        if after == attempt.replicas:
            continue
        why = "chips are free that nobody waits for"
        if not grows[row.attempt]:
            why = (
                f"it makes room for {_names(starting)}"
                if starting
                else f"{_names(growing)} gains more by its chips"
            )
            why = why if starting or growing else "it is as fast with fewer"
        facts: dict[str, object] = {
            "replicas_before": attempt.replicas,
            "replicas": after,
            "loss_ms": row.loss,
        }
        found.append(
            Leave(row.attempt, Outcome.RESIZED, f"{_resized(attempt.replicas, after)}: {why}.", facts)
        )
    return found


def send_away(cursor: Cursor, leaves: Sequence[Leave], live: Mapping[int, Live], now: datetime) -> None:
    """These attempts stop with their outcomes; their nodes and everybody who looks hear of it."""
    if not leaves:
        return
    rows: list[dict[str, Any]] = []
    history: list[Happened] = []
    hints: list[Hint] = []
    for leave in leaves:
        attempt, outcome = live[leave.attempt], leave.outcome.value
        rows.append({"id": attempt.id, "sentence": leave.sentence, "job": attempt.job, "outcome": outcome})
        history.append(
            Happened(
                at=now, kind="attempt.stopping", sentence=leave.sentence, actor="scheduler",
                organization=attempt.organization, job=attempt.job, attempt=attempt.number,
                from_state=attempt.state, to_state=move_attempt(attempt.state, AttemptEvent.STOP),
                reason_code=outcome, facts=leave.facts,
            )
        )  # fmt: skip
        hints.append(Hint("job", attempt.job_public_id, attempt.job_version + 1, attempt.team_public_id))
    given = {"now": now, "rows": as_rows(rows)}
    cursor.execute(_STOP_ATTEMPTS, given)
    cursor.execute(_STOP_JOBS, given)
    write_history(cursor, history)
    nodes = [row[0] for row in cursor.execute(_NODES, [[row["id"] for row in rows]])]
    publish_on_commit(hints=hints, nodes=nodes)


def _leave_of(taking: Taking, attempt: Live, for_whom: str) -> Leave:
    facts: dict[str, object] = {
        "ground": taking.ground.value, "rung": taking.rung.name.lower(), "loss_ms": taking.loss,
    }  # fmt: skip
    why = WHY[taking.ground]
    taken = f"its chips go to {for_whom}: {why}" if for_whom else f"its chips are taken back: {why}"
    if taking.rung is Rung.MOVE:
        sentence = f"It goes on elsewhere, so that {for_whom} gets its chips: {why}."
        return Leave(taking.attempt, Outcome.MOVED, sentence, facts)
    if taking.rung is Rung.SHRINK:
        after = len(taking.keeps)
        facts |= {"replicas_before": attempt.replicas, "replicas": after}
        return Leave(taking.attempt, Outcome.RESIZED, f"{_resized(attempt.replicas, after)}: {taken}.", facts)
    return Leave(taking.attempt, Outcome.PREEMPTED, f"{taken[:1].upper()}{taken[1:]}.", facts)


def _resized(before: int, after: int) -> str:
    return f"It goes on with {after} replica{'' if after == 1 else 's'} instead of {before}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


_LOCK_ATTEMPTS = """
SELECT a.id, a.number, a.state, j.id, j.name, j.public_id, j.version, t.public_id, j.organization_id,
       (SELECT count(*)::int FROM jobs_replica r WHERE r.attempt_id = a.id)
  FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id JOIN tenancy_team t ON t.id = j.team_id
 WHERE a.id = ANY(%s) AND a.state NOT IN ('stopping', 'ended') AND j.cancel_requested_at IS NULL
 ORDER BY a.id FOR NO KEY UPDATE OF a"""

_STOP_ATTEMPTS = """
UPDATE jobs_attempt a SET state = 'stopping', stop_outcome = u.outcome, stopping_at = %(now)s,
       reason_code = u.outcome, sentence = u.sentence, version = a.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (id bigint, sentence text, outcome text) WHERE a.id = u.id"""

_STOP_JOBS = """
UPDATE jobs_job j SET status = 'stopping', reason_code = u.outcome, sentence = u.sentence,
       version = j.version + 1
  FROM json_to_recordset(%(rows)s::json) AS u (job bigint, sentence text, outcome text) WHERE j.id = u.job"""

_NODES = "SELECT DISTINCT node_id FROM jobs_replica WHERE attempt_id = ANY(%s) ORDER BY node_id"
