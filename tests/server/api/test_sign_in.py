"""Signing in by a provider of identities: the real code flow, against a provider that is a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from flexai.common.broker import valkey
from flexai.config.settings import _group_roles
from flexai.tenancy.models import AuditEntry, Identity, Membership, Role, TeamMember, User
from flexai.tenancy.services import create_team
from tests.support.issuer import Issuer, an_issuer, rsa_key
from tests.support.tenants import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(tenant: Tenant, settings: Any) -> Iterator[Issuer]:
    """It knows ana, whose group `ml` are members of acme's team research."""
    valkey().flushdb()
    with an_issuer() as issuer:
        issuer.person |= {"groups": ["ml", "everybody"], "email": "ana@acme.example", "email_verified": True}
        settings.PRIVATE_ISSUERS = [issuer.url]
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = issuer.url, "flexai"
        settings.OIDC_CLIENT_SECRET = "of-the-client"
        settings.OIDC_GROUPS = _group_roles("ml=acme/research:member, leads=acme:owner, gone=nowhere:owner")
        yield issuer


def began(browser: Client, next: str = "/jobs") -> str:
    """Where the provider sends the browser back to."""
    answer = browser.get("/sign-in/oidc", {"next": next})
    assert answer.status_code == 302
    back = httpx.get(answer["Location"], follow_redirects=False).headers["Location"]
    assert back.startswith("http://testserver/sign-in/oidc/callback?")
    return back.removeprefix("http://testserver")


def ended(browser: Client, back: str) -> str:
    """Where it ends."""
    answer = browser.get(back)
    assert answer.status_code == 302
    return str(answer["Location"])


def signed_in(browser: Client, **options: Any) -> str:
    return ended(browser, began(browser, **options))


def test_somebody_of_a_group_signs_in_with_the_role_that_it_gives(provider: Issuer) -> None:
    browser = Client()
    assert browser.get("/api/v1/session").json() == {
        "authenticated": False,
        "single_sign_on": "single sign-on",
    }
    assert signed_in(browser) == "/jobs"
    me = browser.get("/api/v1/me").json()
    assert (me["user"]["username"], me["user"]["email"]) == ("ana", "ana@acme.example")
    assert [(team["name"], team["role"]) for team in me["teams"]] == [("research", "member")]
    assert me["user"]["is_operator"] is False
    user = User.objects.get(username="ana")
    assert not user.has_usable_password()
    assert browser.session.get_expiry_age() <= 12 * 3600
    entry = AuditEntry.objects.get(action="team.role_set")
    assert (entry.actor, entry.after) == ("ana", {"user": "ana", "role": "member"})
    signed_in(Client())
    assert User.objects.filter(username__startswith="ana").count() == 1
    assert AuditEntry.objects.filter(action="team.role_set").count() == 1, (
        "nothing changed, nothing is recorded"
    )


def test_roles_follow_the_groups_and_those_given_by_hand_stay(tenant: Tenant, provider: Issuer) -> None:
    signed_in(Client())
    user = User.objects.get(username="ana")
    provider.person["groups"] = ["leads"]
    signed_in(Client())
    assert Membership.objects.get(user=user).role == Role.OWNER
    assert not TeamMember.objects.filter(user=user).exists()
    provider.person["groups"] = []
    assert signed_in(Client()) == "/login?refused=no_role"
    assert not Membership.objects.filter(user=user).exists(), "the role is gone though the sign-in is refused"
    vision = create_team(tenant.organization, "vision")
    TeamMember.objects.create(team=vision, user=user, role="viewer")
    assert signed_in(Client()) == "/jobs"
    assert TeamMember.objects.get(user=user).team == vision


def test_the_last_owner_stays_one(tenant: Tenant, provider: Issuer) -> None:
    provider.person["groups"] = ["leads"]
    signed_in(Client())
    Membership.objects.filter(user=tenant.owner).delete()
    provider.person["groups"] = ["ml"]
    signed_in(Client())
    assert Membership.objects.get(user__username="ana").role == Role.OWNER


def test_a_stranger_is_refused_and_nothing_is_made(provider: Issuer) -> None:
    provider.person["groups"] = ["everybody"]
    browser = Client()
    users = User.objects.count()
    assert signed_in(browser) == "/login?refused=no_role"
    assert browser.get("/api/v1/me").status_code == 401
    assert (User.objects.count(), Identity.objects.count()) == (users, 0)


