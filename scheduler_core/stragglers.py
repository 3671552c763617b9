"""Who holds its equals back, or falls far behind them, and what becomes of it (T6).

The naive rule compares each with the average and moves the slowest. The slowest of healthy ones is always there, one
broken one drags the average down to itself, and a gang that is moved for each warm minute never trains. Hence:

- *Equals alone are compared*, of one chip type, with the median of the others: never more than half of them are slow.
- *Long enough.* Whoever is slow must have been so in every look of a window; one look that finds it well ends it.
- *Rungs.* First a notice; the move comes at the end of the window, but no sooner than half a window after the notice.
- *Nobody without having asked.* Without a policy of its own a job is only told (F4).
- *No flapping.* An attempt is told once in an hour, its job moved no more often, and so many times in all.

Whole numbers throughout (Q1); times in milliseconds. What is measured, and what is done, is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduler_core.model import Id
from scheduler_core.policy import HOUR, MINUTE

BELOW: Final = 800
"""Permille of its equals' median from which down somebody is slow, unless its policy says otherwise."""
WINDOW: Final = 10 * MINUTE
MOVES: Final = 2
MIN_EQUALS: Final = 3
"""So many others at least: of two nobody knows which one is the slow one."""
COOLDOWN: Final = HOUR


class Sign(StrEnum):
    """By what it is seen."""

    CLOCK = "clock"
    """A chip at work clocks lower than the others of its attempt, which wait for it at every step."""
    STEPS = "steps"
    """A task makes fewer steps a second than others of its array."""
    TIME = "time"
    """A task has run far longer than those of its array that have ended."""


class Action(StrEnum):
    """What its policy lets be done."""

    NEVER = "never"
    """Nobody looks."""
    NOTIFY = "notify"
    MOVE = "move"
    """Its attempt ends, with its checkpoint if it writes one, and goes on elsewhere once there is a place."""


@dataclass(frozen=True, slots=True)
class StragglerPolicy:
    """What a job lets be done where something holds it back."""

    action: Action = Action.NOTIFY
    below: int = BELOW
    window: int = WINDOW
    moves: int = MOVES
    """Over the job's life."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of several equals."""

    id: Id
    kind: str
    """Only those of one kind (a chip type) are compared."""
    speed: int
    """More is faster; only ratios count."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one is behind its equals."""

    id: Id
    speed: int
    usual: int
    """The others' median."""
    equals: int
    """How many others there are."""

    @property
    def pace(self) -> int:
        """Permille of the usual speed."""
        return self.speed * 1000 // self.usual


def behind(members: Sequence[Member], below: int) -> tuple[Lag, ...]:
    """Those whose speed is below so many permille of their equals' median, slowest first, then by id."""
    found: list[Lag] = []
    for kind in {member.kind for member in members}:
        some = sorted((m for m in members if m.kind == kind), key=lambda member: (member.speed, member.id))
        others = [member.speed for member in some[1:]]
        if len(others) < MIN_EQUALS:
            continue
        usual = others[(len(others) - 1) // 2]
        slow = (member for member in some if member.speed * 1000 < usual * below)
        found += [Lag(member.id, member.speed, usual, len(others)) for member in slow]
    return tuple(sorted(found, key=lambda lag: (lag.pace, lag.id)))


def behind_ended(id: Id, elapsed: int, ended: int, usual: int, below: int) -> Lag | None:
    """The task that has run for `elapsed`, where that is too long beside the `usual` time of so many that have ended.
    Nobody knows how much of it is left, and tasks differ: half of `below` counts, so that 80 % mean 2.5 times as long.
    """
    if ended < MIN_EQUALS or usual <= 0 or usual * 2000 >= elapsed * below:
        return None
    return Lag(id, usual, elapsed, ended)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a running attempt."""

    attempt: Id
    slow_since: int | None
    """None while nothing holds it back."""
    told: int | None = None
    """When notice was last given."""
    kept_until: int | None = None
    """Somebody asked that its chips be kept until then."""
    movable: bool = False
    """It may be ended, and goes on from where it was or is a task of an array."""
    moves: int = 0
    """How often its job was moved for this."""
    moved: int | None = None
    """When it was, last."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is due now."""

    attempt: Id
    action: Action
    slow_for: int
    acts_at: int | None = None
    """With a notice: when its policy moves it if nothing changes; None where it does not."""


def slow_since(before: int | None, *, slow: bool, since: int) -> int | None:
    """When the slowness began that a look at the time from `since` on continues, begins, or ends (None)."""
    if not slow:
        return None
    return since if before is None else before


def step_of(watched: Watched, policy: StragglerPolicy, now: int) -> Step | None:
    """What is due of the attempt; most of the time nothing. A move is due for as long as nothing changes."""
    since = watched.slow_since
    if since is None:
        return None
    slow_for = now - since
    if watched.told is None or watched.told < since:
        early = moves_at(watched, policy, told=now) is not None
        is_long = slow_for >= (policy.window // 2 if early else policy.window)
        is_new = watched.told is None or now - watched.told >= COOLDOWN
        if not (is_long and is_new):
            return None
        return Step(watched.attempt, Action.NOTIFY, slow_for, moves_at(watched, policy, told=now))
    due = moves_at(watched, policy, told=watched.told)
    if due is None or now < due:
        return None
    return Step(watched.attempt, Action.MOVE, slow_for)


def moves_at(watched: Watched, policy: StragglerPolicy, *, told: int) -> int | None:
    """From when on its policy moves it, with notice given then; None where it does not."""
    is_asked = policy.action is Action.MOVE and watched.movable and watched.moves < policy.moves
    if not is_asked or watched.slow_since is None:
        return None
    calm = 0 if watched.moved is None else watched.moved + COOLDOWN
    return max(watched.slow_since + policy.window, told + policy.window // 2, calm, watched.kept_until or 0)
