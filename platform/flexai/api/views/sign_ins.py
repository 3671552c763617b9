"""Signing in a terminal from a browser (RFC 8628): the terminal's two questions, and the page's two."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import sign_ins as shapes
from flexai.api.schemas.common import answers
from flexai.api.throttling import AddressThrottle, CodeThrottle, TerminalThrottle, note_wrong_code
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.api.views.teams import days_in, scopes_in
from flexai.common.errors import FieldError, InvalidInput
from flexai.jobs.presenting import stamp
from flexai.tenancy import sign_ins

PAGE = "/connect"
_NOT_KEPT = {"Cache-Control": "no-store"}


class SignInsView(View):
    """A terminal that wants to be signed in."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (TerminalThrottle,)

    @extend_schema(
        operation_id="sign_in_begin",
        auth=[],
        request=shapes.NewSignInSerializer,
        responses=answers(shapes.SignInBegunSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Ask for a token of somebody who types the code on the page. Nothing is given by this alone."""
        body = body_of(request)
        only_known(body, {"machine", "scopes", "expires_in_days"})
        begun = sign_ins.begin(
            text_in(body, "machine", most=80),
            address=str(request.META.get("REMOTE_ADDR", "")),
            scopes=scopes_in(body.get("scopes", list(sign_ins.USUAL_SCOPES))),
            expires_in_days=days_in(body.get("expires_in_days", sign_ins.USUAL_DAYS)),
        )
        answer = {
            "device_code": begun.secret,
            "user_code": begun.code,
            "verification_uri": request.build_absolute_uri(PAGE),
            "expires_in": begun.seconds,
            "interval": sign_ins.INTERVAL_SECONDS,
        }
        return Response(answer, status=201, headers=_NOT_KEPT)


class SignInTokenView(View):
    """What became of a terminal's wish."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)

    @extend_schema(
        operation_id="sign_in_collect",
        auth=[],
        request=shapes.DeviceCodeSerializer,
        responses=answers(shapes.SignedInSerializer),
    )
    def post(self, request: Request) -> Response:
        """The token, once, when somebody has confirmed. Until then 400 with the code authorization_pending, or with
        slow_down for asking too often; access_denied when it was refused; expired_token for what is unknown, over or
        fetched."""
        body = body_of(request)
        only_known(body, {"device_code"})
        secret = text_in(body, "device_code", most=100)
        token, given, seconds = sign_ins.collect(secret)
        answer = {
            "access_token": given,
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": " ".join(token.scopes),
        }
        return Response(answer, headers=_NOT_KEPT)


class SignInLookView(View):
    """A terminal that shows a code."""

    throttle_classes = (CodeThrottle,)

    @extend_schema(
        operation_id="sign_in_look",
        request=shapes.UserCodeSerializer,
        responses=answers(shapes.SignInSerializer),
    )
    def post(self, request: Request) -> Response:
        """Which machine shows this code, and what it would be given. By a browser's session only."""
        body = body_of(request)
        only_known(body, {"code"})
        principal = principal_of(request)
        with note_wrong_code(request):
            found = sign_ins.waiting(principal, text_in(body, "code", most=20))
        here = principal.organization
        answer = {
            "machine": found.machine,
            "address": found.address,
            "asked_at": stamp(found.created_at),
            "expires_at": stamp(found.expires_at),
            "scopes": found.scopes,
            "expires_in_days": found.expires_in_days,
            "organization": {"id": here.public_id, "name": here.name, "slug": here.slug},
        }
        return Response(answer, headers=_NOT_KEPT)


class SignInDecideView(View):
    """The decision on a terminal that shows a code."""

    throttle_classes = (CodeThrottle,)

    @extend_schema(
        operation_id="sign_in_decide",
        request=shapes.DecisionSerializer,
        responses={204: OpenApiResponse(description="Decided.")},
    )
    def post(self, request: Request) -> Response:
        """Give the terminal a token of yours, or refuse it. By a browser's session only."""
        body = body_of(request)
        only_known(body, {"code", "grant"})
        grant = _grant_in(body)
        with note_wrong_code(request):
            sign_ins.decide(principal_of(request), text_in(body, "code", most=20), grant=grant)
        return Response(status=204)


def _grant_in(body: dict[str, Any]) -> bool:
    given = body.get("grant")
    if not isinstance(given, bool):
        error = FieldError("grant", "must be true or false")
        raise InvalidInput("`grant` must be true or false.", errors=[error])
    return given
