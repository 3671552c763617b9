"""Looks at owners whose chips are idle, and says what is on offer to guests (the lend rung of T2).

Every two seconds the latest second of telemetry is laid over the live attempts that may lend. Who uses less than its
policy asks for has a row, and so has who offers; the engine's rung says what is due; each step stands in the job's
history with its numbers. Where nobody waits who could be a guest, and nothing is on offer, nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from flexai.cluster.telemetry import latest
from flexai.common import clock
from flexai.common.database import Cursor, as_rows, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.jobs.history import Happened, write_history
from flexai.jobs.locking import LockedAttempt, lock_attempts
from flexai.jobs.quantities import duration_words
from flexai.scheduling.policies import policy_of
from flexai.scheduling.reading import milliseconds
from node_agent.protocol import Telemetry, replica_key
from scheduler_core.demand import BELOW
from scheduler_core.lifecycle import AT_WORK
from scheduler_core.offers import LEND_AFTER, Move, Offering, OfferStep, offer_steps

LOOK_SECONDS = 2.0
"""A chip is to be lent within ten seconds of turning idle, where its job says so."""


@dataclass(slots=True)
class _Owner:
    """A live attempt that may lend, and what was known before."""

    pk: int
    below: int
    after: int
    kept_until: int | None
    known: bool
    """Whether it has a row."""
    idle_since: int | None
    offered: int | None
    busy: int | None
    ended: int
    idle_before: int | None
    """Since when the idle ladder has taken it for idle."""
    replicas: list[tuple[int, bytes | None, int, list[int]]] = field(default_factory=list)
    """Node, key where its own processor time counts, milli, chip indices."""


def look_at_offers(cell_id: int, now: datetime) -> tuple[OfferStep, ...]:
    """What may be lent is on record, and every step that is due was taken. Answers these steps."""
    owners = _owners_in(cell_id) if _matters(cell_id) else []
    if not owners:
        return ()
    frames = latest(sorted({replica[0] for owner in owners for replica in owner.replicas}))
    at = clock.to_ms(now)
    offerings = {owner.pk: _offering(owner, _use(owner, frames), at) for owner in owners}
    due = offer_steps(list(offerings.values()), policy_of(cell_id), at)
    with transaction.atomic(), prepared_cursor() as cursor:
        locked = {one.pk: one for one in lock_attempts(cursor, [step.attempt for step in due])}
        standing = tuple(step for step in due if _still_runs(locked.get(step.attempt)))
        _write_down(cursor, cell_id, owners, offerings, {step.attempt: step for step in standing}, now)
        if standing:
            _tell(cursor, cell_id, standing, locked, now)
    return standing


def _matters(cell_id: int) -> bool:
    """Whether anybody waits who could be a guest, or anything is on offer. Otherwise no owner is looked at, and that is
    asked first: reading all that runs takes the database a hundred times as long."""
    with prepared_cursor() as cursor:
        row = cursor.execute(_MATTERS, {"cell": cell_id}).fetchone()
    return bool(row and row[0])


def _owners_in(cell_id: int) -> list[_Owner]:
    found: dict[int, _Owner] = {}
    with prepared_cursor() as cursor:
        for row in cursor.execute(_OWNERS, {"cell": cell_id}):
            (pk, public_id, below, after, kept, known, since, offered, busy, ended, idle, node, index, own, milli,
             chips) = row  # fmt: skip
            owner = found.get(pk)
            if owner is None:
                owner = found[pk] = _Owner(
                    pk, below or BELOW, LEND_AFTER if after is None else after, kept, known, since, offered, busy,
                    ended or 0, idle,
                )  # fmt: skip
            owner.replicas.append((node, replica_key(public_id, index) if own else None, milli, chips))
    return list(found.values())


def _use(owner: _Owner, frames: Mapping[int, Telemetry]) -> int | None:
    """Permille of all that it holds; None where a part is not measured."""
    used = held = 0
    for node, key, milli, chips in owner.replicas:
        frame = frames.get(node)
        if frame is None:
            return None
        if key is not None:
            mine = next((replica for replica in frame.replicas if replica.key == key), None)
            if mine is None:
                return None
            use = min(1000, mine.cpu_permille * 1000 // milli)
        else:
            found = [chip.use_permille for chip in frame.chips if chip.index in chips]
            if len(found) < len(chips):
                return None
            use = sum(found) // len(found)
        used, held = used + use * milli, held + milli
    return used // held if held else None


def _offering(owner: _Owner, use: int | None, now: int) -> Offering:
    since = owner.idle_since
    if use is None or use >= owner.below:
        since = None
    elif since is None:
        since = now if owner.idle_before is None else min(now, owner.idle_before)
    return Offering(
        owner.pk,
        use,
        owner.below,
        owner.after,
        since,
        owner.offered,
        owner.busy,
        owner.ended,
        owner.kept_until,
    )


def _still_runs(attempt: LockedAttempt | None) -> bool:
    return attempt is not None and attempt.state in AT_WORK and not attempt.cancel_requested


def _write_down(
    cursor: Cursor,
    cell_id: int,
    owners: Iterable[_Owner],
    offerings: Mapping[int, Offering],
    steps: Mapping[int, OfferStep],
    now: datetime,
) -> None:
    """Who is idle, or offers, or has offered in vain, has a row as it is now; only what changed is written."""
    cursor.execute(_FORGET_ENDED, [cell_id])
    rows: list[dict[str, Any]] = []
    for owner in owners:
        offering, step = offerings[owner.pk], steps.get(owner.pk)
        since = offering.idle_since
        if step is None and (since is None) == (owner.idle_since is None):
            continue
        if not owner.known and since is None:
            continue
        offered, busy, ended = _after(owner, step, now)
        rows.append(
            {
                "attempt": owner.pk,
                "since": None if since is None else clock.from_ms(since),
                "offered": offered, "busy": busy, "ended": ended, "use": offering.use or 0,
            }
        )  # fmt: skip
    if rows:
        cursor.execute(_REMEMBER, {"cell": cell_id, "rows": as_rows(rows)})


def _after(
    owner: _Owner, step: OfferStep | None, now: datetime
) -> tuple[datetime | None, datetime | None, int]:
    """Since when it offers and is busy, and how many offers its return has ended, after this step."""
    offered = None if owner.offered is None else clock.from_ms(owner.offered)
    busy = None if owner.busy is None else clock.from_ms(owner.busy)
    if step is None:
        return offered, busy, owner.ended
    if step.move is Move.OFFER:
        return now, None, owner.ended
    if step.move is Move.HALT:
        return offered, now, owner.ended
    if step.move is Move.GO_ON:
        return offered, None, owner.ended
    return None, None, owner.ended + (not step.by_owner)


def _tell(
    cursor: Cursor,
    cell_id: int,
    steps: Sequence[OfferStep],
    locked: Mapping[int, LockedAttempt],
    now: datetime,
) -> None:
    """Every step is in its job's history; whoever looks hears of it, and a cycle decides on it."""
    history, hints = [], []
    for step in steps:
        attempt = locked[step.attempt]
        history.append(
            Happened(
                at=now, kind=f"attempt.{_KIND[step.move]}", sentence=_sentence(step), actor="scheduler",
                organization=attempt.organization_pk, job=attempt.job_pk, attempt=attempt.number,
                from_state=attempt.state, to_state=attempt.state, reason_code=_KIND[step.move],
                facts={"use_permille": step.use, "span_ms": step.span},
            )
        )  # fmt: skip
        hints.append(Hint("job", attempt.job_id, attempt.job_version + 1, attempt.team_id))
    cursor.execute(_TOUCH, {"attempts": [step.attempt for step in steps]})
    cursor.execute(_SHOW, {"jobs": [locked[step.attempt].job_pk for step in steps]})
    write_history(cursor, history)
    publish_on_commit(hints=hints, cell=cell_id)


