"""The process that schedules one cell: it sleeps until it hears that something was committed, and runs a cycle.

Hints come straight from the broker, without a queue (law 3): one that is lost costs a tick, and all that come during a
cycle are one reason for the next. Where the broker is away, it ticks on. A second process on the same cell does no harm
and no good: whoever comes first runs.
"""

from __future__ import annotations

import gc
import logging
import signal
import time

import redis
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from flexai.common import clock
from flexai.common.events import cycle_channel
from flexai.scheduling.cycle import run_cycle

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
"""So long without a word, then a cycle runs all the same: whatever was lost is made up for."""
VERDICT_SECONDS = 1.0
"""How long verdicts that were put off wait for their cycle."""
BROKER_SECONDS = 1.0
"""Between two tries to reach a broker that is away."""


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
        self._stops = self._waits = False

    def run(self) -> None:
        """Returns, or raises SystemExit, once `stop` was called; a cycle that runs then is finished first."""
        wait = 0.0
        while not self._stops:
            self._sleep(wait)
            if not self._stops:
                wait = self._cycle()

    def stop(self, *_: object) -> None:
        """No cycle begins any more. Call it from a signal's handler in the thread that runs."""
        self._stops = True
        if self._waits:
            raise SystemExit(0)

    def _cycle(self) -> float:
        """Seconds until the next one, unless a hint comes before."""
        report = run_cycle(self._cell)
        if report.error:
            connection.close()
        if report.again:
            return 0.0
        wait = VERDICT_SECONDS if report.verdicts_pending else TICK_SECONDS
        if report.wakes_at is not None:
            wait = min(wait, (report.wakes_at - clock.to_ms(clock.now())) / 1000)
        return max(wait, 0.001)

    def _sleep(self, seconds: float) -> None:
        """Until a hint comes or the time is over. All that was heard until then is one reason."""
        self._waits = True
        try:
            if not self._stops:
                self._hear(seconds)
        finally:
            self._waits = False

    def _hear(self, seconds: float) -> None:
        try:
            if self._hints is None:
                self._hints = self._broker.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._hints.subscribe(cycle_channel(self._cell))
            self._hints.get_message(timeout=seconds)
            while self._hints.get_message() is not None:
                pass
        except (redis.RedisError, OSError) as error:
            if self._hints is not None:
                log.warning("cell %s: broker not reached, cycles come by the tick: %s", self._cell, error)
                self._hints.close()
            self._hints = None
            time.sleep(min(seconds, BROKER_SECONDS))


def main(cell_id: int) -> None:
    """Schedules the cell until SIGTERM or SIGINT."""
    loop = Loop(cell_id)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, loop.stop)
    gc.collect()
    gc.freeze()
    loop.run()
