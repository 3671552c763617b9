"""Webhooks by the API: secrets are shown once, addresses are looked at, everything is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from flexai.common.sealing import unseal
from flexai.notifications import services
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.vocabulary import EVENTS
from flexai.tenancy.models import AuditEntry, Role
from flexai.tenancy.services import create_team, create_token
from tests.support.tenants import Api, Tenant, a_spec

pytestmark = pytest.mark.django_db
HOOK = {"name": "ci", "url": "https://ci.example/take?token=hidden", "events": ["job.failed", "job.started"]}


def test_a_webhook_is_made_changed_tried_and_removed(tenant: Tenant) -> None:
    made = tenant.api.post("/webhooks", {**HOOK, "description": "for CI", "team": "research"})
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["team"], told["on"], told["events"]) == ("research", True, ["job.started", "job.failed"])
    assert told["secret"].startswith("whsec_")
    shown = tenant.api.get(f"/webhooks/{told['id']}").json()
    assert "secret" not in shown
    assert shown == tenant.api.get("/webhooks/ci").json() == tenant.api.get("/webhooks").json()["items"][0]
    changed = tenant.api.patch("/webhooks/ci", {"events": ["job.held"], "name": "ci-2"}).json()
    assert (changed["name"], changed["events"], changed["url"]) == ("ci-2", ["job.held"], HOOK["url"])
    sent = tenant.api.post("/webhooks/ci-2/ping").json()
    assert (sent["event"], sent["state"], sent["tries"]) == ("ping", "pending", 0)
    assert tenant.api.get("/webhooks/ci-2").json()["last_delivery"] == sent
    assert tenant.api.get("/webhooks/ci-2/deliveries").json()["items"] == [sent]
    assert tenant.api.post(f"/webhooks/ci-2/deliveries/{sent['id']}/redeliver").status_code == 409
    off = tenant.api.patch("/webhooks/ci-2", {"on": False}).json()
    assert (off["on"], off["last_delivery"]["state"]) == (False, "failed")
    assert tenant.api.post("/webhooks/ci-2/ping").status_code == 409
    assert tenant.api.patch("/webhooks/ci-2", {"on": True}).status_code == 200
    again = tenant.api.post(f"/webhooks/ci-2/deliveries/{sent['id']}/redeliver").json()
    assert (again["id"], again["state"]) == (sent["id"], "pending")
    assert tenant.api.delete("/webhooks/ci-2").status_code == 204
    assert tenant.api.get("/webhooks/ci-2").status_code == 404
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions == [
        "webhook.created", "webhook.changed", "webhook.pinged", "webhook.changed", "webhook.changed",
        "webhook.redelivered", "webhook.removed",
    ]  # fmt: skip
    assert "hidden" not in str(list(AuditEntry.objects.values())), "an address may hold a secret"


def test_a_secret_is_shown_once_and_sealed_at_rest(tenant: Tenant) -> None:
    first = tenant.api.post("/webhooks", HOOK).json()["secret"]
    answer = tenant.api.post("/webhooks/ci/secret")
    assert answer.status_code == 201
    second = answer.json()["secret"]
    assert first != second
    rows = str(list(Webhook.objects.values())) + str(list(AuditEntry.objects.values()))
    for secret in (first, second):
        assert secret not in rows
        assert secret not in tenant.api.get("/webhooks").content.decode()
    row = Webhook.objects.get()
    assert (unseal(row.secret), unseal(row.former_secret)) == (second, first)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "With Spaces"}, "name"),
        ({"name": ""}, "name"),
        ({"url": "http://ci.example/x"}, "url"),
        ({"url": "https://127.0.0.1/x"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/x"}, "url"),
        ({"url": "https://user:pass@ci.example/x"}, "url"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": "https://ci.example/" + "x" * 482}, "url"),
        ({"events": ["job.exploded"]}, "events"),
        ({"events": "job.failed"}, "events"),
        ({"events": None}, "events"),
        ({"events": [*EVENTS, "job.failed"]}, "events"),
        ({"description": "x" * 201}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"secret": "mine"}, "secret"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(tenant: Tenant, fields: dict[str, Any], wrong: str) -> None:
    answer = tenant.api.post("/webhooks", HOOK | fields)
    assert answer.status_code == 400, answer.content
    assert wrong in [error["field"] for error in answer.json()["errors"]]
    assert not Webhook.objects.exists()
    tenant.api.post("/webhooks", HOOK)
    assert tenant.api.patch("/webhooks/ci", fields).status_code == 400
    assert Webhook.objects.get().version == 1


def test_names_are_an_organizations_own_and_there_are_not_too_many(
    tenant: Tenant, other: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_HOOKS", 2)
    assert tenant.api.post("/webhooks", HOOK).status_code == 201
    assert other.api.post("/webhooks", HOOK).status_code == 201
    assert tenant.api.post("/webhooks", HOOK).status_code == 409
    assert tenant.api.post("/webhooks", HOOK | {"name": "b"}).status_code == 201
    assert tenant.api.patch("/webhooks/b", {"name": "ci"}).status_code == 409
    refused = tenant.api.post("/webhooks", HOOK | {"name": "c"})
    assert (refused.status_code, "at most 2" in refused.json()["detail"]) == (409, True)


def test_tests_of_a_webhook_do_not_pile_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_PINGS", 2)
    tenant.api.post("/webhooks", HOOK)
    assert [tenant.api.post("/webhooks/ci/ping").status_code for _ in range(3)] == [201, 201, 409]
    assert Delivery.objects.count() == 2


def test_a_maintainer_of_a_team_manages_its_webhooks_alone(tenant: Tenant) -> None:
    team = create_team(tenant.organization, "vision")
    user, _ = tenant.somebody(None)
    team.members.create(user=user, role=Role.MAINTAINER.value)
    _, secret = create_token(user, tenant.organization, "t", ["read", "write"], 1)
    maintainer = Api(secret)
    tenant.api.post("/webhooks", HOOK)
    assert maintainer.get("/webhooks").json()["items"] == []
    assert maintainer.post("/webhooks", HOOK | {"name": "mine"}).status_code == 403
    assert maintainer.post("/webhooks", HOOK | {"name": "mine", "team": "vision"}).status_code == 201
    assert [one["name"] for one in maintainer.get("/webhooks").json()["items"]] == ["mine"]
    assert maintainer.patch("/webhooks/ci", {"on": False}).status_code == 404


def test_pages_of_messages_follow_one_another(tenant: Tenant) -> None:
    tenant.api.post("/webhooks", HOOK | {"events": ["job.submitted"]})
    tenant.api.post("/jobs", a_spec(array="0-4"))
    page = tenant.api.get("/webhooks/ci/deliveries", limit=3).json()
    rest = tenant.api.get("/webhooks/ci/deliveries", limit=3, cursor=page["next_cursor"]).json()
    ids = [one["id"] for one in [*page["items"], *rest["items"]]]
    assert (len(ids), len(set(ids)), rest["next_cursor"]) == (5, 5, None)


def test_a_list_of_webhooks_takes_a_fixed_number_of_statements(tenant: Tenant, statements: list[str]) -> None:
    counts = []
    for number in range(3):
        tenant.api.post("/webhooks", HOOK | {"name": f"h{number}", "events": ["job.submitted"]})
        tenant.api.post("/jobs", a_spec())
        tenant.api.get("/webhooks")
        statements.clear()
        assert len(tenant.api.get("/webhooks").json()["items"]) == number + 1
        counts.append(len(statements))
    assert len(set(counts)) == 1, counts
