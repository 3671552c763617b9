"""What happened to jobs, and what they used. Rows are only ever added."""

from __future__ import annotations

from django.db import models

from flexai.jobs.models.attempts import Attempt
from flexai.jobs.models.jobs import Job


class Event(models.Model):
    """The history of a job: every move, with its reason. Written in the transaction that moves (law 4)."""

    at = models.DateTimeField()
    organization = models.ForeignKey(
        "tenancy.Organization",
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    job = models.ForeignKey(Job, models.CASCADE, related_name="events", db_index=False, db_constraint=False)
    attempt = models.PositiveIntegerField(null=True)
    """Attempt number."""
    kind = models.CharField(max_length=48)
    from_state = models.CharField(max_length=16, default="")
    to_state = models.CharField(max_length=16, default="")
    reason_code = models.CharField(max_length=48, default="")
    sentence = models.TextField(default="")
    facts = models.JSONField(default=dict)
    actor = models.CharField(max_length=200, default="")
    """`user:ana`, `scheduler`, `agent:node-…`, `platform`"""
    cause = models.CharField(max_length=64, default="")
    """Request id or cycle number."""

    class Meta:
        indexes = [models.Index(fields=["job", "id"], name="event_by_job")]


class AttemptUse(models.Model):
    """What one attempt used over one span of time: totals over its replicas' samples (`total / samples` is the mean of
    one replica), so that what several web processes heard of it adds up. Partitioned by `at` (see `jobs.usage`)."""

    pk = models.CompositePrimaryKey("attempt_id", "at")
    attempt = models.ForeignKey(
        Attempt, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    at = models.DateTimeField()
    """When the span began."""
    samples = models.BigIntegerField()
    use_total = models.BigIntegerField(null=True)
    """Permille of what it holds; None for a job without chips."""
    cpu_total = models.BigIntegerField()
    """Permille of one core."""
    memory_total = models.BigIntegerField()
    """MiB."""
    wait_total = models.BigIntegerField()
    """Permille of the time in which something of it waited for input."""
    memory_peak_mib = models.PositiveIntegerField()
    """The most that one replica had held by then."""

    class Meta:
        abstract = True


class AttemptMinute(AttemptUse):
    """One minute; kept for a week."""


class AttemptHour(AttemptUse):
    """One hour; kept for a year."""
