"""Shapes of use, cost and prices."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import integer


class AmountsSerializer(serializers.Serializer[Any]):
    """Times are chip-milliseconds: two chips for a second are 2000."""

    chip_ms = integer("Held and paid for: starting, running and stopping.")
    starting_ms = integer()
    running_ms = integer()
    stopping_ms = integer()
    borrowed_ms = integer("On chips that somebody else held; costs nothing.")
    used_ms = integer("The part of `measured_ms` in which the chips worked.")
    measured_ms = integer("The part of running whose use was measured.")
    energy_mj = integer(
        "Millijoules drawn, of `metered_ms`; null where no chip told its power.", allow_null=True
    )
    metered_ms = integer("The part of all these times, borrowed ones too, whose energy was measured.")
    attempts = integer("That ended.")
    cost_micro = integer("Millionths of the currency.")


class StatementRowSerializer(AmountsSerializer):
    """One line, named by what was asked `by`; labels stand as `label:KEY`."""

    team = serializers.CharField(required=False)
    user = serializers.CharField(required=False)
    chip_type = serializers.CharField(required=False)
    day = serializers.DateField(required=False)


class StatementSerializer(serializers.Serializer[Any]):
    """Use and cost of some days."""

    to = serializers.DateField()
    by = serializers.ListField(child=serializers.CharField())
    currency = serializers.CharField()
    rows = StatementRowSerializer(many=True)
    total = AmountsSerializer()


# `from` is a word of the language.
StatementSerializer._declared_fields["from"] = serializers.DateField()


class PriceSerializer(serializers.Serializer[Any]):
    """What a chip-hour of a type costs from a day on."""

    chip_type = serializers.CharField(max_length=64)
    from_day = serializers.DateField(help_text="In UTC.")
    micro_per_chip_hour = integer("Millionths of the currency.", min_value=0)


class NewPricesSerializer(serializers.Serializer[Any]):
    """Prices to be set; others stay."""

    prices = PriceSerializer(many=True)


class PricesSerializer(serializers.Serializer[Any]):
    """All prices, by type and day."""

    currency = serializers.CharField()
    today = serializers.DateField(help_text="In UTC.")
    prices = PriceSerializer(many=True)
