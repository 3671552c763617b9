"""P5: which of its alternatives a job takes, and which it declines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core import Policy
from scheduler_core.ledger import Ledger
from scheduler_core.model import Choose, Gang, Prediction, Request
from scheduler_core.ordering import Waiting
from scheduler_core.policy import HOUR, MINUTE
from scheduler_core.reasons import BetterSoon, BudgetSpent, WouldDelay
from tests.support.engine import Case, a_gang, a_job, a_node, a_team, given, live

NOW = 10 * HOUR


def a_choice(choose: Choose, *, submitted: int = NOW, run: int = 10 * HOUR) -> object:
    """Two H100, or else four A100."""
    return a_gang(
        "choice",
        chips=2,
        type="H100",
        others=(Gang(Request(chips=4, chip_types=("A100",))),),
        choose=choose,
        runs=run,
        submitted=submitted,
    )


def two_types(job: object, *, busy_for: int) -> Case:
    return given(
        nodes=[a_node("fast", chips=2, type="H100", speed=2000), a_node("slow", chips=4)],
        running=[live(a_job("old", chips=2, runs=busy_for), ("fast", [0, 1]), started=NOW)],
        waiting=[job],  # type: ignore[list-item]
        now=NOW,
    )


def test_p5_ordered_takes_the_first_that_can_start_now() -> None:
    case = two_types(a_choice(Choose.ORDERED), busy_for=MINUTE)
    assert case.decision.starts("choice", on=["slow"])
    assert case.but(running=()).decision.starts("choice", on=["fast"])


def test_p5_earliest_finish_takes_the_faster_of_those_that_can_start() -> None:
    case = two_types(a_choice(Choose.EARLIEST_FINISH), busy_for=MINUTE)
    assert case.but(running=()).decision.starts("choice", on=["fast"])


def test_p5_one_that_could_start_now_is_declined_for_one_that_finishes_earlier_by_the_margin() -> None:
    """Now: 10 h. In an hour: 1 + 10 / 2 = 6 h, which is earlier by 10 / 6 > 1.2."""
    case = two_types(a_choice(Choose.EARLIEST_FINISH), busy_for=HOUR)
    assert case.decision.waits("choice", because=BetterSoon("A100", "H100", NOW + HOUR))
    assert case.decision.sentence_of("choice") == (
        "It could start on A100 now, but is expected to finish earlier on H100 from 11:00 UTC on."
    )
    barely = two_types(a_choice(Choose.EARLIEST_FINISH), busy_for=4 * HOUR)
    assert barely.decision.starts("choice", on=["slow"]), "10 / 9 < 1.2"


def test_p5_b2_one_that_would_delay_a_reservation_cannot_start_now() -> None:
    """Four A100 are free, and two of them are kept for the head: it has no other alternative to decline."""
    case = given(
        nodes=[a_node("fast", chips=2, type="H100", speed=2000), a_node("a", chips=2), a_node("b", chips=4)],
        running=[
            live(a_job("old", chips=2, runs=HOUR), ("fast", [0, 1]), started=NOW),
            live(a_job("x", chips=2, runs=HOUR), ("a", [0, 1]), started=NOW),
        ],
        waiting=[
            a_gang("head", replicas=3, chips=2, type="A100", spread=False, priority=60, submitted=NOW),
            a_choice(Choose.EARLIEST_FINISH),
        ],
        now=NOW,
    )
    assert case.decision.waits("choice", because=WouldDelay(1, "head", NOW + HOUR))
    short = tuple(
        replace(job, prediction=Prediction(MINUTE, MINUTE)) if job.name == "choice" else job
        for job in case.snapshot.jobs
    )
    assert case.but(jobs=short).decision.starts("choice", on=["b"]), "it will have ended by then"


def test_p5_it_declines_only_for_the_policys_patience() -> None:
    waited = a_choice(Choose.EARLIEST_FINISH, submitted=NOW - Policy().patience)
    assert two_types(waited, busy_for=HOUR).decision.starts("choice", on=["slow"])


def test_f2_a_waiting_job_asks_on_its_first_alternative_alone() -> None:
    case = two_types(a_choice(Choose.ORDERED), busy_for=HOUR)
    assert Waiting(case.snapshot.jobs).demand(Ledger(case.snapshot)) == {(1, "H100"): 2000}


@pytest.mark.parametrize("cpu", [1000, 100_000])
@pytest.mark.parametrize("with_chips_first", [True, False])
def test_f5_p5_a_spent_budget_bars_the_alternatives_with_chips_alone(
    cpu: int, with_chips_first: bool
) -> None:
    """So whoever has one without chips starts with it, or waits for room if there is none."""
    choices = [Gang(Request(chips=1, cpu=1000)), Gang(Request(cpu=cpu))]
    first, other = choices if with_chips_first else reversed(choices)
    either = a_job("either")
    case = given(
        nodes=[a_node("n", chips=1)],
        teams=[a_team("vision", budget_left=0)],
        waiting=[replace(either, job=replace(either.job, gang=first, others=(other,)))],
    )
    if cpu == 1000:
        assert case.decision.starts("either", on=["n"])
        assert case.decision.raw.units[0].start.placements[0].chips == ()
    else:
        assert case.decision.waits("either", because=BudgetSpent("vision"))
    assert not case.decision.raw.reservations
    assert not case.decision.raw.broken
