"""Frames of many nodes read as columns say what reading them one by one says; tallies add up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flexai.cluster.frames import CHIP, HEAD, REPLICA, Tally, columns
from node_agent import protocol
from tests.contracts.test_protocol import CHIPS, REPLICAS, U16, U32

FRAMES = st.builds(
    protocol.Telemetry,
    at=st.integers(0, 2**53),
    host_cpu_permille=U16,
    host_memory_mib=U32,
    chips=st.lists(CHIPS, max_size=4),
    replicas=st.lists(REPLICAS, max_size=4),
)


@given(st.lists(FRAMES, min_size=1, max_size=5))
def test_columns_hold_what_the_frames_hold(samples: list[protocol.Telemetry]) -> None:
    frames = [protocol.pack_telemetry(sample) for sample in samples]
    assert [len(frame) for frame in frames] == [
        HEAD.itemsize + len(one.chips) * CHIP.itemsize + len(one.replicas) * REPLICA.itemsize
        for one in samples
    ]
    read = columns(frames)
    assert read.heads["cpu"].tolist() == [one.host_cpu_permille for one in samples]
    assert read.heads["memory"].tolist() == [one.host_memory_mib for one in samples]
    for number, one in enumerate(samples):
        chips = [protocol.ChipSample(*chip) for chip in read.chips[read.chip_frame == number].tolist()]
        replicas = [
            protocol.ReplicaSample(*row) for row in read.replicas[read.replica_frame == number].tolist()
        ]
        assert chips == list(one.chips)
        assert replicas == list(one.replicas)


@given(st.lists(st.lists(st.dictionaries(st.integers(0, 9), st.integers(0, 99)), max_size=6), max_size=6))
def test_a_tally_is_the_naive_sum_and_the_naive_peak(windows: list[list[dict[int, int]]]) -> None:
    tally, minute = Tally(sums=1, peaks=1), {}
    for window in windows:
        naive: dict[int, list[int]] = {}
        for sample in window:
            values = np.array(list(sample.values()), np.int64)
            tally.add(np.array(list(sample), np.int64), [values, values])
            for key, value in sample.items():
                for into in (naive, minute):
                    had = into.setdefault(key, [0, 0, 0])
                    had[:] = [had[0] + 1, had[1] + value, max(had[2], value)]
        keys, table = tally.end_window()
        assert dict(zip(keys.tolist(), table.tolist(), strict=True)) == naive
    keys, table = tally.end_minute()
    assert dict(zip(keys.tolist(), table.tolist(), strict=True)) == minute
    assert tally.end_minute()[0].tolist() == []
