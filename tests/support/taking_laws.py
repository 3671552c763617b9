"""The laws of takings and promises (R1 to R7), counted the slow and plain way from rows and a decision.

As in `engine_laws`, nothing here uses the engine's ledger or its search: each single victim is put back and
the gang is placed by exhaustive search (R5).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from scheduler_core import Decision, Policy, Snapshot, Unit
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.model import ChipShare, Id, Job, Placement, Promise, Running
from tests.support import engine_laws as plain


def hold_promises(books: plain.Books, jobs: dict[Id, Job], decision: Decision) -> None:
    """The promises of earlier cycles that still stand are charged, and what will not come back is held. Whoever is
    promised other chips now had a promise that can hold no longer, if any: it is given up.
    """
    running = {attempt.id: attempt for attempt in books.snapshot.running}
    gives: dict[tuple[Id, ...], Counter[tuple[str, Id]]] = {}
    starts = {unit.start.job: unit.start.placements for unit in decision.units if not unit.takings}
    served: list[tuple[Job, tuple[Placement, ...]]] = []
    for promise in sorted(books.snapshot.promises, key=lambda row: row.job):
        leaving = [running[a] for a in promise.attempts if a in running and departing(running[a])]
        job = jobs.get(promise.job) or next(
            (as_waiting(a, len(promise.placements)) for a in leaving if a.job == promise.job), None
        )
        if job is None:
            continue
        if job.id in decision.newly_promised:
            left = copy(books)
            for other, placements in served:
                left.start(other, placements)
            assert not _may_hold(left, job, promise, leaving), "a second one beside a promise that holds"
            continue
        stands = job.id in decision.promises
        if not leaving and (stands or starts.get(job.id) == promise.placements):
            served.append((job, promise.placements))
        if not leaving or not stands:
            continue
        if promise.attempts not in gives:
            gives[promise.attempts] = what_comes([place for a in leaving for place in departing(a)])
        promise_to(books, job, promise.placements, gives[promise.attempts])


def _may_hold(books: plain.Books, job: Job, promise: Promise, leaving: list[Running]) -> bool:
    """Whether the job could start there once these have left, which are charged to nobody. They have left the books
    afterwards.
    """
    for attempt in leaving:
        for place in departing(attempt):
            books.release(place, attempt.organization, attempt.isolation)
    known = all(
        place.node in books.nodes and all(share.chip in books.chips for share in place.chips)
        for place in promise.placements
    )
    if books.capped(job) or not promise.placements or not known:
        return False
    choice = plain.as_started(books, job, promise.placements)
    if books.budget_spent(choice):
        return False
    try:
        plain._whole_and_as_asked(books, choice, promise.placements)
    except AssertionError:
        return False
    return True


def departing(attempt: Running) -> list[Placement]:
    """What the attempt has been told to give up and still holds."""
    return [place for place in attempt.placements if attempt.leaving or place.replica in attempt.going]


def what_comes(coming: list[Placement]) -> Counter[tuple[str, Id]]:
    """What these placements give back, by what and where."""
    gives: Counter[tuple[str, Id]] = Counter()
    for place in coming:
        gives["cpu", place.node] += place.cpu
        gives["memory", place.node] += place.memory
        for share in place.chips:
            gives["milli", share.chip] += share.milli
            gives["chip memory", share.chip] += share.memory
    return gives


def promise_to(
    books: plain.Books, job: Job, placements: tuple[Placement, ...], gives: Counter[tuple[str, Id]]
) -> None:
    """The job is charged in full, and holds what is not coming back to the same place."""

    def rest(amount: int, what: tuple[str, Id]) -> int:
        spared = min(amount, gives[what])
        gives[what] -= spared
        return amount - spared

    for place in placements:
        shares = tuple(
            ChipShare(s.chip, rest(s.milli, ("milli", s.chip)), rest(s.memory, ("chip memory", s.chip)))
            for s in place.chips
        )
        held = replace(
            place,
            cpu=rest(place.cpu, ("cpu", place.node)),
            memory=rest(place.memory, ("memory", place.node)),
            chips=shares,
        )
        asked = job.gang.request.isolation
        books.hold(held, job.team, job.organization, job.preemptible, asked, charged=False)
        books.charge(place, job.team, job.preemptible, 1)
        books.count_user(place, job.team, job.user)
    books.live_jobs.add(job.id)
    if job.set is not None:
        books.live_of_set[job.set] += 1


def uncharge(books: plain.Books, attempt: Running, places: list[Placement]) -> None:
    """What is on its way out is charged to nobody."""
    for place in places:
        books.charge(place, attempt.team, attempt.preemptible, -1)
        books.count_user(place, attempt.team, attempt.user, -1)


def given_up(attempt: Running, taking: Taking) -> list[Placement]:
    """What the taking frees once the victim has gone."""
    return [place for place in attempt.placements if place.replica not in taking.keeps]


def relief_holds(books: plain.Books, policy: Policy, decision: Decision) -> set[Id]:
    """What relief takes may be taken, helps, and is charged no longer. Returns whom it took from."""
    running = {attempt.id: attempt for attempt in books.snapshot.running}
    before = books.excesses()
    for taking in decision.relief:
        attempt = running[taking.attempt]
        assert taking.ground is Ground.EXCESS
        may_be_taken(books.snapshot, policy, attempt, taking)
        assert before, "relief without an excess"
        uncharge(books, attempt, given_up(attempt, taking))
    return {taking.attempt for taking in decision.relief}


def may_be_taken(snapshot: Snapshot, policy: Policy, attempt: Running, taking: Taking) -> None:
    """R1, R3, R4: whom, how much, and what it costs."""
    assert attempt.preemptible, "not preemptible"
    assert not attempt.leaving
    assert not attempt.going
    assert not any(attempt.id in promise.attempts for promise in snapshot.promises)
    ran = snapshot.now - attempt.started
    assert ran >= max(policy.min_runtime, attempt.min_runtime)
    if attempt.times_taken >= policy.max_times_taken:
        assert attempt.checkpoint
        assert ran >= 10 * attempt.restart_cost
    assert taking.job == attempt.job
    milli = sum(share.milli for place in attempt.placements for share in place.chips)
    if taking.rung is Rung.SHRINK:
        assert attempt.gang is not None
        assert attempt.gang.minimum <= len(taking.keeps) < len(attempt.placements), "R4"
        assert set(taking.keeps) < {place.replica for place in attempt.placements}
        assert taking.loss == milli * attempt.restart_cost // 1000
        return
    saved = attempt.started
    if attempt.checkpoint and attempt.checkpointed is not None:
        saved = max(saved, attempt.checkpointed)
    assert taking.loss == milli * (snapshot.now - saved + attempt.restart_cost) // 1000, "R3"
    assert taking.keeps == ()
    if taking.rung is Rung.MOVE:
        assert attempt.checkpoint
        assert len(taking.placements) == len(attempt.placements), "a move is whole"
        assert taking.ground is Ground.CONSOLIDATION
    else:
        assert taking.rung is (Rung.SUSPEND if attempt.checkpoint else Rung.EVICT)


def takings_hold(
    books: plain.Books, policy: Policy, job: Job, unit: Unit, taken: set[Id], *, search: bool
) -> None:
    """A unit that takes: whom, by what order inside a team, onto what capacity, and nobody without need (R5).
    Its promise is in the books afterwards.
    """
    snapshot = books.snapshot
    running = {attempt.id: attempt for attempt in snapshot.running}
    for taking in unit.takings:
        attempt = running[taking.attempt]
        assert attempt.id not in taken, "taken twice"
        taken.add(attempt.id)
        may_be_taken(snapshot, policy, attempt, taking)
        _ordered(job, attempt, taking)
        _by_level(snapshot, policy, job, attempt, taking)
    assert sum(taking.rung is Rung.MOVE for taking in unit.takings) <= policy.max_moves
    moved = copy(books)
    _move(moved, running, unit.takings)
    gone = copy(moved)
    for taking in unit.takings:
        _leave(gone, running[taking.attempt], given_up(running[taking.attempt], taking))
    plain._whole_and_as_asked(gone, job, unit.start.placements)
    assert len(unit.start.placements) == job.gang.minimum
    if search:
        _nobody_needless(books, running, job, unit)
    _move(books, running, unit.takings)
    coming = []
    for taking in unit.takings:
        places = given_up(running[taking.attempt], taking)
        uncharge(books, running[taking.attempt], places)
        coming += places
    promise_to(books, job, unit.start.placements, what_comes(coming))


def resizings_hold(
    books: plain.Books, jobs: dict[Id, Job], policy: Policy, decision: Decision, taken: set[Id]
) -> None:
    """E1: whom, within which bounds, and onto what: a place for every job at once where all that leave have
    left. The promises are in the books afterwards.
    """
    snapshot = books.snapshot
    running = {attempt.id: attempt for attempt in snapshot.running}
    reserved = {place.node for row in decision.reservations for place in row.placements}
    for resizing in decision.resizings:
        assert resizing.resizes, "a start that resizes nobody is a unit"
        leaving = [running[attempt] for attempt in resizing.attempts]
        for attempt, resize in zip(leaving, resizing.resizes, strict=True):
            assert attempt.id not in taken, "taken twice"
            taken.add(attempt.id)
            may_be_resized(snapshot, policy, attempt, resize.placements)
            assert attempt.job == resize.job
        teams = {attempt.team for attempt in leaving} | {jobs[start.job].team for start in resizing.starts}
        assert len(teams) == 1, "chips change hands inside a team"
        gone = copy(books)
        for attempt in leaving:
            _leave(gone, attempt, list(attempt.placements))
            gone.live_jobs.discard(attempt.job)
        asked = [(jobs[start.job], start.placements) for start in resizing.starts]
        asked += [
            (as_waiting(attempt, len(row.placements)), row.placements)
            for attempt, row in zip(leaving, resizing.resizes, strict=True)
        ]
        for job, placements in asked:
            assert not gone.capped(job)
            assert job.id not in gone.live_jobs, "one live attempt"
            plain._whole_and_as_asked(gone, job, placements)
            gone.start(job, placements)
            assert not reserved & {place.node for place in placements}, "growth delays no reservation"
        gives = what_comes([place for attempt in leaving for place in attempt.placements])
        for attempt in leaving:
            uncharge(books, attempt, list(attempt.placements))
        for job, placements in asked:
            promise_to(books, job, placements, gives)


def may_be_resized(
    snapshot: Snapshot, policy: Policy, attempt: Running, placements: tuple[Placement, ...]
) -> None:
    """E1: preemptible elastic work that goes on from a checkpoint, and keeps its size for a while. R8: what is held
    back keeps its size and is held back no more."""
    size = len(placements)
    assert attempt.preemptible
    assert not attempt.leaving
    assert not attempt.going
    assert not any(attempt.id in promise.attempts for promise in snapshot.promises)
    assert attempt.gang is not None
    assert attempt.gang.minimum <= size <= attempt.gang.maximum
    if size == len(attempt.placements):
        assert attempt.unwanted
        assert not {place.node for place in placements} & set(attempt.unwanted)
        return
    assert attempt.checkpoint
    age = snapshot.now - max(attempt.started, attempt.resized or 0)
    assert age >= max(policy.resize_interval, 1)


def copy(books: plain.Books) -> plain.Books:
    """Books of their own with the same sums."""
    further = plain.Books(books.snapshot)
    plain._copy(books, further)
    further.live_jobs, further.live_of_set = set(books.live_jobs), books.live_of_set.copy()
    return further


def as_waiting(attempt: Running, size: int | None = None) -> Job:
    """The job of an attempt that moves, as it asks for just its replicas again, or for so many."""
    assert attempt.gang is not None
    size = len(attempt.placements) if size is None else size
    return Job(
        attempt.job,
        "",
        attempt.team,
        attempt.organization,
        attempt.user,
        replace(attempt.gang, minimum=size, maximum=size),
        pools=attempt.pools,
        preemptible=attempt.preemptible,
        set=attempt.set,
    )


def _ordered(job: Job, attempt: Running, taking: Taking) -> None:
    same = job.team == attempt.team
    if taking.ground is Ground.PRIORITY:
        assert same
        assert job.priority > attempt.priority
    elif taking.ground is Ground.SERVICE_LEVEL:
        assert not same or job.priority == attempt.priority
        assert job.preemptible
        assert attempt.checkpoint
    elif taking.ground is Ground.GUARANTEE:
        assert not same or (not job.preemptible and job.priority == attempt.priority)
    elif taking.ground is Ground.FAIR_SHARE:
        assert not same


def _by_level(snapshot: Snapshot, policy: Policy, job: Job, attempt: Running, taking: Taking) -> None:
    """Nobody but a guarantee, or a higher priority in one team, takes from who has had less (ADR 0004)."""
    milli = sum(share.milli for place in attempt.placements for share in place.chips)
    had = attempt.attained + milli * (snapshot.now - attempt.started) // 1000
    reached = sum(threshold <= had for threshold in policy.service_levels)
    level = sum(threshold <= job.attained for threshold in policy.service_levels) if job.preemptible else 0
    if taking.ground is Ground.SERVICE_LEVEL:
        assert level < reached
    elif taking.ground is Ground.FAIR_SHARE:
        assert level <= reached


def _move(books: plain.Books, running: dict[Id, Running], takings: tuple[Taking, ...]) -> None:
    """What moves holds its new place, which must be free while everybody is still there (R7)."""
    for taking in takings:
        if taking.rung is Rung.MOVE:
            attempt = running[taking.attempt]
            job = as_waiting(attempt)
            uncharged = copy(books)
            uncharge(uncharged, attempt, list(attempt.placements))
            plain._whole_and_as_asked(uncharged, job, taking.placements)
            books.start(job, taking.placements)


def _leave(books: plain.Books, attempt: Running, places: list[Placement]) -> None:
    uncharge(books, attempt, places)
    for place in places:
        books.release(place, attempt.organization, attempt.isolation)


def _nobody_needless(books: plain.Books, running: dict[Id, Running], job: Job, unit: Unit) -> None:
    """R5: with any single one kept, and all others done, the gang has no place."""
    for kept in unit.takings:
        attempt = running[kept.attempt]
        for place in given_up(attempt, kept) if kept.rung is Rung.SHRINK else [None]:
            others = copy(books)
            _move(others, running, tuple(taking for taking in unit.takings if taking is not kept))
            for taking in unit.takings:
                gives = given_up(running[taking.attempt], taking)
                if taking is kept:
                    gives = [] if place is None else [other for other in gives if other is not place]
                _leave(others, running[taking.attempt], gives)
            assert not any(
                plain.placement_exists(others, job, chip_type, job.gang.minimum, others.room(job, chip_type))
                for chip_type in plain.types_of(others, job)
            ), ("R5: needless", kept, unit)
