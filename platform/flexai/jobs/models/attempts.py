"""Attempts of jobs, and what they hold on nodes."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from flexai.common.ids import new_id
from flexai.jobs.images import MAX_DIGEST
from flexai.jobs.models.jobs import Job, choices
from scheduler_core.lifecycle import AttemptState, Outcome
from scheduler_core.stragglers import Sign


def _attempt_id() -> str:
    return new_id("att")


class Attempt(models.Model):
    """One try at running a job. Live until *ended*; only then its chips are free."""

    public_id = models.CharField(max_length=32, default=_attempt_id, editable=False)
    organization = models.ForeignKey(
        "tenancy.Organization", models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    cell = models.ForeignKey(
        "cluster.Cell", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    job = models.ForeignKey(Job, models.CASCADE, related_name="attempts", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=choices(AttemptState), default=AttemptState.PLACED.value)
    outcome = models.CharField(max_length=20, choices=choices(Outcome), default="", blank=True)
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


class Straggler(models.Model):
    """A running attempt that something holds back, or that falls behind its array (T6); kept once told or moved."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="straggler")
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    since = models.DateTimeField(null=True)
    """None: nothing does any more."""
    sign = models.CharField(max_length=8, choices=choices(Sign))
    sentence = models.TextField()
    """What was seen when it was last looked at, without its end."""
    facts = models.JSONField()
    """The numbers of it."""
    nodes = ArrayField(models.BigIntegerField())
    """Where that is."""
    told_at = models.DateTimeField(null=True)
    acts_at = models.DateTimeField(null=True)
    """From when on its policy moves it, as the notice said."""
    leaves_at = models.DateTimeField(null=True)
    """Since when it is to go on elsewhere, as soon as there is a place."""
    moved_at = models.DateTimeField(null=True)


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

    attempt = models.ForeignKey(
        Attempt, models.CASCADE, related_name="replicas", db_index=False, db_constraint=False
    )
    index = models.PositiveIntegerField()
    node = models.ForeignKey(
        "cluster.Node", models.PROTECT, related_name="replicas", db_index=False, db_constraint=False
    )
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
    image = models.CharField(max_length=MAX_DIGEST, default="", db_default="")
    """Digest of the image that it really ran in; empty where it is a process of its node."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "index"], name="replica_index_in_attempt")]
        indexes = [models.Index(fields=["node"], condition=~Q(state="ended"), name="replica_live_on_node")]


class Allocation(models.Model):
    """A replica's share of one chip, `active` until the attempt has ended. The chip's counter is the sum of these."""

    class Kind(models.TextChoices):
        OWNED = "owned"
        GUEST = "guest"

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="allocations", db_constraint=False)
    replica = models.ForeignKey(
        Replica, models.CASCADE, related_name="allocations", db_index=False, db_constraint=False
    )
    chip = models.ForeignKey(
        "cluster.Chip", models.PROTECT, related_name="allocations", db_index=False, db_constraint=False
    )
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
