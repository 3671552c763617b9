"""The engine itself under the protocol: `Scheduler` is told of one request at a time, and decides.

Whoever is not started at once is dropped, as the protocol has it. Nobody ends, and nobody may be moved or taken back.
Nodes have the published run's ranks for ids, so that equal nodes are taken in its order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_core import Policy, Scheduler, Snapshot
from scheduler_core.decision import Start
from scheduler_core.model import (
    WHOLE_CHIP,
    Chip,
    FeedEvent,
    Gang,
    Job,
    Node,
    Pool,
    Remove,
    Request,
    Running,
    Seen,
    Team,
    Upsert,
)
from scheduler_core.simulation.openb.protocol import Trial
from scheduler_core.value import CHIPS, CPU, MEMORY, MILLI, TYPES

CHIP_MEMORY = 16 * 1024
"""MiB of every chip: no request asks for chip memory."""
SECOND = 1000
TEAM = ORGANIZATION = USER = POOL = 1


class Decided(NamedTuple):
    """For each arrival, whether it was placed; and the efforts of the decisions (S4)."""

    placed: NDArray[np.bool_]
    efforts: set[int]


def decide_all(trial: Trial, arrivals: int | None = None) -> Decided:
    """The engine's decision on each arrival, or on the first so many, with its default policy. The mix that it values
    nodes by is that of the workload, as FGD's typical requests are.
    """
    requests = [_request(trial, kind) for kind in range(len(trial.requests.kinds))]
    scheduler = Scheduler(_empty(trial, requests), Policy())
    kinds = trial.kinds_in_order[:arrivals].tolist()
    placed, efforts = np.zeros(len(trial.order), np.bool_), set[int]()
    told: list[FeedEvent] = []
    for arrival, kind in enumerate(kinds):
        now, number = arrival * SECOND, arrival + 1
        job = Job(
            number, f"request-{number}", TEAM, ORGANIZATION, USER, Gang(requests[kind]), submitted=now, endless=True
        )  # fmt: skip
        scheduler.apply([*told, Upsert(job)])
        decision = scheduler.decide(now)
        efforts.add(decision.effort)
        told = [Remove(Job, number)]
        for unit in decision.units:
            placed[arrival] = True
            told.append(Upsert(_attempt(job, unit.start, now)))
    return Decided(placed, efforts)


def _attempt(job: Job, start: Start, now: int) -> Running:
    return Running(
        start.job, start.job, TEAM, ORGANIZATION, start.placements, started=now, user=USER, gang=job.gang, endless=True
    )  # fmt: skip


def _empty(trial: Trial, requests: list[Request]) -> Snapshot:
    """The cell before the first request, and what it sees."""
    nodes, chips = [], list[Chip]()
    for at, name in enumerate(trial.nodes.names):
        node = int(trial.ranks[at]) + 1
        nodes.append(Node(node, name, POOL, int(trial.nodes.cpu[at]), int(trial.nodes.memory[at])))
        chip_type = trial.nodes.types[int(trial.nodes.chip_type[at])]
        chips += [
            Chip(100 * node + index, node, index, chip_type, CHIP_MEMORY)
            for index in range(int(trial.nodes.chips[at]))
        ]
    counts = np.bincount(trial.requests.of, minlength=len(requests)).tolist()
    seen = [
        Seen(1 + at, request, count) for at, (request, count) in enumerate(zip(requests, counts, strict=True))
    ]
    team = Team(TEAM, "everybody", ORGANIZATION)
    return Snapshot(0, (Pool(POOL, "cell"),), tuple(nodes), tuple(chips), (team,), seen=tuple(seen))


def _request(trial: Trial, kind: int) -> Request:
    asked = [int(part) for part in trial.requests.kinds[kind]]
    types = trial.nodes.types
    every = (1 << len(types)) - 1
    named = types if asked[CHIPS] and asked[TYPES] & every != every else ()
    sliced = asked[CHIPS] == 1 and asked[MILLI] < WHOLE_CHIP
    return Request(
        chips=0 if sliced else asked[CHIPS],
        milli=asked[MILLI] if sliced else 0,
        chip_types=tuple(name for bit, name in enumerate(named) if asked[TYPES] >> bit & 1),
        in_order=False,
        cpu=asked[CPU],
        memory=asked[MEMORY],
    )
