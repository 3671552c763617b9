"""The one policy (S4) and its named numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
BEAT: Final = 10 * SECOND
"""What changes with every millisecond is taken as it was at the last whole beat, so that it is known when it changes
next (S6)."""


def last_beat(now: int) -> int:
    """The latest whole beat up to this instant."""
    return now - now % BEAT


def next_beat(now: int) -> int:
    """The first whole beat after this instant."""
    return last_beat(now) + BEAT


class PolicyOutOfBounds(ValueError):  # noqa: N818 - it says what is true of the policy
    """A number of the policy is outside its bounds; the message names both."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a cell decides. Everything has a default; nothing here is read from a clock or a file.

    Times are milliseconds, service is chip-milliseconds. A value outside `BOUNDS` raises PolicyOutOfBounds.
    """

    seed: int = 0
    """Keys the counter-based generator (Q1)."""
    max_starts: int = 5000
    """Bound of one cycle: at most so many starts; the next cycle goes on (R6)."""
    half_life: int = 24 * HOUR
    """Of past use (F3)."""
    service_levels: tuple[int, ...] = tuple(5 * MINUTE << level for level in range(32))
    """Attained service (chip-ms) from which a preemptible job is on the next level, ascending (ADR 0004). By
    default one chip's `min_runtime`, then twice as much each time, up to twenty chip-years."""
    run_time: int = 4 * HOUR
    """Of a job of which nothing is known (B1)."""
    max_reservations: int = 8
    """At most so many gangs hold a reservation at once (B4)."""
    reserve_age: int = 2 * HOUR
    """A gang that waits longer reserves too, not only the first that does not fit (B4)."""
    min_runtime: int = 5 * MINUTE
    """Nothing is taken from an attempt younger than this, or than its own `min_runtime` (R1)."""
    max_times_taken: int = 4
    """Repeat-victim cap (R1): from then on a job keeps what it has, until its count decays."""
    max_moves: int = 8
    """Moves in one cycle (R7)."""
    max_searches: int = 16
    """Classes of jobs for which one cycle looks for something to take back; the next cycle goes on (R6)."""
    max_nodes_searched: int = 32
    """Nodes that one such search looks at, those with the least to lose first; a large gang's looks at more (R1)."""
    resize_interval: int = MINUTE
    """An elastic job keeps its size at least so long (E1)."""
    patience: int = 10 * MINUTE
    """P5: how long a job declines an alternative that could start now."""
    margin: int = 1200
    """P5: another alternative must finish earlier by this factor, in thousandths."""

    guest_weight: int = 0
    """Permille of what a team's guests hold that counts as its use in the order of the line (F3, T3)."""
    max_loans: int = 64
    """Guests that one cycle lets in; the next cycle goes on (T3)."""
    yield_above: int = 100
    """Permille of its chips' use from which the owner is taken to be back, and guests yield (T3)."""
    yield_pause: int = SECOND
    """A guest is paused when its owner has been back for so long."""
    yield_stop: int = 30 * SECOND
    """And stopped when the owner has been back for so long."""
    yield_memory_floor: int = 512
    """MiB of memory that stay free beside a guest; below it the guest is stopped."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = BOUNDS[field.name]
            value = getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            if any(not low <= number <= high for number in values) or list(values) != sorted(values):
                raise PolicyOutOfBounds(f"{field.name} is {value}; it must lie from {low} to {high}.")


BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "seed": (0, 2**63 - 1),
    "max_starts": (1, 1_000_000),
    "half_life": (MINUTE, 365 * 24 * HOUR),
    "service_levels": (1, 2**63 - 1),
    "run_time": (SECOND, 365 * 24 * HOUR),
    "max_reservations": (0, 1000),
    "reserve_age": (0, 365 * 24 * HOUR),
    "min_runtime": (0, 365 * 24 * HOUR),
    "max_times_taken": (0, 1000),
    "max_moves": (0, 10_000),
    "max_searches": (0, 10_000),
    "max_nodes_searched": (1, 100_000),
    "resize_interval": (0, 365 * 24 * HOUR),
    "patience": (0, 365 * 24 * HOUR),
    "margin": (1000, 1_000_000),
    "guest_weight": (0, 1000),
    "max_loans": (0, 10_000),
    "yield_above": (1, 1000),
    "yield_pause": (0, HOUR),
    "yield_stop": (0, 24 * HOUR),
    "yield_memory_floor": (0, 2**40),
}
"""Least and most of every number of the policy."""
