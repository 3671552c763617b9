"""Policies for jobs, edited by a form: the service checks and sets them, and what they do is said in words."""

from __future__ import annotations

import json
from typing import Any, Final

from django.contrib import admin, messages
from django.forms import CharField, ChoiceField, IntegerField, ModelForm
from django.http import HttpRequest
from django.utils.html import format_html_join
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from flexai.common.errors import FieldError, FlexaiError
from flexai.console.base import ConsoleAdmin, display, principal_of
from flexai.jobs.policies import DEFAULTS, check_job_policy, remove_job_policy, set_job_policy
from flexai.jobs.policy_bounds import BOUNDS
from flexai.jobs.policy_words import words_of
from flexai.jobs.spec import LEND
from flexai.jobs.spec_resources import ISOLATION
from flexai.tenancy.models import JobPolicy

MAX_TEXT: Final = 2000
_YES_NO: Final = (("", "—"), ("true", "yes"), ("false", "no"))
_LISTS: Final = frozenset(
    {"defaults.node_pools", "bounds.node_pools", "bounds.labels", "bounds.allowed_images"}
)
"""Written with commas between."""


def _text(label: str, help_text: str = "") -> CharField:
    widget = UnfoldAdminTextInputWidget()
    return CharField(required=False, max_length=MAX_TEXT, label=label, help_text=help_text, widget=widget)


def _whole(label: str, help_text: str = "") -> IntegerField:
    widget = UnfoldAdminIntegerFieldWidget()
    return IntegerField(required=False, min_value=0, label=label, help_text=help_text, widget=widget)


def _choice(label: str, choices: Any, help_text: str = "") -> ChoiceField:
    widget = UnfoldAdminSelectWidget()
    return ChoiceField(required=False, choices=choices, label=label, help_text=help_text, widget=widget)


class PolicyForm(ModelForm):  # type: ignore[type-arg]
    """An empty field is none: nothing is given, nothing bounded."""

    defaults_priority = _text("priority", "low, normal, high, or 0 to 100")
    defaults_preemptible = _choice("preemptible", _YES_NO)
    defaults_max_duration = _text("max_duration", "such as 8h")
    defaults_min_runtime = _text("min_runtime", "such as 30m")
    defaults_idle_timeout = _text("idle_timeout", "such as 1h; for jobs with chips")
    defaults_utilization_policy = _text(
        "utilization_policy",
        'such as {"min_utilization": "5%", "window": "1h", "action": "suspend"}; for jobs with chips',
    )
    defaults_stragglers = _text(
        "stragglers",
        'never, notify, move, or such as {"action": "move", "below": "80%", "window": "10m", "moves": 2}',
    )
    defaults_lend = _text("lend", "never, team, organization or any")
    defaults_lease = _text("lease", "such as 10m, or never")
    defaults_retry = _text("retry", 'how often, or such as {"limit": 2, "on": ["exit"]}')
    defaults_node_pools = _text("node_pools", "names, with commas between")
    defaults_cpus = _text("cpus", "of each replica, such as 4 or 0.5")
    defaults_memory = _text("memory", "of each replica, such as 16GB; not for jobs that give shm_size")
    bounds_max_duration = _text("max_duration", "the longest, such as 2d; every job then has to give one")
    bounds_priority = _whole("priority", "the highest, 0 to 100")
    bounds_chips = _whole("chips", "of one job, all replicas together")
    bounds_nodes = _whole("nodes", "the most that one job may run on")
    bounds_cpus = _text("cpus", "of each replica, the most")
    bounds_memory = _text("memory", "of each replica, the most, such as 256GB; every job then has to give it")
    bounds_shm_size = _text("shm_size", "the most, such as 16GB, for jobs in images")
    bounds_retries = _whole("retries", "the most")
    bounds_isolation = _choice(
        "isolation", [("", "—"), *((one, one) for one in ISOLATION)], "the weakest that a slice may have"
    )
    bounds_utilization_policy = _text(
        "utilization_policy",
        'the mildest for jobs with chips, such as {"min_utilization": "5%", "window": "1h", "action": "suspend"}',
    )
    bounds_lend = _choice("lend", [("", "—"), *((one, one) for one in LEND)], "the widest")
    bounds_node_pools = _text(
        "node_pools", "those allowed, with commas; every job then has to name its pools"
    )
    bounds_labels = _text("labels", "those that every job has to have, with commas between")

    bounds_allowed_images = _text(
        "allowed_images",
        "patterns with commas: ghcr.io/acme/* is one more name, ghcr.io/acme/** any below it",
    )
    bounds_require_digest = _choice("require_digest", _YES_NO, "an image has to be named by its content")

    class Meta:
        model = JobPolicy
        fields = ("organization", "team")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for where, known in _PARTS.items():
            kept = getattr(self.instance, where)
            for key in known:
                self.initial.setdefault(f"{where}_{key}", _written(kept.get(key)))

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        organization = values.get("organization") if self.instance.pk is None else self.instance.organization
        team = values.get("team")
        if team is not None and team.organization != organization:
            self.add_error("team", f"Team {team} belongs to another organization.")
        try:
            check_job_policy(self.part("defaults"), self.part("bounds"))
        except FlexaiError as error:
            for wrong in error.errors or (FieldError("", error.detail),):
                where, _, rest = wrong.field.partition(".")
                name = f"{where}_{rest.partition('.')[0]}"
                said = f"{wrong.message} ({wrong.hint})" if wrong.hint else wrong.message
                self.add_error(name if name in self.fields else None, said)
        return values

    def part(self, where: str) -> dict[str, Any]:
        """What the fields of this part say, as the service takes it."""
        given = {key: self.cleaned_data.get(f"{where}_{key}") for key in _PARTS[where]}
        return {
            key: _read(value, as_list=f"{where}.{key}" in _LISTS)
            for key, value in given.items()
            if value not in (None, "")
        }


