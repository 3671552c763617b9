"""Trust rules, and the exchange of an identity for a token."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.renderers import FormParser, JSONParser
from flexai.api.schemas import trust as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.throttling import ExchangeThrottle, note_failed_exchange
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.api.views.teams import scopes_in
from flexai.common.errors import FieldError, Forbidden, InvalidInput, Unauthenticated
from flexai.jobs.presenting import stamp
from flexai.tenancy import issuers, trust
from flexai.tenancy.models import TrustRule

_FIELDS = {"account", "name", "issuer", "audience", "claims", "scopes", "expires_in_minutes"}


class RulesView(View):
    """Whose identities are trusted."""

    @extend_schema(
        operation_id="trust_rules_list",
        parameters=[LIMIT, CURSOR],
        responses=answers(shapes.RuleListSerializer),
    )
    def get(self, request: Request) -> Response:
        """The rules of the service accounts that you may manage."""
        rows = trust.visible_rules(principal_of(request)).select_related("account__team")
        page = page_of(rows, request, Order("id"))
        return Response(page.present(lambda found: [_shown(row) for row in found]))

    @extend_schema(
        operation_id="trust_rule_create",
        request=shapes.NewRuleSerializer,
        responses=answers(shapes.RuleSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Let whoever shows such an identity act as a service account of yours. Pipelines then need no secret."""
        body = body_of(request)
        only_known(body, _FIELDS)
        made = trust.create_rule(principal_of(request), text_in(body, "account", most=63), _wanted(body))
        return Response(_shown(made), status=201)


class RuleView(View):
    """One rule."""

    @extend_schema(
        operation_id="trust_rule_remove",
        parameters=[public_id("trust rule")],
        request=None,
        responses={204: OpenApiResponse(description="Removed.")},
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove it; the tokens that it gave are refused from the next request on."""
        trust.remove_rule(principal_of(request), id)
        return Response(status=204)


class ExchangeView(View):
    """An identity for a token (RFC 8693)."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ExchangeThrottle,)
    parser_classes = (JSONParser, FormParser)
    max_body_bytes = 4 * issuers.MAX_TOKEN

    @extend_schema(
        operation_id="auth_exchange",
        auth=[],
        request={
            "application/json": shapes.ExchangeSerializer,
            "application/x-www-form-urlencoded": shapes.ExchangeSerializer,
        },
        responses=answers(shapes.ExchangedSerializer),
    )
    def post(self, request: Request) -> Response:
        """Exchange an OpenID Connect identity token, as GitHub, GitLab and others give to each pipeline, for a
        short-lived token of the service account that a trust rule names."""
        body = body_of(request)
        only_known(body, set(shapes.ExchangeSerializer().fields))
        _check_words(body)
        try:
            made = trust.exchange(
                text_in(body, "subject_token", most=issuers.MAX_TOKEN),
                rule_id=text_in(body, "rule", most=32, default=""),
            )
        except (Unauthenticated, Forbidden):
            note_failed_exchange(request)
            raise
        answer = {
            "access_token": made.secret,
            "issued_token_type": shapes.ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": made.seconds,
            "scope": " ".join(made.token.scopes),
        }
        return Response(answer, headers={"Cache-Control": "no-store"})


def _check_words(body: dict[str, Any]) -> None:
    """Raises InvalidInput for an exchange of another kind than this one."""
    right = {
        "grant_type": (shapes.GRANT,),
        "subject_token_type": shapes.IDENTITY_KINDS,
        "requested_token_type": (shapes.ACCESS_TOKEN,),
    }
    for field, values in right.items():
        if body.get(field, values[0]) not in values:
            error = FieldError(field, "is another kind of exchange", f"send {' or '.join(values)}")
            raise InvalidInput(f"`{field}` is not one that this server knows.", errors=[error])


def _wanted(body: dict[str, Any]) -> trust.Wanted:
    claims, minutes = body.get("claims"), body.get("expires_in_minutes", trust.USUAL_MINUTES)
    if not isinstance(claims, dict):
        error = FieldError("claims", "must be an object", 'such as {"repository": "acme/train"}')
        raise InvalidInput("`claims` must be an object of patterns.", errors=[error])
    if isinstance(minutes, bool) or not isinstance(minutes, int):
        error = FieldError("expires_in_minutes", "must be a whole number of minutes")
        raise InvalidInput("`expires_in_minutes` must be a whole number.", errors=[error])
    return trust.Wanted(
        name=text_in(body, "name", most=63),
        issuer=text_in(body, "issuer", most=255),
        claims=claims,
        scopes=scopes_in(body.get("scopes")),
        audience=text_in(body, "audience", most=255, default=""),
        expires_in_minutes=minutes,
    )


def _shown(rule: TrustRule) -> dict[str, Any]:
    return {
        "id": rule.public_id,
        "account": rule.account.name,
        "team": rule.account.team.name if rule.account.team else None,
        "name": rule.name,
        "issuer": rule.issuer,
        "audience": rule.audience,
        "claims": rule.claims,
        "scopes": rule.scopes,
        "expires_in_minutes": rule.expires_in_minutes,
        "created_at": stamp(rule.created_at),
        "last_used_at": stamp(rule.last_used_at),
    }