_KIND = {
    Move.OFFER: "offered",
    Move.HALT: "offer_halted",
    Move.GO_ON: "offer_goes_on",
    Move.END: "offer_ended",
}


def _sentence(step: OfferStep) -> str:
    used = f"{step.use / 10:.0f} % of its chips" if step.use else "nothing of its chips"
    if step.move is Move.OFFER:
        return (
            f"It used {used} for {duration_words(step.span)}: they may be lent to guests until it needs them."
        )
    if step.move is Move.HALT:
        return f"It uses {used} again: guests make way."
    if step.move is Move.GO_ON:
        return f"It used its chips for {duration_words(step.span)} and uses {used} now: guests may go on."
    if step.by_owner:
        return "Its chips are kept: they are lent no longer."
    return f"It has used its chips for {duration_words(step.span)}, now {used}: they are lent no longer."


_A_GUEST_WAITS = (
    "EXISTS (SELECT 1 FROM jobs_job w WHERE w.cell_id = %(cell)s AND w.state = 'queued' AND w.preemptible)"
)
_MATTERS = f"""
SELECT EXISTS (SELECT 1 FROM jobs_offer o WHERE o.cell_id = %(cell)s AND o.offered_at IS NOT NULL)
    OR {_A_GUEST_WAITS}"""  # noqa: S608 - constants alone
