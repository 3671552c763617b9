"""The value of what remains of a node (P3): whole numbers, bounds, symmetry, and the protected homes."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_core import value
from scheduler_core.value import Ints, Mix, further_use, home_price, homes, least_of, scarcity, streams

ANY = 0b11
MIX = Mix(
    np.array(
        [
            (4_000, 8_000, 0, 0, 0),
            (4_000, 16_000, 1, 300, ANY),
            (6_000, 16_000, 1, 500, 0b01),
            (8_000, 32_000, 1, 1000, ANY),
            (32_000, 128_000, 4, 1000, 0b10),
        ],
        np.int64,
    ),
    np.array([3, 6, 4, 8, 1], np.int64),
)
STREAMS = streams(MIX, 7, 8, 24)

millis = st.sampled_from([0, 100, 300, 500, 700, 1000])
nodes = st.tuples(
    st.integers(0, 64_000),
    st.integers(0, 256_000),
    st.lists(millis, min_size=1, max_size=4),
    st.integers(0, 1),
)


def use(
    cpu: int, memory: int, free: list[int], chip_type: int, requests: Ints = STREAMS, mix: Mix = MIX
) -> int:
    chips = np.array(free, np.int64)
    return further_use(
        cpu, memory, chips, chip_type, mix.kinds, requests, least_of(mix), np.zeros_like(chips)
    )


@given(nodes)
@settings(max_examples=60, deadline=None)
def test_p3_value_is_a_whole_number_between_nothing_and_all_that_is_free(
    node: tuple[int, int, list[int], int],
) -> None:
    worth = use(*node)
    assert isinstance(worth, int | np.int64)
    assert 0 <= worth <= sum(node[2]) * len(STREAMS)


@given(nodes)
@settings(max_examples=25, deadline=None)
def test_p3_chips_are_alike(node: tuple[int, int, list[int], int]) -> None:
    cpu, memory, free, chip_type = node
    assert {use(cpu, memory, list(order), chip_type) for order in set(permutations(free))} == {use(*node)}


@given(nodes, st.permutations(range(len(MIX.counts))))
@settings(max_examples=25, deadline=None)
def test_p3_value_is_the_same_in_whatever_order_the_mix_is_told(
    node: tuple[int, int, list[int], int], order: list[int]
) -> None:
    told = Mix(MIX.kinds[order], MIX.counts[order])
    assert use(*node, streams(told, 7, 8, 24), told) == use(*node)


@pytest.mark.parametrize(
    ("cpu", "memory", "free", "chip_type"),
    [
        (64_000, 256_000, [0, 0], 0),
        (3_999, 256_000, [1000, 1000], 0),
        (64_000, 15_999, [1000, 1000], 0),
        (64_000, 256_000, [299, 100], 0),
        (64_000, 256_000, [1000, 1000], 5),
    ],
)
def test_p3_what_nothing_can_use_is_worth_nothing(
    cpu: int, memory: int, free: list[int], chip_type: int
) -> None:
    assert use(cpu, memory, free, chip_type) == 0


@given(
    st.integers(0, 64_000),
    st.integers(0, 64_000),
    st.lists(st.sampled_from([0, 1000]), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_p3_more_host_cpu_is_never_worth_less_where_requests_are_of_one_kind(
    cpu: int, more: int, free: list[int]
) -> None:
    """For several kinds it is no theorem: what fits first may keep a better one out (next test)."""
    one = Mix(MIX.kinds[3:4], MIX.counts[3:4])
    requests = streams(one, 7, 2, 24)
    assert use(cpu + more, 256_000, free, 0, requests, one) >= use(cpu, 256_000, free, 0, requests, one)


def test_p3_more_may_be_worth_less_to_one_stream() -> None:
    """A greedy stream: with 8 cores a request without chips comes first and leaves too little for the chip;
    with 7 it does not fit, and the chip is used. A loss below zero is therefore possible, and is none.
    """
    mix = Mix(np.array([(8_000, 0, 0, 0, 0), (7_000, 0, 1, 1000, 1)], np.int64), np.array([1, 1], np.int64))
    stream = np.array([[0, 0, 1, 1]], np.int64)
    assert use(8_000, 0, [1000], 0, stream, mix) == 0
    assert use(7_000, 0, [1000], 0, stream, mix) == 1000


def test_p3_use_computed_by_hand() -> None:
    """Of each two the one that leaves the smaller hole: 700 of 1000 before 500, then 300 of what is left."""
    kinds = np.array([(0, 0, 1, 500, 1), (0, 0, 1, 700, 1), (0, 0, 1, 300, 1)], np.int64)
    mix = Mix(kinds, np.array([1, 1, 1], np.int64))
    assert use(0, 0, [1000], 0, np.array([[0, 1, 0, 2]], np.int64), mix) == 1000
    assert use(0, 0, [1000], 0, np.array([[0, 0, 1, 2]], np.int64), mix) == 800
    assert use(0, 0, [1000, 500], 0, np.array([[0, 1, 1, 2]], np.int64), mix) == 1200


def test_p3_homes_computed_by_hand() -> None:
    gang = np.array((32_000, 100_000, 2, 1000, 0b01), np.int64)
    free = np.array([1000, 1000, 1000, 1000, 1000, 900], np.int64)
    assert homes(96_000, 400_000, free, 0, gang) == 2, "five whole chips hold two pairs"
    assert homes(63_999, 400_000, free, 0, gang) == 1, "host CPU for one"
    assert homes(96_000, 99_999, free, 0, gang) == 0, "no host memory"
    assert homes(96_000, 400_000, free, 1, gang) == 0, "chips of a type it may not have"


def test_p3_last_homes_are_protected_by_littlewoods_rule() -> None:
    """44 gangs of 8 chips among requests for 6,086,800 milli-chips; half of that is still to come: 22 expected.
    With 22 homes left the next is worth a little more than half of what a gang brings, with 60 nothing, with
    none all of it. Another kind that is one in four of those gangs is worth a quarter.
    """
    half = 3_043_400
    assert home_price(8_000, 44, 44, half, 6_086_800, 0) == 8_000
    chance = poisson_tail(22, 22)
    assert abs(home_price(8_000, 44, 44, half, 6_086_800, 22) - 8_000 * chance) <= 1
    assert Fraction(1, 2) < chance < Fraction(6, 10)
    assert home_price(8_000, 44, 44, half, 6_086_800, 60) == 0
    assert home_price(8_000, 11, 44, half, 6_086_800, 0) == 2_000


@pytest.mark.parametrize(("mean", "left"), [(1, 1), (1, 3), (5, 2), (5, 9), (40, 40), (40, 60)])
def test_p3_scarcity_is_the_tail_of_a_poisson_distribution(mean: int, left: int) -> None:
    assert abs(Fraction(scarcity(mean << 10, left), value.ONE) - poisson_tail(mean, left)) < Fraction(
        1, 10_000
    )


@given(st.integers(0, 200 << 10), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_p3_a_home_among_more_is_never_worth_more(expected: int, left: int) -> None:
    assert 0 <= scarcity(expected, left + 1) <= scarcity(expected, left) <= value.ONE


def test_p3_streams_together_hold_the_mix() -> None:
    """Stratified: of 22 requests at one position, as many of each kind as there are, give or take one."""
    found = streams(MIX, 7, 22, 24)
    for position in found.T:
        counted = np.bincount(position, minlength=len(MIX.counts))
        assert (abs(counted - MIX.counts) <= 1).all()


def test_s4_streams_follow_the_effort() -> None:
    assert [value.samples_at(effort) for effort in (1, 7, 63, 64, 127, 128, 1_023, 1_213, 10_000)] == [
        4, 4, 4, 8, 8, 16, 64, 128, 128,
    ]  # fmt: skip


PROBE = """
from tests.core.test_value import STREAMS, use
print(STREAMS.tolist(), use(60_000, 250_000, [1000, 700, 1000, 300], 0))
"""


def test_q1_three_hash_seeds_give_one_value() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROBE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(said) == 1


def poisson_tail(mean: int, left: int) -> Fraction:
    """P(X >= left), the terms relative to the first, as far as they matter."""
    terms = [Fraction(mean**i, factorial(i)) for i in range(8 * mean + 30)]
    return sum(terms[left:], Fraction(0)) / sum(terms)
