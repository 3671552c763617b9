"""Policies for jobs, of an organization or of a team."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from flexai.api.schemas import tenancy as shapes
from flexai.api.schemas.common import answers, public_id
from flexai.api.views.base import View, body_of, only_known, principal_of
from flexai.api.views.teams import team_named
from flexai.jobs import policies
from flexai.tenancy.models import JobPolicy

_DONE: dict[Any, Any] = {204: OpenApiResponse(description="Removed.")}


class OrganizationPolicyView(View):
    """What all jobs of your organization get and may ask for."""

    @extend_schema(operation_id="job_policy_read", responses=answers(shapes.JobPolicySerializer))
    def get(self, request: Request) -> Response:
        """Defaults and bounds; empty where none are set."""
        return Response(_policy(policies.policy_of(principal_of(request).organization, None)))

    @extend_schema(
        operation_id="job_policy_set",
        request=shapes.JobPolicySerializer,
        responses=answers(shapes.JobPolicySerializer),
    )
    def put(self, request: Request) -> Response:
        """Set both; owners and operators. Jobs that exist keep theirs."""
        defaults, bounds = _sent(request)
        return Response(_policy(policies.set_job_policy(principal_of(request), None, defaults, bounds)))

    @extend_schema(operation_id="job_policy_remove", request=None, responses=_DONE)
    def delete(self, request: Request) -> Response:
        """Remove it; those of teams stay."""
        policies.remove_job_policy(principal_of(request), None)
        return Response(status=204)


class TeamPolicyView(View):
    """What jobs of a team and those below it get and may ask for, beside their organization's policy."""

    @extend_schema(
        operation_id="team_job_policy_read",
        parameters=[public_id("team")],
        responses=answers(shapes.JobPolicySerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """Defaults and bounds of the team itself; empty where none are set."""
        team = team_named(principal_of(request), id)
        return Response(_policy(policies.policy_of(team.organization, team)))

    @extend_schema(
        operation_id="team_job_policy_set",
        parameters=[public_id("team")],
        request=shapes.JobPolicySerializer,
        responses=answers(shapes.JobPolicySerializer),
    )
    def put(self, request: Request, id: str) -> Response:
        """Set both; owners and operators. Jobs that exist keep theirs."""
        principal = principal_of(request)
        team = team_named(principal, id)
        defaults, bounds = _sent(request)
        return Response(_policy(policies.set_job_policy(principal, team, defaults, bounds)))

    @extend_schema(
        operation_id="team_job_policy_remove",
        parameters=[public_id("team")],
        request=None,
        responses=_DONE,
    )
    def delete(self, request: Request, id: str) -> Response:
        """Remove it; those of the organization and the teams above stay."""
        principal = principal_of(request)
        policies.remove_job_policy(principal, team_named(principal, id))
        return Response(status=204)


def _sent(request: Request) -> tuple[object, object]:
    body = body_of(request)
    only_known(body, {"defaults", "bounds"})
    return body.get("defaults"), body.get("bounds")


def _policy(policy: JobPolicy) -> dict[str, Any]:
    return {"defaults": policy.defaults, "bounds": policy.bounds}
