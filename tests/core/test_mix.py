"""What a cell has been asked for lately (P3): bounded, in one order, and told anew only where it has moved."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.mix import MOST_KINDS, as_rows, has_moved, mix_of
from scheduler_core.model import Request
from tests.core.cells import requests

CAME = st.lists(st.tuples(requests(), st.integers(1, 100)), max_size=40)


@given(came=CAME, seed=st.integers(0, 9))
def test_p3_the_mix_does_not_depend_on_the_order_in_which_requests_came(
    came: list[tuple[Request, int]], seed: int
) -> None:
    shuffled = list(came)
    Random(seed).shuffle(shuffled)
    mix = mix_of(came)
    assert as_rows(mix) == as_rows(mix_of(shuffled))
    assert [row.id for row in as_rows(mix)] == list(range(1, 1 + len(mix)))
    assert sum(mix.values()) == sum(replicas for _, replicas in came)
    assert not has_moved(mix, mix_of([*came, *came])), "twice as much of the same"


def test_p3_those_stay_for_which_most_chips_are_asked() -> None:
    rare = (Request(chips=8), 2)
    frequent = [(Request(milli=500 + at), 10) for at in range(MOST_KINDS + 5)]
    mix = mix_of([*frequent, rare])
    assert len(mix) == MOST_KINDS
    assert mix[rare[0]] == 2
    assert Request(milli=500) not in mix


def test_p3_a_tenth_in_chips_is_a_move() -> None:
    before = {Request(chips=1): 90}
    assert not has_moved(before, {Request(chips=1): 91, Request(chips=1, cpu=1): 9})
    assert has_moved(before, {Request(chips=1): 90, Request(chips=1, cpu=1): 10})
    assert has_moved(before, {Request(chips=1): 72, Request(chips=8): 1})
    assert has_moved({}, before)
