"""The platform's side of a simulated cell: rows, changed by decisions, by jobs that come and by runs that end.

Applies a decision as the platform does (units whole; takings make attempts leave and write a promise), with
one difference that the figures' protocol makes: who is told to leave has left at the same instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scheduler_core import Decision, Policy, Scheduler, Snapshot, Unit
from scheduler_core.compiled import LONG
from scheduler_core.decision import Resizing, Rung, Taking
from scheduler_core.model import (
    FeedEvent,
    Id,
    Job,
    Node,
    Promise,
    Remove,
    Reservation,
    Row,
    Running,
    Seen,
    Upsert,
)
from scheduler_core.simulation.driven.rows import attempt_row, job_again, milli_of

MOST_DECISIONS_AT_ONCE = 16
"""Decisions at one instant: each serves the promises of the one before."""


class LawBroken(RuntimeError):  # noqa: N818 - it says what is true of the decision
    """The engine decided something that the cell cannot carry out."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told when an attempt begins and when one is taken (job, and whether it moves)."""

    began: Callable[[Running], None]
    taken: Callable[[Running, bool], None]


_TOLD: dict[type[Row], str] = {
    Job: "jobs",
    Running: "running",
    Promise: "promises",
    Reservation: "reservations",
    Seen: "seen",
}
"""The rows that a driven cell tells of, and where a snapshot has them; of nodes it has all."""


def _key_of(row: Row) -> Id:
    return row.job if isinstance(row, Promise | Reservation) else row.id


