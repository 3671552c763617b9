"""The console's page of all quotas: what it shows, checks, foretells and sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client as Browser

from flexai.jobs.models import Attempt
from flexai.scheduling.impact import difference
from flexai.tenancy.models import AuditEntry, Quota, Team, User
from scheduler_core.decision import Decision, Ground, Rung, Start, Taking, Unit
from tests.server.scheduling.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    """Two chips; the team above may use one of them; `below` has no quota."""
    world = World()
    world.a_node(chips=2)
    world.a_quota(world.team, guaranteed=1000, limit=1000)
    world.a_team("below", parent=world.team)
    return world


class Page:
    """The page as an operator's browser has it: its form, posted with some fields changed."""

    def __init__(self, world: World) -> None:
        self.browser = Browser(HTTP_HOST="localhost")
        self.browser.force_login(User.objects.create_user("olga", is_staff=True))
        self.path = f"/console/tenancy/team/quotas/?organization={world.organization.pk}&cell={world.cell.pk}"

    def form(self) -> dict[str, Any]:
        form = self.browser.get(self.path).context["form"]
        return {field.name: "" if (value := field.value()) is None else value for field in form}

    def post(self, button: str, changes: dict[str, Any]) -> Any:
        return self.browser.post(self.path, self.form() | changes | {button: "1"}, follow=True)


@pytest.fixture
def page(world: World) -> Page:
    return Page(world)


def test_the_tree_is_shown_with_what_each_team_holds(world: World, page: Page) -> None:
    answer = page.browser.get(page.path)
    [(chip_type, lines)] = answer.context["tables"]
    assert chip_type == "H100"
    assert [(line.indent, line.team.name) for line in lines] == [("", "research"), ("\u2003", "below")]
    assert [[field.value() for field in line.fields] for line in lines] == [[1, 1, 1], [None, None, None]]


def test_the_effect_is_told_and_nothing_is_set(world: World, page: Page) -> None:
    world.jobs(2, chips=1)
    answer = page.post("check", {f"limit-{world.team.pk}-0": "2"})
    impact = answer.context["impact"]
    assert (impact.gaining, impact.losing) == (1, 0)
    assert [(moved.job.name, moved.what) for moved in impact.gainers] == [("job-1", "starts")]
    page_says = answer.content.decode()
    assert "job-1 (research) starts" in page_says
    assert "research, H100: 1 guaranteed, limit 2, weight 1" in page_says
    assert "was 1 guaranteed, limit 1, weight 1" in page_says
    assert "Discard changes" in page_says
    worse = page.post("check", {f"limit-{world.team.pk}-0": "0", f"guaranteed-{world.team.pk}-0": "0"})
    assert [moved.what for moved in worse.context["impact"].losers] == ["no longer starts"]
    assert Quota.objects.get().limit_milli == 1000
    assert not Attempt.objects.exists()


def test_who_is_only_taken_on_another_ground_neither_gains_nor_loses() -> None:
    suspended = Taking(1, 7, Rung.SUSPEND, Ground.GUARANTEE, 0)
    unit = Unit(Start(8, 1, ()), (suspended,))
    other = Unit(Start(8, 1, ()), (replace(suspended, ground=Ground.FAIR_SHARE),))
    assert difference(Decision(0, (unit,)), Decision(0, (other,))) == ({}, {})
    gained, lost = difference(Decision(0), Decision(0, (unit,)))
    assert gained == {8: "starts when others made room"}
    assert lost == {7: "is preempted, with its checkpoint for a guarantee"}


def test_several_teams_are_set_at_once_and_recorded(world: World, page: Page) -> None:
    below = Team.objects.get(name="below")
    changes = {f"limit-{world.team.pk}-0": "", f"guaranteed-{below.pk}-0": "0.5", f"weight-{below.pk}-0": "3"}
    answer = page.post("save", changes)
    assert "Quotas of research, below are set." in answer.content.decode()
    assert list(Quota.objects.order_by("pk").values_list(
        "team__name", "guaranteed_milli", "limit_milli", "over_quota_weight")) == [
            ("research", 1000, None, 1), ("below", 500, None, 3)]  # fmt: skip
    assert AuditEntry.objects.filter(actor="olga", action="team.quotas_set").count() == 2
    page.post("save", {f"guaranteed-{below.pk}-0": "", f"weight-{below.pk}-0": ""})
    assert Quota.objects.get().team == world.team, "an empty line is no quota"


@pytest.mark.parametrize("button", ["check", "save"])
@pytest.mark.parametrize(
    ("team", "field", "value", "said"),
    [
        ("research", "limit", "0.5", "The limit is below the guarantee."),
        ("below", "guaranteed", "2", "below team research, which is promised 1000"),
        ("below", "guaranteed", "-1", "greater than or equal to 0"),
        ("below", "guaranteed", "0.0001", "no more than 3 decimal places"),
        ("below", "weight", "many", "Enter a whole number"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_set(
    world: World, page: Page, team: str, field: str, value: str, said: str, button: str
) -> None:
    pk = Team.objects.get(name=team).pk
    answer = page.post(button, {f"{field}-{pk}-0": value})
    assert answer.status_code == 422
    assert "impact" not in answer.context, "no effect of what cannot be"
    assert said in answer.content.decode()
    assert f'value="{value}"' in answer.content.decode(), "what was typed is not lost"
    assert Quota.objects.get().guaranteed_milli == 1000


def test_what_another_operator_set_meanwhile_is_not_undone(world: World, page: Page) -> None:
    stale = page.form()
    page.post("save", {f"limit-{world.team.pk}-0": "3"})
    answer = page.browser.post(page.path, stale | {f"limit-{world.team.pk}-0": "2", "save": "1"})
    assert "was changed meanwhile" in answer.content.decode()
    assert Quota.objects.get().limit_milli == 3000


@pytest.mark.parametrize("asked", ["organization=0", "organization=x", "cell=" + "9" * 30])
def test_what_is_not_there_is_said(world: World, page: Page, asked: str) -> None:
    answer = page.browser.get(f"/console/tenancy/team/quotas/?{asked}", follow=True)
    assert "There is no such organization or cell." in answer.content.decode()
