"""Jobs as they were asked for."""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from flexai.common.ids import new_id
from scheduler_core.dependencies import After, Otherwise
from scheduler_core.lifecycle import JobState


def _job_id() -> str:
    return new_id("job")


def _set_id() -> str:
    return new_id("set")


def _schedule_id() -> str:
    return new_id("sched")


def choices(states: type[StrEnum]) -> list[tuple[str, str]]:
    return [(state.value, state.value) for state in states]


class JobSet(models.Model):
    """An array: equal jobs with an index each; at most `cap` of them live at once (`%n`)."""

    public_id = models.CharField(max_length=32, unique=True, default=_set_id, editable=False)
    organization = models.ForeignKey("tenancy.Organization", models.CASCADE, related_name="+")
    team = models.ForeignKey("tenancy.Team", models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    cap = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.public_id


class Schedule(models.Model):
    """A spec of which a job is made at every instant of a cron expression."""

    public_id = models.CharField(max_length=32, unique=True, default=_schedule_id, editable=False)
    organization = models.ForeignKey("tenancy.Organization", models.CASCADE, related_name="+")
    team = models.ForeignKey("tenancy.Team", models.PROTECT, related_name="+", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    """Whose jobs they are, with what their role allows at that instant."""
    name = models.CharField(max_length=100)
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=64)
    catch_up = models.CharField(max_length=8)
    overlap = models.CharField(max_length=8)
    spec = models.JSONField()
    """As submitted, without `schedule`."""
    paused = models.BooleanField(default=False)
    next_at = models.DateTimeField()
    """The first instant that nobody has looked at yet."""
    last_at = models.DateTimeField(null=True)
    """The last instant for which a job was made."""
    last_job = models.ForeignKey("jobs.Job", models.SET_NULL, null=True, related_name="+", db_index=False)
    problem = models.TextField(default="")
    """Why nothing was made at the last instant; empty where something was."""
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_schedule_per_name")]
        indexes = [models.Index(fields=["next_at"], condition=Q(paused=False), name="schedule_due")]

    def __str__(self) -> str:
        return self.public_id


class Job(models.Model):
    """One request for work. `spec` is what was submitted, untouched; `effective_spec` has defaults and roundings."""

    public_id = models.CharField(max_length=32, default=_job_id, editable=False)
    organization = models.ForeignKey(
        "tenancy.Organization", models.CASCADE, related_name="jobs", db_index=False, db_constraint=False
    )
    team = models.ForeignKey(
        "tenancy.Team", models.PROTECT, related_name="jobs", db_index=False, db_constraint=False
    )
    cell = models.ForeignKey(
        "cluster.Cell", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="jobs", db_index=False, db_constraint=False
    )
    set = models.ForeignKey(
        JobSet, models.CASCADE, null=True, related_name="jobs", db_index=False, db_constraint=False
    )
    index = models.PositiveIntegerField(null=True)
    """Index in the set."""
    schedule = models.ForeignKey(
        Schedule, models.SET_NULL, null=True, related_name="jobs", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=16, default="task")
    state = models.CharField(max_length=16, choices=choices(JobState), default=JobState.QUEUED.value)
    status = models.CharField(max_length=16, default="queued")
    """The one status word (`lifecycle.status_word`), stored at every move so that lists can filter by it."""
    reason_code = models.CharField(max_length=48, default="")
    sentence = models.TextField(default="")
    """Why it is where it is, for people. While waiting, the verdict says more."""
    priority = models.PositiveSmallIntegerField(default=50)
    preemptible = models.BooleanField(default=False)
    spec = models.JSONField()
    effective_spec = models.JSONField()
    spec_version = models.PositiveIntegerField(default=1)
    labels = models.JSONField(default=dict)
    idempotency_key = models.CharField(max_length=200, null=True)
    idempotency_hash = models.CharField(max_length=64, default="")
    """SHA-256 of the body that came with the key."""
    submitted_at = models.DateTimeField()
    start_after = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    """By when it has to be over, wherever it is."""
    started_at = models.DateTimeField(null=True)
    """When the last attempt began to run."""
    ended_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    attempts_count = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    """Attempts that count against `retry.limit`."""
    exit_code = models.IntegerField(null=True)
    outcome = models.CharField(max_length=20, default="")
    attained = models.BigIntegerField(default=0, db_default=0)
    """Chip-milliseconds that its ended attempts had, by what quota charged."""
    times_taken = models.PositiveIntegerField(default=0, db_default=0)
    """How often its chips were taken back for other work (R1)."""
    speeds = models.JSONField(default=dict, db_default={})
    """Measured throughput in thousandths, by chip type and number of replicas (E1)."""
    restart_ms = models.PositiveIntegerField(default=0, db_default=0)
    """How long its last attempt that told of itself took from its place to its first words (R3)."""
    kept_until = models.DateTimeField(null=True)
    """Somebody asked that its chips be kept until then, used or not (T2)."""
    version = models.PositiveIntegerField(default=0)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="job_public_id", opclasses=["varchar_pattern_ops"]),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"], name="one_job_per_idempotency_key",
                condition=Q(idempotency_key__isnull=False),
            ),
            models.UniqueConstraint(fields=["set", "index"], name="one_job_per_index", condition=Q(set__isnull=False)),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["cell", "changed"], name="job_changed"),
            models.Index(fields=["cell"], condition=Q(state="queued"), name="job_queued"),
            models.Index(fields=["organization", "id"], name="job_by_organization"),
            models.Index(fields=["organization", "status", "id"], name="job_by_status"),
            models.Index(fields=["organization", "name", "id"], name="job_by_name"),
            models.Index(fields=["organization", "priority", "id"], name="job_by_priority"),
            models.Index(fields=["organization", "started_at", "id"], name="job_by_start"),
            models.Index(fields=["organization", "ended_at", "id"], name="job_by_end"),
            models.Index(fields=["team", "id"], name="job_by_team"),
            models.Index(fields=["user", "id"], name="job_by_user"),
            GinIndex(fields=["labels"], name="job_labels", condition=~Q(labels={})),
            models.Index(
                fields=["start_after"], name="job_held_until", condition=Q(state="held", start_after__isnull=False)
            ),
            models.Index(
                fields=["deadline"], name="job_by_deadline",
                condition=Q(deadline__isnull=False, state__in=["held", "queued", "suspended", "active"]),
            ),
            models.Index(fields=["schedule", "state"], condition=Q(schedule__isnull=False), name="job_of_schedule"),
            models.Index(fields=["schedule", "-id"], condition=Q(schedule__isnull=False), name="job_by_schedule"),
            models.Index(fields=["set", "state"], condition=Q(set__isnull=False), name="job_state_in_set"),
            models.Index(
                fields=["id"], condition=Q(state="held", reason_code__in=["dependency", "dependency_never"]),
                name="job_held_by_dependency",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.public_id


class JobName(models.Model):
    """A name that jobs of an organization have or had. Parts of names are looked for here: names are few, and do not
    move as jobs do (ADR 0035)."""

    organization = models.ForeignKey(
        "tenancy.Organization", models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=100)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="job_name_of_organization")
        ]
        indexes = [GinIndex(OpClass(Upper("name"), "gin_trgm_ops"), name="job_name_parts")]


