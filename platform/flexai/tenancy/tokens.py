"""Bearer credentials: made once, kept as SHA-256, scoped, expiring, revocable with immediate effect."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction

from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, InvalidInput, Unauthenticated
from flexai.tenancy import audit
from flexai.tenancy.models import Organization, Team, Token, User
from flexai.tenancy.principals import ALL_SCOPES, Principal, partial_row
from flexai.tenancy.roles import Role

PREFIX = "flx_"
_SECRET = re.compile(r"flx_[A-Za-z0-9_-]{43}")
MAX_DAYS = 366
"""A token lives at most so long; who needs more makes a new one."""
USE_WRITTEN_EVERY = timedelta(minutes=1)
"""`last_used_at` is written at most so often: a busy token must not cost a write a request."""

_LOOK_UP = """
SELECT k.id, k.public_id, k.name, k.scopes, k.expires_at, k.revoked_at, k.last_used_at, k.team_id,
       u.id, u.username, u.email, u.is_staff, u.is_active, o.id, o.public_id, o.slug, o.name, m.role, {teams}, k.hash
FROM tenancy_token k
JOIN tenancy_user u ON u.id = k.user_id
JOIN tenancy_organization o ON o.id = k.organization_id
LEFT JOIN tenancy_membership m ON m.user_id = u.id AND m.organization_id = o.id
WHERE k.hash {is_it}
"""
_TEAMS = """(
    SELECT json_agg(json_build_array(t.id, t.public_id, t.name, t.parent_id, s.role) ORDER BY t.name)::text
    FROM tenancy_team t LEFT JOIN tenancy_teammember s ON s.team_id = t.id AND s.user_id = k.user_id
    WHERE t.organization_id = k.organization_id)"""
_LOOK_UPS = {
    False: _LOOK_UP.format(teams="NULL", is_it="= %s"),
    True: _LOOK_UP.format(teams=_TEAMS, is_it="= %s"),
}
_LOOK_UP_MANY = _LOOK_UP.format(teams=_TEAMS, is_it="= ANY (ARRAY(SELECT unnest(%s::text[])))")


def create_token(
    user: User,
    organization: Organization,
    name: str,
    scopes: Iterable[str],
    expires_in_days: int,
    team: Team | None = None,
) -> tuple[Token, str]:
    """A token and its secret ("flx_" and 43 characters), which is nowhere else from now on.

    Raises InvalidInput for a blank or long name, an unknown scope or a lifetime outside 1–366 days.
    """
    wanted = sorted(set(scopes))
    check_token(name, wanted, expires_in_days)
    secret = new_secret()
    token = Token.objects.create(
        organization=organization,
        user=user,
        team=team,
        name=name,
        hash=hash_of(secret),
        scopes=wanted,
        expires_at=clock.now() + timedelta(days=expires_in_days),
    )
    return token, secret


def new_secret() -> str:
    """256 random bits as a token shows them."""
    return PREFIX + secrets.token_urlsafe(32)


def principal_for_token(secret: str, *, with_teams: bool = False) -> Principal:
    """Whom this secret stands for. One query, which reads the principal's teams along when they will be needed.

    Raises Unauthenticated when it is unknown, expired or revoked.
    """
    row = _look_up(secret, with_teams)
    if row is None:
        raise Unauthenticated("This token is not known here.")
    return _principal(row, clock.now(), with_teams)


def principals_for_tokens(secrets: Iterable[str]) -> dict[str, Principal]:
    """Whom each of these secrets stands for, with its teams; without those that `principal_for_token` refuses. One
    query for all of them."""
    of_hash = {hash_of(secret): secret for secret in secrets if _SECRET.fullmatch(secret)}
    with prepared_cursor() as cursor:
        rows = cursor.execute(_LOOK_UP_MANY, [list(of_hash)], prepare=True).fetchall()
    found, now = {}, clock.now()
    for row in rows:
        with suppress(Unauthenticated):
            found[of_hash[row[19]]] = _principal(row, now, with_teams=True)
    return found


def _principal(row: tuple[Any, ...], now: datetime, with_teams: bool) -> Principal:
    """Raises Unauthenticated."""
    token, user, organization = _objects(row)
    if token.revoked_at is not None:
        raise Unauthenticated("This token was revoked.")
    if token.expires_at <= now:
        raise Unauthenticated(f"This token expired on {token.expires_at:%Y-%m-%d %H:%M} UTC.")
    if not user.is_active:
        raise Unauthenticated("The user of this token is switched off.")
    _note_use(token, now)
    role = Role(row[17]) if row[17] else None
    principal = Principal(user, organization, role, frozenset(token.scopes), token)
    if with_teams:
        principal.take_teams(msgspec.json.decode(row[18] or "[]"))
    return principal


def _look_up(secret: str, with_teams: bool) -> tuple[Any, ...] | None:
    if not _SECRET.fullmatch(secret):
        return None
    with prepared_cursor() as cursor:
        return cursor.execute(_LOOK_UPS[with_teams], [hash_of(secret)], prepare=True).fetchone()


def _objects(row: tuple[Any, ...]) -> tuple[Token, User, Organization]:
    """The three rows as models."""
    scopes = msgspec.json.decode(row[3]) if isinstance(row[3], str) else row[3]
    organization = partial_row(Organization, id=row[13], public_id=row[14], slug=row[15], name=row[16])
    user = partial_row(User, id=row[8], username=row[9], email=row[10], is_staff=row[11], is_active=row[12])
    token = partial_row(
        Token,
        id=row[0],
        public_id=row[1],
        name=row[2],
        scopes=scopes,
        expires_at=row[4],
        revoked_at=row[5],
        last_used_at=row[6],
        team_id=row[7],
        user_id=row[8],
        organization_id=row[13],
    )
    return token, user, organization


def _note_use(token: Token, now: datetime) -> None:
    last = token.last_used_at
    if last is None or now - last >= USE_WRITTEN_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)


@transaction.atomic
def make_token(
    principal: Principal, *, name: str, scopes: Iterable[str], expires_in_days: int, team: str = ""
) -> tuple[Token, str]:
    """`create_token` for the principal itself, recorded.

    A token never carries more than its maker: its scopes and team lie within those of the token that asks.
    """
    wanted = sorted(set(scopes))
    check_scopes(principal, wanted)
    reached = _team(principal, team)
    token, secret = create_token(
        principal.user, principal.organization, name, wanted, expires_in_days, reached
    )
    after = {"name": name, "scopes": wanted, "expires_at": token.expires_at.isoformat(), "team": team or None}
    audit.record(principal, "token.created", token, after=after)
    return token, secret


def check_scopes(principal: Principal, wanted: Iterable[str]) -> None:
    """Raises InvalidInput for a scope that the token which asks does not carry itself."""
    for scope in wanted:
        if scope in ALL_SCOPES and scope not in principal.scopes:
            raise InvalidInput(
                "A token cannot give what its maker lacks.",
                errors=[FieldError("scopes", f"the token you use has no {scope!r} scope")],
            )


def _team(principal: Principal, name: str) -> Team | None:
    if name:
        return Team.objects.get(pk=principal.seat(name).pk)
    if principal.token is not None and principal.token.team_id is not None:
        return Team.objects.get(pk=principal.token.team_id)
    return None


def check_token(name: str, scopes: Iterable[str], days: int) -> None:
    """Raises InvalidInput naming every field that `create_token` would refuse."""
    errors = []
    if not name.strip() or len(name) > 100 or not name.isprintable():
        errors.append(FieldError("name", "must be 1 to 100 printable characters"))
    for scope in scopes:
        if scope not in ALL_SCOPES:
            errors.append(FieldError("scopes", f"there is no scope {scope!r}", "give read, write or both"))
    if not scopes:
        errors.append(FieldError("scopes", "is empty", "give read, write or both"))
    if not 1 <= days <= MAX_DAYS:
        errors.append(FieldError("expires_in_days", f"must be 1 to {MAX_DAYS}"))
    if errors:
        raise InvalidInput("The token cannot be made so.", errors=errors)


def hash_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
