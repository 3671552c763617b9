"""What becomes of telemetry: latest values, windows, minutes, hours; nothing that came is missing from the minute."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.db import connection

from flexai.cluster import rollups, telemetry
from flexai.cluster.models import NodeHour, NodeMinute
from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.jobs import tasks, usage
from flexai.jobs.models import AttemptHour, AttemptMinute
from flexai.realtime import board as boards
from flexai.realtime.board import Board, Origin
from node_agent import protocol
from tests.support.placed import PlacedWorld

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


class Watched:
    """A board, and a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        self.board = Board()
        monkeypatch.setattr(clock, "now", lambda: self.now)

    def hears(self, node, *, use=500, cpu=100, replicas=(), chips=2, power=0):
        samples = [protocol.ChipSample(index, use, 1000, 50, power) for index in range(chips)]
        frame = protocol.pack_telemetry(protocol.Telemetry(0, cpu, 2000, samples, replicas))
        self.board.put(Origin(node.pk, node.public_id, node.cell_id), frame)

    def flushes(self, *, after: int = 1):
        self.now += timedelta(seconds=after)
        came = self.board.take()
        self.board.count()
        self.board.show(came)

    def closes(self):
        self.board.take()
        self.board.close()


@pytest.fixture
def watched(monkeypatch):
    return Watched(monkeypatch)


def of_replica(attempt, **values):
    given = {"cpu_permille": 0, "memory_mib": 0, "memory_peak_mib": 0} | values
    return protocol.ReplicaSample(protocol.replica_key(attempt.public_id, 0), **given)


def test_every_frame_counts_in_the_minute_also_when_two_come_between_flushes(watched):
    world = PlacedWorld()
    one, other = world.a_node(), world.a_node()
    for use in (100, 200, 600):
        watched.hears(one, use=use)
    watched.hears(other, use=50, chips=1)
    watched.flushes()
    watched.hears(other, use=150, chips=1, power=3_000)
    watched.flushes(after=60)
    watched.hears(other)
    watched.flushes(after=60)
    minutes = {(row.node_id, row.at): row for row in NodeMinute.objects.all()}
    assert minutes[one.pk, NOON].samples == 3
    assert minutes[one.pk, NOON].use_permille == [300, 300]
    assert minutes[one.pk, NOON].temperature_c == [50, 50]
    assert minutes[other.pk, NOON].use_permille == [50]
    assert minutes[other.pk, NOON + rollups.MINUTE].power_mw == [3_000]


