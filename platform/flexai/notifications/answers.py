"""Requests for quota or budget, answered or over: who asked hears it by mail, and webhooks that asked for such events.

The decision itself, who may take it, and what is given back, is `tenancy.quota_requests`; what is told is told in its
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.conf import settings
from django.db import transaction

from flexai.common import clock
from flexai.notifications import outbox
from flexai.notifications.vocabulary import REQUEST_APPROVED, REQUEST_DECLINED, REQUEST_ENDED
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


def end_due(today: date) -> int:
    """What was granted for a time that is over is given back, and told, or it is said why not; how many ended."""
    return sum(_end(pk, today) for pk in quota_requests.over(today))


@transaction.atomic
def _end(pk: int, today: date) -> bool:
    request = quota_requests.end(pk, today)
    if request is not None:
        _tell(request, REQUEST_ENDED)
    return request is not None


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
            "decided_by": by, "answer": request.answer, "note": request.note,
        },
        "sentence": _sentence(request, by),
    }  # fmt: skip
    outbox.tell_hooks(team, event, data, at=now)
    if request.asked_by_id != request.decided_by_id or event == REQUEST_ENDED:
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
    if request.note:
        return f"{of}: the grant of {granted}{until} is over. {request.note}"
    return f"{of}: {by} granted {granted}{until}{instead}. {request.answer}".strip()
