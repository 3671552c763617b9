"""A real Celery worker runs the loop: on commit, after a crash, and by the tick alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.events import publish_on_commit, request_cycle
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import tasks
from flexai.scheduling.models import CellPolicy, Cycle, Promise, Removal
from flexai.scheduling.records import forget_old_records
from tests.server.scheduling.test_concurrency import nothing_is_half_done
from tests.server.scheduling.world import World, end

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
def a_worker(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on the queue of this cell, as `flexai up` starts it but for the beat."""
    command = [
        sys.executable, "-m", "celery", "-A", "flexai.config.celery", "worker", "-P", "solo",
        "-Q", world.cell.queue, "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment(), cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(20)


def submit(world: World, **asks: Any) -> Job:
    with transaction.atomic():
        job = world.a_job(**asks)
        publish_on_commit(cell=world.cell.pk)
    return job


def wait_until(true: Callable[[], bool], *, seconds: float = START_SECONDS) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not come true"
        time.sleep(0.001)
    return time.monotonic() - began


def placed(job: Job) -> bool:
    return Attempt.objects.filter(job=job).exists()


def test_a_commit_starts_a_cycle_and_a_killed_worker_loses_nothing():
    world = World()
    world.a_node(cpu=1_000_000, memory=1_000_000)
    with a_worker(world) as worker:
        first = submit(world)
        wait_until(lambda: placed(first))
        waits = []
        for _ in range(20):
            job = submit(world)
            waits.append(wait_until(lambda job=job: placed(job), seconds=10))
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    print("submit to placed, ms:", sorted(round(wait * 1000) for wait in waits))
    later = submit(world)
    nothing_is_half_done(world)
    assert not placed(later)
    valkey().flushall()
    with a_worker(world):
        request_cycle(world.cell.pk)
        wait_until(lambda: placed(later))
    nothing_is_half_done(world)


def test_time_alone_wakes_a_worker_that_hears_nothing():
    """S6: no tick, and no news after the urgent job came: its victim is told to go when its protection has ended."""
    world = World()
    world.a_node(chips=1)
    CellPolicy.objects.create(cell=world.cell, values={"min_runtime": 4000})
    with a_worker(world):
        low = submit(world, chips=1, priority=10)
        wait_until(lambda: placed(low))
        victim = Attempt.objects.get(job=low)
        urgent = submit(world, chips=1, priority=90)
        wait_until(lambda: Attempt.objects.filter(pk=victim.pk, state="stopping").exists())
    promise = Promise.objects.get(job=urgent)
    assert promise.since - victim.placed_at >= timedelta(seconds=4)


def test_a_wake_up_is_asked_for_once_and_again_only_for_an_earlier_one(monkeypatch):
    world = World()
    asked: list[float] = []
    monkeypatch.setattr(tasks, "_request_in", lambda cell, seconds: asked.append(seconds))
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    for left in (5000, 5000, 9000, 6001, 2000, 3000, -1):
        tasks._request_at(world.cell.pk, clock.to_ms(now) + left)
    assert asked == [5.0, 2.0, 0.001]


def test_the_tick_asks_for_a_cycle_of_every_cell_and_lets_go_what_is_due(monkeypatch):
    world, other = World(), World()
    held = {"state": "held", "reason_code": "start_after"}
    due = world.a_job("due", **held, start_after=clock.now() - timedelta(seconds=1))
    later = world.a_job("later", **held, start_after=clock.now() + timedelta(hours=1))
    asked: list[int] = []
    monkeypatch.setattr(tasks, "request_cycle", asked.append)
    tasks.tick()
    assert {world.cell.pk, other.cell.pk} <= set(asked)
    due.refresh_from_db()
    later.refresh_from_db()
    assert (due.state, later.state) == ("queued", "held")


def test_a_broker_that_is_away_costs_no_cycle(monkeypatch):
    world = World()
    world.a_node()
    job = world.a_job()

    def away(*_args, **_kwargs):
        raise OSError("no broker")

    monkeypatch.setattr(tasks, "request_cycle", away)
    monkeypatch.setattr(tasks.cycle, "MAX_SECONDS", 0.001)
    tasks.run_cycle(world.cell.pk)
    assert placed(job)


def test_old_records_go_and_new_ones_stay(monkeypatch):
    world = World()
    world.a_node()
    now = clock.now()
    for _ in range(4):
        job = world.a_job()
        tasks.run_cycle(world.cell.pk)
        end(Attempt.objects.get(job=job))
    job.delete()
    monkeypatch.setattr("flexai.scheduling.records.KEPT_CYCLES", 2)
    newest = list(Cycle.objects.filter(cell=world.cell).order_by("-id").values_list("pk", flat=True)[:2])
    forget_old_records(kept_removals_from=now - timedelta(days=1))
    assert list(Cycle.objects.filter(cell=world.cell).order_by("-id").values_list("pk", flat=True)) == newest
    assert Removal.objects.exists()
    forget_old_records(kept_removals_from=clock.now() + timedelta(seconds=1))
    assert not Removal.objects.exists()
