"""What was decided in an organization, by whom and from where."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers
from flexai.api.views.base import View, principal_of
from flexai.api.views.usage import day_in
from flexai.common.errors import FieldError, InvalidInput
from flexai.jobs.presenting import stamp
from flexai.tenancy.audit_log import MOST_WRITTEN, Wanted, as_csv, visible_entries
from flexai.tenancy.models import AuditEntry

_FILTERS = [
    OpenApiParameter(
        "actor", OpenApiTypes.STR, description="A user's name, by session or by any token of theirs."
    ),
    OpenApiParameter(
        "action", OpenApiTypes.STR, description="Such as `job.stopped`, or `job` for all of its kind."
    ),
    OpenApiParameter("object", OpenApiTypes.STR, description="Id of what was decided on."),
    OpenApiParameter("from", OpenApiTypes.DATE, description="First day, in UTC."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="Last day."),
]


class AuditView(View):
    """The log."""

    @extend_schema(
        operation_id="audit_list",
        parameters=[*_FILTERS, LIMIT, CURSOR],
        responses=answers(shapes.AuditListSerializer),
    )
    def get(self, request: Request) -> Response:
        """What was decided in your organization, the newest first; owners and operators only."""
        rows = visible_entries(principal_of(request), _wanted(request))
        page = page_of(rows, request, Order("id", descending=True))
        return Response(page.present(lambda found: [_shown(row) for row in found]))


class AuditFileView(View):
    """The log as a file."""

    @extend_schema(
        operation_id="audit_download",
        parameters=_FILTERS,
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "Lines with a heading.")},
        description=f"The newest {MOST_WRITTEN:,}. A text that a spreadsheet would take for a formula begins with '.",
    )
    def get(self, request: Request) -> HttpResponse:
        """As CSV."""
        return as_csv("audit", visible_entries(principal_of(request), _wanted(request)))


def _wanted(request: Request) -> Wanted:
    given = {name: request.query_params.get(name, "") for name in ("actor", "action", "object")}
    for name, text in given.items():
        if "\0" in text or len(text) > 200:
            wrong = "must be text of at most 200 characters"
            raise InvalidInput(f"`{name}` {wrong}.", errors=[FieldError(name, wrong)])
    first, last = (day_in(request.query_params.get(name, ""), name) for name in ("from", "to"))
    until = _midnight(last + timedelta(days=1)) if last is not None and last < date.max else None
    return Wanted(**given, since=_midnight(first) if first is not None else None, until=until)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _shown(row: AuditEntry) -> dict[str, Any]:
    return {
        "at": stamp(row.at),
        "actor_kind": row.actor_kind,
        "actor": row.actor,
        "action": row.action,
        "object_kind": row.object_kind,
        "object_id": row.object_id,
        "before": row.before,
        "after": row.after,
        "reason": row.reason,
        "address": row.address,
        "request_id": row.request_id,
    }
