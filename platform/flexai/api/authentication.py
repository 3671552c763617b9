"""Who sent this request: a bearer token, or a session with its CSRF token.

`request.user` is the user, `request.auth` the `Principal`. A request with a bad token is refused even where
none is needed: silence would hide an expired one.
"""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from flexai.cluster import services
from flexai.cluster.models import Node
from flexai.common.errors import Unauthenticated
from flexai.tenancy.models import User
from flexai.tenancy.principals import CHOSEN, Principal, principal_for_user
from flexai.tenancy.tokens import principal_for_token


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer flx_…`; raises Unauthenticated (401) when malformed, unknown, expired or
    revoked."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("Send the token as `Authorization: Bearer flx_…`.")
        principal = principal_for_token(
            secret.strip(),
            with_teams=request.method not in SAFE_METHODS,
        )
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class AgentAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer` with a node's credential: `request.auth` is the `Node`, and no user asks. Raises
    Unauthenticated, and Forbidden for one that was revoked."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Node] | None:
        kind, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        return AnonymousUser(), services.node_for_credential(secret.strip())

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session; writes need the header X-CSRFToken with the value of the CSRF cookie."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = cast(User, found[0])
        chosen = str(request._request.session.get(CHOSEN, ""))
        return user, principal_for_user(user, chosen=chosen)


class _TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the token."""

    target_class = "flexai.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token made with POST /tokens."}


class _AgentScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the credential."""

    target_class = "flexai.api.authentication.AgentAuthentication"
    name = "agent"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A node's credential, from POST /agents/enrol.",
        }


class _SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the session."""

    target_class = "flexai.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "flexai_session"}
