"""The OpenAPI document, open to everybody: it holds no secrets, and clients are generated from it."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView


class SchemaView(APIView):
    """The document as JSON."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """OpenAPI 3.1, made once per process."""
        return HttpResponse(_encoded(), content_type="application/vnd.oai.openapi+json; charset=utf-8")


def document() -> dict[str, Any]:
    """The whole document."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())
