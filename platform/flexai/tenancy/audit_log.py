"""What the audit log shows to whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet
from django.http import HttpResponse

from flexai.common.spreadsheets import as_text, csv_answer
from flexai.tenancy.models import AuditEntry
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MOST_WRITTEN = 20_000
"""Entries in one file, the newest."""


@dataclass(frozen=True)
class Wanted:
    """Which entries; an empty word asks for nothing."""

    actor: str = ""
    """A user's name: by session or by any of their tokens."""
    action: str = ""
    """`noun.verb`, or a noun: all that is done with such."""
    object: str = ""
    """A public id."""
    since: datetime | None = None
    until: datetime | None = None


def visible_entries(principal: Principal, wanted: Wanted) -> QuerySet[AuditEntry]:
    """Those of the principal's organization. Raises Forbidden for who may not see them."""
    principal.require(Action.SEE_AUDIT)
    rows = AuditEntry.objects.filter(organization=principal.organization)
    if wanted.actor:
        rows = rows.filter(Q(actor=wanted.actor) | Q(actor__startswith=f"{wanted.actor} by "))
    if wanted.action:
        rows = rows.filter(Q(action=wanted.action) | Q(action__startswith=f"{wanted.action}."))
    if wanted.object:
        rows = rows.filter(object_id=wanted.object)
    if wanted.since is not None:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.until is not None:
        rows = rows.filter(at__lt=wanted.until)
    return rows


def as_csv(name: str, rows: QuerySet[AuditEntry]) -> HttpResponse:
    """The newest of them as a download of this name."""
    newest = rows.select_related("organization").order_by("-id")[:MOST_WRITTEN]
    return csv_answer(name, _HEADINGS, map(_cells, newest))


_HEADINGS = (
    "at", "organization", "actor_kind", "actor", "action", "object_kind", "object_id", "before", "after", "reason",
    "address", "request_id",
)  # fmt: skip


def _cells(row: AuditEntry) -> list[str]:
    slug = row.organization.slug if row.organization is not None else ""
    texts = (slug, row.actor_kind, row.actor, row.action, row.object_kind, row.object_id)
    before, after = (json.dumps(value) if value is not None else "" for value in (row.before, row.after))
    return [
        row.at.isoformat(),
        *map(as_text, (*texts, before, after, row.reason, row.address, row.request_id)),
    ]
