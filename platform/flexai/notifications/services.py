"""Webhooks: made, changed, tried and removed by those who manage them; every change is recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, InvalidInput, NotFound
from flexai.common.fetching import NotFetched, check_url
from flexai.common.sealing import seal
from flexai.notifications import outbox
from flexai.notifications.messages import new_secret
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.queries import deliveries_of, visible_hooks
from flexai.notifications.vocabulary import EVENTS, PING
from flexai.tenancy import audit
from flexai.tenancy.models import Organization, Team
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MAX_HOOKS = 50
"""Of one organization."""
MAX_DESCRIPTION = 200
BOTH_SECRETS_FOR = timedelta(hours=24)
"""After a rotation messages are signed with the former secret too."""
MAX_PINGS = 10
"""Tests of one webhook that wait."""
CHANGEABLE: Final = frozenset({"name", "url", "events", "description", "on"})
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@transaction.atomic
def create_hook(
    principal: Principal, *, name: str, url: str, events: object, description: str = "", team: str = ""
) -> tuple[Webhook, str]:
    """The webhook, switched on, and its secret, which is shown this once.

    Of the team where one is named (or where the token reaches one only), else of the whole organization. Raises
    NotFound (team), Forbidden, InvalidInput naming every wrong field, Conflict for a name in use or too many.
    """
    place = _place(principal, team)
    principal.require(Action.MANAGE_HOOKS, place.pk if place else None)
    values = _checked({"name": name, "url": url, "events": events, "description": description})
    Organization.objects.select_for_update(no_key=True).get(pk=principal.organization.pk)
    hooks = Webhook.objects.filter(organization=principal.organization)
    if hooks.count() >= MAX_HOOKS:
        raise Conflict(f"An organization has at most {MAX_HOOKS} webhooks; remove one first.")
    _check_free(principal.organization, name)
    secret = new_secret()
    made = Webhook.objects.create(
        organization=principal.organization, team=place, secret=seal(secret), **values
    )
    audit.record(principal, "webhook.created", made, after=facts_of(made))
    return made, secret


@transaction.atomic
def change_hook(principal: Principal, hook: Webhook, changes: Mapping[str, Any]) -> Webhook:
    """What is named in `changes` (name, url, events, description, on) is so afterwards; messages that wait go to the
    new address. Switched off, it hears nothing, and what waited is given up; switched on, it counts as new."""
    locked = _locked(principal, hook)
    before = facts_of(locked)
    for field, value in _checked(changes).items():
        setattr(locked, field, value)
    if locked.name != before["name"]:
        _check_free(principal.organization, locked.name)
    if not locked.is_on:
        give_up(locked, "The webhook was switched off.")
    if changes.keys() & {"url", "on"}:
        locked.off_because, locked.failing_since = "", None
    locked.version += 1
    locked.save()
    audit.record(principal, "webhook.changed", locked, before=before, after=facts_of(locked))
    return locked


@transaction.atomic
def remove_hook(principal: Principal, hook: Webhook) -> None:
    """The webhook is gone with the record of its messages. Jobs that named it tell nobody."""
    locked = _locked(principal, hook)
    audit.record(principal, "webhook.removed", locked, before=facts_of(locked))
    locked.delete()


@transaction.atomic
def rotate_secret(principal: Principal, hook: Webhook) -> str:
    """A new secret, shown this once. For a day messages carry a signature by the former one too."""
    locked = _locked(principal, hook)
    secret = new_secret()
    locked.former_secret, locked.former_until = locked.secret, clock.now() + BOTH_SECRETS_FOR
    locked.secret, locked.version = seal(secret), locked.version + 1
    locked.save(update_fields=["secret", "former_secret", "former_until", "version"])
    audit.record(principal, "webhook.secret_rotated", locked)
    return secret


@transaction.atomic
def ping_hook(principal: Principal, hook: Webhook) -> Delivery:
    """A test is on its way. Raises Conflict where the webhook is off, or has too many tests waiting."""
    locked = _locked(principal, hook)
    _check_on(locked)
    waiting = deliveries_of(locked).filter(event=PING, state=Delivery.State.PENDING)
    if waiting.count() >= MAX_PINGS:
        raise Conflict(f"{MAX_PINGS} tests of this webhook are on their way already.")
    audit.record(principal, "webhook.pinged", locked)
    data = {"webhook": {"id": locked.public_id, "name": locked.name}, "user": principal.user.username}
    return outbox.tell_hook(locked, PING, data, at=clock.now())


@transaction.atomic
def redeliver(principal: Principal, hook: Webhook, message_id: str) -> Delivery:
    """The message is tried anew, with its own id, so that a receiver that has it knows. Raises NotFound, and Conflict
    where it waits anyway or the webhook is off."""
    locked = _locked(principal, hook)
    _check_on(locked)
    found = deliveries_of(locked).select_for_update().filter(public_id=message_id).first()
    if found is None:
        raise NotFound("There is no such message of this webhook.")
    if found.state == Delivery.State.PENDING:
        raise Conflict("This message is on its way; it is tried again by itself.")
    found.state, found.tries, found.next_at = Delivery.State.PENDING, 0, clock.now()
    found.save(update_fields=["state", "tries", "next_at"])
    audit.record(principal, "webhook.redelivered", locked, after={"message": found.public_id})
    return found


def give_up(hook: Webhook, because: str) -> None:
    """Its messages that wait are tried no more."""
    waiting = deliveries_of(hook).filter(state=Delivery.State.PENDING)
    waiting.update(state=Delivery.State.FAILED, answer=because)


def facts_of(hook: Webhook) -> dict[str, object]:
    """As the audit log tells it: of the address its origin alone, for the rest of it may be a secret."""
    return {
        "name": hook.name,
        "team": hook.team.name if hook.team else None,
        "receiver": hook.receiver,
        "events": hook.events,
        "on": hook.is_on,
    }


def _place(principal: Principal, team: str) -> Team | None:
    if team:
        return Team.objects.get(pk=principal.seat(team).pk)
    token = principal.token
    return Team.objects.get(pk=token.team_id) if token is not None and token.team_id is not None else None


def _locked(principal: Principal, hook: Webhook) -> Webhook:
    """The row under lock. Raises NotFound where it has gone meanwhile."""
    found = visible_hooks(principal).select_for_update(of=("self",), no_key=True).filter(pk=hook.pk).first()
    if found is None:
        raise NotFound("There is no such webhook among those you manage.")
    return found


def _check_on(hook: Webhook) -> None:
    if not hook.is_on:
        raise Conflict(f"This webhook is switched off. {hook.off_because}".strip())


def _check_free(organization: Organization, name: str) -> None:
    if Webhook.objects.filter(organization=organization, name=name).exists():
        raise Conflict(f"There is a webhook {name!r} in this organization already.")


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and values. Raises InvalidInput naming every wrong field."""
    errors = [wrong for field in given for wrong in _WRONG[field](given[field])]
    if errors:
        first = errors[0].message + (f" ({errors[0].hint})" if errors[0].hint else "")
        raise InvalidInput(f"The webhook cannot be so: {errors[0].field}: {first}.", errors=errors)
    values = {("is_on" if field == "on" else field): value for field, value in given.items()}
    if "events" in values:
        values["events"] = [event for event in EVENTS if event in values["events"]]
    return values


