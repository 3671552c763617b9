"""Real load on this machine's cores, under static allocation and then with chips reassigned by live demand.

The same jobs twice on one platform, nothing else changed. Each core has an **owner** that computes in bursts and waits
in between, as notebooks and services do; one owner ends early. Behind them wait short **batch** jobs and an **elastic**
one, all of which keep what they have done. Statically (what most clusters do) an owner keeps its core whatever it does
with it, and the elastic job has one core for as long as it runs; with live demand owners lend what they leave idle, and
the elastic job may have every core that is free.

Measured is *useful* work: the CPU time of finished units, which every program writes down itself, over what the cores
could have done until the last job ended. Work begun and lost, and everything the platform does, counts as waste.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.live import Live
from flexai.client import Client
from flexai.client.types import is_final

UNIT_SECONDS = 0.1
"""About what one unit of work costs on this machine."""
BURST_UNITS = 50
WAIT_SECONDS = 25
BURSTS = 2
EARLY_BURSTS = 1
"""Of the owner that ends before the others."""
BATCH_JOBS_A_CORE = 2
BATCH_UNITS = 100
ELASTIC_UNITS_A_CORE = 120
"""With these, on two cores: about 90 s under static allocation, of which the last 24 are the elastic job's alone, and
at best 60 with live demand, for that is how long the longest owner takes."""
PATIENCE_SECONDS = 240

_PROGRAM = """
import fcntl, os, sys, time

ROUNDS, UNITS, WAIT, COST, KEPT = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def done(kept):
    return sum(1 for _ in open(kept.name))

with open(KEPT, "a") as kept:
    for turn in range(ROUNDS):
        while done(kept) < UNITS * (turn + 1):
            began, state = time.process_time(), 1
            for _ in range(COST):
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            line = f"{time.time():.3f} {time.process_time() - began:.4f}\\n"
            fcntl.flock(kept, fcntl.LOCK_EX)
            if done(kept) < UNITS * (turn + 1):
                kept.write(line)
                kept.flush()
            fcntl.flock(kept, fcntl.LOCK_UN)
        time.sleep(WAIT)
"""


@dataclass(frozen=True)
class Played:
    """What one way of allocating made of the jobs."""

    seconds: float
    """Until the last of them had ended."""
    owners: dict[str, float]
    """Seconds from submission to end, by owner."""
    units: list[tuple[float, float]]
    """When each unit of work was finished, since the start, and what it cost in CPU seconds; in order of time."""

    def utilisation(self, cores: int) -> float:
        """Useful CPU time over what so many cores could have given until the last job ended."""
        return sum(cost for _, cost in self.units) / (cores * self.seconds)


def compare(live: Live, client: Client) -> dict[str, Any]:
    """Both runs and what they say of each other; the static one first."""
    cores = sum(len(node["chips"]) for node in client.nodes.list())
    program = live.folder / "work.py"
    program.write_text(_PROGRAM)
    cost = _cost_of_a_unit()
    played = {}
    for way, lends in (("static", False), ("live", True)):
        folder = live.folder / way
        folder.mkdir()
        folder.chmod(0o777)
        played[way] = _play(client, _jobs(cores, folder, program, cost, lends), folder)
    static, shared = played["static"], played["live"]
    return {
        "utilisation_ratio": round(shared.utilisation(cores) / static.utilisation(cores), 3),
        "owner_slowdown": round(max(shared.owners[name] / static.owners[name] for name in static.owners), 3),
        "utilisation": {way: round(one.utilisation(cores), 3) for way, one in played.items()},
        "makespan_s": {way: round(one.seconds, 1) for way, one in played.items()},
        "owners_s": {
            way: {name: round(s, 1) for name, s in one.owners.items()} for way, one in played.items()
        },
        "useful_cores": {way: _by_second(one, cores) for way, one in played.items()},
    }


def draw(result: dict[str, Any], cores: int, path: Path) -> None:
    """Cores at useful work over time, static above and live below, into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, sharex=True, sharey=True, figsize=(8, 5))
    for axis, (way, title) in zip(
        axes, (("static", "static allocation"), ("live", "chips reassigned by live demand")), strict=True
    ):
        series = result["useful_cores"][way]
        axis.fill_between(range(len(series)), series, step="post", alpha=0.7)
        axis.set(
            title=f"{title}: {100 * result['utilisation'][way]:.0f} % of the cores",
            ylabel="cores at useful work",
        )
        axis.set_ylim(0, cores)
        axis.axvline(result["makespan_s"][way], color="black", linewidth=1, linestyle=":")
    axes[1].set_xlabel("seconds since submission; dotted: the last job has ended")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _jobs(cores: int, folder: Path, program: Path, cost: int, lends: bool) -> list[dict[str, Any]]:
    def spec(name: str, rounds: int, units: int, wait: float, **rest: Any) -> dict[str, Any]:
        words = [sys.executable, program, rounds, units, wait, cost, folder / name]
        return {
            "name": name,
            "commands": ["exec " + shlex.join(map(str, words))],
            "resources": {"accelerators": "cpu:1", "memory": "64MB"},
            **rest,
        }

    lend = {"to": "team", "after": "2s"} if lends else "never"
    owners = [
        spec(f"owner-{n}", EARLY_BURSTS if n == 0 else BURSTS, BURST_UNITS, WAIT_SECONDS, lend=lend)
        for n in range(cores)
    ]
    kept: dict[str, Any] = {"preemptible": True, "checkpoint": {"path": ".", "grace_period": "1s"}}
    batch = [spec(f"batch-{n}", 1, BATCH_UNITS, 0, **kept) for n in range(BATCH_JOBS_A_CORE * cores)]
    nodes = {"min": 1, "max": cores} if lends and cores > 1 else 1
    elastic = spec(
        "elastic", 1, ELASTIC_UNITS_A_CORE * cores, 0, nodes=nodes, spread=False, lend="never", **kept
    )
    return [*owners, *batch, elastic]


def _play(client: Client, specs: list[dict[str, Any]], folder: Path) -> Played:
    began = time.time()
    waiting = {client.jobs.submit(spec)["id"]: spec["name"] for spec in specs}
    ended: dict[str, float] = {}
    while waiting:
        for job, name in list(waiting.items()):
            told = client.jobs.get(job)
            if is_final(told["status"]):
                if told["status"] != "succeeded":
                    raise RuntimeError(f"{name} is {told['status']}: {told['sentence']}")
                ended[name] = time.time() - began
                del waiting[job]
        if time.time() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"After {PATIENCE_SECONDS} s these still run: {', '.join(waiting.values())}")
        time.sleep(0.2)
    units = [
        (float(when) - began, float(cost))
        for spec in specs
        for when, cost in (line.split() for line in (folder / spec["name"]).read_text().splitlines())
    ]
    owners = {name: seconds for name, seconds in ended.items() if name.startswith("owner")}
    return Played(max(ended.values()), owners, sorted(units))


def _by_second(played: Played, cores: int) -> list[float]:
    """Mean number of cores at useful work in each second; a unit counts where it was finished."""
    series = [0.0] * (int(played.seconds) + 1)
    for when, cost in played.units:
        series[min(int(when), len(series) - 1)] += cost
    return [round(min(value, cores), 2) for value in series]


def _cost_of_a_unit() -> int:
    """Turns of the programs' loop that take about UNIT_SECONDS."""
    turns, state = 200_000, 1
    began = time.process_time()
    for _ in range(turns):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return max(1, round(turns * UNIT_SECONDS / (time.process_time() - began)))
