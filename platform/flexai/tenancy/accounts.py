"""Service accounts: programs that act by tokens of their own, so that a pipeline outlives whoever set it up.

Made and seen by those who may manage them, in the whole organization or in one team. An account carries no more than
its maker, never a password, and never the rights of an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, QuerySet

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, InvalidInput, NotFound
from flexai.tenancy import audit
from flexai.tenancy.members import check_gives
from flexai.tenancy.models import Membership, ServiceAccount, Team, TeamMember, Token, User
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action, Role
from flexai.tenancy.tokens import check_scopes, create_token

MAX_ACCOUNTS = 200
"""Of one organization."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def visible_accounts(principal: Principal) -> QuerySet[ServiceAccount]:
    """Those that the principal may manage."""
    accounts = ServiceAccount.objects.filter(organization=principal.organization)
    if principal.sees_everything() and principal.may(Action.MANAGE_ACCOUNTS):
        return accounts
    teams = [seat.pk for seat in principal.teams if principal.may(Action.MANAGE_ACCOUNTS, seat.pk)]
    return accounts.filter(team_id__in=teams)


def account_named(principal: Principal, name_or_id: str) -> ServiceAccount:
    """The account of this name or public id. Raises NotFound for one that it may not manage."""
    named = Q(public_id=name_or_id) | Q(name=name_or_id)
    found = visible_accounts(principal).select_related("user", "team").filter(named).first()
    if found is None:
        raise NotFound("There is no such service account among those you manage.")
    return found


@transaction.atomic
def create_account(principal: Principal, *, name: str, role: Role, team: str = "") -> ServiceAccount:
    """An account without tokens, with this role in the team or else in the whole organization.

    Raises NotFound (team), Forbidden, InvalidInput for a name that is none, Conflict for one in use or too many.
    """
    place = Team.objects.get(pk=principal.seat(team).pk) if team else _only_team(principal)
    team_pk = place.pk if place else None
    principal.require(Action.MANAGE_ACCOUNTS, team_pk)
    check_gives(principal, role, team_pk)
    _check_name(name)
    accounts = ServiceAccount.objects.filter(organization=principal.organization)
    if accounts.count() >= MAX_ACCOUNTS:
        raise Conflict(f"An organization has at most {MAX_ACCOUNTS} service accounts; remove one first.")
    if accounts.filter(name=name).exists():
        raise Conflict(f"There is a service account {name!r} already.")
    user = User(username=_free_username(principal, name))
    user.set_unusable_password()
    user.save()
    if place is None:
        Membership.objects.create(organization=principal.organization, user=user, role=role.value)
    else:
        TeamMember.objects.create(team=place, user=user, role=role.value)
    made = ServiceAccount.objects.create(
        organization=principal.organization, team=place, user=user, name=name
    )
    after = {"name": name, "role": role.value, "team": place.name if place else None}
    audit.record(principal, "account.created", made, after=after)
    return made


@transaction.atomic
def remove_account(principal: Principal, public_id: str) -> None:
    """The account is gone and its tokens are refused from the next request on; its jobs stay. Raises NotFound."""
    account = account_named(principal, public_id)
    user = account.user
    Token.objects.filter(user=user, revoked_at=None).update(revoked_at=clock.now())
    Membership.objects.filter(user=user).delete()
    TeamMember.objects.filter(user=user).delete()
    audit.record(principal, "account.removed", account, before={"name": account.name})
    account.delete()
    User.objects.filter(pk=user.pk).update(is_active=False)


@transaction.atomic
def make_account_token(
    principal: Principal, account: ServiceAccount, *, name: str, scopes: Iterable[str], expires_in_days: int
) -> tuple[Token, str]:
    """A token of the account, and its secret, which is nowhere else from now on. Raises InvalidInput; never more scopes
    than those of the token that asks, nor a role above that of who asks (Forbidden)."""
    check_acts_for(principal, account)
    wanted = sorted(set(scopes))
    check_scopes(principal, wanted)
    token, secret = create_token(
        account.user, principal.organization, name, wanted, expires_in_days, account.team
    )
    after = {"name": name, "scopes": wanted, "account": account.name}
    audit.record(principal, "token.created", token, after=after)
    return token, secret


def check_acts_for(principal: Principal, account: ServiceAccount) -> None:
    """Raises Forbidden where the account has a role above the principal's own: who makes its tokens acts as it."""
    for role in Membership.objects.filter(user=account.user).values_list("role", flat=True):
        check_gives(principal, Role(role))
    for team_pk, role in TeamMember.objects.filter(user=account.user).values_list("team_id", "role"):
        check_gives(principal, Role(role), team_pk)


def manageable_tokens(principal: Principal) -> QuerySet[Token]:
    """The principal's own tokens, and those of the accounts that it manages."""
    accounts = visible_accounts(principal).values("user")
    mine = Q(user=principal.user) | Q(user__in=accounts)
    return Token.objects.filter(mine, organization=principal.organization)


@transaction.atomic
def revoke_token(principal: Principal, public_id: str) -> None:
    """The token is refused from the next request on; revoking again changes nothing. Raises NotFound."""
    token = manageable_tokens(principal).filter(public_id=public_id).first()
    if token is None:
        raise NotFound("There is no such token among yours.")
    if Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record(principal, "token.revoked", token)


def _only_team(principal: Principal) -> Team | None:
    """A token of one team makes accounts of that team alone."""
    token = principal.token
    return Team.objects.get(pk=token.team_id) if token is not None and token.team_id is not None else None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        message = "use lower-case letters, digits and hyphens, at most 63"
        raise InvalidInput(f"{name[:63]!r} is no account's name.", errors=[FieldError("name", message)])


def _free_username(principal: Principal, name: str) -> str:
    """As lists of jobs show it; a number tells it from an earlier account of this name."""
    wanted = f"{name}@{principal.organization.slug}"
    taken = set(User.objects.filter(username__startswith=wanted).values_list("username", flat=True))
    number = 1
    while (found := wanted if number == 1 else f"{wanted}-{number}") in taken:
        number += 1
    return found
