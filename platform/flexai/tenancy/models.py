"""Who works here, what they are promised, and what they decided.

Chip types are plain names (`cluster.ChipType.name`): a quota may be set before the first such chip registers.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from flexai.common.ids import new_id
from flexai.tenancy.roles import Role as Role


def _organization_id() -> str:
    return new_id("org")


def _team_id() -> str:
    return new_id("team")


def _token_id() -> str:
    return new_id("tok")


ROLES = [(role.value, role.value.title()) for role in Role]


def _account_id() -> str:
    return new_id("svc")


def _rule_id() -> str:
    return new_id("trust")


def _request_id() -> str:
    return new_id("qreq")


def _announcement_id() -> str:
    return new_id("ann")


class User(AbstractUser):
    """A person or service account. `is_staff` makes a platform operator."""


class Identity(models.Model):
    """Who a user is at a provider by which they sign in. Never guessed from a name or an address of mail."""

    user = models.ForeignKey(User, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="one_user_per_identity")]


class SecondFactor(models.Model):
    """The authenticator of a user who signs in with a password (`tenancy.second_factor`)."""

    user = models.OneToOneField(User, models.CASCADE, related_name="second_factor")
    secret = models.TextField()
    """Sealed."""
    confirmed_at = models.DateTimeField(null=True)
    """None: it does not count yet."""
    last_step = models.BigIntegerField(default=0)
    """Of the last code that was taken; earlier ones are worth nothing any more."""


class RecoveryCode(models.Model):
    """For the day on which the authenticator is lost; worth one sign-in."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes")
    hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)


class ServiceAccount(models.Model):
    """A user that is a program: without a password, it acts by tokens alone, in one organization. Its role is that of
    its user's membership, in the organization or in one team."""

    public_id = models.CharField(max_length=32, unique=True, default=_account_id, editable=False)
    organization = models.ForeignKey("Organization", models.CASCADE, related_name="service_accounts")
    team = models.ForeignKey("Team", models.CASCADE, null=True, blank=True, related_name="service_accounts")
    """When set, its role is in this team only."""
    user = models.OneToOneField(User, models.PROTECT, related_name="service_account")
    name = models.SlugField(max_length=63)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="account_name_in_organization")
        ]

    def __str__(self) -> str:
        return self.name


class Organization(models.Model):
    """A tenant: sees and touches only its own."""

    public_id = models.CharField(max_length=32, unique=True, default=_organization_id, editable=False)
    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in an organization; holds in all its teams."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=ROLES, default=Role.MEMBER.value)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_user")
        ]


class Team(models.Model):
    """Pays for jobs. Teams nest; the name is unique in its organization."""

    public_id = models.CharField(max_length=32, unique=True, default=_team_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="teams")
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    name = models.SlugField(max_length=63)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveIntegerField(default=0)
    changed = models.BigIntegerField(default=0, editable=False)
    """Transaction id of the last change (law 7); a trigger sets it."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="team_name_in_organization")
        ]
        indexes = [models.Index(fields=["changed"], name="team_changed")]

    def __str__(self) -> str:
        return self.name


class TeamMember(models.Model):
    """A user's role in one team, beside the one in the organization; the stronger holds."""

    team = models.ForeignKey(Team, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="team_memberships")
    role = models.CharField(max_length=16, choices=ROLES, default=Role.MEMBER.value)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="one_team_role_per_user")]


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
    """A team asks for more of one chip type in one cell, and what became of it (`tenancy.quota_requests`). Lines are as
    they are set: chip_type, guaranteed_milli, limit_milli, over_quota_weight."""

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
    cell = models.ForeignKey("cluster.Cell", models.CASCADE, related_name="+")
    chip_type = models.CharField(max_length=64)
    asked = models.JSONField()
    until = models.DateField(null=True)
    """The last day (UTC) on which it is to hold; None for good."""
    reason = models.TextField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN.value)
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    granted = models.JSONField(null=True)
    before = models.JSONField(null=True)
    """What the team has again when the time is over; None for no line."""
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
            )
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


class Token(models.Model):
    """A bearer credential of a user in one organization. Only its SHA-256 is kept."""

    public_id = models.CharField(max_length=32, unique=True, default=_token_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="+")
    """When set, the token reaches this team only."""
    name = models.CharField(max_length=100)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    rule = models.ForeignKey("TrustRule", models.CASCADE, null=True, blank=True, related_name="tokens")
    """When set, it was given for an identity that this rule trusts, and goes with the rule."""


class TrustRule(models.Model):
    """Whoever shows an identity token of this issuer, made for this audience and with these claims, gets a token of
    this account for a while (`tenancy.trust`)."""

    public_id = models.CharField(max_length=32, unique=True, default=_rule_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="trust_rules")
    account = models.ForeignKey(ServiceAccount, models.CASCADE, related_name="trust_rules")
    name = models.CharField(max_length=63)
    issuer = models.CharField(max_length=255)
    audience = models.CharField(max_length=255, blank=True)
    claims = models.JSONField()
    """Patterns by claim; one of each has to fit."""
    scopes = models.JSONField(default=list)
    expires_in_minutes = models.PositiveIntegerField(default=60)
    """How long a token lives that was given by it."""
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class UsedIdentity(models.Model):
    """An identity token that a token was given for: it is worth nothing a second time."""

    hash = models.CharField(max_length=64, primary_key=True)
    """SHA-256 of issuer and token id."""
    expires_at = models.DateTimeField(db_index=True)
    """The identity token's own end."""


class SignInRequest(models.Model):
    """A terminal that waits for somebody to sign it in from a browser (`tenancy.sign_ins`)."""

    hash = models.CharField(max_length=64, unique=True)
    """SHA-256 of the secret by which the terminal asks what became of it."""
    code = models.CharField(max_length=8, unique=True)
    """What its user types in the browser."""
    machine = models.CharField(max_length=100)
    """As the terminal calls it."""
    address = models.CharField(max_length=45)
    """From which the terminal asked."""
    scopes = models.JSONField(default=list)
    expires_in_days = models.PositiveIntegerField()
    """Of the token to be."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    polled_at = models.DateTimeField(null=True)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="+")
    """Who confirmed it; None where it is undecided or refused."""
    organization = models.ForeignKey(Organization, models.CASCADE, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    given_at = models.DateTimeField(null=True)
    """When the terminal fetched its token: once."""


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
    """A decision of a principal: who, what, on what, before and after, why. Append-only: a trigger refuses the rest."""

    at = models.DateTimeField(auto_now_add=True)
    organization = models.ForeignKey(
        Organization, models.SET_NULL, null=True, related_name="+", db_constraint=False
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
    request_id = models.CharField(max_length=64, default="")

    class Meta:
        indexes = [models.Index(fields=["organization", "-id"], name="audit_by_organization")]
