"""Celery: JSON only, no results kept. A task is a hint (law 3): losing one costs a tick, never a job."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flexai.config.settings")

PLATFORM_QUEUE = "platform"

app = Celery("flexai")
app.conf.update(
    broker_url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0").replace(
        "unix://", "redis+socket://", 1
    )
    if os.environ.get("REDIS_URL", "").startswith("unix://")
    else os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    broker_transport_options={"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 2},
    broker_connection_retry_on_startup=True,
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
            "flexai.cluster.expire_leases": 5.0,
            "flexai.jobs.prune": 3600.0,
            "flexai.scheduling.prune": 3600.0,
        }.items()
    },
)
app.autodiscover_tasks(["flexai.cluster", "flexai.jobs", "flexai.scheduling"])