def _wrong_name(name: object) -> list[FieldError]:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return []
    return [FieldError("name", "must be lower-case letters, digits and hyphens, at most 63")]


def _wrong_url(url: object) -> list[FieldError]:
    try:
        check_url(url if isinstance(url, str) else "", inside=settings.PRIVATE_RECEIVERS, may_query=True)
    except NotFetched as error:
        return [FieldError("url", str(error).rstrip("."), "such as https://ci.example/flexai")]
    return []


def _wrong_events(events: object) -> list[FieldError]:
    if (
        isinstance(events, list)
        and len(events) <= len(EVENTS)
        and all(isinstance(one, str) for one in events)
    ):
        unknown = [event for event in events if event not in EVENTS]
        hint = f"known are {', '.join(EVENTS)}"
        return [FieldError("events", f"there is no event {one[:40]!r}", hint) for one in unknown[:5]]
    return [FieldError("events", f"must be a list of at most {len(EVENTS)} events", ", ".join(EVENTS))]


def _wrong_description(text: object) -> list[FieldError]:
    if isinstance(text, str) and len(text) <= MAX_DESCRIPTION and (not text or text.isprintable()):
        return []
    return [FieldError("description", f"must be at most {MAX_DESCRIPTION} printable characters on one line")]


def _wrong_on(on: object) -> list[FieldError]:
    return [] if isinstance(on, bool) else [FieldError("on", "must be true or false")]


_WRONG = {
    "name": _wrong_name,
    "url": _wrong_url,
    "events": _wrong_events,
    "description": _wrong_description,
    "on": _wrong_on,
}
