"""What is done to a job, and what there is to see of it: events, log, reasons, use."""

from __future__ import annotations

from collections.abc import Callable

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api import waiting
from flexai.api.pagination import Order, optional_whole_parameter, page_of, whole_parameter
from flexai.api.schemas import jobs as shapes
from flexai.api.schemas.common import (
    CURSOR,
    LIMIT,
    NothingSerializer,
    ReasonTextSerializer,
    answers,
    public_id,
)
from flexai.api.views.base import View, body_of, only_known, principal_of, text_in
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput
from flexai.jobs import logs, presenting, queries, services, usage
from flexai.jobs.models import Job
from flexai.jobs.moves import KEEP_MS
from flexai.jobs.queries_live import job_usage
from flexai.scheduling.models import Forecast
from flexai.scheduling.queries import explain_job
from flexai.tenancy.principals import Principal

MAX_LOG_BYTES = 1024 * 1024
"""Bytes of log in one answer."""
DEFAULT_LOG_BYTES = 256 * 1024
_MAX_INT = 2**62
_ID = [public_id("job")]


class StopView(View):
    """Cancel a job."""

    @extend_schema(
        operation_id="job_stop",
        parameters=_ID,
        request=ReasonTextSerializer,
        responses=answers(shapes.JobSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """A waiting job is cancelled at once; an active one once its node confirms."""
        body = body_of(request)
        only_known(body, {"reason"})
        reason = text_in(body, "reason", most=500, default="")
        principal = principal_of(request)
        job = services.stop_job(principal, queries.job_named(principal, id), reason=reason)
        return Response(presenting.present_job(job))


class ResumeView(View):
    """Let a held or suspended job wait for chips again."""

    @extend_schema(
        operation_id="job_resume",
        parameters=_ID,
        request=NothingSerializer,
        responses=answers(shapes.JobSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Release a held job, or resume a suspended one."""
        return _act(request, id, services.resume_job)


class HoldView(View):
    """Keep a queued job from starting."""

    @extend_schema(
        operation_id="job_hold",
        parameters=_ID,
        request=NothingSerializer,
        responses=answers(shapes.JobSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Hold a queued job until somebody resumes it."""
        return _act(request, id, services.hold_job)


class KeepView(View):
    """Keep the chips of an active job."""

    @extend_schema(
        operation_id="job_keep",
        parameters=_ID,
        request=shapes.KeepSerializer,
        responses=answers(shapes.JobSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """For so long its chips are not taken for idle, used or not; an hour if nothing is said."""
        body = body_of(request)
        only_known(body, {"seconds"})
        seconds = body.get("seconds", KEEP_MS // 1000)
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            message = "must be a whole number of seconds"
            raise InvalidInput(f"`seconds` {message}.", errors=[FieldError("seconds", message)])
        principal = principal_of(request)
        job = services.keep_job(principal, queries.job_named(principal, id), for_ms=seconds * 1000)
        return Response(presenting.present_job(job))


class RequeueView(View):
    """Run a finished job again."""

    @extend_schema(
        operation_id="job_requeue",
        parameters=_ID,
        request=NothingSerializer,
        responses=answers(shapes.JobSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Queue a job that has ended for another run."""
        return _act(request, id, services.requeue_job)


class EventsView(View):
    """The history of a job."""

    @extend_schema(
        operation_id="job_events",
        parameters=[*_ID, LIMIT, CURSOR],
        responses=answers(shapes.EventListSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """Every move, oldest first."""
        job = queries.job_named(principal_of(request), id)
        page = page_of(queries.events_of(job), request, Order("id"))
        return Response(page.present(lambda events: [presenting.present_event(event) for event in events]))


class LogsView(View):
    """The log of one replica."""

    @extend_schema(
        operation_id="job_logs",
        parameters=[
            *_ID,
            OpenApiParameter("attempt", OpenApiTypes.INT, description="The last when left out."),
            OpenApiParameter("replica", OpenApiTypes.INT, description="0 when left out."),
            OpenApiParameter("offset", OpenApiTypes.INT, description="First byte; 0 when left out."),
            OpenApiParameter("limit_bytes", OpenApiTypes.INT, description="At most 1048576."),
            OpenApiParameter(
                "tail_bytes", OpenApiTypes.INT, description="The last bytes instead of from an offset."
            ),
            *waiting.PARAMETERS,
        ],
        responses=answers(shapes.LogSliceSerializer),
    )
    def get(self, request: Request, id: str) -> Response | waiting.Unchanged:
        """Part of the log; go on at `next_offset` until `ended`. A slice never ends inside a character. With `version`
        (of the job) and `wait`, once there is more of it, it has ended, or the job is another than you have."""
        seen, job = waiting.seen_from(request), queries.job_named(principal_of(request), id)
        found = logs.read_log(
            job.pk,
            attempt=optional_whole_parameter(request, "attempt", 0, 2**31 - 1) or None,
            replica=whole_parameter(request, "replica", 0, 0, 2**31 - 1),
            offset=whole_parameter(request, "offset", 0, 0, _MAX_INT),
            limit_bytes=whole_parameter(request, "limit_bytes", DEFAULT_LOG_BYTES, 16, MAX_LOG_BYTES),
            tail_bytes=optional_whole_parameter(request, "tail_bytes", 0, MAX_LOG_BYTES),
        )
        data = _whole_characters(found)
        if seen is not None and seen.version == job.version and not data and not found.ended:
            return waiting.Unchanged(request, seen)
        return Response(
            {
                "attempt": found.attempt,
                "replica": found.replica,
                "offset": found.offset,
                "next_offset": found.offset + len(data),
                "size": found.size,
                "ended": found.ended,
                "text": data.decode("utf-8", "replace"),
                "replicas": found.replicas,
            }
        )


class ExplainView(View):
    """Why a job is where it is."""

    @extend_schema(
        operation_id="job_explain", parameters=_ID, responses=answers(shapes.ExplanationSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """The reasons, most blocking first, and when it is expected to start."""
        told = explain_job(queries.job_named(principal_of(request), id))
        return Response(
            {**told, "since": presenting.stamp(told["since"]), "forecast": _forecast(told["forecast"])}
        )


class UsageView(View):
    """What a job uses now."""

    @extend_schema(operation_id="job_usage", parameters=_ID, responses=answers(shapes.UsageSerializer))
    def get(self, request: Request, id: str) -> Response:
        """Live use of its chips, CPU and memory by replica."""
        return Response(job_usage(queries.job_named(principal_of(request), id).pk))


class JobMetricsView(View):
    """What a job used over time."""

    @extend_schema(
        operation_id="job_metrics",
        parameters=[
            *_ID,
            OpenApiParameter("attempt", OpenApiTypes.INT, description="The last when left out."),
        ],
        responses=answers(shapes.JobMetricsSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """Means per replica of one attempt, by the minute for a week; of a longer time by the hour, for a year."""
        job = queries.job_named(principal_of(request), id)
        number = optional_whole_parameter(request, "attempt", 1, 2**31 - 1)
        attempt = queries.attempt_of(job, number)
        if attempt is None:
            return Response({"attempt": None, "step_seconds": 60, "points": []})
        until = attempt.ended_at or clock.now()
        step, points = usage.usage_of(attempt.pk, since=attempt.placed_at, until=until)
        told = [{**point, "at": presenting.stamp(point["at"])} for point in points]
        return Response(
            {"attempt": attempt.number, "step_seconds": int(step.total_seconds()), "points": told}
        )


def _act(request: Request, job_id: str, action: Callable[[Principal, Job], Job]) -> Response:
    only_known(body_of(request), set())
    principal = principal_of(request)
    return Response(presenting.present_job(action(principal, queries.job_named(principal, job_id))))


def _forecast(found: Forecast | None) -> dict[str, str | None] | None:
    if found is None:
        return None
    return {
        "p50": presenting.stamp(found.p50_at),
        "p90": presenting.stamp(found.p90_at),
        "made_at": presenting.stamp(found.made_at),
    }


def _whole_characters(found: logs.LogSlice) -> bytes:
    """The bytes without a character that begins at their end and is not all there; at the log's end
    everything."""
    data = found.data
    if found.ended and found.offset + len(data) >= found.size:
        return data
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return data
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if needed > back and len(data) > back else data
    return data
