"""The loop that schedules one cell: it sleeps until it hears that something was committed, and runs a cycle.

It is one task of a Celery worker, which takes no other (queue `cell.N`), and ends with that worker. Hints come
straight from the broker, past every queue (law 3): one that is lost costs a tick, and all that come during a cycle are
one reason for the next. Where the broker is away, it ticks on. A second loop on the same cell does no harm and no good:
whoever comes first runs.
"""

from __future__ import annotations

import gc
import logging
import time

import redis
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from flexai.common import clock
from flexai.common.events import cycle_channel
from flexai.scheduling.alone import give_back
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.engine_state import settle

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
"""So long without a word, then a cycle runs all the same: whatever was lost is made up for."""
VERDICT_SECONDS = 1.0
"""How long verdicts that were put off wait for their cycle."""
BROKER_SECONDS = 1.0
"""Between two tries to reach a broker that is away."""
QUIET_SECONDS = 0.5
"""Without a word for so long, what takes time and nobody waits for is done."""
STOP_SECONDS = 0.2
"""A loop that waits looks so often whether it is to end: a signal does not end the wait for a message. One that has
waited so long in vain lets others run the cell."""


class Loop:
    """Cycles of one cell, one after another, until told to stop."""

    def __init__(self, cell_id: int) -> None:
        self._cell = cell_id
        self._broker = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=2,
            socket_connect_timeout=1,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 0),
        )
        self._hints: PubSub | None = None
        self._away_until = 0.0
        self._stops = False

    def run(self) -> None:
        """Returns once `stop` was called; a cycle that runs then is finished first."""
        wait = 0.0
        while not self._stops:
            self._sleep(wait)
            if not self._stops:
                wait = self._cycle()

    def stop(self, **_: object) -> None:
        """No cycle begins any more. Call it from a signal's handler in the thread that runs."""
        self._stops = True

    def _cycle(self) -> float:
        """Seconds until the next one, unless a hint comes before."""
        report = run_cycle(self._cell, keeps_lock=True)
        if report.error:
            connection.close()
        if report.again:
            return 0.0
        wait = VERDICT_SECONDS if report.verdicts_pending else TICK_SECONDS
        if report.wakes_at is not None:
            wait = min(wait, (report.wakes_at - clock.to_ms(clock.now())) / 1000)
        return max(wait, 0.001)

    def _sleep(self, seconds: float) -> None:
        """Until a hint comes, the time is over or the loop is to end. All that was heard until then is one reason."""
        began = time.monotonic()
        ends, heard = began + seconds, False
        while not (heard or self._stops):
            left = max(ends - time.monotonic(), 0)
            heard = self._hear(min(left, STOP_SECONDS)) or left <= STOP_SECONDS
            if not heard:
                give_back(self._cell)
                if time.monotonic() - began > QUIET_SECONDS:
                    settle(self._cell)

    def _hear(self, seconds: float) -> bool:
        """Whether a hint came, or may have come before anybody listened."""
        if time.monotonic() < self._away_until:
            time.sleep(seconds)
            return False
        try:
            if self._hints is None:
                hints = self._broker.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                hints.subscribe(cycle_channel(self._cell))
                self._hints = hints
                return True
            heard = self._hints.get_message(timeout=seconds) is not None
            while self._hints.get_message() is not None:
                heard = True
        except (redis.RedisError, OSError) as error:
            log.warning("cell %s: broker not reached, cycles come by the tick: %s", self._cell, error)
            self._hints = None
            self._broker.close()
            self._away_until = time.monotonic() + BROKER_SECONDS
            return False
        return heard

    def close(self) -> None:
        """Nothing is listened to any more, and others may run the cell."""
        give_back(self._cell)
        self._broker.close()


def schedule(cell_id: int) -> None:
    """Runs the cell's loop until the worker is to shut down."""
    loop = Loop(cell_id)
    worker_shutting_down.connect(loop.stop, weak=False)
    try:
        gc.collect()
        gc.freeze()
        loop.run()
    finally:
        worker_shutting_down.disconnect(loop.stop)
        loop.close()
