"""What the scheduler saved, by day: the rows that `playing` keeps, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from flexai.scheduling.models import Saving

METHOD: Final = (
    "Chip time and waiting as they really were, against the same jobs played by the simulator under static "
    "whole-chip first come, first served, on the nodes of now. A job waits while it does not run, from its submit to "
    "its end within the day; what an interruption cost it counts as waiting. The error is what the simulator says of "
    "Flexai itself, less what really happened. Energy is idle power for the time that FIFO would have taken longer, "
    "as long as chips stay on."
)
UNFINISHED: Final = "Its replay did not come to an end."
UNDER_WAY: Final = "It is being played."
MOST_TIME: Final = timedelta(minutes=30)
"""The replay of a day is given up after so long."""


def savings_between(cell_id: int, first: date, last: date) -> QuerySet[Saving]:
    """The rows of these days, oldest first."""
    return Saving.objects.filter(cell_id=cell_id, day__gte=first, day__lte=last).order_by("day")


def total_of(rows: Sequence[Saving]) -> dict[str, int | None]:
    """Sums over the days that have figures. The simulator's error is that of the days on which it was measured, in
    permille of what these say was avoided; None where it was on none."""
    told = [row for row in rows if not row.problem]
    measured = [row for row in told if row.engine_waited_ms is not None]
    error = sum((row.engine_waited_ms or 0) - row.waited_ms for row in measured)
    return {
        "days": len(told),
        "jobs": sum(row.jobs for row in told),
        "chip_ms_saved": sum(row.fifo_held_ms - row.held_ms for row in told),
        "wait_ms_avoided": sum(row.fifo_waited_ms - row.waited_ms for row in told),
        "wait_error_ms": error if measured else None,
        "wait_error_days": len(measured),
        "energy_mwh_saved": sum(energy_saved_mwh(row) for row in told),
        "drawn_mwh": _sum_of_known(row.drawn_mwh for row in told),
    }


def energy_saved_mwh(row: Saving) -> int:
    """What all chips, idle, would have drawn for as much longer as FIFO would have taken for the same work."""
    return row.idle_mw * (row.fifo_span_ms - row.span_ms) // 3_600_000


def _sum_of_known(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def problem_of(row: Saving, now: datetime) -> str:
    """Why the day has no figures, at that instant; empty when it has."""
    is_under_way = row.problem == UNFINISHED and now - row.made_at < MOST_TIME
    return UNDER_WAY if is_under_way else row.problem
