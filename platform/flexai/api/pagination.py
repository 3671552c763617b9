"""Pages of a list by keyset: each page begins after the last row of the one before, however much was added
since."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.request import Request

from flexai.common.errors import FieldError, InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Order:
    """By a column, and by id among equals. Empty values come last in both directions."""

    column: str = "id"
    descending: bool = False
    nullable: bool = False
    is_instant: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and where the next page begins; None at the end."""

    rows: list[Row]
    next_cursor: str | None

    def present(self, each: Callable[[list[Row]], Sequence[Any]]) -> dict[str, Any]:
        """The answer: {"items": […], "next_cursor": …}."""
        return {"items": each(self.rows), "next_cursor": self.next_cursor}


def page_of(rows: QuerySet[Row], request: Request, order: Order) -> Page[Row]:
    """The page that the request asks for. Raises InvalidInput for a limit out of bounds or a cursor not from
    here."""
    limit = whole_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    cursor = request.query_params.get("cursor")
    found = _first(rows, order, _read_cursor(cursor, order) if cursor else None, limit + 1)
    more = len(found) > limit
    found = found[:limit]
    return Page(found, _write_cursor(found[-1], order) if more else None)


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


def _first(rows: QuerySet[Row], order: Order, after: tuple[Any, int] | None, most: int) -> list[Row]:
    """The first rows after that value and id. Those without a value follow the others by a statement of their own: each
    of the two is read along an index, in both directions; in one they would be sorted."""
    if order.column == "id":
        return list(_by_id(rows, order, after and after[1])[:most])
    found: list[Row] = []
    if after is None or after[0] is not None:
        found = list(_by_value(rows, order, after)[:most])
    if order.nullable and len(found) < most:
        without = rows.filter(**{f"{order.column}__isnull": True})
        last = after[1] if after is not None and after[0] is None else None
        found += _by_id(without, order, last)[: most - len(found)]
    return found


def _by_id(rows: QuerySet[Row], order: Order, last: int | None) -> QuerySet[Row]:
    if last is not None:
        rows = rows.filter(**{f"id__{'lt' if order.descending else 'gt'}": last})
    return rows.order_by("-id" if order.descending else "id")


def _by_value(rows: QuerySet[Row], order: Order, after: tuple[Any, int] | None) -> QuerySet[Row]:
    """Value and id are compared as one: a million equal values are not looked through."""
    sign = "-" if order.descending else ""
    if order.nullable:
        rows = rows.filter(**{f"{order.column}__isnull": False})
    if after is not None:
        beyond = TupleLessThan if order.descending else TupleGreaterThan
        rows = rows.filter(beyond(Tuple(F(order.column), F("id")), after))
    return rows.order_by(f"{sign}{order.column}", f"{sign}id")


def _write_cursor(row: Model, order: Order) -> str:
    value = None if order.column == "id" else getattr(row, order.column)
    if isinstance(value, datetime):
        value = value.isoformat()
    encoded = msgspec.json.encode([order.column, order.descending, value, row.pk])
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
