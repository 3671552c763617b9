"""All quotas of an organization on one page: edited together, checked, and their effect shown before they are set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db import transaction
from django.db.models import QuerySet
from django.forms import DecimalField, Form, IntegerField, NumberInput
from django.forms.boundfield import BoundField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from unfold.widgets import BASE_INPUT_CLASSES

from flexai.cluster.models import Cell, Chip
from flexai.common import clock
from flexai.common.errors import FlexaiError
from flexai.console.base import principal_of
from flexai.scheduling.impact import impact_of
from flexai.tenancy.askable import words_of
from flexai.tenancy.models import Organization, Quota, Team, TeamUse
from flexai.tenancy.quotas import MAX_QUOTA_MILLI, QuotaLine, as_line, set_quota_tree

MOST_LINES = 240
"""Teams × chip types on the page: Django takes 1,000 fields. More of them are edited team by team."""

_INDENT = "\u2003"


@dataclass(frozen=True, slots=True)
class Line:
    """A team's line of one chip type, as the page shows it. Amounts in chips."""

    team: Team
    indent: str
    used: Decimal
    fields: tuple[BoundField, ...]
    """Guaranteed, limit, weight."""


class QuotaTreeForm(Form):
    """Three fields for each team and chip type, and each team's version. An empty line is no quota."""

    def __init__(
        self, teams: list[Team], types: list[str], quotas: dict[tuple[int, str], Quota], data: Any
    ) -> None:
        super().__init__(data)
        self.teams, self.types = teams, types
        self._quotas = quotas
        for team in teams:
            self.fields[f"version-{team.pk}"] = IntegerField(initial=team.version)
            for number, chip_type in enumerate(types):
                self._add_line(team, number, chip_type, quotas.get((team.pk, chip_type)))

    def _add_line(self, team: Team, number: int, chip_type: str, quota: Quota | None) -> None:
        about = f"of {chip_type} for {team.name}"
        most = Decimal(MAX_QUOTA_MILLI // 1000)
        for name, initial in (
            ("guaranteed", _chips(quota.guaranteed_milli) if quota else None),
            ("limit", _chips(quota.limit_milli) if quota else None),
        ):
            self.fields[f"{name}-{team.pk}-{number}"] = DecimalField(
                min_value=0, max_value=most, decimal_places=3, required=False, initial=initial,
                widget=_number(f"{name} {about}", step="any"),
            )  # fmt: skip
        self.fields[f"weight-{team.pk}-{number}"] = IntegerField(
            min_value=0, max_value=1_000_000, required=False,
            initial=quota.over_quota_weight if quota else None, widget=_number(f"weight {about}"),
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        for team in self.teams:
            for number in range(len(self.types)):
                guaranteed = values.get(f"guaranteed-{team.pk}-{number}") or Decimal(0)
                limit = values.get(f"limit-{team.pk}-{number}")
                if limit is not None and limit < guaranteed:
                    self.add_error(f"limit-{team.pk}-{number}", "The limit is below the guarantee.")
        return values

    def changed_tree(self) -> dict[int, list[QuotaLine]]:
        """All lines of every team of which one is otherwise than in the database."""
        changed = {}
        for team in self.teams:
            lines = list(self._lines(team))
            old = [as_line(quota) for (pk, _), quota in self._quotas.items() if pk == team.pk]
            if sorted(lines, key=str) != sorted(old, key=str):
                changed[team.pk] = lines
        return changed

    def told_changes(self, tree: dict[int, list[QuotaLine]]) -> list[dict[str, str]]:
        """What each line that is otherwise will be, and was, in words."""
        told = []
        for team in self.teams:
            after = {line["chip_type"]: line for line in tree.get(team.pk, ())}
            for chip_type in self.types if team.pk in tree else ():
                quota = self._quotas.get((team.pk, chip_type))
                lines = (after.get(chip_type), as_line(quota) if quota else None)
                if lines[0] != lines[1]:
                    new, old = (words_of(line, settings.CURRENCY) if line else "no quota" for line in lines)
                    told.append({"team": team.name, "chip_type": chip_type, "after": new, "before": old})
        return told

    def versions(self) -> dict[int, int]:
        """Each team's version when the page was made."""
        return {team.pk: self.cleaned_data[f"version-{team.pk}"] for team in self.teams}

    def _lines(self, team: Team) -> Iterator[QuotaLine]:
        for number, chip_type in enumerate(self.types):
            found = {
                name: self.cleaned_data.get(f"{name}-{team.pk}-{number}")
                for name in ("guaranteed", "limit", "weight")
            }
            if all(value is None for value in found.values()):
                continue
            weight = found["weight"]
            yield {
                "chip_type": chip_type,
                "guaranteed_milli": int((found["guaranteed"] or 0) * 1000),
                "limit_milli": None if found["limit"] is None else int(found["limit"] * 1000),
                "over_quota_weight": 1 if weight is None else weight,
            }


def quota_tree(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """The page. GET picks organization and cell; POST `check` shows the effect, POST `save` sets the quotas."""
    organizations, cells = Organization.objects.order_by("name"), Cell.objects.order_by("pk")
    organization = _picked(organizations, request.GET.get("organization"))
    cell = _picked(cells, request.GET.get("cell"))
    if organization is None or cell is None:
        messages.error(request, "There is no such organization or cell.")
        return redirect("admin:tenancy_team_changelist")
    teams = _in_order(list(Team.objects.filter(organization=organization).order_by("name")))
    quotas = {
        (q.team_id, q.chip_type): q for q in Quota.objects.filter(team__organization=organization, cell=cell)
    }
    held = Chip.objects.filter(node__cell=cell, present=True).values_list("type", flat=True).distinct()
    types = sorted({*held, *(chip_type for _, chip_type in quotas)})
    if len(teams) * len(types) > MOST_LINES:
        messages.warning(
            request, f"{organization} has too many teams for one page: its quotas are set team by team."
        )
        return redirect(
            reverse("admin:tenancy_team_changelist") + f"?organization__id__exact={organization.pk}"
        )
    form = QuotaTreeForm([team for team, _ in teams], types, quotas, request.POST or None)
    context = site.each_context(request) | {
        "title": "Quotas", "form": form, "organizations": organizations, "organization": organization,
        "cells": cells, "cell": cell,
    }  # fmt: skip
    if request.method == "POST" and form.is_valid():
        tree = form.changed_tree()
        keep = "save" in request.POST
        changed = [team.name for team, _ in teams if team.pk in tree]
        if _set(request, organization, cell, form, tree, keep=keep):
            if keep:
                messages.success(
                    request, f"Quotas of {', '.join(changed)} are set." if tree else "Nothing was changed."
                )
                here = urlencode({"organization": organization.pk, "cell": cell.pk})
                return redirect(reverse("admin:tenancy_quota_tree") + f"?{here}")
            context |= {"changed": form.told_changes(tree), "impact": impact_of(cell.pk, tree, clock.now())}
    uses = TeamUse.objects.filter(team__organization=organization, cell=cell)
    used = {(use.team_id, use.chip_type): use.used_milli for use in uses}
    context["tables"] = [
        (chip_type, [_line(form, team, depth, number, used) for team, depth in teams])
        for number, chip_type in enumerate(types)
    ]
    context["wrong"] = any(field.errors for field in form)
    context["versions"] = [form[f"version-{team.pk}"] for team, _ in teams]
    return render(
        request,
        "console/quota_tree.html",
        context,
        status=422 if form.errors else 200,
    )


def _set(
    request: HttpRequest,
    organization: Organization,
    cell: Cell,
    form: QuotaTreeForm,
    tree: dict[int, list[QuotaLine]],
    *,
    keep: bool,
) -> bool:
    """True when the quotas can be set, and are if they are to be kept; else the page says why not."""
    try:
        with transaction.atomic():
            principal = principal_of(request, organization)
            set_quota_tree(principal, tree, cell_id=cell.pk, versions=form.versions())
            transaction.set_rollback(not keep)
    except FlexaiError as error:
        form.add_error(None, "; ".join([error.detail, *(wrong.message for wrong in error.errors)]))
        return False
    return True


def _line(form: QuotaTreeForm, team: Team, depth: int, number: int, used: dict[tuple[int, str], int]) -> Line:
    place = f"{team.pk}-{number}"
    return Line(
        team=team,
        indent=_INDENT * depth,
        used=_chips(used.get((team.pk, form.types[number]), 0)) or Decimal(0),
        fields=tuple(form[f"{name}-{place}"] for name in ("guaranteed", "limit", "weight")),
    )


def _picked(rows: QuerySet[Any], pk: str | None) -> Any:
    """The row of this primary key, or the first where none is asked for."""
    if pk is None:
        return rows.first()
    return rows.filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None


def _in_order(teams: list[Team]) -> list[tuple[Team, int]]:
    """Each team after the one above it, with its depth."""
    below: dict[int | None, list[Team]] = {}
    for team in teams:
        below.setdefault(team.parent_id, []).append(team)

    def walk(parent: int | None, depth: int) -> Iterator[tuple[Team, int]]:
        for team in below.get(parent, ()):
            yield team, depth
            yield from walk(team.pk, depth + 1)

    return list(walk(None, 0))


def _chips(milli: int | None) -> Decimal | None:
    return None if milli is None else (Decimal(milli) / 1000).normalize() + 0


def _number(label: str, step: str = "1") -> NumberInput:
    return NumberInput(
        attrs={"class": " ".join(BASE_INPUT_CLASSES), "aria-label": label, "min": 0, "step": step}
    )
