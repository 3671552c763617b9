"""The engine at scale (figure 5): 10,000 nodes of 8 chips, 100,000 waiting jobs of the openb mix, one core.

`--json` puts one JSON object on the last line; `--plot FOLDER` draws the time of both kinds of cycle against
the size of the cluster. Figures are of the process's own CPU time, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.openb_mix import Shape, node_shapes, pod_shapes
from benchmarks.reporting import Benchmark, Result, Target
from scheduler_core import Decision, Policy, Scheduler, Snapshot
from scheduler_core.model import (
    Chip,
    FeedEvent,
    Gang,
    Id,
    Isolation,
    Job,
    Node,
    Pool,
    Quota,
    Remove,
    Request,
    Running,
    Team,
    Upsert,
)

CHIPS = 8
TEAMS = 6
SEED = 2023
EVENTS = 1000
INCREMENTAL_CYCLES = 7
"""Of which the median is told."""
SIZES = (100, 1000, 10_000, 100_000)
"""Chips, for the plot."""
GC_THRESHOLDS = (100_000, 20, 50)
"""As a worker sets them for a large cell, when it has read it (`flexai.scheduling.engine_state`)."""
NOW = 1_700_000_000_000
ISOLATION = frozenset({Isolation.EXCLUSIVE, Isolation.ENFORCED, Isolation.COOPERATIVE})


def measure(nodes: int = 10_000, jobs: int = 100_000) -> Result:
    """Placements a second with the laws on, the cycle after 1,000 events, and the memory of all of it."""
    snapshot = a_cell(nodes, jobs)
    gc.collect()
    gc.freeze()
    policy = Policy(max_starts=jobs)
    began = time.process_time()
    scheduler = Scheduler(snapshot, policy)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    read = time.process_time()
    decision = scheduler.decide(NOW)
    decided = time.process_time()
    assert decision.units, "nothing starts"
    assert not decision.broken, decision.broken
    cycles = list(_cycles(snapshot, scheduler, decision))
    return {
        "placements_per_second": round(len(decision.units) / (decided - read)),
        "incremental_cycle_ms": round(sorted(cycles)[len(cycles) // 2] * 1000, 1),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "full_decision_ms": round((decided - read) * 1000),
        "snapshot_read_ms": round((read - began) * 1000),
        "placements": len(decision.units),
        "nodes": nodes,
        "chips": nodes * CHIPS,
        "waiting": jobs,
        "effort": decision.effort,
        "loop_ns": loop_ns(),
    }


def a_cell(nodes: int, jobs: int) -> Snapshot:
    """Nodes in the proportions of the trace's 8-chip nodes, and so many jobs drawn from its pods."""
    rows, chips = [], []
    shapes = node_shapes()
    for number in range(nodes):
        model, cpu, memory = shapes[number % len(shapes)]
        rows.append(Node(number + 1, f"node-{number}", 1, cpu, memory))
        chips += [
            Chip(number * CHIPS + index + 1, number + 1, index, model, 16_384, isolation=ISOLATION)
            for index in range(CHIPS)
        ]
    waiting = tuple(_jobs(pod_shapes(), range(1, jobs + 1)))
    return Snapshot(NOW, (Pool(1, "openb", 10),), tuple(rows), tuple(chips), _teams(chips), waiting)


