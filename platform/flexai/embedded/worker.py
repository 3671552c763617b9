"""The Celery worker of the embedded platform, with beat as a thread of it.

`python -m flexai.embedded.worker QUEUE…`. A thread, because `-B` forks a second process of the same size that
would go on ticking after its worker was killed. The schedule is kept in memory: after a restart every tick is
due again, which is harmless (law 3).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import django
from celery.app.utils import find_app
from celery.beat import EmbeddedService, Scheduler
from celery.signals import worker_ready, worker_shutting_down


def main(queues: Sequence[str]) -> None:
    """Works on the queues until SIGTERM, one task at a time."""
    app = find_app("flexai.config.celery")
    django.setup()
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
        queues=list(queues),
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    ).start()


if __name__ == "__main__":
    main(sys.argv[1:])
