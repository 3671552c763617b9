"""What a chip-hour costs. A price holds from a day on; days that are over keep theirs."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from flexai.common.errors import FieldError, InvalidInput
from flexai.tenancy import audit
from flexai.tenancy.models import Price
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MAX_PRICES: Final = 200
"""Of one request."""
MAX_MICRO: Final = 10**12
"""A million a chip-hour."""
AHEAD: Final = timedelta(days=366)
CHIP_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}")
_KEYS: Final = {"chip_type", "from_day", "micro_per_chip_hour"}


def all_prices() -> QuerySet[Price]:
    """Every price by type and day; few rows."""
    return Price.objects.order_by("chip_type", "from_day")


def prices_on(day: date) -> dict[str, int]:
    """By chip type, what a chip-hour costs on that day; types without a price are missing."""
    rows = Price.objects.filter(from_day__lte=day).order_by("from_day")
    return dict(rows.values_list("chip_type", "micro_per_chip_hour"))


@transaction.atomic
def set_prices(principal: Principal, given: object, today: date) -> None:
    """These prices hold from their days on, recorded; a price of the same type and day is replaced, others stay.

    The earliest day is today. Raises Forbidden, and InvalidInput naming every wrong line.
    """
    principal.require(Action.SET_PRICES)
    for row in write_prices(given, today):
        after = {"from_day": row.from_day.isoformat(), "micro_per_chip_hour": row.micro_per_chip_hour}
        audit.record(principal, "price.set", object_kind="chip_type", object_id=row.chip_type, after=after)


@transaction.atomic
def write_prices(given: object, today: date) -> list[Price]:
    """The rows of `set_prices`, for a caller that has asked for the right and records it. Raises InvalidInput."""
    return [
        Price.objects.update_or_create(
            chip_type=chip_type, from_day=day, defaults={"micro_per_chip_hour": micro}
        )[0]
        for chip_type, day, micro in _read(given, today)
    ]


def check_prices(given: object, today: date) -> None:
    """Raises what `set_prices` would."""
    _read(given, today)


def _read(given: object, today: date) -> list[tuple[str, date, int]]:
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_PRICES:
        message = f"must be a list of 1 to {MAX_PRICES} prices"
        raise InvalidInput(f"`prices` {message}.", errors=[FieldError("prices", message)])
    errors: list[FieldError] = []
    lines = []
    for place, line in enumerate(given):
        where = f"prices.{place}"
        if not isinstance(line, dict) or set(line) != _KEYS:
            errors.append(FieldError(where, f"must have {', '.join(sorted(_KEYS))} and nothing else"))
            continue
        chip_type, micro = line["chip_type"], line["micro_per_chip_hour"]
        if not isinstance(chip_type, str) or not CHIP_TYPE.fullmatch(chip_type):
            errors.append(FieldError(f"{where}.chip_type", "is no chip type", "such as H100-80GB"))
        if isinstance(micro, bool) or not isinstance(micro, int) or not 0 <= micro <= MAX_MICRO:
            errors.append(FieldError(f"{where}.micro_per_chip_hour", f"must be 0 to {MAX_MICRO}"))
        day = _day(line["from_day"], today)
        if isinstance(day, str):
            errors.append(FieldError(f"{where}.from_day", day))
        else:
            lines.append((chip_type, day, micro))
    if errors:
        raise InvalidInput("The prices cannot be set so.", errors=errors)
    return lines


def _day(given: object, today: date) -> date | str:
    """The day, or what is wrong with it."""
    try:
        day = date.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        return "must be a day such as 2026-03-31"
    if day < today:
        return f"is over: a price holds from today, {today}, or a later day on"
    return day if day <= today + AHEAD else f"lies more than {AHEAD.days} days ahead"
