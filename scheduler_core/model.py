"""What the engine knows: the rows of a snapshot.

Every quantity is a whole number (Q1): milli-chips (1000 = one chip), millicores, MiB, milliseconds.
Ids are whole numbers and order ties (F3, P2); names serve only the sentences people read.
Rows are frozen; a changed row is a new row with the same id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Id: TypeAlias = int

WHOLE_CHIP = 1000
"""Milli-chips in one chip (Q1)."""


class Choose(StrEnum):
    """How one of several alternatives is taken (P5)."""

    EARLIEST_FINISH = "earliest_finish"
    ORDERED = "ordered"


class AllocationKind(StrEnum):
    """Whether chips are held by right or lent (Q7)."""

    OWNED = "owned"
    GUEST = "guest"


class Lend(StrEnum):
    """Who may use an attempt's idle chips as a guest (T3), fewest first."""

    NEVER = "never"
    TEAM = "team"
    ORGANIZATION = "organization"
    ANY = "any"


class Isolation(StrEnum):
    """How strongly a chip keeps its users apart, weakest first (Q4). Order: `ISOLATION_STRENGTH`."""

    COOPERATIVE = "cooperative"
    ENFORCED = "enforced"
    HARDWARE = "hardware"
    EXCLUSIVE = "exclusive"


ISOLATION_STRENGTH: dict[Isolation, int] = {level: rank for rank, level in enumerate(Isolation)}


@dataclass(frozen=True, slots=True)
class Pool:
    """A set of nodes that jobs may name; `slice_step` in milli-chips (Q3)."""

    id: Id
    name: str
    slice_step: int = 100


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: registered host capacity, and whether new work may be placed on it now."""

    id: Id
    name: str
    pool: Id
    cpu: int
    """Registered host CPU in millicores."""
    memory: int
    """Registered host memory in MiB."""
    ready: bool = True
    """False while cordoned, draining, unreachable or dead: counts as registered, takes nothing new."""
    unready_because: str = ""
    topology: tuple[str, ...] = ()
    """zone / block / rack / …, widest first (Q4)."""
    images: bool = False
    """It runs the images that jobs name (P7)."""
    drain_at: int | None = None
    """From this instant (ms) on the node is to be empty: a planned drain is a capacity change to come (B5)."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One accelerator of a node (Q4). Its capacity is always 1000 milli-chips."""

    id: Id
    node: Id
    index: int
    type: str
    memory: int
    """Measured memory in MiB, less the margin kept for the driver."""
    healthy: bool = True
    health: int = 100
    speed: int = 1000
    """Relative speed of the type, 1000 = the reference."""
    isolation: frozenset[Isolation] = frozenset({Isolation.EXCLUSIVE, Isolation.COOPERATIVE})
    """The classes that are really enforced on it."""
    host_cpu: int = 0
    """Host CPU in millicores that a wholly used chip claims: 1000 on the `cpu` driver, where a core is the
    chip (Q6), otherwise 0."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a team has of one chip type, in milli-chips (F1). `limit` None is no limit; it bounds the team
    together with all teams below it.
    """

    chip_type: str
    guaranteed: int = 0
    limit: int | None = None
    over_quota_weight: int = 1


@dataclass(frozen=True, slots=True)
class PastUse:
    """What a team has used of one chip type, decayed by the policy's half-life as of an instant (F3)."""

    chip_type: str
    service: int
    """Chip-milliseconds (milli-chips × ms / 1000), decayed to `as_of`."""
    as_of: int


@dataclass(frozen=True, slots=True)
class UserCap:
    """Every single user of the team holds at most so many milli-chips of the type (F5)."""

    chip_type: str
    limit: int


