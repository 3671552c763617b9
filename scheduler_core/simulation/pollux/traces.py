"""Reading the Pollux workloads and profiles (Qiao et al., OSDI'21): petuum/adaptdl, branch osdi21-artifact.

The folder holds `workloads*/workload-N.csv` (what was submitted), `profiles/<application>/*.csv.gz` (what was
measured on nodes of 4 T4) and `expected/*_summary.json.gz` (the authors' results). Raises `TraceError`, which
names file, row and column.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from scheduler_core.simulation.tables import Row, TraceError, rows_of

WORKLOAD_FOLDERS = {
    "0.5": "workloads-0.5",
    "1.0": "workloads",
    "1.5": "workloads-1.5",
    "2.0": "workloads-2.0",
}
"""By relative load: 80, 160, 240 and 320 jobs submitted within 8 hours."""
LONGEST_S = 7 * 24 * 3600
LARGEST = 10**30
"""Gradient statistics are large and have no unit; beyond this a row is bad."""
LARGEST_BATCH = 10**7


@dataclass(frozen=True, slots=True)
class Submission:
    """A job of a workload: what its user asked for."""

    name: str
    at: int
    """Seconds after the start."""
    application: str
    replicas: int
    batch: int
    """Total batch size."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one training step took on average in one measured configuration."""

    placement: tuple[int, ...]
    """Chips on each node; for `scalability` rows empty, there only the counts are known."""
    nodes: int
    replicas: int
    local_batch: int
    step_seconds: float
    sync_seconds: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """A measured epoch at one fixed batch size."""

    progress: float
    """Training progress at its end, in iterations at the initial batch size."""
    iteration: int
    grad_sqr: float
    grad_var: float


def read_workload(folder: Path, load: str, number: int) -> list[Submission]:
    """The jobs of one workload in the order of the file."""
    path = folder / WORKLOAD_FOLDERS[load] / f"workload-{number}.csv"
    return [
        Submission(
            row.text("name"),
            row.whole("time", at_least=0, at_most=LONGEST_S),
            row.text("application"),
            row.whole("num_replicas", at_least=1, at_most=64),
            row.whole("batch_size", at_least=1, at_most=LARGEST_BATCH),
        )
        for row in rows_of(path, ("name", "time", "application", "num_replicas", "batch_size"))
    ]


def read_placements(folder: Path, application: str) -> list[StepTime]:
    """Measured step times by placement."""
    path = folder / "profiles" / application / "placements.csv.gz"
    times = []
    for row in rows_of(path, ("placement", "local_bsz", "step_time", "sync_time")):
        placement = tuple(int(digit) for digit in str(row.whole("placement", at_least=1, at_most=4444)))
        times.append(_step_time(row, placement, len(placement), sum(placement)))
    return times


def read_scalability(folder: Path, application: str) -> list[StepTime]:
    """Measured step times of larger jobs by numbers of nodes and replicas."""
    path = folder / "profiles" / application / "scalability.csv.gz"
    columns = ("num_nodes", "num_replicas", "local_bsz", "step_time", "sync_time")
    return [
        _step_time(
            row,
            (),
            row.whole("num_nodes", at_least=1, at_most=16),
            row.whole("num_replicas", at_least=1, at_most=64),
        )
        for row in rows_of(path, columns)
    ]


def read_epochs(folder: Path, application: str) -> dict[int, list[Epoch]]:
    """The epochs measured at each total batch size, smallest batch first."""
    found = {}
    for path in (folder / "profiles" / application).glob("validation-*.csv.gz"):
        batch = path.name.removeprefix("validation-").removesuffix(".csv.gz")
        if not batch.isdigit():
            raise TraceError(path, None, None, "its name does not end in a batch size")
        found[int(batch)] = [
            Epoch(
                row.number_in("progress", at_least=0, at_most=LARGEST, whole=False),
                row.whole("iteration", at_least=0, at_most=LARGEST),
                row.number_in("grad_sqr", at_least=0, at_most=LARGEST, whole=False),
                row.number_in("grad_var", at_least=0, at_most=LARGEST, whole=False),
            )
            for row in rows_of(path, ("progress", "iteration", "grad_sqr", "grad_var"))
        ]
    if not found:
        raise TraceError(folder / "profiles" / application, None, None, "no validation-<batch>.csv.gz in it")
    return dict(sorted(found.items()))


def read_expected(folder: Path, policy: str, load: str) -> dict[str, dict[str, float]] | None:
    """The authors' completion times in seconds, by workload and job; None where they publish none."""
    path = folder / "expected" / f"{policy}-{load}_summary.json.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt") as file:
        summary = json.load(file)
    return {workload: dict(times) for workload, times in summary["jcts"].items()}


def _step_time(row: Row, placement: tuple[int, ...], nodes: int, replicas: int) -> StepTime:
    return StepTime(
        placement,
        nodes,
        replicas,
        row.whole("local_bsz", at_least=1, at_most=LARGEST_BATCH),
        row.number_in("step_time", at_least=0, at_most=LONGEST_S, whole=False),
        row.number_in("sync_time", at_least=0, at_most=LONGEST_S, whole=False),
    )
