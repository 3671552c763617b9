"""Keyless CI: identities of a real issuer are exchanged for tokens, and no other identity is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from django.test import Client

from flexai.api import throttling
from flexai.common.broker import valkey
from flexai.tenancy import issuers, trust
from flexai.tenancy.models import AuditEntry, Role, Token, TrustRule, UsedIdentity
from flexai.tenancy.services import create_team, set_team_role
from flexai.tenancy.tokens import create_token
from tests.support.issuer import Issuer, an_issuer, ec_key, rsa_key
from tests.support.tenants import Api, Tenant, a_spec

pytestmark = pytest.mark.django_db


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    valkey().flushdb()
    with an_issuer() as issuer:
        settings.PRIVATE_ISSUERS = [issuer.url]
        yield issuer


@pytest.fixture
def rule(tenant: Tenant, issuer: Issuer) -> dict[str, Any]:
    """The pipelines of acme/train act as the account `ci` of team research."""
    tenant.api.post("/service-accounts", {"name": "ci", "role": "member", "team": "research"})
    return made(tenant.api, issuer)


def made(api: Api, issuer: Issuer, **fields: Any) -> dict[str, Any]:
    body = {"account": "ci", "name": "train", "issuer": issuer.url, "scopes": ["read", "write"],
            "claims": {"repository": "acme/train", "ref": ["refs/heads/*", "refs/tags/v*"]}, **fields}  # fmt: skip
    answer = api.post("/trust-rules", body)
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def exchanged(identity: str, **fields: Any) -> Any:
    return Api().post("/auth/exchange", {"subject_token": identity, **fields})


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.content
    for word in words:
        assert word in answer.json()["detail"]
    assert not Token.objects.exclude(rule=None).exists()


def test_a_pipeline_without_a_secret_submits_as_the_service_account(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any]
) -> None:
    assert rule["audience"] == rule["id"]
    assert rule["team"] == "research"
    answer = exchanged(issuer.token(aud=rule["id"]))
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    got = answer.json()
    assert (got["token_type"], got["expires_in"], got["scope"]) == ("Bearer", 3600, "read write")
    api = Api(got["access_token"])
    me = api.get("/me").json()
    assert me["user"]["username"] == "ci@acme"
    assert [(team["name"], team["role"]) for team in me["teams"]] == [("research", "member")]
    assert api.post("/jobs", a_spec()).status_code == 201
    assert api.put(f"/teams/{tenant.team.public_id}/quotas", {"quotas": []}).status_code == 403
    entry = AuditEntry.objects.get(action="token.exchanged")
    assert entry.actor == "ci@acme"
    assert entry.after["rule"] == rule["id"]
    assert entry.after["identity"]["repository"] == "acme/train"
    assert got["access_token"] not in str(list(AuditEntry.objects.values()) + list(Token.objects.values()))
    assert tenant.api.get("/trust-rules").json()["items"][0]["last_used_at"] is not None


def test_the_exchange_speaks_the_words_of_rfc_8693_by_form(issuer: Issuer, rule: dict[str, Any]) -> None:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": issuer.token(aud=rule["id"]),
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    sent = urlencode(form)
    answer = Client().post("/api/v1/auth/exchange", sent, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200, answer.content
    assert answer.json()["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    twice = f"{sent}&rule=a&rule=b"
    answer = Client().post("/api/v1/auth/exchange", twice, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400
    assert exchanged(issuer.token(aud=rule["id"]), grant_type="password").status_code == 400


def test_an_identity_is_worth_one_exchange(issuer: Issuer, rule: dict[str, Any]) -> None:
    identity = issuer.token(aud=rule["id"])
    assert exchanged(identity).status_code == 200
    again = exchanged(identity)
    assert (again.status_code, "exchanged before" in again.json()["detail"]) == (401, True)
    nameless = issuer.token(aud=rule["id"], jti=None)
    assert exchanged(nameless).status_code == 200
    assert exchanged(nameless).status_code == 401
    assert Token.objects.exclude(rule=None).count() == 2
    assert UsedIdentity.objects.count() == 2


def test_an_ec_key_and_a_rotated_key_are_found(
    issuer: Issuer, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exchanged(issuer.token(aud=rule["id"])).status_code == 200
    issuer.keys = {"k2": ec_key()}
    late = issuer.token(aud=rule["id"], kid="k2", alg="ES256")
    assert exchanged(late).status_code == 401, "looked for a moment ago: not again so soon"
    monkeypatch.setattr(issuers, "LOOKED_AGAIN_AFTER_SECONDS", 0.0)
    assert exchanged(late).status_code == 200
    fetched = issuer.asked.count("/keys")
    assert exchanged(issuer.token(aud=rule["id"], kid="k2", alg="ES256")).status_code == 200
    assert issuer.asked.count("/keys") == fetched, "keys are kept"
    assert exchanged(issuer.token(aud=rule["id"], kid="k1", key=rsa_key())).status_code == 401, "withdrawn"


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"aud": "somebody-else"}, "No trust rule"),
        ({"aud": ["{rule}", "https://other.example"]}, "No trust rule"),
        ({"aud": None}, "No trust rule"),
        ({"iss": "https://token.actions.githubusercontent.com"}, "another issuer"),
        ({"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200}, "expired"),
        ({"exp": None}, "no exp"),
        ({"iat": None}, "no iat"),
        ({"sub": None}, "no sub"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600, "nbf": None}, "not valid yet"),
        ({"exp": int(time.time()) + 90 * 86400}, "longer than a week"),
        ({"exp": "soon"}, "refused"),
    ],
)
def test_an_identity_that_is_not_right_now_or_not_for_us_is_refused(
    issuer: Issuer, rule: dict[str, Any], claims: dict[str, Any], word: str
) -> None:
    claims = json.loads(json.dumps({"aud": "{rule}", **claims}).replace("{rule}", rule["id"]))
    refused(exchanged(issuer.token(**claims)), 401, word)


def test_an_audience_of_several_is_refused_though_the_rule_is_named(
    issuer: Issuer, rule: dict[str, Any]
) -> None:
    identity = issuer.token(aud=[rule["id"], "https://other.example"])
    refused(exchanged(identity, rule=rule["id"]), 401, "several audiences")


def test_an_identity_that_nobody_signed_is_refused(issuer: Issuer, rule: dict[str, Any]) -> None:
    aud = rule["id"]
    unsigned = issuer.token(aud=aud, key="", alg="none")
    public = rsa_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(issuer.token(aud=aud), options={"verify_signature": False})
    confused = _signed_with_text(claims, pem)
    head, _, signature = issuer.token(aud=aud).split(".")
    altered = base64.urlsafe_b64encode(json.dumps({**claims, "repository": "acme/other"}).encode()).decode()
    for identity in (
        unsigned, confused, issuer.token(aud=aud, key=rsa_key(2)), issuer.token(aud=aud, key=rsa_key(2), kid="new"),
        f"{head}.{altered.rstrip('=')}.{signature}", "x.y.z", "nonsense", "a" * 15_000,
    ):  # fmt: skip
        refused(exchanged(identity), 401)
    assert not AuditEntry.objects.filter(action__startswith="token.ex").exists()


def _signed_with_text(claims: dict[str, Any], secret: bytes) -> str:
    """HS256 with the public key as its secret: what a verifier that lets the token choose takes for right."""

    def encoded(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    head = encoded(json.dumps({"alg": "HS256", "kid": "k1", "typ": "JWT"}).encode())
    body = head + b"." + encoded(json.dumps(claims).encode())
    return (body + b"." + encoded(hmac.new(secret, body, hashlib.sha256).digest())).decode()


def test_a_short_key_is_refused(issuer: Issuer, rule: dict[str, Any]) -> None:
    issuer.keys = {"k1": rsa_key(3, 1024)}
    refused(exchanged(issuer.token(aud=rule["id"])), 401, "too short")


@pytest.mark.parametrize(
    "claims",
    [{"repository": "acme/trainer"}, {"repository": "acme/train", "ref": "refs/pull/1/merge"}, {"ref": None},
     {"repository": ["acme/train"]}, {"repository": "Acme/train"}],
)  # fmt: skip
def test_a_genuine_identity_that_the_rule_does_not_trust_is_refused_and_recorded(
    issuer: Issuer, rule: dict[str, Any], claims: dict[str, Any]
) -> None:
    answer = exchanged(issuer.token(aud=rule["id"], **claims))
    refused(answer, 403, "does not trust it")
    assert "refs/tags" not in answer.content.decode(), "the rule's patterns are its owner's business"
    entry = AuditEntry.objects.get(action="trust.refused")
    assert (entry.object_id, entry.actor) == (rule["id"], "ci@acme")


def test_an_identity_for_one_rule_opens_no_other(
    tenant: Tenant, other: Tenant, issuer: Issuer, rule: dict[str, Any]
) -> None:
    """Another tenant's rule that would fit everything catches nobody's pipeline."""
    other.api.post("/service-accounts", {"name": "ci", "role": "member"})
    theirs = made(other.api, issuer, claims={"repository": "acme/*"})
    identity = issuer.token(aud=rule["id"])
    refused(exchanged(identity, rule=theirs["id"]), 401, "another audience")
    assert Api(exchanged(identity).json()["access_token"]).get("/me").json()["organization"]["slug"] == "acme"


def test_a_rule_with_an_audience_of_its_own_is_named_in_the_exchange(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any]
) -> None:
    own = made(tenant.api, issuer, audience="https://flexai.example", scopes=["read"], expires_in_minutes=5)
    identity = issuer.token(aud=["https://flexai.example"])
    refused(exchanged(identity), 401, "No trust rule")
    got = exchanged(identity, rule=own["id"]).json()
    assert (got["expires_in"], got["scope"]) == (300, "read")
    assert Api(got["access_token"]).post("/jobs", a_spec()).status_code == 403


def test_a_rule_that_is_removed_takes_its_tokens_along(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any]
) -> None:
    api = Api(exchanged(issuer.token(aud=rule["id"])).json()["access_token"])
    assert api.get("/me").status_code == 200
    assert tenant.api.delete(f"/trust-rules/{rule['id']}").status_code == 204
    assert api.get("/me").status_code == 401
    assert exchanged(issuer.token(aud=rule["id"])).status_code == 401
    actions = (
        AuditEntry.objects.filter(object_kind="trustrule").order_by("id").values_list("action", flat=True)
    )
    assert list(actions) == ["trust.created", "trust.removed"]


def test_an_account_that_is_removed_takes_its_rules_along(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any]
) -> None:
    account = tenant.api.get("/service-accounts").json()["items"][0]["id"]
    api = Api(exchanged(issuer.token(aud=rule["id"])).json()["access_token"])
    assert tenant.api.delete(f"/service-accounts/{account}").status_code == 204
    assert api.get("/me").status_code == 401
    assert not TrustRule.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("issuer", "http://gitlab.example", "issuer"), ("issuer", "https://10.0.0.7", "issuer"),
        ("issuer", "https://[::ffff:10.0.0.7]", "issuer"), ("issuer", "https://169.254.169.254", "issuer"),
        ("issuer", "https://user@gitlab.example", "issuer"), ("issuer", "file:///etc/passwd", "issuer"),
        ("issuer", "https://gitlab.example?x=1", "issuer"), ("issuer", "http://127.0.0.1:1", "issuer"),
        ("claims", {}, "claims"), ("claims", {"repository": "*"}, "claims"),
        ("claims", {"ref": "refs/heads/main"}, "claims"),
        ("claims", {"repository": ["acme/train", "*/x"]}, "claims"), ("claims", {"sub": "repo:*"}, "claims"),
        ("claims", {"repository": 7}, "claims.repository"), ("claims", {"repository": []}, "claims.repository"),
        ("claims", {"repository": "a/\x00"}, "claims.repository"), ("claims", [], "claims"),
        ("name", "", "name"), ("scopes", [], "scopes"), ("scopes", ["admin"], "scopes"),
        ("expires_in_minutes", 1, "expires_in_minutes"), ("expires_in_minutes", 100_000, "expires_in_minutes"),
        ("expires_in_minutes", True, "expires_in_minutes"), ("audience", "a\nb", "audience"), ("user", "root", "user"),
    ],
)  # fmt: skip
def test_a_rule_cannot_be_made_otherwise(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any], field: str, value: Any, where: str
) -> None:
    body = {
        "account": "ci",
        "name": "x",
        "issuer": issuer.url,
        "scopes": ["read"],
        "claims": {"sub": "a"},
        field: value,
    }
    answer = tenant.api.post("/trust-rules", body)
    assert answer.status_code == 400, answer.content
    assert where in [error["field"] for error in answer.json()["errors"]]
    assert TrustRule.objects.count() == 1


def test_a_rule_never_gives_more_than_its_maker_has(tenant: Tenant, issuer: Issuer) -> None:
    """Nor does a token of the account: who can make either acts as the account."""
    boss = tenant.api.post("/service-accounts", {"name": "boss", "role": "owner"}).json()["id"]
    _, maintainer = tenant.somebody(Role.MAINTAINER)
    body = {"account": "boss", "name": "x", "issuer": issuer.url, "scopes": ["read"], "claims": {"sub": "a"}}
    assert maintainer.post("/trust-rules", body).status_code == 403
    token = {"name": "x", "scopes": ["read"], "expires_in_days": 1}
    assert maintainer.post(f"/service-accounts/{boss}/tokens", token).status_code == 403
    assert not TrustRule.objects.exists()
    assert not Token.objects.filter(user__username="boss@acme").exists()
    _, member = tenant.somebody(Role.MEMBER)
    assert member.post("/trust-rules", body).status_code == 404


def test_an_issuer_is_asked_within_bounds(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "LOOKED_AGAIN_AFTER_SECONDS", 0.0)
    wrong: list[tuple[str, Any]] = [
        (issuers.DISCOVERY, (302, {"Location": f"{issuer.url}/elsewhere"}, {})),
        (issuers.DISCOVERY, (200, {}, {"issuer": "https://other.example", "jwks_uri": f"{issuer.url}/keys"})),
        (issuers.DISCOVERY, (200, {}, {"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/keys"})),
        (issuers.DISCOVERY, (200, {}, {"issuer": issuer.url, "jwks_uri": "https://localhost:1/keys"})),
        (issuers.DISCOVERY, (200, {}, b" " * 300_000)),
        (issuers.DISCOVERY, (200, {}, b"[" * 100_000)),
        ("/keys", (200, {}, {"keys": "none"})),
        ("/keys", (500, {}, {})),
    ]
    for path, answer in wrong:
        issuers.forget()
        issuer.answers = {path: answer}
        refused(exchanged(issuer.token(aud=rule["id"])), 503, "cannot be read")
    assert "/elsewhere" not in issuer.asked
    issuer.answers = {}
    assert exchanged(issuer.token(aud=rule["id"])).status_code == 200, (
        "and once it answers rightly all is well"
    )


def test_guesses_are_soon_refused(
    issuer: Issuer, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "SIGN_INS_PER_ADDRESS", 3)
    assert [exchanged("x.y.z").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert exchanged(issuer.token(aud=rule["id"])).status_code == 429


def test_a_rule_gives_so_many_tokens_at_once(
    tenant: Tenant, issuer: Issuer, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "MAX_LIVE_TOKENS", 1)
    assert exchanged(issuer.token(aud=rule["id"])).status_code == 200
    identity = issuer.token(aud=rule["id"])
    assert exchanged(identity).status_code == 409
    Token.objects.exclude(rule=None).update(expires_at="2020-01-01T00:00:00Z")
    assert exchanged(identity).status_code == 200, "what was refused is not used up"


@pytest.mark.parametrize(
    ("pattern", "text", "fit"),
    [
        ("acme/train", "acme/train", True), ("acme/train", "acme/train2", False), ("acme/*", "acme/", True),
        ("acme/*", "acme2/x", False), ("*", "", True), ("a*a", "a", False), ("a*a", "aa", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "acb", False), ("a*b*b", "ab", False), ("*x*", "axb", True), ("a**b", "ab", True),
        ("[a]?", "a", False),
        ("*a" * 50 + "b", "a" * 5000, False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, text: str, fit: bool) -> None:
    assert trust.fits(pattern, text) is fit


def test_teams_do_not_see_each_others_rules(tenant: Tenant, issuer: Issuer, rule: dict[str, Any]) -> None:
    vision = create_team(tenant.organization, "vision")
    user, _ = tenant.somebody(None)
    set_team_role(tenant.principal, vision, user, Role.MAINTAINER)
    _, secret = create_token(user, tenant.organization, "t", ["read", "write"], 1)
    assert Api(secret).get("/trust-rules").json()["items"] == []
    assert Api(secret).delete(f"/trust-rules/{rule['id']}").status_code == 404
