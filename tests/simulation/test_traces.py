"""Readers of the public traces: what they yield, and how they refuse."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from scheduler_core.simulation import traces
from scheduler_core.simulation.tables import TraceError
from scheduler_core.simulation.workload import gang_of

HEADER = "timestamp,duration,num_gpus,gpu_time,cluster"


def philly_file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    with gzip.open(folder / "philly.csv.gz", "wt") as stream:
        stream.write("\n".join([header, *rows]) + "\n")
    return folder


def test_jobs_come_in_order_of_submission(tmp_path: Path) -> None:
    work = traces.philly(
        philly_file(
            tmp_path,
            "2017-10-09 07:01:55,66.0,1,66.0,b",
            "2017-10-09 07:00:55,10.5,16,168.0,a",
            "2017-10-09 07:00:00,0,1,0,a",
        )
    )
    assert work.submit.tolist() == [55_000, 115_000]
    assert work.runtime.tolist() == [10_500, 66_000]
    assert work.gang_chips.tolist() == [16, 1]
    assert [work.teams[team] for team in work.team] == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        ("yesterday,66,1,66,b", "timestamp", "not a date"),
        ("2017-10-09 07:01:55,soon,1,66,b", "duration", "not a number"),
        ("2017-10-09 07:01:55,-1,1,66,b", "duration", "not between"),
        ("2017-10-09 07:01:55,66,1.5,66,b", "num_gpus", "not a whole number"),
        ("2017-10-09 07:01:55,66,0,66,b", "num_gpus", "not between"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, row: str, column: str, problem: str) -> None:
    good = "2017-10-09 07:01:55,66,1,66,b"
    with pytest.raises(TraceError, match=rf"philly\.csv\.gz, row 3, column '{column}': .*{problem}"):
        traces.philly(philly_file(tmp_path, good, row))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        TraceError, match=r"row 1, column 'num_gpus': missing; the file has timestamp, duration"
    ):
        traces.philly(philly_file(tmp_path, header="timestamp,duration"))


def test_a_short_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="row 2: 3 cells under 5 columns"):
        traces.philly(philly_file(tmp_path, "2017-10-09 07:01:55,66,1"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"raw_cluster01\.csv\.gz: there is no such file"):
        traces.itp(tmp_path)


def test_an_empty_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no job"):
        traces.philly(philly_file(tmp_path))


def test_gangs_wider_than_a_node_are_cut_into_equal_replicas() -> None:
    assert [gang_of(chips) for chips in (1, 8, 12, 16, 24, 128)] == [
        (1, 1), (1, 8), (2, 6), (2, 8), (3, 8), (16, 8),
    ]  # fmt: skip
