"""What operators tell everybody, or one organization."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from flexai.common import clock
from flexai.console.base import ConsoleAdmin, ConsoleForm, action, display, record
from flexai.tenancy.announcements import check_announcement, end_announcement
from flexai.tenancy.models import Announcement

USUAL_LIFE = timedelta(days=1)


class AnnouncementForm(ConsoleForm):
    """A new announcement, refused where the service would refuse it."""

    class Meta:
        help_texts = {
            "text": "One line, as plain text.",
            "organization": "Left empty: for everybody.",
            "starts_at": "In UTC, as the end.",
        }

    def check_new(self, values: dict[str, Any]) -> None:
        check_announcement(values["text"], values["starts_at"], values["ends_at"])


@admin.register(Announcement)
class AnnouncementAdmin(ConsoleAdmin):
    """Shown in the dashboard and on the command line while it holds; without an organization, to all. What was said is
    not changed: end it and say another."""

    form = AnnouncementForm
    adds = True
    list_display = ("text", "level", "organization", "starts_at", "ends_at", "shown_now")
    list_filter = ("level", "organization")
    list_select_related = ("organization",)
    search_fields = ("text", "public_id")
    fields = ("text", "level", "organization", "starts_at", "ends_at")
    ordering = ("-id",)
    actions = ("end_now",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        now = clock.now()
        return {"starts_at": now, "ends_at": now + USUAL_LIFE}

    @display(description="shown now", boolean=True)
    def shown_now(self, announcement: Announcement) -> bool:
        return announcement.starts_at <= clock.now() < announcement.ends_at

    @action(description="End now")
    def end_now(self, request: HttpRequest, queryset: QuerySet[Announcement]) -> None:
        for announcement in queryset.select_related("organization"):
            if end_announcement(announcement):
                record(request, "announcement.ended", announcement, None, None)
                messages.success(request, f"{announcement}: shown no more.")
