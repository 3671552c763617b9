"""T6: who holds its equals back is found by comparison, told first, and moved only by its own policy, seldom."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from scheduler_core.stragglers import (
    COOLDOWN,
    MIN_EQUALS,
    Action,
    Lag,
    Member,
    Step,
    StragglerPolicy,
    Watched,
    behind,
    behind_ended,
    moves_at,
    slow_since,
    step_of,
)

MINUTE = 60_000
MOVES = StragglerPolicy(Action.MOVE, below=800, window=10 * MINUTE, moves=2)
SLOW = Watched(1, slow_since=0, movable=True)


def members(*speeds: int, kind: str = "H100") -> list[Member]:
    return [Member(number, kind, speed) for number, speed in enumerate(speeds)]


def test_t6_the_slow_one_of_a_gang_is_named_with_its_equals_median() -> None:
    assert behind(members(950, 600, 1000, 970), 800) == (Lag(1, 600, 970, 3),)
    assert behind(members(950, 600, 1000, 970), 800)[0].pace == 618


def test_t6_all_that_are_slow_are_named_slowest_first() -> None:
    found = behind(members(1000, 700, 1000, 500, 1000, 1000, 700), 800)
    assert [lag.id for lag in found] == [3, 1, 6]


def test_t6_of_too_few_nobody_is_slow() -> None:
    assert behind(members(100, 1000, 1000), 800) == ()
    assert len(members(100, 1000, 1000)) == MIN_EQUALS


def test_t6_chips_of_another_type_are_no_equals() -> None:
    mixed = [
        *members(500, 500, 500, kind="L4"),
        *(replace(one, id=one.id + 9) for one in members(1000, 1000)),
    ]
    assert behind(mixed, 800) == ()


speeds = some.lists(some.integers(0, 2000), min_size=1, max_size=40)
belows = some.integers(100, 1000)


@given(speeds, belows)
def test_t6_never_more_than_half_are_slow_and_never_the_fastest(found: list[int], below: int) -> None:
    slow = behind(members(*found), below)
    assert len(slow) * 2 <= len(found)
    assert all(lag.speed < max(found) for lag in slow)


@given(speeds, belows, some.randoms(use_true_random=False), some.integers(1, 1000))
def test_t6_neither_their_order_nor_their_unit_matters(
    found: list[int], below: int, random: Random, unit: int
) -> None:
    before = behind(members(*found), below)
    mixed = members(*found)
    random.shuffle(mixed)
    assert behind(mixed, below) == before
    scaled = behind([replace(one, speed=one.speed * unit) for one in mixed], below)
    assert [lag.id for lag in scaled] == [lag.id for lag in before]


@given(speeds, belows, some.integers(0, 2000))
def test_t6_who_is_slow_stays_so_when_it_gets_slower(found: list[int], below: int, by: int) -> None:
    slow = behind(members(*found), below)
    if slow:
        worse = [*found]
        worse[slow[0].id] = max(0, worse[slow[0].id] - by)
        assert slow[0].id == behind(members(*worse), below)[0].id


@given(speeds, belows, belows)
def test_t6_a_stricter_policy_names_no_fewer(found: list[int], one: int, other: int) -> None:
    strict, lax = (
        {lag.id for lag in behind(members(*found), below)} for below in (max(one, other), min(one, other))
    )
    assert lax <= strict


@pytest.mark.parametrize(("elapsed", "is_slow"), [(250_000, False), (250_001, True)])
def test_t6_a_task_is_slow_beyond_two_and_a_half_times_the_median(elapsed: int, *, is_slow: bool) -> None:
    assert (behind_ended(1, elapsed, 3, 100_000, 800) is not None) is is_slow
    assert behind_ended(1, elapsed, 2, 100_000, 800) is None


def test_t6_without_a_policy_of_its_own_it_is_told_after_a_window_and_not_moved() -> None:
    policy = StragglerPolicy()
    assert step_of(SLOW, policy, policy.window - 1) is None
    assert step_of(SLOW, policy, policy.window) == Step(1, Action.NOTIFY, policy.window)
    told = replace(SLOW, told=policy.window)
    assert all(step_of(told, policy, hours * 60 * MINUTE) is None for hours in range(1, 1000))


def test_t6_a_move_has_notice_half_a_window_before() -> None:
    assert step_of(SLOW, MOVES, 5 * MINUTE - 1) is None
    assert step_of(SLOW, MOVES, 5 * MINUTE) == Step(1, Action.NOTIFY, 5 * MINUTE, 10 * MINUTE)
    told = replace(SLOW, told=5 * MINUTE)
    assert step_of(told, MOVES, 10 * MINUTE - 1) is None
    assert step_of(told, MOVES, 10 * MINUTE) == Step(1, Action.MOVE, 10 * MINUTE)
    assert step_of(told, MOVES, 20 * MINUTE) == Step(1, Action.MOVE, 20 * MINUTE), "until there is a place"


@pytest.mark.parametrize(
    "change",
    [{"movable": False}, {"moves": 2}, {"moved": 5 * MINUTE}, {"kept_until": 20 * MINUTE}],
)
def test_t6_what_keeps_a_job_from_being_moved(change: dict[str, int]) -> None:
    told = replace(SLOW, told=5 * MINUTE, **change)  # type: ignore[arg-type]
    assert step_of(told, MOVES, 15 * MINUTE) is None


def test_t6_who_flaps_is_told_once_in_an_hour() -> None:
    again = replace(SLOW, slow_since=20 * MINUTE, told=5 * MINUTE)
    assert step_of(again, MOVES, 40 * MINUTE) is None
    assert step_of(again, MOVES, 5 * MINUTE + COOLDOWN) is not None


@given(
    looks=some.lists(some.booleans(), min_size=1, max_size=600),
    window=some.integers(60_000, 600_000),
    moves=some.integers(0, 3),
)
def test_t6_whatever_is_seen_moves_are_rare_and_announced(looks: list[bool], window: int, moves: int) -> None:
    """Looks ten seconds apart, a place always free: every move of a job as the platform would carry it out."""
    policy = StragglerPolicy(Action.MOVE, 800, window, moves)
    watched = Watched(1, None, movable=True)
    notices: list[int] = []
    moved: list[int] = []
    for place, slow in enumerate(looks):
        now = 10_000 * (place + 1)
        since = slow_since(watched.slow_since, slow=slow, since=now - 10_000)
        watched = replace(watched, slow_since=since)
        step = step_of(watched, policy, now)
        if step is None:
            continue
        assert all(looks[place + 1 - step.slow_for // 10_000 : place + 1])
        if step.action is Action.NOTIFY:
            assert not notices or now - notices[-1] >= COOLDOWN
            assert step.acts_at == moves_at(watched, policy, told=now)
            notices.append(now)
            watched = replace(watched, told=now)
            continue
        assert step.slow_for >= window
        assert now - notices.pop() >= window // 2
        assert not moved or now - moved[-1] >= COOLDOWN
        moved.append(now)
        watched, notices = Watched(1, None, movable=True, moves=len(moved), moved=now), []
    assert len(moved) <= moves
