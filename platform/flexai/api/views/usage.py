"""What chips were used for, and what they cost."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import usage as shapes
from flexai.api.schemas.common import answers
from flexai.api.views.base import View, body_of, only_known, principal_of
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput
from flexai.common.spreadsheets import as_text, csv_answer
from flexai.jobs.statements import HOUR_MS, Row, Statement, Wanted, organization_of, statement
from flexai.tenancy import prices

_DEFAULT_DAYS = 30
_PARAMETERS = [
    OpenApiParameter("from", OpenApiTypes.DATE, description="First day, in UTC; 29 days before `to`."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="Last day; today when left out."),
    OpenApiParameter(
        "by",
        OpenApiTypes.STR,
        description="Up to three of team, user, chip_type, day, label:KEY, with commas between.",
    ),
    OpenApiParameter("team", OpenApiTypes.STR, description="Name or id; with the teams below it."),
    OpenApiParameter("organization", OpenApiTypes.STR, description="For operators: of which; by short name."),
]
KWH_MJ = 3_600_000_000


class UsageView(View):
    """Use and cost."""

    @extend_schema(
        operation_id="usage_read", parameters=_PARAMETERS, responses=answers(shapes.StatementSerializer)
    )
    def get(self, request: Request) -> Response:
        """Sums of the ledger up to this second, broken down as asked. Borrowed chips cost nothing."""
        wanted, found = _asked(request)
        return Response(
            {
                "from": wanted.first.isoformat(),
                "to": wanted.last.isoformat(),
                "by": list(wanted.by),
                "currency": settings.CURRENCY,
                "rows": [
                    {**dict(zip(wanted.by, row.parts, strict=True)), **_amounts(row)} for row in found.rows
                ],
                "total": _amounts(found.total),
            }
        )


class UsageFileView(View):
    """The same as a file."""

    @extend_schema(
        operation_id="usage_download",
        parameters=_PARAMETERS,
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "Lines with a heading.")},
    )
    def get(self, request: Request) -> HttpResponse:
        """As CSV, in hours and in the currency. A text that a spreadsheet would take for a formula begins with '."""
        wanted, found = _asked(request)
        return csv_answer(
            f"usage-{wanted.first}-{wanted.last}",
            [as_text(part) for part in wanted.by] + _HEADINGS,
            ([as_text(part or "") for part in row.parts] + _cells(row) for row in found.rows),
        )


class PricesView(View):
    """What a chip-hour costs."""

    @extend_schema(operation_id="prices_read", responses=answers(shapes.PricesSerializer))
    def get(self, request: Request) -> Response:
        """Every price with the day from which it holds."""
        return Response(_prices())

    @extend_schema(
        operation_id="prices_set",
        request=shapes.NewPricesSerializer,
        responses=answers(shapes.PricesSerializer),
    )
    def put(self, request: Request) -> Response:
        """Set prices from today or a later day on; operators only. Days that are over keep theirs."""
        body = body_of(request)
        only_known(body, {"prices"})
        prices.set_prices(principal_of(request), body.get("prices"), clock.now().date())
        return Response(_prices())


def _prices() -> dict[str, Any]:
    return {
        "currency": settings.CURRENCY,
        "today": clock.now().date().isoformat(),
        "prices": [
            {
                "chip_type": price.chip_type,
                "from_day": price.from_day.isoformat(),
                "micro_per_chip_hour": price.micro_per_chip_hour,
            }
            for price in prices.all_prices()
        ],
    }


def _asked(request: Request) -> tuple[Wanted, Statement]:
    given = request.query_params
    last = day_in(given.get("to", ""), "to") or clock.now().date()
    first = day_in(given.get("from", ""), "from") or last - timedelta(days=_DEFAULT_DAYS - 1)
    by = tuple(part.strip() for part in given.get("by", "").split(",") if part.strip())
    if any("\0" in text for text in (*by, given.get("team", ""), given.get("organization", ""))):
        raise InvalidInput("A text of the question holds NUL.")
    wanted = Wanted(first, last, by, given.get("team", ""))
    principal = organization_of(principal_of(request), given.get("organization", ""))
    return wanted, statement(principal, wanted, clock.now())


def day_in(given: str, name: str) -> date | None:
    """The day of a question; None where none is given. Raises InvalidInput."""
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        error = FieldError(name, f"is no day: {given[:40]!r}", "such as 2026-03-31")
        raise InvalidInput(f"`{name}` must be a day.", errors=[error]) from None


def _amounts(row: Row) -> dict[str, int | None]:
    return {
        "chip_ms": row.held,
        "starting_ms": row.starting,
        "running_ms": row.running,
        "stopping_ms": row.stopping,
        "borrowed_ms": row.guest,
        "used_ms": row.used,
        "measured_ms": row.measured,
        "energy_mj": row.drawn,
        "metered_ms": row.metered,
        "attempts": row.ended,
        "cost_micro": row.cost,
    }


_HEADINGS = [
    "chip_hours", "starting_hours", "running_hours", "stopping_hours", "borrowed_hours", "used_hours",
    "measured_hours", "energy_kwh", "metered_hours", "attempts", "cost", "currency",
]  # fmt: skip


def _cells(row: Row) -> list[str]:
    times = (row.held, row.starting, row.running, row.stopping, row.guest, row.used, row.measured)
    hours = [_decimal(ms * 1_000_000 // HOUR_MS) for ms in (*times, row.metered)]
    drawn = "" if row.drawn is None else _decimal(row.drawn * 1_000_000 // KWH_MJ)
    return [*hours[:-1], drawn, hours[-1], str(row.ended), _decimal(row.cost), settings.CURRENCY]


def _decimal(micro: int) -> str:
    """Millionths as a decimal number."""
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"
