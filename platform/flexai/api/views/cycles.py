"""What the scheduler did: its cycles, and recordings of them for `flexai replay`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.pagination import whole_parameter
from flexai.api.schemas import cluster as shapes
from flexai.api.schemas.common import LIMIT, answers
from flexai.api.views.base import View, body_of, only_known, principal_of, the_cell
from flexai.common import clock
from flexai.common.errors import FieldError, InvalidInput, NotFound
from flexai.jobs.presenting import stamp
from flexai.scheduling import policies
from flexai.scheduling.forecasts import score
from flexai.scheduling.models import Cycle, Recording
from flexai.scheduling.queries import last_cycles, last_recordings
from flexai.tenancy.roles import Action

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class CyclesView(View):
    """What the scheduler did."""

    @extend_schema(
        operation_id="cycles_list", parameters=[LIMIT], responses=answers(shapes.CycleListSerializer)
    )
    def get(self, request: Request) -> Response:
        """The newest cycles on record; tracebacks are for operators."""
        sees_faults = principal_of(request).may(Action.SEE_FAULTS)
        limit = whole_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        items = [_cycle(cycle, sees_faults) for cycle in last_cycles(the_cell().pk, limit)]
        return Response({"items": items, "next_cursor": None})


class ForecastsView(View):
    """How good forecasts are."""

    @extend_schema(operation_id="forecasts_score", responses=answers(shapes.ForecastScoreSerializer))
    def get(self, request: Request) -> Response:
        """How the first forecast of each job held that began in the last week."""
        return Response(asdict(score(the_cell().pk, clock.now())))


class PolicyView(View):
    """By which numbers the scheduler decides."""

    @extend_schema(operation_id="policy_read", responses=answers(shapes.PolicySerializer))
    def get(self, request: Request) -> Response:
        """Every number with its default and bounds."""
        return Response({"numbers": policies.described(policies.policy_of(the_cell().pk))})

    @extend_schema(
        operation_id="policy_set",
        request=shapes.PolicyValuesSerializer,
        responses=answers(shapes.PolicySerializer),
    )
    def put(self, request: Request) -> Response:
        """Set the numbers that differ from their default; operators only. The next cycle decides by them."""
        body = body_of(request)
        only_known(body, {"values"})
        values = body.get("values")
        if not isinstance(values, dict):
            raise InvalidInput(
                "The policy is not valid.", errors=[FieldError("values", "An object of names and numbers.")]
            )
        policy = policies.set_policy(principal_of(request), the_cell(), values)
        return Response({"numbers": policies.described(policy)})


class RecordingsView(View):
    """What the scheduler saw and decided, packed for `flexai replay`."""

    @extend_schema(
        operation_id="recordings_list", parameters=[LIMIT], responses=answers(shapes.RecordingListSerializer)
    )
    def get(self, request: Request) -> Response:
        """The newest recordings; operators only, for they hold the jobs of everybody."""
        principal_of(request).require(Action.SEE_RECORDINGS)
        limit = whole_parameter(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        found = last_recordings(the_cell().pk, limit)
        return Response({"items": [_recording(recording) for recording in found], "next_cursor": None})


class RecordingView(View):
    """One recording."""

    @extend_schema(
        operation_id="recording_download",
        responses={
            (200, "application/octet-stream"): OpenApiResponse(
                OpenApiTypes.BINARY, "The file that `flexai replay` reads."
            ),
        },
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """The file that `flexai replay` reads; operators only."""
        principal_of(request).require(Action.SEE_RECORDINGS)
        recording = Recording.objects.filter(cell=the_cell(), pk=int(id)).first() if id.isdecimal() else None
        if recording is None:
            raise NotFound("There is no such recording; old ones make room for new ones.")
        answer = HttpResponse(bytes(recording.data), content_type="application/octet-stream")
        answer["Content-Disposition"] = f'attachment; filename="cycles-{recording.pk}.rec"'
        return answer


def _cycle(cycle: Cycle, sees_faults: bool) -> dict[str, Any]:
    return {
        "id": cycle.pk,
        "at": stamp(cycle.started_at),
        "read_ms": cycle.read_ms,
        "decide_ms": cycle.decide_ms,
        "apply_ms": cycle.apply_ms,
        "waiting": cycle.waiting,
        "units": cycle.units,
        "applied": cycle.applied,
        "dropped": cycle.dropped,
        "effort": cycle.effort,
        "rebuilt": cycle.rebuilt,
        "broken_laws": cycle.broken_laws if sees_faults else [],
        "error": cycle.error if sees_faults or not cycle.error else "The cycle failed.",
    }


def _recording(recording: Recording) -> dict[str, Any]:
    return {
        "id": recording.pk,
        "first_at": stamp(recording.first_at),
        "last_at": stamp(recording.last_at),
        "cycles": recording.cycles,
        "size": recording.size,
        "url": f"/api/v1/recordings/{recording.pk}",
    }
