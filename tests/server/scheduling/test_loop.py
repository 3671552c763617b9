"""A real process runs the loop: on commit, after a crash, by time alone, and without a broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.events import cell_queue, cycle_channel, publish_on_commit
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import tasks
from flexai.scheduling.cycle import CycleReport, run_cycle
from flexai.scheduling.loop import QUIET_SECONDS, TICK_SECONDS, VERDICT_SECONDS, Loop
from flexai.scheduling.models import CellPolicy, Cycle, Promise, Removal
from flexai.scheduling.records import forget_old_records
from tests.server.scheduling.test_concurrency import nothing_is_half_done
from tests.server.scheduling.world import World, end
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[3]
START_SECONDS = 60


def environment() -> dict[str, str]:
    settings = connection.get_connection_params()
    return {
        **os.environ,
        "DATABASE_URL": f"postgresql://{settings['user']}@/{settings['dbname']}?host={settings['host']}",
        "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "FLEXAI_LOG_LEVEL": "WARNING",
    }


@contextmanager
def a_loop(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """The worker of this cell, as it is run behind one's own servers, asked for the loop as the tick does."""
    command = [sys.executable, "-m", "celery", "-A", "flexai.config.celery", "worker", "--pool", "solo"]
    command += ["--queues", cell_queue(world.cell.pk), "--loglevel", "warning"]
    process = subprocess.Popen(command, env=environment(), cwd=ROOT, start_new_session=True)
    tasks.tick()
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(60)


def submit(world: World, **asks: Any) -> Job:
    with transaction.atomic():
        job = world.a_job(**asks)
        publish_on_commit(cell=world.cell.pk)
    return job


def wait_until(true: Callable[[], bool], *, seconds: float = START_SECONDS) -> float:
    began = time.monotonic()
    wait_for(true, "it to come true", seconds)
    return time.monotonic() - began


def placed(job: Job) -> bool:
    return Attempt.objects.filter(job=job).exists()


def test_a_commit_starts_a_cycle_and_a_killed_loop_loses_nothing():
    world = World()
    world.a_node(cpu=1_000_000, memory=1_000_000)
    with a_loop(world) as loop:
        first = submit(world)
        wait_until(lambda: placed(first))
        waits = []
        for _ in range(20):
            job = submit(world)
            waits.append(wait_until(lambda job=job: placed(job), seconds=10))
        loop.send_signal(signal.SIGKILL)
        loop.wait(60)
    print("submit to placed, ms:", sorted(round(wait * 1000) for wait in waits))
    later = submit(world)
    nothing_is_half_done(world)
    assert not placed(later)
    valkey().flushall()
    with a_loop(world):
        wait_until(lambda: placed(later))
    nothing_is_half_done(world)


def test_time_alone_wakes_a_loop_that_hears_nothing():
    """S6: no tick, and no news after the urgent job came: its victim is told to go when its protection has ended."""
    world = World()
    world.a_node(chips=1)
    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 4000})
    with a_loop(world):
        low = submit(world, chips=1, priority=10)
        wait_until(lambda: placed(low))
        victim = Attempt.objects.get(job=low)
        urgent = submit(world, chips=1, priority=90)
        wait_until(lambda: Attempt.objects.filter(pk=victim.pk, state="stopping").exists())
    promise = Promise.objects.get(job=urgent)
    assert promise.since - victim.placed_at >= timedelta(seconds=4)


@pytest.mark.parametrize(
    ("report", "seconds"),
    [
        (CycleReport(), TICK_SECONDS),
        (CycleReport(again=True, verdicts_pending=True), 0),
        (CycleReport(verdicts_pending=True), VERDICT_SECONDS),
        (CycleReport(wakes_at=2000), 2),
        (CycleReport(wakes_at=2000, verdicts_pending=True), VERDICT_SECONDS),
        (CycleReport(wakes_at=9000), TICK_SECONDS),
        (CycleReport(wakes_at=-1), 0.001),
    ],
)
def test_the_next_cycle_comes_when_there_is_something_to_do(monkeypatch, report, seconds):
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    if report.wakes_at is not None:
        report = replace(report, wakes_at=clock.to_ms(now) + report.wakes_at)
    monkeypatch.setattr("flexai.scheduling.loop.run_cycle", lambda cell, keeps_lock: report)
    assert Loop(1)._cycle() == seconds


