"""Who is in an organization and in its teams, and with which role; every change is recorded.

Nobody gives a role above their own or touches somebody who has one. Only people of the organization are named to its
teams: whoever else exists is not found here, so that nobody learns who does.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from flexai.common.errors import Conflict, Forbidden, NotFound
from flexai.tenancy import audit
from flexai.tenancy.models import Membership, Organization, Team, TeamMember, User
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import OPERATOR, RANK, Action, Role, allows


def people_of(organization: Organization) -> QuerySet[User]:
    """The users with a role in the organization or in one of its teams."""
    of_teams = Q(team_memberships__team__organization=organization)
    return User.objects.filter(Q(memberships__organization=organization) | of_teams).distinct()


def person_named(organization: Organization, username: str) -> User:
    """Raises NotFound for anybody who is not of this organization."""
    person = people_of(organization).filter(username=username).first()
    if person is None:
        raise NotFound("There is nobody of this name in the organization.")
    return person


@transaction.atomic
def set_team_role(principal: Principal, team: Team, user: User, role: Role) -> None:
    """The user has this role in the team, recorded. Raises NotFound or Forbidden: maintainers name members,
    and nobody gives a role above their own."""
    principal.require(Action.NAME_MEMBERS, team.pk)
    before = TeamMember.objects.filter(team=team, user=user).values_list("role", flat=True).first()
    check_gives(principal, role, team.pk)
    _check_touches(principal, before, team.pk)
    TeamMember.objects.update_or_create(team=team, user=user, defaults={"role": role.value})
    after = {"user": user.username, "role": role.value}
    audit.record(principal, "team.role_set", team, before={"role": before}, after=after)


@transaction.atomic
def remove_from_team(principal: Principal, team: Team, user: User) -> None:
    """The user has no role of its own in the team. Raises NotFound where it has none, and Forbidden."""
    principal.require(Action.NAME_MEMBERS, team.pk)
    seat = TeamMember.objects.select_for_update().filter(team=team, user=user).first()
    if seat is None:
        raise NotFound("This user has no role of its own in the team.")
    _check_touches(principal, seat.role, team.pk)
    seat.delete()
    before = {"user": user.username, "role": seat.role}
    audit.record(principal, "team.role_removed", team, before=before)


@transaction.atomic
def set_role(principal: Principal, user: User, role: Role) -> None:
    """The member has this role in the whole organization. Raises NotFound for somebody who is no member of it,
    Forbidden, and Conflict where it would be left without an owner."""
    principal.require(Action.NAME_MEMBERS)
    check_gives(principal, role)
    seat = _membership(principal, user)
    _check_touches(principal, seat.role)
    if role is not Role.OWNER:
        _check_an_owner_stays(seat)
    before, seat.role = seat.role, role.value
    seat.save(update_fields=["role"])
    after = {"user": user.username, "role": role.value}
    audit.record(
        principal, "organization.role_set", principal.organization, before={"role": before}, after=after
    )


@transaction.atomic
def remove_member(principal: Principal, user: User) -> None:
    """The user has no role in the organization or in any of its teams; its tokens see nothing of it any more. Raises
    NotFound, Forbidden, and Conflict for the last owner."""
    principal.require(Action.NAME_MEMBERS)
    seat = _membership(principal, user)
    _check_touches(principal, seat.role)
    _check_an_owner_stays(seat)
    TeamMember.objects.filter(user=user, team__organization=principal.organization).delete()
    seat.delete()
    before = {"user": user.username, "role": seat.role}
    audit.record(principal, "organization.role_removed", principal.organization, before=before)


def check_gives(principal: Principal, role: Role, team_pk: int | None = None) -> None:
    """Raises Forbidden where the role is above the principal's own; an operator gives any."""
    _check_touches(principal, role, team_pk)


def _check_touches(principal: Principal, role: str | None, team_pk: int | None = None) -> None:
    if principal.is_operator and allows(Action.NAME_MEMBERS, OPERATOR):
        return
    own = principal.role_here if team_pk is None else principal.role_in(team_pk)
    if role is not None and (own is None or RANK[own] < RANK[role]):
        raise Forbidden("Nobody gives a role above their own, or takes one away.")


def _membership(principal: Principal, user: User) -> Membership:
    seats = Membership.objects.select_for_update().filter(organization=principal.organization)
    seat = seats.filter(user=user).first()
    if seat is None:
        raise NotFound("There is nobody of this name with a role in the whole organization.")
    return seat


def _check_an_owner_stays(seat: Membership) -> None:
    Organization.objects.select_for_update().get(pk=seat.organization_id)
    owners = Membership.objects.filter(
        organization_id=seat.organization_id, role=Role.OWNER.value, user__is_active=True
    )
    if seat.role == Role.OWNER and not owners.exclude(pk=seat.pk).exists():
        raise Conflict("The organization would be left without an owner; name another one first.")
