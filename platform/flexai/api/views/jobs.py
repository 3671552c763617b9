"""Jobs: submit, list, look at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api import waiting
from flexai.api.pagination import OneOf, Order, keys_of, order_from
from flexai.api.renderers import JSONParser, YAMLParser
from flexai.api.schemas import jobs as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, answers, public_id
from flexai.api.schemas.spec import SPEC_EXAMPLES, JobSpecSerializer
from flexai.api.views.base import View, body_of, only_known, principal_of
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput, NeverFits
from flexai.jobs import presenting, queries, services
from flexai.jobs.listing import row_of
from flexai.jobs.models import Job
from flexai.jobs.sizing import advice_of
from flexai.jobs.spec import MAX_SPEC_BYTES
from flexai.scheduling.alternatives import Alternative, foretell, instead_of
from flexai.scheduling.outlook import Cost, Outlook
from flexai.tenancy.principals import Principal

ORDERS = {
    "submitted_at": Order("id"),
    "name": Order("name"),
    "priority": Order("priority"),
    "status": Order("status"),
    "started_at": Order("started_at", nullable=True, is_instant=True),
    "ended_at": Order("ended_at", nullable=True, is_instant=True),
}
MAX_BATCH_BYTES = 32 * 1024 * 1024
MAX_LABELS = 10

_FILTERS = [
    OpenApiParameter("status", OpenApiTypes.STR, description="Status words, with commas between."),
    OpenApiParameter("team", OpenApiTypes.STR, description="Name or id."),
    OpenApiParameter("user", OpenApiTypes.STR),
    OpenApiParameter("name", OpenApiTypes.STR, description="The whole name."),
    OpenApiParameter(
        "label", OpenApiTypes.STR, many=True, description="`key:value`, or `key` for any value."
    ),
    OpenApiParameter("set", OpenApiTypes.STR, description="Id of an array's set."),
    OpenApiParameter("schedule", OpenApiTypes.STR, description="Id of the schedule that made them."),
    OpenApiParameter(
        "q",
        OpenApiTypes.STR,
        description="Part of the name, of three characters and more (the whole of a shorter one), or the "
        "beginning of the id with its `job-`.",
    ),
]
_SORT = OpenApiParameter(
    "sort",
    OpenApiTypes.STR,
    description=f"{', '.join(ORDERS)}; - before it for descending. -submitted_at if left out.",
)
_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The same key with the same body makes nothing twice; with another body it is refused (409).",
)
_SUBMIT = [
    _KEY,
    OpenApiParameter(
        "dry_run", OpenApiTypes.INT, description="1: say what would become of it, submit nothing."
    ),
]


class JobsView(View):
    """All jobs that you may see."""

    max_body_bytes = MAX_SPEC_BYTES
    parser_classes = (JSONParser, YAMLParser)

    @extend_schema(
        operation_id="jobs_list",
        parameters=[*_FILTERS, _SORT, LIMIT, CURSOR],
        responses=answers(shapes.JobListSerializer),
    )
    def get(self, request: Request) -> Response:
        """Jobs, newest first unless sorted otherwise."""
        wanted = filter_from(request)
        matching = queries.jobs_of_any_status(principal_of(request), wanted)
        order = order_from(request, "-submitted_at", ORDERS)
        page = keys_of(matching, request, order, OneOf("status", wanted.statuses, queries.LIVE))
        return Response(page.present(presenting.present_jobs))

    @extend_schema(
        operation_id="jobs_create",
        parameters=_SUBMIT,
        request={
            "application/json": JobSpecSerializer,
            "application/yaml": JobSpecSerializer,
        },
        examples=SPEC_EXAMPLES,
        responses={
            (201, "application/json"): OpenApiResponse(shapes.SUBMITTED, description="Accepted."),
            (200, "application/json"): OpenApiResponse(
                PolymorphicProxySerializer(
                    component_name="SubmitAnswer",
                    serializers=[
                        shapes.DryRunSerializer,
                        shapes.JobSerializer,
                        shapes.JobSetCreatedSerializer,
                    ],
                    resource_type_field_name=None,
                ),
                description="With dry_run what would become of it; else what the known key made before.",
            ),
        },
    )
    def post(self, request: Request) -> Response:
        """Submit one job, or an array of equal ones."""
        principal = principal_of(request)
        if _wants_dry_run(request):
            return Response(_dry_run(principal, request.data))
        made = services.submit(
            principal, request.data, idempotency_key=request.headers.get("Idempotency-Key")
        )
        if made.created:
            told = presenting.present_created([row_of(_with_team(principal, job)) for job in made.jobs])
        else:
            told = presenting.present_jobs([job.pk for job in made.jobs])
        body: Any = told[0]
        if made.set is not None:
            body = {"set": made.set.public_id, "count": made.set.size, "jobs": told}
        return Response(body, status=201 if made.created else 200)


class JobBatchView(View):
    """Many jobs at once."""

    max_body_bytes = MAX_BATCH_BYTES

    @extend_schema(
        operation_id="jobs_create_batch",
        parameters=[_KEY],
        request=shapes.BatchSerializer,
        responses={
            (200, "application/json"): OpenApiResponse(
                shapes.BatchCreatedSerializer, description="What the known key made before."
            ),
            **answers(shapes.BatchCreatedSerializer, 201, "Accepted."),
        },
    )
    def post(self, request: Request) -> Response:
        """Submit up to 10,000 jobs; all are accepted or none."""
        body = body_of(request)
        only_known(body, {"jobs"})
        specs = body.get("jobs")
        if not isinstance(specs, list):
            raise InvalidInput(
                "`jobs` must be a list of specs.", errors=[FieldError("jobs", "must be a list")]
            )
        ids, made_now = services.submit_batch(
            principal_of(request), specs, idempotency_key=request.headers.get("Idempotency-Key")
        )
        return Response({"ids": ids}, status=201 if made_now else 200)


class JobCountsView(View):
    """How many jobs have each status."""

    @extend_schema(
        operation_id="jobs_counts",
        parameters=_FILTERS,
        responses=answers({"type": "object", "additionalProperties": {"type": "integer"}}),
    )
    def get(self, request: Request) -> Response:
        """Counts by status; one without any job is left out."""
        return Response(queries.counts_by_status(principal_of(request), filter_from(request)))


class JobView(View):
    """One job."""

    @extend_schema(
        operation_id="job_read",
        parameters=[public_id("job"), *waiting.PARAMETERS],
        responses=answers(shapes.JobDetailSerializer),
    )
    def get(self, request: Request, id: str) -> Response | waiting.Unchanged:
        """The job with its spec, attempts, and what you may do with it; with `version` and `wait`, once it is another
        than you have."""
        principal, seen = principal_of(request), waiting.seen_from(request)
        if seen is not None and queries.version_of(principal, id) == seen.version:
            return waiting.Unchanged(request, seen)
        job = queries.job_named(principal, id)
        return Response(
            {
                **presenting.present_job(job),
                "spec": job.spec,
                "effective_spec": job.effective_spec,
                "attempts": presenting.present_attempts(job),
                **presenting.present_order(job, principal),
                "allowed_actions": services.allowed_actions(principal, job),
                "advice": advice_of(job, clock.now()),
            }
        )


def filter_from(request: Request) -> queries.JobFilter:
    """The filter of the query string. Raises InvalidInput for labels that are none."""
    given = request.query_params
    labels: dict[str, str | None] = {}
    for label in [text for text in given.getlist("label") if text][: MAX_LABELS + 1]:
        key, colon, value = label.partition(":")
        labels[_clean("label", key)] = _clean("label", value) if colon else None
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"At most {MAX_LABELS} labels narrow a list.")
    return queries.JobFilter(
        statuses=[word.strip() for word in given.get("status", "").split(",") if word.strip()],
        team=_clean("team", given.get("team", "")),
        user=_clean("user", given.get("user", "")),
        name=_clean("name", given.get("name", "")),
        labels=labels,
        set=_clean("set", given.get("set", "")),
        schedule=_clean("schedule", given.get("schedule", "")),
        search=_clean("q", given.get("q", "")).strip(),
    )


def _clean(name: str, value: str) -> str:
    if "\0" in value or len(value) > 300:
        raise InvalidInput(f"`{name}` must be at most 300 characters without NUL.")
    return value


def _wants_dry_run(request: Request) -> bool:
    return request.query_params.get("dry_run", "0").lower() not in ("", "0", "false", "no")


def _dry_run(principal: Principal, raw: object) -> dict[str, Any]:
    now = clock.now()
    try:
        prepared = services.prepare(principal, raw)
    except NeverFits as refusal:
        return {
            "fits": False,
            "sentence": refusal.detail,
            "roundings": [],
            "warnings": [],
            "outlook": None,
            "alternatives": [_alternative(one) for one in instead_of(principal, raw, now)],
            "spec": services.effective_of(raw),
        }
    tasks = f" as {len(prepared.tasks)} tasks" if prepared.tasks else ""
    outlook, alternatives = foretell(principal, raw, prepared, now)
    when = "" if outlook.starts else "; when it starts depends on what is free"
    return {
        "fits": True,
        "sentence": f"This cluster can run it{tasks}{when}.",
        "roundings": list(prepared.roundings),
        "warnings": list(outlook.warnings),
        "outlook": _told(outlook, now),
        "alternatives": [_alternative(one) for one in alternatives],
        "spec": prepared.effective,
    }


def _alternative(one: Alternative) -> dict[str, Any]:
    soon, late = one.starts
    costs = [_cost(cost) for cost in one.costs]
    return {
        "patch": one.patch,
        "sentence": one.sentence,
        "starts_at": soon,
        "starts_by": late,
        "costs": costs,
    }


def _told(outlook: Outlook, now: datetime) -> dict[str, Any]:
    soon, late = outlook.starts or (None, None)
    return {
        "starts_at": soon,
        "starts_by": late,
        "run_ms": outlook.run.p50,
        "costs": [_cost(one) for one in outlook.costs],
        "holdings": [
            {
                "team": {"id": one.team.public_id, "name": one.team.name}, "chip_type": one.chip_type,
                "used_milli": one.used_milli, "asked_milli": one.asked_milli,
                "guaranteed_milli": one.guaranteed_milli, "limit_milli": one.limit_milli,
            }
            for one in outlook.holdings
        ],
        "sentences": outlook.sentences(now),
    }  # fmt: skip


def _cost(one: Cost) -> dict[str, Any]:
    return {
        "chip_type": one.chip_type, "milli": one.milli, "micro_per_chip_hour": one.micro_per_chip_hour,
        "micro": one.micro,
    }  # fmt: skip


def _with_team(principal: Principal, job: Job) -> Job:
    """The new row knows its team without another statement."""
    seat = next(seat for seat in principal.teams if seat.pk == job.team_id)
    job.team = seat.as_team(principal.organization)
    return job
