"""Tokens, sessions, scopes, CSRF, throttles."""

from __future__ import annotations

from datetime import timedelta
from importlib import metadata
from typing import Any

import pytest
from django.test import Client

import flexai
from flexai.api import throttling
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.jobs.models import Job
from flexai.tenancy.models import AuditEntry, Role, Token
from flexai.tenancy.services import create_token
from tests.support.tenants import PASSWORD, Api, Tenant, a_spec, give_password

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer nonsense", "Bearer flx_" + "a" * 43, "Basic YTpi", "Bearer flx_\xe4"]
)
def test_a_bad_token_is_refused(tenant: Tenant, header: str) -> None:
    answer = Client().get("/api/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_refused_and_says_when(tenant: Tenant) -> None:
    Token.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    answer = tenant.api.get("/me")
    assert answer.status_code == 401
    assert "expired on" in answer.json()["detail"]


def test_a_revoked_token_is_refused_at_once(tenant: Tenant) -> None:
    made = tenant.api.post("/tokens", {"name": "ci", "scopes": ["read", "write"], "expires_in_days": 7})
    assert made.status_code == 201, made.content
    secret, public_id = made.json()["token"], made.json()["id"]
    assert len(secret) == 47
    assert secret.startswith("flx_")
    api = Api(secret)
    assert api.get("/me").status_code == 200
    assert tenant.api.delete(f"/tokens/{public_id}").status_code == 204
    refused = api.get("/me")
    assert (refused.status_code, refused.json()["detail"]) == (401, "This token was revoked.")
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["token.created", "token.revoked"]
    assert tenant.api.delete(f"/tokens/{public_id}").status_code == 204, "revoking again changes nothing"
    assert AuditEntry.objects.count() == 2


def test_only_the_hash_of_a_token_is_kept(tenant: Tenant) -> None:
    secret = tenant.api.post("/tokens", {"name": "ci", "scopes": ["read"], "expires_in_days": 1}).json()[
        "token"
    ]
    rows = str(list(Token.objects.values())) + str(list(AuditEntry.objects.values()))
    assert secret not in rows
    assert secret[4:] not in rows
    assert "token" not in tenant.api.get("/tokens").json()["items"][0]


def test_a_switched_off_user_is_refused(tenant: Tenant) -> None:
    tenant.owner.is_active = False
    tenant.owner.save()
    assert tenant.api.get("/me").status_code == 401


def test_scopes_hold(tenant: Tenant) -> None:
    _, secret = create_token(tenant.owner, tenant.organization, "reader", ["read"], 1)
    reader = Api(secret)
    assert reader.get("/jobs").status_code == 200
    refused = reader.post("/jobs", a_spec())
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert not Job.objects.exists()
    _, secret = create_token(tenant.owner, tenant.organization, "writer", ["write"], 1)
    assert Api(secret).get("/jobs").status_code == 403
    more = Api(secret).post("/tokens", {"name": "x", "scopes": ["read", "write"], "expires_in_days": 1})
    assert more.status_code == 400, "a token gives no more than it has"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "x"}, {"name": "", "scopes": ["read"], "expires_in_days": 1},
        {"name": "x", "scopes": ["admin"], "expires_in_days": 1}, {"name": "x", "scopes": [],
        "expires_in_days": 1},
        {"name": "x", "scopes": ["read"], "expires_in_days": 0}, {"name": "x", "scopes": ["read"],
        "expires_in_days": 4000},
        {"name": "x", "scopes": "read", "expires_in_days": 1}, {"name": "x", "scopes": ["read"],
        "expires_in_days": True},
        {"name": "x\0", "scopes": ["read"], "expires_in_days": 1},
        {"name": "x", "scopes": ["read"], "expires_in_days": 1, "user": "root"},
    ],
)  # fmt: skip
def test_a_token_cannot_be_made_otherwise(tenant: Tenant, body: dict[str, Any]) -> None:
    assert tenant.api.post("/tokens", body).status_code == 400
    assert Token.objects.count() == 1


def test_use_is_noted_at_most_once_a_minute(tenant: Tenant, statements: list[str]) -> None:
    tenant.api.get("/me")
    first = Token.objects.get().last_used_at
    assert first is not None
    statements.clear()
    tenant.api.get("/me")
    assert not [text for text in statements if "UPDATE" in text]
    Token.objects.update(last_used_at=clock.now() - timedelta(seconds=61))
    tenant.api.get("/me")
    assert Token.objects.get().last_used_at > first


