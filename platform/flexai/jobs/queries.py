"""Jobs as a principal may see them, filtered and ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q, QuerySet, Subquery

from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs.models import Attempt, Event, Job, JobName, JobSet, Schedule
from flexai.jobs.vocabulary import nearest
from flexai.tenancy.models import User
from flexai.tenancy.principals import Principal

STATUSES = (
    "held", "queued", "starting", "running", "stopping", "cancelling", "suspended", "succeeded", "failed",
    "cancelled", "timed_out", "unreachable",
)  # fmt: skip
LIVE = frozenset(STATUSES[:7]) | {"unreachable"}
"""Of jobs that are not over: few among all that there ever were."""
MAX_SEARCH = 200
"""Characters of a search."""
LEAST_PART = 3
"""A shorter search is for a whole name."""
MANY_NAMES = 1000
"""Names with a part of them, up to which a search asks for each by its index."""
ID_PREFIX = "job-"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list is narrowed to; empty narrows nothing."""

    statuses: Sequence[str] = ()
    team: str = ""
    """Name or public id."""
    user: str = ""
    name: str = ""
    """The whole name."""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Value None: any value."""
    set: str = ""
    schedule: str = ""
    """Public id of the schedule that made them."""
    search: str = ""
    """Part of the name, or the beginning of the id with its `job-`."""


def visible_jobs(principal: Principal) -> QuerySet[Job]:
    """The jobs of the teams that the principal sees."""
    jobs = Job.objects.filter(organization=principal.organization)
    if principal.sees_everything():
        return jobs
    return jobs.filter(team_id__in=[seat.pk for seat in principal.teams])


def job_named(principal: Principal, public_id: str) -> Job:
    """The job with what an answer shows of it. Raises NotFound when the principal sees none of this id."""
    related = ("team", "user", "set", "verdict")
    job = visible_jobs(principal).select_related(*related).filter(public_id=public_id).first()
    if job is None:
        raise NotFound(f"There is no job {public_id[:40]!r} that you can see.")
    return job


def version_of(principal: Principal, public_id: str) -> int | None:
    """Of the job; None when the principal sees none of this id."""
    return visible_jobs(principal).filter(public_id=public_id).values_list("version", flat=True).first()


def jobs_matching(principal: Principal, wanted: JobFilter) -> QuerySet[Job]:
    """The visible jobs that fit every part of the filter. Raises InvalidInput for a status that does not
    exist."""
    jobs = jobs_of_any_status(principal, wanted)
    return jobs.filter(status__in=list(wanted.statuses)) if wanted.statuses else jobs


def jobs_of_any_status(principal: Principal, wanted: JobFilter) -> QuerySet[Job]:
    """Those that fit every part but the status; none of these parts changes while a job lives. Raises as
    `jobs_matching`."""
    jobs = visible_jobs(principal)
    for status in wanted.statuses:
        if status not in STATUSES:
            error = FieldError(
                "status", f"there is no status {status[:40]!r}", nearest(status[:40], STATUSES)
            )
            raise InvalidInput(f"There is no status {status[:40]!r}.", errors=[error])
    if wanted.team:
        jobs = jobs.filter(team_id=principal.seat(wanted.team).pk)
    if wanted.user:
        jobs = jobs.filter(user_id=_one(User.objects.filter(username=wanted.user)))
    if wanted.name:
        jobs = jobs.filter(name=wanted.name)
    if wanted.set:
        jobs = jobs.filter(set_id=_one(JobSet.objects.filter(public_id=wanted.set)))
    if wanted.schedule:
        jobs = jobs.filter(schedule_id=_one(Schedule.objects.filter(public_id=wanted.schedule)))
    if wanted.labels:
        jobs = jobs.exclude(labels={})  # the index leaves those out
    for key, value in wanted.labels.items():
        jobs = (
            jobs.filter(labels__has_key=key) if value is None else jobs.filter(labels__contains={key: value})
        )
    if wanted.search:
        jobs = jobs.filter(_named_like(principal, wanted.search[:MAX_SEARCH]))
    return jobs


def _one(rows: QuerySet[Any]) -> Subquery:
    """The primary key, looked up first: a join would be planned as if it were any."""
    return Subquery(rows.values("pk")[:1])


def _named_like(principal: Principal, text: str) -> Q:
    """Names with this part of three characters and more, or the whole of a shorter one. Where many names have it so
    have many jobs, and they are met soon in any order."""
    if len(text) < LEAST_PART:
        return Q(name=text)
    known = JobName.objects.filter(organization=principal.organization, name__icontains=text)
    names = list(known.values_list("name", flat=True)[: MANY_NAMES + 1])
    found = Q(name__in=names) if len(names) <= MANY_NAMES else Q(name__icontains=text)
    return found | Q(public_id__startswith=text) if text.startswith(ID_PREFIX) else found


def counts_by_status(principal: Principal, wanted: JobFilter) -> dict[str, int]:
    """How many matching jobs have each status; a status without any is left out."""
    rows = jobs_matching(principal, wanted).order_by().values_list("status").annotate(number=Count("id"))
    return dict(rows)


def events_of(job: Job) -> QuerySet[Event]:
    """The job's history; order is by id."""
    return Event.objects.filter(job=job)


def attempt_of(job: Job, number: int | None) -> Attempt | None:
    """The attempt of this number, or the last; None when there has been none. Raises NotFound for another
    number."""
    attempts = Attempt.objects.filter(job=job)
    if number is None:
        return attempts.order_by("-number").first()
    attempt = attempts.filter(number=number).first()
    if attempt is None:
        raise NotFound(f"The job has no attempt {number}.")
    return attempt
