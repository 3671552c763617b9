"""Jobs, their attempts and events: to look at; a job can be stopped."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from flexai.console.base import (
    MAX_CHANGED_AT_ONCE,
    ConsoleInline,
    LongList,
    action,
    display,
    principal_of,
    told,
)
from flexai.jobs.models import Attempt, Event, Job, Replica
from flexai.jobs.moves import stop_job
from flexai.scheduling.models import Verdict

_COLOURS = {
    "queued": "warning",
    "held": "warning",
    "starting": "info",
    "running": "info",
    "succeeded": "success",
    "failed": "danger",
    "timed_out": "danger",
    "unreachable": "danger",
}


class AttemptInline(ConsoleInline):
    """The job's tries, newest first."""

    model = Attempt
    fields = ("number", "state", "outcome", "contact_ok", "exit_code", "placed_at", "running_at", "ended_at")
    ordering = ("-number",)
    show_change_link = True


@admin.register(Job)
class JobAdmin(LongList):
    """All tenants' jobs."""

    list_display = (
        "public_id",
        "name",
        "organization",
        "team",
        "user",
        "shown_status",
        "attempts_count",
        "submitted_at",
    )
    list_filter = ("status", "organization")
    list_select_related = ("organization", "team", "user")
    search_fields = ("public_id", "name")
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("name", "shown_status", "sentence", "waits_because", "organization", "team", "user", "cell",
                           "public_id")}),
        ("Times", {"fields": ("submitted_at", "start_after", "started_at", "ended_at", "deadline",
                              "cancel_requested_at", "kept_until")}),
        ("How it goes", {"fields": ("priority", "preemptible", "attempts_count", "failures", "times_taken", "outcome",
                                    "exit_code", "reason_code")}),
        ("Spec", {"fields": ("labels", "set", "index", "schedule", "idempotency_key", "spec", "effective_spec")}),
    )  # fmt: skip
    readonly_fields = ("shown_status", "waits_because")
    inlines = (AttemptInline,)
    actions = ("stop",)

    @display(description="status", label=_COLOURS)
    def shown_status(self, job: Job) -> str:
        return job.status

    @display(description="waits because")
    def waits_because(self, job: Job) -> str:
        verdict = Verdict.objects.filter(job=job).first() if job.state == "queued" else None
        return " ".join(reason["sentence"] for reason in verdict.reasons) if verdict else "it does not wait"

    @action(description="Stop")
    def stop(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in queryset.select_related("organization").order_by("pk")[:MAX_CHANGED_AT_ONCE]:
            with told(request, job):
                stop_job(principal_of(request, job.organization), job, reason="stopped in the console")
                messages.success(request, f"{job} is being stopped.")


class ReplicaInline(ConsoleInline):
    """The attempt's process trees."""

    model = Replica
    fields = (
        "index",
        "node",
        "state",
        "generation",
        "exit_code",
        "outcome",
        "log_offset",
        "log_size",
        "sentence",
    )
    ordering = ("index",)


@admin.register(Attempt)
class AttemptAdmin(LongList):
    """Tries at running jobs; live ones hold chips."""

    list_display = (
        "public_id",
        "job",
        "number",
        "state",
        "outcome",
        "contact_ok",
        "exit_code",
        "placed_at",
        "ended_at",
    )
    list_filter = ("state", "outcome", "contact_ok")
    list_select_related = ("job",)
    search_fields = ("public_id", "job__public_id", "job__name")
    ordering = ("-id",)
    exclude = ("changed", "version")
    inlines = (ReplicaInline,)


@admin.register(Event)
class EventAdmin(LongList):
    """The history of jobs."""

    list_display = ("at", "job", "kind", "from_state", "to_state", "reason_code", "sentence", "actor")
    list_filter = ("kind",)
    list_select_related = ("job",)
    search_fields = ("job__public_id", "reason_code")
    ordering = ("-id",)
