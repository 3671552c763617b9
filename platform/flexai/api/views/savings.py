"""The cell's past: as a file for `flexai simulate`, and what the scheduler saved in it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import savings as shapes
from flexai.api.schemas.common import answers
from flexai.api.views.base import View, principal_of, the_cell
from flexai.api.views.usage import day_in
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput
from flexai.scheduling.models import Saving
from flexai.scheduling.past import past_of
from flexai.scheduling.savings import METHOD, energy_saved_mwh, problem_of, savings_between, total_of
from flexai.tenancy.roles import Action

DEFAULT_DAYS = 30
MOST_DAYS = 366
_DAYS = [
    OpenApiParameter("from", OpenApiTypes.DATE, description="First day, in UTC; 29 days before `to`."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="Last day; today when left out."),
]


class HistoryView(View):
    """What the cell was asked for."""

    @extend_schema(
        operation_id="history_download",
        parameters=_DAYS,
        responses={
            (200, "application/x-ndjson"): OpenApiResponse(
                OpenApiTypes.STR, "The file that `flexai simulate --history` reads."
            ),
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """What ran on chips on up to 31 days, for `flexai simulate --history`; owners get their organization's jobs,
        operators everybody's."""
        principal = principal_of(request)
        principal.require(Action.EXPORT_HISTORY)
        first, last = _days(request)
        everybody = principal.may(Action.SEE_EVERYBODY)
        past = past_of(
            the_cell().pk,
            _midnight(first),
            min(_midnight(last + timedelta(days=1)), clock.now()),
            organization=None if everybody else principal.organization.pk,
        )
        answer = HttpResponse(b"".join(past.lines()), content_type="application/x-ndjson")
        answer["Content-Disposition"] = f'attachment; filename="history-{first}-{last}.jsonl"'
        return answer


class SavingsView(View):
    """What the scheduler saved."""

    @extend_schema(operation_id="savings_read", parameters=_DAYS, responses=answers(shapes.SavingsSerializer))
    def get(self, request: Request) -> Response:
        """Each day as it was, against the same day under static whole-chip FIFO, simulated; operators only."""
        principal_of(request).require(Action.SEE_SAVINGS)
        first, last = _days(request)
        if last - first >= timedelta(days=MOST_DAYS):
            raise InvalidInput(f"At most {MOST_DAYS} days are told at once.")
        rows = list(savings_between(the_cell().pk, first, last))
        return Response({"method": METHOD, "days": [_day(row) for row in rows], "total": total_of(rows)})


def _days(request: Request) -> tuple[date, date]:
    given = request.query_params
    last = day_in(given.get("to", ""), "to") or clock.now().date()
    first = day_in(given.get("from", ""), "from") or last - timedelta(days=DEFAULT_DAYS - 1)
    if not date(2000, 1, 1) <= first <= last <= date(9000, 1, 1):
        wrong = "must not be after `to`" if first > last else "is no day of this platform"
        raise InvalidInput(f"`from` {wrong}.", errors=[FieldError("from", wrong)])
    return first, last


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _day(row: Saving) -> dict[str, Any]:
    return {
        "day": row.day.isoformat(),
        "problem": problem_of(row, clock.now()),
        "jobs": row.jobs,
        "refused": row.refused,
        "held_ms": row.held_ms,
        "fifo_held_ms": row.fifo_held_ms,
        "chip_ms_saved": row.fifo_held_ms - row.held_ms,
        "waited_ms": row.waited_ms,
        "fifo_waited_ms": row.fifo_waited_ms,
        "engine_waited_ms": row.engine_waited_ms,
        "wait_ms_avoided": row.fifo_waited_ms - row.waited_ms,
        "energy_mwh_saved": energy_saved_mwh(row),
        "idle_measured_permille": row.idle_measured_permille,
        "drawn_mwh": row.drawn_mwh,
    }
