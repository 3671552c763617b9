"""The whole of a cell at one instant, for whoever has no feed: explanations, admission, tests."""

from __future__ import annotations

from datetime import datetime

from flexai.common import clock
from flexai.scheduling.feed import Feed
from scheduler_core.model import Snapshot


def take_snapshot(cell_id: int, now: datetime) -> Snapshot:
    """Every row that counts, read by one statement: all places and teams, waiting jobs, live attempts."""
    return Feed(cell_id).begin(clock.to_ms(now))
