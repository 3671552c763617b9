"""Shapes of what the scheduler saved."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import integer


class SavingAmountsSerializer(serializers.Serializer[Any]):
    """Times in milliseconds; negative: FIFO would have done better."""

    jobs = integer("That ran on chips.")
    chip_ms_saved = integer("Chip time that FIFO's whole chips would have held, less what jobs really had.")
    wait_ms_avoided = integer("Of all jobs together: under FIFO, less what they really waited.")
    energy_mwh_saved = integer("Milliwatt-hours of idle power for as much longer as FIFO would have taken.")
    drawn_mwh = integer("What chips that tell their power drew.", allow_null=True)


class SavingTotalSerializer(SavingAmountsSerializer):
    """The sum of the days that have figures."""

    days = integer("With figures.")
    wait_error_ms = integer(
        "What the simulator says that Flexai itself makes jobs wait, less what it really did: how far "
        "`wait_ms_avoided` may be off. Null where that was not measured.",
        allow_null=True,
    )
    wait_error_days = integer("Days of which it was measured.")


class SavingDaySerializer(SavingAmountsSerializer):
    """One day, in UTC."""

    day = serializers.DateField()
    problem = serializers.CharField(help_text="Why it has no figures; empty where it has.")
    refused = integer("Jobs that whole chips of the empty cell could not hold.")
    held_ms = integer("Chip time that jobs really had.")
    fifo_held_ms = integer()
    waited_ms = integer("What jobs really waited.")
    fifo_waited_ms = integer()
    engine_waited_ms = integer("By the simulator, playing Flexai.", allow_null=True)
    idle_measured_permille = integer("Of the chips, those whose idle power was measured; else data sheets.")


class SavingsSerializer(serializers.Serializer[Any]):
    """What the scheduler saved, against static whole-chip FIFO. Simulated."""

    method = serializers.CharField(help_text="How the figures are made, and what they leave out.")
    days = SavingDaySerializer(many=True)
    total = SavingTotalSerializer()
