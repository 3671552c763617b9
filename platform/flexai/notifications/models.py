"""Webhooks, and the outbox: what has to be told to whom, and what became of it."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from flexai.common.fetching import origin_of
from flexai.common.ids import new_id


def _hook_id() -> str:
    return new_id("hook")


def _message_id() -> str:
    return f"msg-{secrets.token_hex(16)}"


class Webhook(models.Model):
    """An address that hears of what happens in an organization, or in one team and those below it."""

    public_id = models.CharField(max_length=32, unique=True, default=_hook_id, editable=False)
    organization = models.ForeignKey("tenancy.Organization", models.CASCADE, related_name="+", db_index=False)
    team = models.ForeignKey("tenancy.Team", models.CASCADE, null=True, blank=True, related_name="+")
    """None: of the whole organization."""
    name = models.SlugField(max_length=63, db_index=False)
    """By which the spec of a job may name it."""
    description = models.CharField(max_length=200, blank=True, default="")
    url = models.CharField(max_length=500)
    events = ArrayField(models.CharField(max_length=32), default=list)
    """Empty: it hears of jobs that name it, and of nothing else."""
    secret = models.TextField()
    """Sealed."""
    former_secret = models.TextField(default="")
    """Sealed; messages are signed with both until `former_until`."""
    former_until = models.DateTimeField(null=True)
    is_on = models.BooleanField(default=True)
    off_because = models.CharField(max_length=300, default="")
    """Why the platform switched it off; empty where a person did."""
    failing_since = models.DateTimeField(null=True)
    """No message was taken since then."""
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="webhook_name_in_organization")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def receiver(self) -> str:
        """Of its address the origin alone: the rest may be a secret of its own."""
        return origin_of(urlsplit(self.url))


class Delivery(models.Model):
    """One message to one receiver: a webhook, or a person by mail. A trigger on the history of jobs writes it in the
    transaction that moves the job, so nothing is lost and nothing told that did not happen.

    Its foreign keys are no constraints: a webhook that is removed at that instant must not undo the move. A row whose
    receiver is gone is told to nobody, and goes with its age.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        """Given up."""

    public_id = models.CharField(max_length=36, unique=True, default=_message_id, editable=False)
    """The same on each try: a receiver that got it twice knows by it."""
    organization = models.ForeignKey(
        "tenancy.Organization", models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    hook = models.ForeignKey(
        Webhook, models.CASCADE, null=True, related_name="deliveries", db_index=False, db_constraint=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    event = models.CharField(max_length=32)
    at = models.DateTimeField()
    """When it happened."""
    data = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING.value)
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    """Not tried before. Whoever tries it moves this on first: should it die, the next try follows then."""
    last_at = models.DateTimeField(null=True)
    """Of the last try."""
    status = models.PositiveSmallIntegerField(null=True)
    """HTTP status of the last answer."""
    answer = models.CharField(max_length=300, default="")
    """What came of the last try, for people."""

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(hook__isnull=False, user__isnull=True) | Q(hook__isnull=True, user__isnull=False),
                name="delivery_to_hook_or_user",
            )
        ]
        indexes = [
            models.Index(
                fields=["hook", "next_at"],
                condition=Q(state="pending", hook__isnull=False),
                name="delivery_due_to_hook",
            ),
            models.Index(
                fields=["user", "next_at"],
                condition=Q(state="pending", user__isnull=False),
                name="delivery_due_to_user",
            ),
            models.Index(fields=["hook", "-id"], condition=Q(hook__isnull=False), name="delivery_of_hook"),
            models.Index(
                fields=["user", "-last_at"], condition=Q(user__isnull=False), name="delivery_of_user"
            ),
            models.Index(fields=["at"], name="delivery_by_age"),
        ]

    def __str__(self) -> str:
        return self.public_id
