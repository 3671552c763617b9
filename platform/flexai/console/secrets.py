"""Secrets of teams: which there are, who set them, when they were used; set and removed, never shown."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import CharField
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from flexai.console.base import ConsoleAdmin, ConsoleForm, action, principal_of, told
from flexai.tenancy.models import Secret
from flexai.tenancy.team_secrets import MAX_VALUE_BYTES, checked, remove_secret, set_secret


class WrittenOnly(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """Empty on every page, also on one that comes back with an error."""

    def format_value(self, value: object) -> str:
        return ""


class SecretForm(ConsoleForm):
    """A secret's name and value; of a name that is there the value is replaced."""

    value = CharField(
        strip=False,
        widget=WrittenOnly(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=f"Up to {MAX_VALUE_BYTES // 1024} KiB. It is sealed and never shown again; of a name that is there "
        "it replaces the value.",
    )

    def check_new(self, values: dict[str, Any]) -> None:
        checked(values["name"], values["value"])

    def clean_value(self) -> str:
        """Browsers send other line ends than were typed."""
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        """To set a secret again is to replace the one that is there."""
        values = super().clean()
        there = Secret.objects.filter(team=values.get("team"), name=values.get("name")).first()
        self.instance = there or self.instance
        return values


@admin.register(Secret)
class SecretAdmin(ConsoleAdmin):
    """What teams keep for their jobs. Values are written and shown to nobody (docs/security.md)."""

    form = SecretForm
    adds = True
    list_display = ("name", "team", "organization", "set_by", "set_at", "used_at")
    list_filter = ("organization",)
    list_select_related = ("team", "organization")
    search_fields = ("public_id", "name", "team__name")
    actions = ("remove",)

    def get_fields(self, request: HttpRequest, obj: Secret | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("team", "name", "value")
        return ("team", "name", "public_id", "set_by", "set_at", "used_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        team = form.cleaned_data["team"]
        made = set_secret(
            principal_of(request, team.organization),
            team,
            form.cleaned_data["name"],
            form.cleaned_data["value"],
        )
        obj.pk, obj.public_id, obj.organization = made.pk, made.public_id, made.organization

    @action(description="Remove")
    def remove(self, request: HttpRequest, queryset: QuerySet[Secret]) -> None:
        for secret in queryset.select_related("team__organization"):
            with told(request, secret):
                remove_secret(principal_of(request, secret.team.organization), secret.team, secret.name)
