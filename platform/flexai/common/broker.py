"""The synchronous connection to Valkey. What goes through it are hints and latest values, never truth (law 3)."""

from __future__ import annotations

from collections.abc import Mapping
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


def set_fields(key: str, values: Mapping[int, bytes], *, prefix: bytes = b"") -> None:
    """The hash has these values, behind the prefix, under names that are numbers. Raises redis errors.

    One command, put together here: the client's way looks at every part of it, which for ten thousand values takes
    three times as long.
    """
    if not values:
        return
    name = key.encode()
    parts = [b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (2 + 2 * len(values), len(name), name)]
    for number, value in values.items():
        field, size = b"%d" % number, len(prefix) + len(value)
        parts.append(b"$%d\r\n%b\r\n$%d\r\n%b%b\r\n" % (len(field), field, size, prefix, value))
    pool = valkey().connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command([b"".join(parts)])  # type: ignore[no-untyped-call]
        connection.read_response()
    finally:
        pool.release(connection)
