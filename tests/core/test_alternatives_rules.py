"""P5: which of its alternatives a job takes, and which it declines."""

from __future__ import annotations

from dataclasses import replace

from scheduler_core import Policy
from scheduler_core.ledger import Ledger
from scheduler_core.model import Choose, Gang, Prediction, Request
from scheduler_core.ordering import Waiting
from scheduler_core.policy import HOUR, MINUTE
from scheduler_core.reasons import BetterSoon, WouldDelay
from tests.support.engine import Case, a_gang, a_job, a_node, given, live

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
