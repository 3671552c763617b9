"""How the console looks and what its side bar holds; `config.settings` takes it as UNFOLD."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

_PRIMARY = {
    "50": "#eef2ff",
    "100": "#e0e7ff",
    "200": "#c7d2fe",
    "300": "#a5b4fc",
    "400": "#818cf8",
    "500": "#5c7cfa",
    "600": "#4263eb",
    "700": "#3b5bdb",
    "800": "#364fc7",
    "900": "#2f3f9e",
    "950": "#1e2a6b",
}


def _link(title: str, icon: str, model: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{model}_changelist")}


def _is_of_teams(request: HttpRequest) -> bool:
    """The page of quotas lies below that of teams, and has an entry of its own."""
    quotas, teams = (reverse(f"admin:{name}") for name in ("tenancy_quota_tree", "tenancy_team_changelist"))
    return request.path.startswith(teams) and request.path != quotas


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Flexai console",
    "SITE_HEADER": "Flexai",
    "SITE_SUBHEADER": "Console for operators",
    "SITE_URL": "/",
    "SITE_SYMBOL": "memory",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("app/favicon.svg")}
    ],
    "SCRIPTS": [
        lambda request: static("console/expressions.js"),
        lambda request: static("console/labels.js"),
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "flexai.console.dashboard.add_figures",
    "COLORS": {"primary": _PRIMARY},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "People",
                "items": [
                    _link("Organizations", "domain", "tenancy_organization"),
                    {**_link("Teams", "groups", "tenancy_team"), "active": _is_of_teams},
                    {
                        "title": "Quotas",
                        "icon": "account_tree",
                        "link": reverse_lazy("admin:tenancy_quota_tree"),
                    },
                    _link("Quota requests", "contact_support", "tenancy_quotarequest"),
                    _link("Users", "person", "tenancy_user"),
                    _link("Job policies", "policy", "tenancy_jobpolicy"),
                    _link("Secrets", "password", "tenancy_secret"),
                    _link("Service accounts", "smart_toy", "tenancy_serviceaccount"),
                    _link("Trust rules", "handshake", "tenancy_trustrule"),
                    _link("Tokens", "key", "tenancy_token"),
                    _link("Announcements", "campaign", "tenancy_announcement"),
                    _link("Webhooks", "webhook", "notifications_webhook"),
                    _link("Messages", "outbox", "notifications_delivery"),
                ],
            },
            {
                "title": "Machines",
                "items": [
                    _link("Pools", "workspaces", "cluster_pool"),
                    _link("Nodes", "dns", "cluster_node"),
                    _link("Chips", "memory", "cluster_chip"),
                    _link("Chip types", "category", "cluster_chiptype"),
                    _link("Prices", "payments", "tenancy_price"),
                    _link("Node events", "history", "cluster_nodeevent"),
                ],
            },
            {
                "title": "Work",
                "items": [
                    _link("Jobs", "work", "jobs_job"),
                    _link("Attempts", "replay", "jobs_attempt"),
                    _link("Events", "history", "jobs_event"),
                ],
            },
            {
                "title": "Decisions",
                "items": [
                    _link("Cycles", "sync", "scheduling_cycle"),
                    _link("Recordings", "fiber_manual_record", "scheduling_recording"),
                    _link("Mixes", "blender", "scheduling_mix"),
                    _link("Verdicts", "gavel", "scheduling_verdict"),
                    _link("Quarantine", "block", "scheduling_quarantine"),
                    _link("Audit log", "fact_check", "tenancy_auditentry"),
                ],
            },
        ],
    },
}
