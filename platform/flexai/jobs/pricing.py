"""What another price of a chip type would do, told before it is set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db.models import F, Sum

from flexai.jobs.spending import spent_of
from flexai.tenancy.budgets import HOUR_MS
from flexai.tenancy.models import Budget, TeamUse, UsageDay
from flexai.tenancy.prices import prices_on

DAYS_BACK: Final = 30
MOST_BUDGETS: Final = 20


@dataclass(frozen=True, slots=True)
class Lasts:
    """A team's budget of money at what the team holds now."""

    budget: Budget
    left_micro: int
    before: timedelta | None
    """How long the rest lasts; None where nothing that is held costs anything."""
    after: timedelta | None


@dataclass(frozen=True, slots=True)
class PriceEffect:
    """Money in millionths of the currency."""

    held_milli: int
    """Of the type, by live attempts of all teams."""
    hourly_before: int
    hourly_after: int
    hours_back: int
    """Chip-hours of the type in the last `DAYS_BACK` days …"""
    cost_back: int
    """… and what they would cost by the new price."""
    budgets: tuple[Lasts, ...] = ()
    """Budgets of money of teams that hold the type, the first to be spent first."""


def effect_of_price(chip_type: str, day: date, micro: int, now: datetime) -> PriceEffect:
    """What it would do if a chip-hour of the type cost `micro` from that day on, beside what it costs on that day
    otherwise. Nothing is written."""
    before = prices_on(day)
    after = before | {chip_type: micro}
    top = TeamUse.objects.filter(chip_type=chip_type, team__parent=None)
    held = top.aggregate(total=Sum("used_milli"))["total"] or 0
    used = UsageDay.objects.filter(chip_type=chip_type, day__gt=now.date() - timedelta(days=DAYS_BACK))
    back = used.aggregate(total=Sum(F("starting") + F("running") + F("stopping")))["total"] or 0
    return PriceEffect(
        held_milli=held,
        hourly_before=held * before.get(chip_type, 0) // 1000,
        hourly_after=held * micro // 1000,
        hours_back=back // (1000 * HOUR_MS),
        cost_back=back * micro // (1000 * HOUR_MS),
        budgets=_budgets(chip_type, before, after, now),
    )


def _budgets(
    chip_type: str, before: Mapping[str, int], after: Mapping[str, int], now: datetime
) -> tuple[Lasts, ...]:
    holders = TeamUse.objects.filter(chip_type=chip_type, used_milli__gt=0).values("team")
    budgets = list(
        Budget.objects.filter(team__in=holders, money_micro__isnull=False).select_related(
            "team__organization"
        )
    )
    spent = spent_of(budgets, now)
    held: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    uses = TeamUse.objects.filter(team__in=[budget.team_id for budget in budgets], used_milli__gt=0)
    for team, kind, milli in uses.values_list("team_id", "chip_type", "used_milli"):
        held[team].append((kind, milli))
    found = []
    for budget in budgets:
        left = max(0, (budget.money_micro or 0) - spent[budget.team_id].micro)
        of_team = held[budget.team_id]
        found.append(Lasts(budget, left, _lasts(left, of_team, before), _lasts(left, of_team, after)))
    found.sort(key=lambda one: one.after or timedelta.max)
    return tuple(found[:MOST_BUDGETS])


def _lasts(left: int, held: list[tuple[str, int]], prices: Mapping[str, int]) -> timedelta | None:
    hourly = sum(prices.get(kind, 0) * milli for kind, milli in held)
    hours = 1000 * left // hourly if hourly else None
    return None if hours is None else timedelta(hours=min(hours, 24 * 36_500))
