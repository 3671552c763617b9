"""One run: a workload on a cluster under a policy, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.replay import clock
from scheduler_core.simulation.replay.clock import COMING, NodeLoss, hidden_of
from scheduler_core.simulation.replay.policies import Policy
from scheduler_core.simulation.replay.state import WAITS, Cluster, State, fresh_state
from scheduler_core.simulation.workload import Whole, Workload

RESTART_MS = 30_000
"""What a start after an eviction costs (the protocol of the figures)."""
INSTANTS_A_BREATH = 4_096
"""Instants played between two looks at the progress bar."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in a run, by job and in sum. Times in ms, chip-times in chip-ms."""

    policy: str
    work: Workload
    chips: int
    finished: Whole
    """-1 for a job that the empty cluster could not hold (F6): such jobs are in no mean."""
    first_start: Whole
    runs: Whole
    allocated: int
    """Chip-time held by jobs."""
    stranded: int
    """Chip-time free while somebody waited."""
    lost: int
    """Chip-time spent on starting again."""
    evictions: int
    moves: int
    interrupted: int
    """Runs ended by the loss of a node."""
    rejected: int
    decisions: int


def replay(
    work: Workload,
    cluster: Cluster,
    policy: Policy,
    *,
    restart_ms: int = RESTART_MS,
    losses: tuple[NodeLoss, ...] = (),
    rejected_starts: tuple[int, ...] = (),
    progress: Callable[[int], None] = lambda came: None,
) -> Outcome:
    """Play the whole workload under virtual time. `losses`: nodes lost and back; `rejected_starts`: ordinal
    numbers of starts that the cell refuses to carry out. Raises `RuntimeError` where the policy gives away
    more than there is, or leaves jobs waiting for ever.
    """
    state = fresh_state(cluster, work)
    hidden = hidden_of(work, fits_empty(state), restart_ms, losses, rejected_starts)
    policy.begin(state, hidden)
    while policy.play(INSTANTS_A_BREATH):
        progress(int(hidden.cursor[COMING]))
        if state.free.min(initial=0) < 0:
            raise RuntimeError(f"{policy.name} gave away more than there is")
    if state.counts[WAITS]:
        raise RuntimeError(f"{policy.name} leaves {state.counts[WAITS]} jobs waiting for ever")
    totals = [int(total) for total in hidden.totals]
    return Outcome(
        policy.name,
        work,
        cluster.chips,
        hidden.job["finished"],
        state.job["first_start"],
        state.job["runs"],
        allocated=totals[clock.ALLOCATED],
        stranded=totals[clock.STRANDED],
        lost=totals[clock.LOST],
        evictions=totals[clock.EVICTIONS],
        moves=totals[clock.MOVES],
        interrupted=totals[clock.INTERRUPTED],
        rejected=totals[clock.REJECTED],
        decisions=totals[clock.DECISIONS],
    )


def fits_empty(state: State) -> NDArray[np.bool_]:
    """By job: whether the cluster, empty and all nodes up, could hold it (F6)."""
    fits = np.zeros(len(state.job), np.bool_)
    examples = np.unique(state.job["kind"], return_index=True)[1]
    for job in examples.tolist():
        right = (state.node["types"] & state.job["types"][job]) != 0
        fitting = np.full(int(right.sum()), int(state.job["replicas"][job]))
        for resource in np.flatnonzero(state.need[job]):
            fitting = np.minimum(fitting, state.capacity[right, resource] // state.need[job, resource])
        fits[state.job["kind"] == state.job["kind"][job]] = fitting.sum() >= state.job["replicas"][job]
    return fits
