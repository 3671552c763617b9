"""T1, T2: the idle ladder never acts without notice, without having been asked, or twice in a row."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from scheduler_core.demand import Demand, IdlePolicy, Rung, acts_at, below_since, steps

MINUTE = 60_000
SUSPENDS = IdlePolicy(below=50, window=10 * MINUTE, action=Rung.SUSPEND)


def step_of(demand: Demand, policy: IdlePolicy, now: int) -> Rung | None:
    found = steps([(demand, policy)], now)
    return found[0].rung if found else None


def test_t2_notice_comes_at_half_the_window_and_says_when_the_action_follows() -> None:
    idle = Demand(1, use=3, below_since=0)
    assert step_of(idle, SUSPENDS, 5 * MINUTE - 1) is None
    [notice] = steps([(idle, SUSPENDS)], 5 * MINUTE)
    assert (notice.rung, notice.use, notice.idle_for) == (Rung.NOTIFY, 3, 5 * MINUTE)
    assert notice.acts_at == 10 * MINUTE


def test_t2_the_action_comes_at_the_end_of_the_window() -> None:
    told = Demand(1, use=3, below_since=0, notified=5 * MINUTE)
    assert step_of(told, SUSPENDS, 10 * MINUTE - 1) is None
    assert step_of(told, SUSPENDS, 10 * MINUTE) is Rung.SUSPEND
    assert step_of(told, replace(SUSPENDS, action=Rung.STOP), 10 * MINUTE) is Rung.STOP


def test_t2_a_late_notice_puts_the_action_off() -> None:
    """The server was away: nobody could have answered."""
    late = Demand(1, use=0, below_since=0, notified=60 * MINUTE)
    assert step_of(late, SUSPENDS, 65 * MINUTE - 1) is None
    assert step_of(late, SUSPENDS, 65 * MINUTE) is Rung.SUSPEND


def test_f4_without_a_policy_of_its_own_a_job_is_only_told_once() -> None:
    idle = Demand(1, use=0, below_since=0)
    assert step_of(idle, IdlePolicy(), 60 * MINUTE) is Rung.NOTIFY
    told = replace(idle, notified=60 * MINUTE)
    assert all(step_of(told, IdlePolicy(), hours * 60 * MINUTE) is None for hours in range(1, 1000))


def test_t2_keep_puts_everything_off() -> None:
    kept = Demand(1, use=0, below_since=0, notified=5 * MINUTE, kept_until=100 * MINUTE)
    assert step_of(kept, SUSPENDS, 99 * MINUTE) is None


def test_t2_each_suspension_doubles_the_pause_up_to_a_day() -> None:
    told = Demand(1, use=0, below_since=0, notified=5 * MINUTE)
    pauses = [
        steps([(replace(told, suspensions=n), SUSPENDS)], 10 * MINUTE)[0].pause for n in (0, 1, 2, 6, 7, 99)
    ]
    assert pauses == [pause * MINUTE for pause in (10, 20, 40, 640, 640, 640)]
    long = replace(SUSPENDS, window=60 * 60 * MINUTE)
    assert steps([(told, long)], 100 * 60 * MINUTE)[0].pause == 24 * 60 * MINUTE


def test_t1_idleness_begins_with_the_first_low_measurement_and_ends_with_the_first_high_one() -> None:
    since = below_since(None, 10, SUSPENDS, 100)
    assert since == 100
    assert below_since(since, 49, SUSPENDS, 110) == 100
    assert below_since(since, 50, SUSPENDS, 110) is None


@given(
    uses=some.lists(some.integers(0, 100), min_size=1, max_size=200),
    window=some.integers(20_000, 600_000),
    action=some.sampled_from(Rung),
)
def test_t2_whatever_is_measured_no_action_without_notice_half_a_window_before(
    uses: list[int], window: int, action: Rung
) -> None:
    """Measurements ten seconds apart, applied as the platform applies them."""
    policy = IdlePolicy(50, window, action)
    demand = Demand(1, 0, None)
    notices: list[int] = []
    for place, use in enumerate(uses):
        now = 10_000 * (place + 1)
        since = below_since(demand.below_since, use, policy, now - 10_000)
        demand = Demand(1, use, since, demand.notified if since is not None else None)
        for step in steps([(demand, policy)], now):
            if step.rung is Rung.NOTIFY:
                assert demand.notified is None
                demand = replace(demand, notified=now)
                notices.append(now)
                assert step.acts_at == acts_at(demand, policy)
                continue
            assert action is not Rung.NOTIFY
            assert notices
            assert now - notices[-1] >= window // 2
            assert all(used < 50 for used in uses[place + 1 - step.idle_for // 10_000 : place + 1])
            assert step.idle_for >= window
            return
