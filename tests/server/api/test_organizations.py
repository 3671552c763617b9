"""Somebody in several organizations acts in one at a time, and in none that they have left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from flexai.common.broker import valkey
from flexai.tenancy.models import Membership, Role, Token
from flexai.tenancy.services import add_member
from tests.cli.conftest import Shell
from tests.support.tenants import PASSWORD, Tenant, a_spec, give_password

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(tenant: Tenant, other: Tenant) -> Client:
    """Of acme's owner, who is a viewer in globex too."""
    add_member(other.organization, tenant.owner, Role.VIEWER)
    made = Client()
    made.force_login(tenant.owner)
    return made


def act_in(browser: Client, organization: str) -> Any:
    return browser.put(
        "/api/v1/me/organization", {"organization": organization}, content_type="application/json"
    )


def test_a_browser_acts_in_the_organization_that_was_chosen(
    browser: Client, tenant: Tenant, other: Tenant
) -> None:
    tenant.api.post("/jobs", a_spec(name="of-acme"))
    other.api.post("/jobs", a_spec(name="of-globex"))

    def seen() -> tuple[str, list[str]]:
        names = [job["name"] for job in browser.get("/api/v1/jobs").json()["items"]]
        return browser.get("/api/v1/me").json()["organization"]["slug"], names

    assert seen() == ("acme", ["of-acme"])
    assert [each["slug"] for each in browser.get("/api/v1/me").json()["organizations"]] == ["acme", "globex"]
    answer = act_in(browser, "globex")
    assert answer.status_code == 200, answer.content
    assert [team["role"] for team in answer.json()["teams"]] == ["viewer"]
    assert seen() == ("globex", ["of-globex"])
    refused = browser.post("/api/v1/jobs", a_spec(team="research"), content_type="application/json")
    assert refused.status_code == 403, "the role of the one counts for nothing in the other"
    assert act_in(browser, tenant.organization.public_id).status_code == 200
    assert seen() == ("acme", ["of-acme"])


def test_an_organization_of_others_is_not_found_and_one_that_was_left_is_left(
    browser: Client, tenant: Tenant, other: Tenant
) -> None:
    act_in(browser, "globex")
    Membership.objects.filter(user=tenant.owner, organization=other.organization).delete()
    assert browser.get("/api/v1/me").json()["organization"]["slug"] == "acme"
    for name in ("globex", other.organization.public_id, "nowhere"):
        answer = act_in(browser, name)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_token_stays_in_its_organization_and_tells_of_no_other(browser: Client, tenant: Tenant) -> None:
    assert tenant.api.put("/me/organization", {"organization": "globex"}).status_code == 409
    assert [each["slug"] for each in tenant.api.get("/me").json()["organizations"]] == ["acme"]


@pytest.mark.django_db(transaction=True)
def test_the_command_signs_in_to_one(
    live_server: Any, browser: Client, tenant: Tenant, tmp_path: Path
) -> None:
    valkey().flushdb()
    give_password(tenant.owner)
    shell = Shell(tmp_path, {"FLEXAI_URL": live_server.url})
    login = ("login", "--username", tenant.owner.username, "--password-stdin")
    assert "(Acme)" in shell(*login, stdin=PASSWORD + "\n").err
    assert "(Globex)" in shell(*login, "--organization", "globex", stdin=PASSWORD + "\n").err
    wrong = shell(*login, "--organization", "nowhere", stdin=PASSWORD + "\n")
    assert (wrong.code, "no such organization" in wrong.err) == (4, True)
    named = Token.objects.filter(name__startswith="flexai login").values_list("organization__slug", flat=True)
    assert sorted(named) == ["acme", "globex"]
