"""How many jobs one web process accepts: single creates over four connections, and batches of 1,000.

The jobs are held, so nothing but the API works. Single creates go through `http.client` with a ready
body: the client shares the machine, and its own cost is not what is measured.
Every answer's status is checked.

The CPU time of one create is told beside: of the busiest process (the web process, which the rate cannot exceed
one core of) and of all together. It says more than the rate where the machine has other work.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

from benchmarks.live import Live, platform
from benchmarks.reporting import Benchmark, Result, Target, main

CONNECTIONS = 4
CREATES = 2000
BATCHES = 10
BATCH_SIZE = 1000
SPEC = {"name": "held", "commands": ["true"], "resources": {"cpus": 0.05}, "hold": True}


def measure() -> Result:
    """Creates a second, single and in batches, on one web process."""
    with platform("--no-agent", "--simulate", "1x8:H100-80GB") as live, live.client() as client:
        _single(live, CREATES // 10)
        before = live.cpu_seconds()
        creates = CREATES / _single(live, CREATES)
        used = {pid: seconds - before.get(pid, 0.0) for pid, seconds in live.cpu_seconds().items()}
        client.jobs.batch([SPEC] * BATCH_SIZE)
        began = time.perf_counter()
        for _ in range(BATCHES):
            client.jobs.batch([SPEC] * BATCH_SIZE)
        batch = BATCHES * BATCH_SIZE / (time.perf_counter() - began)
        held = client.jobs.counts()["held"]
    expected = CREATES + CREATES // 10 + (BATCHES + 1) * BATCH_SIZE
    if held != expected:
        raise RuntimeError(f"{expected} jobs were accepted, and {held} are there")
    return {
        "creates_per_second": round(creates, 1),
        "batch_jobs_per_second": round(batch, 1),
        "busiest_process_cpu_us_per_create": round(max(used.values()) / CREATES * 1e6),
        "platform_cpu_us_per_create": round(sum(used.values()) / CREATES * 1e6),
    }


def _single(live: Live, creates: int) -> float:
    """Seconds for so many creates over all connections."""
    failures: list[str] = []
    share = creates // CONNECTIONS
    threads = [threading.Thread(target=_create, args=(live, share, failures)) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} creates failed, the first: {failures[0]}")
    return time.perf_counter() - began


def _create(live: Live, creates: int, failures: list[str]) -> None:
    connection = http.client.HTTPConnection(str(urlsplit(live.url).netloc), timeout=60)
    body = json.dumps(SPEC)
    headers = {"Authorization": f"Bearer {live.token}", "Content-Type": "application/json"}
    for _ in range(creates):
        connection.request("POST", "/api/v1/jobs", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.CREATED:
            failures.append(f"{answer.status} {content[:200]!r}")
    connection.close()


BENCHMARK = Benchmark(
    "api",
    measure,
    {
        "creates_per_second": Target(400, at_least=True, unit="/s"),
        "batch_jobs_per_second": Target(10_000, at_least=True, unit="/s"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
