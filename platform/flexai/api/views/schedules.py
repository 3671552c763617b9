"""Schedules: make, list, pause, resume, delete."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import Order, page_of
from flexai.api.renderers import JSONParser, YAMLParser
from flexai.api.schemas import schedules as shapes
from flexai.api.schemas.common import CURSOR, LIMIT, NothingSerializer, answers, public_id
from flexai.api.views.base import View, principal_of
from flexai.jobs import presenting, schedules
from flexai.jobs.models import Schedule
from flexai.jobs.spec import MAX_SPEC_BYTES
from flexai.tenancy.principals import Principal

_ID = [public_id("schedule")]


class SchedulesView(View):
    """All schedules that you may see."""

    max_body_bytes = MAX_SPEC_BYTES
    parser_classes = (JSONParser, YAMLParser)

    @extend_schema(
        operation_id="schedules_list",
        parameters=[OpenApiParameter("team", OpenApiTypes.STR, description="Name or id."), LIMIT, CURSOR],
        responses=answers(shapes.ScheduleListSerializer),
    )
    def get(self, request: Request) -> Response:
        """Schedules, newest first."""
        principal = principal_of(request)
        found = schedules.visible_schedules(principal)
        team = request.query_params.get("team", "")
        if team:
            found = found.filter(team_id=principal.seat(team[:200]).pk)
        page = page_of(found, request, Order("id", descending=True))
        return Response(page.present(lambda rows: [_shown(principal, row) for row in rows]))

    @extend_schema(
        operation_id="schedules_create",
        request={
            "application/json": shapes.ScheduleSpecSerializer,
            "application/yaml": shapes.ScheduleSpecSerializer,
        },
        responses=answers(shapes.ScheduleSerializer, 201),
    )
    def post(self, request: Request) -> Response:
        """Make a schedule of a job spec with `schedule`."""
        principal = principal_of(request)
        made = schedules.create_schedule(principal, request.data)
        return Response(_shown(principal, schedules.schedule_named(principal, made.public_id)), status=201)


class ScheduleView(View):
    """One schedule."""

    @extend_schema(operation_id="schedule_read", parameters=_ID, responses=answers(shapes.ScheduleSerializer))
    def get(self, request: Request, id: str) -> Response:
        """The schedule, its next instant and its last job."""
        principal = principal_of(request)
        return Response(_shown(principal, schedules.schedule_named(principal, id)))

    @extend_schema(operation_id="schedule_delete", parameters=_ID, responses=answers(None, 204))
    def delete(self, request: Request, id: str) -> Response:
        """It makes no more jobs; those it made stay."""
        principal = principal_of(request)
        schedules.delete_schedule(principal, schedules.schedule_named(principal, id))
        return Response(status=204)


class PauseView(View):
    """Make no jobs for now."""

    @extend_schema(
        operation_id="schedule_pause",
        parameters=_ID,
        request=NothingSerializer,
        responses=answers(shapes.ScheduleSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """Nothing is made until it is resumed, and what passes meanwhile is not caught up."""
        principal = principal_of(request)
        found = schedules.pause_schedule(principal, schedules.schedule_named(principal, id))
        return Response(_shown(principal, found))


class ResumeView(View):
    """Make jobs again."""

    @extend_schema(
        operation_id="schedule_resume",
        parameters=_ID,
        request=NothingSerializer,
        responses=answers(shapes.ScheduleSerializer),
    )
    def post(self, request: Request, id: str) -> Response:
        """The next job is made at the next instant from now."""
        principal = principal_of(request)
        found = schedules.resume_schedule(principal, schedules.schedule_named(principal, id))
        return Response(_shown(principal, found))


def _shown(principal: Principal, schedule: Schedule) -> dict[str, Any]:
    return presenting.present_schedule(schedule) | {"may_change": schedules.may_change(principal, schedule)}
