"""The synchronous connection to Valkey. What goes through it are hints and latest values, never truth (law 3)."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings


@cache
def valkey() -> redis.Redis:
    """One client with a connection pool per process; short time-outs, so that a dead broker costs no request much."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=2,
        socket_connect_timeout=1,
        max_connections=64,
        health_check_interval=30,
    )
