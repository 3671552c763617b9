"""Everybody who waits has a verdict, written no more often than somebody could read it (X1)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt, Job
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.models import Verdict as Record
from flexai.scheduling.queries import explain_job, last_cycles
from flexai.scheduling.verdicts import FEW, VerdictKeeper
from scheduler_core.decision import Verdict
from scheduler_core.reasons import SetCapReached
from tests.server.scheduling.world import World, end

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Clock:
    return Clock()


def capped(*jobs: Job, live: int = 1) -> list[Verdict]:
    return [Verdict(tuple(job.pk for job in jobs), (SetCapReached(1, live),))]


def test_a_few_are_written_at_once_and_only_when_they_change(seconds):
    world = World()
    job = world.a_job()
    keeper = VerdictKeeper({}, clock=seconds)
    first = clock.now()
    assert keeper.keep(capped(job), first) == 1
    record = Record.objects.get(job=job)
    assert (record.code, record.since) == ("set_cap_reached", first)
    assert record.reasons == [
        {"code": "set_cap_reached", "sentence": record.sentence, "facts": {"cap": 1, "live": 1}}
    ]
    seconds.now += 60
    assert keeper.keep(capped(job), clock.now()) == 0


def test_other_numbers_in_the_same_reason_wait_and_keep_since(seconds):
    world = World()
    job = world.a_job()
    keeper = VerdictKeeper({}, clock=seconds)
    first = clock.now()
    keeper.keep(capped(job), first)
    seconds.now += 5
    assert keeper.keep(capped(job, live=2), first + timedelta(seconds=5)) == 0
    seconds.now += 6
    assert keeper.keep(capped(job, live=2), first + timedelta(seconds=11)) == 1
    record = Record.objects.get(job=job)
    assert (record.reasons[0]["facts"]["live"], record.since) == (2, first)


def test_many_are_written_once_they_have_waited(seconds):
    world = World()
    jobs = world.jobs(FEW + 1)
    keeper = VerdictKeeper({}, clock=seconds)
    assert keeper.keep(capped(*jobs), clock.now()) == 0
    assert keeper.pending
    assert not keeper.due
    seconds.now += 0.5
    keeper.started([jobs[0].pk])
    late = world.a_job("late")
    assert keeper.keep(capped(*jobs[1:], late), clock.now()) == 0
    seconds.now += 0.6
    assert keeper.due
    assert keeper.keep(capped(*jobs[1:], late), clock.now()) == FEW
    assert not Record.objects.filter(job__in=[jobs[0], late]).exists()
    seconds.now += 1.1
    assert keeper.keep(capped(*jobs[1:], late), clock.now()) == 1
    assert not keeper.pending


def test_who_waits_again_is_told_again(seconds):
    world = World()
    job = world.a_job()
    keeper = VerdictKeeper({}, clock=seconds)
    keeper.keep(capped(job), clock.now())
    seconds.now += 1
    keeper.keep([], clock.now())
    seconds.now += 1
    assert keeper.keep(capped(job), clock.now()) == 1


def test_a_job_that_is_not_queued_any_more_gets_none(seconds):
    world = World()
    job = world.a_job(state="cancelled")
    VerdictKeeper({}, clock=seconds).keep(capped(job), clock.now())
    assert not Record.objects.exists()


def test_a_new_keeper_knows_what_is_written(seconds):
    world = World()
    job = world.a_job()
    VerdictKeeper({}, clock=seconds).keep(capped(job), clock.now())
    assert VerdictKeeper.of(world.cell.pk).keep(capped(job), clock.now()) == 0


def test_every_job_of_a_stuck_burst_has_its_verdict_in_the_end(monkeypatch):
    world = World()
    world.a_node(chips=1)
    world.jobs(FEW * 2, chips=1)
    report = run_cycle(world.cell.pk)
    assert (report.started, report.verdicts_pending) == (1, True)
    monkeypatch.setattr("flexai.scheduling.verdicts.MANY_SECONDS", 0.0)
    report = run_cycle(world.cell.pk)
    assert not report.verdicts_pending
    assert Record.objects.count() == FEW * 2 - 1


def test_explain_says_why_since_when_and_who_is_ahead():
    world = World()
    world.a_node(chips=2)
    running = world.a_job("running", chips=2, types=["H100"])
    run_cycle(world.cell.pk)
    first, second = (world.a_job(name, chips=2, types=["H100"]) for name in ("first", "second"))
    run_cycle(world.cell.pk)
    answer = explain_job(second)
    assert (answer["status"], answer["queue_position"], answer["ahead"]) == ("queued", 2, 1)
    assert answer["reasons"]
    assert answer["sentence"] == answer["reasons"][0]["sentence"]
    assert answer["since"] == Record.objects.get(job=second).since
    assert explain_job(first)["queue_position"] == 1
    running.refresh_from_db()
    answer = explain_job(running)
    assert (answer["status"], answer["reasons"], answer["queue_position"]) == ("starting", [], None)
    assert answer["sentence"].startswith("Placed on ")
    end(Attempt.objects.get(job=running))
    run_cycle(world.cell.pk)
    second.refresh_from_db()
    assert explain_job(second)["queue_position"] == 1


def test_the_last_cycles_come_newest_first():
    world = World()
    world.a_node()
    for _ in range(3):
        world.a_job()
        run_cycle(world.cell.pk)
    cycles = last_cycles(world.cell.pk, 2)
    assert len(cycles) == 2
    assert cycles[0].pk > cycles[1].pk
    assert all(cycle.applied == 1 for cycle in cycles)


def test_reasons_of_the_engine_can_be_stored():
    world = World()
    job = world.a_job()
    world.a_node(cpu=50)
    run_cycle(world.cell.pk)
    record = Record.objects.get(job=job)
    assert all(set(reason) == {"code", "sentence", "facts"} for reason in record.reasons)
