"""Schedules: specs of which jobs are made at the instants of a cron expression.

A schedule's row holds the next instant. Whoever makes its jobs holds the row under lock and moves that instant on in
the same transaction, and each job has the key (schedule, instant): none is lost or doubled, whatever is restarted when.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from flexai.common import clock
from flexai.common.errors import Conflict, FieldError, FlexaiError, InvalidInput, NotFound
from flexai.common.source import asked_from
from flexai.jobs import services, spec
from flexai.jobs.creation import Key
from flexai.jobs.models import Job, Schedule
from flexai.jobs.spec_schedule import CatchUp, Overlap, chosen_instants, next_instant, without_schedule
from flexai.tenancy import audit
from flexai.tenancy.principals import Principal, principal_in
from flexai.tenancy.roles import Action
from scheduler_core.lifecycle import FINAL_JOB_STATES

log = logging.getLogger(__name__)

MAX_SCHEDULES = 1000
"""Of one team."""
RUN_AT_ONCE = 200
"""Schedules of one tick; the next takes the next."""


def visible_schedules(principal: Principal) -> QuerySet[Schedule]:
    """The schedules of the teams that the principal sees."""
    found = Schedule.objects.filter(organization=principal.organization).select_related(
        "team", "user", "last_job"
    )
    if principal.sees_everything():
        return found
    return found.filter(team_id__in=[seat.pk for seat in principal.teams])


def schedule_named(principal: Principal, public_id: str) -> Schedule:
    """Raises NotFound when the principal sees none of this id."""
    found = visible_schedules(principal).filter(public_id=public_id).first()
    if found is None:
        raise NotFound(f"There is no schedule {public_id[:40]!r} that you can see.")
    return found


@transaction.atomic
def create_schedule(principal: Principal, raw: object) -> Schedule:
    """The schedule is active; its first job is made at the next instant.

    Raises as `submit` does for its jobs, InvalidInput without `schedule`, and Conflict when the team has a schedule of
    this name.
    """
    if not isinstance(raw, Mapping) or raw.get("schedule") is None:
        message = "is missing; a spec without it is submitted as a job"
        raise InvalidInput(f"`schedule` {message}.", errors=[FieldError("schedule", message)])
    when = spec.parse_schedule(raw)
    own = without_schedule(raw)
    prepared = services.prepare(principal, own)
    if prepared.effective["deadline"] is not None:
        message = "is one instant, and the jobs of a schedule have many"
        hint = "give a duration from each job's submit, such as 4h"
        raise InvalidInput(f"`deadline` {message}.", errors=[FieldError("deadline", message, hint)])
    if Schedule.objects.filter(team_id=prepared.team.pk).count() >= MAX_SCHEDULES:
        raise Conflict(
            f"The team {prepared.team.name} has {MAX_SCHEDULES} schedules, as many as a team may have."
        )
    try:
        with transaction.atomic():
            made = Schedule.objects.create(
                organization=principal.organization,
                team_id=prepared.team.pk,
                user=principal.user,
                name=prepared.effective["name"],
                spec=own,
                next_at=next_instant(when["cron"], when["timezone"], clock.now()),
                **when,
            )
    except IntegrityError:
        name = prepared.effective["name"]
        raise Conflict(
            f"The team {prepared.team.name} has a schedule {name!r} already; delete it first."
        ) from None
    _tell(principal, "schedule.created", made)
    return made


def pause_schedule(principal: Principal, schedule: Schedule) -> Schedule:
    """No job is made until it is resumed; what passes meanwhile is not caught up. Pausing twice changes nothing."""
    return _change(principal, schedule, "schedule.paused", paused=True)


def resume_schedule(principal: Principal, schedule: Schedule) -> Schedule:
    """Its next job is made at the next instant from now. Resuming twice changes nothing."""
    return _change(principal, schedule, "schedule.resumed", paused=False)


@transaction.atomic
def delete_schedule(principal: Principal, schedule: Schedule) -> None:
    """The schedule is gone; its jobs stay. Raises Forbidden."""
    locked = Schedule.objects.select_for_update(no_key=True).get(pk=schedule.pk)
    _require(principal, locked)
    _tell(principal, "schedule.deleted", locked)
    locked.delete()


def run_due(now: datetime) -> int:
    """Jobs exist for every instant that has come, by each schedule's own rules; how many schedules were due."""
    due = Schedule.objects.filter(paused=False, next_at__lte=now).order_by("next_at", "pk")
    ran = 0
    for pk in due.values_list("pk", flat=True)[:RUN_AT_ONCE]:
        try:
            ran += _run(pk, now)
        except Exception:  # one schedule must not keep the others, and the tick, from running
            log.exception("schedule %d made nothing and is tried again at the next tick", pk)
    return ran


