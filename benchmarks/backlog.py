"""A backlog that waits before the scheduler starts: 5,000 jobs of one chip, then 1,000 gangs of eight, on 1,000 nodes.

From the instant at which the scheduler may work until the last allocation is committed: see `placing`.
"""

from __future__ import annotations

import time

from benchmarks.placing import CHIP_JOB, CHIPS, Spec, cluster, scheduler_stopped, until, waiting, warm_up
from benchmarks.reporting import Benchmark, Result, Target, main

JOBS = 5000
GANGS = 1000
GANG: Spec = {**CHIP_JOB, "name": "gang", "nodes": CHIPS, "spread": False}


def measure() -> Result:
    """Jobs a second, and replicas of gangs a second, from the scheduler's start to the last committed allocation."""
    return {
        "jobs_per_second": round(JOBS / _seconds(CHIP_JOB, JOBS), 1),
        "gang_replicas_per_second": round(GANGS * CHIPS / _seconds(GANG, GANGS), 1),
        "jobs": JOBS,
        "gangs": GANGS,
    }


def _seconds(spec: Spec, count: int) -> float:
    with cluster() as (live, client, placings):
        warm_up(live, client, spec)
        with scheduler_stopped(live):
            client.jobs.batch([spec] * count)
            began = time.time()
        until(lambda: waiting(client) == 0, "all to be placed", 0.25)
        return placings.since(began)[-1] - began


BENCHMARK = Benchmark(
    "backlog",
    measure,
    {
        "jobs_per_second": Target(5000, at_least=True, unit="/s"),
        "gang_replicas_per_second": Target(5000, at_least=True, unit="/s"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
