"""Node faults: every node is lost and repaired by itself, by exponential times drawn from a seed."""

from __future__ import annotations

import numpy as np

from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.simulate.options import BadOption, Faults
from scheduler_core.simulation.simulate.scenario import Scenario

MOST_LOSSES = 1_000_000
"""Beyond this the times are not meant so."""


def horizon(scenario: Scenario) -> int:
    """Until when faults are drawn, in ms: after the last submission, time for four times the work that there is.
    Every policy sees the same faults until then, and none afterwards.
    """
    work = scenario.work
    busy = work.chip_time // max(1, scenario.cluster.chips)
    return int(work.submit.max() + 4 * busy + 2 * work.runtime.max())


def draw_losses(scenario: Scenario, faults: Faults, seed: int) -> tuple[NodeLoss, ...]:
    """Losses of all nodes until the horizon, in order of time. Raises `BadOption` where there are too many."""
    until, nodes = horizon(scenario), len(scenario.cluster.types)
    if nodes * until // (faults.between + faults.repair) > MOST_LOSSES:
        raise BadOption(f"--faults: more than {MOST_LOSSES:,} failures; a node would fail all the time.")
    losses = []
    for node in range(nodes):
        draw = np.random.default_rng([seed, node])
        at = 0
        while (at := at + _positive(draw, faults.between)) < until:
            back = at + _positive(draw, faults.repair)
            losses.append(NodeLoss(node, at, back))
            at = back
    return tuple(sorted(losses, key=lambda loss: (loss.at, loss.node)))


def _positive(draw: np.random.Generator, mean_ms: int) -> int:
    return max(1, int(draw.exponential(mean_ms)))
