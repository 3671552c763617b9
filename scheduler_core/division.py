"""How several claims share one amount (F2): first what is guaranteed, then what is left, by weight.

Both steps are one: water rises in all claims at a pace given by their weights, and each stops at what it may
have. Whole numbers come out; what rounding leaves goes to the largest remainders, and among equal ones to
the lowest ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scheduler_core.model import Id


class Claim(NamedTuple):
    """What one team brings to its level, in milli-chips."""

    id: Id
    guaranteed: int
    weight: int
    """Of what is left when all guarantees are met (`over_quota_weight`)."""
    wanted: int
    """What it asks for, within its limit: it gets no more."""
    limit: int | None


class Part(NamedTuple):
    """What one claim gets."""

    fair: int
    entitled: int
    """What it would get if it asked for more; never less than `fair`."""


class _Level(NamedTuple):
    """How high the water stands, per unit of weight: a fraction."""

    height: int
    per: int

    def of(self, weight: int) -> int:
        return weight * self.height // self.per


def divide(amount: int, claims: Sequence[Claim]) -> list[Part]:
    """Each claim's part of the amount, in the order of the claims.

    What is guaranteed is met first as far as it is wanted, and shrinks in proportion where it is more than
    there is. What is left is shared by weight. The parts add up to the amount, or to what is wanted.
    """
    amount = max(amount, 0)
    promised = [min(claim.guaranteed, claim.wanted) for claim in claims]
    firm, firm_level = _fill(amount, claims, [claim.guaranteed for claim in claims], promised)
    left = amount - sum(firm)
    loose, loose_level = _fill(
        left,
        claims,
        [claim.weight for claim in claims],
        [claim.wanted - got for claim, got in zip(claims, firm, strict=True)],
    )
    parts = []
    for claim, got, more in zip(claims, firm, loose, strict=True):
        guaranteed = min(claim.guaranteed, firm_level.of(claim.guaranteed))
        most = max(got + more, guaranteed + loose_level.of(claim.weight))
        parts.append(
            Part(got + more, most if claim.limit is None else max(min(most, claim.limit), got + more))
        )
    return parts


def _fill(
    amount: int, claims: Sequence[Claim], weights: Sequence[int], caps: Sequence[int]
) -> tuple[list[int], _Level]:
    """Weighted max-min: nobody gets more than its cap, and nobody below its cap could get more unless another
    one, who has less by weight, got less. And the level of the water: past the last cap if something is left.
    """
    got = [0] * len(claims)
    thirsty = _soonest_full(weights, caps)
    weight = total = sum(weights[n] for n in thirsty)
    full = _Level(0, 1)
    for position, n in enumerate(thirsty):
        cap = max(caps[n], 0)
        if cap * weight > amount * weights[n]:
            _share_by_weight(amount, weight, claims, weights, thirsty[position:], got)
            return got, _Level(amount, weight)
        got[n] = cap
        amount -= cap
        weight -= weights[n]
        full = _Level(cap, weights[n])
    if not total:
        return got, _Level(0, 1)
    return got, _Level(full.height * total + amount * full.per, full.per * total)


def _soonest_full(weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Who has a weight, by cap by weight. Equal ones are full at the same height, in whatever order they are asked."""
    thirsty = [n for n, weight in enumerate(weights) if weight > 0]
    if len({weights[n] for n in thirsty}) <= 1:
        thirsty.sort(key=lambda n: max(caps[n], 0))
    else:
        thirsty.sort(key=lambda n: _Ratio(max(caps[n], 0), weights[n]))
    return thirsty


def _share_by_weight(
    amount: int,
    weight: int,
    claims: Sequence[Claim],
    weights: Sequence[int],
    who: Sequence[int],
    got: list[int],
) -> None:
    """By weight, rounded down; then one more for each of the largest remainders, lowest id first."""
    remainders = []
    for n in who:
        got[n], remainder = divmod(amount * weights[n], weight)
        remainders.append((-remainder, claims[n].id, n))
    left = amount - sum(got[n] for n in who)
    for _, _, n in sorted(remainders)[:left]:
        got[n] += 1


class _Ratio:
    """A cap by weight, compared by cross-multiplication (Q1)."""

    __slots__ = ("cap", "weight")

    def __init__(self, cap: int, weight: int) -> None:
        self.cap, self.weight = cap, weight

    def __lt__(self, other: _Ratio) -> bool:
        return self.cap * other.weight < other.cap * self.weight
