"""What operators announce: to whom, from when until when, by whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flexai.tenancy.models import Announcement, AuditEntry
from tests.support.tenants import Tenant, a_tenant

pytestmark = pytest.mark.django_db
PAGE = "/console/tenancy/announcement/"


@pytest.fixture
def console(db: None) -> Client:
    browser = Client(HTTP_HOST="localhost")
    browser.force_login(a_tenant("operations", operator=True).owner)
    return browser


def written(console: Client, **fields: Any) -> Any:
    """The answer to the console's form."""
    now = timezone.now()
    starts, ends = (
        fields.pop("starts", now - timedelta(minutes=1)),
        fields.pop("ends", now + timedelta(days=1)),
    )
    form = {
        "text": "Nodes of rack 3 are away on Sunday.", "level": "warning", "organization": "",
        "starts_at_0": f"{starts:%Y-%m-%d}", "starts_at_1": f"{starts:%H:%M:%S}",
        "ends_at_0": f"{ends:%Y-%m-%d}", "ends_at_1": f"{ends:%H:%M:%S}", **fields,
    }  # fmt: skip
    return console.post(f"{PAGE}add/", form)


def told(tenant: Tenant) -> list[str]:
    return [one["text"] for one in tenant.api.get("/announcements").json()["items"]]


def test_what_is_written_in_the_console_is_told_while_it_holds(console: Client) -> None:
    acme, other = a_tenant("acme"), a_tenant("other")
    assert written(console).status_code == 302
    [shown] = acme.api.get("/announcements").json()["items"]
    assert (shown["text"], shown["level"]) == ("Nodes of rack 3 are away on Sunday.", "warning")
    assert written(console, text="for acme", organization=acme.organization.pk).status_code == 302
    now = timezone.now()
    written(console, text="not yet", starts=now + timedelta(hours=1))
    written(console, text="no more", starts=now - timedelta(days=2), ends=now - timedelta(days=1))
    assert told(acme) == ["for acme", "Nodes of rack 3 are away on Sunday."]
    assert told(other) == ["Nodes of rack 3 are away on Sunday."]
    entries = AuditEntry.objects.filter(object_kind="announcement").order_by("id")
    assert [entry.action for entry in entries] == ["announcement.created"] * 4
    assert entries[1].organization == acme.organization
    assert entries[1].after["text"] == "for acme"


def test_one_that_is_ended_is_told_no_more_whether_it_had_begun_or_not(console: Client) -> None:
    acme = a_tenant("acme")
    written(console)
    written(console, text="later", starts=timezone.now() + timedelta(hours=1))
    rows = list(Announcement.objects.values_list("pk", flat=True))
    console.post(PAGE, {"action": "end_now", "_selected_action": rows})
    assert told(acme) == []
    assert AuditEntry.objects.filter(action="announcement.ended").count() == 2
    assert not Announcement.objects.filter(ends_at__gt=timezone.now()).exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": " "}, "This field is required"),
        ({"text": "x" * 501}, "500 characters"),
        ({"text": "a\x1b[31mb"}, "printable"),
        ({"level": "loud"}, "Select a valid choice"),
        ({"ends": timezone.now() - timedelta(hours=1)}, "later than the start"),
        ({"ends": timezone.now() + timedelta(days=400)}, "at most 366 days"),
    ],
)
def test_what_cannot_be_announced_is_said_at_its_field(
    console: Client, fields: dict[str, Any], said: str
) -> None:
    answer = written(console, **fields)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Announcement.objects.exists()


def test_what_is_told_is_text_and_bounded_in_number(console: Client) -> None:
    acme = a_tenant("acme")
    written(console, text="<script>alert(1)</script>")
    assert told(acme) == ["<script>alert(1)</script>"], "as text: nobody makes markup of it"
    now = timezone.now()
    Announcement.objects.bulk_create(
        Announcement(text=f"n{number}", starts_at=now, ends_at=now + timedelta(days=1))
        for number in range(30)
    )
    assert len(told(acme)) == 20
