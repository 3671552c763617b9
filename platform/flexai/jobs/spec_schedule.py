"""`schedule` of a spec: at which instants jobs are made of it, and what is done about instants that were missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flexai.jobs.quantities import Wrong, said
from flexai.jobs.spec_reader import Reader

MAX_CRON = 100
"""Characters of an expression."""
ON_TIME = timedelta(minutes=1)
"""An instant that is looked at later than this was missed; the tick comes every five seconds."""
MAX_CAUGHT_UP = 100
"""Missed instants that `catch_up: all` makes up for, the newest."""


class CatchUp(StrEnum):
    """What becomes of instants that passed while nobody looked."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of an instant while a job of an earlier one has not ended."""

    ALLOW = "allow"
    SKIP = "skip"


def read_schedule(reader: Reader) -> dict[str, str] | None:
    """`cron`, `timezone`, `catch_up` and `overlap`; None without a schedule."""
    if reader.raw.get("schedule") is None:
        return None
    inner = reader.inside("schedule")
    if inner.raw.get("cron") is None:
        inner.wrong("cron", "is missing", "give five fields, such as `0 3 * * *` for three o'clock each day")
    zone = inner.read("timezone", _zone) or "UTC"
    return {
        "cron": inner.read("cron", _cron) or "",
        "timezone": zone,
        "catch_up": inner.choice("catch_up", [word.value for word in CatchUp], CatchUp.LAST.value),
        "overlap": inner.choice("overlap", [word.value for word in Overlap], Overlap.ALLOW.value),
    }


def next_instant(cron: str, timezone: str, after: datetime) -> datetime:
    """The first instant of the expression after this one, in UTC. Raises Wrong where none comes in fifty years."""
    found = next(_instants(cron, timezone, after), None)
    if found is None:
        raise Wrong(f"{said(cron)} names no day that ever comes")
    return found


def chosen_instants(
    cron: str, timezone: str, catch_up: CatchUp, first: datetime, now: datetime
) -> list[datetime]:
    """Of the instants from `first` to `now`, those for which jobs are made: `none` those on time, `last` the newest,
    `all` the newest hundred."""
    due: deque[datetime] = deque(maxlen=MAX_CAUGHT_UP)
    due.append(first)
    for instant in _instants(cron, timezone, first):
        if instant > now:
            break
        due.append(instant)
    if catch_up is CatchUp.NONE:
        return [instant for instant in due if now - instant <= ON_TIME]
    return list(due) if catch_up is CatchUp.ALL else [due[-1]]


def _instants(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """As Debian's cron has it where clocks change: what a skipped hour holds comes at its end, what a doubled hour
    holds comes once."""
    for instant in CronSim(cron, after.astimezone(ZoneInfo(timezone))):
        yield instant.astimezone(UTC)


def _cron(value: object) -> str:
    hint = "give minute, hour, day, month and weekday, such as `30 6 * * 1-5`"
    if not isinstance(value, str) or len(value) > MAX_CRON:
        raise Wrong(f"must be a cron expression, not {said(value)}", hint)
    text = " ".join(value.split())
    if len(text.split()) != 5:
        raise Wrong(f"{said(value)} does not have five fields", hint)
    try:
        next_instant(text, "UTC", datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise Wrong(f"{said(value)} is no cron expression: {str(error).lower()}", hint) from None
    return text


def _zone(value: object) -> str:
    if isinstance(value, str) and len(value) <= 64:
        try:
            return ZoneInfo(value).key
        except (OSError, ValueError, KeyError):
            pass  # said below
    raise Wrong(f"{said(value)} is no time zone", "give a name such as Europe/Berlin or UTC")


def without_schedule(raw: Any) -> dict[str, Any]:
    """The spec of the jobs that a schedule makes."""
    return {key: value for key, value in raw.items() if key != "schedule"}