def test_all_that_was_heard_during_a_cycle_is_one_reason_for_the_next(monkeypatch):
    loop, cycles = Loop(World().cell.pk), 0

    def a_cycle(cell: int, *, keeps_lock: bool) -> CycleReport:
        nonlocal cycles
        cycles += 1
        if cycles == 3:
            for _ in range(50):
                publish_on_commit(cell=cell)
        elif cycles == 5:
            loop.stop()
        return CycleReport()

    monkeypatch.setattr("flexai.scheduling.loop.TICK_SECONDS", 0.001)
    monkeypatch.setattr("flexai.scheduling.loop.run_cycle", a_cycle)
    loop.run()
    assert cycles == 5
    assert loop._hints is not None
    assert loop._hints.get_message(timeout=0.1) is None, "the fifty were heard together"


def test_what_nobody_waits_for_is_done_when_it_has_been_quiet(monkeypatch):
    loop, settled = Loop(World().cell.pk), []
    monkeypatch.setattr("flexai.scheduling.loop.settle", settled.append)
    monkeypatch.setattr(loop, "_hear", lambda seconds: time.sleep(seconds) or False)
    loop._sleep(QUIET_SECONDS / 2)
    assert not settled
    loop._sleep(2 * QUIET_SECONDS)
    assert settled
    assert set(settled) == {loop._cell}
    loop.close()


def test_a_loop_that_waits_ends_with_its_worker():
    world = World()
    with a_loop(world) as loop:
        wait_until(lambda: Cycle.objects.filter(cell=world.cell).exists())
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(60) == 0


def test_a_broker_that_is_away_costs_no_cycle():
    world = World()
    world.a_node()
    program = "import sys, django; django.setup(); from flexai.scheduling import loop; loop.schedule(int(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(world.cell.pk)],
        env=environment() | {"REDIS_URL": "redis://127.0.0.1:1/0"}, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: Cycle.objects.filter(cell=world.cell).exists())
        job = world.a_job()
        wait_until(lambda: placed(job))
    finally:
        process.kill()
        process.wait(60)


def test_the_tick_asks_for_a_loop_where_there_is_none_and_only_once():
    world = World()
    queue, channel = cell_queue(world.cell.pk), cycle_channel(world.cell.pk)
    tasks.tick()
    tasks.tick()
    assert valkey().llen(queue) == 1
    with a_loop(world) as loop:
        wait_until(lambda: valkey().pubsub_numsub(channel)[0][1] == 1)
        tasks.tick()
        assert valkey().llen(queue) == 0
        loop.kill()
        loop.wait(60)
        wait_until(lambda: valkey().pubsub_numsub(channel)[0][1] == 0)
        tasks.tick()
        assert valkey().llen(queue) == 1


def test_the_tick_lets_go_what_is_due():
    world = World()
    held = {"state": "held", "reason_code": "start_after"}
    due = world.a_job("due", **held, start_after=clock.now() - timedelta(seconds=1))
    later = world.a_job("later", **held, start_after=clock.now() + timedelta(hours=1))
    tasks.tick()
    due.refresh_from_db()
    later.refresh_from_db()
    assert (due.state, later.state) == ("queued", "held")


def test_old_records_go_and_new_ones_stay(monkeypatch):
    world = World()
    world.a_node()
    now = clock.now()
    for _ in range(4):
        job = world.a_job()
        run_cycle(world.cell.pk)
        end(Attempt.objects.get(job=job))
    job.delete()
    monkeypatch.setattr("flexai.scheduling.records.KEPT_CYCLES", 2)
    newest = list(Cycle.objects.filter(cell=world.cell).order_by("-id").values_list("pk", flat=True)[:2])
    forget_old_records(kept_removals_from=now - timedelta(days=1))
    assert list(Cycle.objects.filter(cell=world.cell).order_by("-id").values_list("pk", flat=True)) == newest
    assert Removal.objects.exists()
    forget_old_records(kept_removals_from=clock.now() + timedelta(seconds=1))
    assert not Removal.objects.exists()
