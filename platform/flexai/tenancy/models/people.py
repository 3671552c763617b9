"""Organizations, their teams and members, and how people are known."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models

from flexai.common.ids import new_id
from flexai.tenancy.roles import Role


def _organization_id() -> str:
    return new_id("org")


def _team_id() -> str:
    return new_id("team")


ROLES = [(role.value, role.value.title()) for role in Role]


def _account_id() -> str:
    return new_id("svc")


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
