"""F5: caps for each user, budgets with a soft and a hard stop, from rows to the scheduler."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from flexai.common import clock
from flexai.jobs.spending import look_at_budgets, spent_of
from flexai.scheduling.feed import Feed
from flexai.tenancy.models import AuditEntry, Budget, Price, Team, UsageDay, UserCap
from flexai.tenancy.services import create_team
from scheduler_core import model
from tests.support.tenants import Tenant, a_cell, a_tenant

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = NOON.date()
HOUR = 1000 * 3_600_000


def used(tenant: Tenant, team: Team, hours: int, day: date = TODAY) -> None:
    """The team's ledger has so many chip-hours more on the day."""
    UsageDay.objects.create(
        organization=tenant.organization, team=team, user=tenant.owner, day=day, chip_type="H100", labels={},
        labels_hash=str(UsageDay.objects.count()), starting=0, running=hours * HOUR, stopping=0, guest=5 * HOUR,
        used=0, measured=0, ended=1,
    )  # fmt: skip


def a_budget(tenant: Tenant, **fields: Any) -> Budget:
    return Budget.objects.create(team=tenant.team, since=date(2026, 1, 1), **fields)


def engine_team(tenant: Tenant) -> model.Team:
    feed = Feed(1)
    return next(team for team in feed.begin(0).teams if team.id == tenant.team.pk)


def test_a_budget_counts_the_teams_below_and_its_period_alone(tenant: Tenant) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    beside = create_team(tenant.organization, "beside")
    used(tenant, tenant.team, 2)
    used(tenant, below, 3)
    used(tenant, beside, 7)
    used(tenant, tenant.team, 11, date(2026, 2, 28))
    Price.objects.create(chip_type="H100", from_day=date(2026, 1, 1), micro_per_chip_hour=1_500_000)
    budget = a_budget(tenant, chip_hours=10)
    assert spent_of([budget], NOON)[tenant.team.pk].chip_ms == 5 * 3_600_000
    assert spent_of([budget], NOON)[tenant.team.pk].micro == 7_500_000
    budget.period = "total"
    assert spent_of([budget], NOON)[tenant.team.pk].chip_ms == 16 * 3_600_000


def test_the_soft_stop_is_told_and_the_hard_one_stops_the_engine(tenant: Tenant) -> None:
    a_budget(tenant, chip_hours=10)
    assert look_at_budgets(NOON) == 0
    assert engine_team(tenant).budget_left is None
    used(tenant, tenant.team, 8)
    version = Team.objects.get(pk=tenant.team.pk).version
    assert look_at_budgets(NOON) == 1
    assert look_at_budgets(NOON) == 0, "told once"
    assert tenant.api.get("/me").json()["notices"] == ["The budget of team research is used to 80 % or more."]
    assert engine_team(tenant).budget_left is None
    used(tenant, tenant.team, 2)
    assert look_at_budgets(NOON) == 1
    assert engine_team(tenant).budget_left == 0
    assert "nothing with chips starts" in tenant.api.get("/me").json()["notices"][0]
    assert Team.objects.get(pk=tenant.team.pk).version == version + 2, "so that the feed reads the team"
    april = datetime(2026, 4, 1, tzinfo=UTC)
    assert look_at_budgets(april) == 1
    assert engine_team(tenant).budget_left is None
    actions = AuditEntry.objects.filter(actor_kind="platform").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["team.budget_warned", "team.budget_spent", "team.budget_renewed"]


def test_a_budget_that_is_not_hard_only_tells(tenant: Tenant) -> None:
    a_budget(tenant, money_micro=3_000_000, hard=False)
    Price.objects.create(chip_type="H100", from_day=date(2026, 1, 1), micro_per_chip_hour=1_500_000)
    used(tenant, tenant.team, 2)
    assert look_at_budgets(NOON) == 1
    assert Budget.objects.get().is_spent
    assert engine_team(tenant).budget_left is None


