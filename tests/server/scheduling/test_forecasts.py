"""B3: what was learned of ended runs reaches the engine. X2: forecasts of starts are kept, shown and scored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt, Job
from flexai.scheduling import engine_state, predictions
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.forecasts import KEPT, Score, forecast_of, forecast_starts, forget_old_forecasts, score
from flexai.scheduling.models import Forecast
from flexai.scheduling.queries import explain_job
from flexai.scheduling.snapshot import take_snapshot
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _nothing_learned() -> Iterator[None]:
    predictions.forget()
    yield
    predictions.forget()


def an_ended_run(world: World, name: str, ran: timedelta, *, outcome: str = "succeeded") -> None:
    job = world.a_job(name, state="succeeded")
    began = clock.now() - timedelta(days=1)
    Attempt.objects.create(
        organization=world.organization, cell=world.cell, job=job, number=1, state="ended", outcome=outcome,
        placed_at=began, running_at=began, ended_at=began + ran,
    )  # fmt: skip


def a_running_job(world: World, name: str, since: datetime, *, chips: int) -> Job:
    """Placed by the engine, running since then."""
    job = world.a_job(name, chips=chips)
    engine_state.forget(world.cell.pk)
    assert run_cycle(world.cell.pk).started == 1
    Attempt.objects.filter(job=job).update(state="running", placed_at=since, running_at=since)
    return job


def test_b3_a_job_is_expected_to_run_as_long_as_its_namesakes() -> None:
    world = World()
    for minutes in (10, 10, 20, 20, 60):
        an_ended_run(world, f"train-{minutes}", minutes * MINUTE)
    world.a_job("train-99")
    world.a_job("other")
    known, unknown = take_snapshot(world.cell.pk, clock.now()).jobs
    assert known.prediction is not None
    assert 20 * 60_000 <= known.prediction.p50 <= 20 * 60_000 * 9 / 8
    assert 60 * 60_000 <= known.prediction.p90 <= 60 * 60_000 * 9 / 8
    assert unknown.prediction is None


def test_b3_runs_that_were_taken_back_or_failed_teach_nothing() -> None:
    world = World()
    for outcome in ("preempted", "exit", "cancelled", "timed_out", "node_lost"):
        an_ended_run(world, "train", MINUTE, outcome=outcome)
    world.a_job("train")
    [job] = take_snapshot(world.cell.pk, clock.now()).jobs
    assert job.prediction is None


def test_x2_who_waits_for_running_work_is_expected_when_that_is_expected_to_end() -> None:
    world = World()
    world.a_node(chips=1)
    for _ in range(5):
        an_ended_run(world, "train", 60 * MINUTE)
    now = clock.now()
    a_running_job(world, "train", now - 20 * MINUTE, chips=1)
    waiting = world.a_job("next", chips=1)
    assert forecast_starts(world.cell.pk, now) == 0, "nobody has waited long enough"
    Job.objects.filter(pk=waiting.pk).update(submitted_at=now - MINUTE)

    assert forecast_starts(world.cell.pk, now) == 1
    told = forecast_of(waiting, now)
    assert told is not None
    assert timedelta(minutes=40) <= told.p50_at - now <= timedelta(minutes=48)
    assert told.p50_at <= told.p90_at
    answer = explain_job(Job.objects.get(pk=waiting.pk))
    assert answer["forecast"] == told
    assert forecast_of(waiting, now + timedelta(hours=1)) is None, "it was not renewed"


def test_x2_the_first_forecast_is_scored_by_what_happened() -> None:
    world = World()
    now = clock.now()
    for name, began in (("early", 5), ("in time", 15), ("late", 25)):
        job = world.a_job(name, state="active")
        Forecast.objects.create(
            job=job, cell=world.cell, made_at=now, p50_at=now, p90_at=now, first_made_at=now - 30 * MINUTE,
            first_p50_at=now - 20 * MINUTE, first_p90_at=now - 10 * MINUTE,
        )  # fmt: skip
        Attempt.objects.create(
            organization=world.organization, cell=world.cell, job=job, number=1, state="running",
            placed_at=now - 30 * MINUTE + began * MINUTE,
        )  # fmt: skip
    Forecast.objects.create(
        job=world.a_job("waits still"), cell=world.cell, made_at=now, p50_at=now, p90_at=now, first_made_at=now,
        first_p50_at=now, first_p90_at=now,
    )  # fmt: skip
    assert score(world.cell.pk, now) == Score(scored=3, within_p50=1, within_p90=2)


def test_x2_old_forecasts_are_forgotten_but_not_of_who_still_waits() -> None:
    world = World()
    now = clock.now()
    for state in ("queued", "succeeded"):
        Forecast.objects.create(
            job=world.a_job(state, state=state), cell=world.cell, made_at=now, p50_at=now, p90_at=now,
            first_made_at=now - 2 * KEPT, first_p50_at=now, first_p90_at=now,
        )  # fmt: skip
    forget_old_forecasts(now)
    assert list(Forecast.objects.values_list("job__name", flat=True)) == ["queued"]


def test_x2_a_deadline_that_will_be_missed_is_said_while_the_job_waits_and_while_it_runs() -> None:
    world = World()
    world.a_node(chips=1)
    for _ in range(5):
        an_ended_run(world, "train", 60 * MINUTE)
    now = clock.now()
    runs = a_running_job(world, "train", now - 20 * MINUTE, chips=1)
    waiting = world.a_job("train", chips=1)
    Job.objects.filter(pk=waiting.pk).update(submitted_at=now - MINUTE)
    assert forecast_starts(world.cell.pk, now) == 1
    for job, minutes, says in (
        (waiting, 90, "It is expected to miss its deadline"),
        (waiting, 180, None),
        (runs, 30, "It is expected to miss its deadline"),
        (runs, 90, None),
    ):
        Job.objects.filter(pk=job.pk).update(deadline=now + minutes * MINUTE)
        told = explain_job(Job.objects.get(pk=job.pk))["reasons"]
        late = [reason["sentence"] for reason in told if reason["code"] == "deadline_at_risk"]
        assert [sentence[: len(says or "")] for sentence in late] == ([says] if says else [])
