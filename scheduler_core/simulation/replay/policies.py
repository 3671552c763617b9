"""The schedulers people know, as policies of the replay."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from scheduler_core.compiled import compiled
from scheduler_core.simulation.replay.by_rank import levels_by_service, serve_by_rank
from scheduler_core.simulation.replay.clock import NEVER, Hidden, advance, settle
from scheduler_core.simulation.replay.in_line import EASY, GREEDY, STRICT, serve_in_line
from scheduler_core.simulation.replay.placing import BEST_FIT, FGD
from scheduler_core.simulation.replay.predictions import (
    Learned,
    note_end,
    nothing_learned,
    predicted_quantile,
)
from scheduler_core.simulation.replay.state import CHIPS, NEWS, WAITS, State, played_on
from scheduler_core.simulation.workload import NODE_CHIPS, Whole

TIRESIAS_PAPER = (3_250_000,)
"""Chip-ms. Two queues, as in the paper (Gu et al., NSDI'19); 3,250 GPU-seconds is the first limit in the
authors' released simulator (SymbioticLab/Tiresias, `jobs.py`)."""
TIRESIAS_RELEASED = (3_250_000, 7_200_000)
"""Chip-ms. The three queues with which the released simulator sets out."""

NO_PREDICTION, LEARNED_MEDIAN, TRUE_RUNTIME = 0, 1, 2


class Policy(Protocol):
    """Decides by changing the state with `start` and `evict`; it sees no run time before the job has ended,
    unless its name says oracle.
    """

    name: str

    def begin(self, state: State, hidden: Hidden) -> None:
        """A new run on this state."""

    def play(self, instants: int) -> bool:
        """Play at most so many instants more; False when nothing is left to happen."""


class Manner(NamedTuple):
    """How `InLine` serves: STRICT, GREEDY or EASY; how it packs; what it takes for run times."""

    serving: int
    packing: int = BEST_FIT
    estimate: int = NO_PREDICTION


class InLine:
    """FIFO in one of its manners; whatever has started runs to its end."""

    def __init__(self, name: str, manner: Manner) -> None:
        self.name, self.manner = name, manner

    def begin(self, state: State, hidden: Hidden) -> None:
        self._state, self._hidden = state, hidden
        self._play = played_on(state, _play_in_line)
        self._learned = nothing_learned(state)
        self._mix = np.zeros(NODE_CHIPS + 1, np.int64)
        if self.manner.estimate == TRUE_RUNTIME:
            state.job["predicted"] = hidden.job["runtime"]

    def play(self, instants: int) -> bool:
        return self._play(self._state, self._hidden, self._learned, self._mix, self.manner, instants)


class Tiresias:
    """Discretised two-dimensional least attained service (Gu et al., NSDI'19): queues by chips x time, FIFO
    by first start inside a queue; whoever is in a higher queue takes from a lower one. No promotion, as in
    the released simulator.
    """

    def __init__(self, name: str, thresholds: tuple[int, ...]) -> None:
        self.name, self.thresholds = name, np.array(thresholds, np.int64)

    def begin(self, state: State, hidden: Hidden) -> None:
        self._state, self._hidden = state, hidden
        self._play = played_on(state, _play_tiresias)
        self._wake = np.full(1, NEVER, np.int64)
        self._level = np.zeros(len(state.job), np.int64)
        self._rank = np.zeros(len(state.job), np.int64)

    def play(self, instants: int) -> bool:
        rows = (self._wake, self._level, self._rank)
        return self._play(self._state, self._hidden, self.thresholds, *rows, instants)


def baselines() -> list[Policy]:
    """One of each, in the order of the tables."""
    return [
        InLine("fifo", Manner(STRICT)),
        InLine("easy", Manner(EASY, estimate=LEARNED_MEDIAN)),
        InLine("easy-oracle", Manner(EASY, estimate=TRUE_RUNTIME)),
        InLine("best-fit", Manner(GREEDY)),
        InLine("fgd", Manner(GREEDY, FGD)),
        Tiresias("tiresias", TIRESIAS_PAPER),
        Tiresias("tiresias-released", TIRESIAS_RELEASED),
    ]


@compiled
def _play_in_line(
    state: State, hidden: Hidden, learned: Learned, mix: Whole, manner: Manner, instants: int
) -> bool:
    for _ in range(instants):
        now = advance(state, hidden, NEVER)
        if now == NEVER:
            return False
        hear(state, hidden, learned, mix, manner.estimate)
        if state.counts[WAITS] > 0:
            serve_in_line(state, now, manner.serving, manner.packing, mix)
        settle(state, hidden)
    return True


@compiled
def hear(state: State, hidden: Hidden, learned: Learned, mix: Whole, estimate: int) -> None:
    """Count the requests that came, learn from the jobs that ended, predict those that came."""
    for at in range(state.counts[NEWS]):
        job = abs(state.news[at]) - 1
        if state.news[at] < 0:
            note_end(learned, job, hidden.job[job].runtime)
        else:
            mix[min(state.need[job, CHIPS], len(mix) - 1)] += 1
            if estimate == LEARNED_MEDIAN:
                state.job[job].predicted = predicted_quantile(learned, job, 1, 2)


@compiled
def _play_tiresias(
    state: State, hidden: Hidden, thresholds: Whole, wake: Whole, level: Whole, rank: Whole, instants: int
) -> bool:
    for _ in range(instants):
        now = advance(state, hidden, wake[0])
        if now == NEVER:
            return False
        wake[0] = NEVER
        if state.counts[WAITS] > 0:
            wake[0] = levels_by_service(state, now, thresholds, True, True, level, rank)
            serve_by_rank(state, now, level, rank, 0)
        settle(state, hidden)
        if state.counts[WAITS] == 0:
            wake[0] = NEVER
    return True
