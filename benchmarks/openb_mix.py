"""The requests of the openb trace, and its nodes with eight GPUs.

Source: Alibaba cluster-trace-gpu-v2023 ("openb"), published with Weng et al., *Beware of Fragmentation:
Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent*, USENIX ATC 2023; files from
github.com/hkust-adsl/kubernetes-scheduler-simulator (Apache-2.0). Where the trace is (`traces_folder`) all of its
pods are drawn from; elsewhere its 40 commonest requests, 7446 of 8152 pods, stand in for it.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from typing import TypeAlias

from scheduler_core.simulation.traces import traces_folder

TRACE = traces_folder(None) / "openb"
PODS = "openb_pod_list_default.csv.gz"
NODES = "openb_node_list_gpu_node.csv"

Shape: TypeAlias = tuple[int, int, int, int]
"""Millicores, MiB, GPUs, and thousandths of each GPU."""


def pod_shapes() -> list[Shape]:
    """What each pod asks for: of the trace where there is one, else of the sample."""
    if not (TRACE / PODS).exists():
        return [
            (cpu, memory, gpus, milli) for cpu, memory, gpus, milli, count in SAMPLE for _ in range(count)
        ]
    with gzip.open(TRACE / PODS, "rt") as file:
        return [
            (int(row["cpu_milli"]), int(row["memory_mib"]), int(row["num_gpu"]), int(row["gpu_milli"]))
            for row in csv.DictReader(file)
        ]


def node_shapes() -> list[tuple[str, int, int]]:
    """Model, millicores and MiB of the trace's nodes with eight GPUs, dealt out evenly."""
    counts = dict(_counted_nodes()) if (TRACE / NODES).exists() else dict(NODE_SAMPLE)
    total = sum(counts.values())
    dealt = [
        ((2 * place + 1) * total / count, kind) for kind, count in counts.items() for place in range(count)
    ]
    return [kind for _, kind in sorted(dealt)]


def _counted_nodes() -> Iterator[tuple[tuple[str, int, int], int]]:
    with (TRACE / NODES).open() as file:
        rows = [row for row in csv.DictReader(file) if row["gpu"] == "8"]
    kinds = [(row["model"], int(row["cpu_milli"]), int(row["memory_mib"])) for row in rows]
    for kind in dict.fromkeys(kinds):
        yield kind, kinds.count(kind)


NODE_SAMPLE = (
    (("G2", 96_000, 393_216), 549),
    (("G3", 128_000, 786_432), 39),
    (("V100M32", 96_000, 786_432), 21),
    (("V100M16", 64_000, 262_144), 7),
    (("V100M16", 82_000, 344_064), 1),
)
"""The nodes with eight GPUs, counted."""

SAMPLE = (
    (3152, 5600, 1, 810, 1047),
    (11300, 49152, 1, 1000, 857),
    (11400, 48128, 1, 1000, 534),
    (3152, 5600, 1, 1000, 470),
    (11908, 47104, 1, 470, 388),
    (12500, 57344, 0, 0, 364),
    (8000, 30517, 1, 470, 360),
    (32000, 49152, 0, 0, 284),
    (18708, 64512, 1, 1000, 255),
    (11908, 47104, 1, 650, 237),
    (9810, 41560, 1, 1000, 195),
    (8000, 30517, 0, 0, 163),
    (12000, 24576, 1, 1000, 158),
    (15700, 58368, 1, 1000, 158),
    (11908, 47104, 1, 1000, 153),
    (15400, 51200, 0, 0, 120),
    (4000, 22888, 1, 320, 111),
    (16000, 32768, 1, 1000, 108),
    (8000, 16384, 1, 1000, 104),
    (4000, 24576, 1, 1000, 104),
    (12000, 16384, 1, 1000, 99),
    (16500, 51200, 0, 0, 95),
    (14200, 58368, 1, 1000, 93),
    (4000, 30517, 1, 230, 84),
    (24200, 93184, 1, 1000, 84),
    (4000, 15258, 1, 320, 78),
    (3152, 5600, 1, 590, 75),
    (8000, 30517, 1, 320, 72),
    (4152, 10600, 1, 550, 72),
    (11400, 77824, 1, 1000, 65),
    (8000, 32768, 1, 1000, 55),
    (4000, 15258, 1, 160, 53),
    (6000, 6144, 1, 460, 51),
    (11900, 77824, 1, 1000, 51),
    (4152, 10600, 1, 370, 45),
    (12000, 15360, 1, 1000, 44),
    (4000, 30517, 1, 320, 43),
    (8200, 33792, 1, 1000, 41),
    (4000, 31250, 1, 1000, 40),
    (15200, 80896, 1, 1000, 36),
)  # fmt: skip
"""Millicores, MiB, GPUs, thousandths of each, and how many pods ask for that, of openb_pod_list_default."""
