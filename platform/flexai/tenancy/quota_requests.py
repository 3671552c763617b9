"""A team asks for more quota; whoever may set the team's quotas decides (F1).

A request is for one chip type in one cell, in whole figures: what the team would have, not how much more. What is
approved for a time goes back to what it was before by itself, unless somebody set it otherwise meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, InvalidInput, NotFound
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy import audit
from flexai.tenancy.models import AuditEntry, QuotaRequest, Team, User
from flexai.tenancy.principals import Principal, visible_teams
from flexai.tenancy.quotas import (
    QuotaLine,
    check_lines,
    give_back_line,
    hold_quotas,
    line_of,
    right_to_set,
    set_quota_line,
)
from flexai.tenancy.roles import Action

State = QuotaRequest.State
MAX_OPEN: Final = 10
"""Requests of one team that wait for an answer: more than anybody reads."""
MAX_REASON: Final = 1000
AHEAD: Final = timedelta(days=366)
"""How far ahead a grant may end."""
FIGURES: Final = ("guaranteed_milli", "limit_milli", "over_quota_weight")
ENDED_AT_ONCE: Final = 200
"""Grants that one run gives back; the next goes on."""


def visible_requests(principal: Principal) -> QuerySet[QuotaRequest]:
    """Those of the teams that the principal sees."""
    return QuotaRequest.objects.filter(team__in=visible_teams(principal))


@transaction.atomic
def ask(
    principal: Principal, team: Team, given: Mapping[str, Any], *, cell_id: int, today: date
) -> QuotaRequest:
    """The team asks for this, recorded. Keys: chip_type, reason, until (a day), and of `FIGURES` those that are to
    change; a limit that is left out stays, or is the guarantee where that is higher.

    Raises NotFound or Forbidden (maintainers and owners ask), InvalidInput naming every wrong key, and for what is no
    more than the team has, and Conflict when the type is asked for already or too many requests are open.
    """
    principal.require(Action.ASK_QUOTA, team.pk)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    named, reason = given.get("chip_type"), _reason_in(given.get("reason"), "reason")
    chip_type = named if isinstance(named, str) and named.isprintable() else ""
    has = line_of(locked, chip_type, cell_id)
    wanted = _line(given, chip_type, has)
    if not _is_more(wanted, has):
        raise _no_more(locked, wanted, has)
    until = _until(given.get("until"), today)
    open_ones = QuotaRequest.objects.filter(team=locked, state=State.OPEN)
    if same := open_ones.filter(cell_id=cell_id, chip_type=chip_type).first():
        raise Conflict(
            f"{same.public_id} asks for {chip_type} for team {locked.name} already: withdraw it to ask otherwise."
        )
    if open_ones.count() >= MAX_OPEN:
        raise Conflict(
            f"Team {locked.name} has {MAX_OPEN} open requests: withdraw one, or wait for an answer."
        )
    made = QuotaRequest.objects.create(
        organization_id=locked.organization_id, team=locked, cell_id=cell_id, chip_type=chip_type, asked=wanted,
        until=until, reason=reason, asked_by=principal.user, asked_at=clock.now(),
    )  # fmt: skip
    _tell(principal, made, "made", reason=reason, after={**wanted, "until": _day(until)})
    return made


@transaction.atomic
def withdraw(principal: Principal, public_id: str) -> QuotaRequest:
    """Nobody decides it any more. Its asker, and whoever may ask for the team. Raises NotFound, Forbidden, Conflict."""
    request = _held(principal, public_id)
    if not may_withdraw(principal, request):
        principal.require(Action.ASK_QUOTA, request.team_id)
    _check_open(request)
    return _decided(principal, request, State.WITHDRAWN)


@transaction.atomic
def approve(
    principal: Principal, public_id: str, given: Mapping[str, Any], *, answer: str = ""
) -> QuotaRequest:
    """The team has what it asked for, or the other figures given here, from now on. Whoever may set its quotas.

    What the team above is promised counts as it is now (F1). Raises NotFound, Forbidden, InvalidInput where a figure is
    wrong, breaks F1, or gives the team no more than it has, and Conflict when somebody decided it before.
    """
    request = _held(principal, public_id)
    principal.require(right_to_set(request.team.parent_id), request.team_id)
    _check_open(request)
    answer = _reason_in(answer, "answer", needed=False)
    line = _line(given, request.chip_type, request.asked)
    try:
        has = set_quota_line(principal, request.team, line, cell_id=request.cell_id)
    except InvalidInput as error:
        errors = [replace(wrong, field=wrong.field.rpartition(".")[2]) for wrong in error.errors]
        raise InvalidInput(error.detail, errors=errors) from None
    if not _is_more(line, has):
        raise _no_more(request.team, line, has)
    request.granted, request.before = dict(line), _before(request, has)
    return _decided(principal, request, State.APPROVED, answer)


@transaction.atomic
def decline(principal: Principal, public_id: str, reason: object) -> QuotaRequest:
    """It stays as it is, and why. Whoever may set the team's quotas. Raises NotFound, Forbidden, InvalidInput without a
    reason, Conflict."""
    request = _held(principal, public_id)
    principal.require(right_to_set(request.team.parent_id), request.team_id)
    _check_open(request)
    return _decided(principal, request, State.DECLINED, _reason_in(reason, "reason"))


def may_withdraw(principal: Principal, request: QuotaRequest) -> bool:
    """Whether it is theirs to take back."""
    return request.asked_by_id == principal.user.pk or principal.may(Action.ASK_QUOTA, request.team_id)


def may_decide(principal: Principal, request: QuotaRequest) -> bool:
    """Whether the answer is theirs to give."""
    return principal.may(right_to_set(request.team.parent_id), request.team_id)


def end_due(today: date) -> int:
    """What was granted for a time that is over is given back, or it is said why not; how many ended. Safe to run at any
    time, by any number of processes."""
    due = QuotaRequest.objects.filter(state=State.APPROVED, until__lt=today).order_by("until", "pk")
    return sum(_end(pk, today) for pk in due.values_list("pk", flat=True)[:ENDED_AT_ONCE])


@transaction.atomic
def _end(pk: int, today: date) -> bool:
    hold_quotas(Team.objects.get(quota_requests=pk))
    rows = QuotaRequest.objects.select_for_update(of=("self",)).select_related("team")
    request = rows.filter(pk=pk, state=State.APPROVED, until__lt=today).first()
    if request is None:
        return False
    if line_of(request.team, request.chip_type, request.cell_id) != request.granted:
        _close(request, "The quota was set otherwise meanwhile, and stays.")
        return True
    try:
        with transaction.atomic():
            give_back_line(request.team, request.chip_type, request.before, cell_id=request.cell_id)
    except InvalidInput as error:
        said = "; ".join(wrong.message for wrong in error.errors)
        QuotaRequest.objects.filter(pk=pk).update(note=f"Is over and cannot be given back: it {said}.")
        return False
    _close(request, "Given back when its time was over.")
    return True


def _close(request: QuotaRequest, note: str) -> None:
    request.state, request.note = State.ENDED, note
    request.save(update_fields=["state", "note"])
    AuditEntry.objects.create(
        organization_id=request.organization_id, actor_kind="platform", actor="quota", action="quota_request.ended",
        object_kind="quotarequest", object_id=request.public_id, reason=note,
    )  # fmt: skip
    _announce(request)


def _held(principal: Principal, public_id: str) -> QuotaRequest:
    """The request, which nobody else decides now."""
    rows = visible_requests(principal).select_for_update(of=("self",)).select_related("team__organization")
    request = rows.filter(public_id=public_id).first()
    if request is None:
        raise NotFound("There is no such request for quota among those you see.")
    return request


def _check_open(request: QuotaRequest) -> None:
    if request.state != State.OPEN:
        by = f" by {request.decided_by.username}" if isinstance(request.decided_by, User) else ""
        raise Conflict(f"{request.public_id} was {request.state}{by} already.")


def _decided(principal: Principal, request: QuotaRequest, state: str, answer: str = "") -> QuotaRequest:
    request.state, request.answer = state, answer
    request.decided_by, request.decided_at = principal.user, clock.now()
    request.save()
    _tell(principal, request, state, reason=answer, after=request.granted, before=request.before)
    return request


def _tell(
    principal: Principal,
    request: QuotaRequest,
    what: str,
    *,
    reason: str,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit.record(principal, f"quota_request.{what}", request, before=before, after=after, reason=reason)
    _announce(request)


def _announce(request: QuotaRequest) -> None:
    team = request.team
    publish_on_commit(hints=[Hint("team", team.public_id, team.version, team.public_id)])


def _before(request: QuotaRequest, has: QuotaLine | None) -> QuotaLine | None:
    """What the team has again one day: where it has more for a time now, what it had before that. The new grant takes
    the place of the old one."""
    running = QuotaRequest.objects.select_for_update().filter(
        team=request.team, cell_id=request.cell_id, chip_type=request.chip_type, state=State.APPROVED,
        until__isnull=False,
    )  # fmt: skip
    before = has
    for old in running.order_by("-decided_at", "-pk"):
        if old.granted == before:
            before = old.before
        _close(old, f"{request.public_id} took its place.")
    return before


def _line(given: Mapping[str, Any], chip_type: str, base: Mapping[str, Any] | None) -> QuotaLine:
    """The base with the figures given. Raises InvalidInput naming every wrong one."""
    known: dict[str, Any] = {"guaranteed_milli": 0, "limit_milli": None, "over_quota_weight": 1}
    known |= {name: value for name, value in (base or {}).items() if name in FIGURES}
    known |= {name: given[name] for name in FIGURES if name in given}
    guaranteed, limit = known["guaranteed_milli"], known["limit_milli"]
    if "limit_milli" not in given and isinstance(guaranteed, int) and limit is not None:
        known["limit_milli"] = max(limit, guaranteed)
    line: QuotaLine = {"chip_type": chip_type, **known}  # type: ignore[typeddict-item]
    try:
        check_lines([line])
    except InvalidInput as error:
        errors = [replace(wrong, field=wrong.field.rpartition(".")[2]) for wrong in error.errors]
        raise InvalidInput("These are no figures of a quota.", errors=errors) from None
    return line


def _is_more(line: QuotaLine, has: Mapping[str, Any] | None) -> bool:
    """Whether any figure is more than the team has. No line promises nothing and bounds nothing."""
    now = has or {"guaranteed_milli": 0, "limit_milli": None, "over_quota_weight": 1}
    had, limit = now["limit_milli"], line["limit_milli"]
    return (
        line["guaranteed_milli"] > now["guaranteed_milli"]
        or (had is not None and (limit is None or limit > had))
        or line["over_quota_weight"] > now["over_quota_weight"]
    )


def _no_more(team: Team, line: QuotaLine, has: Mapping[str, Any] | None) -> InvalidInput:
    now = has or {"guaranteed_milli": 0, "limit_milli": None, "over_quota_weight": 1}
    limit = "no limit" if now["limit_milli"] is None else f"a limit of {now['limit_milli']}"
    message = (
        f"is no more than team {team.name} has of {line['chip_type']}: {now['guaranteed_milli']} milli-chips "
        f"guaranteed, {limit}, weight {now['over_quota_weight']}"
    )
    return InvalidInput(f"This {message}.", errors=[FieldError("guaranteed_milli", message)])


def _reason_in(given: object, field: str, *, needed: bool = True) -> str:
    if isinstance(given, str) and len(given) <= MAX_REASON and given.replace("\n", " ").isprintable():
        text = given.strip()
        if text or not needed:
            return text
    message = f"must be text of {1 if needed else 0} to {MAX_REASON} printable characters"
    raise InvalidInput(f"`{field}` {message}.", errors=[FieldError(field, message)])


def _until(given: object, today: date) -> date | None:
    if given is None:
        return None
    try:
        day = date.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        day, message = today, "must be a day such as 2026-03-31"
    else:
        message = "is over" if day < today else f"lies more than {AHEAD.days} days ahead"
        if today <= day <= today + AHEAD:
            return day
    raise InvalidInput(f"`until` {message}.", errors=[FieldError("until", message)])


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
