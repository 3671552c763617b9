"""Figure 4's workload and its measure."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from scheduler_core.simulation.__main__ import main
from scheduler_core.simulation.replay.state import Cluster
from scheduler_core.simulation.slices.pods import Cell, backlog, read_cell, read_pods, useful_share
from scheduler_core.simulation.tables import TraceError

TYPES = ("A", "B")
HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,deletion_time,scheduled_time"
PODS = (
    "half,1000,1024,1,500,,3600,0",
    "whole,1000,1024,1,1000,A,100000,0",
    "never,1000,1024,1,1000,,5,",
    "two,4000,2048,2,1000,,7200,0",
)


def trace(folder: Path, *pods: str) -> Path:
    """An openb folder of 32 nodes, of which every 16th counts, with these pods."""
    rows = [f"node-{n},64000,262144,{2 if n % 16 else 4},{'B' if n % 2 else 'A'}" for n in range(32)]
    nodes = "\n".join(["sn,cpu_milli,memory_mib,gpu,model", *rows])
    (folder / "openb_node_list_gpu_node.csv").write_text(nodes + "\n")
    with gzip.open(folder / "openb_pod_list_default.csv.gz", "wt") as stream:
        stream.write("\n".join([HEADER, *pods]) + "\n")
    return folder


def test_every_16th_node_and_every_pod_that_ran(tmp_path: Path) -> None:
    """Run times are cut at a day; a pod that names no type may have any."""
    folder = trace(tmp_path, *PODS)
    cell = read_cell(folder)
    assert (len(cell.cluster.types), cell.cluster.chips, cell.type_names) == (2, 8, TYPES)
    assert read_pods(folder, TYPES) == [
        (1000, 1024, 1, 500, 3, 3_600_000),
        (1000, 1024, 1, 1000, 1, 86_400_000),
        (4000, 2048, 2, 1000, 3, 7_200_000),
    ]


def test_a_bad_pod_is_named(tmp_path: Path) -> None:
    folder = trace(tmp_path, "late,1000,1024,1,500,,5,10")
    with pytest.raises(TraceError, match=r"openb_pod_list_default\.csv\.gz, row 2, column 'deletion_time'"):
        read_pods(folder, TYPES)
    folder = trace(tmp_path, "odd,1000,1024,1,500,Z,50,10")
    with pytest.raises(TraceError, match="no node has chips of type 'Z'"):
        read_pods(folder, TYPES)


def test_more_is_asked_for_than_there_is_by_the_stated_factor() -> None:
    cell = Cell(Cluster(np.array([[8, 10**6, 10**6]] * 5, np.int64), np.ones(5, np.int64)), ("A",))
    work = backlog([(1, 1, 1, 500, 1, 3_600_000), (1, 1, 2, 1000, 1, 600_000)], cell, days=10, seed=3)
    asked = (work.milli * work.runtime).sum() / (1000 * cell.cluster.chips * 10 * 86_400_000)
    assert asked == pytest.approx(1.2, rel=0.05)
    assert (np.diff(work.submit) >= 0).all()
    assert (
        work.submit.tolist()
        == backlog(
            [(1, 1, 1, 500, 1, 3_600_000), (1, 1, 2, 1000, 1, 600_000)], cell, days=10, seed=3
        ).submit.tolist()
    )


def test_useful_is_what_was_asked_for_inside_the_window() -> None:
    """Half a chip for 5 of 10 ms on 2 chips: an eighth."""
    cell = Cell(Cluster(np.array([[8, 10**6, 10**6]], np.int64), np.ones(1, np.int64)), ("A",))
    work = backlog([(1, 1, 1, 500, 1, 3_600_000)], cell, days=2, seed=1)
    assert useful_share(work, 2, np.array([[0, 5, 30]]), (10, 20)) == 25
    assert useful_share(work, 2, np.array([[0, 15, 30]]), (10, 20)) == 12.5


def test_the_command_prints_its_table_and_the_gain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Halves only: the engine puts two on a chip, who gives whole chips reaches half of that at most."""
    (tmp_path / "openb").mkdir()
    trace(tmp_path / "openb", "half,1000,1024,1,500,,14400,0")
    arguments = [
        "slices",
        "--traces",
        str(tmp_path),
        "--days",
        "2",
        "--round",
        "600",
        "--policies",
        "fifo,flexai",
    ]
    assert main([*arguments, "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    useful = {line["policy"]: line["useful"] for line in last["lines"]}
    assert useful["fifo"] <= 50
    assert useful["flexai"] > 90
    assert last["gain"]["fifo"] > 80


def test_an_unknown_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no policy is called best"):
        main(["slices", "--traces", str(tmp_path), "--policies", "best"])
