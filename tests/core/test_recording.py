"""X3: a recorded cycle is decided again bit for bit, and bytes that are no recording are refused."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core import Policy, Scheduler, Snapshot, decide
from scheduler_core.model import Job, Node, Remove, Upsert
from scheduler_core.recording import (
    MAGIC,
    BadRecording,
    RecordedCycle,
    Recording,
    digest,
    dump,
    load,
    record,
    replay,
)
from tests.core.cells import Mirror, cells, events, policies, troubled_cells
from tests.core.test_properties import brisk
from tests.support.engine import a_job, a_node
from tests.support.engine import given as case_of


@brisk
@given(troubled_cells(), policies)
def test_x3_a_recorded_cycle_is_decided_again_bit_for_bit(snapshot: Snapshot, policy: Policy) -> None:
    packed = record(snapshot, policy, decide(snapshot, policy))
    recording = load(packed)
    assert recording.snapshot == snapshot
    assert recording.policy == policy
    assert dump(recording) == packed
    assert [cycle.same for cycle in replay(recording)] == [True]


@brisk
@given(st.data())
def test_x3_a_keyframe_and_the_events_after_it_give_every_cycle_again(data: st.DataObject) -> None:
    snapshot = data.draw(cells(most_jobs=4))
    mirror, kept = Mirror(snapshot), Scheduler(snapshot, Policy())
    cycles = []
    for cycle in range(1, 4):
        happened = []
        for number in range(data.draw(st.integers(0, 3))):
            event = data.draw(events(mirror, cycle * 10 + number))
            mirror.apply(event)
            happened.append(event)
        kept.apply(happened)
        now = snapshot.now + cycle
        cycles.append(RecordedCycle(now, tuple(happened), digest(kept.decide(now))))
    recording = load(dump(Recording(Policy(), snapshot, tuple(cycles))))
    replayed = list(replay(recording))
    assert all(cycle.same for cycle in replayed)
    last = mirror.snapshot(snapshot.now + 3)
    assert {row.id for row in replayed[-1].snapshot.jobs} == {row.id for row in last.jobs}
    assert digest(decide(replayed[-1].snapshot, Policy())) == cycles[-1].digest


def test_x3_another_decision_than_the_recorded_one_is_told() -> None:
    snapshot = case_of(nodes=[a_node(chips=2)], waiting=[a_job("a"), a_job("b"), a_job("c")]).snapshot
    honest = decide(snapshot, Policy())
    changed = replace(honest, units=honest.units[::-1])
    assert [cycle.same for cycle in replay(load(record(snapshot, Policy(), changed)))] == [False]


def test_x3_a_recording_of_rows_that_are_gone_replays() -> None:
    snapshot = case_of(nodes=[a_node(chips=2)], waiting=[a_job("a")]).snapshot
    told = (Remove(Node, 1), Upsert(replace(snapshot.jobs[0], priority=90)), Remove(Job, 99))
    scheduler = Scheduler(snapshot, Policy())
    scheduler.apply(told)
    cycle = RecordedCycle(snapshot.now, told, digest(scheduler.decide(snapshot.now)))
    assert [c.same for c in replay(load(dump(Recording(Policy(), snapshot, (cycle,)))))] == [True]


GOOD = record(Snapshot(5), Policy(), decide(Snapshot(5), Policy()))


@pytest.mark.parametrize(
    ("packed", "told"),
    [
        (b"", "not a recording"),
        (b"PK\x03\x04", "not a recording"),
        (MAGIC, "cut short"),
        (GOOD[:-4], "cut short"),
        (MAGIC + b"garbage", "cannot be read"),
        (MAGIC + zlib.compress(b"\x93\x01\x02\x03"), "cannot be read"),
    ],
)
def test_bytes_that_are_no_recording_are_refused_in_words(packed: bytes, told: str) -> None:
    with pytest.raises(BadRecording, match=told):
        load(packed)
