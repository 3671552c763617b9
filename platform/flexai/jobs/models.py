"""Jobs and what became of them.

A job has attempts, at most one of them live (law 5); an attempt has replicas on nodes and allocations of chips.
`changed` holds the transaction id of the last change, set by a trigger: the engine's feed reads it (law 7).
A foreign key that a composite index or constraint begins with has no index of its own: every index costs each job.
Nor is one checked by the database where another one vouches for it (a job's organization is its team's), or where rows
are only ever added (history): each check is a look-up and a lock on a row that all jobs share.
"""

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
from scheduler_core.lifecycle import AttemptState, JobState, Outcome


def _job_id() -> str:
    return new_id("job")


def _attempt_id() -> str:
    return new_id("att")


def _set_id() -> str:
    return new_id("set")


def _schedule_id() -> str:
    return new_id("sched")


def _choices(states: type[StrEnum]) -> list[tuple[str, str]]:
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
    team = models.ForeignKey("tenancy.Team", models.PROTECT, related_name="jobs", db_index=False)
    cell = models.ForeignKey("cluster.Cell", models.PROTECT, related_name="+", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="jobs", db_index=False)
    set = models.ForeignKey(JobSet, models.CASCADE, null=True, related_name="jobs", db_index=False)
    index = models.PositiveIntegerField(null=True)
    """Index in the set."""
    schedule = models.ForeignKey(Schedule, models.SET_NULL, null=True, related_name="jobs", db_index=False)
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=16, default="task")
    state = models.CharField(max_length=16, choices=_choices(JobState), default=JobState.QUEUED.value)
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
            models.UniqueConstraint(fields=["set", "index"], name="one_job_per_index"),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["cell", "changed"], name="job_changed"),
            models.Index(fields=["cell"], condition=Q(state="queued"), name="job_queued"),
            models.Index(fields=["organization", "-id"], name="job_by_organization"),
            models.Index(fields=["organization", "status", "id"], name="job_by_status"),
            models.Index(fields=["organization", "name", "id"], name="job_by_name"),
            models.Index(fields=["organization", "priority", "id"], name="job_by_priority"),
            models.Index(fields=["organization", "started_at", "id"], name="job_by_start"),
            models.Index(fields=["organization", "ended_at", "id"], name="job_by_end"),
            models.Index(fields=["team", "-id"], name="job_by_team"),
            models.Index(fields=["user", "-id"], name="job_by_user"),
            GinIndex(OpClass(Upper("name"), "gin_trgm_ops"), name="job_name_parts"),
            GinIndex(fields=["labels"], name="job_labels"),
            models.Index(fields=["start_after"], condition=Q(state="held"), name="job_held_until"),
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


class Dependency(models.Model):
    """A job that may start only when another, or all jobs of a set, have ended so. A job waits for older ones alone,
    so nothing can wait for itself."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="dependencies", db_index=False)
    on_job = models.ForeignKey(Job, models.CASCADE, null=True, related_name="dependents", db_index=False)
    on_set = models.ForeignKey(JobSet, models.CASCADE, null=True, related_name="dependents", db_index=False)
    after = models.CharField(max_length=12, choices=_choices(After))
    otherwise = models.CharField(max_length=8, choices=_choices(Otherwise), default=Otherwise.HOLD.value)

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


class Attempt(models.Model):
    """One try at running a job. Live until *ended*; only then its chips are free."""

    public_id = models.CharField(max_length=32, default=_attempt_id, editable=False)
    organization = models.ForeignKey(
        "tenancy.Organization", models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    cell = models.ForeignKey(
        "cluster.Cell", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    job = models.ForeignKey(Job, models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=_choices(AttemptState), default=AttemptState.PLACED.value)
    outcome = models.CharField(max_length=20, choices=_choices(Outcome), default="", blank=True)
    contact_ok = models.BooleanField(default=True)
    stop_outcome = models.CharField(max_length=20, default="")
    """Set with `stopping`: what `ended` will carry if the stop is what ends it."""
    lease_ms = models.BigIntegerField(null=True)
    exit_code = models.IntegerField(null=True)
    reason_code = models.CharField(max_length=48, default="")
    sentence = models.TextField(default="")
    placed_at = models.DateTimeField()
    running_at = models.DateTimeField(null=True)
    stopping_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cpu_time_ms = models.BigIntegerField(default=0)
    memory_peak_mib = models.PositiveIntegerField(default=0)
    use_permille = models.PositiveIntegerField(null=True)
    """Mean use of its chips over its life."""
    energy_mj = models.BigIntegerField(null=True)
    """What its share of its chips drew over its life; None where one of them does not tell its power."""
    version = models.PositiveIntegerField(default=0)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="attempt_public_id"),
            models.UniqueConstraint(fields=["job", "number"], name="attempt_number_in_job"),
            models.UniqueConstraint(
                fields=["job"], condition=~Q(state="ended"), name="one_live_attempt_per_job"
            ),
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="attempt_changed")]

    def __str__(self) -> str:
        return self.public_id


class IdleAttempt(models.Model):
    """A running attempt whose chips have been used less than its policy asks for, since `since` (T1, T2)."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="idle")
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    since = models.DateTimeField()
    use_permille = models.PositiveIntegerField()
    """When it was last looked at."""
    notified_at = models.DateTimeField(null=True)
    acts_at = models.DateTimeField(null=True)
    """When its policy's action follows, as the notice said."""