def _teams(chips: Sequence[Chip]) -> tuple[Team, ...]:
    """Teams whose guarantees, from one part to six parts, share the cell, under one organization each two."""
    parts = sum(range(1, TEAMS + 1))
    counts: dict[str, int] = {}
    for chip in chips:
        counts[chip.type] = counts.get(chip.type, 0) + 1
    return tuple(
        Team(
            number,
            f"team-{number}",
            1 + number % 3,
            None,
            tuple(Quota(model, count * 1000 * number // parts) for model, count in sorted(counts.items())),
        )
        for number in range(1, TEAMS + 1)
    )


def _jobs(shapes: Sequence[Shape], ids: range) -> Iterator[Job]:
    """Jobs by a fixed seed: the same ids are the same jobs."""
    chance = random.Random(SEED + ids.start)
    gangs: dict[Shape, Gang] = {shape: Gang(_request(shape)) for shape in dict.fromkeys(shapes)}
    for number in ids:
        team = chance.randint(1, TEAMS)
        gang = gangs[chance.choice(shapes)]
        yield Job(number, f"job-{number}", team, 1 + team % 3, team, gang, submitted=number, preemptible=True)


def _request(shape: Shape) -> Request:
    cpu, memory, chips, milli = shape
    if chips == 1 and milli < 1000:
        return Request(milli=milli, cpu=cpu, memory=memory)
    return Request(chips=chips, cpu=cpu, memory=memory)


def _cycles(snapshot: Snapshot, scheduler: Scheduler, decision: Decision) -> Iterator[float]:
    """Seconds of one cycle after 1,000 events, again and again, beside as many waiting jobs as before.

    The first decision is applied and the line filled up again. Then half of the events are ends, the other
    half new jobs; what a cycle starts is applied outside the count.
    """
    jobs = {job.id: job for job in snapshot.jobs}
    running: list[Id] = []
    next_id = len(jobs) + 1

    def applied(decision: Decision) -> Iterator[FeedEvent]:
        for unit in decision.units:
            job = jobs.pop(unit.start.job)
            running.append(job.id)
            yield Upsert(_attempt(job, unit.start.placements))
            yield Remove(Job, job.id)

    def submitted(count: int) -> Iterator[FeedEvent]:
        nonlocal next_id
        for job in _jobs(pod_shapes(), range(next_id, next_id + count)):
            jobs[job.id] = job
            yield Upsert(job)
        next_id += count

    scheduler.apply(applied(decision))
    scheduler.apply(submitted(len(snapshot.jobs) - len(jobs)))
    scheduler.apply(applied(scheduler.decide(NOW)))
    chance = random.Random(SEED)
    for number in range(INCREMENTAL_CYCLES):
        ended = [running.pop(chance.randrange(len(running))) for _ in range(min(EVENTS // 2, len(running)))]
        events: list[FeedEvent] = [Remove(Running, attempt) for attempt in ended]
        events += submitted(EVENTS // 2)
        began = time.process_time()
        scheduler.apply(events)
        decision = scheduler.decide(NOW + 1000 * (number + 1))
        yield time.process_time() - began
        scheduler.apply(applied(decision))


def _attempt(job: Job, placements: Any) -> Running:
    return Running(
        job.id,
        job.id,
        job.team,
        job.organization,
        placements,
        priority=job.priority,
        preemptible=True,
        started=NOW,
        user=job.user,
        gang=job.gang,
        submitted=job.submitted,
    )


def plot(folder: Path) -> list[Result]:
    """Cycle times against the size of the cluster, ten jobs waiting for every node; drawn into the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [measure(max(1, size // CHIPS), max(1, size // CHIPS) * 10) for size in SIZES]
    sizes = [result["chips"] for result in results]
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for key, label in (
        ("full_decision_ms", "full decision, all jobs waiting"),
        ("incremental_cycle_ms", "cycle after 1,000 events"),
    ):
        axes.plot(sizes, [result[key] for result in results], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="chips in the cluster", ylabel="CPU time of one cycle, ms")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(folder / "engine-cycle-time.png", dpi=150)
    return results


BENCHMARK = Benchmark(
    "engine",
    measure,
    {
        "placements_per_second": Target(50_000, at_least=True, unit="/s"),
        "incremental_cycle_ms": Target(50, at_least=False, unit="ms"),
        "memory_mib": Target(1024, at_least=False, unit="MiB"),
    },
)


def main() -> None:
    """Run it as a command."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=measure.__doc__)
    asked.add_argument("--json", action="store_true", help="put one JSON object on the last line of stdout")
    asked.add_argument("--plot", type=Path, metavar="FOLDER", help="draw cycle time against cluster size")
    asked.add_argument("--nodes", type=int, default=10_000)
    asked.add_argument("--jobs", type=int, default=100_000)
    options = asked.parse_args()
    result = measure(options.nodes, options.jobs)
    if options.plot:
        result["sizes"] = plot(options.plot)
    Console().print(_table(result))
    if options.json:
        print(json.dumps(result), flush=True)


def _table(result: Result) -> Table:
    made = Table("figure", title="The engine in numbers", title_justify="left")
    for column in ("value", "target", ""):
        made.add_column(column, justify="right")
    for figure, value in result.items():
        target = BENCHMARK.targets.get(figure)
        if isinstance(value, int | float):
            mark = "" if target is None else "[green]✓[/]" if target.holds(value) else "[red]✗[/]"
            made.add_row(figure, f"{value:,g}", str(target or ""), mark)
    made.caption = f"CPU time of one process; a counting loop takes {loop_ns()} ns a turn here"
    return made


def loop_ns() -> float:
    """Nanoseconds of one turn of the plainest loop: how fast Python is on this machine just now."""
    began = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number & 3
    return round((time.process_time() - began) * 1e3, 1)


if __name__ == "__main__":
    main()
