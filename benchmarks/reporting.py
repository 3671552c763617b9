"""How a benchmark is run, told and kept: a table on stdout, JSON in `results/` and on the last line."""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
SYNCS = 200
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be at least, or at most."""

    bound: float
    at_least: bool
    unit: str

    def holds(self, value: float) -> bool:
        """Whether the figure meets it."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name, what it measures, its figures' targets, and how to run it."""

    name: str
    measure: Callable[[], Result]
    targets: Mapping[str, Target]


def main(benchmark: Benchmark) -> None:
    """Run it as a command."""
    asked = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark.name}", description=benchmark.measure.__doc__
    )
    asked.add_argument("--json", action="store_true", help="put one JSON object on the last line of stdout")
    options = asked.parse_args()
    result = run(benchmark)
    Console().print(table([benchmark], {benchmark.name: result}))
    if options.json:
        print(json.dumps(result), flush=True)


def run(benchmark: Benchmark) -> Result:
    """The figures, with the machine they come from and what else it did; kept in `results/NAME.json`."""
    syncs, load = sync_times_us(), os.getloadavg()[0]
    result = benchmark.measure()
    syncs += sync_times_us()
    result |= {
        "fdatasync_p50_us": int(percentile(syncs, 500)),
        "fdatasync_p99_us": int(percentile(syncs, 990)),
        "load_before": round(load, 2),
        "cores": len(os.sched_getaffinity(0)),
        "machine": machine.machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(benchmarks: Sequence[Benchmark], results: Mapping[str, Result]) -> Table:
    """One line a figure, with its target; the machine's fdatasync beside them."""
    made = Table("benchmark", "figure", title="Flexai in numbers", title_justify="left")
    for column in ("value", "target", ""):
        made.add_column(column, justify="right")
    for benchmark in benchmarks:
        result = results[benchmark.name]
        for figure, target in benchmark.targets.items():
            value = result[figure]
            mark = "[green]✓[/]" if target.holds(value) else "[red]✗[/]"
            made.add_row(benchmark.name, figure, f"{value:,g}", str(target), mark)
    medians = [result["fdatasync_p50_us"] for result in results.values()]
    slowest = max(result["fdatasync_p99_us"] for result in results.values())
    cores = max(result["cores"] for result in results.values())
    sync = f"fdatasync: median {min(medians)}–{max(medians)} µs, p99 {slowest} µs"
    load = max(result["load_before"] for result in results.values())
    made.caption = f"{sync} · {cores} cores, load before at most {load} · {time.strftime('%Y-%m-%d')}"
    return made


def percentile(values: Sequence[float], permille: int) -> float:
    """The smallest value that so many thousandths of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * permille // 1000) - 1)]


def sync_times_us(folder: str = "/var/tmp") -> list[float]:
    """Microseconds that a commit to the disk costs here, many times: an 8 KiB page written in place."""
    path = Path(folder) / f"flexai-fdatasync-{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, bytes(1024 * 1024))
        os.fsync(descriptor)
        return [_one_sync(descriptor, number % 128) for number in range(SYNCS)]
    finally:
        os.close(descriptor)
        path.unlink()


def _one_sync(descriptor: int, page: int) -> float:
    os.pwrite(descriptor, os.urandom(8192), page * 8192)
    began = time.perf_counter()
    os.fdatasync(descriptor)
    return (time.perf_counter() - began) * 1e6
