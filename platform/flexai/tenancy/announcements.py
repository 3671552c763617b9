"""What operators tell everybody, or one organization, for a while: plain text, written in the console."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Least

from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput
from flexai.tenancy.models import Announcement
from flexai.tenancy.principals import Principal

MAX_TEXT = 500
LONGEST = timedelta(days=366)
MAX_SHOWN = 20
"""At once, the newest: more would hide the page that they stand on."""


def visible_announcements(principal: Principal) -> QuerySet[Announcement]:
    """What is announced now to the principal's organization, or to all; the newest first."""
    now = clock.now()
    for_it = Q(organization=None) | Q(organization=principal.organization)
    current = Announcement.objects.filter(for_it, starts_at__lte=now, ends_at__gt=now)
    return current.order_by("-starts_at", "-id")


def check_announcement(text: str, starts_at: datetime, ends_at: datetime) -> None:
    """Raises InvalidInput naming every field that cannot be so."""
    errors = []
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        errors.append(FieldError("text", f"must be one line of 1 to {MAX_TEXT} printable characters"))
    if ends_at <= starts_at:
        errors.append(FieldError("ends_at", "must be later than the start"))
    elif ends_at - starts_at > LONGEST:
        errors.append(FieldError("ends_at", f"must be at most {LONGEST.days} days after the start"))
    if errors:
        raise InvalidInput("The announcement cannot be made so.", errors=errors)


def end_announcement(announcement: Announcement) -> bool:
    """It is shown no more; True when it would have been. Who may do so is the caller's to ask."""
    now = clock.now()
    ahead = Announcement.objects.filter(pk=announcement.pk, ends_at__gt=now)
    return bool(ahead.update(starts_at=Least("starts_at", now), ends_at=now))
