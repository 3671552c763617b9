"""T4: what a chip's hardware says of itself drains it, ranks it, and lets it return."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.health import (
    BURN_IN,
    FORGIVEN_AFTER,
    LONGEST_BURN_IN,
    RISE_AFTER,
    WELL,
    Fault,
    Health,
    Move,
    Signs,
    burn_in_of,
    judge,
)
from scheduler_core.policy import MINUTE

NOW = 1_000_000


def after(*looks: tuple[int, Signs]):
    """The last judgement, and every move on the way."""
    health, moves, last = Health(), [], None
    for at, signs in looks:
        last = judge(health, signs, NOW + at)
        health = last.health
        moves += [(at, last.move)] if last.move else []
    return last, moves


def test_t4_a_well_chip_stays_as_it_is():
    assert judge(Health(), Signs(), NOW).health == Health()


@pytest.mark.parametrize(
    ("signs", "fault"),
    [
        (Signs(uncorrected=1), Fault.UNCORRECTED),
        (Signs(xids=(13, 79)), Fault.XID),
        (Signs(remap_pending=True), Fault.NEEDS_RESET),
        (Signs(remap_failed=True), Fault.NO_SPARE_ROW),
    ],
)
def test_t4_what_destroys_work_drains_the_chip(signs, fault):
    judged = judge(Health(), signs, NOW)
    assert (judged.move, judged.faults, judged.health.score) == (Move.DRAIN, (fault,), 0)


def test_t4_a_programs_own_fault_is_not_the_chips():
    assert judge(Health(), Signs(xids=(13, 31, 43, 45, 94)), NOW).move is None


def test_t4_an_error_is_counted_once_and_the_chip_returns_by_itself():
    broken = Signs(uncorrected=3, xids=(48,))
    _, moves = after((0, broken), (MINUTE, broken), (BURN_IN, broken), (BURN_IN + MINUTE, broken))
    assert moves == [(0, Move.DRAIN), (BURN_IN + MINUTE, Move.RETURN)]


def test_t4_whatever_is_new_begins_the_burn_in_anew():
    looks = [(0, Signs(uncorrected=1)), (MINUTE, Signs(uncorrected=1)), (9 * MINUTE, Signs(uncorrected=2))]
    looks += [(10 * MINUTE, Signs(uncorrected=2)), (20 * MINUTE - 1, Signs(uncorrected=2))]
    judged, moves = after(*looks)
    assert moves == [(0, Move.DRAIN)]
    assert judge(judged.health, Signs(uncorrected=2), NOW + 20 * MINUTE).move is Move.RETURN


@pytest.mark.parametrize("signs", [Signs(remap_pending=True), Signs(remap_failed=True), Signs(answers=False)])
def test_t4_while_something_stands_against_it_a_drained_chip_stays_drained(signs):
    _, moves = after((0, Signs(xids=(79,))), *((hour * 60 * MINUTE, signs) for hour in range(1, 100)))
    assert moves == [(0, Move.DRAIN)]


def test_t4_a_counter_that_fell_was_reset():
    judged, _ = after(
        (0, Signs(uncorrected=5)), (MINUTE, Signs(uncorrected=0)), (2 * MINUTE, Signs(uncorrected=1))
    )
    assert judged.faults == (Fault.UNCORRECTED,)


def test_t4_each_drain_doubles_the_burn_in_up_to_a_day_and_a_quiet_week_forgives():
    assert [burn_in_of(drains) for drains in (1, 2, 3)] == [BURN_IN, 2 * BURN_IN, 4 * BURN_IN]
    assert burn_in_of(1000) == LONGEST_BURN_IN
    returned = Health(drains=2, faulted_at=NOW)
    assert judge(returned, Signs(), NOW + MINUTE).faults == (Fault.DRAINED_BEFORE,)
    assert judge(returned, Signs(), NOW + FORGIVEN_AFTER).health == Health()


@pytest.mark.parametrize(
    ("signs", "fault"),
    [
        (Signs(links_down=1), Fault.LINKS_DOWN),
        (Signs(remapped_rows=2), Fault.ROWS_REMAPPED),
        (Signs(slowed=500), Fault.SLOWED),
        (Signs(hot=600), Fault.HOT),
        (Signs(temperature=93), Fault.HOT),
        (Signs(clock=700), Fault.SLOWER_THAN_EQUALS),
    ],
)
def test_t4_what_slows_a_chip_lowers_its_score_and_no_more(signs, fault):
    judged = judge(Health(), signs, NOW)
    assert judged.move is None
    assert judged.faults == (fault,)
    assert 50 < judged.health.score < WELL


def test_t4_a_score_falls_at_once_and_rises_slowly():
    warm = judge(Health(), Signs(hot=1000), NOW).health
    assert warm.score == 80
    assert judge(warm, Signs(), NOW + RISE_AFTER - 1).health.score == 80
    assert judge(warm, Signs(), NOW + RISE_AFTER).health.score == WELL
    again = judge(warm, Signs(hot=1000), NOW + RISE_AFTER - 1).health
    assert judge(again, Signs(), NOW + RISE_AFTER).health.score == 80


SIGNS = st.builds(
    Signs,
    answers=st.booleans(), uncorrected=st.integers(0, 3),
    xids=st.lists(st.sampled_from([13, 79, 48]), max_size=3).map(tuple),
    remapped_rows=st.integers(0, 600), remap_pending=st.booleans(), remap_failed=st.booleans(),
    links_down=st.integers(0, 18), hot=st.integers(0, 1000), slowed=st.integers(0, 1000),
    temperature=st.integers(-40, 120), clock=st.none() | st.integers(0, 2000),
)  # fmt: skip


@given(st.lists(SIGNS, max_size=30), st.integers(1, 30 * MINUTE))
def test_t4_a_chip_is_drained_exactly_between_its_drain_and_its_return(looks, step):
    health, drained, now = Health(), False, NOW
    for signs in looks:
        judged = judge(health, signs, now)
        assert judged.move is not (Move.DRAIN if drained else Move.RETURN)
        drained = {Move.DRAIN: True, Move.RETURN: False, None: drained}[judged.move]
        health = judged.health
        assert drained == (health.drained_at is not None) == (health.score == 0)
        assert 0 <= health.score <= WELL
        assert judge(health, replace(signs, answers=True), now).move is not Move.DRAIN or not drained
        now += step
