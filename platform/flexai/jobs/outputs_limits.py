"""How much of jobs' outputs is kept: of one job, and of one organization. The installation says it by its settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is kept."""

    bytes: int
    files: int


def job_limits() -> Limits:
    """Of one job, all its attempts together."""
    return Limits(settings.OUTPUTS_JOB_BYTES, settings.OUTPUTS_JOB_FILES)


def organization_limits() -> Limits:
    """Of all jobs of one organization."""
    return Limits(settings.OUTPUTS_ORGANIZATION_BYTES, settings.OUTPUTS_ORGANIZATION_FILES)


def size_words(number: int) -> str:
    """Bytes as people read them: 1.5 GiB."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= one:
            return f"{number / one:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number} bytes"