def test_a_minute_that_two_processes_heard_is_one(watched):
    node = PlacedWorld().a_node()
    for use in (100, 300):
        watched.hears(node, use=use)
    watched.flushes()
    watched.closes()
    watched.board = Board()
    for use in (500, 900, 1000, 1000):
        watched.hears(node, use=use, chips=3)
    watched.closes()
    [row] = NodeMinute.objects.all()
    assert (row.samples, row.use_permille) == (6, [(200 * 2 + 850 * 4) // 6] * 2 + [850 * 4 // 6])


def test_a_window_has_use_waiting_and_the_peak(watched):
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node)
    for peak, wait in ((700, 0), (900, 500)):
        mine = of_replica(attempt, cpu_permille=peak, memory_peak_mib=peak, wait_permille=wait)
        watched.hears(node, replicas=[mine])
        watched.flushes()
    watched.hears(node)
    watched.flushes(after=10)
    window = telemetry.last_windows([node.pk])[node.pk]
    key = protocol.replica_key(attempt.public_id, 0).hex()
    assert (window.since, window.until) == (clock.to_ms(NOON), clock.to_ms(NOON) + telemetry.WINDOW_MS)
    assert window.chips == {0: 500, 1: 500}
    assert (window.replicas[key], window.waits[key], window.peaks[key]) == (800, 250, 900)


@pytest.mark.parametrize(("driver", "use"), [("nvidia", 500), ("cpu", 800)])
def test_an_attempt_has_its_minute_and_its_hour(watched, driver, use):
    world = PlacedWorld()
    node, foreign = world.a_node(chips=1), world.a_node(chips=1)
    node.chips.update(driver=driver)
    attempt = world.placed(node, milli=500)
    mine = of_replica(attempt, cpu_permille=400, memory_mib=10, memory_peak_mib=30, wait_permille=100)
    watched.hears(node, replicas=[mine])
    watched.hears(foreign, replicas=[of_replica(attempt, cpu_permille=9000)])
    watched.flushes()
    watched.closes()
    tasks.roll_up_telemetry()
    tasks.roll_up_telemetry()
    for kind in (AttemptMinute, AttemptHour):
        [row] = kind.objects.all()
        assert (row.samples, row.use_total, row.cpu_total, row.memory_total) == (1, use, 400, 10)
        assert (row.wait_total, row.memory_peak_mib) == (100, 30)
    [hour] = NodeHour.objects.filter(node=node)
    assert (hour.samples, hour.use_permille, hour.host_cpu_permille) == (1, [500, 500], 100)
    step, points = usage.usage_of(attempt.pk, since=NOON - timedelta(days=3), until=NOON + timedelta(days=1))
    assert step == rollups.HOUR
    assert [point["use_permille"] for point in points] == [use]


def test_without_the_broker_the_minute_is_still_whole(watched, monkeypatch):
    node = PlacedWorld().a_node()

    def away(*_args, **_values):
        raise redis.ConnectionError("away")

    with monkeypatch.context() as broken:
        broken.setattr(telemetry, "keep_frames", away)
        watched.hears(node)
        with pytest.raises(redis.ConnectionError):
            watched.flushes()
    watched.hears(node)
    watched.flushes()
    watched.closes()
    assert NodeMinute.objects.get().samples == 2


def test_a_minute_is_written_while_the_broker_is_away(watched, monkeypatch):
    node = PlacedWorld().a_node()
    watched.hears(node)
    watched.flushes()

    def away(*_args, **_values):
        raise redis.ConnectionError("away")

    monkeypatch.setattr(telemetry, "claim_step", away)
    watched.hears(node)
    with pytest.raises(redis.ConnectionError):
        watched.flushes(after=60)
    assert NodeMinute.objects.get().samples == 1


def test_the_newest_values_do_not_wait_for_counting(watched, monkeypatch):
    node = PlacedWorld().a_node()
    reached, go_on = threading.Event(), threading.Event()

    def slow(*_args):
        reached.set()
        go_on.wait(60)
        return False

    monkeypatch.setattr(telemetry, "claim_step", slow)
    watched.hears(node, cpu=1)
    watched.board.take()
    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(watched.board.count)
        try:
            assert reached.wait(60)
            watched.hears(node, cpu=2)
            watched.board.show(watched.board.take())
            assert telemetry.latest([node.pk])[node.pk].host_cpu_permille == 2
        finally:
            go_on.set()
        counting.result(60)
    watched.closes()
    assert NodeMinute.objects.get().samples == 2


def test_what_cannot_be_written_for_too_long_is_dropped_and_counted(watched, monkeypatch):
    monkeypatch.setattr(boards, "MAX_WAITING", 3)
    node = PlacedWorld().a_node()
    for _ in range(5):
        watched.hears(node)
    assert (watched.board.received, watched.board.dropped) == (5, 2)


def test_old_partitions_go_and_new_ones_stay(watched):
    table = rollups.NODE_MINUTES
    with connection.cursor() as plain, prepared_cursor() as cursor:
        for days in (0, 6, 7, 9, 400):
            table.make(cursor, NOON - timedelta(days=days))
        gone = table.drop_old(cursor, NOON)
        assert gone == ["cluster_nodeminute_20250128", "cluster_nodeminute_20260223"]
        plain.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cluster_nodeminute'::regclass")
        assert plain.fetchone() == (3,)
