"""How much of their budgets teams have spent, by the ledger, up to now (F5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from django.db import transaction

from flexai.common.database import as_rows, prepared_cursor
from flexai.jobs.ledger import AMOUNTS, COLUMNS, lines_of
from flexai.notifications.outbox import tell_hooks
from flexai.notifications.vocabulary import BUDGET_REACHED, BUDGET_WARNED
from flexai.tenancy.budgets import HOUR_MS, Spent, facts, first_day, is_over, is_warned, note_spent
from flexai.tenancy.models import Budget, Team


def spent_of(budgets: Iterable[Budget], now: datetime) -> dict[int, Spent]:
    """By team: what it and all teams below it spent in the budget's period; live attempts up to now."""
    since = {budget.team_id: first_day(budget, now.date()).isoformat() for budget in budgets}
    asked = [{"budget": team, "since": day} for team, day in since.items()]
    if not asked:
        return {}
    with prepared_cursor() as cursor:
        rows = cursor.execute(_SPENT, {"asked": as_rows(asked), "now": now}).fetchall()
    found = {team: Spent(int(milli) // 1000, int(micro)) for team, milli, micro in rows}
    return {team: found.get(team, Spent()) for team in since}


def look_at_budgets(now: datetime) -> int:
    """Every budget's row says whether it is spent; how many changed. Safe to run at any time."""
    budgets = list(Budget.objects.order_by("team_id"))
    spent: Mapping[int, Spent] = spent_of(budgets, now)
    return sum(_look_at(budget, spent[budget.team_id], now) for budget in budgets)


@transaction.atomic
def _look_at(budget: Budget, spent: Spent, now: datetime) -> bool:
    """Whether the row changed; then webhooks hear that the budget, or its soft limit, is reached."""
    if not note_spent(budget, spent):
        return False
    over = is_over(budget, spent)
    if over or is_warned(budget, spent):
        team = Team.objects.get(pk=budget.team_id)
        data = {
            "team": {"id": team.public_id, "name": team.name},
            "budget": facts(budget),
            "spent": {"chip_ms": spent.chip_ms, "micro": spent.micro},
        }
        tell_hooks(team, BUDGET_REACHED if over else BUDGET_WARNED, data, at=now)
    return True


_LIVE: Final = lines_of("a.state <> 'ended' AND j.team_id IN (SELECT team FROM line)", "%(now)s")
_SPENT: Final = f"""
WITH RECURSIVE asked AS (
    SELECT * FROM json_to_recordset(%(asked)s::json) AS u(budget bigint, since date)),
line AS (
    SELECT budget, since, budget AS team FROM asked
    UNION SELECT line.budget, line.since, t.id FROM line JOIN tenancy_team t ON t.parent_id = line.team),
lines AS (
    SELECT {COLUMNS}, {", ".join(AMOUNTS)} FROM tenancy_usageday d WHERE team_id IN (SELECT team FROM line)
        AND day >= (SELECT min(since) FROM asked)
    UNION ALL SELECT {COLUMNS}, {", ".join(AMOUNTS)} FROM tenancy_usageline WHERE NOT settled
    UNION ALL SELECT {COLUMNS}, {", ".join(AMOUNTS)} FROM ({_LIVE}) AS live),
summed AS (
    SELECT line.budget, lines.day, lines.chip_type, sum(starting + running + stopping) AS held
    FROM line JOIN lines ON lines.team_id = line.team AND lines.day >= line.since GROUP BY 1, 2, 3)
SELECT budget, sum(held), floor(sum(held * coalesce(price.micro_per_chip_hour, 0) / {1000 * HOUR_MS})) FROM summed
LEFT JOIN LATERAL (
    SELECT micro_per_chip_hour FROM tenancy_price p
    WHERE p.chip_type = summed.chip_type AND p.from_day <= summed.day ORDER BY p.from_day DESC LIMIT 1) AS price ON true
GROUP BY budget
"""  # noqa: S608 - constants alone