@admin.register(JobPolicy)
class JobPolicyAdmin(ConsoleAdmin):
    """What the jobs of an organization, or of a team and those below it, get and may ask for."""

    form = PolicyForm
    adds = changes = deletes = True
    list_display = ("organization", "team", "effect")
    list_filter = ("organization",)
    list_select_related = ("organization", "team")
    autocomplete_fields = ("organization", "team")
    actions = None
    fieldsets = (
        (
            None,
            {
                "fields": ("organization", "team"),
                "description": "Without a team it is the whole organization's.",
            },
        ),
        ("What it does", {"fields": ("effect",)}),
        ("What jobs get that leave it out", {"fields": tuple(f"defaults_{key}" for key in DEFAULTS)}),
        ("What jobs may ask for", {"fields": tuple(f"bounds_{key}" for key in BOUNDS)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: JobPolicy | None = None) -> tuple[str, ...]:
        return ("effect", "organization", "team") if obj else ("effect",)

    @display(description="For jobs submitted from now on")
    def effect(self, policy: JobPolicy) -> str:
        if policy._state.adding:
            return "Nothing is set yet. Jobs that exist will keep what they have."
        said = words_of(policy.defaults, policy.bounds) or ["It gives nothing and bounds nothing."]
        return format_html_join("", "<p>{}</p>", ((sentence,) for sentence in said))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        principal = principal_of(request, obj.organization)
        row = set_job_policy(principal, obj.team, form.part("defaults"), form.part("bounds"))
        obj.pk, obj.defaults, obj.bounds = row.pk, row.defaults, row.bounds
        obj._state.adding = False
        for sentence in words_of(row.defaults, row.bounds):
            messages.info(request, sentence)

    def delete_model(self, request: HttpRequest, obj: JobPolicy) -> None:
        remove_job_policy(principal_of(request, obj.organization), obj.team)


_PARTS: Final = {"defaults": DEFAULTS, "bounds": BOUNDS}


def _written(value: Any) -> Any:
    """As the form shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value) if isinstance(value, dict | list) else value


def _read(value: Any, *, as_list: bool) -> Any:
    """As the service takes it: a list, a whole number, an object, or the text itself."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if as_list:
        return [item for part in text.split(",") if (item := part.strip())]
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
