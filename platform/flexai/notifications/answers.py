"""Requests for quota or budget, answered: who asked hears it by mail, and webhooks that asked for such events do.

The decision itself, and who may take it, is `tenancy.quota_requests`; what is told is told in its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from flexai.common import clock
from flexai.notifications import outbox
from flexai.notifications.vocabulary import REQUEST_APPROVED, REQUEST_DECLINED
from flexai.tenancy import quota_requests
from flexai.tenancy.askable import words_of
from flexai.tenancy.models import QuotaRequest
from flexai.tenancy.principals import Principal


@transaction.atomic
def approve(
    principal: Principal, public_id: str, given: Mapping[str, Any], *, answer: str = ""
) -> QuotaRequest:
    """As `quota_requests.approve`, and told."""
    request = quota_requests.approve(principal, public_id, given, answer=answer)
    _tell(request, REQUEST_APPROVED)
    return request


@transaction.atomic
def decline(principal: Principal, public_id: str, reason: object) -> QuotaRequest:
    """As `quota_requests.decline`, and told."""
    request = quota_requests.decline(principal, public_id, reason)
    _tell(request, REQUEST_DECLINED)
    return request


def _tell(request: QuotaRequest, event: str) -> None:
    team, now = request.team, clock.now()
    by = request.decided_by.username if request.decided_by is not None else ""
    data = {
        "organization": team.organization.slug,
        "team": {"id": team.public_id, "name": team.name},
        "request": {
            "id": request.public_id, "kind": request.kind, "chip_type": request.chip_type or None,
            "asked": request.asked, "granted": request.granted, "asked_by": request.asked_by.username,
            "until": request.until.isoformat() if request.until is not None else None,
            "decided_by": by, "answer": request.answer,
        },
        "sentence": _sentence(request, by),
    }  # fmt: skip
    outbox.tell_hooks(team, event, data, at=now)
    if request.asked_by_id != request.decided_by_id:
        outbox.tell_person(team.organization, request.asked_by, event, data, at=now)


def _sentence(request: QuotaRequest, by: str) -> str:
    """`H100: olga granted 2 guaranteed, limit 8, weight 1; asked for was … . half of it`"""
    of = request.chip_type or "Budget"
    asked = words_of(request.asked, settings.CURRENCY)
    if request.granted is None:
        return f"{of}: {by} declined {asked}. {request.answer}".strip()
    granted = words_of(request.granted, settings.CURRENCY)
    instead = "" if granted == asked else f"; asked for was {asked}"
    until = f", until {request.until.isoformat()}" if request.until is not None else ""
    return f"{of}: {by} granted {granted}{until}{instead}. {request.answer}".strip()
