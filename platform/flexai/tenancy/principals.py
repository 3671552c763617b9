"""Who is asking, and what they may see.

A principal acts in one organization. Its role there holds in every team; a role in a team holds in that team
and in those below it; the stronger counts. Every query of the server starts from one of the `visible_*`
functions here or in the other apps, so another tenant's object is not found rather than forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from flexai.common.database import prepared_cursor
from flexai.common.errors import FieldError, Forbidden, InvalidInput, NotFound, Unauthenticated
from flexai.tenancy.models import Membership, Organization, Team, TeamMember, Token, User
from flexai.tenancy.roles import OPERATOR, RANK, Action, Role, allows, least_role


class Scope(StrEnum):
    """What a token may be used for; a session may do everything."""

    READ = "read"
    WRITE = "write"


ALL_SCOPES = frozenset({Scope.READ.value, Scope.WRITE.value})


@dataclass(frozen=True, slots=True)
class TeamSeat:
    """A team that the principal sees, and its role there."""

    pk: int
    public_id: str
    name: str
    parent: int | None
    role: Role

    def as_team(self, organization: Organization) -> Team:
        """The row as far as it is known here; the rest is fetched when it is asked for."""
        team = partial_row(
            Team, id=self.pk, public_id=self.public_id, name=self.name, parent_id=self.parent,
            organization_id=organization.pk,
        )  # fmt: skip
        team.organization = organization
        return team


@dataclass(frozen=True)
class Principal:
    """A user acting in an organization, by session or by token."""

    user: User
    organization: Organization
    role: Role | None
    """In the whole organization; None for somebody who is in some of its teams only."""
    scopes: frozenset[str] = ALL_SCOPES
    token: Token | None = None

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def is_operator(self) -> bool:
        """Runs the platform. A token that reaches one team only never carries this."""
        return self.user.is_staff and (self.token is None or self.token.team_id is None)

    @property
    def label(self) -> str:
        """As events name it; the audit log has the name alone, and the token."""
        return f"user:{self.user.username}"

    @cached_property
    def teams(self) -> tuple[TeamSeat, ...]:
        """The teams it sees, by name. One query, once."""
        with prepared_cursor() as cursor:
            found = cursor.execute(_TEAMS, [self.user.pk, self.organization.pk], prepare=True)
            return tuple(_seats(self, found.fetchall()))

    def take_teams(self, rows: Sequence[Sequence[Any]]) -> None:
        """`teams` is known from rows read elsewhere, of all teams of the organization by name: primary key, public
        id, name, primary key of the team above, the user's own role there or None."""
        self.__dict__["teams"] = tuple(_seats(self, rows))

    def seat(self, name_or_id: str) -> TeamSeat:
        """The team of this name or public id; raises NotFound when it sees no such team."""
        for seat in self.teams:
            if name_or_id in (seat.name, seat.public_id):
                return seat
        known = ", ".join(seat.name for seat in self.teams[:10]) or "none"
        raise NotFound(f"There is no team {name_or_id!r} among yours ({known}).")

    def role_in(self, team_pk: int) -> Role | None:
        """Its role in this team; None when it does not see it."""
        return next((seat.role for seat in self.teams if seat.pk == team_pk), None)

    @property
    def role_here(self) -> Role | None:
        """Its role in the whole organization; None with a token that reaches one team only."""
        return self.role if self.token is None or self.token.team_id is None else None

    def sees_everything(self) -> bool:
        """True when it sees every team of its organization, so that queries need not list teams."""
        return self.role_here is not None

    def require_scope(self, scope: Scope) -> None:
        """Raises Forbidden when the token does not carry this scope."""
        if scope.value not in self.scopes:
            raise Forbidden(f"This token has no {scope.value!r} scope.")

    def may(self, action: Action, team_pk: int | None = None) -> bool:
        """Whether it may do this in the team, or, without one, in the organization and the platform."""
        role = self.role_here if team_pk is None else self.role_in(team_pk)
        return allows(action, role) or (self.is_operator and allows(action, OPERATOR))

    def require(self, action: Action, team_pk: int | None = None) -> None:
        """Raises NotFound for a team it does not see, Forbidden where its role does not allow the action."""
        if self.may(action, team_pk):
            return
        role = self.role_here if team_pk is None else self.role_in(team_pk)
        if role is None and team_pk is not None:
            raise NotFound("There is no such team among yours.")
        needed = least_role(action)
        if needed == OPERATOR:
            raise Forbidden(f"Only an operator of the platform may {action.value}.")
        place = "this organization" if team_pk is None else "this team"
        yours = f"yours is {role.value}" if role is not None else "you have none"
        raise Forbidden(f"You need the role {needed} in {place} to {action.value}; {yours}.")


