"""Shapes of requests for more quota or budget."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField, integer
from flexai.tenancy.models import QuotaRequest
from flexai.tenancy.quota_requests import MAX_REASON

STATES = [(state.value, state.value) for state in QuotaRequest.State]
KINDS = [(kind.value, kind.value) for kind in QuotaRequest.Kind]
ACTIONS = [(word, word) for word in ("withdraw", "approve", "decline")]


class QuotaFiguresSerializer(serializers.Serializer[Any]):
    """What a team has of the type, in milli-chips."""

    guaranteed_milli = integer()
    limit_milli = integer("Null: no limit.", allow_null=True)
    over_quota_weight = integer()


class BudgetFiguresSerializer(serializers.Serializer[Any]):
    """What a team may spend in its budget's period."""

    chip_hours = integer("Null: money alone bounds it.", allow_null=True)
    money_micro = integer("Millionths of the currency; null: chip-hours alone bound it.", allow_null=True)


@extend_schema_field(
    PolymorphicProxySerializer(
        "Figures", [QuotaFiguresSerializer, BudgetFiguresSerializer], resource_type_field_name=None
    )
)
class FiguresField(serializers.JSONField):
    """Of a quota or of a budget."""


class QuotaRequestTeamSerializer(serializers.Serializer[Any]):
    """The team that asks."""

    id = serializers.CharField()
    name = serializers.CharField()


class QuotaRequestSerializer(serializers.Serializer[Any]):
    """A team asks for more of one chip type, or for more budget."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(KINDS)
    team = QuotaRequestTeamSerializer()
    cell = serializers.CharField(allow_null=True, help_text="Null of a budget.")
    chip_type = serializers.CharField(allow_null=True, help_text="Null of a budget.")
    asked = FiguresField(help_text="Of the kind that the request is of.")
    until = serializers.DateField(allow_null=True, help_text="The last day, in UTC; null: for good.")
    reason = serializers.CharField()
    state = serializers.ChoiceField(STATES, help_text="ended: it was granted for a time, and that is over.")
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    granted = FiguresField(allow_null=True)
    before = FiguresField(
        allow_null=True,
        help_text="What the team has again when the time is over; null: no quota of the type.",
    )
    decided_by = serializers.CharField(allow_null=True)
    decided_at = InstantOrNullField()
    answer = serializers.CharField(allow_blank=True, help_text="What whoever decided said.")
    note = serializers.CharField(allow_blank=True, help_text="What became of a grant for a time.")
    allowed_actions = serializers.ListField(
        child=serializers.ChoiceField(ACTIONS), help_text="What you may do with it now."
    )


class QuotaRequestListSerializer(serializers.Serializer[Any]):
    """A page of requests, newest first."""

    items = QuotaRequestSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class NewQuotaRequestSerializer(serializers.Serializer[Any]):
    """What the team would have: whole figures, not how much more. What is left out stays."""

    team = serializers.CharField(max_length=63, help_text="Name or id.")
    kind = serializers.ChoiceField(KINDS, required=False, help_text="quota when left out.")
    cell = serializers.CharField(
        max_length=63, required=False, help_text="Of a quota: its name; the first when left out."
    )
    chip_type = serializers.CharField(max_length=64, required=False, help_text="Of a quota: needed.")
    guaranteed_milli = integer(required=False, min_value=0)
    limit_milli = integer("Null: no limit.", required=False, allow_null=True, min_value=0)
    over_quota_weight = integer(required=False, min_value=0, max_value=1_000_000)
    chip_hours = integer("Of a budget.", required=False, allow_null=True, min_value=0)
    money_micro = integer(
        "Of a budget: millionths of the currency.", required=False, allow_null=True, min_value=0
    )
    until = serializers.DateField(
        required=False, allow_null=True, help_text="The last day, in UTC; for good when left out."
    )
    reason = serializers.CharField(max_length=MAX_REASON)


class ApprovalSerializer(serializers.Serializer[Any]):
    """Figures that are granted instead of those asked for; what is left out is granted as asked."""

    guaranteed_milli = integer(required=False, min_value=0)
    limit_milli = integer("Null: no limit.", required=False, allow_null=True, min_value=0)
    over_quota_weight = integer(required=False, min_value=0, max_value=1_000_000)
    chip_hours = integer("Of a budget.", required=False, allow_null=True, min_value=0)
    money_micro = integer(
        "Of a budget: millionths of the currency.", required=False, allow_null=True, min_value=0
    )
    answer = serializers.CharField(required=False, allow_blank=True, max_length=MAX_REASON)


class DeclineSerializer(serializers.Serializer[Any]):
    """Why not."""

    reason = serializers.CharField(max_length=MAX_REASON)