class Cell:
    """Rows and the scheduler that is told of every change to them."""

    def __init__(self, empty: Snapshot, policy: Policy, hooks: Hooks, machine_from: int = LONG) -> None:
        """`machine_from`: nodes from which on the scheduler's loops run as machine code; that decides nothing else."""
        self.scheduler = Scheduler(empty, policy, machine_from)
        self.waiting: dict[Id, Job] = {}
        self.running: dict[Id, Running] = {}
        self.decisions = 0
        self.quiet = False
        """Whether the last decision changed nothing."""
        self.due: int | None = None
        """When to decide again if nothing happens before (S6)."""
        self._efforts: set[int] = set()
        self.milli_held = 0
        self._hooks = hooks
        self._told: list[FeedEvent] = []
        self._empty, self._policy, self._machine_from = empty, policy, machine_from
        self._rows: dict[type[Row], dict[Id, Row]] = {kind: {} for kind in (Node, *_TOLD)}
        """Those told and not removed since; what a scheduler would have to be told anew."""
        self._serial = 0
        self._free = {chip.id: 1000 for chip in empty.chips}
        self._nodes = {node.id: node for node in empty.nodes}

    def come(self, job: Job) -> None:
        """The job waits."""
        self.waiting[job.id] = job
        self._tell(Upsert(job))

    def see(self, news: list[FeedEvent]) -> None:
        """What is asked for of the cell is now so (P3)."""
        self._tell(*news)

    def tell(self, attempt: Running) -> None:
        """The attempt's row is now so; it holds what it held."""
        if self.running[attempt.id] != attempt:
            self.running[attempt.id] = attempt
            self._tell(Upsert(attempt))

    def end(self, attempt: Running) -> None:
        """The attempt has ended and its job is done."""
        self._release(attempt)
        self._tell(Remove(Running, attempt.id))

    def lose(self, node: Id) -> list[Running]:
        """The node is gone, with every attempt on it; they are the caller's to put back in line."""
        self._tell(Upsert(replace(self._nodes[node], ready=False, unready_because="lost")))
        on_it = [
            attempt
            for attempt in self.running.values()
            if any(place.node == node for place in attempt.placements)
        ]
        for attempt in on_it:
            self._release(attempt)
            self._tell(Remove(Running, attempt.id))
        return on_it

    def restore(self, node: Id) -> None:
        """The node is back as it was."""
        self._tell(Upsert(self._nodes[node]))

    def come_back(self, attempt: Running, now: int, *, taken: bool) -> None:
        """The job of an attempt that has left waits where it stood."""
        served = milli_of(attempt.placements) * (now - attempt.started) // 1000
        self.come(job_again(attempt, served, taken=taken))

    def __getstate__(self) -> dict[str, Any]:
        """All but the scheduler, which is made anew of the rows: it decides as this one would (S1)."""
        return {name: value for name, value in self.__dict__.items() if name != "scheduler"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.scheduler, self._told = Scheduler(self.snapshot(), self._policy, self._machine_from), []

    def snapshot(self) -> Snapshot:
        """The cell as its scheduler knows it, with what has not been told yet."""
        rows: Any = {name: tuple(self._rows[kind].values()) for kind, name in _TOLD.items()}
        rows["nodes"] = tuple((self._nodes | self._rows[Node]).values())
        return replace(self._empty, **rows)

    def _tell(self, *events: FeedEvent) -> None:
        self._told += events
        for event in events:
            if isinstance(event, Upsert):
                self._rows[type(event.row)][_key_of(event.row)] = event.row
            else:
                self._rows[event.kind].pop(event.id, None)

    @property
    def efforts(self) -> tuple[int, int]:
        """The least and the most that its decisions thought with (S4)."""
        return min(self._efforts, default=0), max(self._efforts, default=0)

    def decide(self, now: int) -> None:
        """The engine decides and the cell carries it out, until no promise is left to be served."""
        for turn in range(MOST_DECISIONS_AT_ONCE):
            self.scheduler.apply(self._told)
            self._told = []
            decision = self.scheduler.decide(now)
            self.decisions += 1
            self._efforts.add(decision.effort)
            self.due = decision.due
            if decision.broken:
                raise LawBroken(decision.broken[0].sentence)
            self.quiet = turn == 0 and not (decision.units or decision.relief or decision.resizings)
            if not self._carry_out(decision, now):
                return

    def _carry_out(self, decision: Decision, now: int) -> bool:
        """Apply it; whether somebody left, so that promises can be served now."""
        takings = [*decision.relief, *(taking for unit in decision.units for taking in unit.takings)]
        for unit in decision.units:
            if unit.takings:
                self._promise(unit)
            else:
                self._start(unit, now)
        for taking in takings:
            self._take(taking, now)
        for resizing in decision.resizings:
            self._resize(resizing, now)
        self._tell(*(Remove(Promise, job) for job in self._rows[Promise].keys() - set(decision.promises)))
        standing = {row.job for row in decision.reservations}
        self._tell(*(Remove(Reservation, job) for job in sorted(self._rows[Reservation].keys() - standing)))
        self._tell(*map(Upsert, decision.reservations))
        return bool(takings or decision.resizings)

    def _start(self, unit: Unit, now: int) -> None:
        job = self.waiting.pop(unit.start.job)
        self._serial += 1
        attempt = attempt_row(job, self._serial, unit.start.placements, now)
        self._hold(attempt, 1)
        self.running[attempt.id] = attempt
        self._tell(Upsert(attempt), Remove(Job, job.id), Remove(Promise, job.id))
        self._hooks.began(attempt)

    def _promise(self, unit: Unit) -> None:
        for taking in unit.takings:
            if taking.rung is Rung.MOVE:
                self._write(Promise(taking.job, taking.placements, (taking.attempt,)))
        attempts = tuple(taking.attempt for taking in unit.takings)
        self._write(Promise(unit.start.job, unit.start.placements, attempts))

    def _write(self, promise: Promise) -> None:
        self._tell(Upsert(promise))

    def _resize(self, resizing: Resizing, now: int) -> None:
        """All its attempts have left; each of its jobs has a promise of its place."""
        for job, placements in resizing.promised:
            self._write(Promise(job, placements, resizing.attempts))
        for resize in resizing.resizes:
            attempt = self.running[resize.attempt]
            self._leave(attempt, now, taken=False)
            self._hooks.taken(attempt, True)

    def _take(self, taking: Taking, now: int) -> None:
        """The attempt has been told to leave and has left."""
        attempt = self.running[taking.attempt]
        moves = taking.rung is Rung.MOVE
        if taking.rung is Rung.SHRINK:
            raise LawBroken(f"attempt {attempt.id} is resized by E1 and would shrink")
        self._leave(attempt, now, taken=not moves)
        self._hooks.taken(attempt, moves)

    def _leave(self, attempt: Running, now: int, *, taken: bool) -> None:
        """The attempt has left; its job waits where it stood."""
        self._release(attempt)
        self._tell(Upsert(replace(attempt, leaving=True)), Remove(Running, attempt.id))
        self.come_back(attempt, now, taken=taken)

    def _release(self, attempt: Running) -> None:
        del self.running[attempt.id]
        self._hold(attempt, -1)

    def _hold(self, attempt: Running, sign: int) -> None:
        for place in attempt.placements:
            for share in place.chips:
                self._free[share.chip] -= sign * share.milli
                self.milli_held += sign * share.milli
                if not 0 <= self._free[share.chip] <= 1000:
                    raise LawBroken(f"chip {share.chip} is given away beyond what it has")
