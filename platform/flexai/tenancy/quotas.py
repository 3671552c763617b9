"""What teams are promised of each chip type and may use at most (F1, F2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypedDict

from django.db import transaction
from django.db.models import F, Q

from flexai.common.errors import Conflict, FieldError, InvalidInput
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy import audit
from flexai.tenancy.models import AuditEntry, Quota, Team
from flexai.tenancy.principals import Principal
from flexai.tenancy.roles import Action
from flexai.tenancy.services import DEFAULT_CELL

MAX_QUOTA_MILLI = 10**12
MAX_QUOTAS = 200
_CHIP_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,63}")


class QuotaLine(TypedDict, total=False):
    """What a team gets of one chip type, in milli-chips; `limit_milli` None is no limit."""

    chip_type: str
    guaranteed_milli: int
    limit_milli: int | None
    over_quota_weight: int


Tree = Mapping[int, Sequence[QuotaLine]]
"""All lines of each team that is named, by the team's primary key."""


def set_quotas(
    principal: Principal, team: Team, quotas: Iterable[QuotaLine], *, cell_id: int = DEFAULT_CELL
) -> list[Quota]:
    """These are the team's quotas in the cell afterwards, and no others; recorded with what was before.

    What an organization gets of the cluster, the quotas of the teams at its top, operators say; its owners divide it
    among the teams below, and what was given to nobody above is theirs to promise to nobody. Running work stays when a
    quota shrinks (F4). Raises NotFound or Forbidden, and InvalidInput naming every wrong line.
    """
    set_quota_tree(principal, {team.pk: list(quotas)}, cell_id=cell_id)
    return list(Quota.objects.filter(team=team, cell_id=cell_id).order_by("chip_type"))


@transaction.atomic
def set_quota_tree(
    principal: Principal,
    tree: Tree,
    *,
    cell_id: int = DEFAULT_CELL,
    versions: Mapping[int, int] | None = None,
) -> None:
    """Every team named has these quotas in the cell, and no others; all of them, or on an error none.

    The promises of F1 hold for the tree as it is afterwards, so one call moves a quota between two teams. `versions`
    are the teams' as the caller saw them. Raises what `set_quotas` raises, and Conflict where a team has changed.
    """
    above = _above(tree)
    for pk in tree:
        principal.require(right_to_set(above.get(pk)), pk)
    divided = {
        pk: parent for pk, parent in above.items() if parent and not principal.may(Action.SET_TOP_QUOTAS, pk)
    }
    for change in _set(tree, above, cell_id, versions=versions or {}, divided=divided):
        audit.record(principal, "team.quotas_set", change.team, before=change.before, after=change.after)


def right_to_set(above: int | None) -> Action:
    """What whoever sets the quotas of a team has to be allowed, by the team above it."""
    return Action.SET_QUOTAS if above else Action.SET_TOP_QUOTAS


@transaction.atomic
def set_quota_line(
    principal: Principal, team: Team, line: QuotaLine, *, cell_id: int = DEFAULT_CELL
) -> QuotaLine | None:
    """The team has this line in the cell afterwards, and its lines of other types as they are. What it had of the type
    before; None for no line. Raises what `set_quota_tree` raises."""
    hold_quotas(team)
    tree, before = tree_with(team, line["chip_type"], line, cell_id=cell_id)
    set_quota_tree(principal, tree, cell_id=cell_id)
    return before


@transaction.atomic
def give_back_line(team: Team, chip_type: str, line: QuotaLine | None, *, cell_id: int) -> None:
    """The same done by the platform itself, for a quota that was given for a time; None removes the line. Recorded so.
    Raises InvalidInput where the teams below are promised more."""
    hold_quotas(team)
    tree, _ = tree_with(team, chip_type, line, cell_id=cell_id)
    for change in _set(tree, _above(tree), cell_id):
        AuditEntry.objects.create(
            organization_id=team.organization_id, actor_kind="platform", actor="quota", action="team.quotas_set",
            object_kind="team", object_id=team.public_id, before=change.before, after=change.after,
        )  # fmt: skip


def line_of(team: Team, chip_type: str, cell_id: int) -> QuotaLine | None:
    """What the team has of the type in the cell."""
    return _lines(team.pk, cell_id).get(chip_type)


def tree_with(
    team: Team, chip_type: str, line: QuotaLine | None, *, cell_id: int
) -> tuple[Tree, QuotaLine | None]:
    """All lines of the team with this one of the type, None for none; and the one it has. Nothing is written."""
    lines = _lines(team.pk, cell_id)
    has = lines.pop(chip_type, None)
    return {team.pk: [*lines.values(), *([line] if line is not None else [])]}, has


def hold_quotas(team: Team) -> None:
    """Nobody else changes the team's quotas, or what is promised beside it, until this transaction ends."""
    _locked({pk for pk in (team.pk, team.parent_id) if pk is not None})


@dataclass(frozen=True, slots=True)
class _Change:
    team: Team
    before: dict[str, object]
    after: dict[str, object]


