"""A Celery worker of the embedded platform, which takes one queue. It is forked (`forkserver.py`).

That of a cell's queue runs its loop and nothing else. That of the platform's takes all other tasks, steps back where
cores are scarce, and has beat as a thread, because `-B` forks a second process of the same size that would go on
ticking after its worker was killed. The schedule is kept in memory: after a restart every tick is due again, which is
harmless (law 3).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

from celery import Celery
from celery.app.utils import find_app
from celery.beat import EmbeddedService, Scheduler
from celery.signals import worker_ready, worker_shutting_down

NICE = 5
"""A roll-up may take a second longer, a cycle or an answer may not."""


def main(arguments: Sequence[str]) -> None:
    """Works until SIGTERM. The argument is the queue."""
    (queue,) = arguments
    app = find_app("flexai.config.celery")
    if queue == app.conf.task_default_queue:
        _give_way_and_tick(app)
    app.Worker(
        pool="solo",
        queues=[queue],
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()


def _give_way_and_tick(app: Celery) -> None:
    os.nice(NICE)
    beat = EmbeddedService(app, thread=True, scheduler_cls=Scheduler)

    def begin(**_: object) -> None:
        gc.collect()
        gc.freeze()
        beat.start()

    def end(**_: object) -> None:
        beat.service.stop()

    worker_ready.connect(begin, weak=False)
    worker_shutting_down.connect(end, weak=False)
