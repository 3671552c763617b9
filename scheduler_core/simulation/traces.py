"""The public traces as workloads. Where each comes from and its licence: `docs/evidence.md`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from scheduler_core.simulation.tables import Row, TraceError, rows_of
from scheduler_core.simulation.workload import Workload, whole_chip_workload

LONGEST_S = 366 * 24 * 3600
"""No job and no trace is longer than a year: a larger number is a bad row."""
LARGEST_GANG = 4096
"""Chips; a larger gang is a bad row."""
ITP_CLUSTERS = 10


def philly(folder: Path) -> Workload:
    """Microsoft's Philly cluster (Jeon et al., ATC'19) as flattened by the authors of Pollux (OSDI'21): one
    job a row; virtual clusters are its teams. Raises `TraceError`.
    """
    jobs = []
    for row in rows_of(folder / "philly.csv.gz", ("timestamp", "duration", "num_gpus", "cluster")):
        runtime = row.milliseconds("duration", at_most_s=LONGEST_S)
        chips = row.whole("num_gpus", at_least=1, at_most=LARGEST_GANG)
        jobs.append((_instant(row, "timestamp"), runtime, chips, row.text("cluster")))
    return _from_zero("philly", jobs, folder / "philly.csv.gz")


def itp(folder: Path) -> Workload:
    """Microsoft's internal training trace (ElasticFlow, ASPLOS'23): its ten clusters merged, each a team.
    Raises `TraceError`.
    """
    jobs = []
    for number in range(1, ITP_CLUSTERS + 1):
        path = folder / f"raw_cluster{number:02d}.csv.gz"
        for row in rows_of(path, ("job_id", "submission_time", "duration", "num_gpu")):
            submit = row.milliseconds("submission_time", at_most_s=LONGEST_S)
            runtime = row.milliseconds("duration", at_most_s=LONGEST_S)
            chips = row.whole("num_gpu", at_least=1, at_most=LARGEST_GANG)
            jobs.append((submit, runtime, chips, f"{number:02d}"))
    return _from_zero("itp", jobs, folder)


def traces_folder(given: str | None) -> Path:
    """The folder that holds `philly`, `itp-elasticflow` and `openb`: as given, else the environment's
    FLEXAI_TRACES, else `../shared/data/traces`.
    """
    return Path(given or os.environ.get("FLEXAI_TRACES", "../shared/data/traces"))


def _instant(row: Row, column: str) -> int:
    """The local time in the cell in ms since the epoch; the trace names no zone, and only differences count."""
    try:
        moment = datetime.fromisoformat(row.text(column)).replace(tzinfo=UTC)
    except ValueError:
        raise row.error(column, f"{row.text(column)!r} is not a date and time") from None
    return int(moment.timestamp()) * 1000


def _from_zero(name: str, jobs: list[tuple[int, int, int, str]], path: Path) -> Workload:
    if not jobs:
        raise TraceError(path, None, None, "holds no job")
    first = min(submit for submit, *_ in jobs)
    return whole_chip_workload(name, [(submit - first, *rest) for submit, *rest in jobs])  # type: ignore[misc]
