"""P3: what a cell was asked for is learned, bounded, told to its engine, and decides where work goes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import engine_state, mixes
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.feed import Feed
from flexai.scheduling.models import Cycle, Recording
from flexai.scheduling.recordings import store
from scheduler_core.mix import MOST_KINDS, MOST_OF_ONE
from scheduler_core.model import Request, Seen, Upsert
from scheduler_core.recording import load, replay
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def seen_in(world: World) -> dict[Request, int]:
    """What a fresh feed tells."""
    return {row.request: row.count for row in Feed(world.cell.pk).begin(clock.to_ms(clock.now())).seen}


def asked(*, cpu: int = 100, memory: int = 100, **chips: int) -> Request:
    return Request(cpu=cpu, memory=memory, **chips)


def test_p3_what_the_latest_jobs_asked_for_is_told_whatever_became_of_them() -> None:
    world = World()
    world.jobs(3, milli=300)
    world.a_job(chips=8, replicas=2, state="succeeded")
    world.a_job(cpu=500, state="cancelled")
    assert mixes.learn(world.cell.pk, clock.now())
    assert seen_in(world) == {asked(milli=300): 3, asked(chips=8): 2, asked(cpu=500): 1}


def test_p3_each_cell_is_told_of_its_own() -> None:
    one, other = World(), World()
    one.a_job(chips=1)
    other.a_job(chips=2)
    for world in (one, other):
        mixes.learn(world.cell.pk, clock.now())
    assert (seen_in(one), seen_in(other)) == ({asked(chips=1): 1}, {asked(chips=2): 1})


def test_p3_the_mix_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By jobs, by kinds (those for which fewest chips are asked go), and by what one submission counts."""
    world = World()
    world.jobs(5, chips=4)
    array = world.a_set(size=300, cap=None)
    Job.objects.bulk_create(
        Job(**world._job(f"sweep-{at}", world.team, "queued", {"chips": 2, "set": array, "index": at}))
        for at in range(300)
    )
    world.a_job(chips=1, replicas=5_000)
    for cpu in range(1, 100):
        world.a_job(milli=10 * cpu)
    mixes.learn(world.cell.pk, clock.now())
    told = seen_in(world)
    assert len(told) == MOST_KINDS
    assert told[asked(chips=2)] == told[asked(chips=1)] == MOST_OF_ONE
    assert asked(milli=990) in told
    assert asked(milli=10) not in told

    monkeypatch.setattr(mixes, "LATEST_JOBS", 10)
    mixes.learn(world.cell.pk, clock.now())
    assert seen_in(world) == {asked(milli=10 * cpu): 1 for cpu in range(90, 100)}


def test_p3_the_engine_is_told_anew_only_once_a_tenth_is_asked_for_otherwise() -> None:
    world = World()
    world.jobs(30, chips=1)
    assert mixes.learn(world.cell.pk, clock.now())
    feed = Feed(world.cell.pk)
    feed.begin(clock.to_ms(clock.now()))
    world.jobs(3, chips=1, cpu=200)
    assert not mixes.learn(world.cell.pk, clock.now() + timedelta(minutes=5))
    world.jobs(1, chips=1, cpu=200)
    assert mixes.learn(world.cell.pk, clock.now() + timedelta(minutes=10))
    changes = feed.read(clock.to_ms(clock.now()))
    told = [
        event.row for event in changes.events if isinstance(event, Upsert) and isinstance(event.row, Seen)
    ]
    assert {row.request: row.count for row in told} == {asked(chips=1, cpu=200): 4}, (
        "only what changed is said"
    )
    assert feed.snapshot(0) == Feed(world.cell.pk).begin(0)


def test_p3_a_mix_alone_is_no_reason_to_decide() -> None:
    world = World()
    world.a_job(chips=1)
    feed = Feed(world.cell.pk)
    feed.begin(clock.to_ms(clock.now()))
    mixes.learn(world.cell.pk, clock.now())
    changes = feed.read(clock.to_ms(clock.now()))
    assert len(changes.events) == 1
    assert not changes.news


def test_p3_a_cell_of_which_nothing_was_asked_meanwhile_keeps_its_mix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quiet, busy = World(), World()
    quiet.jobs(2, chips=8)
    mixes.learn(quiet.cell.pk, clock.now())
    busy.jobs(5, chips=1)
    monkeypatch.setattr(mixes, "AMONG_JOBS", 5)
    assert not mixes.learn(quiet.cell.pk, clock.now())
    assert seen_in(quiet) == {asked(chips=8): 2}


def _place_of_a_slice(*, with_mix: bool) -> tuple[str, int, int]:
    """In a cell that saw small slices and gangs of eight chips, on which node a slice sits; and what the cycle that
    put it there thought with."""
    world = World()
    world.a_node("home", chips=8, cpu=64_000)
    world.a_node("starved", chips=10, cpu=2_000)
    past = [*world.jobs(40, milli=300), *world.jobs(10, chips=8, cpu=32_000)]
    Job.objects.filter(pk__in=[job.pk for job in past]).update(state="succeeded", status="succeeded")
    if with_mix:
        mixes.learn(world.cell.pk, clock.now())
    world.a_job("slice", milli=300)
    report = run_cycle(world.cell.pk)
    assert (report.error, report.started) == ("", 1)
    attempt = Attempt.objects.get(job__name="slice", cell=world.cell)
    cycle = Cycle.objects.filter(cell=world.cell).latest("id")
    return attempt.replicas.get().node.name, cycle.effort, cycle.seen


def test_p3_a_slice_goes_where_the_value_says() -> None:
    """In order the node with the fewest untouched chips comes first: the only one that can take a gang. The other has
    too little host left for any, and with a mix the slice goes there."""
    assert _place_of_a_slice(with_mix=False) == ("home", 0, 0)
    assert _place_of_a_slice(with_mix=True) == ("starved", 2, 50)


def test_x3_what_was_decided_by_a_mix_replays_bit_for_bit() -> None:
    world = World()
    for _ in range(3):
        world.a_node(chips=4)
    world.a_job("first", milli=300)
    assert run_cycle(world.cell.pk).started == 1
    mixes.learn(world.cell.pk, clock.now())
    world.a_job("second", milli=300)
    assert run_cycle(world.cell.pk).started == 1
    state = engine_state.refresh(world.cell.pk, clock.to_ms(clock.now())).state
    store(world.cell.pk, state.recorder.cut(state.feed.snapshot(clock.to_ms(clock.now()))))
    recording = load(bytes(Recording.objects.get(cell=world.cell).data))
    cycles = list(replay(recording))
    assert all(cycle.same for cycle in cycles)
    assert {cycle.decision.effort for cycle in cycles} == {0, 3}
