"""Who asked for quota or budget hears the answer: by mail, and webhooks that asked for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flexai.common import clock
from flexai.notifications.answers import end_due
from flexai.notifications.models import Delivery
from flexai.notifications.sending import Sender
from flexai.notifications.services import create_hook
from flexai.tenancy.models import Budget, Role
from tests.support.receiver import MailServer
from tests.support.tenants import Tenant, a_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Tenant:
    return a_tenant("operations", operator=True)


def asked(tenant: Tenant, **more: Any) -> str:
    """By mia, a maintainer with an address."""
    mia, api = tenant.somebody(Role.MAINTAINER, name="mia")
    mia.email = "mia@acme.example"
    mia.save()
    answer = api.post("/quota-requests", {"team": "research", "reason": "the paper is due", **more})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def test_a_grant_of_other_figures_is_told_with_both(
    tenant: Tenant, operator: Tenant, mail: MailServer, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://flexai.example"
    hook, _ = create_hook(
        tenant.principal, name="ci", url="https://ci.example/x", events=["quota_request.approved"]
    )
    request = asked(tenant, chip_type="H100", guaranteed_milli=4000)
    assert not Delivery.objects.exists(), "who asks tells nobody"
    given = {"guaranteed_milli": 2500, "answer": "for now"}
    assert operator.api.post(f"/quota-requests/{request}/approve", given).status_code == 200
    told = Delivery.objects.get(hook=hook).data
    assert told["request"]["granted"]["guaranteed_milli"] == 2500
    assert told["request"]["asked"]["guaranteed_milli"] == 4000
    assert (told["request"]["id"], told["request"]["answer"]) == (request, "for now")
    Delivery.objects.filter(hook=hook).delete()
    Sender().run()
    [(recipients, message)] = mail.taken
    assert recipients == ["mia@acme.example"]
    assert message["Subject"] == "[Flexai] your request for quota of team research was approved"
    text = " ".join(message.get_content().split())
    assert (
        "granted 2.5 guaranteed, no limit, weight 1; asked for was 4 guaranteed, no limit, weight 1" in text
    )
    assert "for now" in text
    assert "https://flexai.example/teams" in text


def test_a_refusal_is_told_with_its_reason_and_a_refused_decision_is_not(
    tenant: Tenant, operator: Tenant, mail: MailServer
) -> None:
    Budget.objects.create(team=tenant.team, since=clock.now().date(), chip_hours=10)
    path = f"/quota-requests/{asked(tenant, kind='budget', chip_hours=500)}"
    assert operator.api.post(f"{path}/approve", {"chip_hours": 5}).status_code == 400
    assert not Delivery.objects.exists()
    assert operator.api.post(f"{path}/decline", {"reason": "nothing is left"}).status_code == 200
    told = Delivery.objects.get()
    assert told.event == "quota_request.declined"
    assert (
        f"Budget: {operator.owner.username} declined 500 chip-hours. nothing is left" == told.data["sentence"]
    )


def test_the_end_of_a_grant_for_a_time_is_told(tenant: Tenant, operator: Tenant, mail: MailServer) -> None:
    create_hook(tenant.principal, name="ci", url="https://ci.example/x", events=["quota_request.ended"])
    today = clock.now().date()
    request = asked(tenant, chip_type="H100", guaranteed_milli=4000, until=today.isoformat())
    assert operator.api.post(f"/quota-requests/{request}/approve").status_code == 200
    Delivery.objects.all().delete()
    assert end_due(today) == 0
    assert not Delivery.objects.exists(), "the last day is part of it"
    assert end_due(today + timedelta(days=1)) == 1
    by_hook = Delivery.objects.get(hook__isnull=False)
    assert by_hook.event == "quota_request.ended"
    assert by_hook.data["request"]["note"] == "Given back when its time was over."
    by_hook.delete()
    Sender().run()
    [(recipients, message)] = mail.taken
    assert recipients == ["mia@acme.example"]
    assert message["Subject"] == "[Flexai] the quota that team research had for a time is over"
    assert f"until {today} is over. Given back" in " ".join(message.get_content().split())
    before = Delivery.objects.count()
    assert end_due(today + timedelta(days=1)) == 0
    assert Delivery.objects.count() == before, "once"


def test_who_is_no_member_any_more_hears_nothing(tenant: Tenant, operator: Tenant, mail: MailServer) -> None:
    request = asked(tenant, chip_type="H100", guaranteed_milli=4000)
    assert tenant.api.delete("/members/mia").status_code == 204
    assert operator.api.post(f"/quota-requests/{request}/approve").status_code == 200
    assert not Delivery.objects.exists()
