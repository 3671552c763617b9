"""What the scheduler did, cycle by cycle: what was decided, how long it took, and why jobs waited. And the recordings
from which cycles are decided again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flexai.console.base import LongList, display
from flexai.jobs.models import Job
from flexai.scheduling.models import Cycle, Recording
from flexai.tenancy.models import Membership

MOST_PARTS: Final = 200
"""Rows that one decision has at most: each is a part of its starts, applied by itself."""
_DONE: Final = {
    "started": "Started",
    "promised": "Promised chips that others leave",
    "shrunk": "Shrunk",
    "moved": "Moved to other chips",
    "preempted": "Preempted, with a checkpoint",
    "evicted": "Preempted, without a checkpoint",
    "resized": "Resized, or moved from a slow node",
    "lent": "Started on lent chips",
    "recalled": "Called back from lent chips",
}
_GROUNDS: Final = {
    "guarantee": "a team reclaims its guarantee",
    "fair_share": "a team has less than its fair share",
    "priority": "a higher priority",
    "service_level": "another had less chip time",
    "consolidation": "another fits once this has moved",
    "excess": "more is held than there is",
    "owner_back": "the owner uses its chips again",
    "owner_gone": "the owner has ended",
    "owner_keeps": "the owner lends no more",
    "chips_needed": "somebody starts there by right",
}


class ResultFilter(admin.SimpleListFilter):
    """Cycles that raised or broke a law."""

    title = "result"
    parameter_name = "result"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("failed", "failed"), ("ok", "ok")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Cycle]) -> QuerySet[Cycle]:
        failed = ~Q(error="") | ~Q(broken_laws=[])
        if self.value() == "failed":
            return queryset.filter(failed)
        return queryset.exclude(failed) if self.value() == "ok" else queryset


class DecidedFilter(admin.SimpleListFilter):
    """Cycles that did a certain thing."""

    title = "what was decided"
    parameter_name = "decided"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return list(_DONE.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Cycle]) -> QuerySet[Cycle]:
        what = self.value()
        return queryset.filter(decided__contains=[{"what": what}]) if what in _DONE else queryset


@admin.register(Cycle)
class CycleAdmin(LongList):
    """One line for each cycle that did something or failed."""

    list_display = ("started_at", "cell", "result", "did", "waiting", "most_wait", "dropped", "took_ms")
    list_filter = (ResultFilter, DecidedFilter, "cell")
    list_select_related = ("cell",)
    ordering = ("-id",)

    @display(description="result", label={"ok": "success", "failed": "danger", "law broken": "danger"})
    def result(self, cycle: Cycle) -> str:
        if cycle.error:
            return "failed"
        return "law broken" if cycle.broken_laws else "ok"

    @display(description="decided")
    def did(self, cycle: Cycle) -> str:
        if cycle.applied and not cycle.decided:
            return f"{cycle.applied} started (a part)"
        return ", ".join(f"{row['jobs']} {row['what']}" for row in cycle.decided) or "nothing"

    @display(description="most wait because")
    def most_wait(self, cycle: Cycle) -> str:
        return str(cycle.reasons[0]["sentence"]) if cycle.reasons else "—"

    @display(description="ms")
    def took_ms(self, cycle: Cycle) -> int:
        return cycle.read_ms + cycle.decide_ms + cycle.apply_ms

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return cycle_page(request, self.admin_site, object_id)


def cycle_page(request: HttpRequest, site: AdminSite, object_id: str) -> HttpResponse:
    """The page of one cycle, with all the parts in which it was applied. Its number of queries is fixed."""
    if request.method not in ("GET", "HEAD"):
        raise PermissionDenied
    rows = Cycle.objects.select_related("cell")
    cycle = rows.filter(pk=int(object_id)).first() if object_id.isdecimal() and len(object_id) < 18 else None
    if cycle is None:
        raise Http404("There is no such cycle; old ones make room for new ones.")
    of_cell = Cycle.objects.filter(cell=cycle.cell_id)
    near = of_cell.filter(pk__range=(cycle.pk - MOST_PARTS, cycle.pk + MOST_PARTS))
    parts = list(near.filter(started_at=cycle.started_at).order_by("pk"))
    told = max(parts, key=lambda part: bool(part.decided))
    """The part that tells of the whole decision; several are written at a time, so it may be any."""
    found = _Jobs(request, [*told.decided, *told.reasons], told.broken_laws)
    recording = Recording.objects.filter(
        cell=cycle.cell_id, first_at__lte=cycle.started_at, last_at__gte=cycle.started_at
    )
    context = site.each_context(request) | {
        "title": "Cycle",
        "cycle": told,
        "parts": len(parts),
        "figures": [
            ("Waited afterwards", f"{told.waiting:,}"),
            ("Units decided", f"{sum(part.units for part in parts):,}"),
            ("Jobs started", f"{sum(part.applied for part in parts):,}"),
            ("Units that held no longer", f"{sum(part.dropped for part in parts):,}"),
        ],
        "times": _times(told, sum(part.apply_ms for part in parts)),
        "valued": _valued(told),
        "decided": [found.decided(row) | {"link": _audited(row, parts)} for row in told.decided],
        "reasons": [found.reason(row) for row in told.reasons],
        "others": told.waiting - sum(row["jobs"] for row in told.reasons),
        "broken": [row | {"job": found.named(row["job"])} for row in told.broken_laws],
        "recording": recording.defer("data").first(),
        "newer": of_cell.filter(pk__gt=parts[-1].pk).order_by("pk").values_list("pk", flat=True).first(),
        "older": of_cell.filter(pk__lt=parts[0].pk).order_by("-pk").values_list("pk", flat=True).first(),
    }
    return render(request, "console/cycle.html", context)


class _Jobs:
    """The few jobs that a cycle names: read by two queries, each with its pages."""

    def __init__(
        self, request: HttpRequest, rows: Iterable[Mapping[str, Any]], broken: Iterable[Mapping[str, Any]]
    ) -> None:
        numbers = {number for row in rows for one in row["some"] for number in _numbers(one)}
        numbers |= {row["job"] for row in broken}
        jobs = Job.objects.filter(pk__in=numbers).select_related("team", "organization")
        self._jobs = jobs.only("public_id", "name", "index", "team__name", "organization__slug").in_bulk()
        mine = Membership.objects.filter(user__username=request.user.get_username())
        self._mine = set(mine.values_list("organization_id", flat=True))

    def named(self, number: int) -> dict[str, Any]:
        """As the page names it. The dashboard shows a job to the members of its organization."""
        job = self._jobs.get(number)
        if job is None:
            return {"name": f"job {number}, gone", "link": "", "why": "", "team": ""}
        return {
            "name": job.name if job.index is None else f"{job.name}[{job.index}]",
            "team": f"{job.organization.slug} / {job.team.name}",
            "link": reverse("admin:jobs_job_change", args=[job.pk]),
            "why": f"/jobs/{job.public_id}" if job.organization_id in self._mine else "",
        }

    def decided(self, row: Mapping[str, Any]) -> dict[str, Any]:
        some = [(self.named(job), self.named(other) if other else None) for job, other in row["some"]]
        what, ground = _DONE.get(row["what"], row["what"]), _GROUNDS.get(row["ground"], row["ground"])
        return {
            "what": what,
            "ground": ground,
            "jobs": row["jobs"],
            "some": some,
            "more": row["jobs"] - len(some),
        }

    def reason(self, row: Mapping[str, Any]) -> dict[str, Any]:
        some = [self.named(job) for job in row["some"]]
        now = reverse("admin:scheduling_verdict_changelist") + f"?code={row['code']}"
        return {**row, "some": some, "more": row["jobs"] - len(some), "now": now}


def _numbers(named: int | Sequence[int]) -> Sequence[int]:
    """A job, or a job and for whom."""
    return (named,) if isinstance(named, int) else named


def _audited(row: Mapping[str, Any], parts: Sequence[Cycle]) -> str:
    """Where all jobs that were started are; that they were is one entry of the audit log for each part."""
    if row["what"] != "started" or len(parts) > 1:
        return ""
    return reverse("admin:tenancy_auditentry_changelist") + f"?request_id=cycle-{parts[0].pk}"


def _times(cycle: Cycle, apply_ms: int) -> list[dict[str, Any]]:
    """Each step of the cycle with its milliseconds and its share in percent."""
    read = "Read, all rows anew" if cycle.rebuilt else "Read what changed"
    steps = [(read, cycle.read_ms), ("Decide", cycle.decide_ms)]
    if cycle.applied:
        steps.append(("Apply the starts", apply_ms))
    whole = sum(ms for _, ms in steps)
    return [{"step": step, "ms": ms, "percent": 100 * ms // whole if whole else 0} for step, ms in steps]


def _valued(cycle: Cycle) -> str:
    if not cycle.effort:
        return "Nodes were taken first in order, without valuing them."
    return f"Nodes were valued by the mix of {cycle.seen:,} requests, with an effort of {cycle.effort:,}."


@admin.register(Recording)
class RecordingAdmin(LongList):
    """What the scheduler saw and decided, to decide it again with `flexai replay`."""

    list_display = ("first_at", "last_at", "cell", "cycles", "bytes", "file")
    list_display_links = None
    list_filter = ("cell",)
    list_select_related = ("cell",)
    list_before_template = "console/recordings_about.html"
    ordering = ("-id",)
    exclude = ("data",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recording]:
        found: QuerySet[Recording] = super().get_queryset(request)
        return found.defer("data")

    @display(description="size")
    def bytes(self, recording: Recording) -> str:
        return filesizeformat(recording.size)

    @display(description="file")
    def file(self, recording: Recording) -> SafeString:
        return format_html(
            '<a class="text-primary-600 dark:text-primary-500" href="/api/v1/recordings/{}">Download</a>',
            recording.pk,
        )
