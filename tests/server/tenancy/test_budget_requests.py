"""A team asks for more budget: the same request as for quota, with the budget's figures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flexai.common import clock
from flexai.notifications.answers import end_due
from flexai.tenancy.budgets import remove_budget, set_budget
from flexai.tenancy.models import AuditEntry, Budget, QuotaRequest, Role, Team
from flexai.tenancy.services import create_team
from tests.server.tenancy.test_quota_requests import refused
from tests.support.tenants import Api, Tenant, a_tenant

pytestmark = pytest.mark.django_db
TODAY = clock.now().date()


@pytest.fixture
def operator(db: None) -> Tenant:
    return a_tenant("operations", operator=True)


@pytest.fixture
def maintainer(tenant: Tenant) -> Api:
    return tenant.somebody(Role.MAINTAINER, name="mia")[1]


@pytest.fixture
def budget(tenant: Tenant) -> Budget:
    """A hundred chip-hours a month, all spent."""
    return Budget.objects.create(
        team=tenant.team, since=TODAY, chip_hours=100, soft_percent=70, is_warned=True, is_spent=True
    )


def body(**more: Any) -> dict[str, Any]:
    return {"team": "research", "kind": "budget", "chip_hours": 500, "reason": "the paper is due", **more}


def asked(api: Api, **more: Any) -> dict[str, Any]:
    answer = api.post("/quota-requests", body(**more))
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def may_spend(team: Team) -> tuple[int | None, int | None]:
    found = Budget.objects.get(team=team)
    return found.chip_hours, found.money_micro


def test_a_maintainer_asks_an_operator_grants_other_figures(
    tenant: Tenant, operator: Tenant, maintainer: Api, budget: Budget
) -> None:
    request = asked(maintainer)
    assert (request["kind"], request["chip_type"], request["cell"]) == ("budget", None, None)
    assert request["asked"] == {"chip_hours": 500, "money_micro": None}
    assert may_spend(tenant.team) == (100, None), "nothing is given yet"
    refused(tenant.api.post(f"/quota-requests/{request['id']}/approve"), 403, "set the budget of a team")
    given = {"chip_hours": 300, "money_micro": 9_000_000, "answer": "so much"}
    done = operator.api.post(f"/quota-requests/{request['id']}/approve", given)
    assert done.status_code == 200, done.content
    assert done.json()["granted"] == {"chip_hours": 300, "money_micro": 9_000_000}
    assert done.json()["before"] == {"chip_hours": 100, "money_micro": None}
    budget.refresh_from_db()
    assert (budget.chip_hours, budget.money_micro, budget.soft_percent, budget.hard, budget.is_spent) == (
        300, 9_000_000, 70, True, False,
    )  # fmt: skip
    entries = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(entries) == ["quota_request.made", "team.budget_set", "quota_request.approved"]


def test_an_owner_answers_for_a_team_below_another(tenant: Tenant, maintainer: Api) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    Budget.objects.create(team=below, since=TODAY, money_micro=5_000_000)
    path = f"/quota-requests/{asked(maintainer, team='below', chip_hours=None, money_micro=6_000_000)['id']}"
    assert tenant.api.post(f"{path}/approve").status_code == 200
    assert may_spend(below) == (None, 6_000_000)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"chip_hours": 100}, "is no more than team research may spend: 100 chip-hours"),
        ({"chip_hours": 50, "money_micro": 1}, "is no more than"),
        ({"chip_hours": -1}, "whole number"),
        ({"chip_hours": "many"}, "whole number"),
        ({"chip_hours": 10**11}, "whole number"),
        ({"chip_hours": None}, "give one of them, or both"),
        ({"guaranteed_milli": 1000}, "is no figure of a budget"),
        ({"chip_type": "H100"}, "is for a quota"),
        ({"cell": "default"}, "is for a quota"),
        ({"kind": "quota", "chip_type": "H100"}, "is no figure of a quota"),
        ({"kind": "money"}, "must be quota or budget"),
        ({"kind": ["budget"]}, "must be quota or budget"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_asked(
    maintainer: Api, budget: Budget, wrong: dict[str, Any], said: str
) -> None:
    refused(maintainer.post("/quota-requests", body(**wrong)), 400, said)
    assert not QuotaRequest.objects.exists()


def test_without_a_budget_of_its_own_there_is_nothing_to_ask(
    tenant: Tenant, operator: Tenant, maintainer: Api
) -> None:
    refused(maintainer.post("/quota-requests", body()), 400, "has no budget of its own")
    set_budget(operator.principal, tenant.team, {"chip_hours": 100}, TODAY)
    path = f"/quota-requests/{asked(maintainer)['id']}"
    remove_budget(operator.principal, tenant.team)
    refused(operator.api.post(f"{path}/approve"), 400, "it has no budget of its own")
    assert not Budget.objects.exists(), "an approval bounds nobody who was not bounded"


def test_one_request_for_the_budget_beside_those_for_quota(maintainer: Api, budget: Budget) -> None:
    first = asked(maintainer)
    refused(maintainer.post("/quota-requests", body()), 409, first["id"], "asks for the budget")
    quota = {"team": "research", "chip_type": "H100", "guaranteed_milli": 1000, "reason": "more"}
    assert maintainer.post("/quota-requests", quota).status_code == 201
    listed = maintainer.get("/quota-requests").json()["items"]
    assert [(one["kind"], one["chip_type"]) for one in listed] == [("quota", "H100"), ("budget", None)]


def test_what_was_granted_for_a_time_goes_back_unless_it_was_set_otherwise(
    tenant: Tenant, operator: Tenant, maintainer: Api, budget: Budget
) -> None:
    def grant() -> None:
        request = asked(maintainer, until=TODAY.isoformat())
        assert operator.api.post(f"/quota-requests/{request['id']}/approve").status_code == 200

    grant()
    assert end_due(TODAY) == 0, "the last day is part of it"
    assert end_due(TODAY + timedelta(days=1)) == 1
    assert may_spend(tenant.team) == (100, None)
    entry = AuditEntry.objects.filter(action="team.budget_set").latest("pk")
    assert (entry.actor_kind, entry.before["chip_hours"], entry.after["chip_hours"]) == ("platform", 500, 100)
    grant()
    set_budget(operator.principal, tenant.team, {"chip_hours": 700}, TODAY)
    assert end_due(TODAY + timedelta(days=1)) == 1
    assert may_spend(tenant.team) == (700, None)
    assert "The budget was set otherwise meanwhile" in QuotaRequest.objects.latest("pk").note
