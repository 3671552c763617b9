"""From submit to running, on an idle platform: 200 jobs, one after the other, as real processes.

A job's latency is its `started_at` less the client's clock just before the POST is sent. `started_at` is
when the agent saw the process run, by the agent's clock; both are one machine's clock. It is told in whole
milliseconds, rounded down, so a figure may be up to 1 ms too low.
"""

from __future__ import annotations

import time
from datetime import datetime

from benchmarks.live import platform
from benchmarks.reporting import Benchmark, Result, Target, main, percentile
from flexai.client import Client

JOBS = 200
WARM_UP = 5
SPEC = {"name": "latency", "commands": ["sleep 0.1"], "resources": {"cpus": 0.05}}


def measure() -> Result:
    """Milliseconds from submit to running, of 200 jobs that find the platform idle."""
    with platform() as live, live.client() as client:
        latencies = [_one(client) for _ in range(WARM_UP + JOBS)][WARM_UP:]
    return {
        "p50_ms": round(percentile(latencies, 500), 1),
        "p99_ms": round(percentile(latencies, 990), 1),
        "max_ms": round(max(latencies), 1),
        "jobs": JOBS,
    }


def _one(client: Client) -> float:
    began = time.time()
    job = client.jobs.submit(SPEC)
    time.sleep(0.2)
    ended = client.jobs.wait(job["id"], timeout=60)
    if ended["status"] != "succeeded" or ended["attempt"] != 1 or ended["started_at"] is None:
        raise RuntimeError(f"{job['id']} did not run as it should: {ended['sentence']}")
    return (datetime.fromisoformat(ended["started_at"]).timestamp() - began) * 1000


BENCHMARK = Benchmark(
    "submit_latency",
    measure,
    {"p50_ms": Target(60, at_least=False, unit="ms"), "p99_ms": Target(250, at_least=False, unit="ms")},
)

if __name__ == "__main__":
    main(BENCHMARK)
