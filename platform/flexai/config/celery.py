"""Celery: JSON only, no results kept. A task is a hint (law 3): losing one costs a tick, never a job.

Cycles are no tasks: each cell's loop is one (`scheduling.loop`), on a worker of its own.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")

PLATFORM_QUEUE = "platform"
RECONNECT_SECONDS = 1.0
"""The longest pause between two tries to reach a broker that is away. Kombu's own grows to 30 s, and for so long after
the broker's return nothing would tick."""


class HintChannel(redis.Channel):
    """Takes messages off the broker and acknowledges none: they are hints (law 3), lost with the worker that took them.

    An acknowledgement that meets a dying broker is never made up for: the message counts as being worked on for good,
    and with one message at a time the worker would wait for its end, on no connection, and take no other.
    """

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """As kombu's, without acknowledgements."""
        return super().basic_consume(queue, True, *args, **kwargs)  # type: ignore[no-untyped-call]

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Nothing is owed."""

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Nothing is owed."""


class HintTransport(redis.Transport):
    """Redis, with messages as hints."""

    Channel = HintChannel


class PromptConnection(Connection):
    """Is back within `RECONNECT_SECONDS` of its broker."""

    def get_transport_cls(self) -> type[HintTransport]:
        """Whatever the address says: Valkey or Redis is the only broker (see `architecture.md`)."""
        return HintTransport

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, **options: Any) -> Any:
        """As kombu's, with short pauses."""
        pauses = {"interval_start": 0.1, "interval_step": 0.1, "interval_max": RECONNECT_SECONDS}
        return super().ensure_connection(errback, max_retries, **(options | pauses))  # type: ignore[no-untyped-call]


class PromptAMQP(AMQP):  # type: ignore[misc]
    """Celery's messages over prompt connections."""

    Connection = BrokerConnection = PromptConnection


def _broker_url() -> str:
    """`REDIS_URL` in Celery's words: a unix socket is `redis+socket://` there."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    return url.replace("unix://", "redis+socket://", 1) if url.startswith("unix://") else url


app = Celery("flexai", amqp=PromptAMQP)
app.conf.update(
    broker_url=_broker_url(),
    broker_transport_options={"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 2},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry_policy={
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.1,
    },
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=PLATFORM_QUEUE,
    task_create_missing_queues=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_schedule={
        name: {"task": name, "schedule": seconds, "options": {"expires": seconds}}
        for name, seconds in {
            "flexai.scheduling.tick": 5.0,
            "flexai.notifications.deliver": 2.0,
            "flexai.cluster.expire_leases": 5.0,
            "flexai.jobs.prune": 3600.0,
            "flexai.jobs.sweep_outputs": 600.0,
            "flexai.jobs.settle_usage": 30.0,
            "flexai.jobs.end_quotas": 60.0,
            "flexai.jobs.roll_up_telemetry": 600.0,
            "flexai.jobs.right_size": 20.0,
            "flexai.scheduling.prune": 3600.0,
            "flexai.scheduling.savings": 900.0,
            "flexai.scheduling.roll_up": 300.0,
            "flexai.scheduling.mixes": 300.0,
            "flexai.scheduling.forecast": 30.0,
            "flexai.scheduling.demand": 10.0,
            "flexai.scheduling.stragglers": 10.0,
            "flexai.scheduling.chip_health": 10.0,
            "flexai.scheduling.offers": 2.0,
            "flexai.scheduling.speeds": 10.0,
        }.items()
    },
)
app.autodiscover_tasks(["flexai.notifications", "flexai.cluster", "flexai.jobs", "flexai.scheduling"])
