"""Shapes that every part of the API uses: problems, lists, references."""

from __future__ import annotations

from typing import Any, TypeAlias

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema_field
from rest_framework import serializers

from flexai.jobs.queries import STATUSES

Shape: TypeAlias = serializers.Serializer[Any]
STATUS_CHOICES = [(word, word) for word in STATUSES]
ROLE_CHOICES = [(word, word) for word in ("viewer", "member", "maintainer", "owner")]
MY_ROLE_CHOICES = [*ROLE_CHOICES, ("operator", "operator")]
CONTACT_CHOICES = [(word, word) for word in ("ok", "unreachable")]
CHIP_STATE_CHOICES = [(word, word) for word in ("in_service", "cordoned", "drained")]
NODE_STATE_CHOICES = [(word, word) for word in ("ready", "cordoned", "draining", "dead")]
NODE_STATUS_CHOICES = [*NODE_STATE_CHOICES, ("unreachable", "unreachable")]
ACTION_CHOICES = [(word, word) for word in ("stop", "keep", "hold", "resume", "requeue")]


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class TextMapField(serializers.JSONField):
    """Names and texts."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    """Any object."""


@extend_schema_field({"type": ["string", "null"], "format": "date-time"})
class InstantOrNullField(serializers.DateTimeField):
    """An instant in UTC, or null."""


def integer(text: str = "", **options: Any) -> serializers.IntegerField:
    """A whole number with its meaning."""
    return serializers.IntegerField(help_text=text, **options)


class ProblemFieldSerializer(serializers.Serializer[Any]):
    """One wrong field: where, what, and what would be right."""

    field = serializers.CharField(help_text="Path with dots, such as resources.memory.")
    message = serializers.CharField()
    hint = serializers.CharField(required=False)


class ProblemSerializer(serializers.Serializer[Any]):
    """Why a request was refused (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(
        help_text="Stable word for programs: invalid, not_found, forbidden, unauthenticated, conflict, "
        "too_large, never_fits, too_many_requests, …"
    )
    detail = serializers.CharField(help_text="One sentence for people.")
    errors = ProblemFieldSerializer(many=True)  # type: ignore[assignment]  # a field, as the API names it
    request_id = serializers.CharField(help_text="Name it to the operators.")


class ReasonTextSerializer(serializers.Serializer[Any]):
    """Why, in the caller's words."""

    reason = serializers.CharField(
        required=False, max_length=500, help_text="Kept with the history and the audit."
    )


class NothingSerializer(serializers.Serializer[Any]):
    """An empty object."""


PROBLEM_EXAMPLE = OpenApiExample(
    "A wrong spec",
    value={
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "code": "invalid",
        "detail": "The spec is wrong: comands: unknown key (did you mean `commands`?).",
        "errors": [{"field": "comands", "message": "unknown key", "hint": "did you mean `commands`?"}],
        "request_id": "5f0c6a4d1e2b3c4d",
    },
    response_only=True,
)
PROBLEM = {
    ("default", "application/problem+json"): OpenApiResponse(
        ProblemSerializer, description="Refused.", examples=[PROBLEM_EXAMPLE]
    )
}

LIMIT = OpenApiParameter("limit", OpenApiTypes.INT, description="Rows of a page, 1 to 200; 50 when left out.")
CURSOR = OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before.")


def public_id(noun: str) -> OpenApiParameter:
    """The path's id."""
    return OpenApiParameter(
        "id", OpenApiTypes.STR, OpenApiParameter.PATH, description=f"Public id of the {noun}."
    )


def answers(shape: Any, status: int = 200, description: str = "") -> dict[Any, Any]:
    """One good answer, and the problem."""
    return {(status, "application/json"): OpenApiResponse(shape, description=description), **PROBLEM}
