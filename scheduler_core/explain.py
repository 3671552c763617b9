"""Why a waiting job waits, who is before it, and the smallest changes that would start it now (S5, X1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scheduler_core.backfill import hold_reservation
from scheduler_core.closing import Closing
from scheduler_core.decision import Decision
from scheduler_core.engine import Scheduler
from scheduler_core.fairness import Standing, fair_shares
from scheduler_core.ledger import Ledger
from scheduler_core.model import Gang, Id, Job, Request, Snapshot
from scheduler_core.ordering import JobClass, Waiting, longest_run
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.promises import keep_promises
from scheduler_core.reasons import Reason
from scheduler_core.request import wants_chips
from scheduler_core.takeback import hold_resizing, hold_unit
from scheduler_core.verdicts import bar_to


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A change to the request with which the job would start on what this cycle leaves free (X1)."""

    change: str
    """What changes: `chips`, `replicas`, `preemptible`, `chip_types` or `pools`."""
    value: int
    """How many chips or replicas it would be; 1 for the others."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer for one waiting job."""

    job: Id
    reasons: tuple[Reason, ...]
    """Empty when this cycle starts it."""
    would_start: tuple[Counterfactual, ...]
    """Changes of one thing each, the largest request that fits in each."""
    position: int
    """Its place in this cycle's order (F3), from 1."""
    ahead: tuple[Id, ...]
    """The waiting jobs before it, first to last."""


class NotWaiting(Exception):  # noqa: N818 - it says what is true of the job
    """The job is not among the snapshot's waiting jobs."""


def explain(snapshot: Snapshot, policy: Policy, job: Id) -> Explanation:
    """Why `job` waits and what would start it; raises NotWaiting when the snapshot does not have it."""
    row = next((waiting for waiting in snapshot.jobs if waiting.id == job), None)
    if row is None:
        raise NotWaiting(f"Job {job} does not wait.")
    decision = Scheduler(snapshot, policy).decide(snapshot.now)
    reasons = next((verdict.reasons for verdict in decision.verdicts if job in verdict.jobs), ())
    ahead = _ahead_of(row, snapshot, policy)
    would_start = tuple(_would_start(row, snapshot, decision, policy)) if reasons else ()
    return Explanation(job, reasons, would_start, len(ahead) + 1, ahead)


def _ahead_of(job: Job, snapshot: Snapshot, policy: Policy) -> tuple[Id, ...]:
    """Everybody before the job in the order that use, as it is now, gives."""
    ahead = []
    ledger, waiting = Ledger(snapshot), Waiting(snapshot.jobs, policy, snapshot.teams)
    shares = fair_shares(ledger, waiting.demand(ledger))
    standing = Standing(ledger, shares, snapshot.now, policy.half_life)
    for turn in waiting.line(standing, ledger):
        if turn.job.id == job.id:
            break
        ahead.append(turn.job.id)
    return tuple(ahead)


def _would_start(
    job: Job, snapshot: Snapshot, decision: Decision, policy: Policy
) -> Iterator[Counterfactual]:
    """One counterfactual for each kind of change that has one."""
    ledger = _after(snapshot, decision, job, policy)
    placer, closing = Placer(ledger), Closing(ledger)
    closing.begin(snapshot.now)
    kind = _kind(job, snapshot, policy)
    closing.open_to(kind)
    if bar_to(kind, ledger) or ledger.live_of_job.get(job.id):
        return
    told: set[str] = set()
    for changed, counterfactual in _changes(job):
        if counterfactual.change not in told and placer.fits(_kind(changed, snapshot, policy)):
            told.add(counterfactual.change)
            yield counterfactual


def _kind(job: Job, snapshot: Snapshot, policy: Policy) -> JobClass:
    """The job's class; its first alternative alone, which is what is changed."""
    per_user = any(team.id == job.team and team.user_caps for team in snapshot.teams)
    return JobClass.of(replace(job, others=()), policy, per_user=per_user)


def _after(snapshot: Snapshot, decision: Decision, job: Job, policy: Policy) -> Ledger:
    """The books with the decision's units in place, and the reservations that this job would delay."""
    ledger = Ledger(snapshot)
    jobs = {waiting.id: waiting for waiting in snapshot.jobs}
    keep_promises(ledger, jobs)
    for unit in decision.units:
        if unit.start.job not in ledger.live_of_job:
            hold_unit(ledger, jobs[unit.start.job], unit)
    for resizing in decision.resizings:
        hold_resizing(ledger, jobs, resizing)
    run = longest_run(job, policy)
    for row in decision.reservations:
        if row.job != job.id and (run is None or snapshot.now + run > row.at):
            hold_reservation(ledger, jobs[row.job], row)
    return ledger


def _changes(job: Job) -> Iterator[tuple[Job, Counterfactual]]:
    """The job with one thing changed, the smallest change of each kind first."""
    gang, request = job.gang, job.gang.request
    if not job.preemptible and wants_chips(request):
        sentence = "It would start now if it were preemptible."
        yield replace(job, preemptible=True), Counterfactual("preemptible", 1, sentence)
    for count in range(request.chips - 1, 0, -1):
        sentence = f"It would start now with {count} instead of {request.chips} chips on each node."
        yield _asking(job, replace(request, chips=count)), Counterfactual("chips", count, sentence)
    for count in range(gang.minimum - 1, 0, -1):
        fewer = Gang(request, count, count, gang.spread)
        sentence = f"It would start now with {count} instead of {gang.minimum} replicas."
        yield replace(job, gang=fewer), Counterfactual("replicas", count, sentence)
    if request.chip_types:
        sentence = f"It would start now on any chip type instead of {' or '.join(request.chip_types)}."
        anything = _asking(job, replace(request, chip_types=()))
        yield anything, Counterfactual("chip_types", 1, sentence)
    if job.pools:
        sentence = "It would start now if it accepted every pool."
        yield replace(job, pools=()), Counterfactual("pools", 1, sentence)


def _asking(job: Job, request: Request) -> Job:
    return replace(job, gang=replace(job.gang, request=request))
