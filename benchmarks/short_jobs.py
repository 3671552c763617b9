"""A thousand jobs of `true`, submitted as one batch: as real processes, and through 16 simulated nodes.

The clock runs from before the batch is sent until the API counts every job as succeeded. After that each
job is checked: one attempt, exit code 0, a complete log, and its events from queued to succeeded.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.live import platform
from benchmarks.reporting import Benchmark, Result, Target, main
from flexai.client import Client

JOBS = 1000
PATIENCE_SECONDS = 300
POLL_SECONDS = 0.02
SPEC: dict[str, Any] = {"name": "short", "commands": ["true"], "resources": {"cpus": 0.05}}
SIMULATED = {**SPEC, "env": {"FLEXAI_SIMULATE_SECONDS": "0"}}


def measure() -> Result:
    """Jobs a second, from the first submit to the last finish, every job checked."""
    with platform() as live, live.client() as client:
        real = _jobs_per_second(client, SPEC)
    with platform("--no-agent", "--simulate", "16x8:H100-80GB") as live, live.client() as client:
        simulated = _jobs_per_second(client, SIMULATED)
    return {"jobs_per_second": real, "simulated_jobs_per_second": simulated, "jobs": JOBS}


def _jobs_per_second(client: Client, spec: dict[str, Any]) -> float:
    _wait_for(client, client.jobs.batch([spec] * 20), 0)
    began = time.perf_counter()
    ids = client.jobs.batch([spec] * JOBS)
    _wait_for(client, ids, 20)
    seconds = time.perf_counter() - began
    for job_id in ids:
        _check(client, job_id)
    return round(JOBS / seconds, 1)


def _wait_for(client: Client, ids: list[str], before: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (counts := client.jobs.counts()).get("succeeded", 0) < before + len(ids):
        if counts.get("failed") or time.monotonic() > deadline:
            raise RuntimeError(f"Not all of {len(ids)} jobs succeeded: {counts}")
        time.sleep(POLL_SECONDS)


def _check(client: Client, job_id: str) -> None:
    """Raises RuntimeError when anything of the job is missing."""
    job = client.jobs.get(job_id)
    events = [event["to_state"] for event in client.jobs.events(job_id)]
    log = _log(client, job_id)
    wrong = [
        said
        for said, holds in {
            f"status {job['status']}": job["status"] == "succeeded",
            f"exit code {job['exit_code']}": job["exit_code"] == 0,
            f"attempts {job['attempt']}": job["attempt"] == 1,
            f"events {events}": {"queued", "running", "succeeded"} <= set(events),
            f"log {log}": log["ended"] and log["next_offset"] == log["size"],
        }.items()
        if not holds
    ]
    if wrong:
        raise RuntimeError(f"{job_id}: {', '.join(wrong)}")


def _log(client: Client, job_id: str) -> Any:
    """The log's state; a log that is still on its way is waited for a little."""
    deadline = time.monotonic() + 10
    while True:
        log = client.jobs.log_slice(job_id)
        if log["ended"] or time.monotonic() > deadline:
            return log
        time.sleep(POLL_SECONDS)


BENCHMARK = Benchmark(
    "short_jobs",
    measure,
    {
        "jobs_per_second": Target(200, at_least=True, unit="/s"),
        "simulated_jobs_per_second": Target(500, at_least=True, unit="/s"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
