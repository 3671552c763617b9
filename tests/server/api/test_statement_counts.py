"""How many statements an endpoint sends is bounded, whatever the number of rows it tells of."""

from __future__ import annotations

import re
import time

import pytest
from django.urls import get_resolver

from flexai.cluster.models import Node
from flexai.jobs.models import Job
from flexai.tenancy.models import Budget, Token
from flexai.tenancy.roles import Action
from flexai.tenancy.services import create_team
from tests.support.tenants import Api, Tenant, a_node, a_spec, a_tenant, started

pytestmark = pytest.mark.django_db

MOST = {
    "/me": 4, "/jobs": 6, "/jobs?sort=-started_at": 8, "/jobs?sort=ended_at": 8, "/jobs?user=nobody": 6,
    "/jobs/counts": 2, "/jobs/{job}": 13, "/jobs/{job}/events": 3, "/jobs/{job}/explain": 5,
    "/jobs/{job}/usage": 4, "/nodes": 8, "/nodes/{node}": 8, "/chips": 8, "/teams": 9, "/teams/{team}": 9,
    "/members": 2, "/service-accounts": 6, "/tokens": 2, "/usage": 3, "/prices": 2, "/job-policy": 3,
    "/quota-requests": 3, "/announcements": 2, "/audit": 2, "/audit.csv": 2, "/cluster": 8, "/cycles": 3,
    "/forecasts": 3, "/history": 7, "/jobs/{job}/logs": 3, "/jobs/{job}/metrics": 4, "/jobs/{job}/outputs": 4,
    "/me/second-factor": 4, "/me/sessions": 2, "/policy": 3, "/recordings": 3, "/savings": 3, "/schedules": 3,
    "/schedules/{schedule}": 3, "/service-accounts/{account}": 5, "/session": 1, "/teams/{team}/job-policy": 8,
    "/teams/{team}/secrets": 5, "/teams/{team}/secrets/HF_TOKEN": 4,
    "/trust-rules": 2, "/usage.csv": 3, "/webhooks": 4, "/webhooks/{hook}": 4, "/webhooks/{hook}/deliveries": 3,
}  # fmt: skip
"""With the one that finds the token."""
ELSEWHERE = {"/health", "/schema/", "/jobs/{}/outputs/file", "/jobs/{}/outputs.tar", "/recordings/{}"}
"""Without a row of anybody's, or of one file."""
OPERATORS = {"/recordings", "/savings"}
JOBS = 20
CHECKS = 1000


def test_reading_costs_so_many_statements_at_most(tenant: Tenant, statements: list[str]) -> None:
    api, node = tenant.api, Node.objects.get()
    ids = [api.post("/jobs", a_spec()).json()["id"] for _ in range(JOBS)]
    for job in Job.objects.filter(public_id__in=ids[: JOBS // 2]):
        started(job, node, chips=[])
    for number in range(8):
        team = create_team(tenant.organization, f"team-{number}")
        Budget.objects.create(team=team, since="2026-01-01", chip_hours=1)
        a_node(chips=2)
        asked = {"team": team.name, "chip_type": "H100", "guaranteed_milli": 1000, "reason": "more"}
        assert api.post("/quota-requests", asked).status_code == 201
        api.post("/service-accounts", {"name": f"ci-{number}", "role": "member"})
    operator = a_tenant("operations", operator=True).api
    known = {"job": ids[0], "node": node.public_id, "team": tenant.team.public_id, **_others(api)}
    for name in ("HF_TOKEN", "OTHER"):
        api.put(f"/teams/{tenant.team.public_id}/secrets/{name}", {"value": "x"})
    Token.objects.update(last_used_at="2100-01-01T00:00:00Z")
    sent = {}
    for path in MOST:
        statements.clear()
        answer = (operator if path in OPERATORS else api).get(path.format(**known))
        b"".join(answer)
        assert answer.status_code == 200, answer.content
        sent[path] = len([text for text in statements if not text.startswith(("SAVEPOINT", "RELEASE"))])
    assert {path: count for path, count in sent.items() if count > MOST[path]} == {}, sent


def _others(api: Api) -> dict[str, str]:
    """Several of each, and the ids of the last."""
    ids = {}
    for number in range(8):
        spec = a_spec(name=f"nightly-{number}", team="research", schedule={"cron": "0 3 * * *"})
        ids["schedule"] = api.post("/schedules", spec).json()["id"]
        rule = {"account": "ci-0", "name": f"r{number}", "issuer": "https://gitlab.com", "scopes": ["read"]}
        api.post("/trust-rules", {**rule, "claims": {"project_path": "acme/x"}})
        hook = {"name": f"h{number}", "url": "https://ci.example/x", "events": ["job.failed"]}
        ids["hook"] = api.post("/webhooks", hook).json()["id"]
    ids["account"] = api.get("/service-accounts").json()["items"][0]["id"]
    api.post(f"/webhooks/{ids['hook']}/ping")
    return ids


def test_every_endpoint_that_reads_has_its_count() -> None:
    entries = get_resolver("flexai.api.urls").url_patterns
    there = {_pattern(f"/{entry.pattern}") for entry in entries if hasattr(entry.callback.view_class, "get")}
    assert {_pattern(path) for path in (*MOST, *ELSEWHERE)} == there


def _pattern(path: str) -> str:
    return re.sub("[{<][^}>]*[}>]|HF_TOKEN", "{}", path.partition("?")[0])


def test_a_role_is_checked_without_a_statement(tenant: Tenant, statements: list[str]) -> None:
    principal = tenant.principal
    assert len(principal.teams) == 1
    statements.clear()
    assert principal.may(Action.STEER_ANY, tenant.team.pk)
    assert not principal.may(Action.RUN_NODES)
    assert statements == []
    began = time.perf_counter()
    for _ in range(CHECKS):
        principal.may(Action.STEER_ANY, tenant.team.pk)
    assert time.perf_counter() - began < CHECKS / 1000, "1 ms each is allowed"
