"""The one place where the server reads the time."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def to_ms(instant: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return int(instant.timestamp() * 1000)


def from_ms(value: int) -> datetime:
    """The instant of these milliseconds since the epoch."""
    return datetime.fromtimestamp(value / 1000, UTC)
