"""Whose identities are trusted: seen, made and removed by operators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import MultipleChoiceField
from django.http import HttpRequest

from flexai.console.base import ConsoleAdmin, ConsoleForm, action, principal_of, record, told
from flexai.tenancy.models import TrustRule
from flexai.tenancy.principals import Scope
from flexai.tenancy.trust import Wanted, check_rule, facts_of, new_rule, remove_rule


class TrustRuleForm(ConsoleForm):
    """A new trust rule, refused where the service would refuse it."""

    scopes = MultipleChoiceField(choices=[(scope.value, scope.value) for scope in Scope])

    def check_new(self, values: dict[str, Any]) -> None:
        check_rule(_wanted_rule(values))


@admin.register(TrustRule)
class TrustRuleAdmin(ConsoleAdmin):
    """Whose identities may act as which service account without a secret (docs/tenancy.md)."""

    form = TrustRuleForm
    adds = True
    list_display = ("name", "account", "organization", "issuer", "audience", "claims", "last_used_at")
    list_filter = ("organization",)
    list_select_related = ("account", "organization")
    search_fields = ("public_id", "name", "issuer")
    fields = ("account", "name", "issuer", "audience", "claims", "scopes", "expires_in_minutes")
    actions = ("remove",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = new_rule(form.cleaned_data["account"], _wanted_rule(form.cleaned_data))
        obj.pk, obj.organization = made.pk, made.organization
        record(request, "trust.created", made, None, facts_of(made))

    @action(description="Remove, with the tokens that it gave")
    def remove(self, request: HttpRequest, queryset: QuerySet[TrustRule]) -> None:
        for rule in queryset.select_related("account", "organization"):
            with told(request, rule):
                remove_rule(principal_of(request, rule.organization), rule.public_id)


def _wanted_rule(values: dict[str, Any]) -> Wanted:
    claims = values["claims"] if isinstance(values["claims"], dict) else {}
    return Wanted(
        name=values["name"],
        issuer=values["issuer"],
        claims=claims,
        scopes=values["scopes"],
        audience=values["audience"],
        expires_in_minutes=values["expires_in_minutes"],
    )