@dataclass(frozen=True, slots=True)
class Team:
    """A node of the tenancy tree; `parent` None is the top of an organization."""

    id: Id
    name: str
    organization: Id
    parent: Id | None = None
    quotas: tuple[Quota, ...] = ()
    past_use: tuple[PastUse, ...] = ()
    user_caps: tuple[UserCap, ...] = ()
    budget_left: int | None = None
    """Chip-milliseconds that the hard budget still allows; None has no budget. At 0 nothing new starts (F5)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one replica needs (Q2).

    Whole chips: `chips` ≥ 1, `milli` and `chip_memory` 0. A slice: `chips` 0 and `milli` or `chip_memory` >
    0; the side that is 0 is resolved on the chip it lands on (Q3). CPU only: all three 0. `chip_types` empty
    means any type; else the first that can take the gang now is taken, `in_order`, or any of them alike.
    """

    chips: int = 0
    milli: int = 0
    chip_memory: int = 0
    """MiB of chip memory of a slice."""
    chip_types: tuple[str, ...] = ()
    cpu: int = 0
    memory: int = 0
    isolation: Isolation | None = None
    """The weakest class accepted; None accepts any, and beside another organization `enforced` (P4)."""
    image: bool = False
    """It runs in an image: only on nodes that run any (P7)."""
    in_order: bool = True
    """Whether an earlier one of the chip types is preferred. If not, the faster is, then where least is lost (P3)."""


@dataclass(frozen=True, slots=True)
class Gang:
    """Replicas that run together or not at all (Q2, Q8). Elastic when `minimum` < `maximum`."""

    request: Request
    minimum: int = 1
    maximum: int = 1
    spread: bool = True
    """Each replica on a node of its own."""
    within: int | None = None
    """All replicas share the first so many parts of their nodes' topology: required (P2)."""
    near: int | None = None
    """The same, preferred (P2)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long a job is expected to run, learned from ended ones (B3): milliseconds, `p50` ≤ `p90`."""

    p50: int
    p90: int


