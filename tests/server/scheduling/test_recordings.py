"""X3: what the loop saw and decided can be replayed bit for bit, and is bounded by bytes."""

from __future__ import annotations

import pytest

from flexai.common import clock
from flexai.jobs.models import Job
from flexai.scheduling import recordings
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.engine_state import forget
from flexai.scheduling.models import Recording
from flexai.scheduling.recordings import Recorder, store
from flexai.scheduling.snapshot import take_snapshot
from scheduler_core import Policy, decide
from scheduler_core.recording import load, replay
from tests.server.scheduling.world import World
from tests.support.receiver import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_CYCLES", 3)


def test_x3_cycles_of_the_loop_replay_bit_for_bit() -> None:
    world = World()
    world.a_node(chips=2)
    for number in range(6):
        world.a_job(f"job-{number}", chips=1)
        if number == 4:
            Job.objects.filter(name="job-3").delete()
        run_cycle(world.cell.pk)
    run_cycle(world.cell.pk)
    stored = Recording.objects.filter(cell=world.cell).order_by("id")
    wait_until(lambda: stored.count() == 2)
    for recording in stored:
        assert recording.size == len(recording.data)
        replayed = list(replay(load(bytes(recording.data))))
        assert len(replayed) == recording.cycles >= 3
        assert all(cycle.same for cycle in replayed)
    last = replayed[-1].snapshot
    assert {job.name for job in last.jobs} >= {"job-5"}


def test_x3_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    now = clock.to_ms(clock.now())
    forget(world.cell.pk)
    snapshot = take_snapshot(world.cell.pk, clock.now())
    recorder = Recorder(world.cell.pk, Policy(), snapshot)
    for _ in range(4):
        recorder.decided(now, decide(snapshot, Policy()))
        store(world.cell.pk, recorder.cut(snapshot))
        size = Recording.objects.latest("id").size
        monkeypatch.setattr(recordings, "KEPT_BYTES", 2 * size)
    kept = list(Recording.objects.filter(cell=world.cell).order_by("id").values_list("id", flat=True))
    assert len(kept) == 2
    assert kept[-1] == Recording.objects.latest("id").pk


def test_x3_what_cannot_be_stored_is_told_and_the_next_recording_is_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.a_node(chips=8)

    def decided(number: int) -> None:
        world.a_job(f"job-{number}", chips=1)
        assert not run_cycle(world.cell.pk).error

    with monkeypatch.context() as patch:
        patch.setattr(recordings, "_STORE", "INSERT INTO scheduling_nowhere VALUES (%(cell)s)")
        for number in range(4):
            decided(number)
        wait_until(lambda: "its 3 cycles from" in caplog.text)
    assert "cannot be replayed" in caplog.text
    for number in range(4, 8):
        decided(number)
    stored = Recording.objects.filter(cell=world.cell)
    wait_until(lambda: stored.count() == 1)
    assert all(cycle.same for cycle in replay(load(bytes(stored.get().data))))
