"""What Celery runs for scheduling: each cell's loop, on a worker of its own, and what is done beside it on others.

A task that is lost or doubled does no harm (law 3), and the next tick heals what was missed."""

from __future__ import annotations

import logging
from datetime import timedelta

import redis
from celery import shared_task
from kombu.exceptions import OperationalError

from flexai.cluster.models import Cell
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.common.events import cell_queue, cycle_channel
from flexai.jobs.deadlines import time_out_due
from flexai.jobs.dependencies import settle_all
from flexai.jobs.schedules import run_due
from flexai.jobs.services import release_due
from flexai.scheduling import (
    chip_health,
    demand,
    forecasts,
    loop,
    mixes,
    nightly,
    offers,
    past_use,
    records,
    speeds,
    stragglers,
)

log = logging.getLogger(__name__)

KEPT_REMOVALS = timedelta(days=1)
"""Far longer than an engine's state lives without being read anew."""


@shared_task(name="flexai.scheduling.schedule", ignore_result=True)  # type: ignore[untyped-decorator]
def schedule(cell_id: int) -> None:
    """The loop of this cell; it ends with the worker."""
    loop.schedule(cell_id)


@shared_task(name="flexai.scheduling.tick", ignore_result=True)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Schedules have made their jobs, jobs whose time has come, or whose dependencies have, wait, those past their
    deadline have ended, and every cell has its loop or is waiting for a worker, whatever messages were lost."""
    now = clock.now()
    run_due(now)
    release_due(now)
    time_out_due(now)
    settle_all()
    for cell_id in Cell.objects.values_list("pk", flat=True):
        _ask_for_loop(cell_id)


@shared_task(name="flexai.scheduling.roll_up", ignore_result=True)  # type: ignore[untyped-decorator]
def roll_up() -> None:
    """What ended attempts used is part of their teams' past use."""
    past_use.roll_up(clock.now())


@shared_task(name="flexai.scheduling.mixes", ignore_result=True)  # type: ignore[untyped-decorator]
def learn_mixes() -> None:
    """What each cell has been asked for lately is known to its scheduler, where that has moved."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        mixes.learn(cell_id, clock.now())


@shared_task(name="flexai.scheduling.demand", ignore_result=True)  # type: ignore[untyped-decorator]
def look_at_demand() -> None:
    """Idle work is on record, and what its own policy says was done."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        try:
            demand.look_at_demand(cell_id, clock.now())
        except redis.RedisError as error:
            log.warning("broker not reached, nothing is measured: %s", error)


@shared_task(name="flexai.scheduling.stragglers", ignore_result=True)  # type: ignore[untyped-decorator]
def look_at_stragglers() -> None:
    """Who is held back or falls behind is on record and was told, and what its own policy says was asked for."""
    for cell_id in Cell.objects.values_list("pk", flat=True):
        try:
            stragglers.look_at_stragglers(cell_id, clock.now())
        except redis.RedisError as error:
            log.warning("broker not reached, nobody is compared: %s", error)


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


def _ask_for_loop(cell_id: int) -> None:
    """Unless one listens, or is asked for already."""
    try:
        listening = valkey().pubsub_numsub(cycle_channel(cell_id))[0][1]
        if not listening and not valkey().llen(cell_queue(cell_id)):
            schedule.apply_async(args=[cell_id], queue=cell_queue(cell_id), retry=False)
    except (redis.RedisError, OperationalError, OSError) as error:
        log.warning("broker not reached, the next tick will heal it: %s", error)
