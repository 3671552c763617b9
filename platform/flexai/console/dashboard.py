"""The console's first page: a few real figures, each with the page that lists what it counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse

from flexai.cluster.models import Chip, Node
from flexai.common import clock
from flexai.jobs.models import Job
from flexai.scheduling.models import Cycle, Quarantine
from flexai.tenancy.models import AuditEntry, Organization, Quota, QuotaRequest

RECENT_ENTRIES = 8
FAILURES_WITHIN = timedelta(hours=24)
_LIVE = ("held", "queued", "starting", "running", "stopping", "cancelling", "suspended", "unreachable")


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The template's context with `figures`, `types` and `recent`."""
    context.update(figures=_figures(), types=_types(), recent=list(_recent()))
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
    """Chips by type: how many there are, how many are held, and how many are promised to teams."""
    promised = dict(Quota.objects.values_list("chip_type").annotate(total=Sum("guaranteed_milli")))
    rows = (
        Chip.objects.filter(present=True).values("type").annotate(total=Count("pk"), used=Sum("used_milli"))
    )
    return [
        {
            "type": row["type"],
            "total": row["total"],
            "used": f"{row['used'] / 1000:g}",
            "percent": row["used"] // (10 * row["total"]),
            "promised": f"{promised.get(row['type'], 0) / 1000:g}",
            "overpromised": promised.get(row["type"], 0) > 1000 * row["total"],
        }
        for row in rows.order_by("type")
    ]


def _recent() -> Any:
    return AuditEntry.objects.select_related("organization").order_by("-id")[:RECENT_ENTRIES]
