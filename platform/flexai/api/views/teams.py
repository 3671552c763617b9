"""Teams, their quotas, and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.db.models import Prefetch
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs.presenting import stamp
from flexai.jobs.spending import spent_of
from flexai.tenancy import budgets, services
from flexai.tenancy.budgets import Spent
from flexai.tenancy.models import Budget, Quota, Team, TeamMember, TeamUse, Token, UserCap
from flexai.tenancy.principals import Principal, visible_teams, visible_tokens
from flexai.tenancy.quotas import QuotaLine, set_quotas


class TeamsView(View):
    """The teams that you see."""

    @extend_schema(
        operation_id="teams_list", parameters=[LIMIT, CURSOR], responses=answers(shapes.TeamListSerializer)
    )
    def get(self, request: Request) -> Response:
        """Teams with quotas, use and members."""
        principal = principal_of(request)
        page = page_of(_with_relations(principal), request, Order("id"))
        return Response(page.present(lambda teams: _shown(principal, teams)))


class TeamView(View):
    """One team."""

    @extend_schema(
        operation_id="team_read", parameters=[public_id("team")], responses=answers(shapes.TeamSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """The team with quotas, use and members."""
        principal = principal_of(request)
        return Response(_shown(principal, [team_named(principal, id)])[0])


class QuotasView(View):
    """What a team is promised and may use at most."""

    @extend_schema(
        operation_id="team_quotas_set",
        parameters=[public_id("team")],
        request=shapes.QuotasSerializer,
        responses=answers(shapes.TeamSerializer),
    )
    def put(self, request: Request, id: str) -> Response:
        """Set all quotas of the team. Operators; owners for a team below another, out of what that one is promised."""
        principal = principal_of(request)
        team = team_named(principal, id)
        body = body_of(request)
        only_known(body, {"quotas"})
        set_quotas(principal, team, _lines(body.get("quotas")))
        return Response(_shown(principal, [team_named(principal, id)])[0])


class UserCapsView(View):
    """What each user of a team may hold at most."""

    @extend_schema(
        operation_id="team_user_caps_set",
        parameters=[public_id("team")],
        request=shapes.UserCapsSerializer,
        responses=answers(shapes.TeamSerializer),
    )
    def put(self, request: Request, id: str) -> Response:
        """Set all caps of the team; owners and operators. What runs goes on."""
        principal = principal_of(request)
        team = team_named(principal, id)
        body = body_of(request)
        only_known(body, {"user_caps"})
        budgets.set_user_caps(principal, team, body.get("user_caps"), cell_id=services.DEFAULT_CELL)
        return Response(_shown(principal, [team_named(principal, id)])[0])


class BudgetView(View):
    """What a team may spend."""

    @extend_schema(
        operation_id="team_budget_set",
        parameters=[public_id("team")],
        request=shapes.NewBudgetSerializer,
        responses=answers(shapes.TeamSerializer),
    )
    def put(self, request: Request, id: str) -> Response:
        """Set the budget of the team and all below it. Operators; owners for a team below another. Once a hard one is
        spent, nothing with chips starts."""
        principal = principal_of(request)
        team = team_named(principal, id)
        budgets.set_budget(principal, team, body_of(request), clock.now().date())
        return Response(_shown(principal, [team_named(principal, id)])[0])

    @extend_schema(
        operation_id="team_budget_remove",
        parameters=[public_id("team")],
        request=None,
        responses={204: OpenApiResponse(description="Removed.")},
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove the budget of the team; those of the teams above it stay."""
        principal = principal_of(request)
        budgets.remove_budget(principal, team_named(principal, id))
        return Response(status=204)