@pytest.fixture
def quick_hashes(settings: Any) -> None:
    """Passwords are hashed at once: their strength is Django's to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.mark.usefixtures("quick_hashes")
class TestSession:
    def test_signing_in_needs_the_csrf_token_and_so_does_every_write(self, tenant: Tenant) -> None:
        give_password(tenant.owner)
        browser = Client(enforce_csrf_checks=True)
        credentials = {"username": tenant.owner.username, "password": PASSWORD}

        def post(path: str, body: Any, *, csrf: bool) -> Any:
            cookie = browser.cookies.get("flexai_csrf")
            headers = {"X-CSRFToken": cookie.value} if csrf and cookie else {}
            return browser.post(f"/api/v1{path}", body, content_type="application/json", headers=headers)

        assert browser.get("/api/v1/session").json() == {"authenticated": False, "single_sign_on": None}
        assert post("/session", credentials, csrf=False).status_code == 403
        signed_in = post("/session", credentials, csrf=True)
        assert signed_in.status_code == 200, signed_in.content
        assert signed_in.json()["user"]["username"] == tenant.owner.username
        assert browser.get("/api/v1/me").json()["teams"][0]["role"] == "owner"
        assert post("/jobs", a_spec(), csrf=False).status_code == 403
        assert not Job.objects.exists()
        assert post("/jobs", a_spec(), csrf=True).status_code == 201
        cookie = browser.cookies["flexai_csrf"].value
        assert browser.delete("/api/v1/session", headers={"X-CSRFToken": cookie}).status_code == 204
        assert browser.get("/api/v1/me").status_code == 401

    def test_a_wrong_password_is_refused_and_soon_throttled(self, tenant: Tenant, monkeypatch: Any) -> None:
        give_password(tenant.owner)
        valkey().flushdb()
        monkeypatch.setattr(throttling, "SIGN_INS_PER_WINDOW", 3)
        browser = Client()

        def sign_in(password: str, name: str = tenant.owner.username) -> Any:
            body = {"username": name, "password": password}
            return browser.post("/api/v1/session", body, content_type="application/json")

        assert [sign_in("wrong").status_code for _ in range(3)] == [401] * 3
        refused = sign_in(PASSWORD)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused["Retry-After"]) <= throttling.SIGN_IN_WINDOW_SECONDS
        assert sign_in("wrong", "somebody-else").status_code == 401, "others are not locked out"

    @pytest.mark.parametrize(
        "body",
        [{}, {"username": "a"}, {"username": ["a"], "password": "b"}, {"username": "a\0", "password": "b"}],
    )
    def test_other_bodies_are_refused(self, db: None, body: Any) -> None:
        assert Client().post("/api/v1/session", body, content_type="application/json").status_code == 400


def test_the_version_is_the_packages_own_also_where_it_is_not_installed(
    tenant: Tenant, monkeypatch: Any
) -> None:
    def not_installed(_: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", not_installed)
    assert tenant.api.get("/me").json()["version"] == flexai.__version__


def test_a_caller_in_a_loop_is_told_to_wait(tenant: Tenant, monkeypatch: Any) -> None:
    valkey().flushdb()
    monkeypatch.setattr(throttling, "REQUESTS_PER_WINDOW", 2)
    monkeypatch.setattr(throttling, "WINDOW_SECONDS", 3600)
    statuses = [tenant.api.get("/me").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = tenant.api.get("/me")
    assert int(refused["Retry-After"]) >= 1
    assert refused["Content-Type"] == "application/problem+json"
    _, colleague = tenant.somebody(Role.MEMBER)
    assert colleague.get("/me").status_code == 200


def test_me_says_who_one_is(tenant: Tenant) -> None:
    told = tenant.api.get("/me").json()
    assert told["organization"] == {"id": tenant.organization.public_id, "name": "Acme", "slug": "acme"}
    assert told["teams"] == [{"id": tenant.team.public_id, "name": "research", "role": "owner"}]
    assert told["user"]["is_operator"] is False
    assert told["notices"] == []


def test_me_warns_where_all_jobs_run_as_one_user(tenant: Tenant, settings: Any) -> None:
    settings.SINGLE_ORGANIZATION = True
    assert "own user" in tenant.api.get("/me").json()["notices"][0]