# Looked at is who offers, or, where somebody waits who may be a guest, whoever may lend.
_OWNERS = f"""
SELECT a.id, a.public_id, (j.effective_spec->'idle'->>'below_permille')::int,
       (j.effective_spec->>'lend_after_ms')::bigint, {milliseconds("j.kept_until")}, o.attempt_id IS NOT NULL,
       {milliseconds("o.idle_since")}, {milliseconds("o.offered_at")}, {milliseconds("o.busy_at")}, o.ended,
       {milliseconds("i.since")}, r.node_id, r.index, bool_and(c.driver = 'cpu' OR c.guest_milli > 0),
       sum(l.milli)::int, array_agg(c.index)
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
JOIN jobs_replica r ON r.attempt_id = a.id
JOIN jobs_allocation l ON l.replica_id = r.id AND l.active AND l.kind = 'owned' JOIN cluster_chip c ON c.id = l.chip_id
LEFT JOIN jobs_offer o ON o.attempt_id = a.id LEFT JOIN jobs_idleattempt i ON i.attempt_id = a.id
WHERE a.cell_id = %(cell)s AND a.state IN ('running', 'checkpointing') AND a.running_at IS NOT NULL
  AND j.cancel_requested_at IS NULL
  AND (o.offered_at IS NOT NULL OR (
       j.effective_spec->>'lend' IN ('team', 'organization', 'any')
       AND {_A_GUEST_WAITS}))
GROUP BY a.id, j.id, o.attempt_id, i.attempt_id, r.id ORDER BY a.id, r.index
"""  # noqa: S608 - constants alone
_FORGET_ENDED = """
DELETE FROM jobs_offer o USING jobs_attempt a
 WHERE o.cell_id = %s AND a.id = o.attempt_id AND a.state NOT IN ('running', 'checkpointing')"""
_REMEMBER = """
INSERT INTO jobs_offer AS o (attempt_id, cell_id, idle_since, offered_at, busy_at, ended, use_permille)
SELECT u.attempt, %(cell)s, u.since, u.offered, u.busy, u.ended, u.use
  FROM json_to_recordset(%(rows)s::json)
       AS u(attempt bigint, since timestamptz, offered timestamptz, busy timestamptz, ended int, use int)
    ON CONFLICT (attempt_id) DO UPDATE SET idle_since = excluded.idle_since, offered_at = excluded.offered_at,
       busy_at = excluded.busy_at, ended = excluded.ended, use_permille = excluded.use_permille"""
_TOUCH = "UPDATE jobs_attempt SET version = version + 1 WHERE id = ANY(%(attempts)s)"
_SHOW = "UPDATE jobs_job SET version = version + 1 WHERE id = ANY(%(jobs)s)"
