"""How a program, a terminal or a browser signs in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils.module_loading import import_string

from flexai.common.ids import new_id
from flexai.tenancy.models.people import Organization, ServiceAccount, Team, User


def _token_id() -> str:
    return new_id("tok")


def _rule_id() -> str:
    return new_id("trust")


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


def _session_id() -> str:
    return new_id("session")


class BrowserSession(AbstractBaseSession):
    """A browser that is signed in, or was not yet (`tenancy.browser_sessions`). Its key is the cookie's and is told to
    nobody; people name it by the public id."""

    public_id = models.CharField(max_length=32, unique=True, default=_session_id, editable=False)
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="browser_sessions")
    address = models.CharField(max_length=45, blank=True)
    """From which it was used last."""
    agent = models.CharField(max_length=300, blank=True)
    """As the browser named itself when it signed in."""
    began_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(auto_now_add=True)
    """To the minute."""

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A session that is there keeps its id, and where and when it was used."""
        if kwargs.get("force_update"):
            kwargs["update_fields"] = ["session_data", "expire_date", "user", "agent"]
        super().save(*args, **kwargs)

    @classmethod
    def get_session_store_class(cls) -> Any:
        """What reads and writes it."""
        return import_string(f"{settings.SESSION_ENGINE}.SessionStore")
