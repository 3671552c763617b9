"""What the database planned while a cell was empty is planned again when it no longer is."""

from __future__ import annotations

import pytest
from django.db import connection

from flexai.common.database import plan_anew
from flexai.scheduling import alone, cycle, engine_state
from flexai.scheduling.cycle import run_cycle
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def whole_reads_of_chips() -> int:
    """How often all chips were read to find some. Other connections tell late what they did before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'cluster_chip'")
        return int(cursor.fetchone()[0])


def plan_cache_mode() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW plan_cache_mode")
        return str(cursor.fetchone()[0])


def test_a_cell_that_has_grown_is_not_read_as_a_whole_for_each_start() -> None:
    world = World()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE cluster_chip CASCADE")
        cursor.execute("VACUUM ANALYZE cluster_chip")
    world.a_node(chips=1)
    for number in range(2):
        world.a_job(f"early-{number}", chips=1)
        assert not run_cycle(world.cell.pk).error
    for _ in range(12):
        world.a_node(chips=256)
    assert run_cycle(world.cell.pk).started == 1
    moved = []
    for number in range(3):
        before = whole_reads_of_chips()
        world.a_job(f"late-{number}", chips=1)
        assert run_cycle(world.cell.pk).started == 1
        moved.append(whole_reads_of_chips() - before)
    assert min(moved) == 0, f"each start read the whole table: {moved}"


@pytest.mark.parametrize("waits", [False, True])
def test_plans_are_kept_while_the_lock_is_held_however_it_came(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if waits:
        monkeypatch.setattr(alone, "_TRY_LOCK", "SELECT %(class)s::int = %(cell)s::int")
    with alone.alone_in(7) as is_alone:
        assert (is_alone, plan_cache_mode()) == (True, "force_generic_plan")
    assert plan_cache_mode() == "auto"


def test_plans_are_made_anew_when_as_many_rows_were_read_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.a_node()
    assert not run_cycle(world.cell.pk).error
    state = engine_state.refresh(world.cell.pk, 0).state
    state.rows_heard, state.plans_until = 0, engine_state.FIRST_PLANS
    made = []
    monkeypatch.setattr(engine_state, "plan_anew", lambda: made.append(state.rows_heard))
    for _ in range(200):
        state.heard(10)
    assert made == [200, 400, 800, 1600]


def reads_of_the_queue() -> int:
    """Entries read in the index of jobs that wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'job_queued'")
        return int(cursor.fetchone()[0])


def test_a_burst_that_comes_when_nobody_waited_is_not_read_again_for_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, burst = World(), 300
    monkeypatch.setattr(cycle, "PART", 50)
    world.a_node(chips=2 * burst, cpu=10_000_000, memory=10_000_000)
    world.jobs(burst, chips=1, cpu=10)
    assert run_cycle(world.cell.pk, keeps_lock=True).started == burst
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE jobs_job")
    plan_anew()
    world.jobs(burst, chips=1, cpu=10)
    before = reads_of_the_queue()
    assert run_cycle(world.cell.pk, keeps_lock=True).started == burst
    assert reads_of_the_queue() - before <= 2 * burst
    alone.give_back(world.cell.pk)
