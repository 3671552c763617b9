"""What is told to everybody, and what was decided."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from flexai.common import source
from flexai.common.ids import new_id
from flexai.tenancy.models.people import Organization


def _announcement_id() -> str:
    return new_id("ann")


class Announcement(models.Model):
    """What an operator tells everybody, or one organization, for a while."""

    class Level(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        URGENT = "urgent"

    public_id = models.CharField(max_length=32, unique=True, default=_announcement_id, editable=False)
    text = models.CharField(max_length=500)
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.INFO.value)
    organization = models.ForeignKey(
        Organization, models.CASCADE, null=True, blank=True, related_name="announcements"
    )
    """None: for all."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="announcement_ends_later")
        ]

    def __str__(self) -> str:
        return self.text[:60]


class AuditEntry(models.Model):
    """A decision of a principal: who, what, on what, before and after, why, from where. Append-only: a trigger refuses
    the rest."""

    at = models.DateTimeField(auto_now_add=True)
    organization = models.ForeignKey(
        Organization, models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False
    )
    actor_kind = models.CharField(max_length=16)
    """user, token, agent, scheduler, platform"""
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=64)
    object_kind = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.TextField(default="")
    request_id = models.CharField(max_length=64, default=source.request_id)
    address = models.CharField(max_length=45, default=source.address, db_default="")
    """Of the machine that asked; empty for what the platform decided."""

    class Meta:
        indexes = [models.Index(fields=["organization", "-id"], name="audit_by_organization")]
        verbose_name_plural = "audit log"