def test_caps_reach_the_engine_when_they_change(tenant: Tenant) -> None:
    feed = Feed(1)
    feed.begin(0)
    path = f"/teams/{tenant.team.public_id}/user-caps"
    told = tenant.api.put(path, {"user_caps": [{"chip_type": "H100", "limit_milli": 2000}]})
    assert told.status_code == 200, told.content
    assert told.json()["user_caps"] == [{"chip_type": "H100", "limit_milli": 2000}]
    events = feed.read(0).events
    assert [event.row.user_caps for event in events if isinstance(event, model.Upsert)] == [
        (model.UserCap("H100", 2000),)
    ]
    assert tenant.api.put(path, {"user_caps": []}).status_code == 200
    assert not UserCap.objects.exists()
    assert feed.read(0).events


@pytest.fixture
def operator(db: None) -> Tenant:
    return a_tenant("operations", operator=True)


def test_what_an_organization_may_spend_operators_say(tenant: Tenant, operator: Tenant) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    top = f"/teams/{tenant.team.public_id}/budget"
    assert operator.api.put(top, {"chip_hours": 5}).status_code == 200
    for answer in (tenant.api.put(top, {"chip_hours": 500}), tenant.api.delete(top)):
        assert answer.status_code == 403
        assert "Only an operator" in answer.json()["detail"]
    assert Budget.objects.get().chip_hours == 5
    assert tenant.api.put(f"/teams/{below.public_id}/budget", {"chip_hours": 1}).status_code == 200
    assert tenant.api.put(f"/teams/{tenant.team.public_id}/user-caps", {"user_caps": []}).status_code == 200
    assert tenant.api.delete(f"/teams/{below.public_id}/budget").status_code == 204


def test_a_budget_by_the_api(tenant: Tenant, operator: Tenant) -> None:
    used(tenant, tenant.team, 4, clock.now().date())
    path = f"/teams/{tenant.team.public_id}/budget"
    told = operator.api.put(path, {"chip_hours": 5, "soft_percent": 50}).json()["budget"]
    assert (told["chip_hours"], told["spent_chip_ms"], told["state"]) == (5, 4 * 3_600_000, "warned")
    assert tenant.api.get("/teams").json()["items"][0]["budget"]["state"] == "warned"
    assert operator.api.delete(path).status_code == 204
    assert operator.api.delete(path).status_code == 404
    assert tenant.api.get(f"/teams/{tenant.team.public_id}").json()["budget"] is None
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["team.budget_set", "team.budget_removed"]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"chip_hours": -1}, {"chip_hours": True}, {"chip_hours": 1.5}, {"money_micro": "10"},
        {"chip_hours": 1, "period": "week"}, {"chip_hours": 1, "soft_percent": 0}, {"chip_hours": 1, "hard": 1},
        {"chip_hours": 1, "since": "soon"}, {"chip_hours": 1, "colour": "red"}, {"chip_hours": 10**11},
        {"chip_hours": 1, "period": []},
    ],
)  # fmt: skip
def test_other_budgets_are_refused(tenant: Tenant, operator: Tenant, body: Any) -> None:
    answer = operator.api.put(f"/teams/{tenant.team.public_id}/budget", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    "caps",
    [None, "x", {}, ["x"], [{}], [{"chip_type": "H100"}], [{"chip_type": "H 100", "limit_milli": 1}],
     [{"chip_type": "H100", "limit_milli": -1}], [{"chip_type": "H100", "limit_milli": 1}] * 2,
     [{"chip_type": 1, "limit_milli": 1}]],
)  # fmt: skip
def test_other_caps_are_refused(tenant: Tenant, caps: Any) -> None:
    answer = tenant.api.put(f"/teams/{tenant.team.public_id}/user-caps", {"user_caps": caps})
    assert answer.status_code == 400, answer.content
    assert not UserCap.objects.exists()


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    return a_tenant("acme")
