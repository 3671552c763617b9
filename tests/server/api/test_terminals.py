"""Signing in a terminal from a browser: a code is typed by who is signed in, and nothing is given by less."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from flexai.api import throttling
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.tenancy import sign_ins
from flexai.tenancy.models import AuditEntry, Membership, SignInRequest, Token
from flexai.tenancy.roles import Role
from flexai.tenancy.services import add_member
from tests.support.tenants import Api, Tenant, a_tenant

pytestmark = pytest.mark.django_db


class Clock:
    """Time stands still but for what a test lets pass."""

    def __init__(self) -> None:
        self.at = clock.now()

    def now(self) -> Any:
        return self.at

    def passes(self, **time: float) -> None:
        self.at += timedelta(**time)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sign_ins, "clock", SimpleNamespace(now=made.now))
    return made


@pytest.fixture
def tenant(db: None) -> Tenant:
    valkey().flushdb()
    return a_tenant("acme")


@pytest.fixture
def browser(tenant: Tenant) -> Client:
    """Somebody who is signed in."""
    made = Client()
    made.force_login(tenant.owner)
    return made


def asked(**body: Any) -> dict[str, Any]:
    """What a terminal is told at the start."""
    answer = Api().post("/sign-ins", {"machine": "laptop", **body})
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def collected(told: dict[str, Any]) -> Any:
    return Api().post("/sign-ins/token", {"device_code": told["device_code"]})


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def sent(browser: Client, path: str, **body: Any) -> Any:
    return browser.post(f"/api/v1/sign-ins/{path}", body, content_type="application/json")


def test_who_types_the_code_and_confirms_gives_a_token_once(
    tenant: Tenant, browser: Client, time: Clock
) -> None:
    told = asked()
    assert told["verification_uri"] == "http://testserver/connect"
    assert (told["expires_in"], told["interval"]) == (600, 2)
    assert code_of(collected(told)) == (400, "authorization_pending")
    shown = sent(browser, "look", code=told["user_code"]).json()
    assert (shown["machine"], shown["address"], shown["scopes"]) == ("laptop", "127.0.0.1", ["read", "write"])
    assert (shown["expires_in_days"], shown["organization"]["slug"]) == (90, "acme")
    time.passes(seconds=2)
    assert code_of(collected(told)) == (400, "authorization_pending"), "looking gives nothing"
    assert sent(browser, "decide", code=told["user_code"], grant=True).status_code == 204
    given = collected(told)
    assert given.status_code == 200, given.content
    assert (given.json()["token_type"], given.json()["scope"]) == ("Bearer", "read write")
    assert given.json()["expires_in"] == 90 * 24 * 3600
    assert code_of(collected(told)) == (400, "expired_token"), "once"
    me = Api(given.json()["access_token"]).get("/me").json()
    assert (me["user"]["username"], me["organization"]["slug"]) == (tenant.owner.username, "acme")
    token = Token.objects.latest("id")
    assert token.name == "flexai login on laptop"
    entries = AuditEntry.objects.filter(actor=tenant.owner.username).order_by("id")
    assert [entry.action for entry in entries] == ["sign_in.confirmed", "token.created"]
    facts = {"machine": "laptop", "address": "127.0.0.1", "scopes": ["read", "write"], "expires_in_days": 90}
    assert [entry.after for entry in entries] == [facts, {"name": token.name, **facts}]
    assert entries[1].object_id == token.public_id


def test_the_code_may_be_typed_in_any_manner(browser: Client) -> None:
    code = asked()["user_code"]
    assert sent(browser, "look", code=f" {code.lower().replace('-', ' ')} ").status_code == 200


def test_what_is_refused_is_said_to_the_terminal(tenant: Tenant, browser: Client) -> None:
    told, tokens = asked(), Token.objects.count()
    assert sent(browser, "decide", code=told["user_code"], grant=False).status_code == 204
    assert code_of(collected(told)) == (400, "access_denied")
    assert Token.objects.count() == tokens
    assert AuditEntry.objects.get(actor=tenant.owner.username).action == "sign_in.refused"
    assert sent(browser, "decide", code=told["user_code"], grant=True).status_code == 404, "one decision"


def test_a_code_that_is_wrong_over_decided_or_used_gets_the_same_answer(browser: Client, time: Clock) -> None:
    wrong = sent(browser, "look", code="BBBB-BBBB")
    decided, used, over = asked(), asked(), asked()
    sent(browser, "decide", code=decided["user_code"], grant=False)
    sent(browser, "decide", code=used["user_code"], grant=True)
    assert collected(used).status_code == 200
    time.passes(minutes=10)
    for told in (decided, used, over):
        for path, more in (("look", {}), ("decide", {"grant": True})):
            answer = sent(browser, path, code=told["user_code"], **more)
            kept = ("status", "code", "detail", "errors")
            assert [answer.json()[key] for key in kept] == [wrong.json()[key] for key in kept]
    unknown = Api().post("/sign-ins/token", {"device_code": "x"}).json()
    for told in (decided, used, over):
        assert collected(told).json()["detail"] == unknown["detail"]
    assert Token.objects.filter(name="flexai login on laptop").count() == 1


def test_a_terminal_that_asks_too_often_is_told_to_slow_down(time: Clock) -> None:
    told = asked()
    assert code_of(collected(told)) == (400, "authorization_pending")
    time.passes(seconds=0.5)
    assert code_of(collected(told)) == (400, "slow_down")
    time.passes(seconds=0.6)
    assert code_of(collected(told)) == (400, "authorization_pending")


def test_guesses_at_codes_are_bounded(browser: Client) -> None:
    told = asked()
    for _ in range(throttling.SIGN_INS_PER_WINDOW // 2):
        assert sent(browser, "look", code="BBBBBBBB").status_code == 404
        assert sent(browser, "decide", code="BBBBBBBB", grant=True).status_code == 404
    assert sent(browser, "look", code=told["user_code"]).status_code == 429
    refused = sent(browser, "decide", code=told["user_code"], grant=True)
    assert (refused.status_code, "Retry-After" in refused) == (429, True)
    assert code_of(collected(told)) == (400, "authorization_pending")


def test_how_many_terminals_of_an_address_begin_is_bounded(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "TERMINALS_PER_WINDOW", 2)
    asked(), asked()
    assert Api().post("/sign-ins", {"machine": "laptop"}).status_code == 429


def test_how_many_wait_at_once_is_bounded_and_what_is_over_goes(
    tenant: Tenant, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "MAX_OPEN", 2)
    asked(), asked()
    assert Api().post("/sign-ins", {"machine": "laptop"}).status_code == 503
    time.passes(minutes=11)
    asked()
    assert SignInRequest.objects.count() == 1


def test_a_token_decides_nothing_and_neither_does_an_address(tenant: Tenant, browser: Client) -> None:
    told = asked()
    for path, more in (("look", {}), ("decide", {"grant": True})):
        assert tenant.api.post(f"/sign-ins/{path}", {"code": told["user_code"], **more}).status_code == 409
        assert Api().post(f"/sign-ins/{path}", {"code": told["user_code"], **more}).status_code == 401
        assert browser.get(f"/api/v1/sign-ins/{path}", {"code": told["user_code"]}).status_code == 405
    assert code_of(collected(told)) == (400, "authorization_pending")


def test_a_foreign_page_decides_nothing(tenant: Tenant) -> None:
    told = asked()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(tenant.owner)
    assert sent(browser, "decide", code=told["user_code"], grant=True).status_code == 403
    assert code_of(collected(told)) == (400, "authorization_pending")


def test_who_is_a_member_no_more_gives_nothing(tenant: Tenant) -> None:
    leaver, _ = tenant.somebody(Role.MEMBER)
    browser = Client()
    browser.force_login(leaver)
    told, tokens = asked(), Token.objects.count()
    assert sent(browser, "decide", code=told["user_code"], grant=True).status_code == 204
    Membership.objects.filter(user=leaver).delete()
    assert code_of(collected(told)) == (403, "forbidden")
    assert Token.objects.count() == tokens


def test_the_token_acts_in_the_organization_that_was_chosen_in_the_browser(
    tenant: Tenant, browser: Client
) -> None:
    other = a_tenant("other")
    add_member(other.organization, tenant.owner, Role.VIEWER)
    browser.put("/api/v1/me/organization", {"organization": "other"}, content_type="application/json")
    told = asked(scopes=["read"], expires_in_days=1)
    shown = sent(browser, "look", code=told["user_code"]).json()
    assert (shown["organization"]["slug"], shown["scopes"]) == ("other", ["read"])
    sent(browser, "decide", code=told["user_code"], grant=True)
    given = collected(told).json()
    assert (given["scope"], given["expires_in"]) == ("read", 24 * 3600)
    assert Api(given["access_token"]).get("/me").json()["organization"]["slug"] == "other"


def test_of_the_terminals_secret_the_hash_is_kept(tenant: Tenant) -> None:
    told = asked()
    row = SignInRequest.objects.get()
    assert told["device_code"] not in str(SignInRequest.objects.values().get())
    assert row.code == told["user_code"].replace("-", "")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"machine": ""}, "machine"),
        ({"machine": "x" * 81}, "machine"),
        ({"machine": "a\nb"}, "machine"),
        ({"machine": "\x1b[31mred"}, "machine"),
        ({"machine": "m", "scopes": []}, "scopes"),
        ({"machine": "m", "scopes": ["root"]}, "scopes"),
        ({"machine": "m", "expires_in_days": 0}, "expires_in_days"),
        ({"machine": "m", "expires_in_days": 367}, "expires_in_days"),
        ({"machine": "m", "user": "ana"}, "user"),
    ],
)
def test_what_cannot_be_asked_for_is_named(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    answer = Api().post("/sign-ins", body)
    assert answer.status_code == 400
    assert field in [wrong["field"] for wrong in answer.json()["errors"]]
    assert not SignInRequest.objects.exists()
