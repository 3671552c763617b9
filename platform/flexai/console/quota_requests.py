"""What teams ask for: the list, and a page for each request with its effect, to approve or decline it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.db import transaction
from django.db.models import Case, When
from django.forms import CharField, DecimalField, Field, Form, IntegerField, NumberInput, Textarea
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from unfold.widgets import BASE_INPUT_CLASSES

from flexai.common import clock
from flexai.common.errors import FlexaiError
from flexai.console.base import ConsoleAdmin, display, principal_of
from flexai.jobs.spending import spent_of
from flexai.notifications.answers import approve, decline
from flexai.scheduling.impact import Impact, impact_of, impact_of_budget
from flexai.tenancy import askable
from flexai.tenancy.askable import MICRO
from flexai.tenancy.budgets import HOUR_MS, MAX_HOURS, MAX_MICRO, is_over
from flexai.tenancy.models import Budget, Quota, QuotaRequest
from flexai.tenancy.quota_requests import MAX_REASON
from flexai.tenancy.quotas import MAX_QUOTA_MILLI, QuotaLine, line_of, tree_with

_OPEN_FIRST = Case(When(state=QuotaRequest.State.OPEN, then=0), default=1)
_INPUT = " ".join(BASE_INPUT_CLASSES)


@admin.register(QuotaRequest)
class QuotaRequestAdmin(ConsoleAdmin):
    """Those that wait for an answer come first."""

    list_display = (
        "public_id",
        "team",
        "organization",
        "subject",
        "wants",
        "until",
        "state",
        "asked_by",
        "asked_at",
    )
    list_filter = ("state", "kind", "organization")
    list_select_related = ("team", "organization", "asked_by")
    search_fields = ("public_id", "team__name")
    ordering = (_OPEN_FIRST, "-pk")

    @display(description="of")
    def subject(self, asked: QuotaRequest) -> str:
        return asked.chip_type or "budget"

    @display(description="asks for")
    def wants(self, asked: QuotaRequest) -> str:
        return words_of(asked.asked)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return quota_request(request, self.admin_site, object_id)


def _number(most: Decimal, *, digits: int, needed: bool) -> Field:
    widget = NumberInput(attrs={"class": _INPUT, "step": "any" if digits else 1, "min": 0})
    return DecimalField(min_value=0, max_value=most, decimal_places=digits, required=needed, widget=widget)


class DecisionForm(Form):
    """What is said to the team, beside the figures to be granted."""

    answer = CharField(required=False, max_length=MAX_REASON,
                       widget=Textarea(attrs={"class": _INPUT, "rows": 2, "maxlength": MAX_REASON}))  # fmt: skip

    def said(self) -> str:
        """The answer; browsers end lines with two characters."""
        return str(self.cleaned_data["answer"]).replace("\r\n", "\n")

    def figures(self) -> dict[str, int | None]:
        """As the service takes them."""
        raise NotImplementedError


class QuotaForm(DecisionForm):
    """In chips."""

    guaranteed = _number(Decimal(MAX_QUOTA_MILLI // 1000), digits=3, needed=True)
    limit = _number(Decimal(MAX_QUOTA_MILLI // 1000), digits=3, needed=False)
    weight = IntegerField(min_value=0, max_value=1_000_000, label="Over-quota weight",
                          widget=NumberInput(attrs={"class": _INPUT, "min": 0}))  # fmt: skip
    help = "In chips, down to thousandths. An empty limit is none."

    def figures(self) -> dict[str, int | None]:
        values = self.cleaned_data
        return {
            "guaranteed_milli": int(values["guaranteed"] * 1000),
            "limit_milli": None if values["limit"] is None else int(values["limit"] * 1000),
            "over_quota_weight": values["weight"],
        }


class BudgetForm(DecisionForm):
    """In chip-hours, in money, or both."""

    chip_hours = _number(Decimal(MAX_HOURS), digits=0, needed=False)
    money = _number(Decimal(MAX_MICRO // MICRO), digits=6, needed=False)
    help = "An empty figure is none; one of them there has to be."

    def figures(self) -> dict[str, int | None]:
        hours, money = self.cleaned_data["chip_hours"], self.cleaned_data["money"]
        return {
            "chip_hours": None if hours is None else int(hours),
            "money_micro": None if money is None else int(money * MICRO),
        }


def quota_request(request: HttpRequest, site: AdminSite, object_id: str) -> HttpResponse:
    """The page of one request. POST `check` shows the effect, `approve` and `decline` decide."""
    rows = QuotaRequest.objects.select_related(
        "team__parent", "organization", "cell", "asked_by", "decided_by"
    )
    asked = rows.filter(pk=int(object_id)).first() if object_id.isdecimal() and len(object_id) < 18 else None
    if asked is None:
        raise Http404
    form_of = BudgetForm if asked.kind == QuotaRequest.Kind.BUDGET else QuotaForm
    form = form_of(request.POST) if request.method == "POST" else form_of(_asked(asked))
    context: dict[str, Any] = {"wrong": [], "impact": None}
    if form.is_valid():
        done, context = _answer(request, asked, form)
        if done:
            messages.success(request, f"{asked.public_id} is {done}.")
            return redirect("admin:tenancy_quotarequest_changelist")
        asked = rows.get(pk=asked.pk)
    else:
        context["wrong"] = [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]
    context |= site.each_context(request) | {
        "title": f"{asked.get_kind_display()} of {asked.team.name}", "asked": asked, "figures": _figures(asked),
        "form": form if asked.state == QuotaRequest.State.OPEN else None,
    }  # fmt: skip
    return render(
        request, "console/quota_request.html", context,
        status=422 if context["wrong"] and request.method == "POST" else 200,
    )  # fmt: skip


def words_of(figures: Any) -> str:
    """Figures in a few words."""
    return askable.words_of(figures, settings.CURRENCY)


def _answer(request: HttpRequest, asked: QuotaRequest, form: DecisionForm) -> tuple[str, dict[str, Any]]:
    """What became of the request, empty while it stays open; and what the page says."""
    principal = principal_of(request, asked.organization)
    try:
        if "decline" in request.POST:
            return decline(principal, asked.public_id, form.said()).state, {}
        if "approve" in request.POST:
            return approve(principal, asked.public_id, form.figures(), answer=form.said()).state, {}
        if asked.state != QuotaRequest.State.OPEN:
            return "", {"wrong": [], "impact": None}
        with transaction.atomic():
            approve(principal, asked.public_id, form.figures())
            transaction.set_rollback(True)
    except FlexaiError as error:
        return "", {"wrong": [error.detail, *(wrong.message for wrong in error.errors)], "impact": None}
    return "", {"wrong": [], "impact": _impact(asked, form)}


def _impact(asked: QuotaRequest, form: DecisionForm) -> Impact | None:
    now = clock.now()
    if asked.cell_id is not None:
        line: QuotaLine = {"chip_type": asked.chip_type, **form.figures()}  # type: ignore[typeddict-item]
        tree, _ = tree_with(asked.team, asked.chip_type, line, cell_id=asked.cell_id)
        return impact_of(asked.cell_id, tree, now)
    budget = asked.team.budget
    spent = spent_of([budget], now)[asked.team_id]
    for name, amount in form.figures().items():
        setattr(budget, name, amount)
    is_spent = budget.hard and is_over(budget, spent)
    return impact_of_budget(asked.team_id, is_spent=is_spent, now=now)


def _asked(asked: QuotaRequest) -> dict[str, Any]:
    """What the form begins with."""
    figures = asked.asked
    if asked.kind == QuotaRequest.Kind.BUDGET:
        money = figures["money_micro"]
        return {
            "chip_hours": figures["chip_hours"],
            "money": None if money is None else Decimal(money) / MICRO,
        }
    limit = figures["limit_milli"]
    return {
        "guaranteed": Decimal(figures["guaranteed_milli"]) / 1000,
        "limit": None if limit is None else Decimal(limit) / 1000,
        "weight": figures["over_quota_weight"],
    }


def _figures(asked: QuotaRequest) -> list[tuple[str, str]]:
    """What is asked, what there is, and out of what it would come."""
    found = [("Cell", asked.cell.name)] if asked.cell is not None else []
    found.append(("Asks for", words_of(asked.asked)))
    if asked.granted is not None:
        return [*found, ("Granted", words_of(asked.granted)), ("Had before", words_of(asked.before))]
    if asked.cell_id is None:
        return found + _budgets(asked)
    found.append(("Has now", words_of(line_of(asked.team, asked.chip_type, asked.cell_id))))
    parent = asked.team.parent
    if parent is not None:
        found.append((f"Team {parent.name} above", words_of(line_of(parent, asked.chip_type, asked.cell_id))))
        beside = Quota.objects.filter(team__parent=parent, cell_id=asked.cell_id, chip_type=asked.chip_type)
        total = sum(beside.exclude(team=asked.team).values_list("guaranteed_milli", flat=True))
        found.append(("Promised beside it", f"{total / 1000:g} to other teams below {parent.name}"))
    return found


def _budgets(asked: QuotaRequest) -> list[tuple[str, str]]:
    """The team's budget and that of the team above, with what is spent of each."""
    teams = [(asked.team_id, "Has now"), (asked.team.parent_id, f"Team {asked.team.parent} above")]
    rows = Budget.objects.filter(team__in=[pk for pk, _ in teams if pk is not None])
    there = {budget.team_id: budget for budget in rows}
    spent = spent_of(there.values(), clock.now())
    found = []
    for pk, name in teams:
        if pk is not None and pk in there:
            budget = there[pk]
            used = f"{spent[pk].chip_ms // HOUR_MS} chip-hours, {askable.money_of(spent[pk].micro, settings.CURRENCY)}"
            figures = {"chip_hours": budget.chip_hours, "money_micro": budget.money_micro}
            period = "a month" if budget.period == Budget.Period.MONTH else f"from {budget.since} on"
            found.append((name, f"{words_of(figures)} {period}; spent {used}"))
        elif pk is not None:
            found.append((name, "no budget of its own"))
    return found
