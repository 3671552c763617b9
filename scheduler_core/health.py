"""How well a chip is, from what its hardware says of itself (T4).

The naive rule takes a chip out at its first error and puts it back when the error is gone. A chip that fails once an
hour then goes in and out all day and kills what runs on it each time; and a warm afternoon empties a whole room.
Hence:

- *Two kinds of signs.* What destroys work (memory errors that were not corrected, codes of broken hardware, no spare
  memory row left, a row that waits for a reset) drains the chip. What only slows it (heat, a brake, lower clocks than
  its equals have) or foretells trouble (rows replaced, links down, earlier drains) lowers its score, which placement
  prefers the higher of (P2).
- *Errors are counted once.* A counter that stands still says nothing new; one that fell was reset.
- *Return by burn-in*, by itself: a drained chip comes back when it has answered for so long with nothing that stands
  against it and nothing new, twice as long after every drain, up to a day. Its drains are forgotten after a week
  without a fault.
- *No flapping.* A score falls at once and rises only after it could have risen for a while.

Whole numbers throughout (Q1); times in milliseconds. What is measured, and what is done, is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from scheduler_core.policy import HOUR, MINUTE

WELL: Final = 100
BURN_IN: Final = 10 * MINUTE
"""A chip that was drained for the first time comes back after so long without a fault."""
LONGEST_BURN_IN: Final = 24 * HOUR
MAX_DOUBLINGS: Final = 8
FORGIVEN_AFTER: Final = 7 * 24 * HOUR
RISE_AFTER: Final = 5 * MINUTE
"""A score that fell does not rise before it could have risen for so long, give or take a minute."""
HOTTEST: Final = 90
"""°C from which a chip is too hot even if it does not say so."""
SLOW: Final = 850
"""Permille of its equals' median clock below which a chip is slow."""
GRAVE_XIDS: Final = frozenset({46, 48, 61, 62, 64, 74, 79, 95, 110, 119, 120, 140, 143})
"""NVIDIA's codes of failing hardware or firmware (its "XID errors" catalogue). Those of faulty programs, such as 13,
31, 43 and 45, and of errors that were contained (63, 92, 94) are no fault of the chip, or are counted elsewhere."""


class Fault(StrEnum):
    """What stands against a chip; the first of these that is true is the one that is told."""

    SILENT = "silent"
    NO_SPARE_ROW = "no_spare_row"
    UNCORRECTED = "uncorrected"
    XID = "xid"
    NEEDS_RESET = "needs_reset"
    LINKS_DOWN = "links_down"
    ROWS_REMAPPED = "rows_remapped"
    SLOWED = "slowed"
    HOT = "hot"
    SLOWER_THAN_EQUALS = "slower_than_equals"
    DRAINED_BEFORE = "drained_before"


class Move(StrEnum):
    """What becomes of the chip."""

    DRAIN = "drain"
    """It takes no new work."""
    RETURN = "return"
    """It passed its burn-in and takes work again."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a chip now."""

    answers: bool = True
    uncorrected: int = 0
    xids: tuple[int, ...] = ()
    """Oldest first."""
    remapped_rows: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    links_down: int = 0
    hot: int = 0
    """Permille of the last window in which heat slowed it."""
    slowed: int = 0
    """Permille in which its hardware slowed it for another reason than heat or its power limit."""
    temperature: int = 0
    clock: int | None = None
    """Permille of the median clock of its equals, where both work; None where there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of a chip between two looks."""

    score: int = WELL
    """0 (drained) to 100."""
    rises_at: int = 0
    """When the score may rise."""
    drained_at: int | None = None
    quiet_since: int | None = None
    """While drained: since when nothing stands against it and nothing new was counted."""
    drains: int = 0
    faulted_at: int | None = None
    """When work was last in danger on it."""
    uncorrected: int = 0
    """Of the counter, what was judged already."""
    grave_xids: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows from a look."""

    health: Health
    move: Move | None
    faults: tuple[Fault, ...]
    """Gravest first; those that lower its score too."""


def judge(before: Health, signs: Signs, now: int) -> Judgement:
    """What is to be remembered of the chip from now on, and what becomes of it."""
    grave = sum(1 for xid in signs.xids if xid in GRAVE_XIDS)
    dangers = _dangers(before, signs, grave)
    health = replace(before, uncorrected=signs.uncorrected, grave_xids=grave)
    if dangers:
        move = Move.DRAIN if before.drained_at is None else None
        health = replace(
            health,
            score=0,
            drained_at=now if before.drained_at is None else before.drained_at,
            quiet_since=None,
            drains=before.drains + (move is not None),
            faulted_at=now,
        )
        return Judgement(health, move, dangers)
    if before.drained_at is not None:
        return _burn_in(health, signs, now)
    return _scored(_forgiven(health, now), None, signs, now)


def burn_in_of(drains: int) -> int:
    """How long a chip must be quiet to return from its `drains`-th drain."""
    return min(BURN_IN << min(max(0, drains - 1), MAX_DOUBLINGS), LONGEST_BURN_IN)


def _dangers(before: Health, signs: Signs, grave: int) -> tuple[Fault, ...]:
    """What endangers work now: what stands, and what was counted since the last look. A chip that is silent is offline
    by its agent's word; only a drained one must answer to return."""
    found = (
        (Fault.SILENT, not signs.answers and before.drained_at is not None),
        (Fault.NO_SPARE_ROW, signs.remap_failed),
        (Fault.UNCORRECTED, signs.uncorrected > before.uncorrected),
        (Fault.XID, grave > before.grave_xids),
        (Fault.NEEDS_RESET, signs.remap_pending),
    )
    return tuple(fault for fault, stands in found if stands)


def _burn_in(health: Health, signs: Signs, now: int) -> Judgement:
    since = now if health.quiet_since is None else health.quiet_since
    if now - since < burn_in_of(health.drains):
        return Judgement(replace(health, quiet_since=since), None, ())
    back = replace(health, score=WELL, drained_at=None, quiet_since=None, rises_at=0)
    return _scored(back, Move.RETURN, signs, now)


def _forgiven(health: Health, now: int) -> Health:
    if health.faulted_at is None or now - health.faulted_at < FORGIVEN_AFTER:
        return health
    return replace(health, drains=0, faulted_at=None)


def _scored(health: Health, move: Move | None, signs: Signs, now: int) -> Judgement:
    slow = 0 if signs.clock is None else max(0, SLOW - signs.clock)
    costs = (
        (Fault.LINKS_DOWN, min(20, 10 * signs.links_down)),
        (Fault.ROWS_REMAPPED, min(30, 3 * signs.remapped_rows)),
        (Fault.SLOWED, signs.slowed * 30 // 1000),
        (Fault.HOT, max(signs.hot * 20 // 1000, 10 if signs.temperature >= HOTTEST else 0)),
        (Fault.SLOWER_THAN_EQUALS, min(30, slow // 10)),
        (Fault.DRAINED_BEFORE, min(30, 10 * health.drains)),
    )
    score = max(1, WELL - sum(cost for _, cost in costs))
    if score < health.score or (
        score == health.score < WELL and now + RISE_AFTER >= health.rises_at + MINUTE
    ):
        health = replace(health, score=score, rises_at=now + RISE_AFTER)
    elif score > health.score and now >= health.rises_at:
        health = replace(health, score=score, rises_at=0)
    return Judgement(health, move, tuple(fault for fault, cost in costs if cost))
