"""The ledger adds up to the millisecond, over states, days, settling, and attempts that are still live."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexai.cluster.models import Chip, Node
from flexai.common.errors import InvalidInput, NotFound
from flexai.jobs import statements
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.ledger import settle
from flexai.jobs.models import Allocation, Attempt, Job
from flexai.tenancy.models import Price, Role, TeamUse, UsageDay, UsageLine
from flexai.tenancy.services import create_team
from scheduler_core.lifecycle import Outcome
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_spec, a_tenant, started

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
ALL = statements.Wanted(date(2026, 1, 1), date(2026, 12, 31))
MILLI_HOUR = 1000 * 3_600_000


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    a_node(chips=4)
    return a_tenant("acme")


def an_attempt(
    tenant: Tenant, *, placed: datetime = NOON, chips: int = 1, running: Any = None, stopping: Any = None,
    use: int | None = None, energy: int | None = None, **fields: Any,
) -> Attempt:  # fmt: skip
    """A live attempt with whole chips, and moves at these instants."""
    node = Node.objects.get()
    made = tenant.api.post("/jobs", a_spec(resources={"accelerators": f"H100:{chips}"}, **fields))
    assert made.status_code == 201, made.content
    attempt = started(
        Job.objects.get(public_id=made.json()["id"]), node, chips=list(node.chips.all()[:chips])
    )
    node.chips.update(used_milli=1000, used_memory_mib=81_920)
    uses = {"used_milli": 4000}
    TeamUse.objects.update_or_create(cell_id=1, team=attempt.job.team, chip_type="H100-80GB", defaults=uses)
    Attempt.objects.filter(pk=attempt.pk).update(
        placed_at=placed, running_at=running, stopping_at=stopping, use_permille=use, energy_mj=energy
    )
    return attempt


def end(attempt: Attempt, at: datetime) -> None:
    """Ended, as its node said."""
    attempt.replicas.update(state="ended")
    Job.objects.filter(pk=attempt.job_id).update(version=1)
    assert end_attempts([Ending(attempt.pk, Outcome.SUCCEEDED)], actor="agent", at=at) == 1


def test_the_states_and_days_add_up(tenant: Tenant) -> None:
    evening = datetime(2026, 3, 10, 23, tzinfo=UTC)
    attempt = an_attempt(
        tenant, placed=evening, running=evening + timedelta(minutes=30), chips=2,
        stopping=evening + timedelta(hours=2), use=500,
    )  # fmt: skip
    end(attempt, evening + timedelta(hours=2, minutes=6))
    first, second = UsageLine.objects.order_by("day")
    assert (first.day, second.day) == (date(2026, 3, 10), date(2026, 3, 11))
    assert (first.starting, first.running, first.stopping) == (MILLI_HOUR, MILLI_HOUR, 0)
    assert (second.starting, second.running, second.stopping) == (0, 2 * MILLI_HOUR, MILLI_HOUR // 5)
    assert (first.used, first.measured) == (MILLI_HOUR // 2, MILLI_HOUR)
    assert (first.ended, second.ended) == (0, 1)


@given(
    moves=st.lists(st.integers(0, 3 * 86_400_000), min_size=3, max_size=3),
    none=st.sampled_from(["", "running", "stopping", "both"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_moves_all_time_is_in_it_once(tenant: Tenant, moves: list[int], none: str) -> None:
    UsageLine.objects.all().delete()
    running, stopping, ended = (NOON + timedelta(milliseconds=ms) for ms in moves)
    attempt = an_attempt(
        tenant, running=None if none in ("running", "both") else running,
        stopping=None if none in ("stopping", "both") else stopping,
    )  # fmt: skip
    end(attempt, ended)
    lines = list(UsageLine.objects.filter(attempt=attempt.pk))
    assert sum(line.starting + line.running + line.stopping for line in lines) == 1000 * moves[2]
    assert all(min(line.starting, line.running, line.stopping) >= 0 for line in lines)
    assert sum(line.ended for line in lines) == 1
    Allocation.objects.all().delete()


@given(
    energy=st.integers(0, 10**15),
    moves=st.lists(st.integers(0, 5 * 86_400_000), min_size=2, max_size=2),
    chips=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_it_drew_is_divided_to_the_millijoule(
    tenant: Tenant, energy: int, moves: list[int], chips: int
) -> None:
    UsageLine.objects.all().delete()
    running, ended = (NOON + timedelta(milliseconds=ms) for ms in moves)
    attempt = an_attempt(tenant, running=running, chips=chips, energy=energy)
    one = Allocation.objects.filter(attempt=attempt).order_by("pk")[:1]
    Chip.objects.filter(pk__in=one.values("chip")).update(type="A100-40GB")
    TeamUse.objects.update_or_create(
        cell_id=1, team=attempt.job.team, chip_type="A100-40GB", defaults={"used_milli": 4000}
    )
    end(attempt, ended)
    lines = list(UsageLine.objects.filter(attempt=attempt.pk))
    assert sum(line.energy for line in lines) == energy
    assert min(line.energy for line in lines) >= 0
    assert sum(line.metered for line in lines) == 1000 * chips * moves[1]
    Allocation.objects.all().delete()
    Chip.objects.update(type="H100-80GB")


def test_a_day_has_the_energy_of_its_hours(tenant: Tenant) -> None:
    evening = datetime(2026, 3, 10, 21, tzinfo=UTC)
    end(an_attempt(tenant, placed=evening, running=evening, energy=9_000_000), evening + timedelta(hours=9))
    first, second = UsageLine.objects.order_by("day")
    assert (first.energy, second.energy) == (3_000_000, 6_000_000)


def test_what_no_chip_tells_is_unknown_and_not_nothing(tenant: Tenant) -> None:
    asked = {"from": "2026-03-01", "to": "2026-03-31"}
    end(an_attempt(tenant, running=NOON), NOON + timedelta(hours=1))
    Allocation.objects.all().delete()
    told = tenant.api.get("/usage", **asked).json()["total"]
    assert (told["energy_mj"], told["metered_ms"]) == (None, 0)
    head, line, _ = tenant.api.get("/usage.csv", **asked).content.decode().split("\r\n")
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert (cells["energy_kwh"], cells["metered_hours"]) == ("", "0.000000")

    end(an_attempt(tenant, running=NOON, energy=7_200_000_000), NOON + timedelta(hours=1))
    for _ in range(2):
        told = tenant.api.get("/usage", **asked).json()["total"]
        assert (told["energy_mj"], told["metered_ms"], told["chip_ms"]) == (
            7_200_000_000,
            3_600_000,
            7_200_000,
        )
        settle()
    head, line, _ = tenant.api.get("/usage.csv", **asked).content.decode().split("\r\n")
    cells = dict(zip(head.split(","), line.split(","), strict=True))
    assert (cells["energy_kwh"], cells["metered_hours"]) == ("2.000000", "1.000000")


def test_of_an_attempt_that_the_platform_gave_up_nothing_is_known(tenant: Tenant) -> None:
    attempt = an_attempt(tenant, running=NOON, energy=5)
    assert end_attempts(
        [Ending(attempt.pk, Outcome.NODE_LOST)], actor="platform", at=NOON + timedelta(hours=1)
    )
    line = UsageLine.objects.get()
    assert (line.energy, line.metered) == (0, 0)


def test_live_then_ended_then_settled_says_the_same(tenant: Tenant) -> None:
    attempt = an_attempt(tenant, running=NOON, chips=2, labels={"project": "x"})
    Price.objects.create(chip_type="H100-80GB", from_day=date(2026, 1, 1), micro_per_chip_hour=2_500_000)
    later = NOON + timedelta(hours=3)

    def told() -> Any:
        wanted = statements.Wanted(ALL.first, ALL.last, ("team", "user", "label:project"))
        found = statements.statement(tenant.principal, wanted, later)
        [row] = found.rows
        return row.parts, row.held, row.running, row.cost, found.total.held

    live = told()
    assert live == (
        ("research", tenant.owner.username, "x"), 6 * 3_600_000, 6 * 3_600_000, 15_000_000, 6 * 3_600_000
    )  # fmt: skip
    end(attempt, later)
    assert told() == live
    assert settle() == 1
    assert settle() == 0
    assert told() == live
    assert UsageDay.objects.get().ended == 1


def test_settled_lines_of_one_day_become_one_sum(tenant: Tenant) -> None:
    for _ in range(3):
        end(an_attempt(tenant), NOON + timedelta(hours=1))
        Allocation.objects.all().delete()
    assert settle(2) == 2
    assert settle(2) == 1
    assert UsageDay.objects.get().starting == 3 * MILLI_HOUR


def test_a_price_holds_from_its_day_on(tenant: Tenant) -> None:
    Price.objects.create(chip_type="H100-80GB", from_day=date(2026, 3, 1), micro_per_chip_hour=1_000_000)
    Price.objects.create(chip_type="H100-80GB", from_day=date(2026, 3, 11), micro_per_chip_hour=3_000_000)
    end(an_attempt(tenant, placed=NOON), NOON + timedelta(days=1))
    wanted = statements.Wanted(ALL.first, ALL.last, ("day",))
    rows = statements.statement(tenant.principal, wanted, NOON).rows
    assert [(row.parts[0], row.cost) for row in rows] == [
        ("2026-03-10", 12_000_000), ("2026-03-11", 36_000_000)
    ]  # fmt: skip


def test_a_statement_of_a_team_has_the_teams_below_it(tenant: Tenant) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    create_team(tenant.organization, "beside")
    end(an_attempt(tenant, team=below.name), NOON + timedelta(hours=1))

    def held(team: str) -> int:
        wanted = statements.Wanted(ALL.first, ALL.last, (), team)
        return statements.statement(tenant.principal, wanted, NOON).total.held

    assert (held("research"), held("below"), held("beside")) == (3_600_000, 3_600_000, 0)
    with pytest.raises(NotFound):
        held("nowhere")


def test_another_tenant_has_no_part_in_it(tenant: Tenant) -> None:
    end(an_attempt(tenant), NOON + timedelta(hours=1))
    other = a_tenant("globex")
    assert statements.statement(other.principal, ALL, NOON).rows == ()
    assert (
        other.api.get("/usage", **{"from": "2026-03-01", "to": "2026-03-31"}).json()["total"]["chip_ms"] == 0
    )
    assert other.api.get("/usage", organization="acme").status_code == 400
    operator = a_tenant("operations", operator=True)
    seen = operator.api.get("/usage", organization="acme", **{"from": "2026-03-01", "to": "2026-03-31"})
    assert seen.json()["total"]["chip_ms"] == 3_600_000


@pytest.mark.parametrize(
    "wanted",
    [
        statements.Wanted(date(2026, 2, 1), date(2026, 1, 1)),
        statements.Wanted(date(2020, 1, 1), date(2026, 1, 1)),
        statements.Wanted(ALL.first, ALL.last, ("color",)),
        statements.Wanted(ALL.first, ALL.last, ("label:",)),
        statements.Wanted(ALL.first, ALL.last, ("day", "day")),
        statements.Wanted(ALL.first, ALL.last, ("day", "team", "user", "chip_type")),
    ],
)
def test_other_statements_are_refused(tenant: Tenant, wanted: statements.Wanted) -> None:
    with pytest.raises(InvalidInput):
        statements.statement(tenant.principal, wanted, NOON)


class TestApi:
    def test_json_and_csv_say_the_same(self, tenant: Tenant) -> None:
        attempt = an_attempt(tenant, labels={"project": "=cmd|'/c calc'!A1"})
        end(attempt, NOON + timedelta(hours=1))
        Price.objects.create(chip_type="H100-80GB", from_day=date(2026, 1, 1), micro_per_chip_hour=2_000_000)
        asked = {"from": "2026-03-01", "to": "2026-03-31", "by": "day,label:project"}
        told = tenant.api.get("/usage", **asked).json()
        assert told["rows"] == [
            {
                "day": "2026-03-10", "label:project": "=cmd|'/c calc'!A1", "chip_ms": 3_600_000,
                "starting_ms": 3_600_000, "running_ms": 0, "stopping_ms": 0, "borrowed_ms": 0, "used_ms": 0,
                "measured_ms": 0, "energy_mj": None, "metered_ms": 0, "attempts": 1, "cost_micro": 2_000_000,
            }
        ]  # fmt: skip
        answer = tenant.api.get("/usage.csv", **asked)
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer["Content-Disposition"]
        head, line, _ = answer.content.decode().split("\r\n")
        assert head.startswith("day,label:project,chip_hours,")
        assert line.startswith("2026-03-10,'=cmd|'/c calc'!A1,1.000000,"), "a spreadsheet takes it for text"
        assert line.endswith(",1,2.000000,EUR")

    @pytest.mark.parametrize(
        "asked",
        [{"from": "yesterday"}, {"from": "2026-02-30"}, {"by": "price"}, {"team": "nowhere"}, {"to": ""}],
    )
    def test_wrong_questions_are_told(self, tenant: Tenant, asked: dict[str, str]) -> None:
        answer = tenant.api.get("/usage", **asked)
        assert answer.status_code == (404 if "team" in asked else 400 if asked != {"to": ""} else 200)

    def test_prices_are_the_operators(self, tenant: Tenant) -> None:
        operator = a_tenant("operations", operator=True)
        today = tenant.api.get("/prices").json()["today"]
        price = {"chip_type": "H100-80GB", "from_day": today, "micro_per_chip_hour": 2_500_000}
        assert tenant.api.put("/prices", {"prices": [price]}).status_code == 403
        set_to = operator.api.put("/prices", {"prices": [price]})
        assert set_to.status_code == 200, set_to.content
        assert tenant.api.get("/prices").json()["prices"] == [price]
        past = {**price, "from_day": "2020-01-01", "micro_per_chip_hour": 1}
        refused = operator.api.put("/prices", {"prices": [past]})
        assert refused.status_code == 400
        assert "is over" in refused.json()["errors"][0]["message"]

    def test_a_viewer_of_one_team_sees_that_team_alone(self, tenant: Tenant) -> None:
        from flexai.tenancy.models import TeamMember

        serving = create_team(tenant.organization, "serving")
        end(an_attempt(tenant, team="research"), NOON + timedelta(hours=1))
        user, api = tenant.somebody(None)
        TeamMember.objects.create(team=serving, user=user, role=Role.VIEWER.value)
        assert isinstance(api, Api)
        assert api.get("/usage", **{"from": "2026-03-01", "to": "2026-03-31"}).json()["total"]["chip_ms"] == 0
