"""Schedules as the API tells them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from flexai.api.schemas.common import InstantOrNullField, ObjectField
from flexai.api.schemas.jobs import TeamRefSerializer
from flexai.api.schemas.spec import JobSpecSerializer

CATCH_UP_CHOICES = [(word, word) for word in ("none", "last", "all")]
OVERLAP_CHOICES = [(word, word) for word in ("allow", "skip")]


class CronSerializer(serializers.Serializer[Any]):
    """When jobs are made."""

    cron = serializers.CharField(help_text="Minute, hour, day, month, weekday: `30 6 * * 1-5`.")
    timezone = serializers.CharField(required=False, help_text="Such as Europe/Berlin; UTC.")
    catch_up = serializers.ChoiceField(
        CATCH_UP_CHOICES,
        required=False,
        help_text="Which of the instants that were missed are made up for; last.",
    )
    overlap = serializers.ChoiceField(
        OVERLAP_CHOICES,
        required=False,
        help_text="Whether a job is made while an earlier one has not ended; allow.",
    )


class ScheduleSpecSerializer(JobSpecSerializer):
    """A job spec with `schedule`."""

    schedule = CronSerializer()


class LastJobSerializer(serializers.Serializer[Any]):
    """The job that was made last."""

    id = serializers.CharField()
    status = serializers.CharField()


class ScheduleSerializer(serializers.Serializer[Any]):
    """A spec of which a job is made at every instant of a cron expression."""

    id = serializers.CharField()
    name = serializers.CharField()
    team = TeamRefSerializer()
    user = serializers.CharField(help_text="Whose jobs they are.")
    cron = serializers.CharField()
    timezone = serializers.CharField()
    catch_up = serializers.ChoiceField(CATCH_UP_CHOICES)
    overlap = serializers.ChoiceField(OVERLAP_CHOICES)
    paused = serializers.BooleanField()
    next_at = InstantOrNullField()
    last_at = InstantOrNullField()
    last_job = LastJobSerializer(allow_null=True)
    problem = serializers.CharField(help_text="Why nothing was made at the last instant; empty otherwise.")
    created_at = serializers.DateTimeField()
    spec = ObjectField(help_text="Of its jobs.")
    may_change = serializers.BooleanField(help_text="Whether you may pause, resume and delete it.")


class ScheduleListSerializer(serializers.Serializer[Any]):
    """A page of schedules."""

    items = ScheduleSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
