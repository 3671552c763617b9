"""Secrets of teams: set and replaced, named by jobs, given to the node that starts one, and never shown (ADR 0038).

A value goes in and is sealed; what comes out again goes to a job alone (`unsealed`). A job may name the secrets of its
team and of all above it; of two with one name the nearer holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.common.errors import Conflict, FieldError, InvalidInput, NotFound
from flexai.common.sealing import NotReadable, seal, unseal
from flexai.tenancy import audit
from flexai.tenancy.models import Secret, Team
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action

MAX_SECRETS: Final = 100
"""Of one team."""
MAX_VALUE_BYTES: Final = 64 * 1024
"""A private key has 3 KiB, a chain of certificates 20; the kernel takes 128 KiB in one variable."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""A secret's name can be a variable's."""
USED_TO_THE: Final = timedelta(minutes=1)
"""A secret of ten thousand jobs is not written down ten thousand times a minute."""


def visible_secrets(principal: Principal, team: Team) -> QuerySet[Secret]:
    """Those that jobs of the team may name. Raises NotFound, and Forbidden (viewers)."""
    principal.require(Action.SEE_SECRETS, team.pk)
    return Secret.objects.filter(pk__in=usable_by(team.pk).values()).select_related("team")


def secret_named(principal: Principal, team: Team, name: str) -> Secret:
    """The team's own secret of this name. Raises NotFound, and Forbidden (viewers)."""
    principal.require(Action.SEE_SECRETS, team.pk)
    found = (
        Secret.objects.filter(team=team, name=name).select_related("team").first()
        if "\0" not in name
        else None
    )
    if found is None:
        raise NotFound(f"Team {team.name} has no secret {name[:40]!r} of its own.")
    return found


@transaction.atomic
def set_secret(principal: Principal, team: Team, name: str, value: object) -> Secret:
    """The value holds for every attempt that starts from now on; recorded, without it.

    Raises NotFound, Forbidden (maintainers, owners and operators), InvalidInput naming what is wrong, and Conflict for
    too many.
    """
    principal.require(Action.SET_SECRETS, team.pk)
    text = checked(name, value)
    list(
        Team.objects.select_for_update(no_key=True).filter(pk=team.pk).values_list("pk")
    )  # one after the other
    secret = Secret.objects.filter(team=team, name=name).first()
    is_new = secret is None
    if secret is None:
        if Secret.objects.filter(team=team).count() >= MAX_SECRETS:
            raise Conflict(f"A team has at most {MAX_SECRETS} secrets; remove one first.")
        secret = Secret(organization_id=team.organization_id, team=team, name=name)
    secret.sealed = seal(text, bound_to=secret.place)
    secret.set_by, secret.set_at = principal.user.username, clock.now()
    secret.save()
    audit.record(
        principal, "secret.set", secret, after={"team": team.name, "name": name, "replaced": not is_new}
    )
    return secret


@transaction.atomic
def remove_secret(principal: Principal, team: Team, name: str) -> None:
    """No attempt that starts from now on is given it. Raises NotFound and Forbidden."""
    principal.require(Action.SET_SECRETS, team.pk)
    secret = secret_named(principal, team, name)
    audit.record(principal, "secret.removed", secret, before={"team": team.name, "name": name})
    secret.delete()


def usable_by(team_pk: int) -> dict[str, int]:
    """Primary keys by name, of those that jobs of the team may name: of two with one name the nearer."""
    with prepared_cursor() as cursor:
        return dict(cursor.execute(_USABLE, [team_pk], prepare=True).fetchall())


def unsealed(pks: Collection[int]) -> dict[int, str | None]:
    """Their values, for a job that starts now; None where one cannot be read. They count as used."""
    secrets = list(Secret.objects.filter(pk__in=pks))
    fresh = Q(used_at=None) | Q(used_at__lt=Now() - USED_TO_THE)
    Secret.objects.filter(fresh, pk__in=[one.pk for one in secrets]).update(used_at=Now())
    return {one.pk: _value(one) for one in secrets}


def checked(name: object, value: object) -> str:
    """The value. Raises InvalidInput naming what is wrong; it says nothing of the value but how."""
    errors = []
    if not isinstance(name, str) or not NAME.fullmatch(name):
        errors.append(
            FieldError("name", "is no name of a secret", "use letters, digits and _, such as HF_TOKEN")
        )
    text = value if isinstance(value, str) else ""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = -1
    if not text:
        errors.append(FieldError("value", "must be text that is not empty"))
    elif size < 0 or "\0" in text:
        errors.append(FieldError("value", "holds a NUL or half a surrogate pair, which no variable can"))
    elif size > MAX_VALUE_BYTES:
        errors.append(FieldError("value", f"has more than {MAX_VALUE_BYTES // 1024} KiB"))
    if errors:
        raise InvalidInput(
            f"The secret cannot be set so: {errors[0].field} {errors[0].message}.", errors=errors
        )
    return text


def _value(secret: Secret) -> str | None:
    try:
        return unseal(secret.sealed, bound_to=secret.place)
    except NotReadable:
        return None


_USABLE = """
WITH RECURSIVE line AS (
    SELECT id, parent_id, 0 AS far FROM tenancy_team WHERE id = %s
    UNION ALL SELECT t.id, t.parent_id, l.far + 1 FROM line l JOIN tenancy_team t ON t.id = l.parent_id WHERE l.far < 64
)
SELECT DISTINCT ON (s.name) s.name, s.id FROM line l JOIN tenancy_secret s ON s.team_id = l.id ORDER BY s.name, l.far
"""
