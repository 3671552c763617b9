"""What is learned of run times (B3), and what is foretold from it (X2)."""

from __future__ import annotations

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from scheduler_core import Policy
from scheduler_core.forecast import Forecast, forecast
from scheduler_core.model import Prediction
from scheduler_core.policy import HOUR, MINUTE
from scheduler_core.predict import ENOUGH, REMEMBERED, EndedRun, Predictions, bucket
from tests.support.engine import a_gang, a_job, a_node, given, live

NOW = 10 * HOUR


def runs(*minutes: int, user: int = 1, name: str = "train-1", image: str = "torch") -> list[EndedRun]:
    return [EndedRun(user, 7, name, image, minute * MINUTE) for minute in minutes]


def test_b3_median_and_ninth_decile_of_the_same_kind_of_job() -> None:
    learned = Predictions(runs(*range(1, 11)))
    assert learned.of(1, 7, "train-99", "torch") == Prediction(bucket(5 * MINUTE), bucket(9 * MINUTE))


def test_b3_too_few_runs_say_nothing() -> None:
    assert Predictions().of(1, 7, "train", "torch") is None
    assert Predictions(runs(*[1] * (ENOUGH[0] - 1))).of(1, 7, "train", "torch") is None
    assert Predictions(runs(*[1] * ENOUGH[0])).of(1, 7, "train", "torch") is not None


def test_b3_the_first_key_with_enough_runs_answers_from_specific_to_general() -> None:
    ended = runs(*[60] * 20, user=2, name="other", image="torch")
    learned = Predictions(ended)
    assert learned.of(1, 7, "train", "torch") == Prediction(bucket(HOUR), bucket(HOUR)), "team and image"
    assert learned.of(2, 7, "new", "jax") == Prediction(bucket(HOUR), bucket(HOUR)), "user and team"
    assert learned.of(1, 7, "train", "jax") is None, "20 runs are too few for a whole team"
    assert learned.of(1, 8, "train", "torch") is None, "of another team nothing is known"
    for run in runs(*[1] * 10):
        learned.learn(run)
    assert learned.of(1, 7, "train", "torch") == Prediction(bucket(MINUTE), bucket(MINUTE))
    assert learned.of(3, 7, "any", "jax") == Prediction(bucket(HOUR), bucket(HOUR)), "the whole team"


def test_b3_only_the_latest_runs_count() -> None:
    learned = Predictions(runs(*[600] * REMEMBERED, *[1] * REMEMBERED))
    assert learned.of(1, 7, "train", "torch") == Prediction(bucket(MINUTE), bucket(MINUTE))


@settings(max_examples=200, derandomize=True)
@for_all(st.integers(0, 2**45))
def test_p6_buckets_are_few_and_never_below(run_time: int) -> None:
    rounded = bucket(run_time)
    assert run_time <= rounded <= max(run_time * 9 // 8, 1024)
    assert bucket(rounded) == rounded
    assert bucket(run_time) <= bucket(run_time + 1)


@settings(max_examples=100, derandomize=True)
@for_all(st.lists(st.integers(0, 10**9), min_size=5, max_size=40))
def test_b3_half_of_all_runs_end_by_the_median_and_nine_tenths_by_the_ninth_decile(times: list[int]) -> None:
    learned = Predictions(EndedRun(1, 1, "n", "i", time) for time in times).of(1, 1, "n", "i")
    assert learned is not None
    assert learned.p50 <= learned.p90
    assert 2 * sum(time <= learned.p50 for time in times) >= len(times)
    assert 10 * sum(time <= learned.p90 for time in times) >= 9 * len(times)


def test_x2_each_waiting_job_is_expected_when_those_before_it_have_ended() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[
            live(a_job("x", runs=(HOUR, 2 * HOUR)), ("n", [0]), started=NOW),
            live(a_job("y", runs=(3 * HOUR, 3 * HOUR)), ("n", [1]), started=NOW),
        ],
        waiting=[
            a_job("first", runs=(HOUR, 4 * HOUR), submitted=1),
            a_job("second", runs=HOUR, submitted=2),
            a_gang("wide", chips=2, runs=HOUR, submitted=3),
            a_job("never", chips=3, submitted=4),
        ],
        now=NOW,
    )
    assert forecast(case.snapshot, case.policy) == (
        Forecast(1, NOW + HOUR, NOW + 2 * HOUR),
        Forecast(2, NOW + 2 * HOUR, NOW + 3 * HOUR),
        Forecast(3, NOW + 3 * HOUR, NOW + 6 * HOUR),
    )


@pytest.mark.parametrize("most", [0, 1])
def test_x2_what_starts_now_is_expected_now_and_the_rest_only_as_far_as_asked(most: int) -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        waiting=[a_job(f"j{n}", runs=HOUR, submitted=n) for n in range(3)],
        now=NOW,
    )
    told = forecast(case.snapshot, Policy(), most=most)
    assert told == (Forecast(1, NOW, NOW), Forecast(2, NOW + HOUR, NOW + HOUR))[: most + 1]
