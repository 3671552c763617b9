"""Writes to the outbox, in the caller's transaction: told is what commits, and nothing else.

What happens to jobs comes from a trigger on their history, not from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from django.conf import settings
from django.db.models import Q

from flexai.common.database import prepared_cursor
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.queries import reachable_people
from flexai.notifications.vocabulary import SWITCHED_OFF
from flexai.tenancy.models import Organization, Team, User
from flexai.tenancy.roles import TABLE, Action

MAX_MANAGERS = 20
"""Who are told that a webhook was switched off."""


def tell_hooks(team: Team, event: str, data: Mapping[str, object], *, at: datetime) -> None:
    """Each webhook that asked for such events of this team has a message."""
    with prepared_cursor() as cursor:
        cursor.execute(
            _TELL_HOOKS,
            {
                "organization": team.organization_id,
                "team": team.pk,
                "event": event,
                "at": at,
                "data": msgspec.json.encode(data).decode(),
            },
        )


def tell_hook(hook: Webhook, event: str, data: Mapping[str, object], *, at: datetime) -> Delivery:
    """This webhook has a message, whatever it asked for."""
    return Delivery.objects.create(
        organization_id=hook.organization_id, hook=hook, event=event, at=at, data=data, next_at=at
    )


def tell_person(
    organization: Organization, user: User, event: str, data: Mapping[str, object], *, at: datetime
) -> None:
    """A mail to somebody of the organization who has an address, where this installation sends any."""
    if settings.MAIL_URL and reachable_people(organization).filter(pk=user.pk).exists():
        Delivery.objects.create(
            organization_id=organization.pk, user=user, event=event, at=at, data=data, next_at=at
        )


def tell_managers(hook: Webhook, because: str, *, at: datetime) -> None:
    """Those who manage the webhook and have an address get a mail, where this installation sends any."""
    if not settings.MAIL_URL:
        return
    data = {"name": hook.name, "because": because}
    Delivery.objects.bulk_create(
        Delivery(
            organization_id=hook.organization_id, user=user, event=SWITCHED_OFF, at=at, data=data, next_at=at
        )
        for user in _managers(hook)
    )


def _managers(hook: Webhook) -> Iterable[User]:
    roles = TABLE[Action.MANAGE_HOOKS]
    manages = Q(memberships__organization=hook.organization_id, memberships__role__in=roles)
    if hook.team_id is not None:
        manages |= Q(team_memberships__team=hook.team_id, team_memberships__role__in=roles)
    return reachable_people(hook.organization).filter(manages).order_by("id")[:MAX_MANAGERS]


_TELL_HOOKS = """
INSERT INTO notifications_delivery (public_id, organization_id, hook_id, event, at, data, state, tries, next_at, answer)
SELECT 'msg-' || replace(gen_random_uuid()::text, '-', ''), %(organization)s, hook, %(event)s, %(at)s, %(data)s::jsonb,
    'pending', 0, %(at)s, ''
FROM notifications_hooks_of(%(organization)s, %(team)s, %(event)s) AS hook
"""
