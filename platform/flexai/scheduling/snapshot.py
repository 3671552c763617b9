"""The whole of a cell at one instant, for whoever has no feed: explanations, admission, tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from flexai.common import clock
from flexai.jobs.models import Job
from flexai.scheduling.feed import Feed
from scheduler_core.lifecycle import JobState
from scheduler_core.model import Snapshot

MOST_WAITING: Final = 2_000
"""With more jobs waiting nothing is asked on a copy of the cell: it takes a whole cycle's time, or two."""


def too_many_wait(cell_id: int) -> bool:
    """Whether more wait than a copy of the cell is taken for."""
    waiting = Job.objects.filter(cell_id=cell_id, state=JobState.QUEUED)
    return waiting[: MOST_WAITING + 1].count() > MOST_WAITING


def take_snapshot(cell_id: int, now: datetime) -> Snapshot:
    """Every row that counts, read by one statement: all places and teams, waiting jobs, live attempts. Not the mix:
    who starts does not depend on it, and whoever asks needs no best places for them.
    """
    return replace(Feed(cell_id).begin(clock.to_ms(now)), seen=())
