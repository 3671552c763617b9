"""Applies a decision: each unit whole, or not at all (law 2). Decides nothing.

The naive form takes each unit in a transaction of its own. Here all units share one transaction and each
table is written once, set-based: the rows are locked in the order that everybody follows (`claims.lock`),
units whose rows no longer hold are dropped, and the rest is claimed by conditional updates. Should the rest
not hold together, it is halved under savepoints until the units that do not hold stand alone; those are
dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import psycopg
from django.db import IntegrityError, transaction

from flexai.common.database import Cursor, Send, at_once, prepared_cursor
from flexai.common.events import Hint, publish_on_commit
from flexai.common.round_trip import Answer
from flexai.scheduling.claims import Along, DoesNotHold, Locked, Placed, claim, lock, lock_use
from flexai.scheduling.promises import Changing
from flexai.scheduling.records import CycleNotes, write_cycle
from scheduler_core.decision import Unit

log = logging.getLogger(__name__)

TRIES = 3
"""How often a transaction that lost a deadlock or a serialization race is tried in all."""
REFUSED = (DoesNotHold, psycopg.errors.IntegrityError, IntegrityError)
"""How the database says that units do not hold: by a count, or by a constraint (law 8)."""
LOST_RACE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the units."""

    units: tuple[Unit, ...]
    """Those that are attempts now."""
    dropped: tuple[Changing, ...]
    """Those that did not hold."""
    transaction_id: int
    """The one that wrote; the feed knows the loop's own rows by it."""
    cycle_id: int


def apply(cell_id: int, units: Sequence[Unit], *, now: datetime, notes: CycleNotes) -> Applied:
    """The units that still hold are attempts afterwards, and the cycle is on record; the others changed
    nothing.

    Browsers and agents hear of it on commit. Raises psycopg's OperationalError when the database is not
    there.
    """
    for left in reversed(range(TRIES)):
        try:
            return _apply(cell_id, units, now, notes)
        except LOST_RACE as error:
            if not left:
                raise
            log.info("cell %s: apply lost a race and is tried again: %s", cell_id, error)
    raise AssertionError("the last try returns or raises")


def _apply(cell_id: int, units: Sequence[Unit], now: datetime, notes: CycleNotes) -> Applied:
    try:
        return _in_one_transaction(cell_id, units, now, notes, _claim_together)
    except REFUSED as error:
        log.info("cell %s: %d units do not hold together: %s", cell_id, len(units), error)
    return _in_one_transaction(cell_id, units, now, notes, _claim_by_halves)


_Claiming: TypeAlias = "Callable[[Cursor, int, Sequence[Unit], Locked, datetime, Along], list[Placed]]"


def _in_one_transaction(
    cell_id: int, units: Sequence[Unit], now: datetime, notes: CycleNotes, claiming: _Claiming
) -> Applied:
    with transaction.atomic(), prepared_cursor() as cursor:
        locked = lock(cursor, cell_id, units)
        standing = [unit for unit in units if locked.holds(unit)]
        written: list[Answer] = []

        def record(send: Send, placed: Sequence[Placed]) -> None:
            written.append(write_cycle(send, cell_id, placed, len(units) - len(placed), now, notes))

        placed = claiming(cursor, cell_id, standing, locked, now, record)
        [(cycle_id, transaction_id)] = written[0]
        publish_on_commit(
            hints=[
                *(Hint("job", one.job_public_id, one.job_version, one.team_public_id) for one in placed),
                *(Hint("node", locked.nodes[node].public_id) for node in _nodes_of(placed)),
            ],
            nodes=_nodes_of(placed),
        )
    taken = {one.unit.start.job for one in placed}
    return Applied(
        units=tuple(one.unit for one in placed),
        dropped=tuple(unit for unit in units if unit.start.job not in taken),
        transaction_id=transaction_id,
        cycle_id=cycle_id,
    )


def _claim_together(
    cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked, now: datetime, record: Along
) -> list[Placed]:
    if units:
        return claim(cursor, cell_id, units, locked, now, record)
    with at_once(cursor) as send:
        record(send, ())
    return []


def _claim_by_halves(
    cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked, now: datetime, record: Along
) -> list[Placed]:
    """As many of the units as hold, in their order. Every row is locked before, so halves cannot
    deadlock."""
    lock_use(cursor, cell_id, units)
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    placed = _halve(cursor, cell_id, units, locked, now) if units else []
    with at_once(cursor) as send:
        record(send, placed)
    return placed


def _halve(
    cursor: Cursor, cell_id: int, units: Sequence[Unit], locked: Locked, now: datetime
) -> list[Placed]:
    try:
        with transaction.atomic():
            return claim(cursor, cell_id, units, locked, now)
    except REFUSED as error:
        if len(units) == 1:
            log.warning("cell %s: job %s does not hold: %s", cell_id, units[0].start.job, error)
            return []
    middle = len(units) // 2
    first = _halve(cursor, cell_id, units[:middle], locked, now)
    return first + _halve(cursor, cell_id, units[middle:], locked, now)


def _nodes_of(placed: Sequence[Placed]) -> list[int]:
    return sorted({place.node for one in placed for place in one.unit.start.placements})
