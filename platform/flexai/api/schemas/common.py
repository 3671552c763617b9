"""Shapes that every part of the API uses: lists, references, reasons."""

from __future__ import annotations

from typing import Any, TypeAlias

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema_field
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


class ReasonTextSerializer(serializers.Serializer[Any]):
    """Why, in the caller's words."""

    reason = serializers.CharField(
        required=False, max_length=500, help_text="Kept with the history and the audit."
    )


class NothingSerializer(serializers.Serializer[Any]):
    """An empty object."""


LIMIT = OpenApiParameter("limit", OpenApiTypes.INT, description="Rows of a page, 1 to 200; 50 when left out.")
CURSOR = OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before.")


def public_id(noun: str) -> OpenApiParameter:
    """The path's id."""
    return OpenApiParameter(
        "id", OpenApiTypes.STR, OpenApiParameter.PATH, description=f"Public id of the {noun}."
    )


def answers(shape: Any, status: int = 200, description: str = "") -> dict[Any, Any]:
    """The one good answer; refusals are told for all operations alike (`api.refusals`)."""
    return {(status, "application/json"): OpenApiResponse(shape, description=description)}
