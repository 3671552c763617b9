"""The openb files as tables of whole numbers: nodes, requests, arrival orders and published results.

Every refusal is a `TraceError` that names the file, the row and the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from scheduler_core.simulation.tables import Row, TraceError, rows_of
from scheduler_core.value import Ints

WORKLOADS: Final = (
    "default", "cpu050", "cpu100", "cpu200", "cpu250", "gpushare40", "gpushare60", "gpushare80",
    "gpushare100", "gpuspec10", "gpuspec20", "gpuspec25", "gpuspec33", "multigpu20", "multigpu30",
    "multigpu40", "multigpu50",
)  # fmt: skip
"""The 17 workloads of which the authors published runs."""

SEEDS: Final = tuple(range(42, 52))
WHOLE_CHIP: Final = 1000
MOST_CHIPS: Final = 16
"""Chips of one node; more is a bad row."""
MOST_CPU: Final = 10_000_000
MOST_MEMORY_MIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Nodes:
    """The cluster: one entry a node."""

    names: tuple[str, ...]
    cpu: Ints
    memory: Ints
    chip_type: Ints
    chips: Ints
    types: tuple[str, ...]

    @property
    def capacity(self) -> int:
        """Milli-chips of the whole cluster."""
        return int(self.chips.sum()) * WHOLE_CHIP


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a workload: rows of `kinds` (columns as in `scheduler_core.value`), and each one's row."""

    kinds: Ints
    of: Ints


def read_nodes(folder: Path) -> Nodes:
    """The 1,213 nodes with chips. Raises `TraceError`."""
    path = folder / "openb_node_list_gpu_node.csv"
    rows = list(rows_of(path, ("sn", "cpu_milli", "memory_mib", "gpu", "model")))
    if not rows:
        raise TraceError(path, None, None, "it has no nodes")
    types = tuple(sorted({_model(row) for row in rows}))
    return Nodes(
        names=tuple(row.text("sn") for row in rows),
        cpu=_column(rows, "cpu_milli", MOST_CPU),
        memory=_column(rows, "memory_mib", MOST_MEMORY_MIB),
        chip_type=np.array([types.index(_model(row)) for row in rows], np.int64),
        chips=np.array([row.whole("gpu", at_least=1, at_most=MOST_CHIPS) for row in rows], np.int64),
        types=types,
    )


def read_requests(folder: Path, workload: str, types: tuple[str, ...]) -> Requests:
    """The requests of a workload; a chip type that no node has is a bad row. Raises `TraceError`."""
    path = folder / f"openb_pod_list_{workload}.csv.gz"
    rows = rows_of(path, ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"))
    asked = [_kind(row, types) for row in rows]
    if not asked:
        raise TraceError(path, None, None, "it has no requests")
    kinds, of = np.unique(np.array(asked, np.int64), axis=0, return_inverse=True)
    return Requests(kinds, of.reshape(-1).astype(np.int64))


def read_order(folder: Path, workload: str, seed: int, requests: int) -> Ints:
    """Row numbers of the requests in the order of the published run. Raises `TraceError`."""
    path = folder / "arrival_order" / f"order_{workload}_tune1.3.csv.gz"
    column = f"seed{seed}"
    rows = [row for row in rows_of(path, (column,)) if row.text(column)]
    return np.array([row.whole(column, at_least=0, at_most=requests - 1) for row in rows], np.int64)


def read_ranks(folder: Path, workload: str, seed: int, nodes: Nodes) -> Ints:
    """For each node the rank that broke ties in the published run: the lowest wins. Raises `TraceError`."""
    path = folder / "arrival_order" / f"noderank_{workload}_tune1.3.csv.gz"
    column = f"seed{seed}"
    ranks = {
        row.text("sn"): row.whole(column, at_least=0, at_most=10**6) for row in rows_of(path, ("sn", column))
    }
    for name in nodes.names:
        if name not in ranks:
            raise TraceError(path, None, "sn", f"there is no row for node {name!r}")
    return np.array([ranks[name] for name in nodes.names], np.int64)


def read_published(
    folder: Path, workload: str, policy: str, seeds: tuple[int, ...]
) -> dict[int, list[float]]:
    """The authors' allocation curve (%, by arrived demand in %) of each seed. Raises `TraceError`."""
    path = folder / "expected" / "analysis_allo_discrete.csv.gz"
    columns = [str(percent) for percent in range(131)]
    found = {}
    for row in rows_of(path, ("workload", "sc_policy", "seed", *columns)):
        if row.text("workload") == f"openb_pod_list_{workload}" and row.text("sc_policy") == policy:
            seed = row.whole("seed", at_least=0, at_most=10**6)
            if seed in seeds:
                found[seed] = [float(row.text(column) or "nan") for column in columns]
    return found


def _kind(row: Row, types: tuple[str, ...]) -> tuple[int, ...]:
    chips = row.whole("num_gpu", at_least=0, at_most=MOST_CHIPS)
    milli = row.whole("gpu_milli", at_least=0, at_most=WHOLE_CHIP) if chips else 0
    if (chips > 1 and milli != WHOLE_CHIP) or (chips == 1 and milli == 0):
        raise row.error("gpu_milli", f"{milli} milli-chips of each of {chips} chips cannot be asked for")
    return (
        row.whole("cpu_milli", at_least=0, at_most=MOST_CPU),
        row.whole("memory_mib", at_least=0, at_most=MOST_MEMORY_MIB),
        chips,
        milli,
        _allowed(row, types) if chips else 0,
    )


def _allowed(row: Row, types: tuple[str, ...]) -> int:
    """Bit mask of the chip types that the request may have; blank is any."""
    named = [name for name in row.cells.get("gpu_spec", "").strip().split("|") if name]
    for name in named:
        if name not in types:
            raise row.error("gpu_spec", f"no node has chips of type {name!r}; there are {', '.join(types)}")
    return sum(1 << types.index(name) for name in set(named or types))


def _model(row: Row) -> str:
    if not row.text("model"):
        raise row.error("model", "a node with chips must say their type")
    return row.text("model")


def _column(rows: list[Row], column: str, at_most: int) -> Ints:
    return np.array([row.whole(column, at_least=0, at_most=at_most) for row in rows], np.int64)