@dataclass(frozen=True, slots=True)
class Curve:
    """How fast a job runs by its number of replicas (E1): learned, refreshed as it runs.

    `points[n - 1]` is its useful throughput with n replicas on chips of `chip_type` in any unit of its own;
    only ratios are compared. Beyond the last point it gains nothing.
    """

    chip_type: str
    points: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A waiting job, as the order (F3) and the filters (P1) see it."""

    id: Id
    name: str
    team: Id
    organization: Id
    user: Id
    gang: Gang
    priority: int = 50
    submitted: int = 0
    """Milliseconds since the epoch; kept when the job is requeued."""
    pools: tuple[Id, ...] = ()
    """Allowed pools in order of preference; empty allows every pool of the cell."""
    preemptible: bool = False
    min_runtime: int = 0
    max_duration: int | None = None
    set: Id | None = None
    """The array it belongs to; equal tasks of an array form one class (P6)."""
    set_cap: int | None = None
    """At most so many tasks of the set live at once (`%n`)."""
    version: int = 0
    """Opaque to the engine; returned with the start so that apply can claim exactly this row."""
    others: tuple[Gang, ...] = ()
    """Further alternatives after `gang`, in order (P5)."""
    choose: Choose = Choose.EARLIEST_FINISH
    attained: int = 0
    """Chip-milliseconds that earlier attempts of it have had: decides its service level (ADR 0004)."""
    prediction: Prediction | None = None
    endless: bool = False
    """A service or workspace: never expected to end (B1)."""
    checkpoint: bool = False
    """It saves its state, and a suspended attempt goes on where it was (R3)."""
    restart_cost: int = 0
    """Milliseconds that a new attempt needs before it does useful work again."""
    times_taken: int = 0
    """How often its chips were taken from it lately (R1: the repeat-victim cap)."""
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True, slots=True)
class ChipShare:
    """Part of one chip held by one replica."""

    chip: Id
    milli: int
    memory: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one replica sits and what it holds. `cpu` excludes what its chips claim (Q6)."""

    replica: int
    node: Id
    cpu: int
    memory: int
    chips: tuple[ChipShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """A live attempt: it holds its placements until it has *ended*."""

    id: Id
    """The attempt's id."""
    job: Id
    team: Id
    organization: Id
    placements: tuple[Placement, ...]
    priority: int = 50
    preemptible: bool = False
    started: int = 0
    set: Id | None = None
    min_runtime: int = 0
    max_duration: int | None = None
    isolation: Isolation | None = None
    """What its request accepted: decides who may join it on a chip (P4)."""
    user: Id = 0
    gang: Gang | None = None
    """What it asked for: it shrinks to `minimum` and grows to `maximum` replicas; None keeps its size."""
    pools: tuple[Id, ...] = ()
    submitted: int = 0
    """Of the job: the place in line that it would return to."""
    attained: int = 0
    """Chip-milliseconds of the job's earlier attempts; this one's are counted from `started`."""
    prediction: Prediction | None = None
    """Of the whole run time of this attempt (B3)."""
    endless: bool = False
    checkpoint: bool = False
    checkpointed: int | None = None
    """When a checkpoint was last observed (R3)."""
    restart_cost: int = 0
    times_taken: int = 0
    leaving: bool = False
    """It has been told to go and still holds its chips: nobody can take them a second time."""
    going: tuple[int, ...] = ()
    """Replicas that it has been told to give up and that still hold their chips; the others stay (R4)."""
    resized: int | None = None
    """When its number of replicas last changed (E1)."""
    kind: AllocationKind = AllocationKind.OWNED
    """`GUEST`: its placements name chips that were lent to it (Q7)."""
    curves: tuple[Curve, ...] = ()
    lend: Lend = Lend.TEAM
    """Who may be a guest on its chips (T3)."""
    offered: int | None = None
    """Since when its idle chips are on offer to guests (T2); None while they are not."""
    busy: int | None = None
    """Since when it uses chips that are on offer: no new guest comes, and those who are there yield (T3)."""
    chip_memory_cap: int | None = None
    """MiB of each chip that it is really held to; None: all that it reserved (Q7)."""
    unwanted: tuple[Id, ...] = ()
    """Nodes on which something holds it back: it goes on elsewhere as soon as there is a place (R8, T6)."""

    @property
    def staying(self) -> tuple[Placement, ...]:
        """What it keeps: this alone is charged to its team and to those above."""
        if self.leaving:
            return ()
        if not self.going:
            return self.placements
        return tuple(place for place in self.placements if place.replica not in self.going)

    @property
    def saved(self) -> int:
        """Until when its work is safe: its last observed checkpoint, else its start (R3)."""
        if self.checkpoint and self.checkpointed is not None:
            return max(self.checkpointed, self.started)
        return self.started

    @property
    def departing(self) -> tuple[Placement, ...]:
        """What it still holds and has been told to give up: charged to nobody, and free to nobody."""
        if self.leaving:
            return self.placements
        return tuple(place for place in self.placements if place.replica in self.going) if self.going else ()


@dataclass(frozen=True, slots=True)
class Promise:
    """Chips that a cycle took for a waiting job, which starts there when those who hold them have ended (R6)."""

    job: Id
    placements: tuple[Placement, ...]
    attempts: tuple[Id, ...]
    """Those that are leaving for it."""

    @property
    def id(self) -> Id:
        """Of the row: its job's, for a job has one promise at most."""
        return self.job


@dataclass(frozen=True, slots=True)
class Reservation:
    """The instant and the place at which a waiting gang is expected to fit (B1). Sticky until served or
    infeasible.
    """

    job: Id
    at: int
    placements: tuple[Placement, ...]

    @property
    def id(self) -> Id:
        """Of the row: its job's, for a job has one reservation at most."""
        return self.job


@dataclass(frozen=True, slots=True)
class Window:
    """An advance reservation: from `starts` until `ends` only the team's jobs hold these nodes (B5)."""

    id: Id
    nodes: tuple[Id, ...]
    team: Id
    starts: int
    ends: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What this cell has been asked for lately: so many replicas like this came. All of these rows are the mix by which
    what remains of a node is valued (P3).
    """

    id: Id
    request: Request
    count: int


Row: TypeAlias = Pool | Node | Chip | Team | Job | Running | Promise | Reservation | Window | Seen


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole of a cell at one instant. `now` is the engine's only clock (ms since the epoch)."""

    now: int
    pools: tuple[Pool, ...] = ()
    nodes: tuple[Node, ...] = ()
    chips: tuple[Chip, ...] = ()
    teams: tuple[Team, ...] = ()
    jobs: tuple[Job, ...] = ()
    """Waiting jobs only."""
    running: tuple[Running, ...] = ()
    """Live attempts only."""
    promises: tuple[Promise, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    windows: tuple[Window, ...] = ()
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Upsert:
    """Feed event: this row is now so (S1)."""

    row: Row


@dataclass(frozen=True, slots=True)
class Remove:
    """Feed event: the row of this kind and id is gone, or no longer waits / lives (S1)."""

    kind: type[Row]
    id: Id


FeedEvent: TypeAlias = Upsert | Remove
