"""Which webhooks somebody may see, and whom a job may name."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from flexai.common.database import prepared_cursor
from flexai.common.errors import NotFound
from flexai.notifications.models import Delivery, Webhook
from flexai.tenancy.members import people_of
from flexai.tenancy.models import Organization, User
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action


def visible_hooks(principal: Principal) -> QuerySet[Webhook]:
    """The webhooks that the principal may manage: who sees an address may be able to write to it."""
    hooks = Webhook.objects.filter(organization=principal.organization).select_related("team", "organization")
    if principal.sees_everything() and principal.may(Action.MANAGE_HOOKS):
        return hooks
    return hooks.filter(
        team_id__in=[seat.pk for seat in principal.teams if principal.may(Action.MANAGE_HOOKS, seat.pk)]
    )


def hook_named(principal: Principal, name_or_id: str) -> Webhook:
    """The webhook of this name or public id. Raises NotFound for one that the principal may not manage."""
    named = Q(public_id=name_or_id) | Q(name=name_or_id)
    found = visible_hooks(principal).filter(named).first()
    if found is None:
        raise NotFound("There is no such webhook among those you manage.")
    return found


def deliveries_of(hook: Webhook) -> QuerySet[Delivery]:
    """What was to be told by this webhook, for as long as it is kept."""
    return Delivery.objects.filter(hook=hook)


def hook_for_jobs(organization: Organization, team_pk: int, name_or_url: str) -> Webhook | None:
    """The webhook that jobs of the team may name, by its name or its address: of the organization, of the team, or of
    one above it."""
    with prepared_cursor() as cursor:
        line = [row[0] for row in cursor.execute(_LINE, [team_pk], prepare=True)]
    of_line = Q(team=None) | Q(team_id__in=line)
    named = Q(name=name_or_url) | Q(url=name_or_url)
    return Webhook.objects.filter(of_line, named, organization=organization).order_by("id").first()


_LINE = """
WITH RECURSIVE line (id) AS (
    SELECT %s::bigint UNION SELECT t.parent_id FROM line JOIN tenancy_team t ON t.id = line.id
    WHERE t.parent_id IS NOT NULL)
SELECT id FROM line
"""
"""The team and those above it."""


def reachable_people(organization: Organization) -> QuerySet[User]:
    """Those of the organization who have an address of mail."""
    return people_of(organization).filter(is_active=True).exclude(email="")