def _set(
    tree: Tree,
    above: Mapping[int, int | None],
    cell_id: int,
    *,
    versions: Mapping[int, int] = MappingProxyType({}),
    divided: Mapping[int, int] = MappingProxyType({}),
) -> list[_Change]:
    """The tree is written, if F1 holds; announced, and left to the caller to record. `divided` are the teams whose
    quotas come out of what the one above was given."""
    for lines in tree.values():
        check_lines(lines)
    teams = _locked({*tree, *(pk for pk in above.values() if pk is not None)})
    for pk, version in versions.items():
        if pk in tree and teams[pk].version != version:
            raise Conflict(f"Team {teams[pk].name} was changed meanwhile: look at it again.")
    before = {pk: _as_facts(pk, cell_id) for pk in tree}
    for pk, lines in tree.items():
        _write(pk, lines, cell_id)
    errors = _overpromised(tree, cell_id)
    errors += _never_given({pk: tree[pk] for pk in divided}, divided, cell_id)
    if errors:
        raise InvalidInput("The team above is not promised so much.", errors=errors)
    names = [(teams[pk].public_id, teams[pk].version + 1) for pk in tree]
    publish_on_commit(hints=[Hint("team", name, version, name) for name, version in names], cell=cell_id)
    return [_Change(teams[pk], before[pk], _as_facts(pk, cell_id)) for pk in tree]


def _above(tree: Tree) -> dict[int, int | None]:
    return dict(Team.objects.filter(pk__in=tree).values_list("pk", "parent_id"))


def _lines(team_pk: int, cell_id: int) -> dict[str, QuotaLine]:
    rows = Quota.objects.filter(team=team_pk, cell_id=cell_id).order_by("chip_type")
    return {row.chip_type: as_line(row) for row in rows}


def as_line(quota: Quota) -> QuotaLine:
    """The row, as it is set."""
    return {
        "chip_type": quota.chip_type,
        "guaranteed_milli": quota.guaranteed_milli,
        "limit_milli": quota.limit_milli,
        "over_quota_weight": quota.over_quota_weight,
    }


def check_lines(lines: Sequence[QuotaLine]) -> None:
    """Raises InvalidInput naming every line that is wrong by itself."""
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


def _locked(pks: Iterable[int]) -> dict[int, Team]:
    """Nobody else changes these teams now. Those above are among them: there promises to siblings are counted."""
    return {team.pk: team for team in Team.objects.select_for_update().filter(pk__in=pks).order_by("pk")}


def _write(team_pk: int, lines: Sequence[QuotaLine], cell_id: int) -> None:
    kept = [line["chip_type"] for line in lines]
    Quota.objects.filter(team_id=team_pk, cell_id=cell_id).exclude(chip_type__in=kept).delete()
    for line in lines:
        Quota.objects.update_or_create(
            team_id=team_pk, cell_id=cell_id, chip_type=line["chip_type"], defaults=_amounts(line)
        )
    Team.objects.filter(pk=team_pk).update(version=F("version") + 1)


def _amounts(line: QuotaLine) -> dict[str, int | None]:
    return {
        "guaranteed_milli": line.get("guaranteed_milli", 0),
        "limit_milli": line.get("limit_milli"),
        "over_quota_weight": line.get("over_quota_weight", 1),
    }


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


def _overpromised(tree: Tree, cell_id: int) -> list[FieldError]:
    """F1: children may not be promised more than the parent, whichever of them was changed. A parent without a quota
    of the type bounds nothing that an operator promises."""
    families = Q(team__in=tree) | Q(team__children__in=tree)
    promised = Quota.objects.filter(families, cell_id=cell_id).select_related("team").distinct()
    errors = []
    for quota in promised.order_by("team_id", "chip_type"):
        children = Quota.objects.filter(
            team__parent_id=quota.team_id, cell_id=cell_id, chip_type=quota.chip_type
        )
        amounts = dict(children.values_list("team_id", "guaranteed_milli"))
        total = sum(amounts.values())
        if total > quota.guaranteed_milli:
            message = (
                f"would promise {total} milli-chips of {quota.chip_type} below team {quota.team.name}, which is "
                f"promised {quota.guaranteed_milli}"
            )
            concerned = [pk for pk in tree if pk in amounts or pk == quota.team_id]
            errors += [FieldError(_field(tree, pk, quota.chip_type), message) for pk in concerned]
    return errors


def _never_given(tree: Tree, above: Mapping[int, int], cell_id: int) -> list[FieldError]:
    """Whoever divides what a parent has can promise nothing of a type of which it has no quota."""
    rows = Quota.objects.filter(team__in=above.values(), cell_id=cell_id).values_list("team_id", "chip_type")
    given = set(rows)
    return [
        FieldError(
            f"quotas.{place}.guaranteed_milli",
            f"would promise {line['guaranteed_milli']} milli-chips of {line['chip_type']}; "
            "the team above is promised 0",
        )
        for pk, lines in tree.items()
        for place, line in enumerate(lines)
        if line.get("guaranteed_milli", 0) and (above[pk], line["chip_type"]) not in given
    ]


def _field(tree: Tree, team_pk: int, chip_type: str) -> str:
    """Where the amount stands in what was given."""
    place = next(n for n, line in enumerate(tree[team_pk]) if line["chip_type"] == chip_type)
    return f"quotas.{place}.guaranteed_milli"


def _as_facts(team_pk: int, cell_id: int) -> dict[str, object]:
    lines = _lines(team_pk, cell_id)
    return {
        name: {key: value for key, value in line.items() if key != "chip_type"}
        for name, line in lines.items()
    }