Row = TypeVar("Row", bound=Model)


def partial_row(kind: type[Row], **known: Any) -> Row:
    """A row of which these columns were read; any other is fetched when it is asked for."""
    names = [column.attname for column in kind._meta.concrete_fields if column.attname in known]
    return kind.from_db(None, names, [known[name] for name in names])


CHOSEN = "organization"
"""In a session: public id of the organization that its user chose to act in."""


def organizations_of(user: User) -> QuerySet[Organization]:
    """Those in which the user has a role, in the whole or in a team; by name."""
    of_teams = Q(teams__members__user=user)
    return Organization.objects.filter(Q(memberships__user=user) | of_teams).distinct().order_by("name", "id")


def principal_for_user(user: User, *, chosen: str = "") -> Principal:
    """The user in the organization of the public id that it chose, or, where it has no role there or chose none, in the
    one that it joined first. Raises Unauthenticated when it belongs to none."""
    organization = organizations_of(user).filter(public_id=chosen).first() if chosen else None
    if organization is not None:
        return principal_in(organization, user)
    membership = Membership.objects.filter(user=user).select_related("organization").order_by("id").first()
    if membership is not None:
        return Principal(user, membership.organization, Role(membership.role))
    seat = TeamMember.objects.filter(user=user).select_related("team__organization").order_by("id").first()
    if seat is not None:
        return Principal(user, seat.team.organization, None)
    raise Unauthenticated("This user belongs to no organization; an owner has to add it to one.")


def principal_in(organization: Organization, user: User) -> Principal:
    """The user in this organization, as it may act there now. Raises Forbidden when it is a member no more."""
    membership = Membership.objects.filter(user=user, organization=organization).first()
    seated = TeamMember.objects.filter(user=user, team__organization=organization).exists()
    if not user.is_active or (membership is None and not seated):
        raise Forbidden(f"{user.username} is no member of {organization.name} any more.")
    return Principal(user, organization, None if membership is None else Role(membership.role))


def visible_teams(principal: Principal) -> QuerySet[Team]:
    """The teams that the principal may see; an operator sees those of every organization."""
    if principal.is_operator and allows(Action.SEE, OPERATOR):
        return Team.objects.all()
    return Team.objects.filter(pk__in=[seat.pk for seat in principal.teams])


def visible_tokens(principal: Principal) -> QuerySet[Token]:
    """The principal's own tokens in its organization."""
    return Token.objects.filter(organization=principal.organization, user=principal.user)


_TEAMS = """
SELECT t.id, t.public_id, t.name, t.parent_id, m.role
FROM tenancy_team t LEFT JOIN tenancy_teammember m ON m.team_id = t.id AND m.user_id = %s
WHERE t.organization_id = %s ORDER BY t.name
"""


def _seats(principal: Principal, rows: Sequence[Sequence[Any]]) -> Iterable[TeamSeat]:
    parents = {pk: parent for pk, _, _, parent, _ in rows}
    given = {pk: role for pk, _, _, _, role in rows if role}
    only = principal.token.team_id if principal.token is not None else None
    for pk, public_id, name, parent, _ in rows:
        if only is not None and only not in _line(pk, parents):
            continue
        role = _strongest([principal.role, *(given.get(above) for above in _line(pk, parents))])
        if role is not None:
            yield TeamSeat(pk, public_id, name, parent, role)


def _line(team: int, parents: Mapping[int, int | None]) -> list[int]:
    """The team and every team above it; a loop in the rows ends the walk."""
    line: list[int] = []
    above: int | None = team
    while above is not None and above not in line:
        line.append(above)
        above = parents.get(above)
    return line


def _strongest(roles: Iterable[str | None]) -> Role | None:
    held = [role for role in roles if role]
    return Role(max(held, key=lambda role: RANK[role])) if held else None


def role_named(name: str) -> Role:
    """Raises InvalidInput naming the roles there are."""
    if name not in RANK:
        message = f"there is no role {name[:40]!r}; there are {', '.join(RANK)}"
        raise InvalidInput(f"T{message[1:]}.", errors=[FieldError("role", message)])
    return Role(name)
