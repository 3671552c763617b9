"""What teams and people are promised and may use."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from flexai.common.ids import new_id
from flexai.tenancy.models.people import Organization, Team, User


def _request_id() -> str:
    return new_id("qreq")


class Quota(models.Model):
    """What a team has of one chip type in one cell, in milli-chips (F1). No row: no guarantee and no limit."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="quotas")
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    chip_type = models.CharField(max_length=64)
    guaranteed_milli = models.BigIntegerField(default=0)
    limit_milli = models.BigIntegerField(null=True, blank=True)
    over_quota_weight = models.PositiveIntegerField(default=1)
    changed = models.BigIntegerField(default=0, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "cell", "chip_type"], name="one_quota_per_type"),
            models.CheckConstraint(
                condition=Q(guaranteed_milli__gte=0), name="quota_guaranteed_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(limit_milli__isnull=True) | Q(limit_milli__gte=F("guaranteed_milli")),
                name="quota_limit_not_below_guaranteed",
            ),
        ]
        indexes = [models.Index(fields=["cell", "changed"], name="quota_changed")]


class QuotaRequest(models.Model):
    """A team asks for more of one chip type in one cell, or for more budget, and what became of it
    (`tenancy.quota_requests`). Figures are as they are set: of a quota chip_type, guaranteed_milli, limit_milli,
    over_quota_weight; of a budget chip_hours, money_micro."""

    class Kind(models.TextChoices):
        QUOTA = "quota"
        BUDGET = "budget"

    class State(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        """What was granted holds, or was set otherwise since."""
        DECLINED = "declined"
        WITHDRAWN = "withdrawn"
        ENDED = "ended"
        """It was granted for a time, and that is over."""

    public_id = models.CharField(max_length=32, unique=True, default=_request_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="quota_requests")
    team = models.ForeignKey(Team, models.CASCADE, related_name="quota_requests")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.QUOTA.value)
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, null=True, related_name="+")
    """None, and no chip type: a budget is of neither."""
    chip_type = models.CharField(max_length=64, blank=True)
    asked = models.JSONField()
    until = models.DateField(null=True)
    """The last day (UTC) on which it is to hold; None for good."""
    reason = models.TextField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN.value)
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    granted = models.JSONField(null=True)
    before = models.JSONField(null=True)
    """What the team has again when the time is over; None for no quota of the type."""
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    answer = models.TextField(default="")
    """What whoever decided said."""
    note = models.TextField(default="")
    """What became of a grant for a time."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "cell", "chip_type"],
                condition=Q(state="open"),
                name="one_open_request_per_type",
            ),
            models.UniqueConstraint(
                fields=["team"],
                condition=Q(state="open", kind="budget"),
                name="one_open_request_for_a_budget",
            ),
            models.CheckConstraint(
                condition=Q(kind="quota", cell__isnull=False) | Q(kind="budget", cell=None, chip_type=""),
                name="quota_request_of_one_kind",
            ),
        ]
        indexes = [
            models.Index(
                fields=["until"],
                condition=Q(state="approved", until__isnull=False),
                name="quota_granted_for_a_time",
            )
        ]

    def __str__(self) -> str:
        return self.public_id


class UserCap(models.Model):
    """Every single user of the team holds at most so many milli-chips of the type in it (F5). A change of these rows
    changes their team's, so that the feed reads it anew."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="user_caps", db_index=False)
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    chip_type = models.CharField(max_length=64)
    limit_milli = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "cell", "chip_type"], name="one_user_cap_per_type"),
            models.CheckConstraint(condition=Q(limit_milli__gte=0), name="user_cap_not_negative"),
        ]


class Budget(models.Model):
    """What a team and all teams below it may spend, in chip-hours or money or both. How much is spent stands in the
    ledger; `is_spent` and `is_warned` are looked after by the worker."""

    class Period(models.TextChoices):
        MONTH = "month"
        """Anew on the first of each month, in UTC."""
        TOTAL = "total"
        """Once, from `since` on."""

    team = models.OneToOneField(Team, models.CASCADE, related_name="budget")
    period = models.CharField(max_length=8, choices=Period.choices, default=Period.MONTH.value)
    since = models.DateField()
    chip_hours = models.BigIntegerField(null=True, blank=True)
    money_micro = models.BigIntegerField(null=True, blank=True)
    """Millionths of the currency."""
    soft_percent = models.PositiveSmallIntegerField(default=80)
    """From here on it is told (the soft stop)."""
    hard = models.BooleanField(default=True)
    """Once it is spent, nothing with chips starts (F5)."""
    is_warned = models.BooleanField(default=False)
    is_spent = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(chip_hours__isnull=False) | Q(money_micro__isnull=False),
                name="budget_of_something",
            ),
            models.CheckConstraint(
                condition=(Q(chip_hours__isnull=True) | Q(chip_hours__gte=0))
                & (Q(money_micro__isnull=True) | Q(money_micro__gte=0)),
                name="budget_not_negative",
            ),
        ]


class TeamUse(models.Model):
    """Milli-chips of a type that the live attempts of a team and of all teams below it hold (law 8).

    The row is made when a team first uses a type; apply moves it under the team's limit in the same statement.
    """

    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    team = models.ForeignKey(Team, models.CASCADE, related_name="uses")
    chip_type = models.CharField(max_length=64)
    used_milli = models.BigIntegerField(default=0)
    accrued = models.BigIntegerField(default=0, db_default=0)
    """Chip-milliseconds of attempts that ended since the last roll-up into past use (F3)."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cell", "team", "chip_type"], name="one_use_per_type"),
            models.CheckConstraint(condition=Q(used_milli__gte=0), name="team_use_not_negative"),
        ]


class JobPolicy(models.Model):
    """What the jobs of an organization, or of one team and those below it, get and may ask for (`jobs.policies`)."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="job_policies")
    team = models.OneToOneField(Team, models.CASCADE, null=True, blank=True, related_name="job_policy")
    """None: of the whole organization."""
    defaults = models.JSONField(default=dict)
    """Fields of the spec, as a user writes them, for jobs that leave them out."""
    bounds = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "job policies"
        constraints = [
            models.UniqueConstraint(
                fields=["organization"], condition=Q(team=None), name="one_policy_of_an_organization"
            )
        ]

    def __str__(self) -> str:
        return f"team {self.team}" if self.team is not None else f"organization {self.organization}"
