"""Amounts as people write them, in whole numbers as the platform counts: MiB, milliseconds, milli-chips,
millicores.

Every function raises `Wrong` with what is wrong and what would be right. Nothing passes through a float: 0.1
is one tenth (Q1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

MAX_NUMBER_LENGTH = 30
"""Characters of a number; longer ones are no amounts of anything."""
MAX_ARRAY_TASKS = 10_000
"""Tasks of one array (design: a set is at most so large)."""
MAX_ARRAY_INDEX = 999_999
MAX_MEMORY_MIB = 64 * 1024 * 1024
"""64 TiB, more than any node has."""
MAX_DURATION_MS = 366 * 24 * 3600 * 1000

_NUMBER = r"\d{1,12}(?:\.\d{1,9})?"
_MEMORY = re.compile(rf"\s*(-?{_NUMBER})\s*([A-Za-z]*)\s*")
_MIB: dict[str, Decimal] = {
    "k": Decimal(1) / 1024, "m": Decimal(1), "g": Decimal(1024), "t": Decimal(1024 * 1024),
}  # fmt: skip
_DURATION = re.compile(rf"(?:{_NUMBER}\s*(?:ms|[smhdw])\s*)+")
_DURATION_PART = re.compile(rf"({_NUMBER})\s*(ms|[smhdw])")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_ARRAY_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?")


class Wrong(ValueError):  # noqa: N818 - it says what is true of the amount
    """An amount that cannot be read; `hint` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Indices:
    """The indices of an array: [first, last, step] ranges that do not overlap, and how many may live at
    once."""

    ranges: tuple[tuple[int, int, int], ...]
    cap: int | None

    @property
    def count(self) -> int:
        return sum(len(range(first, last + 1, step)) for first, last, step in self.ranges)


