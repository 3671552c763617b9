"""Q3 and Q6 in numbers: both sides of a slice, its charge, its claim, and roundings that are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.slices import charge, host_cpu_claim, percent, resolve_slice


def test_q3_a_fraction_takes_its_share_of_memory_rounded_down_and_says_so() -> None:
    resolved = resolve_slice(milli=300, memory=0, chip_memory=40_959, step=100)
    assert (resolved.milli, resolved.memory) == (300, 12_287)
    assert resolved.roundings == ("30 % of a chip with 40959 MiB is 12287 MiB, rounded down.",)


def test_q3_memory_takes_its_share_rounded_up_to_the_step_and_says_so() -> None:
    resolved = resolve_slice(milli=0, memory=10_240, chip_memory=40_960, step=100)
    assert (resolved.milli, resolved.memory) == (300, 10_240)
    assert resolved.roundings == (
        "10240 MiB of a chip with 40960 MiB takes 30 % of it, rounded up to the pool's step of 10 %.",
    )


def test_q3_what_is_exact_shows_no_rounding() -> None:
    assert resolve_slice(milli=250, memory=0, chip_memory=4000, step=100).roundings == ()
    assert resolve_slice(milli=0, memory=800, chip_memory=4000, step=100).roundings == ()
    assert resolve_slice(milli=33, memory=777, chip_memory=4000, step=100).roundings == ()


@pytest.mark.parametrize(("milli", "memory"), [(0, 0), (-1, 5), (5, -1), (1001, 0), (0, 4001), (100, 4001)])
def test_q3_what_is_no_slice_of_this_chip_is_refused(milli: int, memory: int) -> None:
    with pytest.raises(ValueError, match="slice"):
        resolve_slice(milli=milli, memory=memory, chip_memory=4000, step=100)


def test_q3_quota_charges_the_larger_share() -> None:
    assert charge(300, 1000, 4000) == 300
    assert charge(100, 1001, 4000) == 251
    assert charge(100, 0, 0) == 100


@given(st.integers(1, 1000), st.integers(1, 200_000), st.sampled_from([10, 50, 100, 300]))
def test_q3_a_fraction_is_charged_exactly_what_was_asked(milli: int, chip_memory: int, step: int) -> None:
    resolved = resolve_slice(milli=milli, memory=0, chip_memory=chip_memory, step=step)
    assert charge(resolved.milli, resolved.memory, chip_memory) == milli


@given(st.data(), st.integers(1, 200_000), st.sampled_from([10, 50, 100, 300]))
def test_q3_memory_is_covered_by_its_share_and_by_no_needless_step(
    data: st.DataObject, chip_memory: int, step: int
) -> None:
    memory = data.draw(st.integers(1, chip_memory))
    resolved = resolve_slice(milli=0, memory=memory, chip_memory=chip_memory, step=step)
    assert resolved.milli * chip_memory >= memory * 1000
    assert (resolved.milli - step) * chip_memory < memory * 1000
    assert charge(resolved.milli, resolved.memory, chip_memory) == resolved.milli <= 1000


def test_q6_a_part_of_a_core_claims_its_part_of_the_host_rounded_up() -> None:
    assert host_cpu_claim(1000, 1000) == 1000
    assert host_cpu_claim(334, 999) == 334
    assert host_cpu_claim(1, 1) == 1
    assert host_cpu_claim(500, 0) == 0


def test_a_tenth_and_two_tenths_are_three_tenths() -> None:
    """Q1: why no float decides."""
    assert 100 + 200 == 300
    assert [percent(amount) for amount in (300, 125, 1000)] == ["30 %", "12.5 %", "100 %"]
