"""The Celery worker of the embedded platform, with beat as a thread of it: all that is done beside the cycles.

`python -m flexai.embedded.worker GATE`. It steps back where cores are scarce. Beat is a thread, because `-B` forks a
second process of the same size that would go on ticking after its worker was killed. The schedule is kept in memory:
after a restart every tick is due again, which is harmless (law 3).
"""

from __future__ import annotations

import gc
import os
import sys

import django
from celery.app.utils import find_app
from celery.beat import EmbeddedService, Scheduler
from celery.signals import worker_ready, worker_shutting_down

NICE = 5
"""A roll-up may take a second longer, a cycle or an answer may not."""


def main(gate: int) -> None:
    """Loads everything, waits until the gate's other end is closed (the schema is current), works until SIGTERM."""
    app = find_app("flexai.config.celery")
    django.setup()
    app.loader.import_default_modules()
    os.read(gate, 1)
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
    app.Worker(
        pool="solo",
        queues=[app.conf.task_default_queue],
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
