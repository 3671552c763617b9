"""Where somebody is signed in by browser: listed without the key, and ended at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser

from flexai.common import clock
from flexai.jobs.tasks import prune
from flexai.tenancy.browser_sessions import browser_of
from flexai.tenancy.models import AuditEntry, BrowserSession
from tests.support.tenants import Tenant

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-pass-phrase"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1"


@pytest.fixture
def owner(tenant: Tenant) -> Tenant:
    tenant.owner.set_password(PASSWORD)
    tenant.owner.save()
    return tenant


def signed_in(tenant: Tenant, agent: str, address: str) -> Browser:
    browser = Browser(HTTP_HOST="localhost", HTTP_USER_AGENT=agent, REMOTE_ADDR=address)
    body = {"username": tenant.owner.username, "password": PASSWORD}
    answer = browser.post("/api/v1/session", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return browser


def listed(browser: Browser) -> list[dict[str, Any]]:
    return list(browser.get("/api/v1/me/sessions").json()["items"])


def test_each_browser_is_listed_with_where_and_when_and_never_its_key(owner: Tenant) -> None:
    desk, phone = signed_in(owner, FIREFOX, "10.0.0.1"), signed_in(owner, SAFARI, "10.0.0.2")
    found = {one["browser"]: one for one in listed(desk)}
    assert set(found) == {"Firefox on Linux", "Safari on iPhone"}
    assert [found[name]["is_this"] for name in sorted(found)] == [True, False]
    assert found["Safari on iPhone"]["address"] == "10.0.0.2"
    told = desk.get("/api/v1/me/sessions").content.decode()
    for browser in (desk, phone):
        assert browser.cookies["flexai_session"].value not in told
    assert owner.api.get("/me/sessions").json()["items"][0]["is_this"] is False, "a token is no session"


def test_whoever_stole_a_cookie_is_seen_by_the_address_and_out_once_it_is_ended(owner: Tenant) -> None:
    desk = signed_in(owner, FIREFOX, "10.0.0.1")
    stolen = signed_in(owner, FIREFOX, "10.0.0.2")
    thief = Browser(HTTP_HOST="localhost", REMOTE_ADDR="203.0.113.9")
    thief.cookies = stolen.cookies
    assert thief.get("/api/v1/me").status_code == 200
    [bad] = [one for one in listed(desk) if one["address"] == "203.0.113.9"]
    assert desk.delete(f"/api/v1/me/sessions/{bad['id']}").status_code == 204
    for path in ("me", "jobs", "me/sessions"):
        assert thief.get(f"/api/v1/{path}").status_code == 401
    assert desk.get("/api/v1/me").status_code == 200
    entry = AuditEntry.objects.get(action="session.ended")
    assert (entry.object_id, entry.before["address"]) == (bad["id"], "203.0.113.9")
    assert desk.delete(f"/api/v1/me/sessions/{bad['id']}").status_code == 404


def test_all_others_are_ended_at_once_and_nobody_elses(owner: Tenant, other: Tenant) -> None:
    stranger = Browser(HTTP_HOST="localhost")
    stranger.force_login(other.owner)
    browsers = [signed_in(owner, FIREFOX, f"10.0.0.{n}") for n in range(3)]
    foreign = listed(stranger)[0]["id"]
    assert browsers[0].delete(f"/api/v1/me/sessions/{foreign}").status_code == 404
    assert browsers[0].post("/api/v1/me/sessions/end-others", {}, "application/json").json() == {"ended": 2}
    assert [browser.get("/api/v1/me").status_code for browser in browsers] == [200, 401, 401]
    assert stranger.get("/api/v1/me").status_code == 200


def test_use_is_noted_by_the_minute_and_what_is_over_goes(owner: Tenant) -> None:
    browser = signed_in(owner, FIREFOX, "10.0.0.1")
    before = clock.now() - timedelta(hours=1)
    BrowserSession.objects.update(used_at=before)
    browser.get("/api/v1/me")
    noted = BrowserSession.objects.get().used_at
    assert noted > before
    browser.get("/api/v1/me")
    assert BrowserSession.objects.get().used_at == noted
    browser.put("/api/v1/me/organization", {"organization": owner.organization.slug}, "application/json")
    assert BrowserSession.objects.get().used_at == noted, "what is written into a session leaves its use"
    BrowserSession.objects.update(expire_date=clock.now() - timedelta(days=2))
    assert owner.api.get("/me/sessions").json()["items"] == []
    prune()
    assert not BrowserSession.objects.exists()


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0",
         "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
         "Safari on macOS"),
        ("curl/8.5.0", "curl"),
        ("<script>", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_plain_words(agent: str, words: str) -> None:
    assert browser_of(agent) == words
