"""What a request can be for (`quota_requests`): a team's quota of one chip type in one cell, or its budget.

Each knows what the team has of it, reads figures, says whether they are more, and sets them or gives them back. Who may
ask and what becomes of a request is left to `quota_requests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, NoReturn

from flexai.common.errors import FieldError, InvalidInput
from flexai.tenancy import budgets
from flexai.tenancy.models import Budget, QuotaRequest, Team
from flexai.tenancy.principals import Principal
from flexai.tenancy.quotas import (
    QuotaLine,
    check_lines,
    give_back_line,
    hold_quotas,
    line_of,
    right_to_set,
    set_quota_line,
)
from flexai.tenancy.roles import Action

Figures = Mapping[str, Any]
QUOTA_FIGURES: Final = ("guaranteed_milli", "limit_milli", "over_quota_weight")
BUDGET_FIGURES: Final = ("chip_hours", "money_micro")
FIGURES: Final = (*QUOTA_FIGURES, *BUDGET_FIGURES)
MICRO: Final = 1_000_000
"""Money is kept in millionths."""
_NOTHING: Final[Figures] = {"guaranteed_milli": 0, "limit_milli": None, "over_quota_weight": 1}
"""No line promises nothing and bounds nothing."""


@dataclass(frozen=True, slots=True)
class QuotaAsked:
    """The team's quota of the type in the cell."""

    team: Team
    cell_id: int
    chip_type: str

    def __str__(self) -> str:
        return self.chip_type

    def right(self) -> Action:
        """What whoever decides has to be allowed."""
        return right_to_set(self.team.parent_id)

    def has(self) -> Figures | None:
        """What the team has now; None for no line."""
        return line_of(self.team, self.chip_type, self.cell_id)

    def wanted(self, given: Figures, base: Figures | None) -> Figures:
        """The base with the figures given; a limit that is left out is the guarantee where that is higher. Raises
        InvalidInput naming every wrong one."""
        _only(given, QUOTA_FIGURES, "a quota")
        known = dict(_NOTHING) | {name: value for name, value in (base or {}).items() if name in FIGURES}
        known |= {name: given[name] for name in QUOTA_FIGURES if name in given}
        guaranteed, limit = known["guaranteed_milli"], known["limit_milli"]
        if "limit_milli" not in given and isinstance(guaranteed, int) and limit is not None:
            known["limit_milli"] = max(limit, guaranteed)
        line: QuotaLine = {"chip_type": self.chip_type, **known}  # type: ignore[typeddict-item]
        try:
            check_lines([line])
        except InvalidInput as error:
            raise _of_one_line(error, "These are no figures of a quota.") from None
        return line

    def check_more(self, figures: Figures, has: Figures | None) -> None:
        """Raises InvalidInput where no figure is more than the team has."""
        now = has or _NOTHING
        had, limit = now["limit_milli"], figures["limit_milli"]
        if (
            figures["guaranteed_milli"] > now["guaranteed_milli"]
            or (had is not None and (limit is None or limit > had))
            or figures["over_quota_weight"] > now["over_quota_weight"]
        ):
            return
        most = "no limit" if had is None else f"a limit of {had}"
        _no_more(
            "guaranteed_milli",
            f"is no more than team {self.team.name} has of {self.chip_type}: {now['guaranteed_milli']} milli-chips "
            f"guaranteed, {most}, weight {now['over_quota_weight']}",
        )

    def set_to(self, principal: Principal, figures: Figures) -> Figures | None:
        """The team has these; what it had before. Raises InvalidInput where they break F1."""
        line: QuotaLine = {"chip_type": self.chip_type, **_of(figures, QUOTA_FIGURES)}  # type: ignore[typeddict-item]
        try:
            return set_quota_line(principal, self.team, line, cell_id=self.cell_id)
        except InvalidInput as error:
            raise _of_one_line(error, error.detail) from None

    def give_back(self, before: Figures | None) -> None:
        """The team has again what it had, set by the platform. Raises InvalidInput where that breaks F1."""
        give_back_line(self.team, self.chip_type, before, cell_id=self.cell_id)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class BudgetAsked:
    """What the team and those below it may spend; the budget's period, soft limit and hardness stay as they are."""

    team: Team

    def __str__(self) -> str:
        return "the budget"

    def right(self) -> Action:
        """What whoever decides has to be allowed."""
        return budgets.right_to_set(self.team)

    def has(self) -> Figures | None:
        """What the team may spend now; None where it has no budget of its own."""
        found = Budget.objects.filter(team=self.team).first()
        return None if found is None else _of(budgets.facts(found), BUDGET_FIGURES)

    def wanted(self, given: Figures, base: Figures | None) -> Figures:
        """The base with the figures given. Raises InvalidInput naming every wrong one, and where there is no base."""
        _only(given, BUDGET_FIGURES, "a budget")
        if base is None:
            _no_more(
                "team", f"has no budget of its own: nothing bounds what team {self.team.name} spends but "
                "the budgets of the teams above it"
            )  # fmt: skip
        figures = {**_of(base, BUDGET_FIGURES), **_of(given, BUDGET_FIGURES)}
        budgets.check_figures(figures)
        return figures

    def check_more(self, figures: Figures, has: Figures | None) -> None:
        """Raises InvalidInput where neither figure is more than the team has; no figure bounds nothing."""
        now = has or dict.fromkeys(BUDGET_FIGURES)
        if any(
            now[name] is not None and (figures[name] is None or figures[name] > now[name])
            for name in BUDGET_FIGURES
        ):
            return
        words = [
            f"{now[name]} {unit}"
            for name, unit in (("chip_hours", "chip-hours"), ("money_micro", "millionths of the currency"))
            if now[name] is not None
        ]
        _no_more(
            "chip_hours",
            f"is no more than team {self.team.name} may spend: {' and '.join(words) or 'it has no budget of its own'}",
        )

    def set_to(self, principal: Principal, figures: Figures) -> Figures | None:
        """The team may spend this; what it might before."""
        hold_quotas(self.team)
        found = Budget.objects.filter(team=self.team).first()
        if found is None:
            return None
        before = _of(budgets.facts(found), BUDGET_FIGURES)
        given = {**budgets.facts(found), **_of(figures, BUDGET_FIGURES)}
        budgets.set_budget(principal, self.team, given, found.since)
        return before

    def give_back(self, before: Figures | None) -> None:
        """The team may spend again what it might, set by the platform."""
        budgets.give_back_budget(self.team, before or {})


