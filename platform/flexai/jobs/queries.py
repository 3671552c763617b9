"""Jobs as a principal may see them, filtered and ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Q, QuerySet

from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs.models import Attempt, Event, Job
from flexai.jobs.vocabulary import nearest
from flexai.tenancy.principals import Principal

STATUSES = (
    "held", "queued", "starting", "running", "stopping", "cancelling", "suspended", "succeeded", "failed",
    "cancelled", "timed_out", "unreachable",
)  # fmt: skip
MAX_SEARCH = 200
"""Characters of a search."""


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
    """Part of the name, or the beginning of the id."""


def visible_jobs(principal: Principal) -> QuerySet[Job]:
    """The jobs of the teams that the principal sees."""
    jobs = Job.objects.filter(organization=principal.organization)
    if principal.sees_everything():
        return jobs
    return jobs.filter(team_id__in=[seat.pk for seat in principal.teams])


def job_named(principal: Principal, public_id: str) -> Job:
    """The job with what an answer shows of it. Raises NotFound when the principal sees none of this id."""
    job = with_relations(visible_jobs(principal)).filter(public_id=public_id).first()
    if job is None:
        raise NotFound(f"There is no job {public_id[:40]!r} that you can see.")
    return job


def with_relations(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """The rows with team, user, set and verdict, in the same statement."""
    return jobs.select_related("team", "user", "set", "verdict")


def jobs_matching(principal: Principal, wanted: JobFilter) -> QuerySet[Job]:
    """The visible jobs that fit every part of the filter. Raises InvalidInput for a status that does not
    exist."""
    jobs = visible_jobs(principal)
    for status in wanted.statuses:
        if status not in STATUSES:
            error = FieldError(
                "status", f"there is no status {status[:40]!r}", nearest(status[:40], STATUSES)
            )
            raise InvalidInput(f"There is no status {status[:40]!r}.", errors=[error])
    if wanted.statuses:
        jobs = jobs.filter(status__in=list(wanted.statuses))
    if wanted.team:
        jobs = jobs.filter(team_id=principal.seat(wanted.team).pk)
    if wanted.user:
        jobs = jobs.filter(user__username=wanted.user)
    if wanted.name:
        jobs = jobs.filter(name=wanted.name)
    if wanted.set:
        jobs = jobs.filter(set__public_id=wanted.set)
    if wanted.schedule:
        jobs = jobs.filter(schedule__public_id=wanted.schedule)
    for key, value in wanted.labels.items():
        jobs = (
            jobs.filter(labels__has_key=key) if value is None else jobs.filter(labels__contains={key: value})
        )
    if wanted.search:
        text = wanted.search[:MAX_SEARCH]
        jobs = jobs.filter(Q(name__icontains=text) | Q(public_id__startswith=text))
    return jobs


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
