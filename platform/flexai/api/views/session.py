"""Signing in and out by browser, and who you are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.db.models import Q
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect, ensure_csrf_cookie
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from flexai import __version__
from flexai.api import devices
from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import answers
from flexai.api.throttling import (
    CODES_PER_WINDOW,
    SIGN_IN_WINDOW_SECONDS,
    SignInThrottle,
    count,
    note_failed_sign_in,
)
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.common.errors import Conflict, NotFound, Unauthenticated
from flexai.tenancy import second_factor
from flexai.tenancy.browser_sessions import record_began, record_ended
from flexai.tenancy.models import Budget, Organization, User
from flexai.tenancy.principals import CHOSEN, Principal, organizations_of, principal_for_user, principal_in
from flexai.tenancy.second_factor import SESSION_MARK as SECOND_FACTOR
from flexai.tenancy.second_factor import SecondFactorNeeded


class SessionView(View):
    """The browser's session."""

    permission_classes = (AllowAny,)
    throttle_classes = (SignInThrottle,)

    @extend_schema(operation_id="session_read", responses=answers(shapes.SessionSerializer))
    @method_decorator(ensure_csrf_cookie)
    def get(self, request: Request) -> Response:
        """Whether you are signed in; sets the CSRF cookie."""
        return Response(
            {
                "authenticated": bool(request.user and request.user.is_authenticated),
                "single_sign_on": settings.OIDC_NAME if settings.OIDC_ISSUER else None,
            }
        )

    @extend_schema(
        operation_id="session_open",
        auth=[],
        request=shapes.CredentialsSerializer,
        responses=answers(shapes.MeSerializer),
    )
    @method_decorator(csrf_protect)
    def post(self, request: Request) -> Response:
        """Sign in. Too many failures for one name or address are refused for a while (429)."""
        body = body_of(request)
        only_known(body, {"username", "password", "code"})
        username = text_in(body, "username", most=150)
        password = text_in(body, "password", most=1024)
        code = text_in(body, "code", most=40, default="")
        user = authenticate(request._request, username=username, password=password)
        if not isinstance(user, User):
            note_failed_sign_in(request)
            raise Unauthenticated("Name or password is wrong.")
        has_second = second_factor.is_active(user)
        if has_second:
            _check_code(request, user, code)
        principal = principal_for_user(user)
        login(request._request, user)
        if has_second:
            request._request.session[SECOND_FACTOR] = True
        record_began(principal, "code" if has_second else "password")
        answer = Response(_me(principal))
        devices.remember(answer, request._request, username)
        return answer

    @extend_schema(
        operation_id="session_close",
        request=None,
        responses={204: OpenApiResponse(description="Signed out.")},
    )
    def delete(self, request: Request) -> Response:
        """Sign out."""
        if isinstance(request.auth, Principal) and request.auth.token is None:
            record_ended(request.auth)
        logout(request._request)
        return Response(status=204)


def _check_code(request: Request, user: User, code: str) -> None:
    """Raises SecondFactorNeeded without a code or with a wrong one, and for too many of them from anywhere."""
    if not code:
        raise SecondFactorNeeded("Send a code of your authenticator, or a recovery code, along.")
    used, _ = count(f"code:{user.pk}", SIGN_IN_WINDOW_SECONDS)
    if used > CODES_PER_WINDOW:
        raise SecondFactorNeeded("Too many codes were tried; wait some minutes.")
    if not second_factor.is_right(user, code):
        note_failed_sign_in(request)
        raise SecondFactorNeeded("The code is wrong, or was used before.")


class MeView(View):
    """You."""

    @extend_schema(operation_id="me", responses=answers(shapes.MeSerializer))
    @method_decorator(ensure_csrf_cookie)
    def get(self, request: Request) -> Response:
        """Who you are, your teams, and what you should know about this platform."""
        return Response(_me(principal_of(request)))


class MyOrganizationView(View):
    """In which of your organizations this browser acts."""

    @extend_schema(
        operation_id="my_organization_set",
        request=shapes.MyOrganizationSerializer,
        responses=answers(shapes.MeSerializer),
    )
    def put(self, request: Request) -> Response:
        """Act in another organization of yours from the next request on. A token belongs to one for good."""
        body = body_of(request)
        only_known(body, {"organization"})
        named = text_in(body, "organization", most=63)
        principal = principal_of(request)
        if principal.token is not None:
            raise Conflict("A token acts in the organization that it was made in; make one in the other.")
        found = organizations_of(principal.user).filter(Q(public_id=named) | Q(slug=named)).first()
        if found is None:
            raise NotFound("There is no such organization among yours.")
        request._request.session[CHOSEN] = found.public_id
        return Response(_me(principal_in(found, principal.user)))


def _me(principal: Principal) -> dict[str, Any]:
    user, organization = principal.user, principal.organization
    return {
        "user": {"username": user.username, "email": user.email, "is_operator": principal.is_operator},
        "organization": _organization(organization),
        "organizations": [_organization(each) for each in _choice(principal)],
        "teams": [
            {"id": seat.public_id, "name": seat.name, "role": seat.role.value} for seat in principal.teams
        ],
        "version": __version__,
        "currency": settings.CURRENCY,
        "notices": [*_notices(), *_budget_notices(principal)],
    }


def _choice(principal: Principal) -> Iterable[Organization]:
    """Where the caller may act. A token tells of its own organization alone: it may be in other hands."""
    return [principal.organization] if principal.token is not None else organizations_of(principal.user)


def _organization(organization: Organization) -> dict[str, str]:
    return {"id": organization.public_id, "name": organization.name, "slug": organization.slug}


def _budget_notices(principal: Principal) -> list[str]:
    """What the caller should know of the budgets of its teams."""
    rows = Budget.objects.filter(team__in=[seat.pk for seat in principal.teams], is_warned=True)
    told = []
    for name, soft, hard, is_spent in rows.order_by("team__name").values_list(
        "team__name", "soft_percent", "hard", "is_spent"
    ):
        if is_spent and hard:
            told.append(f"The budget of team {name} is spent: nothing with chips starts there.")
        else:
            told.append(
                f"The budget of team {name} is {'spent' if is_spent else f'used to {soft} % or more'}."
            )
    return told


def _notices() -> list[str]:
    if settings.SINGLE_ORGANIZATION:
        return [
            "Jobs run as the platform's own user: everybody who may submit here is trusted with this machine."
        ]
    return []
