"""What a replica draws: its share of its chips' power by milli, over its life; unknown where a chip tells none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node_agent.local import Local, report_of
from node_agent.telemetry import note_power


def a_replica(folder: Path, name: str, chips: Mapping[int, int]) -> Local:
    local = Local((name, 0, 1), str(folder), job=f"job-{name}")
    local.chips = dict(chips)
    return local


def drawn(local: Local, *, lived_ms: int = 10_000) -> int | None:
    """Millijoules, when it ends now."""
    return report_of(local, {"state": "ended", "at": 5_000 + lived_ms}, began=5_000).energy_mj


def test_a_replica_with_whole_chips_draws_all_that_they_draw(tmp_path: Path) -> None:
    one = a_replica(tmp_path, "one", {0: 1000, 2: 1000})
    note_power([one], {0: 300_000, 1: 999_999, 2: 500_000})
    note_power([one], {0: 100_000, 1: 999_999, 2: 300_000})
    assert drawn(one) == 600_000 * 10


def test_a_slice_draws_its_part_and_all_parts_are_the_chip(tmp_path: Path) -> None:
    parts = [a_replica(tmp_path, f"part-{milli}", {0: milli}) for milli in (250, 750)]
    note_power(parts, {0: 400_000})
    assert [drawn(part) for part in parts] == [1_000_000, 3_000_000]


def test_owner_and_guest_of_one_chip_draw_no_more_than_it_does(tmp_path: Path) -> None:
    both = [a_replica(tmp_path, name, {0: 1000}) for name in ("owner", "guest")]
    note_power(both, {0: 700_000})
    assert [drawn(one) for one in both] == [3_500_000, 3_500_000]


def test_a_chip_that_tells_no_power_makes_it_unknown(tmp_path: Path) -> None:
    one = a_replica(tmp_path, "one", {0: 1000, 1: 1000})
    note_power([one], {0: 300_000, 1: 0})
    note_power([one], {0: 300_000})
    assert drawn(one) is None


def test_a_sample_without_power_is_as_the_others(tmp_path: Path) -> None:
    one = a_replica(tmp_path, "one", {0: 1000})
    for power in (200_000, 0, 200_000):
        note_power([one], {0: power})
    assert drawn(one) == 2_000_000


def test_one_without_chips_has_none(tmp_path: Path) -> None:
    one = a_replica(tmp_path, "one", {})
    note_power([one], {0: 200_000})
    assert drawn(one) is None


def test_a_clock_that_went_back_makes_it_nothing_and_not_less(tmp_path: Path) -> None:
    one = a_replica(tmp_path, "one", {0: 1000})
    note_power([one], {0: 200_000})
    assert drawn(one, lived_ms=-3000) == 0
