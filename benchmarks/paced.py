"""A steady stream of 50 jobs a second onto 1,000 simulated nodes: from submit to the committed allocation.

A job's latency runs from just before its POST is sent until the first message after its placing that tells nodes of a
committed transaction: see `placing`. Both clocks are this machine's.
"""

from __future__ import annotations

import bisect
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.placing import CHIP_JOB, cluster, placed_at, until, waiting, warm_up
from benchmarks.reporting import Benchmark, Result, Target, main, percentile
from flexai.client import Client

JOBS_A_SECOND = 50
SECONDS = 30
SENDERS = 4


def measure() -> Result:
    """Milliseconds from submit to committed allocation, of 1,500 jobs that come at 50 a second."""
    with cluster() as (_, client, placings):
        warm_up(client, CHIP_JOB)
        sent = _stream(client)
        until(lambda: waiting(client) == 0, "all to be placed")
        time.sleep(1)
        heard = placings.since(0)
        latencies = [
            1000 * (heard[bisect.bisect_left(heard, placed_at(client, job))] - began) for job, began in sent
        ]
    return {
        "p50_ms": round(percentile(latencies, 500), 1),
        "p99_ms": round(percentile(latencies, 990), 1),
        "max_ms": round(max(latencies), 1),
        "jobs": len(sent),
        "jobs_per_second": round((len(sent) - 1) / (sent[-1][1] - sent[0][1]), 1),
    }


def _stream(client: Client) -> list[tuple[str, float]]:
    """Ids of the jobs and when each was sent, in order of time; some send, so that one slow answer delays no other."""

    def one(due: float) -> tuple[str, float]:
        time.sleep(max(0.0, due - time.time()))
        began = time.time()
        return client.jobs.submit(CHIP_JOB)["id"], began

    first = time.time() + 0.2
    with ThreadPoolExecutor(SENDERS) as senders:
        dues = [first + number / JOBS_A_SECOND for number in range(JOBS_A_SECOND * SECONDS)]
        return sorted(senders.map(one, dues), key=lambda pair: pair[1])


BENCHMARK = Benchmark(
    "paced",
    measure,
    {"p50_ms": Target(10, at_least=False, unit="ms"), "p99_ms": Target(30, at_least=False, unit="ms")},
)

if __name__ == "__main__":
    main(BENCHMARK)
