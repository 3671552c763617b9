"""Whether this server can do its work; open to everybody, and says nothing else."""

from __future__ import annotations

import logging
from datetime import timedelta

import redis
from django.db import DatabaseError, connection
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from flexai.api.schemas.cluster import HealthSerializer
from flexai.common import clock
from flexai.common.broker import valkey
from flexai.scheduling.models import Cycle

log = logging.getLogger(__name__)

WORKER_SILENT_SECONDS = 60
"""A worker puts a cycle on record every few seconds; after so long without one it is not working."""


class HealthView(APIView):
    """The server's own health."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="health",
        auth=[],
        responses={
            200: HealthSerializer,
            503: OpenApiResponse(HealthSerializer, description="Not able to work."),
        },
    )
    def get(self, request: Request) -> Response:
        """200 when database and broker answer, else 503. A worker that is away is told and is no failure of
        this server."""
        database, broker = _database_answers(), _broker_answers()
        worker = database and _worker_works()
        ok = database and broker
        body = {"ok": ok, "database": database, "broker": broker, "worker": worker}
        return Response(body, status=200 if ok else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("the database does not answer: %s", error)
        return False
    return True


def _broker_answers() -> bool:
    try:
        return bool(valkey().ping())
    except (redis.RedisError, OSError) as error:
        log.warning("the broker does not answer: %s", error)
        return False


def _worker_works() -> bool:
    since = clock.now() - timedelta(seconds=WORKER_SILENT_SECONDS)
    return Cycle.objects.filter(started_at__gte=since).exists()
