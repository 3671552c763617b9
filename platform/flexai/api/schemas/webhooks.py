"""Shapes of webhooks and of what they were told."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField, ObjectField, integer
from flexai.notifications.models import Delivery
from flexai.notifications.vocabulary import EVENTS, PING

EVENT_CHOICES = [(event, event) for event in EVENTS]
TOLD_CHOICES = [*EVENT_CHOICES, (PING, PING)]
DELIVERY_STATE_CHOICES = Delivery.State.choices
_URL = "Where messages are posted: https://, on the public internet unless an operator allows more."


class NewWebhookSerializer(serializers.Serializer[Any]):
    """A webhook to be."""

    name = serializers.CharField(max_length=63, help_text="Lower-case letters, digits, hyphens.")
    url = serializers.CharField(max_length=500, help_text=_URL)
    events = serializers.ListField(
        child=serializers.ChoiceField(EVENT_CHOICES),
        help_text="What it hears of; empty: of jobs that name it in `notify`, and of nothing else.",
    )
    description = serializers.CharField(required=False, max_length=200, allow_blank=True)
    team = serializers.CharField(
        required=False,
        help_text="Name or id: of this team and those below it. Left out: of the organization.",
    )


class WebhookChangeSerializer(serializers.Serializer[Any]):
    """What shall be otherwise; what is left out stays."""

    name = serializers.CharField(required=False, max_length=63)
    url = serializers.CharField(required=False, max_length=500, help_text=_URL)
    events = serializers.ListField(child=serializers.ChoiceField(EVENT_CHOICES), required=False)
    description = serializers.CharField(required=False, max_length=200, allow_blank=True)
    on = serializers.BooleanField(required=False, help_text="false gives up what waits to be told.")


class DeliverySerializer(serializers.Serializer[Any]):
    """One message, and what became of it."""

    id = serializers.CharField(help_text="As the receiver sees it in `webhook-id`; the same on each try.")
    event = serializers.ChoiceField(TOLD_CHOICES)
    at = serializers.DateTimeField(help_text="When it happened.")
    state = serializers.ChoiceField(DELIVERY_STATE_CHOICES, help_text="failed: given up.")
    tries = integer()
    last_at = InstantOrNullField(help_text="Of the last try.")
    next_at = InstantOrNullField(help_text="Not tried before; null where it is not tried again.")
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status of the last answer.")
    answer = serializers.CharField(help_text="What came of the last try.")
    data = ObjectField(help_text="What it tells.")  # type: ignore[assignment]  # a field, as the API names it


class DeliveryListSerializer(serializers.Serializer[Any]):
    """A page of messages."""

    items = DeliverySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class WebhookSerializer(serializers.Serializer[Any]):
    """A webhook."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    team = serializers.CharField(allow_null=True, help_text="null: of the whole organization.")
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(EVENT_CHOICES))
    on = serializers.BooleanField()
    off_because = serializers.CharField(help_text="Why the platform switched it off; empty otherwise.")
    failing_since = InstantOrNullField(help_text="It has taken nothing since then.")
    created_at = serializers.DateTimeField()
    last_delivery = DeliverySerializer(allow_null=True)


class WebhookListSerializer(serializers.Serializer[Any]):
    """A page of webhooks."""

    items = WebhookSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class WebhookCreatedSerializer(WebhookSerializer):
    """A new webhook, with its secret."""

    secret = serializers.CharField(help_text="Signs its messages; shown this once.")


class SecretSerializer(serializers.Serializer[Any]):
    """A new secret."""

    secret = serializers.CharField(help_text="Shown this once.")
    former_until = serializers.DateTimeField(
        help_text="Until then messages are signed with the former one too."
    )


NEW_WEBHOOK_EXAMPLE = OpenApiExample(
    "Ends of jobs",
    value={
        "name": "ci",
        "url": "https://ci.example/flexai",
        "events": ["job.succeeded", "job.failed", "job.timed_out"],
        "team": "research",
    },
    request_only=True,
)
