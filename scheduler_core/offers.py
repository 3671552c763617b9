"""The lend rung of the idle ladder (T2): when an owner's chips are on offer to guests, and when no longer.

The naive rule offers chips whenever they are idle and takes the offer back whenever they are not. Work that reads
and computes by turns then gets a guest and loses it every few seconds, and the guest never gets anything done. Hence:

- *Only after a while* of idleness; and after every guest that had to go twice as long, up to `LONGEST_WAIT`.
- *A short return halts, and does not end.* While its owner is back nobody new comes, and guests yield by
  themselves (`YieldRule`); only when it stays for as long as the policy lets guests wait is the offer over.
- *Two thresholds*: idle is less use than what counts as being back.
- *Keep* ends the offer at once.

The owner is told, and loses nothing: what follows on the ladder (`demand`) counts on as before. Whole numbers
throughout (Q1); times in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduler_core.model import Id
from scheduler_core.policy import HOUR, MINUTE, Policy

LEND_AFTER: Final = 5 * MINUTE
"""Idle for so long, chips are offered, unless their job says otherwise."""
MAX_DOUBLINGS: Final = 6
LONGEST_WAIT: Final = 24 * HOUR


class Move(StrEnum):
    """What becomes of an offer."""

    OFFER = "offer"
    HALT = "halt"
    """The owner is back; it may be short."""
    GO_ON = "go_on"
    """The owner has gone again before its guests had to."""
    END = "end"


@dataclass(frozen=True, slots=True)
class Offering:
    """What is known of a running attempt that may lend."""

    attempt: Id
    use: int | None
    """Permille of what it holds, in the latest look; None where it was not measured."""
    below: int
    """Permille below which it is idle."""
    after: int
    """It offers when idle for so long."""
    idle_since: int | None
    """Since when it has been idle; None while it is not."""
    offered: int | None = None
    busy: int | None = None
    """Since when it has been back; only while it offers."""
    ended: int = 0
    """How many offers of it have ended by its return."""
    kept_until: int | None = None
    """Somebody asked that its chips be kept until then."""


@dataclass(frozen=True, slots=True)
class OfferStep:
    """What is to be done with an offer now, with the numbers that caused it."""

    attempt: Id
    move: Move
    use: int
    span: int
    """OFFER: how long it has been idle. GO_ON, END: how long it was back."""
    by_owner: bool = False
    """END: because somebody keeps the chips, not because of their use."""


def offer_steps(offerings: Sequence[Offering], policy: Policy, now: int) -> tuple[OfferStep, ...]:
    """What is due of each attempt, in the order given; most of the time nothing."""
    found = (_step(offering, policy, now) for offering in offerings)
    return tuple(step for step in found if step is not None)


def offers_after(after: int, ended: int) -> int:
    """How long it must have been idle before it offers, after so many offers that ended by its return."""
    return max(after, min(after << min(ended, MAX_DOUBLINGS), LONGEST_WAIT))


def _step(offering: Offering, policy: Policy, now: int) -> OfferStep | None:
    use, kept = offering.use or 0, offering.kept_until is not None and now < offering.kept_until
    if offering.offered is None:
        since = offering.idle_since
        if kept or since is None or now - since < offers_after(offering.after, offering.ended):
            return None
        return OfferStep(offering.attempt, Move.OFFER, use, now - since)
    if kept:
        return OfferStep(offering.attempt, Move.END, use, 0, by_owner=True)
    if offering.use is None:
        return None
    is_back = use >= max(policy.yield_above, offering.below)
    if offering.busy is None:
        return OfferStep(offering.attempt, Move.HALT, use, 0) if is_back else None
    back_for = now - offering.busy
    if not is_back:
        return OfferStep(offering.attempt, Move.GO_ON, use, back_for)
    return OfferStep(offering.attempt, Move.END, use, back_for) if back_for >= policy.yield_stop else None
