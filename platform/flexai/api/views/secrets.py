"""Secrets of teams: their names are read, their values only written."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import secrets as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of
from flexai.common.errors import NotFound
from flexai.jobs.presenting import stamp
from flexai.tenancy import team_secrets
from flexai.tenancy.models import Secret, Team
from flexai.tenancy.principals import Principal, visible_teams

_TEAM = public_id("team")
_NAME = OpenApiParameter(
    "name", OpenApiTypes.STR, OpenApiParameter.PATH, description="Of the secret: HF_TOKEN"
)


class SecretsView(View):
    """What jobs of a team may name."""

    @extend_schema(
        operation_id="team_secrets_list",
        parameters=[_TEAM, LIMIT, CURSOR],
        responses=answers(shapes.TeamSecretListSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """The team's own secrets and those of the teams above it, as they came to be; of two with one name the nearer.
        For members of the team, not its viewers."""
        principal = principal_of(request)
        rows = team_secrets.visible_secrets(principal, _team(principal, id))
        page = page_of(rows, request, Order("id"))
        return Response(page.present(lambda rows: [_shown(row) for row in rows]))


class SecretView(View):
    """One secret of the team itself."""

    @extend_schema(
        operation_id="team_secret_read",
        parameters=[_TEAM, _NAME],
        responses=answers(shapes.TeamSecretSerializer),
    )
    def get(self, request: Request, id: str, name: str) -> Response:
        """Who set it and when, and when it was last used. Its value nobody is told."""
        principal = principal_of(request)
        return Response(_shown(team_secrets.secret_named(principal, _team(principal, id), name)))

    @extend_schema(
        operation_id="team_secret_set",
        parameters=[_TEAM, _NAME],
        request=shapes.TeamSecretValueSerializer,
        responses=answers(shapes.TeamSecretSerializer),
        examples=[shapes.SECRET_EXAMPLE],
    )
    def put(self, request: Request, id: str, name: str) -> Response:
        """Set it, or replace its value: maintainers, owners and operators. Attempts that start from now on have it."""
        principal = principal_of(request)
        team = _team(principal, id)
        body = body_of(request)
        only_known(body, {"value"})
        return Response(_shown(team_secrets.set_secret(principal, team, name, body.get("value"))))

    @extend_schema(
        operation_id="team_secret_remove",
        parameters=[_TEAM, _NAME],
        request=None,
        responses=answers(None, 204, "Removed."),
    )
    def delete(self, request: Request, id: str, name: str) -> Response:
        """Remove it. What runs keeps it; what would start with it fails, and says so."""
        principal = principal_of(request)
        team_secrets.remove_secret(principal, _team(principal, id), name)
        return Response(status=204)


def _team(principal: Principal, public_id: str) -> Team:
    team = visible_teams(principal).filter(public_id=public_id).first()
    if team is None:
        raise NotFound("There is no such team among yours.")
    return team


def _shown(secret: Secret) -> dict[str, Any]:
    return {
        "id": secret.public_id,
        "name": secret.name,
        "team": secret.team.name,
        "set_by": secret.set_by,
        "set_at": stamp(secret.set_at),
        "used_at": stamp(secret.used_at),
    }
