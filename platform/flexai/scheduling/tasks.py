"""Celery's way in. A task is a hint (law 3): losing or doubling one does no harm, and the tick heals what was
missed."""

from __future__ import annotations

import logging
from datetime import timedelta

import redis
from celery import current_app, shared_task
from kombu.exceptions import OperationalError

from flexai.cluster.models import Cell
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.events import CYCLE_TASK, request_cycle
from flexai.jobs.deadlines import time_out_due
from flexai.jobs.dependencies import settle_all
from flexai.jobs.schedules import run_due
from flexai.jobs.services import release_due
from flexai.scheduling import (
    chip_health,
    cycle,
    demand,
    forecasts,
    nightly,
    offers,
    past_use,
    records,
    speeds,
)

log = logging.getLogger(__name__)

TICK_MS = 6000
"""A tick and some more: what is due later than that, the cycle of a tick will ask for."""
VERDICT_SECONDS = 1
"""How long verdicts that were put off wait for their cycle."""
KEPT_REMOVALS = timedelta(days=1)
"""Far longer than an engine's state lives without being read anew."""
_BROKER_ERRORS = (redis.RedisError, OperationalError, OSError)


@shared_task(name=CYCLE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def run_cycle(cell_id: int) -> None:
    """Run the loop of one cell; ask for another run when there is more to do, or will be by time alone."""
    report = cycle.run_cycle(cell_id)
    try:
        if report.again:
            request_cycle(cell_id)
            return
        if report.wakes_at is not None:
            _request_at(cell_id, report.wakes_at)
        if report.verdicts_pending:
            _request_verdicts(cell_id)
    except _BROKER_ERRORS as error:
        log.warning("broker not reached, the tick will heal it: %s", error)


@shared_task(name="flexai.scheduling.tick", ignore_result=True)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Schedules have made their jobs, jobs whose time has come, or whose dependencies have, wait, those past their
    deadline have ended, and every cell runs a cycle, whatever messages were lost."""
    now = clock.now()
    run_due(now)
    release_due(now)
    time_out_due(now)
    settle_all()
    for cell_id in Cell.objects.values_list("pk", flat=True):
        request_cycle(cell_id)


@shared_task(name="flexai.scheduling.roll_up", ignore_result=True)  # type: ignore[untyped-decorator]
def roll_up() -> None:
    """What ended attempts used is part of their teams' past use."""
    past_use.roll_up(clock.now())


@shared_task(name="flexai.scheduling.demand", ignore_result=True)  # type: ignore[untyped-decorator]
def look_at_demand() -> None:
    """Idle work is on record, and what its own policy says was done."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        try:
            demand.look_at_demand(cell_id, clock.now())
        except redis.RedisError as error:
            log.warning("broker not reached, nothing is measured: %s", error)


@shared_task(name="flexai.scheduling.offers", ignore_result=True)  # type: ignore[untyped-decorator]
def look_at_offers() -> None:
    """What idle chips may be lent is on record, for every cell."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        offers.look_at_offers(cell_id, clock.now())


@shared_task(name="flexai.scheduling.speeds", ignore_result=True)  # type: ignore[untyped-decorator]
def learn_speeds() -> None:
    """What running work says of its speed and its checkpoints is known to the scheduler."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        speeds.learn(cell_id, clock.now())


@shared_task(name="flexai.scheduling.chip_health", ignore_result=True)  # type: ignore[untyped-decorator]
def look_at_health() -> None:
    """Chips have the score that their hardware gives them; bad ones are drained, those that recovered are back."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        try:
            chip_health.look_at_health(cell_id, clock.now())
        except redis.RedisError as error:
            log.warning("broker not reached, no chip is judged: %s", error)


@shared_task(name="flexai.scheduling.forecast", ignore_result=True)  # type: ignore[untyped-decorator]
def forecast() -> None:
    """When waiting jobs are expected to start is on record, for every cell."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        forecasts.forecast_starts(cell_id, clock.now())


@shared_task(name="flexai.scheduling.savings", ignore_result=True)  # type: ignore[untyped-decorator]
def play_yesterday() -> None:
    """What the scheduler saved yesterday is being worked out, in a process of its own."""
    nightly.start_due(clock.now())


@shared_task(name="flexai.scheduling.prune", ignore_result=True)  # type: ignore[untyped-decorator]
def prune() -> None:
    """Old cycles, removals and forecasts are gone."""
    forecasts.forget_old_forecasts(clock.now())
    records.forget_old_records(kept_removals_from=clock.now() - KEPT_REMOVALS)


def _request_at(cell_id: int, wakes_at: int) -> None:
    """A cycle at this instant (ms since the epoch), unless that is further off than a tick or one comes before."""
    now = clock.to_ms(clock.now())
    left = max(wakes_at - now, 1)
    if left > TICK_MS:
        return
    key = f"flexai:cycle_wakes_at:{cell_id}"
    asked_for = int(valkey().get(key) or 0)
    if not now < asked_for <= wakes_at:
        valkey().set(key, wakes_at, px=left)
        _request_in(cell_id, left / 1000)


def _request_verdicts(cell_id: int) -> None:
    """One cycle in `VERDICT_SECONDS`, however often it is asked for."""
    if valkey().set(f"flexai:verdicts_requested:{cell_id}", 1, nx=True, px=VERDICT_SECONDS * 1000):
        _request_in(cell_id, VERDICT_SECONDS)


def _request_in(cell_id: int, seconds: float) -> None:
    current_app.send_task(
        CYCLE_TASK,
        args=[cell_id],
        queue=f"cell.{cell_id}",
        countdown=seconds,
        ignore_result=True,
        retry=False,
    )
