"""What jobs write and leave."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from flexai.jobs.models.attempts import Attempt, Replica


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
