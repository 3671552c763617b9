"""Messages reach real receivers: signed, again until they are taken, and never where they must not go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from flexai.client import WebhookNotVerified, verify_webhook
from flexai.common import clock
from flexai.common.errors import Conflict, InvalidInput
from flexai.common.sealing import unseal
from flexai.config.celery import app
from flexai.jobs import services as jobs
from flexai.notifications import claims, retrying, sending, services
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.sending import Sender
from flexai.tenancy.models import AuditEntry
from tests.support.receiver import MailServer, Receiver, a_receiver, wait_until
from tests.support.tenants import Tenant, a_spec

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[3]


def a_hook(tenant: Tenant, receiver: Receiver, path: str = "/take", *, name: str = "ci") -> Webhook:
    made, _ = services.create_hook(
        tenant.principal, name=name, url=receiver.url + path, events=["job.submitted", "job.cancelled"]
    )
    return made


def due_now() -> None:
    """What waits for its next try is due."""
    Delivery.objects.filter(state="pending").update(next_at=clock.now())


def only(hook: Webhook) -> Delivery:
    return Delivery.objects.get(hook=hook)


def test_a_message_arrives_signed_and_says_what_happened(tenant: Tenant, receiver: Receiver) -> None:
    hook = a_hook(tenant, receiver)
    job = jobs.submit(tenant.principal, a_spec(labels={"project": "x"})).jobs[0]
    assert Sender().run() == 1
    [got] = receiver.got
    message = verify_webhook(got.headers, got.body, unseal(hook.secret))
    assert (message["type"], message["id"]) == ("job.submitted", only(hook).public_id)
    assert message["data"]["job"]["id"] == job.public_id
    assert message["data"]["job"]["labels"] == {"project": "x"}
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("application/json", "flexai")
    with pytest.raises(WebhookNotVerified):
        verify_webhook(got.headers, got.body.replace(b"submitted", b"succeeded"), unseal(hook.secret))
    row = only(hook)
    assert (row.state, row.tries, row.status) == ("delivered", 1, 204)
    assert Sender().run() == 0, "what was taken is not told again"


def test_a_failing_receiver_is_asked_again_with_the_same_id(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers["/take"] = [(500, {}, b"oh no"), (503, {"Retry-After": "600"}, b""), (200, {}, b"")]
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    row = only(hook)
    pause = row.next_at - (row.last_at or row.at)
    assert (row.state, row.tries, row.status) == ("pending", 1, 500)
    assert timedelta(seconds=4) <= pause <= timedelta(seconds=20)
    assert "oh no" not in row.answer, "what a private receiver says is not for tenants to read"
    hook.refresh_from_db()
    assert hook.failing_since is not None
    assert Sender().run() == 0, "it is not asked before its time"
    due_now()
    Sender().run()
    assert only(hook).next_at - clock.now() > timedelta(seconds=590), "it asked to be left alone for so long"
    due_now()
    Sender().run()
    assert (only(hook).state, only(hook).tries) == ("delivered", 3)
    assert len({got.id for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    hook.refresh_from_db()
    assert hook.failing_since is None


def test_it_is_given_up_in_the_end_and_can_be_asked_for_anew(
    tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "MAX_TRIES", 2)
    receiver.answers["/take"] = [(500, {}, b""), (500, {}, b""), (200, {}, b"")]
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    for _ in range(3):
        Sender().run()
        due_now()
    assert (only(hook).state, len(receiver.got)) == ("failed", 2)
    services.redeliver(tenant.principal, hook, only(hook).public_id)
    Sender().run()
    assert only(hook).state == "delivered"
    assert len({got.id for got in receiver.got}) == 1


def test_a_receiver_that_hangs_delays_no_other(tenant: Tenant, receiver: Receiver) -> None:
    """The others are told while it hangs."""
    with a_receiver() as slow:
        slow.hangs = threading.Event()
        slow_hook = a_hook(tenant, slow, name="slow")
        hook = a_hook(tenant, receiver)
        jobs.submit(tenant.principal, a_spec(array="0-9"))
        sender = Sender()
        sender._begin()

        def all_told() -> bool:
            sender._note_what_ended()
            sender._begin()
            return Delivery.objects.filter(hook=hook, state="delivered").count() == 10

        wait_until(all_told)
        assert not Delivery.objects.filter(hook=slow_hook, state="delivered").exists()
        assert 1 <= len(slow.got) <= 3, "so many at once, no more"


def test_a_try_ends_at_its_time(tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TRY_SECONDS", 0.3)
    receiver.hangs = threading.Event()
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    assert (only(hook).state, only(hook).status) == ("pending", None)
    assert "did not answer within 0.3 seconds" in only(hook).answer


def test_of_a_long_answer_only_the_beginning_is_read(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers["/take"] = [(200, {}, b"x" * 10_000_000)]
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    assert (only(hook).state, len(only(hook).answer) <= 300) == ("delivered", True)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]:{port}/x",
        "http://[::1]:{port}/x",
        "https://[::ffff:169.254.169.254]/x",
        "https://100.100.100.200/x",
        "https://10.0.0.7/x",
        "https://inside.example/x",
        "http://inside.example/x",
        "file:///etc/passwd",
        "https://user@ci.example/x",
    ],
)  # fmt: skip
def test_a_redirect_leads_nowhere_inside(
    tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, target: str, status: int
) -> None:
    """Only the first address is connected to, whatever it says and whatever names resolve to."""
    port = int(receiver.url.rpartition(":")[2])
    leads_to = target.format(port=port)
    receiver.answers["/take"] = [(status, {"Location": leads_to}, b"")]
    look_up, connect = socket.getaddrinfo, socket.create_connection
    connected: list[Any] = []

    def resolved(host: str, *arguments: Any, **options: Any) -> Any:
        return look_up("10.0.0.8" if host == "inside.example" else host, *arguments, **options)

    def noted(address: Any, *arguments: Any, **options: Any) -> socket.socket:
        connected.append(address)
        return connect(address, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket, "create_connection", noted)
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    assert connected == [("127.0.0.1", port)]
    assert (only(hook).state, only(hook).tries) == ("pending", 1)


def test_a_redirect_that_keeps_the_message_is_followed_and_others_are_not(
    tenant: Tenant, receiver: Receiver
) -> None:
    receiver.answers["/take"] = [(308, {"Location": "/there"}, b"")]
    receiver.answers["/old"] = [(302, {"Location": "/there"}, b"")]
    receiver.answers["/round"] = [(307, {"Location": "/round"}, b"")]
    followed, old = a_hook(tenant, receiver), a_hook(tenant, receiver, "/old", name="old")
    circling = a_hook(tenant, receiver, "/round", name="round")
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    assert only(followed).state == "delivered"
    assert [got.path for got in receiver.got].count("/there") == 1
    assert (only(old).state, only(old).status) == ("pending", 302)
    assert "Redirects" in only(old).answer
    assert "More than 3 redirects" in only(circling).answer


def test_without_the_setting_nothing_inside_is_told(
    tenant: Tenant, receiver: Receiver, settings: Any
) -> None:
    hook = a_hook(tenant, receiver)
    settings.PRIVATE_RECEIVERS = []
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    assert not receiver.got
    assert only(hook).state == "pending"
    with pytest.raises(InvalidInput):
        services.change_hook(tenant.principal, hook, {"url": f"{receiver.url}/else"})


def test_a_receiver_that_is_gone_is_told_no_more(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers["/take"] = [(410, {}, b"")]
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    hook.refresh_from_db()
    assert (hook.is_on, hook.off_because) == (False, "Its receiver answered 410: gone.")
    assert only(hook).state == "failed"
    jobs.submit(tenant.principal, a_spec())
    assert Delivery.objects.count() == 1


def test_what_fails_for_days_is_switched_off_and_its_managers_are_told(
    tenant: Tenant, receiver: Receiver, mail: MailServer
) -> None:
    receiver.answers["/take"] = [(500, {}, b"")]
    tenant.owner.email = "owner@acme.example"
    tenant.owner.save()
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec(array="0-2"))
    Webhook.objects.update(failing_since=clock.now() - retrying.SWITCHED_OFF_AFTER)
    Sender().run()
    hook.refresh_from_db()
    assert not hook.is_on
    assert "5 days" in hook.off_because
    assert set(Delivery.objects.filter(hook=hook).values_list("state", flat=True)) == {"failed"}
    entry = AuditEntry.objects.get(action="webhook.switched_off")
    assert (entry.actor_kind, entry.organization) == ("platform", tenant.organization)
    [(recipients, message)] = mail.taken
    assert recipients == ["owner@acme.example"]
    assert message["Subject"] == "[Flexai] webhook ci was switched off"
    with pytest.raises(Conflict):
        services.ping_hook(tenant.principal, hook)
    services.change_hook(tenant.principal, hook, {"on": True})
    receiver.answers["/take"] = [(204, {}, b"")]
    services.ping_hook(tenant.principal, hook)
    Sender().run()
    assert Delivery.objects.get(event="ping").state == "delivered"


def test_after_a_rotation_both_secrets_fit_for_a_while(tenant: Tenant, receiver: Receiver) -> None:
    hook, former = services.create_hook(
        tenant.principal, name="ci", url=receiver.url + "/take", events=["job.submitted"]
    )
    new = services.rotate_secret(tenant.principal, hook)
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    [got] = receiver.got
    for secret in (new, former):
        verify_webhook(got.headers, got.body, secret)
    Webhook.objects.update(former_until=clock.now() - timedelta(seconds=1))
    jobs.submit(tenant.principal, a_spec())
    Sender().run()
    verify_webhook(receiver.got[-1].headers, receiver.got[-1].body, new)
    with pytest.raises(WebhookNotVerified):
        verify_webhook(receiver.got[-1].headers, receiver.got[-1].body, former)


def test_a_claim_is_nobody_elses(tenant: Tenant, receiver: Receiver) -> None:
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec(array="0-4"))
    now = clock.now()
    [due] = claims.due_hooks(now, after=0)
    first, second = claims.claim_of_hook(due, 3, now=now), claims.claim_of_hook(due, 10, now=now)
    assert (len(first), len(second)) == (3, 2)
    assert not {one.pk for one in first} & {one.pk for one in second}
    assert claims.due_hooks(now, after=hook.pk) == []


@pytest.mark.django_db(transaction=True)
def test_killed_between_the_answer_and_the_note_it_tells_again_under_the_same_id(
    tenant: Tenant, receiver: Receiver
) -> None:
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    killed = subprocess.run(
        [sys.executable, "-c", DIES], env=environment(), cwd=ROOT, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(receiver.got) == 1
    row = only(hook)
    assert (row.state, row.tries) == ("pending", 1)
    assert row.next_at > clock.now(), "nobody takes it up before the lease is over"
    assert Sender().run() == 0
    due_now()
    assert Sender().run() == 1
    assert (only(hook).state, only(hook).tries) == ("delivered", 2)
    assert [got.id for got in receiver.got] == [row.public_id] * 2


@pytest.mark.django_db(transaction=True)
def test_a_worker_tells_what_is_due(tenant: Tenant, receiver: Receiver) -> None:
    hook = a_hook(tenant, receiver)
    jobs.submit(tenant.principal, a_spec())
    command = [
        sys.executable, "-m", "celery", "-A", "flexai.config.celery", "worker", "-P", "solo", "-Q", "platform",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip
    worker = subprocess.Popen(command, env=environment(), cwd=ROOT, start_new_session=True)
    try:
        app.send_task("flexai.notifications.deliver", queue="platform")
        wait_until(lambda: only(hook).state == "delivered", seconds=90)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
    assert len(receiver.got) == 1


DIES = """
import os, signal
import django
django.setup()
from flexai.notifications import claims, sending
claims.note_hook = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sending.Sender().run()
"""


def environment() -> dict[str, str]:
    params = connection.get_connection_params()
    return {
        **os.environ,
        "DATABASE_URL": f"postgresql://{params['user']}@/{params['dbname']}?host={params['host']}",
        "DJANGO_SETTINGS_MODULE": "flexai.config.settings",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "FLEXAI_PRIVATE_RECEIVERS": "127.0.0.0/8",
        "FLEXAI_LOG_LEVEL": "WARNING",
    }
