"""People who sign in by a provider of identities: who they are here, and which roles their groups give them.

Somebody is known by issuer and subject alone. A name or an address of mail that is the same as a user's here makes
nobody that user: at many providers people choose them. Roles in places that the mapping names follow the groups at
each sign-in; roles in other places are given by hand and stay.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from flexai.common.errors import Forbidden
from flexai.tenancy import audit
from flexai.tenancy.models import Identity, Membership, Organization, Team, TeamMember, User
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import RANK, Role

log = logging.getLogger(__name__)

MAX_GROUPS = 1000
"""Of one identity that are looked at."""
_ODD = re.compile(r"[^A-Za-z0-9@.+_-]")


def signed_in(issuer: str, claims: Mapping[str, Any]) -> User:
    """The user with this identity, with the roles of its groups; made where it is new and a group has a role here.

    Raises Forbidden for somebody who has no role afterwards, or is switched off.
    """
    user = _user(issuer, claims)
    if not user.is_active:
        raise Forbidden("This user is switched off.")
    if not _has_a_role(user):
        raise Forbidden("None of your groups has a role here; an operator or an owner can give you one.")
    return user


@transaction.atomic
def _user(issuer: str, claims: Mapping[str, Any]) -> User:
    roles = _roles_of(claims)
    subject = str(claims["sub"])
    if not 1 <= len(subject) <= 255 or not subject.isprintable():
        raise Forbidden("The provider names this person in a way that cannot be kept.")
    known = Identity.objects.select_related("user").filter(issuer=issuer, subject=subject).first()
    if known is None and not roles:
        raise Forbidden("None of your groups has a role here; an operator or an owner can give you one.")
    user = known.user if known is not None else _made(issuer, subject, claims)
    for organization, team in {place[1:3] for place in settings.OIDC_GROUPS}:
        _set_role(user, organization, team, roles.get((organization, team)))
    return user


def _roles_of(claims: Mapping[str, Any]) -> dict[tuple[str, str], Role]:
    """The strongest role that the groups give, by organization and team."""
    given = claims.get(settings.OIDC_GROUPS_CLAIM)
    groups = (
        {group for group in given[:MAX_GROUPS] if isinstance(group, str)}
        if isinstance(given, list)
        else set()
    )
    roles: dict[tuple[str, str], Role] = {}
    for group, organization, team, name in settings.OIDC_GROUPS:
        role, held = Role(name), roles.get((organization, team))
        if group in groups and (held is None or RANK[role] > RANK[held]):
            roles[organization, team] = role
    return roles


def _made(issuer: str, subject: str, claims: Mapping[str, Any]) -> User:
    email = str(claims.get("email", "")) if claims.get("email_verified") is True else ""
    user = User(
        username=_free_username(claims), email=email if email.isprintable() and len(email) < 255 else ""
    )
    user.set_unusable_password()
    user.save()
    Identity.objects.create(user=user, issuer=issuer, subject=subject)
    return user


def _free_username(claims: Mapping[str, Any]) -> str:
    """As the provider names them, with a number where somebody else has the name."""
    wanted = _ODD.sub("-", str(claims.get("preferred_username") or claims.get("email") or "user"))[:100]
    taken = set(User.objects.filter(username__startswith=wanted).values_list("username", flat=True))
    number = 1
    while (found := wanted if number == 1 else f"{wanted}-{number}") in taken:
        number += 1
    return found


def _set_role(user: User, organization_slug: str, team_name: str, role: Role | None) -> None:
    organization = Organization.objects.select_for_update().filter(slug=organization_slug).first()
    team = Team.objects.filter(organization=organization, name=team_name).first() if team_name else None
    if organization is None or (team_name and team is None):
        log.warning("FLEXAI_OIDC_GROUPS names %s/%s, which is not here", organization_slug, team_name)
        return
    rows: Any
    if team is None:
        rows, where = Membership.objects, {"organization": organization, "user": user}
    else:
        rows, where = TeamMember.objects, {"team": team, "user": user}
    before = rows.filter(**where).values_list("role", flat=True).first()
    if before == (role.value if role else None) or (
        team is None and _is_last_owner(user, organization, before)
    ):
        return
    if role is None:
        rows.filter(**where).delete()
    else:
        rows.update_or_create(**where, defaults={"role": role.value})
    actor = Principal(user, organization, None)
    after = {"user": user.username, "role": role.value if role else None}
    action = "organization.role_set" if team is None else "team.role_set"
    audit.record(actor, action, team or organization, before={"role": before}, after=after, reason="sign-in")


def _is_last_owner(user: User, organization: Organization, role: str | None) -> bool:
    owners = Membership.objects.filter(organization=organization, role=Role.OWNER.value, user__is_active=True)
    return role == Role.OWNER and not owners.exclude(user=user).exists()


def _has_a_role(user: User) -> bool:
    return Membership.objects.filter(user=user).exists() or TeamMember.objects.filter(user=user).exists()
