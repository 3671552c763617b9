"""What changes tenancy: organizations, teams, members, quotas, and the first start of a platform."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Sum

from flexai.common.errors import Conflict, FieldError, InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy import audit
from flexai.tenancy.accounts import revoke_token
from flexai.tenancy.members import set_team_role
from flexai.tenancy.models import Membership, Organization, Quota, Team, User
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action, Role
from flexai.tenancy.tokens import create_token, make_token, principal_for_token

__all__ = [
    "DEFAULT_CELL",
    "FirstTeam",
    "QuotaLine",
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
    "set_quotas",
    "set_team_role",
]

DEFAULT_CELL = 1
"""Primary key of the cell that the migrations make."""
MAX_QUOTA_MILLI = 10**12
MAX_QUOTAS = 200
MAX_TEAM_DEPTH = 8
"""Teams in one line from the top: each start pays in every one of them."""
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CHIP_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}")
_ONE_ORGANIZATION_LOCK = 0x666C6578


class FirstTeam(TypedDict):
    """A team of `bootstrap`; `quotas` by chip type, {"guaranteed": milli-chips, "limit": milli-chips or
    None}."""

    name: str
    quotas: Mapping[str, Mapping[str, int | None]]


class QuotaLine(TypedDict, total=False):
    """What a team gets of one chip type, in milli-chips; `limit_milli` None is no limit."""

    chip_type: str
    guaranteed_milli: int
    limit_milli: int | None
    over_quota_weight: int


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


@transaction.atomic
def set_quotas(
    principal: Principal, team: Team, quotas: Iterable[QuotaLine], *, cell_id: int = DEFAULT_CELL
) -> list[Quota]:
    """These are the team's quotas in the cell afterwards, and no others; recorded with what was before.

    What an organization gets of the cluster, the quotas of the teams at its top, operators say; its owners divide it
    among the teams below, and what was given to nobody above is theirs to promise to nobody. Running work stays when a
    quota shrinks (F4). Raises NotFound or Forbidden, and InvalidInput naming every wrong line.
    """
    principal.require(Action.SET_QUOTAS if team.parent_id else Action.SET_TOP_QUOTAS, team.pk)
    lines = list(quotas)
    _check(lines)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    _check_promises(locked, lines, cell_id, divides=not principal.may(Action.SET_TOP_QUOTAS, team.pk))
    before = _as_facts(Quota.objects.filter(team=locked, cell_id=cell_id))
    kept = [line["chip_type"] for line in lines]
    Quota.objects.filter(team=locked, cell_id=cell_id).exclude(chip_type__in=kept).delete()
    for line in lines:
        Quota.objects.update_or_create(
            team=locked, cell_id=cell_id, chip_type=line["chip_type"], defaults=_amounts(line)
        )
    Team.objects.filter(pk=locked.pk).update(version=F("version") + 1)
    after = list(Quota.objects.filter(team=locked, cell_id=cell_id).order_by("chip_type"))
    audit.record(principal, "team.quotas_set", locked, before=before, after=_as_facts(after))
    hint = Hint("team", locked.public_id, locked.version + 1, locked.public_id)
    publish_on_commit(hints=[hint], cell=cell_id)
    return after


def _amounts(line: QuotaLine) -> dict[str, int | None]:
    return {
        "guaranteed_milli": line.get("guaranteed_milli", 0),
        "limit_milli": line.get("limit_milli"),
        "over_quota_weight": line.get("over_quota_weight", 1),
    }


def _check(lines: Sequence[QuotaLine]) -> None:
    errors = [error for position, line in enumerate(lines) for error in _wrong_in(position, line)]
    if len(lines) > MAX_QUOTAS:
        errors = [FieldError("quotas", f"has {len(lines)} lines; at most {MAX_QUOTAS}")]
    named = [line.get("chip_type") for line in lines]
    errors += [
        FieldError("quotas", f"names {name} twice")
        for name in sorted({str(n) for n in named if named.count(n) > 1})
    ]
    if errors:
        raise InvalidInput("The quotas cannot be set so.", errors=errors)


def _wrong_in(position: int, line: QuotaLine) -> list[FieldError]:
    where, errors = f"quotas.{position}", []
    if not _CHIP_TYPE.fullmatch(str(line.get("chip_type", ""))):
        errors.append(FieldError(f"{where}.chip_type", "is no chip type", "such as H100-80GB"))
    guaranteed, limit = line.get("guaranteed_milli", 0), line.get("limit_milli")
    if not _is_amount(guaranteed):
        errors.append(FieldError(f"{where}.guaranteed_milli", "must be a whole number of milli-chips from 0"))
    if limit is not None and not _is_amount(limit):
        errors.append(
            FieldError(f"{where}.limit_milli", "must be a whole number of milli-chips from 0, or null")
        )
    elif limit is not None and _is_amount(guaranteed) and limit < guaranteed:
        errors.append(FieldError(f"{where}.limit_milli", "must not be below guaranteed_milli"))
    weight = line.get("over_quota_weight", 1)
    if not _is_amount(weight) or weight > 1_000_000:
        errors.append(FieldError(f"{where}.over_quota_weight", "must be a whole number from 0 to 1000000"))
    return errors


def _is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_QUOTA_MILLI


def _check_promises(team: Team, lines: Sequence[QuotaLine], cell_id: int, *, divides: bool) -> None:
    """F1: children may not be promised more than the parent. A parent without a quota of the type bounds nothing that
    an operator promises; whoever divides what the parent has can promise nothing of it."""
    if team.parent_id is None:
        return
    promised = dict(
        Quota.objects.filter(team_id=team.parent_id, cell_id=cell_id).values_list(
            "chip_type", "guaranteed_milli"
        )
    )
    siblings = Quota.objects.filter(team__parent_id=team.parent_id, cell_id=cell_id).exclude(team=team)
    others = dict(siblings.values_list("chip_type").annotate(total=Sum("guaranteed_milli")))
    errors = []
    for position, line in enumerate(lines):
        name = line["chip_type"]
        total = others.get(name, 0) + line.get("guaranteed_milli", 0)
        has = promised.get(name, 0 if divides else total)
        if line.get("guaranteed_milli", 0) and total > has:
            message = f"would promise {total} milli-chips of {name}; the team above is promised {has}"
            errors.append(FieldError(f"quotas.{position}.guaranteed_milli", message))
    if errors:
        raise InvalidInput("The team above is not promised so much.", errors=errors)


def _as_facts(quotas: Iterable[Quota]) -> dict[str, object]:
    return {
        quota.chip_type: {
            "guaranteed_milli": quota.guaranteed_milli,
            "limit_milli": quota.limit_milli,
            "over_quota_weight": quota.over_quota_weight,
        }
        for quota in quotas
    }
