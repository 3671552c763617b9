"""Shapes of signing in a terminal from a browser."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import integer
from flexai.api.schemas.tenancy import OrganizationSerializer


class NewSignInSerializer(serializers.Serializer[Any]):
    """A terminal that wants a token."""

    machine = serializers.CharField(
        max_length=80, help_text="Shown to who confirms; the token is named after it."
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(["read", "write"]),
        required=False,
        help_text="Both when left out.",
    )
    expires_in_days = integer("Of the token; 90 when left out.", required=False, min_value=1, max_value=366)


class SignInBegunSerializer(serializers.Serializer[Any]):
    """What the terminal shows, and what it asks with (RFC 8628)."""

    device_code = serializers.CharField(help_text="The terminal's secret: ask with it, show it to nobody.")
    user_code = serializers.CharField(help_text="To be typed on the page.")
    verification_uri = serializers.CharField(help_text="The page.")
    expires_in = integer("Seconds for which both are worth something.")
    interval = integer("Ask at most once in so many seconds.")


class DeviceCodeSerializer(serializers.Serializer[Any]):
    """The terminal's secret."""

    device_code = serializers.CharField(max_length=100)


class SignedInSerializer(serializers.Serializer[Any]):
    """The token that somebody gave; shown this once."""

    access_token = serializers.CharField(help_text="Send it as a bearer token.")
    token_type = serializers.CharField()
    expires_in = integer("Seconds.")
    scope = serializers.CharField(help_text="Scopes, with a space between.")


class UserCodeSerializer(serializers.Serializer[Any]):
    """The code that a terminal shows."""

    code = serializers.CharField(max_length=20)


class DecisionSerializer(UserCodeSerializer):
    """What becomes of the terminal that shows this code."""

    grant = serializers.BooleanField(help_text="False: it is refused.")


class SignInSerializer(serializers.Serializer[Any]):
    """A terminal that waits, and what it would be given."""

    machine = serializers.CharField(help_text="As it calls itself.")
    address = serializers.CharField(help_text="From which it asked.")
    asked_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="Of the code.")
    scopes = serializers.ListField(child=serializers.CharField())
    expires_in_days = integer("Of the token.")
    organization = OrganizationSerializer(help_text="Yours, in which the token would act.")
