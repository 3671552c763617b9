"""The engine's machine code, made before anybody needs it: `python -m scheduler_core.ahead`.

Compiling all loops takes half a minute or more. The code is kept where the compiler keeps it (`compiled`), so that a
process of its own can make it while others go on deciding; they find it there. It ends with 1 where there is no place
to keep it.
"""

from __future__ import annotations

from dataclasses import replace

from scheduler_core.compiled import LONG, is_kept
from scheduler_core.decision import Start
from scheduler_core.engine import Scheduler
from scheduler_core.model import (
    Chip,
    Gang,
    Isolation,
    Job,
    Node,
    Pool,
    Remove,
    Request,
    Running,
    Seen,
    Snapshot,
    Team,
    Upsert,
)
from scheduler_core.policy import Policy

REQUESTS = (
    Request(chips=1, cpu=1000, memory=1000),
    Request(chips=4, cpu=1000, memory=1000),
    Request(milli=300, cpu=1000, memory=1000),
    Request(chip_memory=5000),
    Request(cpu=1000, memory=1000),
    Request(chips=9),
)
"""One of every kind, and one that fits nowhere."""
GANGS = (1, 2)
"""Replicas."""
SEEN = tuple(Seen(number, request, 1) for number, request in enumerate(REQUESTS, start=1))
"""By these, nodes are valued where few jobs wait."""


def make_machine_code() -> None:
    """Every loop of the engine is compiled, and kept where it can be."""
    for nodes in (LONG, LONG - 1):  # in order on shelves, and looked at one by one
        cell = _a_cell(nodes)
        few = replace(cell, jobs=cell.jobs[: len(REQUESTS) * len(GANGS)], seen=SEEN)
        for snapshot in (cell, few):
            scheduler = Scheduler(snapshot, Policy(max_starts=3 * nodes), machine_from=1)
            for minute in range(2):
                started = scheduler.decide(60_000 * minute).units
                attempts = [_attempt(unit.start) for unit in started]
                scheduler.apply(Upsert(attempt) for attempt in attempts)
                scheduler.apply(Remove(Running, attempt.id) for attempt in attempts)


def _attempt(start: Start) -> Running:
    return Running(start.job, start.job, 1, 1, start.placements)


def _a_cell(nodes: int) -> Snapshot:
    """A cell of so many nodes, one of them like no other, on which not everybody finds a place."""
    isolation = frozenset({Isolation.EXCLUSIVE, Isolation.ENFORCED})
    rows, chips = [], list[Chip]()
    for node in range(1, nodes + 1):
        rows.append(Node(node, f"node-{node}", 1, 16_000, 16_000, ready=node != nodes))
        chips += [
            Chip(
                len(chips) + 1 + at,
                node,
                at,
                "chip",
                16_000,
                health=99 if node + at == 2 else 100,
                isolation=isolation,
            )
            for at in range(4)
        ]
    teams = tuple(Team(team, f"team-{team}", team) for team in (1, 2))
    return Snapshot(0, (Pool(1, "pool", 10),), tuple(rows), tuple(chips), teams, tuple(_jobs(8 * nodes)))


def _jobs(count: int) -> list[Job]:
    gangs = [Gang(request, replicas, replicas) for request in REQUESTS for replicas in GANGS]
    return [
        Job(
            job,
            f"job-{job}",
            1 + job % 2,
            1 + job % 2,
            1,
            gangs[job % len(gangs)],
            submitted=job,
            preemptible=True,
        )
        for job in range(1, count + 1)
    ]


if __name__ == "__main__":
    make_machine_code()
    raise SystemExit(0 if is_kept() else 1)
