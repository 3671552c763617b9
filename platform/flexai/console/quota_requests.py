"""What teams ask for: the list, and a page for each request with its effect, to approve or decline it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.db import transaction
from django.db.models import Case, When
from django.forms import CharField, DecimalField, Form, IntegerField, NumberInput, Textarea
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from unfold.widgets import BASE_INPUT_CLASSES

from flexai.common import clock
from flexai.common.errors import FlexaiError
from flexai.console.base import ConsoleAdmin, display, principal_of
from flexai.scheduling.impact import Impact, impact_of
from flexai.tenancy.models import Quota, QuotaRequest
from flexai.tenancy.quota_requests import MAX_REASON, approve, decline
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
        "chip_type",
        "wants",
        "until",
        "state",
        "asked_by",
        "asked_at",
    )
    list_filter = ("state", "organization")
    list_select_related = ("team", "organization", "asked_by")
    search_fields = ("public_id", "team__name")
    ordering = (_OPEN_FIRST, "-pk")

    @display(description="asks for")
    def wants(self, asked: QuotaRequest) -> str:
        return words_of(asked.asked)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return quota_request(request, self.admin_site, object_id)


class DecisionForm(Form):
    """The figures to be granted, in chips, and what is said to the team."""

    guaranteed = DecimalField(min_value=0, max_value=Decimal(MAX_QUOTA_MILLI // 1000), decimal_places=3,
                              widget=NumberInput(attrs={"class": _INPUT, "step": "any", "min": 0}))  # fmt: skip
    limit = DecimalField(min_value=0, max_value=Decimal(MAX_QUOTA_MILLI // 1000), decimal_places=3, required=False,
                         widget=NumberInput(attrs={"class": _INPUT, "step": "any", "min": 0}))  # fmt: skip
    weight = IntegerField(min_value=0, max_value=1_000_000,
                          widget=NumberInput(attrs={"class": _INPUT, "min": 0}))  # fmt: skip
    answer = CharField(required=False, max_length=MAX_REASON,
                       widget=Textarea(attrs={"class": _INPUT, "rows": 2, "maxlength": MAX_REASON}))  # fmt: skip

    def figures(self) -> dict[str, int | None]:
        """As the service takes them."""
        values = self.cleaned_data
        return {
            "guaranteed_milli": int(values["guaranteed"] * 1000),
            "limit_milli": None if values["limit"] is None else int(values["limit"] * 1000),
            "over_quota_weight": values["weight"],
        }

    def said(self) -> str:
        """The answer; browsers end lines with two characters."""
        return str(self.cleaned_data["answer"]).replace("\r\n", "\n")


def quota_request(request: HttpRequest, site: AdminSite, object_id: str) -> HttpResponse:
    """The page of one request. POST `check` shows the effect, `approve` and `decline` decide."""
    rows = QuotaRequest.objects.select_related(
        "team__parent", "organization", "cell", "asked_by", "decided_by"
    )
    asked = rows.filter(pk=int(object_id)).first() if object_id.isdecimal() and len(object_id) < 18 else None
    if asked is None:
        raise Http404
    form = DecisionForm(request.POST) if request.method == "POST" else DecisionForm(_asked(asked))
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
        "title": f"Quota of {asked.team.name}", "asked": asked, "figures": _figures(asked),
        "form": form if asked.state == QuotaRequest.State.OPEN else None,
    }  # fmt: skip
    return render(
        request, "console/quota_request.html", context,
        status=422 if context["wrong"] and request.method == "POST" else 200,
    )  # fmt: skip


def words_of(line: Any) -> str:
    """A line in chips, in a few words."""
    if line is None:
        return "no quota: nothing guaranteed, no limit"
    limit = line["limit_milli"]
    most = "no limit" if limit is None else f"limit {limit / 1000:g}"
    return f"{line['guaranteed_milli'] / 1000:g} guaranteed, {most}, weight {line['over_quota_weight']}"


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


def _impact(asked: QuotaRequest, form: DecisionForm) -> Impact:
    line: QuotaLine = {"chip_type": asked.chip_type, **form.figures()}  # type: ignore[typeddict-item]
    tree, _ = tree_with(asked.team, asked.chip_type, line, cell_id=asked.cell_id)
    return impact_of(asked.cell_id, tree, clock.now())


def _asked(asked: QuotaRequest) -> dict[str, Any]:
    limit = asked.asked["limit_milli"]
    return {
        "guaranteed": Decimal(asked.asked["guaranteed_milli"]) / 1000,
        "limit": None if limit is None else Decimal(limit) / 1000,
        "weight": asked.asked["over_quota_weight"],
        "answer": "",
    }


def _figures(asked: QuotaRequest) -> list[tuple[str, str]]:
    """What is asked, what there is, and out of what it would come."""
    found = [("Cell", asked.cell.name), ("Asks for", words_of(asked.asked))]
    if asked.granted is not None:
        return [*found, ("Granted", words_of(asked.granted)), ("Had before", words_of(asked.before))]
    found.append(("Has now", words_of(line_of(asked.team, asked.chip_type, asked.cell_id))))
    parent = asked.team.parent
    if parent is not None:
        found.append((f"Team {parent.name} above", words_of(line_of(parent, asked.chip_type, asked.cell_id))))
        beside = Quota.objects.filter(team__parent=parent, cell_id=asked.cell_id, chip_type=asked.chip_type)
        total = sum(beside.exclude(team=asked.team).values_list("guaranteed_milli", flat=True))
        found.append(("Promised beside it", f"{total / 1000:g} to other teams below {parent.name}"))
    return found
