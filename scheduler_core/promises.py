"""Chips that were taken for a waiting job, until it starts on them (R6).

A promise is kept in three parts. What leaving attempts still hold is held by them. The rest is kept free by a
*shadow*: the promise's placements less what will come back from those attempts, which is free now and stays
so. And its team is charged for all of it, from the decision on, while those who leave are charged no longer.
When the last of them has ended, the job starts exactly there. Promises of one unit name the same attempts,
and each thing that comes back serves one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from scheduler_core.decision import Start
from scheduler_core.invariants import fault_of
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Id, Job, Placement, Promise, Running
from scheduler_core.shape import tenant


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the promises of a cell in one cycle."""

    starts: tuple[Start, ...]
    """Of jobs whose chips are all there; held in the trial."""
    pending: Mapping[Id, int]
    """Jobs that wait for their chips, each with the number of attempts that have not left yet."""


def keep_promises(ledger: Ledger, waiting: Mapping[Id, Job]) -> Kept:
    """Every promise that still holds is served or kept, and charged; held in the ledger's trial.

    One that can no longer hold is in neither list: its job waits like any other.
    """
    starts: list[Start] = []
    pending: dict[Id, int] = {}
    coming: dict[tuple[Id, ...], Coming] = {}
    for job_id in sorted(ledger.promises):
        promise = ledger.promises[job_id]
        leaving = departing(ledger, promise)
        job = waiting.get(job_id) or _on_the_move(leaving, promise)
        if job is None or not _holds(ledger, promise, job, leaving):
            continue
        if leaving:
            pending[job_id] = len(leaving)
            if promise.attempts not in coming:
                coming[promise.attempts] = Coming(leaving)
            hold_promise(ledger, job, promise.placements, coming[promise.attempts])
        else:
            starts.append(Start(job.id, job.version, promise.placements))
            hold_start(ledger, job, promise.placements)
    return Kept(tuple(starts), pending)


def departing(ledger: Ledger, promise: Promise) -> list[Running]:
    """The attempts of the promise that still hold what they have been told to give up."""
    live = (ledger.running.get(attempt) for attempt in promise.attempts)
    return [attempt for attempt in live if attempt is not None and attempt.departing]


def hold_start(ledger: Ledger, job: Job, placements: Iterable[Placement]) -> None:
    """The job holds its placements and counts as live, until rewound."""
    by = tenant(job.organization, job.gang.request.isolation)
    for placement in placements:
        ledger.hold(placement, team=job.team, preemptible=job.preemptible, by=by, user=job.user)
    ledger.count_start(job)


class Coming:
    """What comes back from those who leave, as far as no promise has it yet."""

    def __init__(self, leaving: Iterable[Running]) -> None:
        self.cpu: defaultdict[Id, int] = defaultdict(int)
        self.memory: defaultdict[Id, int] = defaultdict(int)
        self.milli: defaultdict[Id, int] = defaultdict(int)
        self.chip_memory: defaultdict[Id, int] = defaultdict(int)
        for place in (place for attempt in leaving for place in attempt.departing):
            self.cpu[place.node] += place.cpu
            self.memory[place.node] += place.memory
            for share in place.chips:
                self.milli[share.chip] += share.milli
                self.chip_memory[share.chip] += share.memory

    def rest(self, place: Placement) -> Placement:
        """The placement less what is coming back there. Every share stays, if only with 0: who holds it decides
        who may join (P4).
        """
        return replace(
            place,
            cpu=_less(place.cpu, self.cpu, place.node),
            memory=_less(place.memory, self.memory, place.node),
            chips=tuple(
                ChipShare(
                    share.chip,
                    _less(share.milli, self.milli, share.chip),
                    _less(share.memory, self.chip_memory, share.chip),
                )
                for share in place.chips
            ),
        )


def hold_promise(ledger: Ledger, job: Job, placements: tuple[Placement, ...], coming: Coming) -> None:
    """The job is charged for its placements; what of them will not come back from those who leave is kept
    free. Until rewound. Work that moves or is resized may have what it leaves itself.
    """
    by = tenant(job.organization, job.gang.request.isolation)
    for place in placements:
        ledger.shadow(coming.rest(place), by=by)
    ledger.bill(placements, team=job.team, preemptible=job.preemptible, sign=1, user=job.user)
    ledger.count_start(job)


def _less(amount: int, coming: defaultdict[Id, int], place: Id) -> int:
    """The amount less what is coming there; what is used up of that is gone for the next replica."""
    spared = min(amount, coming[place])
    coming[place] -= spared
    return amount - spared


def _on_the_move(leaving: Iterable[Running], promise: Promise) -> Job | None:
    """The job of a move or a resize, which does not wait while its attempt lives."""
    own = next((attempt for attempt in leaving if attempt.job == promise.job), None)
    return None if own is None else job_of(own, len(promise.placements))


def _holds(ledger: Ledger, promise: Promise, job: Job, leaving: list[Running]) -> bool:
    """Whether the job may start there once those who leave are gone, by the same laws as any start."""
    mark = ledger.mark()
    for attempt in leaving:
        ledger.lift(attempt, None if attempt.leaving else attempt.departing)
    fault = fault_of(ledger, job, Start(job.id, job.version, promise.placements))
    ledger.rewind(mark)
    return fault is None
