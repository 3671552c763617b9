"""The engine: from what a cell is to what it should do next (S1, S2).

`decide` touches nothing and reads no clock. A `Scheduler` is the same answer kept warm: it holds the cell's
books between cycles and learns what changed from a feed. It never assumes that its units were applied; it is
told.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from scheduler_core.decision import Decision, Start, Unit, Verdict
from scheduler_core.invariants import enforce, excesses
from scheduler_core.ledger import Ledger
from scheduler_core.model import FeedEvent, Id, Job, Remove, Snapshot, Upsert
from scheduler_core.ordering import JobClass, Waiting
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.reasons import CycleBound, EarlierAttemptLives, Reason
from scheduler_core.verdicts import cap_reached, reasons_to_wait


def decide(snapshot: Snapshot, policy: Policy) -> Decision:
    """What to start now, and why everybody else waits (S1). The same input, the same answer, everywhere."""
    return Scheduler(snapshot, policy).decide(snapshot.now)


class Scheduler:
    """A cell's decisions, cycle after cycle, at a cost in proportion to what changed (S1)."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self._policy = policy
        self._ledger = Ledger(snapshot)
        self._waiting = Waiting(snapshot.jobs)
        self._placer = Placer(self._ledger)

    def apply(self, events: Iterable[FeedEvent]) -> None:
        """Know what these events say, in their order. An event told twice changes nothing."""
        for event in events:
            if isinstance(event, Upsert) and isinstance(event.row, Job):
                self._waiting.note(event.row)
            elif isinstance(event, Remove) and event.kind is Job:
                self._waiting.forget(event.id)
            else:
                self._ledger.note(event)

    def decide(self, now: int) -> Decision:
        """What to start now, and why everybody else waits (S2, X1).

        Units stack: each is decided on what the ones before it leave. Verdicts speak of what all of them
        leave. Afterwards nothing is held: the next cycle starts from what the feed said.
        """
        self._placer.begin_cycle()
        living = self._waiting.jobs.keys() & self._ledger.live_of_job.keys()
        try:
            starts = self._start_what_fits(living)
            verdicts = self._tell_the_others_why(starts, living)
        finally:
            self._ledger.rewind()
        units = tuple(Unit(start) for start in starts.values())
        decision = Decision(now, units, verdicts, excesses(self._ledger))
        return enforce(self._ledger, self._waiting.jobs, decision)[0]

    def _start_what_fits(self, living: Set[Id]) -> dict[Id, Start]:
        """Take the line in order; whoever fits starts; where one of a class does not, all of it waits (P6).

        `living` are waiting jobs whose earlier attempt still lives: they are passed over (law 5).
        """
        starts: dict[Id, Start] = {}
        line = self._waiting.line(self._ledger)
        while len(starts) < self._policy.max_starts and (turn := line.next()) is not None:
            if turn.job.id in living:
                line.go_on(turn)
            elif start := self._start(turn.job, turn.kind):
                starts[turn.job.id] = start
                line.go_on(turn)
            else:
                line.leave_out(turn)
        return starts

    def _start(self, job: Job, kind: JobClass) -> Start | None:
        """The job's start with the whole gang placed and held in the trial, or nothing at all."""
        if cap_reached(kind, self._ledger):
            return None
        placements = self._placer.place(kind)
        if not placements:
            return None
        self._ledger.count_start(job)
        return Start(job.id, job.version, placements)

    def _tell_the_others_why(self, starts: dict[Id, Start], living: Set[Id]) -> tuple[Verdict, ...]:
        """A verdict for every class with somebody left, the earliest first (X1)."""
        verdicts = []
        for cohort in self._waiting.cohorts():
            left = tuple([job for _, _, job in cohort.places if job not in starts])
            if held_back := tuple(job for job in left if job in living) if living else ():
                verdicts.append(Verdict(held_back, (EarlierAttemptLives(),)))
                left = tuple(job for job in left if job not in living)
            if left:
                verdicts.append(Verdict(left, self._why(cohort.kind, len(starts))))
        return tuple(verdicts)

    def _why(self, kind: JobClass, started: int) -> tuple[Reason, ...]:
        """What keeps the class from starting; only the cycle's own bound, when nothing else does."""
        return reasons_to_wait(kind, self._ledger, self._placer) or (CycleBound(started),)
