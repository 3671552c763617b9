"""What a dry run says of a spec: its start, its cost, and what its team and those above would hold (X4, F1, F2)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flexai.common import clock
from flexai.jobs.models import Job
from flexai.scheduling.outlook import start_in_words
from flexai.tenancy.models import Budget, Price, Quota, Team, TeamUse, UserCap
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db
TYPE = "H100-80GB"


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    a_node(chips=4)
    return a_tenant()


def outlook(tenant: Tenant, **fields: Any) -> Any:
    """What it says of a job with two chips."""
    spec = a_spec(**{"team": tenant.team.name, "resources": {"accelerators": "H100:2"}, **fields})
    answer = tenant.api.post("/jobs?dry_run=1", spec).json()
    assert answer["fits"], answer
    assert not Job.objects.exists()
    return answer["outlook"]


def a_quota(team: Team, guaranteed: int, limit: int | None, used: int = 0) -> None:
    """The team has this of the cell's chips, in milli-chips, and holds that much."""
    cell, _ = a_cell()
    line = {"guaranteed_milli": guaranteed, "limit_milli": limit}
    Quota.objects.update_or_create(team=team, cell=cell, chip_type=TYPE, defaults=line)
    TeamUse.objects.update_or_create(team=team, cell=cell, chip_type=TYPE, defaults={"used_milli": used})


def a_price(micro: int) -> None:
    """Of a chip-hour, from today on."""
    Price.objects.create(chip_type=TYPE, from_day=clock.now().date(), micro_per_chip_hour=micro)


def test_what_fits_now_starts_at_once(tenant: Tenant) -> None:
    told = outlook(tenant)
    assert told["starts_at"] is not None
    assert "It would start at once." in told["sentences"]


def test_what_is_told_to_wait_does_not_start_at_once(tenant: Tenant) -> None:
    held = outlook(tenant, hold=True)
    assert held["starts_at"] is None
    assert not [said for said in held["sentences"] if "start" in said]
    first = clock.now().replace(microsecond=0) + timedelta(hours=2)
    later = outlook(tenant, start_after=first.isoformat())
    assert datetime.fromisoformat(later["starts_at"]) == first
    [said] = [said for said in later["sentences"] if "start" in said]
    assert re.fullmatch(rf"It would start in (2 h|1 h 59 min) \({first:%Y-%m-%d %H:%M} UTC\)\.", said)


def test_a_start_is_told_in_how_long_and_how_surely() -> None:
    now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    soon, late = now + timedelta(minutes=90), now + timedelta(hours=5)
    assert start_in_words((now, now), now) == "at once"
    assert start_in_words((soon, soon), now) == "in 1 h 30 min (2026-01-05 13:30 UTC)"
    assert (
        start_in_words((soon, late), now)
        == "in 1 h 30 min (2026-01-05 13:30 UTC), in nine cases of ten within 5 h"
    )


def test_a_price_and_a_known_length_give_the_cost(tenant: Tenant) -> None:
    a_price(3_000_000)
    told = outlook(tenant, max_duration="90m")
    [cost] = told["costs"]
    assert cost == {"chip_type": TYPE, "milli": 2000, "micro_per_chip_hour": 3_000_000, "micro": 9_000_000}
    assert told["run_ms"] == 5_400_000
    assert (
        f"2 {TYPE} cost 6.00 EUR an hour, 9.00 EUR for the 1 h 30 min that such a job runs."
        in told["sentences"]
    )


def test_without_a_price_or_a_length_nothing_is_made_up(tenant: Tenant) -> None:
    assert outlook(tenant)["costs"] == [
        {"chip_type": TYPE, "milli": 2000, "micro_per_chip_hour": None, "micro": None}
    ]
    a_price(3_000_000)
    [cost] = outlook(tenant)["costs"]
    assert cost["micro"] is None, "nobody knows how long it runs"


def test_half_a_chip_and_several_replicas_are_counted(tenant: Tenant) -> None:
    half = outlook(tenant, resources={"accelerators": "H100", "fraction": 0.5})
    assert [one["milli"] for one in half["costs"]] == [500]
    gang = outlook(tenant, resources={"accelerators": "H100:1"}, nodes=3, spread=False)
    assert [one["milli"] for one in gang["costs"]] == [3000]
    assert outlook(tenant, resources={})["costs"] == []


@pytest.mark.parametrize(
    ("guaranteed", "limit", "used", "said"),
    [
        (4000, None, 1000, "would hold 3 H100-80GB of 4 guaranteed."),
        (
            1000,
            None,
            0,
            "would hold 2 H100-80GB; 1 of them beyond its guarantee, which others may claim back.",
        ),
        (
            1000,
            3000,
            2000,
            "would hold 4 H100-80GB, more than its limit of 3: it waits until others of it end.",
        ),
    ],
    ids=["guaranteed", "borrowed", "limited"],
)
def test_quotas_are_told_of_the_team_and_of_those_above(
    tenant: Tenant, guaranteed: int, limit: int | None, used: int, said: str
) -> None:
    above = Team.objects.create(organization=tenant.organization, name="above")
    Team.objects.filter(pk=tenant.team.pk).update(parent=above)
    a_quota(above, guaranteed, limit, used)
    told = outlook(tenant, preemptible=True)
    assert [one["team"]["name"] for one in told["holdings"]] == [tenant.team.name, "above"]
    assert told["holdings"][1] == {
        "team": {"id": above.public_id, "name": "above"}, "chip_type": TYPE, "used_milli": used, "asked_milli": 2000,
        "guaranteed_milli": guaranteed, "limit_milli": limit,
    }  # fmt: skip
    assert f"Team above {said}" in told["sentences"]
    assert f"Team {tenant.team.name} would hold 2 {TYPE}; it has no quota." in told["sentences"]


def test_a_spent_budget_and_a_cap_are_told(tenant: Tenant) -> None:
    above = Team.objects.create(organization=tenant.organization, name="above")
    Team.objects.filter(pk=tenant.team.pk).update(parent=above)
    Budget.objects.create(team=above, since="2026-01-01", chip_hours=1, is_spent=True)
    UserCap.objects.create(team=tenant.team, cell_id=1, chip_type=TYPE, limit_milli=500)
    spec = a_spec(team=tenant.team.name)
    chips = {"resources": {"accelerators": f"{TYPE}:1"}}
    assert tenant.api.post("/jobs?dry_run=1", spec | chips).json()["warnings"] == [
        "The budget of team above is spent: nothing with chips starts in it.",
        f"Team {tenant.team.name} lets a user hold 0.5 {TYPE} at most.",
    ]
    assert tenant.api.post("/jobs?dry_run=1", spec).json()["warnings"] == [], "it asks for no chips"


def test_what_never_fits_has_no_outlook(tenant: Tenant) -> None:
    answer = tenant.api.post("/jobs?dry_run=1", a_spec(resources={"accelerators": "H100:64"})).json()
    assert (answer["fits"], answer["outlook"]) == (False, None)
