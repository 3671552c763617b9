"""Budgets of teams, and caps for each user of a team (F5). What was spent is the ledger's to say (`jobs.spending`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy import audit
from flexai.tenancy.models import AuditEntry, Budget, Team, UserCap
from flexai.tenancy.prices import CHIP_TYPE
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MAX_CAPS: Final = 200
MAX_MILLI: Final = 10**12
MAX_HOURS: Final = 10**10
MAX_MICRO: Final = 10**18
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one budget in its period; borrowed chips cost nothing."""

    chip_ms: int = 0
    micro: int = 0


@transaction.atomic
def set_user_caps(principal: Principal, team: Team, given: object, *, cell_id: int) -> None:
    """These are the team's caps in the cell afterwards, and no others; recorded. What runs goes on (F4).

    Raises NotFound or Forbidden (owners and operators only), and InvalidInput naming every wrong line.
    """
    principal.require(Action.SET_CAPS, team.pk)
    caps = _read_caps(given)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    rows = UserCap.objects.filter(team=locked, cell_id=cell_id)
    before = dict(rows.values_list("chip_type", "limit_milli"))
    rows.exclude(chip_type__in=caps).delete()
    for chip_type, milli in caps.items():
        UserCap.objects.update_or_create(
            team=locked, cell_id=cell_id, chip_type=chip_type, defaults={"limit_milli": milli}
        )
    audit.record(principal, "team.user_caps_set", locked, before=before, after=caps)
    announce(locked, cell_id)


@transaction.atomic
def set_budget(principal: Principal, team: Team, given: Mapping[str, Any], today: date) -> Budget:
    """The team's budget afterwards, recorded; what was spent in its period counts.

    What an organization may spend, the budgets of the teams at its top, operators say; owners divide it below. Raises
    NotFound, Forbidden, and InvalidInput naming every wrong key. Keys: period (month, total), since (a day, for
    total), chip_hours, money_micro, soft_percent, hard.
    """
    principal.require(right_to_set(team), team.pk)
    values = _read_budget(given, today)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    before = Budget.objects.filter(team=locked).first()
    budget = _write(locked, values)
    told_before = facts(before) if before is not None else None
    audit.record(principal, "team.budget_set", locked, before=told_before, after=facts(budget))
    return budget


@transaction.atomic
def give_back_budget(team: Team, figures: Mapping[str, Any]) -> None:
    """The team's budget has these figures (chip_hours, money_micro) again, set by the platform itself where they were
    granted for a time; recorded so. Nothing where the team has no budget."""
    locked = Team.objects.select_for_update().get(pk=team.pk)
    before = Budget.objects.filter(team=locked).first()
    if before is None:
        return
    budget = _write(locked, dict(figures))
    AuditEntry.objects.create(
        organization_id=team.organization_id, actor_kind="platform", actor="quota", action="team.budget_set",
        object_kind="team", object_id=team.public_id, before=facts(before), after=facts(budget),
    )  # fmt: skip


@transaction.atomic
def remove_budget(principal: Principal, team: Team) -> None:
    """Nothing bounds what the team spends but the budgets above it. Raises NotFound where there is none, Forbidden."""
    principal.require(right_to_set(team), team.pk)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    budget = Budget.objects.filter(team=locked).first()
    if budget is None:
        raise NotFound("This team has no budget of its own.")
    audit.record(principal, "team.budget_removed", locked, before=facts(budget))
    budget.delete()
    announce(locked)


@transaction.atomic
def note_spent(budget: Budget, spent: Spent) -> bool:
    """The row says whether the budget is spent, and whether its soft limit is reached; True when that changed. Then it
    is recorded, the scheduler is told, and so are the pages."""
    warned, over = is_warned(budget, spent), is_over(budget, spent)
    changed = Budget.objects.filter(pk=budget.pk).exclude(is_warned=warned, is_spent=over)
    if not changed.update(is_warned=warned, is_spent=over):
        return False
    team = Team.objects.select_for_update().get(pk=budget.team_id)
    AuditEntry.objects.create(
        organization_id=team.organization_id, actor_kind="platform", actor="ledger",
        action="team.budget_spent" if over else "team.budget_warned" if warned else "team.budget_renewed",
        object_kind="team", object_id=team.public_id, after={"chip_ms": spent.chip_ms, "micro": spent.micro},
    )  # fmt: skip
    announce(team)
    return True


def is_over(budget: Budget, spent: Spent) -> bool:
    """Whether all of it is spent, in hours or in money."""
    return _reaches(budget, spent, 100)


def is_warned(budget: Budget, spent: Spent) -> bool:
    """Whether its soft limit is reached."""
    return _reaches(budget, spent, budget.soft_percent)


def announce(team: Team, cell_id: int | None = None) -> None:
    """The team's row has changed, so every cell's feed reads its caps and budget anew, and so do pages. The cell named
    has a cycle at once; others at their next tick."""
    Team.objects.filter(pk=team.pk).update(version=F("version") + 1)
    hint = Hint("team", team.public_id, team.version + 1, team.public_id)
    publish_on_commit(hints=[hint], cell=cell_id)


