"""Your second factor."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.authentication import SessionAuthentication
from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import answers
from flexai.api.throttling import PasswordAgainThrottle, note_wrong_password
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.common.errors import Forbidden, Unauthenticated
from flexai.tenancy import second_factor


class SecondFactorView(View):
    """Whether there is one, and a new one."""

    throttle_classes = (PasswordAgainThrottle,)

    @extend_schema(operation_id="second_factor_read", responses=answers(shapes.SecondFactorSerializer))
    def get(self, request: Request) -> Response:
        """Whether signing in with your password needs a code."""
        user = principal_of(request).user
        answer = {
            "active": second_factor.is_active(user),
            "has_password": user.has_usable_password(),
            "recovery_codes_left": second_factor.codes_left(user),
        }
        return Response(answer)

    @extend_schema(
        operation_id="second_factor_begin",
        request=shapes.PasswordSerializer,
        responses=answers(shapes.BegunSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Begin one: tell your authenticator the secret, then confirm with a code of it."""
        body = _body(request, {"password"})
        try:
            begun = second_factor.begin(principal_of(request), text_in(body, "password", most=1024))
        except Unauthenticated:
            note_wrong_password(request)
            raise
        return Response({"secret": begun.secret, "uri": begun.uri}, status=201, headers=_NOT_KEPT)


class ConfirmView(View):
    """A second factor that was begun."""

    throttle_classes = (PasswordAgainThrottle,)

    @extend_schema(
        operation_id="second_factor_confirm",
        request=shapes.CodeSerializer,
        responses=answers(shapes.RecoveryCodesSerializer),
    )
    def post(self, request: Request) -> Response:
        """From now on signing in with your password needs a code. Keep the recovery codes. A browser session that sent
        this has shown its code."""
        body = _body(request, {"code"})
        try:
            codes = second_factor.confirm(principal_of(request), text_in(body, "code", most=40))
        except Forbidden:
            note_wrong_password(request)
            raise
        if isinstance(request.successful_authenticator, SessionAuthentication):
            request._request.session[second_factor.SESSION_MARK] = True
        return Response({"recovery_codes": codes}, headers=_NOT_KEPT)


class RemoveView(View):
    """A second factor that is needed no more."""

    throttle_classes = (PasswordAgainThrottle,)

    @extend_schema(
        operation_id="second_factor_remove",
        request=shapes.PasswordAndCodeSerializer,
        responses={204: OpenApiResponse(description="Removed.")},
    )
    def post(self, request: Request) -> Response:
        """Remove it; your password alone signs in afterwards."""
        body = _body(request, {"password", "code"})
        password, code = text_in(body, "password", most=1024), text_in(body, "code", most=40)
        try:
            second_factor.remove(principal_of(request), password, code)
        except Unauthenticated:
            note_wrong_password(request)
            raise
        return Response(status=204)


_NOT_KEPT = {"Cache-Control": "no-store"}


def _body(request: Request, known: set[str]) -> dict[str, Any]:
    body = body_of(request)
    only_known(body, known)
    return body
