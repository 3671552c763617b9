"""What a job waits for other jobs to do first, and whether that has come, may come, or can never come.

The words are Slurm's. A dependency is on one job or on all jobs of a set; what it needs to know of them is whether
one is still open (may run, now or later) and whether one has failed (ended in any other way than succeeded).
A job that has ended can be asked for another run: then it is open again, and what was never may come after all.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class After(StrEnum):
    """When a dependent job may start."""

    OK = "afterok"
    """All have succeeded."""
    ANY = "afterany"
    """All have ended, however."""
    NOT_OK = "afternotok"
    """All have ended, and not all have succeeded."""


class Otherwise(StrEnum):
    """What becomes of a job whose dependency can never come."""

    HOLD = "hold"
    CANCEL = "cancel"


class Standing(StrEnum):
    """Where a dependency stands."""

    PENDING = "pending"
    MET = "met"
    NEVER = "never"


def standing(after: After, *, one_is_open: bool, one_has_failed: bool) -> Standing:
    """Where a dependency stands on jobs of which this is so."""
    if after is After.OK and one_has_failed:
        return Standing.NEVER
    if one_is_open:
        return Standing.PENDING
    if after is After.NOT_OK and not one_has_failed:
        return Standing.NEVER
    return Standing.MET


def of_all(standings: Iterable[Standing]) -> Standing:
    """Where a job with these dependencies stands: it needs all of them."""
    found = set(standings)
    if Standing.NEVER in found:
        return Standing.NEVER
    return Standing.PENDING if Standing.PENDING in found else Standing.MET
