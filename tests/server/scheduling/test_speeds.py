"""What the scheduler learns from what running work says of itself (E1, R3)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt, AttemptProgress, Job
from flexai.scheduling.apply import apply
from flexai.scheduling.feed import Feed
from flexai.scheduling.records import CycleNotes
from flexai.scheduling.snapshot import take_snapshot
from flexai.scheduling.speeds import learn
from scheduler_core import Policy, decide
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    """Two nodes of one chip, on which a job of two replicas has run for a minute."""
    world = World()
    world.a_node(chips=1)
    world.a_node(chips=1)
    world.a_job("train", chips=1, replicas=2)
    now = clock.now() - timedelta(minutes=1)
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    apply(world.cell.pk, units, now=now, notes=CycleNotes(started_at=now, units=len(units)))
    Attempt.objects.update(state="running", running_at=now + timedelta(seconds=2))
    return world


def say(now: datetime, *, throughput: int | None = None, saved_at: datetime | None = None) -> None:
    attempt = Attempt.objects.get()
    AttemptProgress.objects.update_or_create(
        attempt=attempt,
        defaults={"replica": 0, "at": now, "throughput_milli": throughput, "saved_at": saved_at},
        create_defaults={
            "replica": 0, "at": now, "throughput_milli": throughput, "saved_at": saved_at,
            "first_at": attempt.placed_at + timedelta(seconds=3),
        },
    )  # fmt: skip


def test_e1_measured_throughput_is_learned_by_chip_type_and_size(world: World) -> None:
    now = clock.now()
    say(now, throughput=800)
    assert learn(world.cell.pk, now) == 1
    job = Job.objects.get()
    assert (job.speeds, job.restart_ms) == ({"H100": {"2": 800}}, 3000)
    say(now, throughput=820)
    assert learn(world.cell.pk, now) == 0, "too little to matter"
    say(now, throughput=1200)
    assert learn(world.cell.pk, now) == 1
    assert Job.objects.get().speeds == {"H100": {"2": 900}}


def test_e1_who_still_warms_up_or_fell_silent_is_not_measured(world: World) -> None:
    attempt = Attempt.objects.get()
    say(attempt.running_at + timedelta(seconds=1), throughput=5)
    assert learn(world.cell.pk, attempt.running_at + timedelta(seconds=2)) == 1  # how long it took to be back
    assert Job.objects.get().speeds == {}
    say(clock.now() - timedelta(seconds=40), throughput=5)
    assert learn(world.cell.pk, clock.now()) == 0


def test_r3_the_engine_hears_of_a_checkpoint_and_of_the_restart_it_would_cost(world: World) -> None:
    feed = Feed(world.cell.pk)
    now = clock.now()
    feed.begin(clock.to_ms(now))
    saved = now - timedelta(seconds=20)
    say(now, saved_at=saved)
    learn(world.cell.pk, now)
    feed.read(clock.to_ms(now))
    (running,) = feed.snapshot(0).running
    assert (running.checkpointed, running.restart_cost) == (clock.to_ms(saved), 3000)
    assert feed.snapshot(0) == Feed(world.cell.pk).begin(0)
    assert learn(world.cell.pk, now) == 0, "it is told once"
