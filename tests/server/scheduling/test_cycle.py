"""The whole loop on a real database: queued jobs become placed attempts, once, or say why not."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from datetime import timedelta

import pytest

from flexai.cluster.models import Chip, Node
from flexai.common import clock
from flexai.jobs.models import Allocation, Attempt, Event, Job
from flexai.scheduling import cycle, engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.models import CellPolicy, Cycle, Promise, Verdict
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import AuditEntry, Team, TeamUse
from scheduler_core import Policy
from tests.server.scheduling.world import World, counters_agree, end

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_queued_job_becomes_a_placed_attempt_with_every_counter_moved():
    world = World()
    node = world.a_node(chips=2, claims=1000)
    world.a_quota(world.team, guaranteed=2000)
    job = world.a_job(chips=2, types=["H100"], cpu=500, memory=1000, preemptible=False)

    report = run_cycle(world.cell.pk)

    assert (report.started, report.dropped, report.error) == (1, 0, "")
    job.refresh_from_db()
    assert (job.state, job.status, job.attempts_count, job.version) == ("active", "starting", 1, 1)
    attempt = Attempt.objects.get(job=job)
    assert (attempt.number, attempt.state, attempt.lease_ms, attempt.contact_ok) == (
        1,
        "placed",
        600_000,
        True,
    )
    replica = attempt.replicas.get()
    assert (replica.index, replica.node_id, replica.cpu_milli, replica.memory_mib) == (0, node.pk, 500, 1000)
    assert (
        sorted(attempt.allocations.values_list("milli", "memory_mib", "active")) == [(1000, 80_000, True)] * 2
    )
    node.refresh_from_db()
    assert (node.used_cpu_milli, node.used_memory_mib, node.wanted_version) == (2500, 1000, 1)
    assert TeamUse.objects.get(team=world.team, chip_type="H100").used_milli == 2000
    counters_agree(world.cell)
    record = Cycle.objects.get(cell=world.cell)
    assert (record.units, record.applied, record.dropped, record.rebuilt) == (1, 1, 0, True)
    event = Event.objects.get(job=job)
    assert (event.kind, event.from_state, event.to_state, event.cause) == (
        "attempt.placed", "queued", "active", f"cycle-{record.pk}",
    )  # fmt: skip
    assert event.sentence == f"Placed on {node.name}, chips 0, 1."
    audit = AuditEntry.objects.get(request_id=f"cycle-{record.pk}")
    assert (audit.actor_kind, audit.after) == ("scheduler", {"started": [job.public_id]})


def test_a_gang_is_placed_whole_on_distinct_nodes():
    world = World()
    nodes = {world.a_node(chips=1).pk for _ in range(3)}
    job = world.a_job(chips=1, replicas=3)
    run_cycle(world.cell.pk)
    replicas = Attempt.objects.get(job=job).replicas.order_by("index")
    assert [r.index for r in replicas] == [0, 1, 2]
    assert {r.node_id for r in replicas} == nodes
    counters_agree(world.cell)


def test_what_does_not_fit_waits_and_says_why_until_there_is_room():
    world = World()
    world.a_node(chips=1)
    first, second = world.a_job("first", chips=1), world.a_job("second", chips=1)
    run_cycle(world.cell.pk)
    verdict = Verdict.objects.get()
    assert verdict.job_id == second.pk
    assert verdict.reasons
    assert verdict.reasons[0]["code"] == verdict.code
    assert verdict.sentence == verdict.reasons[0]["sentence"]

    end(Attempt.objects.get(job=first))
    assert run_cycle(world.cell.pk).started == 1
    assert Attempt.objects.get(job=second).state == "placed"
    assert not Verdict.objects.exists()
    counters_agree(world.cell)


def test_a_cycle_without_news_decides_nothing_and_writes_nothing():
    world = World()
    world.a_node(chips=1)
    world.a_job(chips=1)
    run_cycle(world.cell.pk)
    before = list(Cycle.objects.values())
    report = run_cycle(world.cell.pk)
    assert (report.passes, report.started) == (0, 0)
    assert list(Cycle.objects.values()) == before


def test_time_alone_is_a_reason_to_decide(monkeypatch):
    """S6: what was protected by `min_runtime` is taken as soon as it no longer is, though nothing has happened."""
    world = World()
    world.a_node(chips=1)
    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 60_000})
    low = world.a_job("low", chips=1, priority=10)
    run_cycle(world.cell.pk)
    victim = Attempt.objects.get(job=low)
    urgent = world.a_job("urgent", chips=1, priority=90)
    report = run_cycle(world.cell.pk)
    ends = victim.placed_at + timedelta(minutes=1)
    assert report.wakes_at == clock.to_ms(ends)
    assert run_cycle(world.cell.pk).passes == 0
    victim.refresh_from_db()
    assert victim.state == "placed"
    monkeypatch.setattr(clock, "now", lambda: ends)
    assert run_cycle(world.cell.pk).passes == 1
    victim.refresh_from_db()
    assert victim.state == "stopping"
    assert Promise.objects.get().job == urgent


def test_a_job_that_sleeps_says_when_it_begins_to_wait():
    world = World()
    world.a_node(chips=1)
    wakes = clock.now() + timedelta(minutes=5)
    world.a_job("later", chips=1, start_after=wakes)
    assert run_cycle(world.cell.pk).wakes_at == clock.to_ms(wakes)


def test_an_array_keeps_its_cap():
    world = World()
    world.a_node(cpu=8000)
    sweep = world.a_set(size=5, cap=2)
    for index in range(5):
        world.a_job(f"task-{index}", set=sweep, index=index)
    assert run_cycle(world.cell.pk).started == 2
    end(Attempt.objects.first())
    assert run_cycle(world.cell.pk).started == 1
    assert Attempt.objects.exclude(state="ended").count() == 2


def test_a_requeued_job_gets_a_second_attempt():
    world = World()
    world.a_node(chips=1)
    job = world.a_job(chips=1)
    run_cycle(world.cell.pk)
    end(Attempt.objects.get(job=job), job_state="queued")
    run_cycle(world.cell.pk)
    assert list(job.attempts.order_by("number").values_list("number", "state")) == [
        (1, "ended"),
        (2, "placed"),
    ]
    counters_agree(world.cell)


def test_a_cycle_that_raises_is_on_record_and_the_next_one_runs(monkeypatch):
    world = World()
    world.a_node(chips=1)
    job = world.a_job(chips=1)

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("the engine is broken")

    with monkeypatch.context() as patch:
        patch.setattr(engine_state.Scheduler, "decide", broken)
        report = run_cycle(world.cell.pk)
    assert "ZeroDivisionError: the engine is broken" in report.error
    record = Cycle.objects.get(cell=world.cell)
    assert "ZeroDivisionError: the engine is broken" in record.error
    assert not Attempt.objects.exists()

    report = run_cycle(world.cell.pk)
    assert (report.started, report.error) == (1, "")
    assert Cycle.objects.filter(cell=world.cell, rebuilt=True, applied=1).exists()
    assert Attempt.objects.get(job=job).state == "placed"


def test_a_pass_that_raises_after_claiming_leaves_nothing_half_applied(monkeypatch):
    world = World()
    world.a_node(chips=1)
    job = world.a_job(chips=1)

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("before the commit")

    with monkeypatch.context() as patch:
        patch.setattr("flexai.scheduling.apply.write_cycle", broken)
        assert "before the commit" in run_cycle(world.cell.pk).error
    job.refresh_from_db()
    assert (job.state, job.version) == ("queued", 0)
    assert not Attempt.objects.exists()
    assert not Allocation.objects.exists()
    counters_agree(world.cell)
    assert run_cycle(world.cell.pk).started == 1


def test_a_lowered_limit_starts_nothing_and_the_excess_is_on_record(monkeypatch):
    monkeypatch.setattr(cycle, "IDLE_RECORD_SECONDS", 0.0)
    world = World()
    world.a_node(chips=4)
    quota = world.a_quota(world.team, limit=4000)
    for n in range(3):
        world.a_job(f"run-{n}", chips=1)
    assert run_cycle(world.cell.pk).started == 3
    quota.limit_milli = 2000
    quota.save()
    waits = world.a_job("late", chips=1)

    assert run_cycle(world.cell.pk).started == 0
    (excess,) = Cycle.objects.filter(cell=world.cell).latest("id").excesses
    assert (excess["used"], excess["capacity"]) == (3000, 2000)
    assert Verdict.objects.get(job=waits).code == "team_limit"
    assert Attempt.objects.exclude(state="ended").count() == 3

    for attempt in Attempt.objects.order_by("id")[:2]:
        end(attempt)
    assert run_cycle(world.cell.pk).started == 1
    counters_agree(world.cell)


def test_a_limit_of_a_parent_team_binds_its_children():
    world = World()
    world.a_node(chips=4)
    parent = world.a_team("lab")
    left, right = world.a_team("left", parent=parent), world.a_team("right", parent=parent)
    world.a_quota(parent, limit=3000)
    for team in (left, right):
        for n in range(2):
            world.a_job(f"{team.name}-{n}", team=team, chips=1)
    report = run_cycle(world.cell.pk)
    assert (report.started, report.dropped) == (3, 0), "the engine knows the limit that apply would refuse"
    used = {use.team.name: use.used_milli for use in TeamUse.objects.filter(cell=world.cell)}
    assert used["lab"] == used["left"] + used["right"] == 3000
    verdict = Verdict.objects.get(job__cell=world.cell)
    assert verdict.sentence == "Team lab uses 3 of its limit of 3 H100 chips; this job needs 1 more."
    counters_agree(world.cell)
    parent.quotas.all().delete()
    assert run_cycle(world.cell.pk).started == 1


def test_a_team_that_moves_under_a_limit_is_bound_by_it_from_the_next_cycle_on():
    world = World()
    world.a_node(chips=4)
    lab, free = world.a_team("lab"), world.a_team("free")
    world.a_quota(lab, limit=1000)
    world.a_job("first", team=free, chips=1)
    assert run_cycle(world.cell.pk).started == 1
    Team.objects.filter(pk=free.pk).update(parent=lab)
    TeamUse.objects.create(cell=world.cell, team=lab, chip_type="H100", used_milli=1000)
    world.a_job("second", team=free, chips=1)
    report = run_cycle(world.cell.pk)
    assert (report.started, report.dropped) == (0, 0)
    assert "Team lab uses 1 of its limit of 1" in Verdict.objects.get(job__cell=world.cell).sentence
    Team.objects.filter(pk=free.pk).update(parent=None)
    TeamUse.objects.filter(team=lab).delete()
    assert run_cycle(world.cell.pk).started == 1


def test_an_unreachable_or_cordoned_node_takes_nothing():
    world = World()
    away, closed = world.a_node(cpu=4000), world.a_node(cpu=4000)
    Node.objects.filter(pk=away.pk).update(reachable=False)
    Node.objects.filter(pk=closed.pk).update(state="cordoned")
    world.a_job()
    assert run_cycle(world.cell.pk).started == 0
    Node.objects.filter(pk=away.pk).update(reachable=True)
    assert run_cycle(world.cell.pk).started == 1


def test_an_unhealthy_chip_takes_nothing():
    world = World()
    world.a_node(chips=1)
    Chip.objects.update(healthy=False)
    world.a_job(chips=1)
    assert run_cycle(world.cell.pk).started == 0
    Chip.objects.update(healthy=True)
    assert run_cycle(world.cell.pk).started == 1


def test_more_than_one_cycle_may_start_is_drained_in_one_call(monkeypatch):
    monkeypatch.setattr(cycle, "MAX_SECONDS", 60.0)  # a busy machine takes longer for four passes
    world = World()
    world.a_node(cpu=4000, memory=64_000)
    world.jobs(30)
    CellPolicy.objects.create(cell=world.cell, values={"max_starts": 8})
    assert run_cycle(world.cell.pk).started == 30
    assert Job.objects.filter(state="queued").count() == 0


def test_s4_a_policy_that_is_set_holds_from_the_next_cycle_on():
    world = World()
    world.a_node(chips=1)
    assert run_cycle(world.cell.pk).error == ""
    assert engine_state.refresh(world.cell.pk, 0).state.policy == Policy()
    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 5, "service_levels": [10, 20]})
    assert run_cycle(world.cell.pk).error == ""
    policy = engine_state.refresh(world.cell.pk, 0).state.policy
    assert policy == Policy(min_runtime=5, service_levels=(10, 20))


def test_records_that_contradict_each_other_are_set_aside_and_told_until_they_are_right(monkeypatch):
    """More of a chip is allocated than there is. Its node takes nothing new, the other one does."""
    world = World()
    twice = world.a_node("twice", chips=2)
    holds = world.a_job("holds", chips=1)
    run_cycle(world.cell.pk)
    held = Allocation.objects.get(attempt__job=holds)
    Allocation.objects.filter(pk=held.pk).update(milli=1500)
    first = world.a_job("first", chips=1)
    engine_state.forget(world.cell.pk)

    assert run_cycle(world.cell.pk).started == 0
    told = Cycle.objects.filter(cell=world.cell).exclude(error="").get().error
    assert told.startswith(cycle.SET_ASIDE)
    assert f"chip_allocated_twice {held.chip_id}: Of chip {held.chip_id} 1500 milli-chips" in told
    assert "set aside" in Verdict.objects.get(job=first).sentence

    world.a_node("sane", chips=1)
    assert run_cycle(world.cell.pk).started == 1
    assert Attempt.objects.get(job=first).replicas.get().node.name == "sane"
    second = world.a_job("second", chips=1)
    Node.objects.filter(pk=twice.pk).update(reachable=False)
    run_cycle(world.cell.pk)
    Node.objects.filter(pk=twice.pk).update(reachable=True)
    assert run_cycle(world.cell.pk).started == 0, "the feed does not open what was set aside"

    Allocation.objects.filter(pk=held.pk).update(milli=1000)
    monkeypatch.setattr(engine_state, "CONTRADICTED_SECONDS", 0)
    assert run_cycle(world.cell.pk).started == 1
    assert Attempt.objects.get(job=second).replicas.get().node_id == twice.pk
    counters_agree(world.cell)


def test_a_large_decision_is_applied_in_parts_each_a_cycle_on_record(monkeypatch):
    monkeypatch.setattr(cycle, "PART", 3)
    world = World()
    world.a_node(chips=8)
    jobs = world.jobs(10, chips=1)
    assert run_cycle(world.cell.pk).started == 8
    parts = Cycle.objects.filter(cell=world.cell).order_by("-units", "pk")
    assert list(parts.values_list("units", "applied", "dropped", "waiting")) == [
        (3, 3, 0, 2), (3, 3, 0, 2), (2, 2, 0, 2),
    ]  # fmt: skip
    causes = Event.objects.filter(kind="attempt.placed").values_list("cause", flat=True)
    assert Counter(causes) == {f"cycle-{part.pk}": part.applied for part in parts}
    assert Job.objects.filter(pk__in=[job.pk for job in jobs], state="queued").count() == 2
    assert run_cycle(world.cell.pk).started == 0
    fresh = take_snapshot(world.cell.pk, clock.now())
    feed = engine_state._states[world.cell.pk].feed
    assert not feed.read(fresh.now).news
    assert feed.snapshot(fresh.now) == fresh
    counters_agree(world.cell)


def test_what_a_state_read_anew_leaves_behind_is_collected_in_a_quiet_moment_and_not_between_two_jobs(
    monkeypatch, collector
):
    monkeypatch.setattr(engine_state, "LARGE_NODES", 1)
    world = World()
    world.a_node(chips=1)
    run_cycle(world.cell.pk)
    engine_state.settle(world.cell.pk)
    left = _knot_in_the_state_of(world)
    _read_anew(world)
    world.a_job(chips=1)
    assert engine_state.refresh(world.cell.pk, clock.to_ms(clock.now())).news
    run_cycle(world.cell.pk)
    assert not engine_state.refresh(world.cell.pk, clock.to_ms(clock.now())).news
    assert left() is not None, "it was collected between two jobs: the second would wait for it"
    engine_state.settle(world.cell.pk)
    assert left() is None
    assert gc.get_freeze_count()
    left = _knot_in_the_state_of(world)
    _read_anew(world)
    assert left() is not None
    _read_anew(world)
    assert left() is None, "no quiet moment came, and two states are kept beside the one that lives"


def test_a_large_cell_is_read_without_a_single_collection(monkeypatch, collector):
    monkeypatch.setattr(engine_state, "LARGE_NODES", 1)
    world = World()
    world.a_node(chips=8)
    world.jobs(1000, chips=1)
    engine_state.forget(world.cell.pk)
    collections = []
    gc.callbacks.append(noted := lambda phase, told: collections.append((phase, told)))
    try:
        gc.enable()
        gc.collect()
        del collections[:]
        _read_anew(world)
    finally:
        gc.callbacks.remove(noted)
    assert not collections


def _read_anew(world):
    engine_state.forget(world.cell.pk)
    engine_state.refresh(world.cell.pk, clock.to_ms(clock.now()))


def _knot_in_the_state_of(world):
    """Something that only the collector of cycles can free, once the state has gone."""

    class Knot:
        pass

    knot = engine_state._states[world.cell.pk].feed.knot = Knot()
    knot.end = knot
    return weakref.ref(knot)


@pytest.fixture
def collector():
    """It comes only when it is called; afterwards it is as before."""
    thresholds = gc.get_threshold()
    gc.disable()
    yield
    gc.enable()
    engine_state._unsettled.clear()
    gc.unfreeze()
    gc.set_threshold(*thresholds)
