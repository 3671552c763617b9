"""The console's page of a request for quota: what it shows, the effect, and both answers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client as Browser

from flexai.common import clock
from flexai.jobs.models import Attempt
from flexai.tenancy.models import AuditEntry, Budget, Quota, QuotaRequest, User
from flexai.tenancy.quota_requests import ask
from tests.server.scheduling.world import World
from tests.support.tenants import Role, add_member, principal_for_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    """Two chips of which the team may use one; two jobs wait for one each; more is asked for."""
    world = World()
    world.a_node(chips=2)
    world.a_quota(world.team, guaranteed=1000, limit=1000)
    world.jobs(2, chips=1)
    return world


@pytest.fixture
def request_row(world: World) -> QuotaRequest:
    add_member(world.organization, world.user, Role.MAINTAINER)
    given = {"chip_type": "H100", "limit_milli": 2000, "reason": "two at <b>once</b>"}
    principal = principal_for_user(world.user)
    return ask(principal, world.team, given, cell_id=world.cell.pk, today=clock.now().date())


@pytest.fixture
def browser(db: None) -> Browser:
    made = Browser(HTTP_HOST="localhost")
    made.force_login(User.objects.create_user("olga", is_staff=True))
    return made


def path_of(row: QuotaRequest) -> str:
    return f"/console/tenancy/quotarequest/{row.pk}/change/"


def sent(browser: Browser, row: QuotaRequest, button: str, **fields: Any) -> Any:
    form = {"guaranteed": "1", "limit": "2", "weight": "1", "answer": "", **fields, button: "1"}
    return browser.post(path_of(row), form, follow=True)


def test_the_list_names_what_is_asked_and_the_page_shows_the_effect(
    world: World, request_row: QuotaRequest, browser: Browser
) -> None:
    listed = browser.get("/console/tenancy/quotarequest/").content.decode()
    assert "1 guaranteed, limit 2, weight 1" in listed
    page = browser.get(path_of(request_row))
    shown = page.content.decode()
    assert "1 guaranteed, limit 1, weight 1" in shown, "what it has now"
    assert "two at &lt;b&gt;once&lt;/b&gt;" in shown
    assert [(moved.job.name, moved.what) for moved in page.context["impact"].gainers] == [("job-1", "starts")]
    assert (Quota.objects.get().limit_milli, QuotaRequest.objects.get().state) == (1000, "open")
    assert not Attempt.objects.exists()
    fewer = sent(browser, request_row, "check", limit="1.5")
    assert (fewer.context["impact"].gaining, fewer.context["form"]["limit"].value()) == (0, "1.5")
    assert AuditEntry.objects.count() == 1, "looking is not deciding"


def test_it_is_approved_with_other_figures(world: World, request_row: QuotaRequest, browser: Browser) -> None:
    done = sent(browser, request_row, "approve", limit="3", answer="line one\r\nline two")
    assert f"{request_row.public_id} is approved." in done.content.decode()
    request_row.refresh_from_db()
    assert (request_row.state, request_row.answer) == ("approved", "line one\nline two")
    assert Quota.objects.get().limit_milli == 3000
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "actor")) == [
        ("quota_request.made", world.user.username), ("team.quotas_set", "olga"), ("quota_request.approved", "olga"),
    ]  # fmt: skip
    shown = browser.get(path_of(request_row)).content.decode()
    assert "Granted" in shown
    assert 'name="approve"' not in shown


def test_it_is_declined_with_a_reason(request_row: QuotaRequest, browser: Browser) -> None:
    refused = sent(browser, request_row, "decline")
    assert refused.status_code == 422
    assert "`reason` must be text" in refused.content.decode()
    assert "is declined." in sent(browser, request_row, "decline", answer="nothing is left").content.decode()
    request_row.refresh_from_db()
    assert (request_row.state, request_row.answer) == ("declined", "nothing is left")
    again = sent(browser, request_row, "approve")
    assert "was declined by olga already" in again.content.decode()
    assert Quota.objects.get().limit_milli == 1000


@pytest.mark.parametrize("button", ["check", "approve"])
def test_a_grant_that_breaks_f1_is_refused_and_shows_no_effect(
    world: World, browser: Browser, button: str
) -> None:
    add_member(world.organization, world.user, Role.MAINTAINER)
    below = world.a_team("below", parent=world.team)
    given = {"chip_type": "H100", "guaranteed_milli": 1000, "reason": "why"}
    row = ask(principal_for_user(world.user), below, given, cell_id=world.cell.pk, today=clock.now().date())
    assert "1 guaranteed, limit 1" in browser.get(path_of(row)).content.decode(), "of the team above"
    answer = sent(browser, row, button, guaranteed="2", limit="")
    assert answer.status_code == 422
    assert "would promise 2000 milli-chips of H100 below team research" in answer.content.decode()
    assert answer.context["impact"] is None
    assert not Quota.objects.filter(team=below).exists()


@pytest.mark.parametrize("pk", ["0", "x", "9" * 30])
def test_a_request_that_is_not_there_is_not_found(browser: Browser, pk: str) -> None:
    assert browser.get(f"/console/tenancy/quotarequest/{pk}/change/").status_code == 404


def test_more_budget_shows_who_may_start_and_is_granted(world: World, browser: Browser) -> None:
    add_member(world.organization, world.user, Role.MAINTAINER)
    today = clock.now().date()
    Budget.objects.create(team=world.team, since=today, chip_hours=0, is_spent=True)
    given = {"kind": "budget", "chip_hours": 100, "reason": "why"}
    row = ask(principal_for_user(world.user), world.team, given, cell_id=world.cell.pk, today=today)
    shown = browser.get(path_of(row)).content.decode()
    assert "0 chip-hours a month; spent 0 chip-hours" in shown
    form = {"chip_hours": "50", "money": "2.5", "answer": ""}
    effect = browser.post(path_of(row), {**form, "check": "1"})
    assert [moved.what for moved in effect.context["impact"].gainers] == ["starts"], (
        "the limit lets one start"
    )
    assert Budget.objects.get().chip_hours == 0
    done = browser.post(path_of(row), {**form, "approve": "1"}, follow=True)
    assert f"{row.public_id} is approved." in done.content.decode()
    budget = Budget.objects.get()
    assert (budget.chip_hours, budget.money_micro) == (50, 2_500_000)
    assert "50 chip-hours and 2.50 EUR" in browser.get(path_of(row)).content.decode()
