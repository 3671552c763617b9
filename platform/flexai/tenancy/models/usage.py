"""What was used, and what it costs."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from flexai.tenancy.models.people import Organization, Team, User


class Price(models.Model):
    """What a chip-hour of a type costs from a day (UTC) on, in millionths of the installation's currency. Never changed
    for a day that is over, so that what was reported stays true."""

    chip_type = models.CharField(max_length=64)
    from_day = models.DateField()
    micro_per_chip_hour = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chip_type", "from_day"], name="one_price_per_day"),
            models.CheckConstraint(condition=Q(micro_per_chip_hour__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.chip_type} from {self.from_day}"


class UsageAmounts(models.Model):
    """How long chips were held, in milli-chips × milliseconds, by what quota charges for them."""

    organization = models.ForeignKey(
        Organization, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    """Its team's."""
    team = models.ForeignKey(Team, models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    """In UTC."""
    chip_type = models.CharField(max_length=64)
    labels = models.JSONField(default=dict)
    """The job's."""
    starting = models.BigIntegerField()
    running = models.BigIntegerField()
    stopping = models.BigIntegerField()
    guest = models.BigIntegerField()
    """Borrowed from chips that somebody else holds (T3): no quota is charged, nothing is to pay."""
    used = models.BigIntegerField()
    """The part of `measured` in which the chips worked."""
    measured = models.BigIntegerField()
    """The part of `running` whose use was measured."""
    energy = models.BigIntegerField(default=0, db_default=0)
    """Millijoules that were measured."""
    metered = models.BigIntegerField(default=0, db_default=0)
    """The part of all these times, borrowed ones too, whose energy was measured; where that is nothing, it is
    unknown."""
    ended = models.BigIntegerField()
    """Attempts that ended on this day."""

    class Meta:
        abstract = True


class UsageLine(UsageAmounts):
    """The ledger: what one attempt that has ended held of one type on one day. Written where the attempt ends."""

    attempt = models.BigIntegerField()
    settled = models.BooleanField(default=False)
    """It is part of its `UsageDay`."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "chip_type", "day"], name="one_line_per_attempt")
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(settled=False), name="usage_unsettled"),
            models.Index(fields=["day"], name="usage_by_day"),
        ]


class UsageDay(UsageAmounts):
    """The settled lines of one day, summed for reports."""

    labels_hash = models.CharField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "day", "user", "chip_type", "labels_hash"], name="one_sum_per_day"
            )
        ]
        indexes = [models.Index(fields=["organization", "day"], name="usage_of_organization")]
