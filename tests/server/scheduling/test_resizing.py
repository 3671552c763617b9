"""Elastic work on the platform: what the engine decides of sizes and moves becomes rows (E1, R1, R7)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, AttemptProgress, Event, Job
from flexai.jobs.wanted import attempts_wanted_on
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.engine_state import forget
from flexai.scheduling.models import CellPolicy, Promise
from flexai.scheduling.promises import take_back
from flexai.scheduling.snapshot import take_snapshot
from scheduler_core import Unit
from scheduler_core.decision import Ground, Resize, Resizing, Rung, Start, Taking
from scheduler_core.lifecycle import Outcome
from scheduler_core.policy import BEAT
from tests.server.scheduling.world import World, counters_agree

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = {"min_runtime": 0, "resize_interval": 0}


@pytest.fixture
def world() -> World:
    """Two nodes of one chip each; nothing needs to wait before it is resized or taken."""
    world = World()
    world.nodes = [world.a_node(chips=1), world.a_node(chips=1)]
    CellPolicy.objects.create(cell=world.cell, values=AT_ONCE)
    return world


def elastic(world: World, name: str = "train", **asks) -> Job:
    """A job of one or two replicas, each a chip on a node of its own, that goes on from a checkpoint."""
    job = world.a_job(name, chips=1, **asks)
    job.effective_spec |= {
        "replicas": {"min": 1, "max": 2, "spread": True},
        "checkpoint_path": "ckpt",
        "checkpoint_signal": "SIGUSR1",
    }
    job.save()
    return job


def cycle(world: World) -> None:
    forget(world.cell.pk)
    run_cycle(world.cell.pk)


def age(attempt: Attempt, **by) -> Attempt:
    """It has run for so long, and saved its state just now."""
    since = clock.now() - timedelta(**by)
    saved = {"replica": 0, "first_at": since, "at": clock.now(), "saved_at": clock.now()}
    AttemptProgress.objects.update_or_create(attempt=attempt, defaults=saved)
    Attempt.objects.filter(pk=attempt.pk).update(state="running", placed_at=since, running_at=since)
    attempt.refresh_from_db()
    return attempt


def live(job: Job) -> Attempt:
    return Attempt.objects.exclude(state="ended").get(job=job)


def leave(attempt: Attempt) -> None:
    """Its node confirms the end."""
    attempt.refresh_from_db()
    assert attempt.state == "stopping"
    end_attempts([Ending(attempt.pk, Outcome(attempt.stop_outcome))], actor="agent", at=clock.now())


def told(job: Job) -> list[str]:
    return list(
        Event.objects.filter(job=job, kind="attempt.stopping")
        .order_by("id")
        .values_list("sentence", flat=True)
    )


def test_e1_work_grows_into_what_nobody_waits_for_and_goes_on_there(world: World) -> None:
    other = world.a_job("other", chips=1)
    cycle(world)
    job = elastic(world)
    cycle(world)
    first = age(live(job), minutes=10)
    assert first.replicas.count() == 1
    end_attempts([Ending(live(other).pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
    cycle(world)
    first.refresh_from_db()
    assert (first.state, first.stop_outcome) == ("stopping", "resized")
    assert told(job) == ["It goes on with 2 replicas instead of 1: chips are free that nobody waits for."]
    facts = Event.objects.get(job=job, kind="attempt.stopping").facts
    assert (facts["replicas_before"], facts["replicas"]) == (1, 2)
    (replica,) = attempts_wanted_on([first.replicas.get().node_id])[first.replicas.get().node_id].replicas
    assert (replica.desired, replica.stop_outcome, replica.notice_signal) == ("stop", "resized", "SIGUSR1")
    cycle(world)
    assert Promise.objects.get().job_id == job.pk, "nobody has the chips meanwhile"
    leave(first)
    job.refresh_from_db()
    assert (job.state, job.failures, job.times_taken) == ("queued", 0, 0)
    cycle(world)
    second = live(job)
    assert (second.number, second.replicas.count()) == (2, 2)
    assert not Promise.objects.exists()
    counters_agree(world.cell)


def test_e1_grown_work_makes_room_for_who_waits_and_keeps_one_place(world: World) -> None:
    job = elastic(world)
    cycle(world)
    first = age(live(job), minutes=10)
    assert first.replicas.count() == 2
    newcomer = world.a_job("newcomer", chips=1)
    cycle(world)
    first.refresh_from_db()
    assert (first.state, first.stop_outcome) == ("stopping", "resized")
    assert told(job) == ["It goes on with 1 replica instead of 2: it makes room for newcomer."]
    assert {promise.job_id for promise in Promise.objects.all()} == {job.pk, newcomer.pk}
    leave(first)
    cycle(world)
    assert (live(job).replicas.count(), live(newcomer).replicas.count()) == (1, 1)
    assert live(job).replicas.get().node_id != live(newcomer).replicas.get().node_id
    counters_agree(world.cell)


def test_r1_what_is_taken_of_elastic_work_leaves_it_its_other_places(world: World) -> None:
    job = elastic(world)
    cycle(world)
    first = age(live(job), minutes=10)
    urgent = world.a_job("urgent", chips=1, priority=90)
    cycle(world)
    first.refresh_from_db()
    assert (first.state, first.stop_outcome) == ("stopping", "resized")
    assert told(job) == [
        "It goes on with 1 replica instead of 2: its chips go to urgent: it has a higher priority."
    ]
    cycle(world)
    assert {promise.job_id for promise in Promise.objects.all()} == {job.pk, urgent.pk}
    leave(first)
    cycle(world)
    assert (live(job).replicas.count(), live(urgent).replicas.count()) == (1, 1)
    assert live(job).replicas.get().index == 0
    counters_agree(world.cell)


def test_r7_moved_work_goes_on_in_its_new_place_and_it_counts_as_no_taking(world: World) -> None:
    big = world.a_node(chips=2)
    job = elastic(world)
    job.effective_spec["replicas"]["max"] = 1
    job.save()
    cycle(world)
    first = age(live(job), minutes=10)
    waits = world.a_job("waits", chips=2)
    snapshot = take_snapshot(world.cell.pk, clock.now())
    (here,) = snapshot.running[0].placements
    free = next(chip for chip in snapshot.chips if chip.node not in (here.node, big.pk))
    chips = [chip for chip in snapshot.chips if chip.node == big.pk]
    there = _place(here, free.node, [free.id])
    unit = Unit(
        Start(waits.pk, waits.version, (_place(here, big.pk, [chip.id for chip in chips]),)),
        (Taking(first.pk, job.pk, Rung.MOVE, Ground.CONSOLIDATION, 1, (), (there,)),),
    )
    assert take_back(world.cell.pk, [unit], (), now=clock.now()).dropped == ()
    first.refresh_from_db()
    assert first.stop_outcome == "moved"
    assert told(job)[0].startswith("It goes on elsewhere, so that waits gets its chips")
    leave(first)
    job.refresh_from_db()
    assert (job.state, job.times_taken) == ("queued", 0)
    cycle(world)
    assert live(job).replicas.get().node_id == free.node
    assert live(waits).replicas.get().node_id == big.pk
    counters_agree(world.cell)


def test_r1_what_is_shrunk_for_nobody_keeps_its_other_places(world: World) -> None:
    job = elastic(world)
    cycle(world)
    first = age(live(job), minutes=10)
    excess = Taking(first.pk, job.pk, Rung.SHRINK, Ground.EXCESS, 1, keeps=(1,))
    take_back(world.cell.pk, [], [excess], now=clock.now())
    assert told(job) == [
        "It goes on with 1 replica instead of 2: its chips are taken back: more is held than there is."
    ]
    kept = first.replicas.get(index=1).node_id
    leave(first)
    cycle(world)
    assert [(replica.index, replica.node_id) for replica in live(job).replicas.all()] == [(0, kept)]
    counters_agree(world.cell)


def _place(like, node, chips):
    from dataclasses import replace

    (share,) = like.chips
    return replace(like, node=node, chips=tuple(replace(share, chip=chip) for chip in chips))


def test_a_resize_of_who_has_left_meanwhile_changes_nothing(world: World) -> None:
    job = elastic(world)
    cycle(world)
    first = age(live(job), minutes=10)
    snapshot = take_snapshot(world.cell.pk, clock.now())
    keeps = snapshot.running[0].placements[:1]
    end_attempts([Ending(first.pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
    taken = take_back(
        world.cell.pk, [], (), now=clock.now(), resizings=[Resizing((Resize(first.pk, job.pk, keeps, 0),))]
    )
    assert len(taken.dropped) == 1
    assert not Promise.objects.exists()
    assert told(job) == []


def test_r3_work_that_has_not_saved_for_long_is_not_resized_for_a_chip(world: World) -> None:
    other = world.a_job("other", chips=1)
    cycle(world)
    job = elastic(world)
    cycle(world)
    age(live(job), minutes=10)
    AttemptProgress.objects.all().delete()
    end_attempts([Ending(live(other).pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
    cycle(world)
    assert live(job).state == "running"


def test_the_engine_hears_of_gangs_that_can_go_on_and_of_no_others(world: World) -> None:
    job = elastic(world)
    cycle(world)
    age(live(job), minutes=1)
    (running,) = take_snapshot(world.cell.pk, clock.now()).running
    assert (running.gang.minimum, running.gang.maximum) == (1, 2)
    Job.objects.filter(pk=job.pk).update(effective_spec={**job.effective_spec, "checkpoint_path": ""})
    (running,) = take_snapshot(world.cell.pk, clock.now()).running
    assert (running.gang.minimum, running.gang.maximum) == (2, 2)


def test_time_alone_lets_elastic_work_grow(world: World, monkeypatch) -> None:
    CellPolicy.objects.filter(cell=world.cell).update(values={"resize_interval": 60_000})
    other = world.a_job("other", chips=1)
    cycle(world)
    job = elastic(world)
    cycle(world)
    end_attempts([Ending(live(other).pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
    run_cycle(world.cell.pk)
    assert live(job).state == "placed", "too young"
    age(live(job), minutes=10)
    assert run_cycle(world.cell.pk).wakes_at is not None, "older, which is no news"
    later = clock.now() + timedelta(milliseconds=BEAT)
    monkeypatch.setattr("flexai.scheduling.cycle.clock.now", lambda: later)
    run_cycle(world.cell.pk)
    assert live(job).state == "stopping"
