"""Runs every benchmark, one after the other, and prints one table."""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from benchmarks import (
    agent_cost,
    api,
    backlog,
    cycle,
    idle,
    ledger,
    lists,
    paced,
    reallocation,
    short_jobs,
    submit_latency,
    telemetry,
)
from benchmarks.reporting import run, table

ALL = (
    submit_latency.BENCHMARK,
    short_jobs.BENCHMARK,
    api.BENCHMARK,
    idle.BENCHMARK,
    ledger.BENCHMARK,
    lists.BENCHMARK,
    backlog.BENCHMARK,
    paced.BENCHMARK,
    cycle.BENCHMARK,
    reallocation.BENCHMARK,
    telemetry.BENCHMARK,
    agent_cost.BENCHMARK,
)


def main() -> None:
    """The table of all figures; with --json one object, by benchmark, on the last line."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asked.add_argument("--json", action="store_true", help="put one JSON object on the last line of stdout")
    options = asked.parse_args()
    progress = Console(stderr=True)
    results = {}
    for benchmark in ALL:
        progress.print(f"{benchmark.name}: {benchmark.measure.__doc__}")
        results[benchmark.name] = run(benchmark)
    Console().print(table(ALL, results))
    if options.json:
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
