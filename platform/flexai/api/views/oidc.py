"""Signing in to the dashboard by a provider of identities: OpenID Connect's code flow, with PKCE, state and nonce.

What has to be remembered between the two requests is in a signed cookie of this browser, so that nobody can bring a
sign-in of theirs to its end in somebody else's. Pages for browsers, not part of the API: a refusal leads back to the
sign-in page, which says why.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth import login
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from flexai.api.throttling import OPEN_PER_WINDOW, WINDOW_SECONDS, address_of, count
from flexai.common.errors import FlexaiError, Forbidden, Unauthenticated
from flexai.common.fetching import NotFetched, check_url, post_form
from flexai.tenancy import issuers
from flexai.tenancy.browser_sessions import record_began
from flexai.tenancy.identities import signed_in
from flexai.tenancy.principals import principal_for_user
from flexai.tenancy.second_factor import SESSION_MARK

log = logging.getLogger(__name__)

COOKIE = "flexai_signing_in"
COOKIE_SECONDS = 600
"""From the click to the return from the provider."""
SESSION_SECONDS = 12 * 3600
"""Shorter than by password: who has left a group has left it here by the next morning."""
_SALT = "flexai.api.views.oidc"


@require_GET
@never_cache
def start(request: HttpRequest) -> HttpResponse:
    """Leads to the provider; `next` is the page of the dashboard to come back to."""
    if not settings.OIDC_ISSUER:
        raise Http404
    try:
        _check_rate(request)
        document = issuers.document_of(settings.OIDC_ISSUER)
        endpoint = str(document.get("authorization_endpoint", ""))
        check_url(endpoint, inside=settings.PRIVATE_ISSUERS)
    except (FlexaiError, NotFetched) as error:
        return _refused("unavailable", error)
    kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
    kept["next"] = _local(request, request.GET.get("next", "/"))
    query = {
        "response_type": "code",
        "client_id": settings.OIDC_CLIENT_ID,
        "redirect_uri": _redirect_uri(request),
        "scope": settings.OIDC_SCOPES,
        "state": kept["state"],
        "nonce": kept["nonce"],
        "code_challenge": _challenge(kept["verifier"]),
        "code_challenge_method": "S256",
    }
    answer = HttpResponseRedirect(f"{endpoint}?{urlencode(query)}")
    answer.set_cookie(
        COOKIE,
        signing.dumps(kept, salt=_SALT),
        max_age=COOKIE_SECONDS,
        path="/sign-in/oidc",
        secure=settings.SECURE,
        httponly=True,
        samesite="Lax",
    )
    return answer


@require_GET
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Where the provider sends the browser back to: signed in, or told why not."""
    if not settings.OIDC_ISSUER:
        raise Http404
    try:
        _check_rate(request)
        kept = _kept(request)
        claims = _claims(request, kept)
        user = signed_in(settings.OIDC_ISSUER, claims)
        principal = principal_for_user(user)
    except Forbidden as error:
        return _refused("no_role", error)
    except (FlexaiError, NotFetched) as error:
        return _refused("failed", error)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    record_began(principal, "provider")
    request.session.set_expiry(SESSION_SECONDS)
    ways = claims.get("amr")
    if isinstance(ways, list) and "mfa" in ways:
        request.session[SESSION_MARK] = True
    answer = HttpResponseRedirect(_local(request, kept["next"]))
    answer.delete_cookie(COOKIE, path="/sign-in/oidc")
    return answer


def _kept(request: HttpRequest) -> dict[str, str]:
    """What this browser was given at the start. Raises Unauthenticated for an answer to no start of its own."""
    try:
        kept: dict[str, str] = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=COOKIE_SECONDS
        )
    except signing.BadSignature:
        raise Unauthenticated("This browser began no sign-in in the last minutes.") from None
    if not constant_time_compare(request.GET.get("state", ""), kept["state"]):
        raise Unauthenticated("The answer belongs to another sign-in.")
    if request.GET.get("iss", settings.OIDC_ISSUER) != settings.OIDC_ISSUER:
        raise Unauthenticated("The answer is of another provider.")
    return kept


def _claims(request: HttpRequest, kept: dict[str, str]) -> dict[str, Any]:
    """Who signed in, from the identity token that the code is worth. Raises FlexaiError or NotFetched."""
    code = request.GET.get("code", "")
    if not code:
        raise Unauthenticated(f"The provider refused: {request.GET.get('error', 'no code')[:100]!r}.")
    endpoint = str(issuers.document_of(settings.OIDC_ISSUER).get("token_endpoint", ""))
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _redirect_uri(request),
        "client_id": settings.OIDC_CLIENT_ID,
        "code_verifier": kept["verifier"],
    }
    if settings.OIDC_CLIENT_SECRET:
        form["client_secret"] = settings.OIDC_CLIENT_SECRET
    answer = post_form(endpoint, form, inside=settings.PRIVATE_ISSUERS)
    token = answer.get("id_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise Unauthenticated("The provider gave no identity token.")
    claims = issuers.verified(token, issuer=settings.OIDC_ISSUER, audience=settings.OIDC_CLIENT_ID)
    if not constant_time_compare(str(claims.get("nonce", "")), kept["nonce"]):
        raise Unauthenticated("The identity token belongs to another sign-in.")
    if claims.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
        raise Unauthenticated("The identity token was given to another application.")
    return claims


def _check_rate(request: HttpRequest) -> None:
    """Raises Unauthenticated for an address that asks too often."""
    used, _ = count(f"open:{address_of(request)}", WINDOW_SECONDS)
    if used > OPEN_PER_WINDOW:
        raise Unauthenticated("Too many requests from this address.")


def _refused(code: str, error: Exception) -> HttpResponse:
    log.warning("no sign-in by the provider: %s", error)
    answer = HttpResponseRedirect(f"/login?refused={code}")
    answer.delete_cookie(COOKIE, path="/sign-in/oidc")
    return answer


def _redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("oidc-callback"))


def _local(request: HttpRequest, wanted: str) -> str:
    """A page of this server, whatever was asked for."""
    is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return quote(wanted, safe="/?&=%#:,.;@+~-") if is_ours else "/"


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