def whole(value: object, least: int, most: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        if isinstance(value, float) and value.is_integer() and abs(value) <= most:
            return whole(int(value), least, most)
        raise Wrong(f"must be a whole number, not {said(value)}")
    if not least <= value <= most:
        raise Wrong(f"must be {least} to {most}, not {said(value)}")
    return value


def decimal(value: object) -> Decimal:
    """A finite number, from a number or its text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Wrong(f"must be a number, not {said(value)}")
    text = _number_text(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Wrong(f"must be a number, not {said(value)}") from None
    if not number.is_finite():
        raise Wrong(f"must be a finite number, not {said(value)}")
    return number


def _number_text(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > MAX_NUMBER_LENGTH * 3:
        raise Wrong("is far too large")
    text = str(value).strip()
    if len(text) > MAX_NUMBER_LENGTH:
        raise Wrong(f"is longer than {MAX_NUMBER_LENGTH} characters")
    return text


def memory_mib(value: object) -> int:
    """MiB of "16GB", "512MiB", "1.5G" (decimal and binary units both count 1024), rounded up to whole MiB."""
    hint = "give MiB or GiB, such as 16GB or 512MB"
    if not isinstance(value, str):
        raise Wrong(f"needs a unit; {said(value)} has none", hint)
    found = _MEMORY.fullmatch(value)
    if found is None:
        raise Wrong(f"{said(value)} is not an amount of memory", hint)
    number, unit = found[1], found[2].lower()
    if not unit:
        raise Wrong(f"{said(value)} has no unit", hint)
    per = _MIB.get(unit[0]) if unit in _memory_units() else None
    if per is None:
        raise Wrong(f"{found[2]!r} is not a unit of memory", hint)
    mib = _up(Decimal(number) * per)
    if not 1 <= mib <= MAX_MEMORY_MIB:
        raise Wrong(f"must be 1 MiB to {MAX_MEMORY_MIB // 1024 // 1024} TiB, not {said(value)}")
    return mib


def _memory_units() -> set[str]:
    return {letter + rest for letter in _MIB for rest in ("", "b", "i", "ib")}


def duration_ms(value: object, *, least: int, most: int = MAX_DURATION_MS) -> int:
    """Milliseconds of "90s", "10m", "1h30m", "2d"."""
    hint = "give a number with a unit, such as 90s, 10m, 1h30m or 2d"
    if not isinstance(value, str):
        raise Wrong(f"needs a unit; {said(value)} has none", hint)
    text = value.strip().lower()
    if len(text) > MAX_NUMBER_LENGTH or not _DURATION.fullmatch(text):
        raise Wrong(f"{said(value)} is not a duration", hint)
    total = sum((Decimal(n) * _MS[unit] for n, unit in _DURATION_PART.findall(text)), Decimal(0))
    ms = _up(total)
    if not least <= ms <= most:
        raise Wrong(f"must be {duration_text(least)} to {duration_text(most)}, not {said(value)}")
    return ms


def duration_text(ms: int) -> str:
    """As people write it: 600000 is 10m."""
    for unit in ("w", "d", "h", "m", "s"):
        if ms >= _MS[unit] and ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def duration_words(ms: int) -> str:
    """For a sentence, by its two largest units: 312000 is `5 min 12 s`."""
    seconds = max(0, round(ms / 1000))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def milli(value: object, *, least: int, most: int) -> int:
    """Thousandths, rounded up: 0.5 is 500. "50%" is 500 too."""
    text = value.strip() if isinstance(value, str) else value
    percent = isinstance(text, str) and text.endswith("%")
    number = decimal(text[:-1] if percent and isinstance(text, str) else text)
    if abs(number) > Decimal(10) ** 12:
        raise Wrong("is far too large")
    thousandths = _up(number * (10 if percent else 1000))
    if not least <= thousandths <= most:
        raise Wrong(f"must be {plain(least)} to {plain(most)}, not {said(value)}")
    return thousandths


def permille(value: object) -> int:
    """A percentage: 5 and "5%" are 50."""
    number = decimal(value.strip().removesuffix("%") if isinstance(value, str) else value)
    if not 1 <= number <= 100:
        raise Wrong(f"must be 1% to 100%, not {said(value)}", "give a percentage, such as 5%")
    return milli(f"{number}%", least=10, most=1000)


def plain(thousandths: int) -> str:
    """Thousandths as a decimal number without trailing zeros."""
    return (
        f"{Decimal(thousandths) / 1000:f}".rstrip("0").rstrip(".")
        if thousandths % 1000
        else str(thousandths // 1000)
    )


def instant(value: object) -> str:
    """An ISO 8601 instant, in UTC."""
    hint = "give a date and time with its zone, such as 2026-01-31T18:00:00Z"
    if not isinstance(value, str) or len(value) > 40:
        raise Wrong(f"{said(value)} is not an instant", hint)
    try:
        read = datetime.fromisoformat(value.strip())
        if read.tzinfo is None:
            raise Wrong(f"{said(value)} has no time zone", hint)
        return read.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except Wrong:
        raise
    except (ValueError, OverflowError):
        raise Wrong(f"{said(value)} is not an instant", hint) from None


def instant_or_duration(value: object) -> str | int:
    """An ISO 8601 instant in UTC, or milliseconds of a duration such as "4h"."""
    if isinstance(value, str) and _DURATION.fullmatch(value.strip().lower()):
        return duration_ms(value, least=1000)
    try:
        return instant(value)
    except Wrong as wrong:
        raise Wrong(
            f"{wrong.message}, and no duration", "give 2026-01-31T18:00:00Z, or 4h from the submit"
        ) from None


def array_indices(value: object) -> Indices:
    """Indices of "0-99%10", "0,3,7-9:2" or a single number."""
    hint = "give indices such as 0-99, 0-99%10 (at most 10 at once) or 0,3,7-9:2"
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > 2000:
        raise Wrong(f"{said(value)} is not a set of indices", hint)
    body, percent, cap_text = text.replace(" ", "").partition("%")
    ranges = tuple(_range(part, hint) for part in body.split(","))
    indices = Indices(ranges, _cap(cap_text, hint) if percent else None)
    if indices.count > MAX_ARRAY_TASKS:
        raise Wrong(f"has {indices.count} tasks; an array has at most {MAX_ARRAY_TASKS}")
    seen = [index for first, last, step in ranges for index in range(first, last + 1, step)]
    if len(set(seen)) != len(seen):
        raise Wrong(f"{said(value)} names an index twice", hint)
    return indices


def _range(part: str, hint: str) -> tuple[int, int, int]:
    found = _ARRAY_PART.fullmatch(part)
    if found is None:
        raise Wrong(f"{said(part)} is not an index or a range", hint)
    first = int(found[1])
    last, step = int(found[2] or first), int(found[3] or 1)
    if last < first or step < 1:
        raise Wrong(f"{said(part)} is an empty range", hint)
    if last > MAX_ARRAY_INDEX:
        raise Wrong(f"an index is at most {MAX_ARRAY_INDEX}", hint)
    return first, last, step


def _cap(text: str, hint: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) < 1:
        raise Wrong(f"the cap after % must be a number from 1, not {said(text)}", hint)
    return int(text)


def said(value: object) -> str:
    """A value as an error quotes it: short, and on one line."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 100:
        return "a number of very many digits"
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _up(number: Decimal) -> int:
    return int(number.to_integral_value(rounding="ROUND_CEILING"))
