"""Webhooks and what they, and people by mail, were told: seen by operators, who may switch a webhook off."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from flexai.console.base import ConsoleAdmin, LongList, action, display, principal_of, told
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.services import change_hook, remove_hook


@admin.register(Webhook)
class WebhookAdmin(ConsoleAdmin):
    """Addresses of tenants that hear of their jobs (docs/webhooks.md)."""

    list_display = ("name", "organization", "team", "receiver", "is_on", "failing_since", "off_because")
    list_filter = ("is_on", "organization")
    list_select_related = ("organization", "team")
    search_fields = ("public_id", "name")
    fields = (
        "public_id", "organization", "team", "name", "description", "receiver", "events", "is_on", "off_because",
        "failing_since", "created_at",
    )  # fmt: skip
    actions = ("switch_off", "switch_on", "remove")

    @display(description="Receiver")
    def receiver(self, hook: Webhook) -> str:
        return hook.receiver

    @action(description="Switch off: what waits is given up")
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        self._switch(request, queryset, on=False)

    @action(description="Switch on")
    def switch_on(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        self._switch(request, queryset, on=True)

    @action(description="Remove, with the record of its messages")
    def remove(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for hook in queryset.select_related("organization"):
            with told(request, hook):
                remove_hook(principal_of(request, hook.organization), hook)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Webhook], *, on: bool) -> None:
        for hook in queryset.select_related("organization"):
            with told(request, hook):
                change_hook(principal_of(request, hook.organization), hook, {"on": on})


@admin.register(Delivery)
class DeliveryAdmin(LongList):
    """What was told, or waits to be, or was given up."""

    list_display = (
        "public_id",
        "at",
        "event",
        "organization",
        "hook",
        "user",
        "state",
        "tries",
        "status",
        "answer",
    )
    list_filter = ("state", "event")
    list_select_related = ("organization", "hook", "user")
    search_fields = ("public_id",)
    fields = (
        "public_id", "organization", "hook", "user", "event", "at", "state", "tries", "next_at", "last_at", "status",
        "answer", "data",
    )  # fmt: skip
