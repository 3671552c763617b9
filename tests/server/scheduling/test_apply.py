"""Apply: a unit whole or not at all, and what does not hold costs nobody else their start (law 2)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import IntegrityError, connection

from flexai.cluster.models import Chip, Node
from flexai.common import clock
from flexai.jobs.models import Allocation, Attempt, Event, Job, Replica
from flexai.scheduling import apply as applying
from flexai.scheduling.apply import apply
from flexai.scheduling.models import Cycle, Reservation, Verdict
from flexai.scheduling.records import CycleNotes
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import AuditEntry, TeamUse
from scheduler_core import Policy, decide
from tests.server.scheduling.world import World, counters_agree

pytestmark = pytest.mark.django_db(transaction=True)


def decided(world: World):
    return decide(take_snapshot(world.cell.pk, clock.now()), Policy()).units


def applied(world: World, units):
    now = clock.now()
    return apply(world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=len(units)))


def started_jobs(result) -> set[int]:
    return {unit.start.job for unit in result.units}


def rows(model, **where):
    """Every column of the rows, in the order of their ids, without the ids themselves and `changed`."""
    left_out = {"id", "changed"}
    return [
        {key: value for key, value in row.items() if key not in left_out}
        for row in model.objects.filter(**where).order_by("pk").values()
    ]


def test_what_a_start_writes_row_by_row():
    world = World()
    lab = world.a_team("lab")
    team = world.a_team("nlp", parent=lab)
    nodes = [world.a_node(f'rack "{n}", \\n', chips=2, claims=500) for n in range(2)]
    chips = [list(Chip.objects.filter(node=node).order_by("index")) for node in nodes]
    gang = world.a_job("gang", team=team, chips=2, replicas=2, cpu=300, memory=700)
    lone = world.a_job("lone", cpu=200, memory=50)
    Job.objects.filter(pk=gang.pk).update(
        attempts_count=2, outcome="preempted", exit_code=4, ended_at=clock.now()
    )
    for job in (gang, lone):
        Verdict.objects.create(job=job, since=clock.now(), code="waits", sentence="It waits.")
        Reservation.objects.create(job=job, cell=world.cell, at=clock.now(), placements=[])
    now = clock.now()
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    assert [unit.start.job for unit in units] == [gang.pk, lone.pk]
    before = {job.pk: row for job, row in zip((gang, lone), rows(Job), strict=True)}

    result = apply(
        world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=2, waiting=3, read_ms=4)
    )

    attempts = {attempt.job_id: attempt for attempt in Attempt.objects.all()}
    lone_on = units[1].start.placements[0].node
    said = {
        gang.pk: f"Placed as 2 replicas on {nodes[0].name}, {nodes[1].name}.",
        lone.pk: f"Placed on {Node.objects.get(pk=lone_on).name}.",
    }
    common = {
        "organization_id": world.organization.pk, "cell_id": world.cell.pk, "state": "placed", "outcome": "",
        "contact_ok": True, "stop_outcome": "", "lease_ms": 600_000, "exit_code": None, "reason_code": "placed",
        "placed_at": now, "running_at": None, "stopping_at": None, "ended_at": None, "cpu_time_ms": 0,
        "memory_peak_mib": 0, "use_permille": None, "energy_mj": None, "version": 0,
    }  # fmt: skip
    assert rows(Attempt) == [
        {
            **common,
            "public_id": attempts[job].public_id,
            "job_id": job,
            "number": number,
            "sentence": said[job],
        }
        for job, number in ((gang.pk, 3), (lone.pk, 1))
    ]
    assert all(len(attempt.public_id) == 24 for attempt in attempts.values())
    moved = {
        "state": "active", "status": "starting", "reason_code": "placed", "version": 1, "outcome": "",
        "exit_code": None, "ended_at": None,
    }  # fmt: skip
    assert rows(Job) == [
        {**before[job], **moved, "sentence": said[job], "attempts_count": number}
        for job, number in ((gang.pk, 3), (lone.pk, 1))
    ]
    replica = {
        "state": "placed", "generation": 1, "exit_code": None, "outcome": "", "sentence": "", "log_offset": 0,
        "log_size": None, "image": "",
    }  # fmt: skip
    assert rows(Replica) == [
        {**replica, "attempt_id": attempts[gang.pk].pk, "index": 0, "node_id": nodes[0].pk, "cpu_milli": 300,
         "memory_mib": 700},
        {**replica, "attempt_id": attempts[gang.pk].pk, "index": 1, "node_id": nodes[1].pk, "cpu_milli": 300,
         "memory_mib": 700},
        {**replica, "attempt_id": attempts[lone.pk].pk, "index": 0, "node_id": lone_on, "cpu_milli": 200,
         "memory_mib": 50},
    ]  # fmt: skip
    of_gang = list(Replica.objects.filter(attempt=attempts[gang.pk]).order_by("index"))
    assert rows(Allocation) == [
        {"attempt_id": attempts[gang.pk].pk, "replica_id": of_gang[n].pk, "chip_id": chip.pk, "kind": "owned",
         "milli": 1000, "memory_mib": 80_000, "charge_milli": 1000, "cpu_milli": 500, "active": True}
        for n in range(2) for chip in chips[n]
    ]  # fmt: skip
    event = {
        "at": now, "organization_id": world.organization.pk, "kind": "attempt.placed", "from_state": "queued",
        "to_state": "active", "reason_code": "placed", "facts": {}, "actor": "scheduler",
        "cause": f"cycle-{result.cycle_id}",
    }  # fmt: skip
    assert rows(Event) == [
        {**event, "job_id": job, "attempt": number, "sentence": said[job]}
        for job, number in ((gang.pk, 3), (lone.pk, 1))
    ]
    assert not Verdict.objects.exists()
    assert not Reservation.objects.exists()
    for node, extra in zip(nodes, (lone_on == nodes[0].pk, lone_on == nodes[1].pk), strict=True):
        node.refresh_from_db()
        used = (node.used_cpu_milli, node.used_memory_mib, node.wanted_version)
        assert used == (1300 + 200 * extra, 700 + 50 * extra, 1)
    assert set(Chip.objects.values_list("used_milli", "used_memory_mib")) == {(1000, 80_000)}
    assert dict(TeamUse.objects.values_list("team__name", "used_milli")) == {"nlp": 4000, "lab": 4000}
    (audit,) = rows(AuditEntry)
    names = Job.objects.in_bulk([gang.pk, lone.pk])
    assert audit["after"] == {"started": [names[gang.pk].public_id, names[lone.pk].public_id]}
    assert (audit["actor"], audit["action"], audit["object_id"]) == (
        "scheduler", "cycle.applied", str(world.cell.pk),
    )  # fmt: skip
    assert audit["request_id"] == f"cycle-{result.cycle_id}"
    (cycle,) = rows(Cycle)
    assert {key: cycle[key] for key in ("read_ms", "waiting", "units", "applied", "dropped")} == {
        "read_ms": 4, "waiting": 3, "units": 2, "applied": 2, "dropped": 0,
    }  # fmt: skip
    counters_agree(world.cell)


@pytest.mark.parametrize("kept", [Job, Attempt, Replica, Node, Chip], ids=lambda model: model.__name__)
def test_what_is_still_named_cannot_go(kept):
    """ADR 0014: the rows of a start are not checked one by one, what they name is."""
    world = World()
    chips = int(kept is not Node)
    world.a_node(chips=chips)
    world.a_job(chips=chips)
    applied(world, decided(world))
    with pytest.raises(IntegrityError, match="still named"), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {kept._meta.db_table}")
    assert kept.objects.count() == 1


def test_a_unit_whose_node_was_drained_in_between_is_dropped_and_the_others_go_on():
    world = World()
    nodes = [world.a_node(chips=1) for _ in range(3)]
    jobs = world.jobs(3, chips=1)
    units = decided(world)
    assert len(units) == 3
    Node.objects.filter(pk=nodes[1].pk).update(state="draining")

    result = applied(world, units)

    assert len(result.units) == 2
    (dropped,) = result.dropped
    assert dropped.start.placements[0].node == nodes[1].pk
    left = Job.objects.get(pk=dropped.start.job)
    assert (left.state, left.version, left.attempts_count) == ("queued", 0, 0)
    assert Attempt.objects.count() == 2
    assert Event.objects.count() == 2
    assert set(Job.objects.filter(state="active").values_list("pk", flat=True)) == {
        job.pk for job in jobs
    } - {left.pk}
    record = Cycle.objects.get(pk=result.cycle_id)
    assert (record.units, record.applied, record.dropped) == (3, 2, 1)
    counters_agree(world.cell)


@pytest.mark.parametrize(
    "change",
    [
        lambda job: Job.objects.filter(pk=job.pk).update(state="cancelled"),
        lambda job: Job.objects.filter(pk=job.pk).update(version=7),
        lambda job: Job.objects.filter(pk=job.pk).delete(),
    ],
    ids=["cancelled", "edited", "deleted"],
)
def test_a_job_that_changed_in_between_is_not_started(change):
    world = World()
    world.a_node()
    jobs = world.jobs(4)
    units = decided(world)
    change(jobs[2])
    result = applied(world, units)
    assert started_jobs(result) == {jobs[0].pk, jobs[1].pk, jobs[3].pk}
    assert not Attempt.objects.filter(job_id=jobs[2].pk).exists()
    counters_agree(world.cell)


def test_only_the_units_that_find_their_chip_taken_are_dropped():
    world = World()
    world.a_node(chips=8)
    world.jobs(8, chips=1)
    units = decided(world)
    taken = {units[2].start.placements[0].chips[0].chip, units[5].start.placements[0].chips[0].chip}
    Chip.objects.filter(pk__in=taken).update(used_milli=500)
    result = applied(world, units)
    assert started_jobs(result) == {unit.start.job for n, unit in enumerate(units) if n not in (2, 5)}
    Chip.objects.filter(pk__in=taken).update(used_milli=0)
    counters_agree(world.cell)


@pytest.mark.parametrize("change", [{"healthy": False}, {"present": False}])
def test_a_chip_that_fell_ill_takes_nothing(change):
    world = World()
    world.a_node(chips=2)
    world.jobs(2, chips=1)
    units = decided(world)
    ill = units[0].start.placements[0].chips[0].chip
    Chip.objects.filter(pk=ill).update(**change)
    assert started_jobs(applied(world, units)) == {units[1].start.job}
    counters_agree(world.cell)


def test_a_node_that_shrank_takes_only_what_it_has():
    world = World()
    node = world.a_node(cpu=4000)
    world.jobs(4, cpu=1000)
    units = decided(world)
    assert len(units) == 4
    Node.objects.filter(pk=node.pk).update(cpu_milli=2000)
    result = applied(world, units)
    assert [unit.start.job for unit in result.units] == [unit.start.job for unit in units[:2]]
    counters_agree(world.cell)


def test_a_limit_lowered_in_between_is_not_exceeded_also_above_the_team():
    world = World()
    world.a_node(chips=4)
    lab = world.a_team("lab")
    team = world.a_team("nlp", parent=lab)
    quota = world.a_quota(lab, limit=4000)
    for n in range(4):
        world.a_job(f"run-{n}", team=team, chips=1)
    units = decided(world)
    assert len(units) == 4
    quota.limit_milli = 3000
    quota.save()
    assert len(applied(world, units).units) == 3
    assert dict(TeamUse.objects.values_list("team__name", "used_milli")) == {"lab": 3000, "nlp": 3000}
    counters_agree(world.cell)


def test_what_a_constraint_refuses_is_a_dropped_unit():
    world = World()
    world.a_node()
    jobs = world.jobs(3)
    units = decided(world)
    Attempt.objects.create(
        organization=world.organization, cell=world.cell, job=jobs[1], number=9, placed_at=clock.now()
    )
    result = applied(world, units)
    assert started_jobs(result) == {jobs[0].pk, jobs[2].pk}
    counters_agree(world.cell)


def test_a_gang_is_dropped_whole_when_one_of_its_nodes_is_gone():
    world = World()
    nodes = [world.a_node(chips=1) for _ in range(2)]
    world.a_job(chips=1, replicas=2)
    units = decided(world)
    Node.objects.filter(pk=nodes[0].pk).update(reachable=False)
    result = applied(world, units)
    assert result.units == ()
    assert not Attempt.objects.exists()
    assert not AuditEntry.objects.filter(request_id=f"cycle-{result.cycle_id}").exists()
    counters_agree(world.cell)


def test_the_same_decision_applied_twice_at_once_starts_every_job_once():
    world = World()
    world.a_node(chips=8, cpu=64_000)
    world.jobs(8, chips=1)
    world.jobs(40, cpu=100)
    units = decided(world)
    assert len(units) == 48
    gate = threading.Barrier(3)

    def contender(order):
        gate.wait()
        try:
            return started_jobs(applied(world, order))
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        shares = list(pool.map(contender, [units, units[::-1], units[24:] + units[:24]]))
    assert sorted(job for share in shares for job in share) == sorted(unit.start.job for unit in units)
    assert Attempt.objects.count() == 48
    counters_agree(world.cell)


def test_a_lost_deadlock_is_tried_again_and_at_last_raised(monkeypatch):
    world = World()
    world.a_node()
    world.jobs(1)
    units = decided(world)
    losses = [psycopg.errors.DeadlockDetected("lost")] * 2

    def losing(*args):
        if losses:
            raise losses.pop()
        return claim(*args)

    claim = applying.claim
    monkeypatch.setattr(applying, "claim", losing)
    assert len(applied(world, units).units) == 1
    world.jobs(1)
    units = decided(world)
    losses.extend([psycopg.errors.DeadlockDetected("lost")] * 3)
    with pytest.raises(psycopg.errors.DeadlockDetected):
        applied(world, units)
    assert Attempt.objects.count() == 1
    counters_agree(world.cell)
