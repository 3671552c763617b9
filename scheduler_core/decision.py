"""What the engine answers: units to apply whole or drop whole (S2), and a verdict for all who wait (X1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from scheduler_core.model import Id, Placement, Reservation
from scheduler_core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Start:
    """Start this job now, with these placements (one per replica, in replica order)."""

    job: Id
    version: int
    placements: tuple[Placement, ...]


class Rung(IntEnum):
    """How much a taking disturbs, least first (R1). Free capacity is rung 0: nothing is taken."""

    SHRINK = 1
    MOVE = 2
    SUSPEND = 3
    EVICT = 4


class Ground(StrEnum):
    """By what right chips are taken (R2, R7)."""

    GUARANTEE = "guarantee"
    FAIR_SHARE = "fair_share"
    PRIORITY = "priority"
    SERVICE_LEVEL = "service_level"
    CONSOLIDATION = "consolidation"
    EXCESS = "excess"


@dataclass(frozen=True, slots=True)
class Taking:
    """Chips are taken from a live attempt (R1).

    SHRINK leaves it the replicas in `keeps`; MOVE ends it and starts its job again at `placements`; SUSPEND
    and EVICT end it, with and without a checkpoint, and its job goes back in line.
    """

    attempt: Id
    job: Id
    rung: Rung
    ground: Ground
    loss: int
    """Chip-milliseconds of work that are lost (R3)."""
    keeps: tuple[int, ...] = ()
    """SHRINK: the indices of the replicas that stay."""
    placements: tuple[Placement, ...] = ()
    """MOVE: where the job runs next."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One start with every taking that it needs. Applied whole or dropped whole (S2).

    With takings the start is a promise: its chips are charged to it at once, and it runs when those who hold
    them have ended (R6).
    """

    start: Start
    takings: tuple[Taking, ...] = ()


@dataclass(frozen=True, slots=True)
class Resize:
    """A live attempt ends and its job starts again with more or fewer replicas (E1), or elsewhere with as many (R8)."""

    attempt: Id
    job: Id
    placements: tuple[Placement, ...]
    """All its replicas from then on."""
    loss: int
    """Chip-milliseconds of work that are lost (R3)."""


@dataclass(frozen=True, slots=True)
class Resizing:
    """Elastic work of one team shares its chips anew, or one attempt goes on elsewhere. A unit of its own (S2).

    All its attempts are told to leave. Each of its jobs is promised its place, and runs there when all of them
    have left (R6).
    """

    resizes: tuple[Resize, ...]
    starts: tuple[Start, ...] = ()
    """Of waiting jobs, on chips that the others leave."""

    @property
    def attempts(self) -> tuple[Id, ...]:
        """Those that leave, by id."""
        return tuple(resize.attempt for resize in self.resizes)

    @property
    def promised(self) -> tuple[tuple[Id, tuple[Placement, ...]], ...]:
        """All its jobs, each with its place."""
        resized = [(resize.job, resize.placements) for resize in self.resizes]
        return (*resized, *((start.job, start.placements) for start in self.starts))


@dataclass(frozen=True, slots=True)
class YieldRule:
    """How a guest makes way by itself, without anybody deciding it (T3). Times in milliseconds."""

    above: int
    """Permille of the chip's use by its owner from which the owner is back."""
    pause_after: int
    """The guest is paused once the owner has been back for so long, and goes on when it is gone again."""
    stop_after: int
    """The guest is stopped once the owner has been back for so long."""
    memory_floor: int
    """MiB that stay free beside it; below that it is stopped at once."""


@dataclass(frozen=True, slots=True)
class Loan:
    """A waiting job starts as a guest, on chips that their owners do not use (T3). A unit of its own (S2)."""

    start: Start
    lenders: tuple[Id, ...]
    """The owners' attempts, by id."""
    rule: YieldRule


class RecallGround(StrEnum):
    """Why a guest must go (T3)."""

    OWNER_BACK = "owner_back"
    """It uses its chips again, and has for as long as the policy lets a guest stay."""
    OWNER_GONE = "owner_gone"
    """It has ended or is leaving: a guest lives by its owner."""
    OWNER_KEEPS = "owner_keeps"
    """It does not offer its chips any more."""
    CHIPS_NEEDED = "chips_needed"
    """Somebody starts there by right."""


@dataclass(frozen=True, slots=True)
class Recall:
    """A guest is told to leave; its job waits again. A unit of its own (S2)."""

    attempt: Id
    job: Id
    ground: RecallGround
    loss: int
    """Chip-milliseconds of work that are lost (R3)."""


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
    reservations: tuple[Reservation, ...] = ()
    """Every reservation that stands after this decision, kept or new (B1); rows not among them are gone."""
    promises: tuple[Id, ...] = ()
    """Jobs whose promise stands after this decision, an earlier one or a new one; promise rows of other jobs are gone,
    and so are earlier ones of who is `newly_promised` (R6)."""
    resizings: tuple[Resizing, ...] = ()
    """What goes on elsewhere (R8), each by itself; and elastic work that grows, and shrinks for each other and for who
    waits (E1), at most one for each team, priority and chip type."""
    relief: tuple[Taking, ...] = ()
    """Takings that work off an excess which already stands; each is a unit of its own."""
    loans: tuple[Loan, ...] = ()
    """Jobs that start as guests on idle chips (T3)."""
    recalls: tuple[Recall, ...] = ()
    """Guests that are told to leave."""
    effort: int = 0
    """S4: samples and candidate classes per request; a stated function of load."""
    due: int | None = None
    """S6: when to decide again if nothing is heard before: until then nothing new would be decided, however long one
    waits, once this is carried out. `now` where the cycle stopped at a bound, None where only news can change it."""

    @property
    def newly_promised(self) -> frozenset[Id]:
        """Jobs that this decision itself promises chips. A promise that one of them had before has lapsed: the new one
        comes in its place, never beside it (R6).
        """
        units = [unit for unit in self.units if unit.takings]
        takings = (*self.relief, *(taking for unit in units for taking in unit.takings))
        return frozenset(
            (
                *(unit.start.job for unit in units),
                *(taking.job for taking in takings if taking.rung in (Rung.SHRINK, Rung.MOVE)),
                *(job for resizing in self.resizings for job, _ in resizing.promised),
            )
        )
