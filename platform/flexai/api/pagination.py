"""Pages of a list by keyset: each page begins after the last row of the one before, however much was added
since."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from django.db.models import F, Func, Model, OrderBy, QuerySet
from rest_framework.request import Request

from flexai.common.errors import FieldError, InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Order:
    """By a column, and by id among equals. Empty values come last in both directions."""

    column: str = "id"
    descending: bool = False
    nullable: bool = False
    is_instant: bool = False
    is_gathered: bool = False
    """What fits is gathered and sorted, for it is little; PostgreSQL would rather go through all rows in the order of
    an index, in the hope to meet what it looks for soon, and the jobs that wait are the last of a million."""

    @property
    def beyond(self) -> str:
        """How a value further on compares."""
        return "lt" if self.descending else "gt"

    def by(self, column: str) -> OrderBy:
        """The order by this column; no index has that of an expression."""
        key = Func(F(column), function="GREATEST") if self.is_gathered else F(column)
        return OrderBy(key, descending=self.descending)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows, or their keys, and where the next page begins; None at the end."""

    rows: list[Item]
    next_cursor: str | None

    def present(self, each: Callable[[list[Item]], Sequence[Any]]) -> dict[str, Any]:
        """The answer: {"items": […], "next_cursor": …}."""
        return {"items": each(self.rows), "next_cursor": self.next_cursor}


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value that rows have to have: one of these; without any, whichever."""

    column: str
    values: Sequence[str]
    rare: frozenset[str] = frozenset()
    """Values that few rows have."""

    @property
    def are_rare(self) -> bool:
        """Whether few rows are wanted, wherever in an order they stand."""
        return bool(self.values) and self.rare.issuperset(self.values)

    def narrow(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Those of the rows."""
        return rows.filter(**{f"{self.column}__in": self.values}) if self.values else rows


def page_of(rows: QuerySet[Row], request: Request, order: Order) -> Page[Row]:
    """The page, by id, that the request asks for. Raises InvalidInput for a limit out of bounds or a cursor not from
    here."""
    limit, after = _asked(request, order)
    found = list(_by_id(rows, order, after and after[1])[: limit + 1])
    return _cut(found, [(None, row.pk) for row in found], limit, order)


def keys_of(rows: QuerySet[Any], request: Request, order: Order, one_of: OneOf) -> Page[int]:
    """The primary keys of the page, in any order; the rows are read once it is known which (ADR 0028). Raises as
    `page_of`."""
    limit, after = _asked(request, order)
    is_gathered = one_of.are_rare and (order.column != "id" or len(one_of.values) > 1)
    places = _first(one_of.narrow(rows), replace(order, is_gathered=is_gathered), after, limit + 1)
    return _cut([pk for _, pk in places], places, limit, order)


def _asked(request: Request, order: Order) -> tuple[int, tuple[Any, int] | None]:
    limit = whole_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    cursor = request.query_params.get("cursor")
    return limit, _read_cursor(cursor, order) if cursor else None


def _cut(rows: list[Item], places: Sequence[tuple[Any, int]], limit: int, order: Order) -> Page[Item]:
    return Page(rows[:limit], _write_cursor(places[limit - 1], order) if len(places) > limit else None)


def order_from(request: Request, default: str, known: dict[str, Order]) -> Order:
    """The order that `?sort=` names, "-" before it for descending. Raises InvalidInput naming the known
    ones."""
    asked = request.query_params.get("sort") or default
    descending, name = asked.startswith("-"), asked.lstrip("-")
    if name not in known or asked.startswith("--"):
        hint = f"give one of {', '.join(known)}, with - before it for descending"
        error = FieldError("sort", f"there is no order {asked[:40]!r}", hint)
        raise InvalidInput(f"There is no order {asked[:40]!r}.", errors=[error])
    order = known[name]
    return Order(order.column, descending, order.nullable, order.is_instant)


def whole_parameter(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query string. Raises InvalidInput outside its bounds."""
    given = optional_whole_parameter(request, name, least, most)
    return default if given is None else given


def optional_whole_parameter(request: Request, name: str, least: int, most: int) -> int | None:
    """The same, None when absent."""
    given = request.query_params.get(name)
    if given is None or given == "":
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18 or not least <= int(given) <= most:
        error = FieldError(name, f"must be a whole number from {least} to {most}, not {given[:40]!r}")
        raise InvalidInput(f"`{name}` must be a whole number from {least} to {most}.", errors=[error])
    return int(given)


def _first(
    rows: QuerySet[Row], order: Order, after: tuple[Any, int] | None, most: int
) -> list[tuple[Any, int]]:
    """Value and id of the first rows after these. Those of the same value come first, then those of the values beyond
    it, and those without a value last, by a statement each: each is read along an index, in both directions; in one
    they would be sorted, all that there are. The rows themselves are read once it is known which: what is looked
    through for them lies in the index, for the most part."""
    if order.column == "id":
        return _of_no_value(_by_id(rows, order, after and after[1])[:most])
    value, last = after or (None, None)
    found: list[tuple[Any, int]] = []
    if value is not None:
        same = _by_id(rows.filter(**{order.column: value}), order, last)[:most]
        found += [(value, pk) for _, pk in _of_no_value(same)]
    if len(found) < most and (after is None or value is not None):
        found += _by_value(rows, order, value)[: most - len(found)]
    if len(found) < most and order.nullable:
        without = rows.filter(**{f"{order.column}__isnull": True})
        found += _of_no_value(_by_id(without, order, last if value is None else None)[: most - len(found)])
    return found


def _of_no_value(rows: QuerySet[Row]) -> list[tuple[Any, int]]:
    return [(None, pk) for pk in rows.values_list("pk", flat=True)]


def _by_id(rows: QuerySet[Row], order: Order, last: int | None) -> QuerySet[Row]:
    if last is not None:
        rows = rows.filter(**{f"id__{order.beyond}": last})
    return rows.order_by(order.by("id"))


def _by_value(rows: QuerySet[Row], order: Order, value: Any) -> QuerySet[Any, tuple[Any, int]]:
    """Those with another value, beyond this one; None: with any."""
    if value is not None:
        rows = rows.filter(**{f"{order.column}__{order.beyond}": value})
    elif order.nullable:
        rows = rows.filter(**{f"{order.column}__isnull": False})
    return rows.order_by(order.by(order.column), order.by("id")).values_list(order.column, "pk")


def _write_cursor(place: tuple[Any, int], order: Order) -> str:
    value, pk = place
    if isinstance(value, datetime):
        value = value.isoformat()
    encoded = msgspec.json.encode([order.column, order.descending, value, pk])
    return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


def _read_cursor(cursor: str, order: Order) -> tuple[Any, int]:
    try:
        encoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        column, descending, value, pk = msgspec.json.decode(
            encoded, type=tuple[str, bool, str | int | None, int]
        )
        if (column, descending) != (order.column, order.descending) or not 0 <= pk < 2**63:
            raise ValueError("a cursor of another order")
        is_text = order.is_instant or order.column in ("name", "status")
        if order.column != "id" and value is not None and isinstance(value, str) != is_text:
            raise ValueError("a cursor of another kind")
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise ValueError("out of range")
        return (datetime.fromisoformat(str(value)) if order.is_instant and value is not None else value), pk
    except (binascii.Error, msgspec.MsgspecError, ValueError, UnicodeError):
        error = FieldError("cursor", "is not one that this list gave", "begin again without it")
        raise InvalidInput("The cursor is not one that this list gave.", errors=[error]) from None
