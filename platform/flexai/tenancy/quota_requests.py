"""A team asks for more quota, or for more budget; whoever may set it decides (F1).

A request is for one chip type in one cell, or for the team's budget (`askable`), in whole figures: what the team would
have, not how much more. What is approved for a time goes back to what it was before by itself, unless somebody set it
otherwise meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, InvalidInput, NotFound
from flexai.common.events import Hint, publish_on_commit
from flexai.tenancy import audit
from flexai.tenancy.askable import Asked, BudgetAsked, Figures, QuotaAsked, asked_by
from flexai.tenancy.models import AuditEntry, QuotaRequest, Team, User
from flexai.tenancy.principals import Principal, visible_teams
from flexai.tenancy.quotas import hold_quotas
from flexai.tenancy.roles import Action

State = QuotaRequest.State
MAX_OPEN: Final = 10
"""Requests of one team that wait for an answer: more than anybody reads."""
MAX_REASON: Final = 1000
AHEAD: Final = timedelta(days=366)
"""How far ahead a grant may end."""
ENDED_AT_ONCE: Final = 200
"""Grants that one run gives back; the next goes on."""


def visible_requests(principal: Principal) -> QuerySet[QuotaRequest]:
    """Those of the teams that the principal sees."""
    return QuotaRequest.objects.filter(team__in=visible_teams(principal))


@transaction.atomic
def ask(
    principal: Principal, team: Team, given: Mapping[str, Any], *, cell_id: int, today: date
) -> QuotaRequest:
    """The team asks for this, recorded. Keys: kind (quota where it is left out, budget), reason, until (a day), for a
    quota chip_type, and of the kind's figures (`askable`) those that are to change; the cell is a quota's.

    Raises NotFound or Forbidden (maintainers and owners ask), InvalidInput naming every wrong key, and for what is no
    more than the team has, and Conflict when it is asked for already or too many requests are open.
    """
    principal.require(Action.ASK_QUOTA, team.pk)
    locked = Team.objects.select_for_update().get(pk=team.pk)
    asked, reason = _asked_in(given, locked, cell_id), _reason_in(given.get("reason"), "reason")
    has = asked.has()
    wanted = asked.wanted(given, has)
    asked.check_more(wanted, has)
    until = _until(given.get("until"), today)
    _check_room(locked, asked)
    made = QuotaRequest.objects.create(
        organization_id=locked.organization_id, team=locked, asked=wanted, until=until, reason=reason,
        asked_by=principal.user, asked_at=clock.now(), **_columns(asked),
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
    """The team has what it asked for, or the other figures given here, from now on. Whoever may set them.

    What the team above is promised counts as it is now (F1). Raises NotFound, Forbidden, InvalidInput where a figure is
    wrong, breaks F1, or gives the team no more than it has, and Conflict when somebody decided it before.
    """
    request = _held(principal, public_id)
    asked = asked_by(request)
    principal.require(asked.right(), request.team_id)
    _check_open(request)
    answer = _reason_in(answer, "answer", needed=False)
    figures = asked.wanted(given, request.asked)
    has = asked.set_to(principal, figures)
    asked.check_more(figures, has)
    request.granted, request.before = dict(figures), _before(request, has)
    return _decided(principal, request, State.APPROVED, answer)


@transaction.atomic
def decline(principal: Principal, public_id: str, reason: object) -> QuotaRequest:
    """It stays as it is, and why. Whoever could approve it. Raises NotFound, Forbidden, InvalidInput without a reason,
    Conflict."""
    request = _held(principal, public_id)
    principal.require(asked_by(request).right(), request.team_id)
    _check_open(request)
    return _decided(principal, request, State.DECLINED, _reason_in(reason, "reason"))


def may_withdraw(principal: Principal, request: QuotaRequest) -> bool:
    """Whether it is theirs to take back."""
    return request.asked_by_id == principal.user.pk or principal.may(Action.ASK_QUOTA, request.team_id)


def may_decide(principal: Principal, request: QuotaRequest) -> bool:
    """Whether the answer is theirs to give."""
    return principal.may(asked_by(request).right(), request.team_id)


def over(today: date) -> list[int]:
    """Primary keys of what was granted for a time that is over, the earliest first, at most `ENDED_AT_ONCE`."""
    due = QuotaRequest.objects.filter(state=State.APPROVED, until__lt=today).order_by("until", "pk")
    return list(due.values_list("pk", flat=True)[:ENDED_AT_ONCE])


@transaction.atomic
def end(pk: int, today: date) -> QuotaRequest | None:
    """What was granted is given back and the request has ended; None where another process has ended it, or where it
    cannot be given back and says why. Safe to run at any time, by any number of processes."""
    hold_quotas(Team.objects.get(quota_requests=pk))
    rows = QuotaRequest.objects.select_for_update(of=("self",)).select_related("team")
    request = rows.filter(pk=pk, state=State.APPROVED, until__lt=today).first()
    if request is None:
        return None
    asked = asked_by(request)
    if asked.has() != request.granted:
        _close(request, f"The {request.kind} was set otherwise meanwhile, and stays.")
        return request
    try:
        with transaction.atomic():
            asked.give_back(request.before)
    except InvalidInput as error:
        said = "; ".join(wrong.message for wrong in error.errors)
        QuotaRequest.objects.filter(pk=pk).update(note=f"Is over and cannot be given back: it {said}.")
        return None
    _close(request, "Given back when its time was over.")
    return request


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


def _before(request: QuotaRequest, has: Figures | None) -> Figures | None:
    """What the team has again one day: where it has more for a time now, what it had before that. The new grant takes
    the place of the old one."""
    running = QuotaRequest.objects.select_for_update().filter(
        team=request.team, state=State.APPROVED, until__isnull=False, **_columns(asked_by(request))
    )
    before = has
    for old in running.order_by("-decided_at", "-pk"):
        if old.granted == before:
            before = old.before
        _close(old, f"{request.public_id} took its place.")
    return before


def _asked_in(given: Mapping[str, Any], team: Team, cell_id: int) -> Asked:
    """What it is for. A chip type that is none, the figures' check names."""
    kind, named = given.get("kind", QuotaRequest.Kind.QUOTA), given.get("chip_type")
    if kind == QuotaRequest.Kind.QUOTA:
        return QuotaAsked(team, cell_id, named if isinstance(named, str) and named.isprintable() else "")
    if kind != QuotaRequest.Kind.BUDGET:
        raise InvalidInput(
            "`kind` must be quota or budget.", errors=[FieldError("kind", "must be quota or budget")]
        )
    wrong = [name for name in ("chip_type", "cell") if given.get(name) is not None]
    if wrong:
        errors = [
            FieldError(name, "is for a quota: a budget counts every type in every cell") for name in wrong
        ]
        raise InvalidInput("A budget is of no chip type and no cell.", errors=errors)
    return BudgetAsked(team)


def _columns(asked: Asked) -> dict[str, Any]:
    if isinstance(asked, BudgetAsked):
        return {"kind": QuotaRequest.Kind.BUDGET, "cell_id": None, "chip_type": ""}
    return {"kind": QuotaRequest.Kind.QUOTA, "cell_id": asked.cell_id, "chip_type": asked.chip_type}


def _check_room(team: Team, asked: Asked) -> None:
    """Raises Conflict where the same is asked for already, or too much is."""
    open_ones = QuotaRequest.objects.filter(team=team, state=State.OPEN)
    if same := open_ones.filter(**_columns(asked)).first():
        raise Conflict(
            f"{same.public_id} asks for {asked} for team {team.name} already: withdraw it to ask otherwise."
        )
    if open_ones.count() >= MAX_OPEN:
        raise Conflict(f"Team {team.name} has {MAX_OPEN} open requests: withdraw one, or wait for an answer.")


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
