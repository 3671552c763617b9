"""The FGD paper's protocol: one request at a time, placed at once or dropped for good; nobody leaves.

What is measured is the share of the cluster's chips that is held, by how much has been asked for so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.openb.trace import (
    WHOLE_CHIP,
    Nodes,
    Requests,
    read_nodes,
    read_order,
    read_ranks,
    read_requests,
)
from scheduler_core.value import CHIPS, MILLI, Ints

LAST_PERCENT: Final = 130
"""The published runs end when 130 % of the cluster's chips have been asked for."""

Curve: TypeAlias = NDArray[np.float64]
"""Entry c: the allocation in % while the arrived demand, rounded, was c % of the capacity; NaN if it never was."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One seed of one workload: everything a policy may see, and the order of arrival."""

    nodes: Nodes
    requests: Requests
    order: Ints
    ranks: Ints

    @property
    def kinds_in_order(self) -> Ints:
        """For each arrival the row of its kind."""
        return self.requests.of[self.order]

    def free_chips(self) -> Ints:
        """Milli-chips free on each chip of each node, padded with 0, when nothing is placed."""
        width = int(self.nodes.chips.max())
        return np.where(np.arange(width) < self.nodes.chips[:, None], WHOLE_CHIP, 0).astype(np.int64)


Policy: TypeAlias = Callable[[Trial], NDArray[np.bool_]]
"""For each arrival, whether it was placed."""


def read_trial(folder: Path, workload: str, seed: int) -> Trial:
    """The trial of the published run. Raises `TraceError`."""
    nodes = read_nodes(folder)
    requests = read_requests(folder, workload, nodes.types)
    order = read_order(folder, workload, seed, len(requests.of))
    return Trial(nodes, requests, order, read_ranks(folder, workload, seed, nodes))


def curve(trial: Trial, placed: NDArray[np.bool_]) -> Curve:
    """Allocation in % by arrived demand in %."""
    wanted = demand(trial)
    capacity = trial.nodes.capacity
    percent = np.rint(100 * np.cumsum(wanted) / capacity).astype(np.int64)
    held = 100 * np.cumsum(wanted * placed) / capacity
    return np.array([_mean(held[percent == c]) for c in range(LAST_PERCENT + 1)])


def demand(trial: Trial) -> Ints:
    """Milli-chips that each arrival asks for."""
    kinds = trial.requests.kinds
    sizes: Ints = kinds[:, CHIPS] * kinds[:, MILLI]
    return sizes[trial.kinds_in_order]


def _mean(values: Curve) -> float:
    return float(values.mean()) if len(values) else float("nan")
