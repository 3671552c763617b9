"""Members with their roles, and service accounts."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, prefetch_related_objects
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.api.views.teams import days_in, scopes_in, team_named, token_shown
from flexai.jobs.presenting import stamp
from flexai.tenancy import accounts, members
from flexai.tenancy.models import Membership, ServiceAccount, TeamMember, Token
from flexai.tenancy.principals import role_named
from flexai.tenancy.roles import Action

_USERNAME = OpenApiParameter(
    "username", OpenApiTypes.STR, OpenApiParameter.PATH, description="Of somebody in the organization."
)
_DONE: dict[Any, Any] = {204: OpenApiResponse(description="Done.")}


class MembersView(View):
    """Who has a role in the whole organization."""

    @extend_schema(
        operation_id="members_list",
        parameters=[LIMIT, CURSOR],
        responses=answers(shapes.MemberListSerializer),
    )
    def get(self, request: Request) -> Response:
        """Members with their roles, for those who name them; people of single teams stand with their teams."""
        principal = principal_of(request)
        principal.require(Action.NAME_MEMBERS)
        seats = Membership.objects.filter(organization=principal.organization).select_related("user")
        page = page_of(seats, request, Order("id"))
        return Response(page.present(lambda rows: [_member(row) for row in rows]))


class MemberView(View):
    """One member."""

    @extend_schema(
        operation_id="member_set",
        parameters=[_USERNAME],
        request=shapes.NewRoleSerializer,
        responses=answers(shapes.MemberSerializer),
    )
    def put(self, request: Request, username: str) -> Response:
        """Give a member another role in the whole organization, up to your own."""
        principal, role = principal_of(request), _role(request)
        principal.require(Action.NAME_MEMBERS)
        members.set_role(principal, members.person_named(principal.organization, username), role)
        return Response({"username": username, "role": role.value})

    @extend_schema(operation_id="member_remove", parameters=[_USERNAME], request=None, responses=_DONE)
    def delete(self, request: Request, username: str) -> Response:
        """Take somebody out of the organization and of all its teams."""
        principal = principal_of(request)
        principal.require(Action.NAME_MEMBERS)
        members.remove_member(principal, members.person_named(principal.organization, username))
        return Response(status=204)


class TeamMemberView(View):
    """Somebody's own role in one team."""

    @extend_schema(
        operation_id="team_member_set",
        parameters=[public_id("team"), _USERNAME],
        request=shapes.NewRoleSerializer,
        responses=answers(shapes.MemberSerializer),
    )
    def put(self, request: Request, id: str, username: str) -> Response:
        """Give somebody of the organization a role in this team and those below it, up to your own."""
        principal, role = principal_of(request), _role(request)
        team = team_named(principal, id)
        principal.require(Action.NAME_MEMBERS, team.pk)
        members.set_team_role(principal, team, members.person_named(team.organization, username), role)
        return Response({"username": username, "role": role.value})

    @extend_schema(
        operation_id="team_member_remove",
        parameters=[public_id("team"), _USERNAME],
        request=None,
        responses=_DONE,
    )
    def delete(self, request: Request, id: str, username: str) -> Response:
        """Take the role in this team away; one in the whole organization stays."""
        principal = principal_of(request)
        team = team_named(principal, id)
        principal.require(Action.NAME_MEMBERS, team.pk)
        members.remove_from_team(principal, team, members.person_named(team.organization, username))
        return Response(status=204)


class AccountsView(View):
    """Service accounts."""

    @extend_schema(
        operation_id="service_accounts_list",
        parameters=[LIMIT, CURSOR],
        responses=answers(shapes.AccountListSerializer),
    )
    def get(self, request: Request) -> Response:
        """Those that you may manage, with their tokens but not the secrets."""
        rows = accounts.visible_accounts(principal_of(request)).select_related("user", "team")
        page = page_of(rows.prefetch_related(*_RELATED), request, Order("id"))
        return Response(page.present(lambda found: [_account(row) for row in found]))

    @extend_schema(
        operation_id="service_account_create",
        request=shapes.NewAccountSerializer,
        responses=answers(shapes.AccountSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Make one, with a role up to your own in one team or in the whole organization."""
        body = body_of(request)
        only_known(body, {"name", "role", "team"})
        made = accounts.create_account(
            principal_of(request),
            name=text_in(body, "name", most=63),
            role=role_named(text_in(body, "role", most=16)),
            team=text_in(body, "team", most=100) if body.get("team") is not None else "",
        )
        return Response(_account(made), status=201)


class AccountView(View):
    """One service account."""

    @extend_schema(
        operation_id="service_account_read",
        parameters=[public_id("service account")],
        responses=answers(shapes.AccountSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """The account with its tokens, without their secrets."""
        account = accounts.account_named(principal_of(request), id)
        prefetch_related_objects([account], *_RELATED)
        return Response(_account(account))

    @extend_schema(
        operation_id="service_account_remove",
        parameters=[public_id("service account")],
        request=None,
        responses=_DONE,
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove it; its tokens are refused from the next request on, its jobs stay."""
        accounts.remove_account(principal_of(request), id)
        return Response(status=204)


class AccountTokensView(View):
    """Tokens of a service account."""

    @extend_schema(
        operation_id="service_account_token_create",
        parameters=[public_id("service account")],
        request=shapes.NewAccountTokenSerializer,
        responses=answers(shapes.TokenCreatedSerializer, 201),
    )
    def post(self, request: Request, id: str) -> Response:
        """Make a token of the account; its secret is in this answer and nowhere else."""
        principal = principal_of(request)
        account = accounts.account_named(principal, id)
        body = body_of(request)
        only_known(body, {"name", "scopes", "expires_in_days"})
        token, secret = accounts.make_account_token(
            principal,
            account,
            name=text_in(body, "name", most=100),
            scopes=scopes_in(body.get("scopes")),
            expires_in_days=days_in(body.get("expires_in_days")),
        )
        return Response({**token_shown(token), "token": secret}, status=201)


_RELATED = (
    Prefetch("user__memberships", Membership.objects.order_by("id")),
    Prefetch("user__team_memberships", TeamMember.objects.order_by("id")),
    Prefetch("user__tokens", Token.objects.filter(rule=None).select_related("team").order_by("-id")),
)
"""Tokens that identities were exchanged for come and go; the audit log has them."""


def _role(request: Request) -> Any:
    body = body_of(request)
    only_known(body, {"role"})
    return role_named(text_in(body, "role", most=16))


def _member(seat: Membership) -> dict[str, Any]:
    return {"username": seat.user.username, "role": seat.role}


def _account(account: ServiceAccount) -> dict[str, Any]:
    roles = [seat.role for seat in account.user.memberships.all()]
    roles += [seat.role for seat in account.user.team_memberships.all()]
    return {
        "id": account.public_id,
        "name": account.name,
        "username": account.user.username,
        "role": roles[0] if roles else None,
        "team": account.team.name if account.team else None,
        "created_at": stamp(account.created_at),
        "tokens": [token_shown(token) for token in account.user.tokens.all()],
    }
