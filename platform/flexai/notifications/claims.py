"""Messages that are due, taken from the outbox by changing them, and what became of each try, written down.

A claim moves `next_at` behind a lease first. So no two processes try a message at once, and one whose process died
between the answer and the note is tried again, under the same id: receivers get everything at least once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from django.db import transaction
from django.db.models.functions import Coalesce

from flexai.common.database import prepared_cursor
from flexai.notifications import outbox, retrying
from flexai.notifications.messages import Told, plain
from flexai.notifications.models import Delivery, Webhook
from flexai.notifications.queries import reachable_people
from flexai.notifications.services import give_up
from flexai.tenancy.models import AuditEntry, Organization

HOOKS_LOOKED_AT = 1000
"""Webhooks with something due that one look names; the next look begins after the last of them."""
MAIL_GAP = timedelta(seconds=60)
"""Between two mails to one person: what happens meanwhile stands in the next."""
MAX_IN_A_MAIL = 10_000
MAX_SAID = 300


@dataclass(frozen=True, slots=True)
class DueHook:
    """A webhook with something due."""

    pk: int
    organization: int
    is_failing: bool
    url: str
    secrets: tuple[str, ...]
    """Sealed; the former one while it counts."""


@dataclass(frozen=True, slots=True)
class ToHook:
    """A message, claimed."""

    pk: int
    public_id: str
    tries: int
    """This one among them."""
    told: Told
    hook: DueHook


@dataclass(frozen=True, slots=True)
class ToPerson:
    """Messages to one person of one organization, claimed: one mail."""

    address: str
    """Empty: no member any more, or without one."""
    pks: tuple[int, ...]
    public_id: str
    """Of the first."""
    tries: int
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try."""

    taken: bool
    said: str
    """For people."""
    status: int | None = None
    asked_ms: int = 0
    """How long the receiver asks to be left alone."""
    is_final: bool = False
    """Not taken, and no other try would do better."""


def due_hooks(now: datetime, *, after: int) -> list[DueHook]:
    """Webhooks that are on and have something due, those behind the primary key `after` first."""
    with prepared_cursor() as cursor:
        rows = cursor.execute(_DUE_HOOKS, [now, now, after, HOOKS_LOOKED_AT], prepare=True).fetchall()
    return [
        DueHook(pk, organization, failing, url, (secret, former) if former else (secret,))
        for pk, organization, failing, url, secret, former in rows
    ]


def claim_of_hook(hook: DueHook, most: int, *, now: datetime) -> list[ToHook]:
    """At most so many of its messages, oldest first; nobody else has them in hand."""
    with prepared_cursor() as cursor:
        rows = cursor.execute(_CLAIM_OF_HOOK, [hook.pk, now, most, now + retrying.LEASE, now], prepare=True)
        found = rows.fetchall()
    return [
        ToHook(pk, public_id, tries, _told(*happened), hook)
        for pk, public_id, tries, *happened in sorted(found)
    ]


def claim_of_people(most: int, *, now: datetime) -> list[ToPerson]:
    """What is due to at most so many people, all of it for each; nobody who had a mail within `MAIL_GAP`."""
    with prepared_cursor() as cursor:
        due = cursor.execute(_DUE_PEOPLE, [now, now - MAIL_GAP, most], prepare=True).fetchall()
        claimed = []
        for user, organization in due:
            values = [user, organization, now, MAX_IN_A_MAIL, now + retrying.LEASE, now]
            rows = sorted(cursor.execute(_CLAIM_OF_PERSON, values, prepare=True).fetchall())
            if rows:
                told = tuple(_told(*happened) for _, _, _, *happened in rows)
                tries = max(row[2] for row in rows)
                pks, address = tuple(row[0] for row in rows), _address(user, organization)
                claimed.append(ToPerson(address, pks, rows[0][1], tries, told))
    return claimed


def _told(event: str, at: datetime, data: str) -> Told:
    return Told(event, at, msgspec.json.decode(data))


def _address(user: int, organization: int) -> str:
    found = reachable_people(Organization(pk=organization)).filter(pk=user)
    return found.values_list("email", flat=True).first() or ""


