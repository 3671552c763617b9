"""The page of a chip type: what there is of it, its prices with their days, and a new one with its effect before it is
set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from flexai.cluster.models import Cell, Chip, ChipType, Node, Pool
from flexai.tenancy.models import (
    AuditEntry,
    Budget,
    Organization,
    Price,
    Quota,
    Team,
    TeamUse,
    UsageDay,
    User,
)

pytestmark = pytest.mark.django_db
HOUR = 1000 * 3_600_000


@pytest.fixture
def browser() -> Browser:
    made = Browser(HTTP_HOST="localhost")
    made.force_login(User.objects.create_user("olga", is_staff=True))
    return made


@pytest.fixture
def kind() -> ChipType:
    """Four chips, of which a team of a small budget holds three halves."""
    cell, made = (
        Cell.objects.get(name="default"),
        ChipType.objects.create(name="H100-80GB", vendor="nvidia", nominal_memory_mib=81_920),
    )
    node = Node.objects.create(cell=cell, pool=Pool.objects.get(cell=cell), name="n1", credential_hash="x")
    for index, used in enumerate((1000, 500, 0, 0)):
        Chip.objects.create(
            node=node,
            cell=cell,
            index=index,
            type=made.name,
            memory_mib=1,
            memory_ceiling_mib=1,
            used_milli=used,
        )
    team = Team.objects.create(
        organization=Organization.objects.create(slug="acme", name="Acme"), name="vision"
    )
    Quota.objects.create(team=team, cell=cell, chip_type=made.name, guaranteed_milli=3000)
    TeamUse.objects.create(team=team, cell=cell, chip_type=made.name, used_milli=1500)
    Budget.objects.create(team=team, since="2020-01-01", period="total", money_micro=300_000_000)
    return made


def test_the_page_says_what_there_is_and_what_it_costs_when(browser: Browser, kind: ChipType) -> None:
    today = timezone.now().date()
    for days, micro in ((-60, 1_000_000), (-30, 2_000_000), (5, 2_500_001)):
        Price.objects.create(
            chip_type=kind.name, from_day=today + timedelta(days=days), micro_per_chip_hour=micro
        )
    page = browser.get(_page(kind))
    figures = dict(page.context["figures"])
    assert (figures["Chips"], figures["Held by jobs"], figures["Promised to teams"]) == ("4", "1.5", "3")
    assert (figures["Memory"], figures["Vendor"]) == ("80 GiB", "nvidia")
    shown = [(row["price"], row["when"], row["to"] and row["to"] - today) for row in page.context["prices"]]
    assert shown == [
        ("2.500001 EUR", "later", None),
        ("2.00 EUR", "now", timedelta(days=4)),
        ("1.00 EUR", "over", timedelta(days=-31)),
    ]
    listed = browser.get("/console/cluster/chiptype/").content.decode()
    assert "80 GiB" in listed
    assert "2.00 EUR" in listed


def test_the_effect_is_shown_before_a_price_is_set_and_nothing_is_written(
    browser: Browser, kind: ChipType
) -> None:
    today, team = timezone.now().date(), Team.objects.get()
    Price.objects.create(chip_type=kind.name, from_day=today, micro_per_chip_hour=2_000_000)
    UsageDay.objects.create(
        organization=team.organization, team=team, user=User.objects.get(), day=today, chip_type=kind.name,
        **dict.fromkeys(("starting", "stopping", "guest", "used", "measured", "energy", "metered", "ended"), 0),
        running=50 * HOUR,
    )  # fmt: skip
    page = browser.post(_page(kind), {"price": "4", "from_day": str(today), "check": "1"})
    effect = page.context["effect"]
    assert (effect["held"], effect["before"], effect["after"]) == ("1.5", "3.00 EUR", "6.00 EUR")
    assert (effect["hours"], effect["cost"]) == ("50", "200.00 EUR")
    [budget] = effect["budgets"]
    assert budget == {"team": "acme / vision", "left": "200.00 EUR", "before": "2 days", "after": "33 h"}
    assert "33 h instead of 2 days" in page.content.decode()
    assert Price.objects.get().micro_per_chip_hour == 2_000_000
    assert not AuditEntry.objects.exists()


def test_a_price_is_set_and_recorded_with_what_was_before(browser: Browser, kind: ChipType) -> None:
    today = timezone.now().date()
    Price.objects.create(chip_type=kind.name, from_day=today - timedelta(days=9), micro_per_chip_hour=1)
    values = {"price": "2.5", "from_day": str(today), "save": "1"}
    wrong = browser.post(_page(kind), {**values, "from_day": "2020-01-01"})
    assert wrong.status_code == 422
    assert "is over" in str(wrong.context["form"].errors["from_day"])
    assert "is over" in wrong.content.decode()
    assert browser.post(_page(kind), {**values, "price": "-1"}).status_code == 422
    assert browser.post(_page(kind), values).status_code == 302
    assert Price.objects.latest("from_day").micro_per_chip_hour == 2_500_000
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.before) == ("price.set", "olga", {"micro_per_chip_hour": 1})
    assert entry.after == {"chip_type": kind.name, "from_day": str(today), "micro_per_chip_hour": 2_500_000}


def test_a_type_that_no_node_has_yet_is_priced_too(browser: Browser) -> None:
    page, today = "/console/tenancy/price/add/", str(timezone.now().date())
    values: dict[str, Any] = {"chip_type": "no chip type", "price": "1", "from_day": today, "save": "1"}
    assert "is no chip type" in browser.post(page, values).content.decode()
    assert browser.post(page, {**values, "chip_type": "B200"}).status_code == 302
    assert (Price.objects.get().chip_type, Price.objects.get().micro_per_chip_hour) == ("B200", 1_000_000)


def _page(kind: ChipType) -> str:
    return f"/console/cluster/chiptype/{kind.pk}/change/"
