"""Requests for more quota or budget: asking, withdrawing, deciding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import quota_requests as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in, the_cell
from flexai.cluster.models import Cell
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput
from flexai.jobs.presenting import stamp
from flexai.notifications.answers import approve, decline
from flexai.tenancy import askable, quota_requests
from flexai.tenancy.models import QuotaRequest
from flexai.tenancy.principals import Principal, visible_teams

_TEAM = OpenApiParameter("team", OpenApiTypes.STR, description="Public id of a team: only its requests.")
_STATE = OpenApiParameter(
    "state",
    OpenApiTypes.STR,
    enum=[word for word, _ in shapes.STATES],
    description="Only those in this state.",
)


class QuotaRequestsView(View):
    """What teams ask for."""

    @extend_schema(
        operation_id="quota_requests_list",
        parameters=[_TEAM, _STATE, LIMIT, CURSOR],
        responses=answers(shapes.QuotaRequestListSerializer),
    )
    def get(self, request: Request) -> Response:
        """The requests of the teams that you see, newest first."""
        principal = principal_of(request)
        rows = quota_requests.visible_requests(principal).select_related(
            "team", "cell", "asked_by", "decided_by"
        )
        if team := request.query_params.get("team"):
            rows = rows.filter(team__public_id=team)
        if state := request.query_params.get("state"):
            rows = rows.filter(state=_state(state))
        page = page_of(rows, request, Order("id", descending=True))
        return Response(page.present(lambda found: [_shown(principal, row) for row in found]))

    @extend_schema(
        operation_id="quota_request_create",
        request=shapes.NewQuotaRequestSerializer,
        responses=answers(shapes.QuotaRequestSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Ask for more of a chip type for a team, or for more budget. Maintainers and owners; whoever may set it
        decides."""
        principal, body = principal_of(request), body_of(request)
        only_known(body, set(shapes.NewQuotaRequestSerializer().fields))
        team = _team(principal, text_in(body, "team", most=63))
        today = clock.now().date()
        made = quota_requests.ask(principal, team, body, cell_id=_cell(body).pk, today=today)
        return Response(_shown(principal, made), status=201)


class WithdrawView(View):
    """Taking a request back."""

    @extend_schema(
        operation_id="quota_request_withdraw",
        parameters=[public_id("request")],
        request=None,
        responses=answers(shapes.QuotaRequestSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Nobody decides it any more. Its asker, and whoever may ask for the team."""
        principal = principal_of(request)
        only_known(body_of(request), set())
        return Response(_shown(principal, quota_requests.withdraw(principal, id)))


class ApproveView(View):
    """Granting a request."""

    @extend_schema(
        operation_id="quota_request_approve",
        parameters=[public_id("request")],
        request=shapes.ApprovalSerializer,
        responses=answers(shapes.QuotaRequestSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """The team has it from now on, or the figures given here. Operators; owners for a team below another, a quota
        out of what that one is promised."""
        principal, body = principal_of(request), body_of(request)
        only_known(body, set(shapes.ApprovalSerializer().fields))
        given: dict[str, Any] = {name: body[name] for name in askable.FIGURES if name in body}
        done = approve(principal, id, given, answer=body.get("answer", ""))
        return Response(_shown(principal, done))


class DeclineView(View):
    """Refusing a request."""

    @extend_schema(
        operation_id="quota_request_decline",
        parameters=[public_id("request")],
        request=shapes.DeclineSerializer,
        responses=answers(shapes.QuotaRequestSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """It stays as it is, and why. Whoever could approve it."""
        principal, body = principal_of(request), body_of(request)
        only_known(body, {"reason"})
        return Response(_shown(principal, decline(principal, id, body.get("reason"))))


def _team(principal: Principal, name: str) -> Any:
    """The team of this name in the caller's organization, or of this id. Raises NotFound."""
    found = visible_teams(principal).filter(public_id=name).first()
    return found or principal.seat(name).as_team(principal.organization)


def _cell(body: Mapping[str, Any]) -> Cell:
    name = body.get("cell")
    if name is None:
        return the_cell()
    found = Cell.objects.filter(name=name).first() if isinstance(name, str) and "\0" not in name else None
    if found is None:
        error = FieldError("cell", "names no cell", f"there are {', '.join(_cells())}")
        raise InvalidInput("There is no such cell.", errors=[error])
    return found


def _cells() -> list[str]:
    return list(Cell.objects.order_by("pk").values_list("name", flat=True)[:20])


def _state(given: str) -> str:
    if given not in QuotaRequest.State.values:
        hint = f"give one of {', '.join(QuotaRequest.State.values)}"
        error = FieldError("state", f"there is no state {given[:40]!r}", hint)
        raise InvalidInput(f"There is no state {given[:40]!r}.", errors=[error])
    return given


def _shown(principal: Principal, row: QuotaRequest) -> dict[str, Any]:
    is_open = row.state == QuotaRequest.State.OPEN
    decides = ["approve", "decline"] if is_open and quota_requests.may_decide(principal, row) else []
    takes_back = ["withdraw"] if is_open and quota_requests.may_withdraw(principal, row) else []
    return {
        "id": row.public_id,
        "kind": row.kind,
        "team": {"id": row.team.public_id, "name": row.team.name},
        "cell": row.cell.name if row.cell is not None else None,
        "chip_type": row.chip_type or None,
        "asked": _figures(row.asked),
        "until": row.until.isoformat() if row.until is not None else None,
        "reason": row.reason,
        "state": row.state,
        "asked_by": row.asked_by.username,
        "asked_at": stamp(row.asked_at),
        "granted": _figures(row.granted),
        "before": _figures(row.before),
        "decided_by": row.decided_by.username if row.decided_by is not None else None,
        "decided_at": stamp(row.decided_at),
        "answer": row.answer,
        "note": row.note,
        "allowed_actions": [*takes_back, *decides],
    }


def _figures(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if line is None else {name: line[name] for name in askable.FIGURES if name in line}