@transaction.atomic
def note_hook(claimed: ToHook, outcome: Outcome, *, now: datetime) -> None:
    """The message is delivered, waits for its next try, or is given up; the webhook fails or does not, and is switched
    off where it has failed for too long or wants no more."""
    _note([claimed.pk], claimed.tries, outcome, now)
    hook = Webhook.objects.filter(pk=claimed.hook.pk)
    if outcome.taken:
        if claimed.hook.is_failing:
            hook.update(failing_since=None)
        return
    hook.update(failing_since=Coalesce("failing_since", now))
    if outcome.status == retrying.GONE:
        _switch_off(claimed.hook.pk, "Its receiver answered 410: gone.", now)
    elif hook.filter(failing_since__lte=now - retrying.SWITCHED_OFF_AFTER).exists():
        days = retrying.SWITCHED_OFF_AFTER.days
        _switch_off(claimed.hook.pk, f"It took no message for {days} days; the last: {outcome.said}", now)


def note_person(claimed: ToPerson, outcome: Outcome, *, now: datetime) -> None:
    """The same for a mail."""
    _note(claimed.pks, claimed.tries, outcome, now)


def _note(pks: Iterable[int], tries: int, outcome: Outcome, now: datetime) -> None:
    values: dict[str, object] = {"status": outcome.status, "answer": plain(outcome.said)[:MAX_SAID]}
    if outcome.taken:
        values["state"] = Delivery.State.DELIVERED
    elif outcome.is_final or tries >= retrying.MAX_TRIES:
        values["state"] = Delivery.State.FAILED
    else:
        pause = retrying.pause_after(tries, draw=random.randint, asked_ms=outcome.asked_ms)
        values["next_at"] = now + pause
    Delivery.objects.filter(pk__in=list(pks), state=Delivery.State.PENDING).update(**values)


def _switch_off(pk: int, because: str, now: datetime) -> None:
    because = plain(because)[:MAX_SAID]
    if not Webhook.objects.filter(pk=pk, is_on=True).update(is_on=False, off_because=because):
        return
    hook = Webhook.objects.select_related("organization").get(pk=pk)
    give_up(hook, "The webhook was switched off.")
    AuditEntry.objects.create(
        organization_id=hook.organization_id, actor_kind="platform", actor="notifications",
        action="webhook.switched_off", object_kind="webhook", object_id=hook.public_id, reason=because,
    )  # fmt: skip
    outbox.tell_managers(hook, because, at=now)


_DUE_HOOKS = """
SELECT h.id, h.organization_id, h.failing_since IS NOT NULL, h.url, h.secret,
    CASE WHEN h.former_until > %s THEN h.former_secret ELSE '' END
FROM notifications_webhook h
WHERE h.is_on AND EXISTS (
    SELECT 1 FROM notifications_delivery d WHERE d.hook_id = h.id AND d.state = 'pending' AND d.next_at <= %s)
ORDER BY h.id <= %s, h.id LIMIT %s
"""
_CLAIM_OF_HOOK = """
WITH due AS MATERIALIZED (
    SELECT id FROM notifications_delivery WHERE hook_id = %s AND state = 'pending' AND next_at <= %s
    ORDER BY next_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE notifications_delivery d SET tries = tries + 1, next_at = %s, last_at = %s FROM due WHERE d.id = due.id
RETURNING d.id, public_id, tries, event, at, data::text
"""
"""Materialized: a plan may run a sub-select with a limit more than once, and claim more than that."""
_DUE_PEOPLE = """
SELECT d.user_id, d.organization_id FROM notifications_delivery d
WHERE d.user_id IS NOT NULL AND d.state = 'pending' AND d.next_at <= %s AND NOT EXISTS (
    SELECT 1 FROM notifications_delivery l WHERE l.user_id = d.user_id AND l.last_at > %s)
GROUP BY 1, 2 ORDER BY min(d.next_at) LIMIT %s
"""
_CLAIM_OF_PERSON = """
WITH due AS MATERIALIZED (
    SELECT id FROM notifications_delivery
    WHERE user_id = %s AND organization_id = %s AND state = 'pending' AND next_at <= %s
    ORDER BY next_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE notifications_delivery d SET tries = tries + 1, next_at = %s, last_at = %s FROM due WHERE d.id = due.id
RETURNING d.id, public_id, tries, event, at, data::text
"""
