"""Shapes of the places where somebody is signed in by browser."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import integer


class BrowserSessionSerializer(serializers.Serializer[Any]):
    """A browser in which you are signed in."""

    id = serializers.CharField()
    address = serializers.CharField(allow_blank=True, help_text="From which it was used last.")
    browser = serializers.CharField(
        allow_blank=True, help_text="Such as Firefox on Linux; empty where it names itself as none known."
    )
    began_at = serializers.DateTimeField()
    used_at = serializers.DateTimeField(help_text="Last, to the minute.")
    expires_at = serializers.DateTimeField()
    is_this = serializers.BooleanField(help_text="The one that asks.")


class BrowserSessionListSerializer(serializers.Serializer[Any]):
    """Used last first."""

    items = BrowserSessionSerializer(many=True)


class EndedSessionsSerializer(serializers.Serializer[Any]):
    """What was ended."""

    ended = integer("How many sessions.")
