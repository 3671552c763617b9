"""Random cells in which work has something to give back, and the platform's side of a taking.

`Platform` applies decisions as the platform does: victims are told to leave and a promise is written; later
they are gone, and their jobs wait again in their old place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Snapshot, Unit
from scheduler_core.decision import Rung, Taking
from scheduler_core.model import (
    Chip,
    FeedEvent,
    Gang,
    Id,
    Isolation,
    Job,
    Node,
    Pool,
    Promise,
    Quota,
    Remove,
    Request,
    Reservation,
    Running,
    Team,
    Upsert,
)
from tests.core.cells import Mirror, attempt_of, started

NOW = 1_000_000

SLICED = (Isolation.ENFORCED, Isolation.COOPERATIVE)

ORGANIZATION = {1: 1, 2: 1, 3: 2, 5: 1}

POLICIES = st.sampled_from(
    [
        Policy(min_runtime=0),
        Policy(min_runtime=0, service_levels=(100_000, 2_000_000)),
        Policy(min_runtime=0, service_levels=(800_000,)),
        Policy(min_runtime=0, max_reservations=0, service_levels=()),
        Policy(min_runtime=1000, max_moves=1),
        Policy(),
    ]
)


@st.composite
def gangs(draw: st.DrawFn, *, elastic: bool) -> Gang:
    kind = draw(st.sampled_from(["whole", "whole", "whole", "slice"]))
    request = Request(
        chips=draw(st.sampled_from([1, 1, 1, 2, 3] if elastic else [1, 2, 2, 3, 4]))
        if kind == "whole"
        else 0,
        milli=draw(st.sampled_from([300, 500, 700])) if kind == "slice" else 0,
        cpu=draw(st.sampled_from([0, 0, 1000, 3000])),
        chip_types=draw(st.sampled_from([(), (), ("A",), ("B", "A")])),
    )
    # By no draw of its own: all others would be others.
    request = replace(request, in_order=request.cpu == 0)
    low = draw(st.sampled_from([1, 1, 1, 2]))
    high = low + (draw(st.sampled_from([0, 1, 2])) if elastic else 0)
    return Gang(request, low, high, draw(st.sampled_from([True, False])))


@st.composite
def jobs(draw: st.DrawFn, job_id: Id, *, runs: bool) -> Job:
    team = draw(st.sampled_from([1, 2, 3]))
    preemptible = draw(st.integers(0, 9)) > (1 if runs else 4)
    return Job(
        job_id,
        f"job-{job_id}",
        team,
        ORGANIZATION[team],
        draw(st.integers(1, 2)),
        draw(gangs(elastic=runs)),
        priority=draw(st.sampled_from([10, 50, 50] if runs else [50, 50, 90])),
        submitted=draw(st.integers(0, 3)),
        preemptible=preemptible,
        attained=draw(st.sampled_from([0, 0, 500_000])),
        checkpoint=draw(st.booleans()),
        restart_cost=draw(st.sampled_from([0, 30_000])),
        times_taken=draw(st.sampled_from([0, 0, 0, 0, 4])),
    )


@st.composite
def teams(draw: st.DrawFn) -> tuple[Team, ...]:
    rows = []
    for team, parent in ((1, 5), (2, 5), (3, None), (5, None)):
        quotas = tuple(
            Quota(
                name, draw(st.sampled_from([0, 1000, 2000, 4000])), draw(st.sampled_from([None, None, 4000]))
            )
            for name in draw(st.sampled_from([(), ("A",), ("A", "B")]))
        )
        rows.append(Team(team, f"team-{team}", ORGANIZATION[team], parent, quotas))
    return tuple(rows)


@st.composite
def contended_cells(draw: st.DrawFn, *, most_waiting: int = 5) -> Snapshot:
    """A nearly full cell: work of several teams, most of it old enough to be taken from."""
    nodes = [Node(n, f"node-{n}", 1, 8000, 256) for n in range(1, 1 + draw(st.integers(1, 3)))]
    chips = [
        Chip(node.id * 10 + index, node.id, index, draw(st.sampled_from(["A", "A", "A", "B"])), 100)
        for node in nodes
        for index in range(draw(st.integers(1, 4)))
    ]
    chips = [replace(chip, isolation=frozenset([*chip.isolation, *SLICED])) for chip in chips]
    cell = Snapshot(NOW, (Pool(1, "one"),), tuple(nodes), tuple(chips))
    before = [draw(jobs(job_id, runs=True)) for job_id in range(101, 103 + draw(st.integers(0, 6)))]
    running = tuple(
        replace(
            attempt,
            id=attempt.id + 1000,
            started=draw(st.sampled_from([0, 400_000, NOW - 500])),
            checkpointed=draw(st.sampled_from([None, NOW - 10_000])),
        )
        for attempt in started(replace(cell, jobs=tuple(before)))
    )
    waiting = tuple(
        draw(jobs(job_id, runs=False)) for job_id in range(1, 2 + draw(st.integers(0, most_waiting)))
    )
    return replace(cell, teams=draw(teams()), jobs=waiting, running=running)


def two_must_go() -> Snapshot:
    """Two small jobs of low priority hold the only node; an urgent one of their team needs all of it."""
    request = Request(chips=1)
    low = [Job(n, f"job-{n}", 1, 1, 1, Gang(request), priority=10, preemptible=True) for n in (101, 102)]
    chips = [Chip(10 + n, 1, n, "A", 100) for n in (0, 1)]
    cell = Snapshot(
        NOW, (Pool(1, "one"),), (Node(1, "node-1", 1, 8000, 256),), tuple(chips), (Team(1, "t", 1),)
    )
    running = started(replace(cell, jobs=tuple(low)))
    urgent = Job(1, "job-1", 1, 1, 1, Gang(Request(chips=2)), priority=90)
    return replace(cell, jobs=(urgent,), running=running)


@st.composite
def overfull_cells(draw: st.DrawFn) -> Snapshot:
    """The same after its limits were lowered or a host lost CPU and chips lost memory."""
    cell = draw(contended_cells())
    return replace(
        cell,
        nodes=tuple(replace(node, cpu=node.cpu // draw(st.sampled_from([1, 8]))) for node in cell.nodes),
        chips=tuple(replace(chip, memory=draw(st.sampled_from([100, 100, 50]))) for chip in cell.chips),
        teams=tuple(
            replace(team, quotas=(Quota("A", 0, draw(st.sampled_from([1000, 2000, None]))),))
            for team in cell.teams
        ),
    )


class Platform:
    """A cell as the platform keeps it: rows, changed by decisions and by what nodes report."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.mirror = Mirror(snapshot)
        self.now = NOW
        self._serial = 10_000

    def take(self, decision: Decision) -> list[FeedEvent]:
        """The decision is applied: starts live, victims are told to leave, promises are written."""
        told: list[FeedEvent] = []
        for unit in decision.units:
            told += self._promise(unit) if unit.takings else self._start(unit)
        for taking in decision.relief:
            told += self._send_away(taking)
        for resizing in decision.resizings:
            told += [Upsert(replace(self._attempt(row), leaving=True)) for row in resizing.attempts]
            told += [Upsert(Promise(job, places, resizing.attempts)) for job, places in resizing.promised]
        told += [
            Remove(Promise, row.job) for row in self.mirror.of(Promise) if row.job not in decision.promises
        ]
        standing = {row.job for row in decision.reservations}
        told += [Remove(Reservation, r.job) for r in self.mirror.of(Reservation) if r.job not in standing]
        told += [Upsert(row) for row in decision.reservations]
        return self.tell(told)

    def leave(self, now: int, attempts: Iterable[Id] | None = None) -> list[FeedEvent]:
        """These of the attempts that were told to go have gone, or given up what they were told to; all of
        them by default. Their jobs wait again where they stood.
        """
        told: list[FeedEvent] = []
        for attempt in sorted(self.mirror.of(Running), key=lambda row: row.id):
            if attempts is not None and attempt.id not in attempts:
                continue
            if attempt.leaving:
                told += [Remove(Running, attempt.id), Upsert(self.back_in_line(attempt, now))]
            elif attempt.going:
                told.append(Upsert(replace(attempt, placements=attempt.staying, going=(), resized=now)))
        return self.tell(told)

    def tell(self, told: list[FeedEvent]) -> list[FeedEvent]:
        """These are the rows now."""
        for event in told:
            self.mirror.apply(event)
        return told

    def _start(self, unit: Unit) -> list[FeedEvent]:
        job = self._job(unit.start.job)
        self._serial += 1
        attempt = replace(
            attempt_of(job, self._serial, unit.start.placements),
            started=self.now,
            times_taken=job.times_taken,
        )
        return [Upsert(attempt), Remove(Job, job.id), Remove(Promise, job.id)]

    def _promise(self, unit: Unit) -> list[FeedEvent]:
        told: list[FeedEvent] = []
        for taking in unit.takings:
            told += self._send_away(taking)
            if taking.rung is Rung.MOVE:
                told.append(Upsert(Promise(taking.job, taking.placements, (taking.attempt,))))
        attempts = tuple(taking.attempt for taking in unit.takings)
        return [*told, Upsert(Promise(unit.start.job, unit.start.placements, attempts))]

    def _send_away(self, taking: Taking) -> list[FeedEvent]:
        attempt = self._attempt(taking.attempt)
        if taking.rung is Rung.SHRINK:
            going = tuple(p.replica for p in attempt.placements if p.replica not in taking.keeps)
            return [Upsert(replace(attempt, going=going))]
        return [Upsert(replace(attempt, leaving=True))]

    def back_in_line(self, attempt: Running, now: int) -> Job:
        """Its job, waiting as before it was taken from."""
        milli = sum(share.milli for place in attempt.placements for share in place.chips)
        assert attempt.gang is not None
        return Job(
            attempt.job,
            f"job-{attempt.job}",
            attempt.team,
            attempt.organization,
            attempt.user,
            attempt.gang,
            priority=attempt.priority,
            submitted=attempt.submitted,
            pools=attempt.pools,
            preemptible=attempt.preemptible,
            attained=attempt.attained + milli * (now - attempt.started) // 1000,
            checkpoint=attempt.checkpoint,
            restart_cost=attempt.restart_cost,
            times_taken=attempt.times_taken + 1,
        )

    def _attempt(self, attempt_id: Id) -> Running:
        attempt = self.mirror.rows[Running, attempt_id]
        assert isinstance(attempt, Running)
        return attempt

    def _job(self, job_id: Id) -> Job:
        job = self.mirror.rows[Job, job_id]
        assert isinstance(job, Job)
        return job
