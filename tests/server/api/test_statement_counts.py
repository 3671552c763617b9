"""How many statements an endpoint sends is bounded, whatever the number of rows it tells of."""

from __future__ import annotations

import pytest

from flexai.cluster.models import Node
from flexai.jobs.models import Job
from flexai.tenancy.models import Budget, Token
from flexai.tenancy.roles import Action
from flexai.tenancy.services import create_team
from tests.support.tenants import Tenant, a_node, a_spec, started

pytestmark = pytest.mark.django_db

MOST = {
    "/me": 4, "/jobs": 6, "/jobs?sort=-started_at": 8, "/jobs?sort=ended_at": 8, "/jobs?user=nobody": 6,
    "/jobs/counts": 2, "/jobs/{job}": 13, "/jobs/{job}/events": 3, "/jobs/{job}/explain": 5,
    "/jobs/{job}/usage": 4, "/nodes": 8, "/nodes/{node}": 8, "/chips": 8, "/teams": 9, "/teams/{team}": 9,
    "/members": 2, "/service-accounts": 6, "/tokens": 2, "/usage": 3, "/prices": 2, "/job-policy": 3,
    "/quota-requests": 3,
}  # fmt: skip
"""With the one that finds the token."""
JOBS = 20


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
    Token.objects.update(last_used_at="2100-01-01T00:00:00Z")
    known = {"job": ids[0], "node": node.public_id, "team": tenant.team.public_id}
    sent = {}
    for path in MOST:
        statements.clear()
        answer = api.get(path.format(**known))
        assert answer.status_code == 200, answer.content
        sent[path] = len([text for text in statements if not text.startswith(("SAVEPOINT", "RELEASE"))])
    assert {path: count for path, count in sent.items() if count > MOST[path]} == {}, sent


def test_a_role_is_checked_without_a_statement(tenant: Tenant, statements: list[str]) -> None:
    principal = tenant.principal
    assert len(principal.teams) == 1
    statements.clear()
    assert principal.may(Action.STEER_ANY, tenant.team.pk)
    assert not principal.may(Action.RUN_NODES)
    assert statements == []
