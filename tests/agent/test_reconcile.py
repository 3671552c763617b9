"""`plan` on its own: what is done for every combination of wanted and found."""

from __future__ import annotations

import pytest

from node_agent.reconcile import Forget, Found, NeverStart, Phase, Start, Stop, plan
from tests.agent.support.agents import a_replica


def found(attempt: str, phase: Phase, generation: int = 1, replica: int = 0) -> Found:
    return Found((attempt, replica, generation), phase)


def test_a_wanted_replica_that_is_not_here_is_started() -> None:
    wanted = a_replica("a")
    assert plan([wanted], []) == [Start(wanted)]


@pytest.mark.parametrize("phase", list(Phase))
def test_a_wanted_replica_is_never_started_twice(phase: Phase) -> None:
    assert plan([a_replica("a")], [found("a", phase)]) == []


def test_a_live_replica_that_is_to_stop_is_stopped_with_its_outcome_and_grace() -> None:
    wanted = a_replica("a", desired="stop", stop_outcome="preempted", grace_ms=700)
    assert plan([wanted], [found("a", Phase.LIVE)]) == [Stop(("a", 0, 1), "preempted", 700)]


def test_a_stop_is_asked_for_once() -> None:
    assert plan([a_replica("a", desired="stop")], [found("a", Phase.STOPPING)]) == []


def test_a_stop_of_what_never_started_is_reported_and_not_started() -> None:
    wanted = a_replica("a", desired="stop")
    assert plan([wanted], []) == [NeverStart(wanted)]
    assert plan([wanted], [found("a", Phase.ENDED)]) == []


def test_a_live_replica_that_nobody_wants_is_fenced_off() -> None:
    assert plan([], [found("a", Phase.LIVE)]) == [Stop(("a", 0, 1), "cancelled", None)]
    assert plan([], [found("a", Phase.STOPPING)]) == []


def test_an_ended_replica_is_kept_until_it_is_acknowledged_and_no_longer_wanted() -> None:
    assert plan([], [found("a", Phase.ENDED)]) == []
    assert plan([a_replica("a")], [found("a", Phase.ACKNOWLEDGED)]) == []
    assert plan([], [found("a", Phase.ACKNOWLEDGED)]) == [Forget(("a", 0, 1))]


def test_a_new_generation_waits_for_the_end_of_the_one_before() -> None:
    newer = a_replica("a", generation=2)
    assert plan([newer], [found("a", Phase.LIVE)]) == [Stop(("a", 0, 1), "cancelled", None)]
    assert plan([newer], [found("a", Phase.STOPPING)]) == []
    assert plan([newer], [found("a", Phase.ENDED)]) == [Start(newer)]


def test_an_older_generation_never_comes_back() -> None:
    assert plan([a_replica("a", generation=1)], [found("a", Phase.ENDED, generation=2)]) == []


def test_replicas_of_one_attempt_are_told_apart() -> None:
    second = a_replica("a", replica=1)
    assert plan([a_replica("a"), second], [found("a", Phase.LIVE)]) == [Start(second)]


def test_stops_come_before_starts() -> None:
    wanted = a_replica("b")
    actions = plan([wanted], [found("a", Phase.LIVE)])
    assert [type(action) for action in actions] == [Stop, Start]


def test_the_same_state_asks_for_nothing_more() -> None:
    wanted = [a_replica("a"), a_replica("b", desired="stop")]
    assert plan(wanted, [found("a", Phase.LIVE), found("b", Phase.ENDED)]) == []