class TokensView(View):
    """Your tokens."""

    @extend_schema(
        operation_id="tokens_list", parameters=[LIMIT, CURSOR], responses=answers(shapes.TokenListSerializer)
    )
    def get(self, request: Request) -> Response:
        """Your tokens, newest first, without their secrets."""
        tokens = visible_tokens(principal_of(request)).select_related("team")
        page = page_of(tokens, request, Order("id", descending=True))
        return Response(page.present(lambda rows: [token_shown(row) for row in rows]))

    @extend_schema(
        operation_id="token_create",
        request=shapes.NewTokenSerializer,
        responses=answers(shapes.TokenCreatedSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Make a token; its secret is in this answer and nowhere else."""
        body = body_of(request)
        only_known(body, {"name", "scopes", "expires_in_days", "team"})
        token, secret = services.make_token(
            principal_of(request),
            name=text_in(body, "name", most=100),
            scopes=scopes_in(body.get("scopes")),
            expires_in_days=days_in(body.get("expires_in_days")),
            team=text_in(body, "team", most=100, default="") if body.get("team") is not None else "",
        )
        return Response({**token_shown(token), "token": secret}, status=201)


class TokenView(View):
    """One token."""

    @extend_schema(
        operation_id="token_revoke",
        parameters=[public_id("token")],
        request=None,
        responses={204: OpenApiResponse(description="Revoked.")},
    )
    def delete(self, request: Request, id: str) -> Response:
        """Revoke a token; it is refused from the next request on."""
        services.revoke_token(principal_of(request), id)
        return Response(status=204)


def _with_relations(principal: Principal) -> Any:
    return (
        visible_teams(principal)
        .select_related("organization", "budget")
        .prefetch_related(
            Prefetch("quotas", Quota.objects.order_by("chip_type")),
            Prefetch("uses", TeamUse.objects.order_by("chip_type")),
            Prefetch("user_caps", UserCap.objects.order_by("chip_type")),
            Prefetch("members", TeamMember.objects.select_related("user").order_by("id")),
        )
    )


def team_named(principal: Principal, public_id: str) -> Team:
    """The team with what an answer shows of it. Raises NotFound for one that the principal does not see."""
    team = _with_relations(principal).filter(public_id=public_id).first()
    if team is None:
        raise NotFound("There is no such team among yours.")
    return cast(Team, team)


def _shown(principal: Principal, teams: Sequence[Team]) -> list[dict[str, Any]]:
    """The teams as they are told; what budgets spent is read for all of them at once."""
    there = [team.budget for team in teams if hasattr(team, "budget")]
    spent = spent_of(there, clock.now())
    return [_team(principal, team, spent.get(team.pk)) for team in teams]


def _team(principal: Principal, team: Team, spent: Spent | None) -> dict[str, Any]:
    role = principal.role_in(team.pk)
    return {
        "id": team.public_id,
        "name": team.name,
        "organization": {
            "id": team.organization.public_id,
            "name": team.organization.name,
            "slug": team.organization.slug,
        },
        "role": role.value if role else "operator",
        "quotas": _quotas(list(team.quotas.all()), list(team.uses.all())),
        "user_caps": [
            {"chip_type": cap.chip_type, "limit_milli": cap.limit_milli} for cap in team.user_caps.all()
        ],
        "budget": _budget(team.budget, spent) if spent is not None else None,
        "members": [{"username": seat.user.username, "role": seat.role} for seat in team.members.all()],
    }


def _quotas(quotas: Sequence[Quota], uses: Sequence[TeamUse]) -> list[dict[str, Any]]:
    """A line for every type with a quota or use; without a quota nothing is promised and nothing bounded."""
    used: dict[str, int] = {}
    for use in uses:
        used[use.chip_type] = used.get(use.chip_type, 0) + use.used_milli
    lines = {
        quota.chip_type: {
            "chip_type": quota.chip_type,
            "guaranteed_milli": quota.guaranteed_milli,
            "limit_milli": quota.limit_milli,
            "over_quota_weight": quota.over_quota_weight,
            "used_milli": used.get(quota.chip_type, 0),
        }
        for quota in quotas
    }
    for chip_type, milli in used.items():
        if chip_type not in lines and milli:
            lines[chip_type] = {
                "chip_type": chip_type,
                "guaranteed_milli": 0,
                "limit_milli": None,
                "over_quota_weight": 1,
                "used_milli": milli,
            }
    return [lines[chip_type] for chip_type in sorted(lines)]


def _budget(budget: Budget, spent: Spent) -> dict[str, Any]:
    is_over = budgets.is_over(budget, spent)
    return {
        **budgets.facts(budget),
        "spent_chip_ms": spent.chip_ms,
        "spent_micro": spent.micro,
        "state": "spent" if is_over else "warned" if budgets.is_warned(budget, spent) else "ok",
    }


def token_shown(token: Token) -> dict[str, Any]:
    """The token without its secret."""
    return {
        "id": token.public_id,
        "name": token.name,
        "scopes": token.scopes,
        "team": token.team.name if token.team else None,
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "revoked_at": stamp(token.revoked_at),
        "last_used_at": stamp(token.last_used_at),
    }


def _lines(given: object) -> list[QuotaLine]:
    known = set(QuotaLine.__annotations__)
    if not isinstance(given, list) or not all(isinstance(line, dict) for line in given):
        raise InvalidInput(
            "`quotas` must be a list of lines.", errors=[FieldError("quotas", "must be a list")]
        )
    errors = [
        FieldError(f"quotas.{n}.{str(key)[:60]}", "unknown key", f"known here are {', '.join(sorted(known))}")
        for n, line in enumerate(given)
        for key in line
        if key not in known
    ]
    if errors:
        raise InvalidInput("The quotas cannot be set so.", errors=errors)
    return cast(list[QuotaLine], given)


def scopes_in(given: object) -> list[str]:
    """The scopes of a body. Raises InvalidInput for anything but a list of texts."""
    if not isinstance(given, list) or not all(isinstance(scope, str) for scope in given):
        error = FieldError("scopes", "must be a list", "give read, write or both")
        raise InvalidInput("`scopes` must be a list.", errors=[error])
    return given


def days_in(given: object) -> int:
    """The lifetime of a body. Raises InvalidInput for anything but a whole number."""
    if isinstance(given, bool) or not isinstance(given, int):
        error = FieldError("expires_in_days", "must be a whole number of days")
        raise InvalidInput("`expires_in_days` must be a whole number of days.", errors=[error])
    return given