def facts(budget: Budget) -> dict[str, object]:
    """The budget as the API and the audit log tell it."""
    return {
        "period": budget.period,
        "since": budget.since.isoformat(),
        "chip_hours": budget.chip_hours,
        "money_micro": budget.money_micro,
        "soft_percent": budget.soft_percent,
        "hard": budget.hard,
    }


def first_day(budget: Budget, today: date) -> date:
    """Of its period now."""
    return today.replace(day=1) if budget.period == Budget.Period.MONTH else budget.since


def right_to_set(team: Team) -> Action:
    """What whoever sets the team's budget has to be allowed."""
    return Action.SET_BUDGETS if team.parent_id else Action.SET_TOP_BUDGETS


def check_figures(figures: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming what is no amount, or where there is neither."""
    if errors := _wrong_figures(figures):
        raise InvalidInput("These are no figures of a budget.", errors=errors)


def _write(locked: Team, values: dict[str, Any]) -> Budget:
    """The worker looks anew whether it is spent."""
    budget, _ = Budget.objects.update_or_create(
        team=locked, defaults={**values, "is_warned": False, "is_spent": False}
    )
    announce(locked)
    return budget


def _reaches(budget: Budget, spent: Spent, percent: int) -> bool:
    hours, money = budget.chip_hours, budget.money_micro
    in_time = hours is not None and spent.chip_ms * 100 >= hours * HOUR_MS * percent
    return in_time or (money is not None and spent.micro * 100 >= money * percent)


def _read_caps(given: object) -> dict[str, int]:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > MAX_CAPS:
        message = f"must be a list of at most {MAX_CAPS} caps"
        raise InvalidInput(f"`user_caps` {message}.", errors=[FieldError("user_caps", message)])
    errors: list[FieldError] = []
    caps: dict[str, int] = {}
    for place, line in enumerate(given):
        where = f"user_caps.{place}"
        if not isinstance(line, Mapping) or set(line) != {"chip_type", "limit_milli"}:
            errors.append(FieldError(where, "must have chip_type and limit_milli and nothing else"))
            continue
        chip_type, milli = line["chip_type"], line["limit_milli"]
        if not isinstance(chip_type, str) or not CHIP_TYPE.fullmatch(chip_type):
            errors.append(FieldError(f"{where}.chip_type", "is no chip type", "such as H100-80GB"))
        elif chip_type in caps:
            errors.append(FieldError(f"{where}.chip_type", f"names {chip_type} twice"))
        elif not _is_whole(milli, MAX_MILLI):
            message = "must be a whole number of milli-chips from 0"
            errors.append(FieldError(f"{where}.limit_milli", message))
        else:
            caps[chip_type] = milli
    if errors:
        raise InvalidInput("The caps cannot be set so.", errors=errors)
    return caps


_KEYS: Final = ("period", "since", "chip_hours", "money_micro", "soft_percent", "hard")


def _read_budget(given: Mapping[str, Any], today: date) -> dict[str, Any]:
    known = ", ".join(_KEYS)
    errors = [
        FieldError(str(key)[:60], "unknown key", f"known here are {known}")
        for key in given
        if key not in _KEYS
    ]
    period = given.get("period", "month")
    if period not in Budget.Period.values:
        errors.append(FieldError("period", "must be month or total"))
    errors += _wrong_figures(given)
    soft, hard = given.get("soft_percent", 80), given.get("hard", True)
    if not _is_whole(soft, 100) or soft < 1:
        errors.append(FieldError("soft_percent", "must be a whole number from 1 to 100"))
    if not isinstance(hard, bool):
        errors.append(FieldError("hard", "must be true or false"))
    since = _since(given.get("since"), today, errors)
    if errors:
        raise InvalidInput("The budget cannot be set so.", errors=errors)
    return {
        "period": period, "since": since, "chip_hours": given.get("chip_hours"),
        "money_micro": given.get("money_micro"), "soft_percent": soft, "hard": hard,
    }  # fmt: skip


def _wrong_figures(given: Mapping[str, Any]) -> list[FieldError]:
    errors = [
        FieldError(name, f"must be a whole number from 0 to {most}, or null")
        for name, most in (("chip_hours", MAX_HOURS), ("money_micro", MAX_MICRO))
        if given.get(name) is not None and not _is_whole(given[name], most)
    ]
    if given.get("chip_hours") is None and given.get("money_micro") is None:
        errors.append(
            FieldError("chip_hours", "is missing, and so is money_micro", "give one of them, or both")
        )
    return errors


def _since(given: object, today: date, errors: list[FieldError]) -> date:
    if given is None:
        return today
    try:
        return date.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        errors.append(FieldError("since", "must be a day such as 2026-03-31"))
        return today


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
