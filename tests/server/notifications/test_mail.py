"""Mail goes to members who asked for it, through a real mail server, and is no way to write to strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from flexai.common import clock
from flexai.config.mail import mail_settings
from flexai.jobs import services as jobs
from flexai.jobs.models import Job
from flexai.notifications.messages import MAX_SUBJECT, Told, letter_of
from flexai.notifications.models import Delivery
from flexai.notifications.sending import Sender
from flexai.tenancy.models import Membership, Role
from tests.support.receiver import MailServer
from tests.support.tenants import Tenant, a_spec

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(tenant: Tenant) -> Tenant:
    """The tenant, whose owner has an address."""
    tenant.owner.email = "Ana@Acme.example"
    tenant.owner.save()
    return tenant


def cancelled(tenant: Tenant, **fields: Any) -> Job:
    job = jobs.submit(tenant.principal, a_spec(**fields)).jobs[0]
    return jobs.stop_job(tenant.principal, job)


def test_who_submits_gets_a_mail_about_the_end(ana: Tenant, mail: MailServer, settings: Any) -> None:
    settings.PUBLIC_URL = "https://flexai.example/"
    job = cancelled(ana, notify={"mail": True})
    Sender().run()
    [(recipients, message)] = mail.taken
    assert recipients == ["Ana@Acme.example"]
    assert message["Subject"] == "[Flexai] train was cancelled"
    assert message["Message-ID"] == f"<{Delivery.objects.get().public_id}@flexai>"
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    assert f"https://flexai.example/jobs/{job.public_id}" in text
    assert f"Cancelled by {ana.owner.username}." in text
    assert Delivery.objects.get().state == "delivered"


def test_members_are_named_by_their_addresses_and_nobody_else_can_be(
    ana: Tenant, other: Tenant, mail: MailServer
) -> None:
    colleague, _ = ana.somebody(Role.VIEWER)
    colleague.email = "ben@acme.example"
    colleague.save()
    other.owner.email = "zoe@globex.example"
    other.owner.save()
    cancelled(ana, notify={"mail": ["BEN@acme.example", "ana@acme.example"]})
    Sender().run()
    assert {recipients[0] for recipients, _ in mail.taken} == {"ben@acme.example", "Ana@Acme.example"}
    for address in ("zoe@globex.example", "stranger@elsewhere.example"):
        answer = ana.api.post("/jobs", a_spec(notify={"mail": ["ana@acme.example", address]}))
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "notify.mail.1"
        assert "zoe" not in answer.content.decode().replace(address, "")


def test_who_is_no_member_any_more_gets_none(ana: Tenant, mail: MailServer) -> None:
    colleague, _ = ana.somebody(Role.VIEWER)
    colleague.email = "ben@acme.example"
    colleague.save()
    job = jobs.submit(ana.principal, a_spec(notify={"mail": "ben@acme.example"})).jobs[0]
    Membership.objects.filter(user=colleague).delete()
    jobs.stop_job(ana.principal, job)
    Sender().run()
    assert not mail.taken
    assert Delivery.objects.get().state == "failed"


def test_many_messages_are_one_mail_and_the_next_comes_a_minute_later(ana: Tenant, mail: MailServer) -> None:
    made = jobs.submit(ana.principal, a_spec(array="0-59", notify={"mail": True}))
    for job in Job.objects.filter(set=made.set):
        jobs.stop_job(ana.principal, job)
    Sender().run()
    [(_, message)] = mail.taken
    assert message["Subject"] == "[Flexai] 60 messages: 60 cancelled"
    assert "… and 10 more." in message.get_content()
    cancelled(ana, notify={"mail": True})
    assert Sender().run() == 0
    Delivery.objects.filter(state="delivered").update(last_at=clock.now() - timedelta(seconds=61))
    Sender().run()
    assert len(mail.taken) == 2


def test_a_mail_that_is_refused_is_tried_again(ana: Tenant, mail: MailServer) -> None:
    mail.refuses = True
    cancelled(ana, notify={"mail": True})
    Sender().run()
    row = Delivery.objects.get()
    assert (row.state, row.tries) == ("pending", 1)
    assert row.next_at > clock.now()
    assert "SMTPRecipientsRefused" in row.answer
    mail.refuses = False
    Delivery.objects.update(next_at=clock.now(), last_at=clock.now() - timedelta(seconds=61))
    Sender().run()
    assert Delivery.objects.get().state == "delivered"


def test_without_a_mail_server_a_job_that_asks_for_mail_is_refused(ana: Tenant) -> None:
    answer = ana.api.post("/jobs", a_spec(notify={"mail": True}))
    assert answer.status_code == 400
    [wrong] = answer.json()["errors"]
    assert wrong["message"] == "this installation sends no mail"
    assert "FLEXAI_MAIL_URL" in wrong["hint"]


def test_without_an_address_it_is_said_who_sets_one(tenant: Tenant, mail: MailServer) -> None:
    answer = tenant.api.post("/jobs", a_spec(notify={"mail": True}))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "notify.mail")


def test_no_text_of_a_tenant_becomes_a_header_or_acts_upon_a_terminal() -> None:
    evil = "x\r\nBcc: everybody@acme.example\x1b[2J\u202e" + "y" * 1000
    told = Told(
        "job.failed",
        datetime(2026, 3, 10, 12, tzinfo=UTC),
        {"job": {"id": "job-1", "name": evil, "team": evil}, "sentence": evil},
    )
    letter = letter_of([told], site="https://flexai.example")
    assert letter.subject.isprintable()
    assert len(letter.subject) <= MAX_SUBJECT
    assert letter.text.replace("\n", "").isprintable()
    assert "\nBcc" not in letter.text


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtps://me:p%40ss@mail.example", "mail.example", 465, (False, True)),
        ("smtp+tls://me:p%40ss@mail.example", "mail.example", 587, (True, False)),
        ("smtp://mail.example:2525", "mail.example", 2525, (False, False)),
    ],
)
def test_the_mail_server_is_named_by_one_address(
    url: str, host: str, port: int, tls: tuple[bool, bool]
) -> None:
    found = mail_settings(url)
    assert (found.host, found.port, (found.starts_tls, found.is_tls)) == (host, port, tls)
    assert found.password in ("p@ss", "")


@pytest.mark.parametrize(
    "url", ["mail.example", "smtp://", "smtp://me:pass@mail.example", "http://x", "smtp://h:99999"]
)
def test_what_is_no_mail_server_is_said_at_the_start(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="FLEXAI_MAIL_URL"):
        mail_settings(url)
