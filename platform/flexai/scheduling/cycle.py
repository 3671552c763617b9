"""The scheduling loop: read what changed, decide, apply, again until there is no news.

Safe to call at any time, by any number of processes: what keeps work from being placed twice are the
conditions under which `apply` claims it. The lock only spares two processes the same work. A pass that raises
is put on record, what this process knew is dropped, and the next cycle begins from the rows.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter

import psycopg
from django.db import Error as DatabaseError
from django.db import connection

from flexai.common import clock
from flexai.scheduling.alone import alone_in, give_back
from flexai.scheduling.apply import Applied, apply
from flexai.scheduling.engine_state import EngineState, Refreshed, forget, refresh
from flexai.scheduling.lending import lend_and_recall
from flexai.scheduling.parts import PART, by_two, parts_of
from flexai.scheduling.promises import Changing, keep, take_back
from flexai.scheduling.quarantine import quarantine
from flexai.scheduling.records import CycleNotes, record_cycle
from flexai.scheduling.summaries import does_anything
from scheduler_core.decision import Decision, Unit
from scheduler_core.refusal import Contradiction

log = logging.getLogger(__name__)

MAX_PASSES = 50
"""Passes of one call; then the lock is given back, and who calls may stop."""
MAX_SECONDS = 0.2
"""And so long at most, for the same reason."""
PACE_SECONDS = 0.01
"""While jobs wait, a pass begins no sooner after one that started something: under load many ends become one
pass. Where nobody waits there is nothing to pace: whoever comes next asks for a cycle."""
IDLE_RECORD_SECONDS = 5.0
"""A cycle that merely ran is put on record no more often."""
DROPPED_MS = 1000
"""What did not hold is not decided again sooner by time alone: it may go on not to hold."""
SET_ASIDE = "The cell's records contradict each other. What this touches is set aside until they are right:"
NOTHING = Applied(units=(), dropped=(), transaction_id=0, cycle_id=0)


@dataclass(slots=True)
class CycleReport:
    """What one call did."""

    passes: int = 0
    started: int = 0
    dropped: int = 0
    busy: bool = False
    """Another process runs this cell; nothing was done."""
    again: bool = False
    """There is more to do: run another cycle."""
    verdicts_pending: bool = False
    """Verdicts were put off: a cycle in a second writes them."""
    wakes_at: int | None = None
    """Without news there is something to decide again from then on (S6), in ms since the epoch."""
    error: str = ""
    """Traceback of the pass that raised."""


def run_cycle(cell_id: int, *, keeps_lock: bool = False) -> CycleReport:
    """Start what can be started in this cell, and say why the rest waits. What a pass raises is recorded, not
    raised. Who keeps the lock gives it back (`alone.give_back`)."""
    report = CycleReport()
    try:
        with alone_in(cell_id, keeps=keeps_lock) as alone:
            report.busy = report.again = not alone
            if alone:
                _run_passes(cell_id, report)
    except Exception:
        report.error = traceback.format_exc()
        log.exception("cell %s: the cycle raised", cell_id)
        forget(cell_id)
        give_back(cell_id)
        _record_failure(cell_id, report.error)
    return report


def _run_passes(cell_id: int, report: CycleReport) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    doubted = False
    while report.passes < MAX_PASSES and time.monotonic() < deadline:
        notes = CycleNotes(started_at=clock.now())
        refreshed = _refresh(cell_id, notes)
        state = refreshed.state
        report.verdicts_pending, report.wakes_at = state.verdicts.pending, state.wakes_at
        if doubted and not refreshed.news and not state.is_fresh:
            forget(cell_id)
            doubted = False
            continue
        if state.recorder.due:
            state.recorder.store(state.feed.snapshot(clock.to_ms(notes.started_at)))
        if not refreshed.news:
            return
        began = time.monotonic()
        applied = _run_pass(cell_id, state, notes)
        report.passes += 1
        report.started += len(applied.units)
        report.dropped += len(applied.dropped)
        report.verdicts_pending, report.wakes_at = state.verdicts.pending, state.wakes_at
        doubted = bool(applied.dropped)
        if not (notes.waiting or doubted):
            return
        if not (applied.units or applied.dropped):
            return
        time.sleep(max(0.0, began + PACE_SECONDS - time.monotonic()))
    report.again = True


def _refresh(cell_id: int, notes: CycleNotes) -> Refreshed:
    began = perf_counter()
    refreshed = refresh(cell_id, clock.to_ms(notes.started_at))
    notes.read_ms = _ms_since(began)
    notes.rebuilt = bool(refreshed.rebuilt)
    if refreshed.rebuilt:
        log.info("cell %s: the engine's state is read anew: %s", cell_id, refreshed.rebuilt)
        if refreshed.state.feed.contradictions:
            _tell_contradictions(cell_id, refreshed.state.feed.contradictions, notes)
    return refreshed


def _tell_contradictions(cell_id: int, found: Sequence[Contradiction], notes: CycleNotes) -> None:
    """A cycle is on record that says by rule and id what the rows contradict each other in, and is set aside."""
    lines = [f"{one.rule} {one.row.id}: {one.sentence}" for one in found]
    log.error("cell %s: rows contradict each other and are set aside: %s", cell_id, "; ".join(lines))
    record_cycle(cell_id, notes, error="\n".join([SET_ASIDE, *lines]))


def _run_pass(cell_id: int, state: EngineState, notes: CycleNotes) -> Applied:
    """Decide and apply once; afterwards the verdicts are told and the pass is on record if it did
    anything."""
    began = perf_counter()
    decision = state.scheduler.decide(clock.to_ms(notes.started_at))
    notes.decide_ms = _ms_since(began)
    state.recorder.decided(clock.to_ms(notes.started_at), decision)
    _note(decision, notes)
    notes.seen = state.feed.seen if decision.effort else 0
    if decision.broken:
        log.error("cell %s: units break laws and are dropped: %s", cell_id, decision.broken)
        quarantine(decision.broken, now=notes.started_at)
    applied = NOTHING
    starts = [unit for unit in decision.units if not unit.takings]
    if starts:
        applied = _apply_in_parts(cell_id, state, starts, notes)
    elif does_anything(decision) or decision.broken or notes.rebuilt or _idle_record_is_due(cell_id):
        record_cycle(cell_id, notes)
    if decision.loans or decision.recalls:
        lent = lend_and_recall(cell_id, decision.loans, decision.recalls, now=notes.started_at)
        for transaction_id in lent.transaction_ids:
            state.feed.applied(transaction_id)
        state.verdicts.started(lent.jobs)
    dropped = _remember(cell_id, state, decision, notes)
    applied = replace(applied, dropped=applied.dropped + dropped)
    state.due = decision.due
    if applied.dropped and decision.due is not None:
        state.due = max(decision.due, decision.now + DROPPED_MS)
    state.verdicts.keep(decision.verdicts, notes.started_at)
    return applied


def _apply_in_parts(cell_id: int, state: EngineState, starts: Sequence[Unit], notes: CycleNotes) -> Applied:
    """As `parts` has it; what this process knows of the cell is told of all of them."""
    first, *others = parts_of(starts, PART)
    told = [(first, replace(notes, units=notes.units - sum(map(len, others))))]
    told += [(part, CycleNotes(notes.started_at, waiting=notes.waiting, units=len(part))) for part in others]

    def do(one: tuple[list[Unit], CycleNotes]) -> Applied:
        return apply(cell_id, one[0], now=notes.started_at, notes=one[1])

    applied = by_two(do, told)
    for one in applied:
        state.feed.applied(one.transaction_id, one.units)
        state.verdicts.started(unit.start.job for unit in one.units)
    units = tuple(unit for one in applied for unit in one.units)
    dropped = tuple(unit for one in applied for unit in one.dropped)
    return Applied(units, dropped, applied[-1].transaction_id, applied[-1].cycle_id)


def _remember(
    cell_id: int, state: EngineState, decision: Decision, notes: CycleNotes
) -> tuple[Changing, ...]:
    """Promises and reservations are stored as decided, and what is taken back has been told to leave. Answers
    the units that no longer held.

    A start on promised chips has ended its promise itself; every other promise that does not stand makes room,
    for its job may be promised other chips in the same decision.
    """
    taking = [unit for unit in decision.units if unit.takings]
    served = {unit.start.job for unit in decision.units if not unit.takings}
    forgotten = sorted(
        state.feed.promises().keys() - served - (set(decision.promises) - decision.newly_promised)
    )
    kept = keep(cell_id, decision.reservations, state.feed.reservations(), forgotten)
    if kept:
        state.feed.applied(kept)
    if not (taking or decision.relief or decision.resizings):
        return ()
    taken = take_back(cell_id, taking, decision.relief, now=notes.started_at, resizings=decision.resizings)
    state.feed.applied(taken.transaction_id)
    return taken.dropped


def _note(decision: Decision, notes: CycleNotes) -> None:
    notes.decision = decision
    notes.units = len(decision.units) + len(decision.resizings)
    notes.effort = decision.effort
    notes.waiting = sum(len(verdict.jobs) for verdict in decision.verdicts)
    notes.broken_laws = [asdict(violation) for violation in decision.broken]
    notes.excesses = [asdict(excess) for excess in decision.excesses]


_recorded_at: dict[int, float] = {}


def _idle_record_is_due(cell_id: int) -> bool:
    now = time.monotonic()
    due = now - _recorded_at.get(cell_id, float("-inf")) >= IDLE_RECORD_SECONDS
    if due:
        _recorded_at[cell_id] = now
    return due


def _record_failure(cell_id: int, error: str) -> None:
    """On a connection of its own: the old one may be what failed."""
    try:
        connection.close()
        record_cycle(cell_id, CycleNotes(started_at=clock.now()), error=error)
    except (DatabaseError, psycopg.Error):
        log.exception("cell %s: the failure could not be recorded", cell_id)


def _ms_since(began: float) -> int:
    return int((perf_counter() - began) * 1000)