class AttemptProgress(models.Model):
    """What an attempt has said of itself, the newest. Of several replicas that speak the first one is heard."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="progress")
    replica = models.PositiveIntegerField()
    """Who said it."""
    first_at = models.DateTimeField()
    at = models.DateTimeField()
    step = models.BigIntegerField(null=True)
    throughput_milli = models.BigIntegerField(null=True)
    """Thousandths of its own unit a second."""
    loss = models.FloatField(null=True)
    saving_since = models.DateTimeField(null=True)
    """The attempt is `checkpointing` since then; kept afterwards, so that it is not told too often."""
    saved_step = models.BigIntegerField(null=True)
    saved_at = models.DateTimeField(null=True)
    """Its last checkpoint (R3)."""
    told_saved_at = models.DateTimeField(null=True)
    """The one that the scheduler has heard of."""
    problem = models.CharField(max_length=200, default="")
    """What of its words was refused."""


class Offer(models.Model):
    """A running attempt that is idle, or whose chips are on offer to guests (T2); see `scheduler_core.offers`."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="offer")
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    idle_since = models.DateTimeField(null=True)
    offered_at = models.DateTimeField(null=True)
    busy_at = models.DateTimeField(null=True)
    """Since when its owner has been back; only while it offers."""
    ended = models.PositiveSmallIntegerField(default=0, db_default=0)
    """How many of its offers its return has ended."""
    use_permille = models.PositiveIntegerField(default=0, db_default=0)
    """When it was last changed."""


class Guest(models.Model):
    """An attempt that runs on chips lent to it (T3)."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="guest")
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    lenders = ArrayField(models.BigIntegerField())
    """Attempts of the owners."""
    rule = models.JSONField()
    """Its yield rule: `above`, `pause_after`, `stop_after`, `memory_floor`."""
    paused_at = models.DateTimeField(null=True)
    """Since when its node has halted it, because its owner is back."""


class Replica(models.Model):
    """One process tree of an attempt on one node."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="replicas", db_index=False)
    index = models.PositiveIntegerField()
    node = models.ForeignKey("cluster.Node", models.PROTECT, related_name="replicas", db_index=False)
    state = models.CharField(max_length=16, default="placed")
    """placed, starting, running, stopping, ended"""
    generation = models.PositiveIntegerField(default=1)
    cpu_milli = models.PositiveIntegerField(default=0)
    """Host CPU it asked for; what its chips claim comes on top (Q6)."""
    memory_mib = models.PositiveIntegerField(default=0)
    exit_code = models.IntegerField(null=True)
    outcome = models.CharField(max_length=20, default="")
    sentence = models.TextField(default="")
    log_offset = models.BigIntegerField(default=0)
    """Bytes of log stored; the next piece must begin at or before it."""
    log_size = models.BigIntegerField(null=True)
    """Bytes of log in all, once ended; the log is complete when `log_offset` reaches it."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "index"], name="replica_index_in_attempt")]
        indexes = [models.Index(fields=["node"], condition=~Q(state="ended"), name="replica_live_on_node")]


class Allocation(models.Model):
    """A replica's share of one chip, `active` until the attempt has ended. The chip's counter is the sum of these."""

    class Kind(models.TextChoices):
        OWNED = "owned"
        GUEST = "guest"

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="allocations", db_constraint=False)
    replica = models.ForeignKey(Replica, models.CASCADE, related_name="allocations", db_index=False)
    chip = models.ForeignKey("cluster.Chip", models.PROTECT, related_name="allocations", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.OWNED)
    milli = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField(default=0)
    charge_milli = models.PositiveIntegerField(default=0)
    """What quota charges for it: the larger of its two shares (Q3). Kept, so that the end gives back exactly this."""
    cpu_milli = models.PositiveIntegerField(default=0)
    """Host CPU that this part of the chip claims (Q6)."""
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["replica", "chip", "kind"], name="one_allocation_per_chip")
        ]
        indexes = [models.Index(fields=["chip"], condition=Q(active=True), name="allocation_live_on_chip")]


class LogPiece(models.Model):
    """Bytes of a replica's log from `offset` on. Pieces of a replica touch and never overlap."""

    replica = models.ForeignKey(Replica, models.CASCADE, related_name="log_pieces", db_index=False)
    offset = models.BigIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["replica", "offset"], name="log_piece_offset")]


class OutputSet(models.Model):
    """The files that an attempt's replica 0 left, as its node offered them. `bytes` and `files` count against the
    limits from the offer on."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="outputs")
    organization = models.ForeignKey("tenancy.Organization", models.CASCADE, related_name="+")
    at = models.DateTimeField()
    files = models.PositiveIntegerField()
    bytes = models.BigIntegerField()
    said = ArrayField(models.TextField(), default=list)
    """What was left out, and why."""
    complete = models.BooleanField(default=False)
    """Nothing more will come."""
    removed_at = models.DateTimeField(null=True)
    """The files are nobody's to read from then on."""
    swept = models.BooleanField(default=False)
    """They are not in the store any more either."""

    class Meta:
        indexes = [
            models.Index(fields=["removed_at"], condition=Q(swept=False), name="outputs_to_sweep"),
            models.Index(fields=["at"], condition=Q(removed_at__isnull=True), name="outputs_by_age"),
        ]


class OutputLeft(models.Model):
    """An attempt that is no more and whose files may still be in the store; a trigger on `OutputSet` writes it. The
    sweep goes by these rows and never by what it finds in the store: that may hold another installation's."""

    attempt_public_id = models.CharField(max_length=32)


class OutputFile(models.Model):
    """One of them; whole when `stored` is `size`. Its bytes lie in the store (`jobs.outputs_store`)."""

    outputs = models.ForeignKey(OutputSet, models.CASCADE, related_name="kept", db_index=False)
    number = models.PositiveIntegerField()
    """In the offer of its node."""
    path = models.TextField()
    size = models.BigIntegerField()
    stored = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["outputs", "number"], name="output_number"),
            models.UniqueConstraint(fields=["outputs", "path"], name="output_path"),
        ]


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
