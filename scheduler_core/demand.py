"""What becomes of chips that their owner does not use: the idle ladder (T2) over measured demand (T1).

The naive rule stops whatever has been idle for so long. It takes away, without a word, a notebook whose user was at
lunch, and does it again and again to a job that waits for its data. Hence:

- *Rungs.* First a notice, to whoever looks at the job and to the job itself; only later the action, and never in one
  step: the action comes at the end of the window, but no sooner than half a window after the notice.
- *Nobody without having asked.* Without a policy of its own a job is only told (F4).
- *Keep.* Whoever says so keeps the chips for a while; what was measured until then counts no more.
- *No flapping.* A suspended job waits for a window before it may start again, twice as long each time.

Whole numbers throughout (Q1); times in milliseconds. What is measured, and what is done, is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduler_core.model import Id
from scheduler_core.policy import HOUR

BELOW: Final = 50
"""Permille of its chips' use below which work is taken to be idle, unless it says otherwise."""
MAX_DOUBLINGS: Final = 6
"""A job that was suspended more often waits no longer than after so many doublings of its window."""
LONGEST_PAUSE: Final = 24 * HOUR


class Rung(StrEnum):
    """What is done, least disturbing first."""

    NOTIFY = "notify"
    SUSPEND = "suspend"
    """Its attempt ends, with its checkpoint if it writes one, and the job waits again."""
    STOP = "stop"
    """The job is cancelled: its chips are released for good."""


@dataclass(frozen=True, slots=True)
class IdlePolicy:
    """What a job lets be done with it when its chips are idle."""

    below: int = BELOW
    """Permille of use."""
    window: int = HOUR
    action: Rung = Rung.NOTIFY


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of a running attempt's use of its chips."""

    attempt: Id
    use: int
    """Permille, over the chips that it holds, since the last measurement."""
    below_since: int | None
    """When its use fell below its policy's; None while it is not below."""
    notified: int | None = None
    """When notice was given of the present idleness."""
    kept_until: int | None = None
    """Somebody asked that its chips be kept until then."""
    suspensions: int = 0
    """How often its job was suspended for idleness before."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now, with the numbers that caused it."""

    attempt: Id
    rung: Rung
    use: int
    idle_for: int
    acts_at: int | None = None
    """With a notice: when the action follows if nothing changes; None where none does."""
    pause: int = 0
    """With a suspension: for how long the job does not start again."""


def below_since(before: int | None, use: int, policy: IdlePolicy, since: int) -> int | None:
    """When the idleness began that a measurement of the time from `since` on continues, begins, or ends (None)."""
    if use >= policy.below:
        return None
    return since if before is None else before


def steps(demands: Sequence[tuple[Demand, IdlePolicy]], now: int) -> tuple[Step, ...]:
    """What is due of each attempt, in the order given; most of the time nothing."""
    found = (_step(demand, policy, now) for demand, policy in demands)
    return tuple(step for step in found if step is not None)


def acts_at(demand: Demand, policy: IdlePolicy) -> int | None:
    """When the action is due, if the attempt stays idle; None where none follows, or no notice was given yet."""
    if policy.action is Rung.NOTIFY or demand.below_since is None or demand.notified is None:
        return None
    return max(demand.below_since + policy.window, demand.notified + policy.window // 2)


def _step(demand: Demand, policy: IdlePolicy, now: int) -> Step | None:
    since = demand.below_since
    if since is None or (demand.kept_until is not None and now < demand.kept_until):
        return None
    idle_for = now - since
    if demand.notified is None:
        if idle_for < _notice_after(policy):
            return None
        told = Demand(demand.attempt, demand.use, since, now)
        return Step(demand.attempt, Rung.NOTIFY, demand.use, idle_for, acts_at(told, policy))
    due = acts_at(demand, policy)
    if due is None or now < due:
        return None
    pause = min(policy.window << min(demand.suspensions, MAX_DOUBLINGS), LONGEST_PAUSE)
    return Step(demand.attempt, policy.action, demand.use, idle_for, pause=pause)


def _notice_after(policy: IdlePolicy) -> int:
    """Half the window before an action, so that there is as long to answer; the whole of it where none follows."""
    return policy.window if policy.action is Rung.NOTIFY else policy.window // 2
