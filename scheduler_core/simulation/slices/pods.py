"""The workload of figure 4: pods of openb drawn with replacement, coming faster than the cluster can serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.openb.trace import MOST_CPU, MOST_MEMORY_MIB, read_nodes
from scheduler_core.simulation.replay.state import Cluster
from scheduler_core.simulation.tables import Row, TraceError, rows_of
from scheduler_core.simulation.workload import Workload, whole

EVERY_NODE = 16
"""Every so many-th row of the nodes with chips: 76 nodes, 414 chips."""
LONGEST_MS = 24 * 3_600_000
LOAD = 1.2
"""What is asked for (milli-chips x run time), by what there is."""
MOST_S = 10**9

Pod: TypeAlias = tuple[int, int, int, int, int, int]
"""CPU, memory, chips, milli-chips of each, allowed types, run time in ms."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cluster and the names of its chip types, by bit."""

    cluster: Cluster
    type_names: tuple[str, ...]


def read_cell(folder: Path, every: int = EVERY_NODE) -> Cell:
    """Every so many-th node with chips. Raises `TraceError`."""
    nodes = read_nodes(folder)
    rows = np.column_stack([nodes.chips, nodes.cpu, nodes.memory])[::every].astype(np.int64)
    return Cell(Cluster(rows, np.left_shift(1, nodes.chip_type[::every]).astype(np.int64)), nodes.types)


def read_pods(folder: Path, type_names: tuple[str, ...]) -> list[Pod]:
    """The pods of the default workload that ran. Raises `TraceError`."""
    path = folder / "openb_pod_list_default.csv.gz"
    columns = (
        "cpu_milli",
        "memory_mib",
        "num_gpu",
        "gpu_milli",
        "gpu_spec",
        "deletion_time",
        "scheduled_time",
    )
    pods = [_pod(row, type_names) for row in rows_of(path, columns) if row.text("scheduled_time")]
    if not pods:
        raise TraceError(path, None, None, "no pod of it ran")
    return pods


def classes_of(folder: Path) -> list[str]:
    """The QoS class of every one of these pods, in the same order. Raises `TraceError`."""
    rows = rows_of(folder / "openb_pod_list_default.csv.gz", ("qos", "scheduled_time"))
    return [row.text("qos") for row in rows if row.text("scheduled_time")]


def backlog(
    pods: list[Pod], cell: Cell, *, days: int, seed: int, load: float = LOAD, classes: list[str] | None = None
) -> Workload:
    """Pods drawn with replacement, coming as a Poisson process at `load` x capacity for so many days. Where the
    classes of the pods are given they are the teams, otherwise all are one team.
    """
    table = np.array(pods, np.int64)
    asked = float((table[:, 2] * table[:, 3] * table[:, 5]).mean())
    gap_ms = asked / (load * 1000 * cell.cluster.chips)
    draw = np.random.default_rng(seed)
    length = days * 24 * 3_600_000
    expected = int(length / gap_ms)
    arrivals = np.cumsum(draw.exponential(gap_ms, expected + 10 * int(expected**0.5) + 100))
    submit = arrivals[arrivals < length].astype(np.int64)
    chosen = draw.integers(0, len(table), len(submit))
    drawn = table[chosen]
    teams = tuple(sorted(set(classes or ["all"])))
    team = [teams.index(name) for name in classes] if classes else [0] * len(table)
    one = np.ones(len(submit), np.int64)
    return Workload(
        "openb backlog",
        submit=submit,
        runtime=drawn[:, 5].copy(),
        replicas=one,
        chips=drawn[:, 2].copy(),
        milli=drawn[:, 2] * drawn[:, 3],
        cpu=drawn[:, 0].copy(),
        memory=drawn[:, 1].copy(),
        team=whole(team)[chosen],
        types=drawn[:, 4].copy(),
        teams=teams,
        type_names=cell.type_names,
    )


def useful_share(
    work: Workload,
    chips: int,
    runs: NDArray[np.int64],
    window: tuple[int, int],
) -> float:
    """Percent of the window's chip-time (ms) that was asked for and worked on. `runs`: rows of job, beginning
    of the useful part, end.
    """
    overlap = np.minimum(runs[:, 2], window[1]) - np.maximum(runs[:, 1], window[0])
    milli = (work.milli * work.replicas)[runs[:, 0]]
    there_was = 1000 * chips * (window[1] - window[0])
    return 100 * int((milli * overlap.clip(0)).sum()) / there_was


def _pod(row: Row, type_names: tuple[str, ...]) -> Pod:
    scheduled = row.whole("scheduled_time", at_least=0, at_most=MOST_S)
    ended = row.whole("deletion_time", at_least=scheduled, at_most=MOST_S)
    chips = row.whole("num_gpu", at_least=0, at_most=16)
    milli = row.whole("gpu_milli", at_least=0, at_most=1000)
    named = [name for name in row.text("gpu_spec").split("|") if name]
    for name in named:
        if name not in type_names:
            raise row.error("gpu_spec", f"no node has chips of type {name!r}")
    allowed = sum(1 << type_names.index(name) for name in set(named or type_names))
    return (
        row.whole("cpu_milli", at_least=0, at_most=MOST_CPU),
        row.whole("memory_mib", at_least=0, at_most=MOST_MEMORY_MIB),
        chips,
        milli if chips else 0,
        allowed,
        min(max(1000, 1000 * (ended - scheduled)), LONGEST_MS),
    )
