"""What the engine answers: units to apply whole or drop whole (S2), and a verdict for all who wait (X1)."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler_core.model import Id, Placement
from scheduler_core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Start:
    """Start this job now, with these placements (one per replica, in replica order)."""

    job: Id
    version: int
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """One start with everything it needs. Applied whole or dropped whole (S2)."""

    start: Start


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why these jobs (one class, P6) wait, most blocking reason first (X1)."""

    jobs: tuple[Id, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Excess:
    """Something that already stands above its capacity or limit; reported, never created by a unit."""

    what: str
    id: Id
    used: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A unit that would break a safety law. It was dropped; its job is to be quarantined under that name."""

    job: Id
    law: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one snapshot; the same input gives the same answer on every machine (S1)."""

    now: int
    units: tuple[Unit, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    excesses: tuple[Excess, ...] = ()
    broken: tuple[Violation, ...] = ()
    """Units that were dropped because they break a safety law; normally empty."""
    effort: int = 0
    """S4: samples and candidate classes per request; a stated function of load."""
