"""How long a job will run, learned from those that ended (B3).

A pure function of ended runs: the same runs in the same order give the same predictions everywhere, in whole
milliseconds. Keys go from the specific to the general, and the first with enough runs behind it answers. The
idea of predicting from the same user's and the same program's earlier runs is that of Smith, Foster and Taylor
(1998) and of Tsafrir, Etsion and Feitelson (2007).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from scheduler_core.model import Id, Prediction

ENOUGH: Final = (5, 10, 20, 20, 30)
"""Ended runs that a key needs before it answers, for the keys in the order of `_keys`. Nine deciles of fewer
runs than these move by half from one run to the next."""

REMEMBERED: Final = 200
"""The latest runs that a key remembers: what people run changes, and the bound keeps memory bounded."""

STEPS: Final = 8
"""Predictions are rounded up to a power of two in so many steps, by 12.5 % at most, so that classes stay few
(P6)."""

LEAST: Final = 1024
"""Shortest prediction, in milliseconds."""

Key: TypeAlias = tuple[int, Id | None, Id | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class EndedRun:
    """An attempt that ended by itself: who ran what, and for how long. Those that were taken from, stopped or
    failed at once say nothing about how long the job would have run, and are left out by the caller.
    """

    user: Id
    team: Id
    name: str
    image: str
    run_time: int
    """Milliseconds from start to end."""


@dataclass(slots=True)
class _Runs:
    """The latest run times of one key, by age and by length."""

    by_age: deque[int] = field(default_factory=deque)
    sorted: list[int] = field(default_factory=list)

    def add(self, run_time: int) -> None:
        insort(self.sorted, run_time)
        self.by_age.append(run_time)
        if len(self.by_age) > REMEMBERED:
            oldest = self.by_age.popleft()
            del self.sorted[bisect_left(self.sorted, oldest)]

    def quantile(self, tenths: int) -> int:
        """The least run time that so many tenths of all do not exceed."""
        return self.sorted[max(-(-len(self.sorted) * tenths // 10), 1) - 1]


class Predictions:
    """What was learned so far."""

    def __init__(self, ended: Iterable[EndedRun] = ()) -> None:
        self._runs: dict[Key, _Runs] = {}
        for run in ended:
            self.learn(run)

    def learn(self, run: EndedRun) -> None:
        """This attempt has ended, after all that were told before."""
        for key in _keys(run.user, run.team, run.name, run.image):
            self._runs.setdefault(key, _Runs()).add(max(run.run_time, 0))

    def of(self, user: Id, team: Id, name: str, image: str) -> Prediction | None:
        """How long such a job is expected to run; None while too little is known."""
        if not self._runs:
            return None
        for enough, key in zip(ENOUGH, _keys(user, team, name, image), strict=True):
            runs = self._runs.get(key)
            if runs is not None and len(runs.sorted) >= enough:
                return Prediction(bucket(runs.quantile(5)), bucket(runs.quantile(9)))
        return None


def bucket(run_time: int) -> int:
    """The run time rounded up to the next of `STEPS` equal steps between powers of two."""
    run_time = max(run_time, LEAST)
    step = max((1 << (run_time.bit_length() - 1)) // STEPS, 1)
    return -(-run_time // step) * step


def _keys(user: Id, team: Id, name: str, image: str) -> tuple[Key, ...]:
    """From the most specific to the most general. Of a name only its stem counts: what stands before its
    first digit, as `sweep` in `sweep-17`.
    """
    stem = name[: next((place for place, sign in enumerate(name) if sign.isdigit()), len(name))].rstrip(
        "-_. "
    )
    return (
        (0, user, team, stem, image),
        (1, user, team, None, image),
        (2, None, team, None, image),
        (3, user, team, None, None),
        (4, None, team, None, None),
    )
