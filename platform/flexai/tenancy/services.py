"""What changes tenancy: organizations, teams, members, quotas, and the first start of a platform."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from flexai.common.errors import Conflict, FieldError, InvalidInput
from flexai.tenancy.accounts import revoke_token
from flexai.tenancy.members import set_team_role
from flexai.tenancy.models import Membership, Organization, Quota, Team, User
from flexai.tenancy.roles import Role
from flexai.tenancy.tokens import create_token, make_token, principal_for_token

__all__ = [
    "DEFAULT_CELL",
    "FirstTeam",
    "add_member",
    "bootstrap",
    "check_new_organization",
    "check_new_team",
    "create_organization",
    "create_team",
    "create_token",
    "make_token",
    "principal_for_token",
    "revoke_token",
    "set_team_role",
]

DEFAULT_CELL = 1
"""Primary key of the cell that the migrations make."""
MAX_TEAM_DEPTH = 8
"""Teams in one line from the top: each start pays in every one of them."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ONE_ORGANIZATION_LOCK = 0x666C6578


class FirstTeam(TypedDict):
    """A team of `bootstrap`; `quotas` by chip type, {"guaranteed": milli-chips, "limit": milli-chips or
    None}."""

    name: str
    quotas: Mapping[str, Mapping[str, int | None]]


@transaction.atomic
def bootstrap(
    *,
    organization: str,
    teams: Sequence[FirstTeam],
    username: str,
    password: str,
    operator: bool,
) -> tuple[Organization, User]:
    """The organization, its teams, the quotas given here, and an owner who can sign in exist afterwards.

    Idempotent: what is there already stays as it is, the password included. `organization` is a slug.
    """
    home = Organization.objects.filter(slug=organization).first() or create_organization(
        organization, organization
    )
    user, made = User.objects.get_or_create(
        username=username, defaults={"is_staff": operator, "is_superuser": operator}
    )
    if made:
        user.set_password(password)
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(organization=home, user=user, defaults={"role": Role.OWNER})
    for wanted in teams:
        team, _ = Team.objects.get_or_create(organization=home, name=wanted["name"])
        for chip_type, amount in wanted["quotas"].items():
            Quota.objects.get_or_create(
                team=team,
                cell_id=DEFAULT_CELL,
                chip_type=chip_type,
                defaults={
                    "guaranteed_milli": amount.get("guaranteed") or 0,
                    "limit_milli": amount.get("limit"),
                },
            )
    return home, user


@transaction.atomic
def create_organization(name: str, slug: str) -> Organization:
    """A tenant without members. Raises Conflict for a slug in use, or for a second organization where all
    jobs run as one user; InvalidInput for a slug that is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_ORGANIZATION_LOCK])
    check_new_organization(slug)
    return Organization.objects.create(name=name, slug=slug)


def check_new_organization(slug: str) -> None:
    """Raises what `create_organization` would; it alone holds against others who create at the same time."""
    if not _SLUG.fullmatch(slug):
        message = f"{slug!r} is no short name: use lower-case letters, digits and hyphens."
        raise InvalidInput(message, errors=[FieldError("slug", message)])
    if settings.SINGLE_ORGANIZATION and Organization.objects.exists():
        raise Conflict(
            "This platform runs all jobs as one user, so it holds one organization. "
            "Start it as root, or with --trust-tenants if its tenants trust each other."
        )
    if Organization.objects.filter(slug=slug).exists():
        raise Conflict(f"There is an organization {slug!r} already.")


def create_team(organization: Organization, name: str, *, parent: Team | None = None) -> Team:
    """A team without quotas. Raises InvalidInput for a name that is none and for a parent of another
    organization, in a circle or too deep; Conflict for a name in use."""
    check_new_team(organization, name, parent=parent)
    try:
        with transaction.atomic():
            return Team.objects.create(organization=organization, name=name, parent=parent)
    except IntegrityError:
        raise Conflict(f"There is a team {name!r} already.") from None


def check_new_team(organization: Organization, name: str, *, parent: Team | None = None) -> None:
    """Raises what `create_team` would, but for a name in use."""
    if not _SLUG.fullmatch(name):
        message = f"{name!r} is no team's name: use lower-case letters, digits and hyphens."
        raise InvalidInput(message, errors=[FieldError("name", message)])
    above: set[int] = set()
    at = parent
    while at is not None:
        if at.organization_id != organization.pk:
            raise _wrong_parent(f"Team {at.name} belongs to another organization.")
        if at.pk in above:
            raise _wrong_parent(f"The teams above it go in a circle, by way of {at.name}.")
        above.add(at.pk)
        if len(above) >= MAX_TEAM_DEPTH:
            raise _wrong_parent(f"Teams nest at most {MAX_TEAM_DEPTH} deep.")
        at = at.parent


def _wrong_parent(message: str) -> InvalidInput:
    return InvalidInput(message, errors=[FieldError("parent", message)])


def add_member(organization: Organization, user: User, role: Role) -> Membership:
    """The user has this role in the whole organization afterwards."""
    membership, _ = Membership.objects.update_or_create(
        organization=organization, user=user, defaults={"role": role}
    )
    return membership