@transaction.atomic
def _run(pk: int, now: datetime) -> int:
    """1 if the schedule was due and nobody else has it in hand."""
    due = Schedule.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    schedule = (
        due.filter(pk=pk, paused=False, next_at__lte=now)
        .select_related("team", "organization", "user")
        .first()
    )
    if schedule is None:
        return 0
    zone, cron = schedule.timezone, schedule.cron
    for instant in chosen_instants(cron, zone, CatchUp(schedule.catch_up), schedule.next_at, now):
        _make(schedule, instant)
    schedule.next_at = next_instant(cron, zone, now)
    schedule.version += 1
    schedule.save(update_fields=["next_at", "last_at", "last_job", "problem", "version"])
    return 1


def _make(schedule: Schedule, instant: datetime) -> None:
    """The instant's job exists, or the schedule says why not."""
    told = f"{instant:%Y-%m-%dT%H:%M:%SZ}"
    if schedule.overlap == Overlap.SKIP and _has_open_jobs(schedule):
        schedule.problem = f"Nothing was made for {told}: the job before has not ended."
        return
    key = f"schedule:{schedule.public_id}:{told}"
    given = {**schedule.spec, "team": schedule.team.name, "name": schedule.name}
    try:
        with transaction.atomic(), asked_from(schedule.public_id):
            principal = principal_in(schedule.organization, schedule.user)
            stored = Key(key, hashlib.sha256(key.encode()).hexdigest())
            made = services.submit_scheduled(principal, given, stored, schedule=schedule.pk, instant=told)
    except FlexaiError as error:
        log.warning("schedule %s: nothing was made for %s: %s", schedule.public_id, told, error.code)
        schedule.problem = f"Nothing was made for {told}: {error.detail}"[:1000]
        return
    schedule.last_at, schedule.last_job, schedule.problem = instant, made.jobs[0], ""


def _has_open_jobs(schedule: Schedule) -> bool:
    return Job.objects.filter(schedule=schedule).exclude(state__in=FINAL_JOB_STATES).exists()


@transaction.atomic
def _change(principal: Principal, schedule: Schedule, action: str, *, paused: bool) -> Schedule:
    locked = Schedule.objects.select_for_update(no_key=True).get(pk=schedule.pk)
    _require(principal, locked)
    if locked.paused != paused:
        locked.paused, locked.version = paused, locked.version + 1
        if not paused:
            locked.next_at = next_instant(locked.cron, locked.timezone, clock.now() - timedelta(seconds=1))
        locked.save(update_fields=["paused", "next_at", "version"])
        _tell(principal, action, locked)
    return schedule_named(principal, locked.public_id)


def may_change(principal: Principal, schedule: Schedule) -> bool:
    """Whether the principal may pause, resume and delete it."""
    return principal.may(_needed(principal, schedule), schedule.team_id)


def _require(principal: Principal, schedule: Schedule) -> None:
    principal.require(_needed(principal, schedule), schedule.team_id)


def _needed(principal: Principal, schedule: Schedule) -> Action:
    return Action.STEER_OWN if schedule.user_id == principal.user.pk else Action.STEER_ANY


def _tell(principal: Principal, action: str, schedule: Schedule) -> None:
    after = {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "paused": schedule.paused,
    }
    audit.record(principal, action, schedule, after=after)
