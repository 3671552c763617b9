"""Many processes, killed ones, long sequences: nothing twice or by half, every counter a sum (laws 2, 8)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from flexai.cluster.models import Chip, Node
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import alone, cycle, engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.models import CellPolicy, Cycle
from tests.server.scheduling.world import World, counters_agree, end
from tests.support.receiver import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[3]

LOOP = """
import sys, django
django.setup()
from flexai.scheduling import cycle
cell = int(sys.argv[1])
cycle.PACE_SECONDS = 0
if sys.argv[2] == "unlocked":
    from contextlib import contextmanager
    @contextmanager
    def at_once(cell_id, keeps=False):
        yield True
    cycle.alone_in = at_once
print("ready", flush=True)
sys.stdin.readline()
while True:
    report = cycle.run_cycle(cell)
    if report.error:
        raise SystemExit(report.error)
    if not report.again and not report.started:
        break
"""


def a_loop(world: World, *, jobs_a_pass: int, locked: bool) -> subprocess.Popen[str]:
    """A process that runs cycles of this cell until nothing waits; it begins when told a line."""
    CellPolicy.objects.update_or_create(cell=world.cell, defaults={"values": {"max_starts": jobs_a_pass}})
    settings = connection.get_connection_params()
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{settings['user']}@/{settings['dbname']}?host={settings['host']}",
        "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "FLEXAI_LOG_LEVEL": "ERROR",
    }
    lock = "locked" if locked else "unlocked"
    command = [sys.executable, "-c", LOOP, str(world.cell.pk), lock]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def nothing_is_half_done(world: World) -> None:
    counters_agree(world.cell)
    active = set(Job.objects.filter(cell=world.cell, state="active").values_list("pk", flat=True))
    live = list(
        Attempt.objects.filter(cell=world.cell).exclude(state="ended").values_list("job_id", flat=True)
    )
    assert sorted(live) == sorted(active)
    assert not Attempt.objects.filter(cell=world.cell, replicas=None).exists()
    started = sum(Cycle.objects.filter(cell=world.cell).values_list("applied", flat=True))
    assert started == Attempt.objects.filter(cell=world.cell).count()


@pytest.mark.parametrize("locked", [True, False], ids=["with the lock", "without it"])
def test_processes_that_run_the_same_cell_at_once_place_nothing_twice(locked):
    world = World()
    for _ in range(3):
        world.a_node(chips=8, cpu=20_000)
    world.jobs(20, chips=1, cpu=10)
    world.jobs(80, cpu=100)
    processes = [a_loop(world, jobs_a_pass=7, locked=locked) for _ in range(3)]
    for process in processes:
        go(process)
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    nothing_is_half_done(world)
    assert Job.objects.filter(state="active", attempts_count=1).count() == 100


def test_a_loop_killed_at_any_moment_leaves_nothing_half_applied():
    world = World()
    world.a_node(chips=40, cpu=100_000, memory=1_000_000)
    moments = random.Random(7)
    killed_midway = 0
    for _ in range(4):
        world.jobs(60, cpu=100)
        world.jobs(5, chips=1)
        process = a_loop(world, jobs_a_pass=3, locked=True)
        before = Attempt.objects.count()
        go(process)
        while Attempt.objects.count() == before:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        nothing_is_half_done(world)
        killed_midway += Job.objects.filter(state="queued").exists()
        engine_state.forget(world.cell.pk)
        while run_cycle(world.cell.pk).again:
            pass
        nothing_is_half_done(world)
        assert not Job.objects.filter(state="queued").exists()
        for attempt in Attempt.objects.exclude(state="ended"):
            end(attempt)
    assert killed_midway, "every kill came too late to mean anything"


def test_threads_of_one_process_take_turns():
    world = World()
    world.a_node(cpu=20_000)
    world.jobs(50, cpu=100)

    def contender(_number: int):
        try:
            return run_cycle(world.cell.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(contender, range(4)))
    assert [report.error for report in reports] == [""] * 4
    assert sum(report.started for report in reports) == 50
    nothing_is_half_done(world)


def test_a_cell_that_another_process_runs_is_left_to_it(monkeypatch):
    world = World()
    world.a_node()
    world.a_job()
    monkeypatch.setattr(alone, "LOCK_WAIT_MS", 20)

    def run_elsewhere():
        try:
            return run_cycle(world.cell.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, alone.alone_in(world.cell.pk) as is_alone:
        assert is_alone
        report = pool.submit(run_elsewhere).result()
        assert (report.busy, report.again, report.started) == (True, True, 0)
        assert not Attempt.objects.exists()
    assert run_cycle(world.cell.pk).started == 1


def test_a_lock_that_is_kept_is_given_back_by_word_by_an_error_and_with_its_connection(monkeypatch):
    world = World()
    world.a_node()
    monkeypatch.setattr(alone, "LOCK_WAIT_MS", 20)

    def others_may() -> bool:
        def run() -> bool:
            try:
                with alone.alone_in(world.cell.pk) as is_alone:
                    return is_alone
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run).result()

    def kept() -> None:
        assert not run_cycle(world.cell.pk, keeps_lock=True).error
        assert not run_cycle(world.cell.pk, keeps_lock=True).error
        assert not others_may()

    kept()
    alone.give_back(world.cell.pk)
    assert others_may()
    kept()
    with monkeypatch.context() as patch:
        patch.setattr(cycle, "_run_passes", lambda *_: 1 / 0)
        assert run_cycle(world.cell.pk, keeps_lock=True).error
    assert others_may()
    kept()
    connection.connection.close()
    wait_until(others_may)
    connection.close()
    kept()
    alone.give_back(world.cell.pk)


@pytest.mark.parametrize("seed", range(4))
def test_counters_are_sums_of_what_is_live_after_any_sequence(seed, monkeypatch):
    monkeypatch.setattr(cycle, "PACE_SECONDS", 0)
    random_ = random.Random(seed)
    world = World()
    lab = world.a_team("lab")
    teams = [world.team, lab, world.a_team("nlp", parent=lab), world.a_team("vision", parent=lab)]
    quota = world.a_quota(teams[2], guaranteed=1000, limit=4000)
    nodes = [world.a_node(chips=4, claims=500, cpu=6000) for _ in range(3)]

    def submit() -> None:
        asks = random_.choice(
            [{"chips": 1}, {"chips": 2, "replicas": 2}, {"milli": 300}, {"cpu": 700}, {"chips": 4, "cpu": 0}]
        )
        world.a_job(team=random_.choice(teams), preemptible=random_.random() < 0.8, **asks)

    def finish() -> None:
        live = list(Attempt.objects.filter(cell=world.cell).exclude(state="ended"))
        if live:
            end(random_.choice(live), job_state=random_.choice(["succeeded", "failed", "queued"]))

    def limit() -> None:
        quota.limit_milli = random_.choice([1000, 2000, 4000, 8000])
        quota.save()

    def drain() -> None:
        state = random_.choice(["ready", "ready", "draining"])
        Node.objects.filter(pk=random_.choice(nodes).pk).update(state=state)

    def sicken() -> None:
        Chip.objects.filter(node=random_.choice(nodes), index=random_.randrange(4)).update(
            healthy=random_.random() < 0.7
        )

    for _ in range(60):
        random_.choice([submit, submit, submit, finish, finish, limit, drain, sicken])()
        report = run_cycle(world.cell.pk)
        assert (report.error, report.dropped) == ("", 0)
        counters_agree(world.cell)
    assert Attempt.objects.count() > 5
