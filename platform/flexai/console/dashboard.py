"""The console's first page: a few real figures, each with the page that lists what it counts, and what asks for an
operator: chips held and not used, jobs that wait longest, nodes that are not well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse

from flexai.cluster.models import Chip, Node
from flexai.cluster.queries import measured_by_type
from flexai.common import clock
from flexai.console.door import has_one
from flexai.jobs.models import IdleAttempt, Job
from flexai.scheduling.models import Cycle, Quarantine
from flexai.tenancy.models import AuditEntry, Organization, Quota, QuotaRequest
from flexai.tenancy.second_factor import SESSION_MARK

SHOWN = 8
"""Rows of each list."""
FAILURES_WITHIN = timedelta(hours=24)
_LIVE = ("held", "queued", "starting", "running", "stopping", "cancelling", "suspended", "unreachable")


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The template's context with `figures`, `types`, `waiting`, `idle`, `unwell`, `recent`, and whether the operator
    should be offered a second factor."""
    context.update(figures=_figures(), types=_types(), waiting=_waiting(), idle=_idle(), unwell=_unwell())
    context.update(offer_second_factor=not request.session.get(SESSION_MARK) and not has_one(request))
    context.update(recent=AuditEntry.objects.select_related("organization").order_by("-id")[:SHOWN])
    return context


def _figures() -> list[dict[str, Any]]:
    nodes = Node.objects.exclude(state="dead").aggregate(
        total=Count("pk"), ready=Count("pk", filter=Q(state="ready", reachable=True))
    )
    statuses = dict(Job.objects.filter(status__in=_LIVE).values_list("status").annotate(number=Count("pk")))
    failed = Cycle.objects.filter(started_at__gte=clock.now() - FAILURES_WITHIN).exclude(error="").count()
    quarantined = Quarantine.objects.count()
    asked = QuotaRequest.objects.filter(state=QuotaRequest.State.OPEN).count()
    waiting, running = statuses.get("queued", 0), statuses.get("running", 0)
    trouble = failed + quarantined > 0
    return [
        _figure(
            "Nodes ready",
            f"{nodes['ready']} of {nodes['total']}",
            "cluster_node",
            nodes["ready"] < nodes["total"],
        ),
        _figure("Jobs running", running, "jobs_job", query="?status__exact=running"),
        _figure("Jobs queued", waiting, "jobs_job", query="?status__exact=queued"),
        _figure(
            "Unreachable jobs", statuses.get("unreachable", 0), "jobs_job", bool(statuses.get("unreachable"))
        ),
        _figure("Failed cycles, 24 h", failed, "scheduling_cycle", trouble, query="?result=failed"),
        _figure("In quarantine", quarantined, "scheduling_quarantine", quarantined > 0),
        _figure("Organizations", Organization.objects.count(), "tenancy_organization"),
        _figure("Open quota requests", asked, "tenancy_quotarequest", query="?state__exact=open"),
    ]


def _figure(title: str, value: object, model: str, alarming: bool = False, query: str = "") -> dict[str, Any]:
    link = reverse(f"admin:{model}_changelist") + query
    return {"title": title, "value": value, "link": link, "alarming": alarming}


def _types() -> list[dict[str, Any]]:
    """Chips by type: how many there are, how many are held and really used, and how many are promised to teams.
    `used` is None where nothing held is measured."""
    promised = dict(Quota.objects.values_list("chip_type").annotate(total=Sum("guaranteed_milli")))
    measured = measured_by_type()
    rows = (
        Chip.objects.filter(present=True).values("type").annotate(total=Count("pk"), held=Sum("used_milli"))
    )
    return [
        {
            "type": row["type"],
            "total": row["total"],
            "held": f"{row['held'] / 1000:g}",
            "percent_held": row["held"] // (10 * row["total"]),
            **_use(measured.get(row["type"]), row["total"]),
            "promised": f"{promised.get(row['type'], 0) / 1000:g}",
            "overpromised": promised.get(row["type"], 0) > 1000 * row["total"],
        }
        for row in rows.order_by("type")
    ]


def _use(measured: tuple[int, int] | None, total: int) -> dict[str, Any]:
    if measured is None:
        return {"used": None, "percent_used": 0, "unused": None}
    held, used = measured
    return {
        "used": f"{used / 1000:.1f}",
        "percent_used": used // (10 * total),
        "unused": round(100 * (held - used) / held),
    }


def _waiting() -> QuerySet[Job]:
    """The queued jobs that were submitted first, each with its verdict."""
    queued = Job.objects.filter(state="queued").select_related("team", "organization", "verdict")
    return queued.order_by("submitted_at", "pk")[:SHOWN]


def _idle() -> QuerySet[IdleAttempt]:
    """Attempts that hold chips and have not used them for longest (T2)."""
    idle = IdleAttempt.objects.filter(notified_at__isnull=False).exclude(attempt__state="ended")
    return idle.select_related("attempt__job__team", "attempt__job__organization").order_by("since")[:SHOWN]


def _unwell() -> QuerySet[Node]:
    """Nodes out of contact or out of service, or with chips that take no work; `sick` of `chips_now` chips."""
    here = Q(chips__present=True)
    sick = here & (
        Q(chips__healthy=False) | ~Q(chips__cordoned_because="") | Q(chips__drained_at__isnull=False)
    )
    nodes = Node.objects.exclude(state="dead").annotate(
        chips_now=Count("chips", filter=here), sick=Count("chips", filter=sick)
    )
    unwell = nodes.filter(Q(reachable=False) | ~Q(state="ready") | Q(sick__gt=0))
    return unwell.order_by("reachable", F("sick").desc(), "pk")[:SHOWN]