Asked = QuotaAsked | BudgetAsked


def asked_by(request: QuotaRequest) -> Asked:
    """What the request is for. Its row holds the team."""
    if request.cell_id is None:
        return BudgetAsked(request.team)
    return QuotaAsked(request.team, request.cell_id, request.chip_type)


def words_of(figures: Figures | None, currency: str) -> str:
    """Figures in a few words, in chips, chip-hours and the currency."""
    if figures is None:
        return "no quota: nothing guaranteed, no limit"
    if "chip_hours" in figures:
        hours, money = figures["chip_hours"], figures["money_micro"]
        parts = [] if hours is None else [f"{hours} chip-hours"]
        return " and ".join([*parts, *([] if money is None else [money_of(money, currency)])])
    limit = figures["limit_milli"]
    most = "no limit" if limit is None else f"limit {limit / 1000:g}"
    return f"{figures['guaranteed_milli'] / 1000:g} guaranteed, {most}, weight {figures['over_quota_weight']}"


def money_of(micro: int, currency: str) -> str:
    """An amount with its currency."""
    return f"{Decimal(micro) / MICRO:,.2f} {currency}"


def _of(figures: Figures, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: figures[name] for name in names if name in figures}


def _only(given: Figures, names: tuple[str, ...], of: str) -> None:
    wrong = [name for name in FIGURES if name in given and name not in names]
    if wrong:
        errors = [FieldError(name, f"is no figure of {of}", f"give {', '.join(names)}") for name in wrong]
        raise InvalidInput(f"These are no figures of {of}.", errors=errors)


def _of_one_line(error: InvalidInput, detail: str) -> InvalidInput:
    """The same about the one line that there is: `guaranteed_milli`, not `quotas.0.guaranteed_milli`."""
    errors = [replace(wrong, field=wrong.field.rpartition(".")[2]) for wrong in error.errors]
    return InvalidInput(detail, errors=errors)


def _no_more(field: str, message: str) -> NoReturn:
    raise InvalidInput(f"This {message}.", errors=[FieldError(field, message)])
