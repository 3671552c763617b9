"""Shapes of secrets: a value goes in, none comes out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField


class TeamSecretSerializer(serializers.Serializer[Any]):
    """A secret, without its value."""

    id = serializers.CharField()
    name = serializers.CharField(help_text="By which jobs name it.")
    team = serializers.CharField(
        help_text="Name of the team whose secret it is: the one asked for, or one above it."
    )
    set_by = serializers.CharField(help_text="Who set the value that holds now.")
    set_at = serializers.DateTimeField()
    used_at = InstantOrNullField(help_text="When a job was last given it, to the minute.")


class TeamSecretListSerializer(serializers.Serializer[Any]):
    """A page of secrets."""

    items = TeamSecretSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class TeamSecretValueSerializer(serializers.Serializer[Any]):
    """The value to be."""

    value = serializers.CharField(
        write_only=True,
        trim_whitespace=False,
        help_text="At most 64 KiB of UTF-8 without NUL, kept as it is, line ends included. No answer ever holds it.",
    )


SECRET_EXAMPLE = OpenApiExample("A token", value={"value": "hf_…"}, request_only=True)