class Dependency(models.Model):
    """A job that may start only when another, or all jobs of a set, have ended so. A job waits for older ones alone,
    so nothing can wait for itself."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="dependencies", db_index=False)
    on_job = models.ForeignKey(Job, models.CASCADE, null=True, related_name="dependents", db_index=False)
    on_set = models.ForeignKey(JobSet, models.CASCADE, null=True, related_name="dependents", db_index=False)
    after = models.CharField(max_length=12, choices=choices(After))
    otherwise = models.CharField(max_length=8, choices=choices(Otherwise), default=Otherwise.HOLD.value)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(on_job__isnull=False, on_set__isnull=True) | Q(on_job__isnull=True, on_set__isnull=False),
                name="dependency_on_job_or_set",
            ),
            models.CheckConstraint(
                condition=Q(on_job__isnull=True) | Q(on_job__lt=models.F("job")), name="dependency_on_older_job"
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["job"], name="dependency_of_job"),
            models.Index(fields=["on_job"], condition=Q(on_job__isnull=False), name="dependency_on_job"),
            models.Index(fields=["on_set"], condition=Q(on_set__isnull=False), name="dependency_on_set"),
        ]


class Batch(models.Model):
    """What an idempotency key made of a batch: it is its first job's."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="batch")
    ids = ArrayField(models.CharField(max_length=32))
    """Public ids, in order."""


class Notice(models.Model):
    """Who is told of which events of a job, by its spec (`jobs.notifying`)."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="notice")
    on = ArrayField(models.CharField(max_length=32))
    users = ArrayField(models.BigIntegerField())
    hook = models.ForeignKey(
        "notifications.Webhook",
        models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    """It may be gone: then nobody is told."""
