"""Readers of the openb files: what they yield, and how they refuse."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler_core.simulation.openb.trace import (
    read_nodes,
    read_order,
    read_published,
    read_ranks,
    read_requests,
)
from scheduler_core.simulation.tables import TraceError

NODES = "openb_node_list_gpu_node.csv"
REQUESTS = "openb_pod_list_default.csv.gz"
ORDER = "arrival_order/order_default_tune1.3.csv.gz"
RANKS = "arrival_order/noderank_default_tune1.3.csv.gz"

GOOD = {
    NODES: "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,262144,2,T4\nn2,96000,393216,8,G2\n",
    REQUESTS: "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
    "p1,4000,16384,1,500,\np2,32000,65536,8,1000,G2\np3,1000,2048,0,0,\np4,4000,16384,1,500,\n",
    ORDER: "seed42,seed43\n2,0\n0,1\n1,\n",
    RANKS: "sn,seed42,seed43\nn1,1,0\nn2,0,1\n",
}


def folder(at: Path, **changed: str) -> Path:
    """The files as in `GOOD`, but for those named."""
    (at / "arrival_order").mkdir()
    for name, text in {**GOOD, **{key.replace("__", "/"): text for key, text in changed.items()}}.items():
        path = at / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return at


def test_the_files_become_whole_numbers(tmp_path: Path) -> None:
    at = folder(tmp_path)
    nodes = read_nodes(at)
    assert (nodes.names, nodes.types, nodes.capacity) == (("n1", "n2"), ("G2", "T4"), 10_000)
    assert nodes.chip_type.tolist() == [1, 0]
    requests = read_requests(at, "default", nodes.types)
    assert requests.kinds[requests.of].tolist() == [
        [4_000, 16_384, 1, 500, 0b11],
        [32_000, 65_536, 8, 1000, 0b01],
        [1_000, 2_048, 0, 0, 0],
        [4_000, 16_384, 1, 500, 0b11],
    ]
    assert len(requests.kinds) == 3, "equal requests are one kind"
    assert read_order(at, "default", 42, 4).tolist() == [2, 0, 1]
    assert read_order(at, "default", 43, 4).tolist() == [0, 1], "blank after the last arrival"
    assert read_ranks(at, "default", 42, nodes).tolist() == [1, 0]


def nodes_of(at: Path) -> object:
    return read_nodes(at)


def requests_of(at: Path) -> object:
    return read_requests(at, "default", ("G2", "T4"))


def order_of(at: Path) -> object:
    return read_order(at, "default", 42, 4)


def ranks_of(at: Path) -> object:
    return read_ranks(at, "default", 42, read_nodes(at))


@pytest.mark.parametrize(
    ("read", "file", "good", "bad", "said"),
    [
        (nodes_of, NODES, "96000", "many", r"row 3, column 'cpu_milli': 'many' is not a number"),
        (nodes_of, NODES, ",8,G2", ",17,G2", r"row 3, column 'gpu': 17 is not between 1 and 16"),
        (nodes_of, NODES, ",2,T4", ",2,", r"row 2, column 'model': a node with chips must say their type"),
        (nodes_of, NODES, ",gpu,", ",cards,", r"row 1, column 'gpu': missing; the file has sn, cpu_milli"),
        (nodes_of, NODES, "n2,96000", "96000", r"row 3: 4 cells under 5 columns"),
        (requests_of, REQUESTS, "32000,", "-1,", r"row 3, column 'cpu_milli': -1 is not between"),
        (
            requests_of,
            REQUESTS,
            "p1,4000,16384",
            "p1,4000,1.5",
            r"row 2, column 'memory_mib': '1.5' is not a whole",
        ),
        (
            requests_of,
            REQUESTS,
            "8,1000",
            "8,500",
            r"row 3, column 'gpu_milli': 500 milli-chips of each of 8",
        ),
        (
            requests_of,
            REQUESTS,
            "1000,G2",
            "1000,H9",
            r"row 3, column 'gpu_spec': no node has chips of type 'H9'",
        ),
        (order_of, ORDER, "1,\n", "4,\n", r"row 4, column 'seed42': 4 is not between 0 and 3"),
        (order_of, ORDER, "seed42", "seed7", r"row 1, column 'seed42': missing; the file has seed7, seed43"),
        (ranks_of, RANKS, "n2,", "n3,", r"column 'sn': there is no row for node 'n2'"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, read: Callable[[Path], object], file: str, good: str, bad: str, said: str
) -> None:
    at = folder(tmp_path, **{file: GOOD[file].replace(good, bad, 1)})
    with pytest.raises(TraceError, match=rf"^{Path(file).name}, {said}"):
        read(at)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"^analysis_allo_discrete\.csv\.gz: there is no such file in"):
        read_published(tmp_path, "default", "06-FGD", (42,))


@pytest.mark.parametrize("file", [NODES, REQUESTS])
def test_a_file_without_rows_is_refused(tmp_path: Path, file: str) -> None:
    at = folder(tmp_path, **{file: GOOD[file].splitlines()[0] + "\n"})
    with pytest.raises(TraceError, match=r"it has no (nodes|requests)"):
        nodes_of(at) if file == NODES else requests_of(at)
