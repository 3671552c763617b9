"""Options that many commands share, and how their values are read."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, prose on stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?")


def seconds(text: str) -> float:
    """`90`, `90s`, `10m`, `1h`. Raises BadParameter."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a length of time: write 90s, 10m or 1h.")
    return float(Decimal(match[1]) * _UNITS_MS[match[2] or "s"] / 1000)


def number(text: str) -> int | float:
    """A decimal number, whole when it is. Raises BadParameter."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number.") from None
    if not value.is_finite():
        raise typer.BadParameter(f"{text!r} is not a number.")
    return int(value) if value == value.to_integral_value() else float(value)


def milli(text: str) -> int:
    """`4` or `0.5` chips, in milli-chips. Raises BadParameter."""
    try:
        value = Decimal(text) * 1000
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number of chips.") from None
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise typer.BadParameter(f"{text!r} is not a number of chips: write 4 or 0.5, to a thousandth.")
    return int(value)


def pair(text: str, what: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises BadParameter."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is not {what}: write KEY=VALUE.")
    return key, value
