"""What teams keep for their jobs."""

from __future__ import annotations

from django.db import models

from flexai.common.ids import new_id
from flexai.tenancy.models.people import Organization, Team


def _secret_id() -> str:
    return new_id("secret")


class Secret(models.Model):
    """A value that jobs of the team, and of those below it, are given by name (`tenancy.team_secrets`)."""

    public_id = models.CharField(max_length=32, unique=True, default=_secret_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    team = models.ForeignKey(Team, models.CASCADE, related_name="secrets", db_index=False)
    name = models.CharField(max_length=128)
    sealed = models.TextField(editable=False)
    """Sealed, for this team and name alone."""
    set_by = models.CharField(max_length=200)
    """Name of the user who set the value that holds now; with which token, the audit log says."""
    set_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    """When a job was last given it, to the minute."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_secret_of_a_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """What the value is sealed for."""
        return f"secret {self.team_id} {self.name}"
