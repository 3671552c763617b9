"""By what the scheduler decides, and about whom: mixes, verdicts, and jobs in quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from flexai.common import clock
from flexai.console.base import ConsoleAdmin, LongList, action, display, label_of, record
from flexai.scheduling.models import Mix, Quarantine, Verdict
from flexai.scheduling.quarantine import release


@admin.register(Mix)
class MixAdmin(ConsoleAdmin):
    """What each cell has been asked for lately, by which its scheduler values nodes."""

    list_display = ("cell", "kinds", "replicas", "learned_at")
    list_select_related = ("cell",)
    exclude = ("requests",)
    readonly_fields = ("asked_for",)

    @display(description="kinds of requests")
    def kinds(self, mix: Mix) -> int:
        return len(mix.requests)

    @display(description="replicas that came")
    def replicas(self, mix: Mix) -> int:
        return sum(count for _, count in mix.requests)

    @display(description="asked for")
    def asked_for(self, mix: Mix) -> SafeString:
        most_first = sorted(mix.requests, key=lambda row: -row[1])
        lines = ((f"{count:,}", _in_words(resources)) for resources, count in most_first)
        return format_html_join("", "<div>{} × {}</div>", lines)


@admin.register(Verdict)
class VerdictAdmin(LongList):
    """Why jobs wait."""

    list_display = ("job", "code", "sentence", "since")
    list_filter = ("code",)
    list_select_related = ("job",)
    search_fields = ("job__public_id", "job__name")


def _in_words(resources: Mapping[str, Any]) -> str:
    """What one replica asks for."""
    chips = f"{resources['chips']} chips" if resources["chips"] else ""
    share = f"{resources['milli'] / 10:g} % of a chip" if resources["milli"] else ""
    memory = f"{resources['chip_memory_mib']:,} MiB of a chip" if resources["chip_memory_mib"] else ""
    types = " or ".join(resources["chip_types"])
    cores = f"{resources['cpu_milli']:,} millicores" if resources["cpu_milli"] else ""
    host = f"{resources['memory_mib']:,} MiB" if resources["memory_mib"] else ""
    return ", ".join(part for part in (chips, share, memory, types, cores, host) if part) or "nothing"


@admin.register(Quarantine)
class QuarantineAdmin(ConsoleAdmin):
    """Jobs whose unit broke a safety law; they wait until they are released here."""

    list_display = ("job", "law", "since")
    list_select_related = ("job",)
    actions = ("let_out",)

    @action(description="Release: let the scheduler try again")
    def let_out(self, request: HttpRequest, queryset: QuerySet[Quarantine]) -> None:
        for row in queryset.select_related("job__organization"):
            if release(row.job, now=clock.now(), actor=label_of(request)):
                record(request, "quarantine.released", row.job, {"law": row.law}, None)
                messages.success(request, f"{row.job} is released.")
