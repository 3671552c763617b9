"""Another tenant's objects are not found, on every path there is."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import get_resolver

from flexai.cluster.models import Node
from flexai.jobs.models import Job
from flexai.tenancy.models import AuditEntry, Quota, Role, Team, Token
from flexai.tenancy.services import create_team, create_token
from tests.support.tenants import Api, Tenant, a_spec, started

pytestmark = pytest.mark.django_db

JOB_PATHS = [
    ("get", "/jobs/{id}"), ("get", "/jobs/{id}/events"), ("get", "/jobs/{id}/logs"), ("get",
    "/jobs/{id}/explain"),
    ("get", "/jobs/{id}/usage"), ("get", "/jobs/{id}/metrics"),
    ("get", "/jobs/{id}/outputs"), ("get", "/jobs/{id}/outputs/file?path=x"), ("get", "/jobs/{id}/outputs.tar"),
    ("post", "/jobs/{id}/stop"), ("post", "/jobs/{id}/resume"),
    ("post", "/jobs/{id}/requeue"), ("post", "/jobs/{id}/hold"), ("post", "/jobs/{id}/keep"),
]  # fmt: skip
OPEN = {"health", "schema/", "session", "agents/enrol", "auth/exchange", "sign-ins", "sign-ins/token"}


def _submit(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    answer = tenant.api.post("/jobs", a_spec(**fields))
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


@pytest.mark.parametrize(("method", "path"), JOB_PATHS)
def test_a_job_of_another_tenant_is_not_found(tenant: Tenant, other: Tenant, method: str, path: str) -> None:
    job = _submit(tenant)
    before = Job.objects.get(public_id=job["id"])
    answer = getattr(other.api, method)(path.format(id=job["id"]))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert Job.objects.get(public_id=job["id"]).version == before.version
    assert AuditEntry.objects.filter(organization=other.organization).count() == 0
    mine = getattr(tenant.api, method)(path.format(id=job["id"]))
    assert mine.status_code in (200, 409) or "no file" in mine.json()["detail"], mine.content


def test_every_job_path_is_tried_here() -> None:
    routes = [str(entry.pattern) for entry in get_resolver("flexai.api.urls").url_patterns]
    listed = {path.removeprefix("/").partition("?")[0].replace("{id}", "<str:id>") for _, path in JOB_PATHS}
    assert {route for route in routes if route.startswith("jobs/<")} == listed


def test_nobody_gets_in_without_a_token(db: None) -> None:
    for entry in get_resolver("flexai.api.urls").url_patterns:
        route = str(entry.pattern)
        if route in OPEN:
            continue
        path = "/" + route.replace("<str:id>", "x").replace("<int:number>", "1")
        answers = [Api().get(path), Api().post(path)]
        assert {answer.status_code for answer in answers} <= {401}, path
        assert answers[0]["WWW-Authenticate"] == "Bearer"
        assert answers[0]["Content-Type"] == "application/problem+json"


def test_lists_and_counts_hold_only_ones_own(tenant: Tenant, other: Tenant) -> None:
    mine, theirs = _submit(tenant, labels={"a": "b"}), _submit(other, labels={"a": "b"})
    assert [job["id"] for job in tenant.api.get("/jobs").json()["items"]] == [mine["id"]]
    assert [job["id"] for job in other.api.get("/jobs", label="a:b").json()["items"]] == [theirs["id"]]
    assert tenant.api.get("/jobs", q=theirs["id"]).json()["items"] == []
    assert tenant.api.get("/jobs", user=other.owner.username).json()["items"] == []
    assert tenant.api.get("/jobs/counts").json() == {"queued": 1}


def test_the_other_team_can_neither_be_seen_nor_charged_nor_changed(tenant: Tenant, other: Tenant) -> None:
    theirs = other.team.public_id
    assert tenant.api.get(f"/teams/{theirs}").status_code == 404
    assert [team["id"] for team in tenant.api.get("/teams").json()["items"]] == [tenant.team.public_id]
    quotas = {"quotas": [{"chip_type": "H100", "guaranteed_milli": 1000}]}
    assert tenant.api.put(f"/teams/{theirs}/quotas", quotas).status_code == 404
    assert not Quota.objects.exists()
    Team.objects.filter(pk=other.team.pk).update(name="elsewhere")
    assert tenant.api.post("/jobs", a_spec(team="elsewhere")).status_code == 400
    assert tenant.api.post("/jobs", a_spec(team=theirs)).status_code == 400
    assert tenant.api.get("/jobs", team=theirs).status_code == 404


def test_the_same_key_of_another_tenant_is_another_job(tenant: Tenant, other: Tenant) -> None:
    key = {"Idempotency-Key": "k"}
    first, second = tenant.api.post("/jobs", a_spec(), **key), other.api.post("/jobs", a_spec(), **key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


def test_a_token_of_another_can_neither_be_seen_nor_revoked(tenant: Tenant, other: Tenant) -> None:
    theirs = Token.objects.get(user=other.owner)
    assert theirs.public_id not in str(tenant.api.get("/tokens").json())
    assert tenant.api.delete(f"/tokens/{theirs.public_id}").status_code == 404
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    _, api = tenant.somebody(Role.OWNER)
    assert api.delete(f"/tokens/{Token.objects.get(user=tenant.owner).public_id}").status_code == 404


def test_a_chip_is_taken_and_by_whom_only_its_tenant_learns(tenant: Tenant, other: Tenant) -> None:
    job = Job.objects.get(
        public_id=_submit(tenant, name="secret-name", resources={"accelerators": "H100"})["id"]
    )
    node = Node.objects.get()
    chip = node.chips.order_by("index")[0]
    started(job, node, chips=[chip])
    node.chips.filter(pk=chip.pk).update(used_milli=1000)
    mine = tenant.api.get("/nodes").json()["items"][0]["chips"][0]
    assert mine["job"] == {"id": job.public_id, "name": "secret-name"}
    for path in ("/nodes", f"/nodes/{node.public_id}", "/chips", "/cluster"):
        answer = other.api.get(path)
        assert answer.status_code == 200, answer.content
        assert b"secret-name" not in answer.content
        assert job.public_id.encode() not in answer.content
    assert other.api.get("/nodes").json()["items"][0]["chips"][0]["used_milli"] == 1000


def test_only_an_operator_changes_nodes(tenant: Tenant) -> None:
    node = Node.objects.get()
    for action in ("drain", "cordon", "return"):
        assert tenant.api.post(f"/nodes/{node.public_id}/{action}").status_code == 403
    assert tenant.api.post("/enrolment-tokens").status_code == 403
    node.refresh_from_db()
    assert node.state == "ready"


def test_a_token_of_one_team_reaches_that_team_only(tenant: Tenant) -> None:
    serving = create_team(tenant.organization, "serving")
    hidden = _submit(tenant, team="research")
    _, secret = create_token(tenant.owner, tenant.organization, "ci", ["read", "write"], 1, serving)
    api = Api(secret)
    shown = api.post("/jobs", a_spec())
    assert shown.json()["team"]["name"] == "serving", "the only team it reaches pays"
    assert api.get(f"/jobs/{hidden['id']}").status_code == 404
    assert [job["id"] for job in api.get("/jobs").json()["items"]] == [shown.json()["id"]]
    assert [team["name"] for team in api.get("/teams").json()["items"]] == ["serving"]
    assert api.post("/jobs", a_spec(team="research")).status_code == 400
    made = api.post("/tokens", {"name": "child", "scopes": ["read"], "expires_in_days": 1})
    assert made.json()["team"] == "serving", "a token gives no more than it has"
    assert (
        api.post(
            "/tokens", {"name": "x", "scopes": ["read"], "expires_in_days": 1, "team": "research"}
        ).status_code
        == 404
    )


def test_a_member_of_one_team_sees_it_and_the_teams_below(tenant: Tenant) -> None:
    from flexai.tenancy.models import TeamMember

    below = create_team(tenant.organization, "research-a", parent=tenant.team)
    create_team(tenant.organization, "serving")
    seen, hidden = _submit(tenant, team="research-a"), _submit(tenant, team="serving")
    user, api = tenant.somebody(None)
    TeamMember.objects.create(team=tenant.team, user=user, role=Role.MEMBER)
    assert {team["name"] for team in api.get("/me").json()["teams"]} == {"research", below.name}
    assert [job["id"] for job in api.get("/jobs").json()["items"]] == [seen["id"]]
    assert api.get(f"/jobs/{hidden['id']}").status_code == 404
    assert api.get(f"/jobs/{seen['id']}").status_code == 200
