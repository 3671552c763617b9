"""The platform's metrics for Prometheus, for operators."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.request import Request

from flexai.api.metrics import Exposition
from flexai.api.views.base import View, principal_of
from flexai.tenancy.roles import Action

EXPOSITION = Exposition()


class MetricsView(View):
    """Text in Prometheus' format."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """Everything, at most five seconds old. It names nodes, and tells how much runs and waits: operators only."""
        principal_of(request).require(Action.SEE_EVERYBODY)
        return HttpResponse(EXPOSITION.text(), content_type=CONTENT_TYPE_LATEST)
