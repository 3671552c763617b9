"""Whom a job's `notify` means: members of its organization, and webhooks that its team may name.

Nobody else can be named: a job is no way to write to strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from flexai.common.errors import FieldError, InvalidInput
from flexai.notifications.queries import hook_for_jobs, reachable_people
from flexai.tenancy.principals import Principal, TeamSeat


@dataclass(frozen=True, slots=True)
class Noticed:
    """Who is told of which events of a job; primary keys."""

    on: tuple[str, ...]
    users: tuple[int, ...]
    hook: int | None


def find(principal: Principal, team: TeamSeat, effective: Mapping[str, Any]) -> Noticed | None:
    """Who is meant; None where the spec has no `notify`. Raises InvalidInput naming everybody who cannot be told."""
    notify = effective["notify"]
    if notify is None:
        return None
    errors: list[FieldError] = []
    users = _people(principal, notify["mail"], errors) if notify["mail"] else ()
    hook = _hook(principal, team, notify["webhook"], errors) if notify["webhook"] else None
    if errors:
        first = errors[0]
        raise InvalidInput(f"The spec is wrong: {first.field}: {first.message}.", errors=errors)
    return Noticed(tuple(f"job.{word}" for word in notify["on"]), users, hook)


def _people(principal: Principal, mail: bool | list[str], errors: list[FieldError]) -> tuple[int, ...]:
    if not settings.MAIL_URL:
        hint = "an operator sets FLEXAI_MAIL_URL; or use a webhook"
        errors.append(FieldError("notify.mail", "this installation sends no mail", hint))
        return ()
    reachable = reachable_people(principal.organization)
    if mail is True:
        found = list(reachable.filter(pk=principal.user.pk).values_list("pk", flat=True))
        if not found:
            hint = "an operator sets it in the console; or name somebody's address"
            errors.append(FieldError("notify.mail", "you have no address of mail here", hint))
        return tuple(found)
    assert isinstance(mail, list)
    known: dict[str, int] = {}
    for pk, email in reachable.values_list("pk", "email"):
        known.setdefault(email.lower(), pk)
    for place, address in enumerate(mail):
        if address not in known:
            message = f"nobody of your organization has the address {address!r}"
            errors.append(FieldError(f"notify.mail.{place}", message, "only members can be told"))
    return tuple(known[address] for address in mail if address in known)


def _hook(principal: Principal, team: TeamSeat, name: str, errors: list[FieldError]) -> int | None:
    found = hook_for_jobs(principal.organization, team.pk, name)
    if found is None:
        message = f"there is no webhook {name[:100]!r} that jobs of the team {team.name} may name"
        errors.append(FieldError("notify.webhook", message, "make one: flexai webhook create"))
        return None
    return found.pk