def test_a_name_that_somebody_has_makes_nobody_that_user(tenant: Tenant, provider: Issuer) -> None:
    provider.person |= {"preferred_username": tenant.owner.username, "email": tenant.owner.email}
    browser = Client()
    signed_in(browser)
    name = browser.get("/api/v1/me").json()["user"]["username"]
    assert name == f"{tenant.owner.username}-2"
    provider.person |= {"sub": "u-2"}
    signed_in(other := Client())
    assert other.get("/api/v1/me").json()["user"]["username"] == f"{tenant.owner.username}-3"


def test_a_second_factor_at_the_provider_counts(provider: Issuer) -> None:
    signed_in(browser := Client())
    assert "second_factor" not in browser.session
    provider.person["amr"] = ["pwd", "mfa"]
    signed_in(browser := Client())
    assert browser.session["second_factor"] is True


def test_a_user_that_is_switched_off_stays_out(provider: Issuer) -> None:
    signed_in(Client())
    User.objects.filter(username="ana").update(is_active=False)
    browser = Client()
    assert signed_in(browser) == "/login?refused=no_role"
    assert browser.get("/api/v1/me").status_code == 401


def test_a_sign_in_belongs_to_the_browser_that_began_it(provider: Issuer) -> None:
    mine, victim = Client(), Client()
    back = began(mine)
    assert ended(victim, back) == "/login?refused=failed", "it began none"
    began(victim)
    assert ended(victim, back) == "/login?refused=failed", "it began another"
    assert victim.get("/api/v1/me").status_code == 401
    again = began(mine)
    assert ended(mine, again) == "/jobs"
    assert ended(mine, again) == "/login?refused=failed", "once"


def test_an_answer_that_is_not_right_is_refused(provider: Issuer, settings: Any) -> None:
    provider.person["nonce"] = "of-another-sign-in"
    assert signed_in(Client()) == "/login?refused=failed"
    del provider.person["nonce"]
    provider.person["aud"] = "another-application"
    assert signed_in(Client()) == "/login?refused=failed"
    provider.person |= {"aud": "flexai", "azp": "another-application"}
    assert signed_in(Client()) == "/login?refused=failed"
    del provider.person["azp"]
    browser = Client()
    back = began(browser)
    [code] = provider.codes
    provider.codes[code]["code_challenge"] = "of-another-verifier"
    assert ended(browser, back) == "/login?refused=failed"
    browser = Client()
    state = parse_qs(urlsplit(began(browser)).query)["state"][0]
    other = {"state": state, "code": "x", "iss": "https://other.example"}
    for query in ({"state": state, "error": "access_denied"}, other):
        assert browser.get("/sign-in/oidc/callback", query)["Location"] == "/login?refused=failed"
    browser = Client()
    back = began(browser)
    provider.keys = {"k1": rsa_key(2)}
    assert ended(browser, back) == "/login?refused=failed", "a key that the provider has not published"
    settings.OIDC_CLIENT_SECRET = "wrong"
    assert signed_in(Client()) == "/login?refused=failed"
    assert not User.objects.filter(username="ana").exists()


@pytest.mark.parametrize(
    "next",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"],
)
def test_it_leads_back_to_this_server_alone(provider: Issuer, next: str) -> None:
    location = signed_in(Client(), next=next)
    assert location.startswith("/")
    assert urlsplit(location).netloc == ""
    assert "evil" not in location


def test_the_cookie_of_a_sign_in_is_out_of_reach(provider: Issuer, settings: Any) -> None:
    settings.SECURE = True
    browser = Client()
    browser.get("/sign-in/oidc")
    cookie = browser.cookies["flexai_signing_in"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/sign-in/oidc")
    assert cookie["secure"] is True


def test_a_provider_that_is_away_is_said(provider: Issuer, settings: Any) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert Client().get("/sign-in/oidc")["Location"] == "/login?refused=unavailable"


def test_where_no_provider_is_set_there_is_none(db: None) -> None:
    assert Client().get("/sign-in/oidc").status_code == 404
    assert Client().get("/sign-in/oidc/callback").status_code == 404
    assert Client().get("/api/v1/session").json()["single_sign_on"] is None


@pytest.mark.parametrize("text", ["ml", "ml=acme", "ml=acme:king", "=acme:owner", "ml=:owner"])
def test_a_mapping_that_is_none_stops_the_server(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="FLEXAI_OIDC_GROUPS"):
        _group_roles(text)


def test_groups_may_have_slashes_and_signs() -> None:
    assert _group_roles("/a=b/ml =acme/x:viewer, ") == [("/a=b/ml", "acme", "x", "viewer")]
