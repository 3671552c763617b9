"""The decisions of principals, append-only: who did what to which object, before and after, and why (law
4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import Model

from flexai.common import clock, source
from flexai.common.database import prepared_cursor
from flexai.tenancy.principals import Principal

_INSERT = """
INSERT INTO tenancy_auditentry
    (at, organization_id, actor_kind, actor, action, object_kind, object_id, before, after, reason,
    request_id, address)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, %s)
"""


class Entry(msgspec.Struct, frozen=True):
    """One line of the audit log, before it is written."""

    at: datetime
    organization: int
    actor_kind: str
    actor: str
    action: str
    """`noun.verb`"""
    object_kind: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    reason: str
    request_id: str
    address: str


def entry(
    actor: Principal,
    action: str,
    about: Model | None = None,
    *,
    object_kind: str = "",
    object_id: str = "",
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    reason: str = "",
    asked: source.Source | None = None,
) -> Entry:
    """What `record` writes, for a statement that writes it along with what it tells of. The object is a row, or a
    kind and an id; it was asked where this thread was, if nothing else is said."""
    asked = asked or source.current()
    return Entry(
        at=clock.now(),
        organization=actor.organization.pk,
        actor_kind="token" if actor.token is not None else "user",
        actor=actor_name(actor),
        action=action,
        object_kind=object_kind or (about._meta.model_name or "" if about is not None else ""),
        object_id=object_id or _id_of(about),
        before=before,
        after=after,
        reason=reason,
        request_id=asked.request_id,
        address=asked.address,
    )


def record(
    actor: Principal,
    action: str,
    about: Model | None = None,
    *,
    object_kind: str = "",
    object_id: str = "",
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    reason: str = "",
) -> None:
    """One entry, in the caller's transaction."""
    made = entry(
        actor,
        action,
        about,
        object_kind=object_kind,
        object_id=object_id,
        before=before,
        after=after,
        reason=reason,
    )
    values = (
        *msgspec.structs.astuple(made)[:7], _as_json(before), _as_json(after), reason, made.request_id, made.address,
    )  # fmt: skip
    with prepared_cursor() as cursor:
        cursor.execute(_INSERT, values, prepare=True)


def actor_name(actor: Principal) -> str:
    """The user's name, and the token that was used."""
    if actor.token is None:
        return actor.user.username
    return f"{actor.user.username} by {actor.token.public_id}"


def _as_json(value: Mapping[str, object] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _id_of(about: Model | None) -> str:
    if about is None:
        return ""
    return str(getattr(about, "public_id", "") or about.pk)
