"""A steady stream of 50 jobs a second onto 1,000 simulated nodes: from submit to the committed allocation.

A job's latency runs from just before its POST is sent until the first message after its placing that tells nodes of a
committed transaction: see `placing`. Both clocks are this machine's. `spans_ms` are the medians of its parts:

- `to_api`: sent, until the API begins to write the job; `to_cycle`: until the pass begins that places it. In between
  lie the commit and the message through the broker;
- `read`, `decide`, `apply`: parts of that pass, in whole milliseconds, rounded down;
- `commit`: the rest: the pass is committed, and nodes are told;
- `answer`: sent, until the client has its answer. It is no part of the latency: the job is on its way meanwhile.
"""

from __future__ import annotations

import bisect
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.placing import CHIP_JOB, Placed, cluster, placed, until, waiting, warm_up
from benchmarks.reporting import Benchmark, Result, Target, main, percentile
from flexai.client import Client

JOBS_A_SECOND = 50
SECONDS = 30
SENDERS = 4


def measure() -> Result:
    """Milliseconds from submit to committed allocation, of 1,500 jobs that come at 50 a second."""
    with cluster() as (live, client, placings):
        warm_up(live, client, CHIP_JOB)
        sent = _stream(client)
        until(lambda: waiting(client) == 0, "all to be placed")
        time.sleep(1)
        heard, how = placings.since(0), placed(live)
    told = [heard[bisect.bisect_left(heard, how[one.job].cycle_at)] for one in sent]
    latencies = [1000 * (at - one.at) for one, at in zip(sent, told, strict=True)]
    return {
        "p50_ms": round(percentile(latencies, 500), 1),
        "p99_ms": round(percentile(latencies, 990), 1),
        "max_ms": round(max(latencies), 1),
        "jobs": len(sent),
        "jobs_per_second": round((len(sent) - 1) / (sent[-1].at - sent[0].at), 1),
        "spans_ms": _spans(sent, [how[one.job] for one in sent], told),
    }


@dataclass(frozen=True, slots=True)
class Sent:
    """A job, and when its POST was sent and answered, by this process's clock."""

    job: str
    at: float
    answered_at: float


def _spans(sent: list[Sent], how: list[Placed], told: list[float]) -> dict[str, float]:
    parts: dict[str, list[float]] = {
        "to_api": [1000 * (one.submitted_at - job.at) for job, one in zip(sent, how, strict=True)],
        "to_cycle": [1000 * (one.cycle_at - one.submitted_at) for one in how],
        "read": [one.read_ms for one in how],
        "decide": [one.decide_ms for one in how],
        "apply": [one.apply_ms for one in how],
        "commit": [
            1000 * (at - one.cycle_at) - one.read_ms - one.decide_ms - one.apply_ms
            for one, at in zip(how, told, strict=True)
        ],
        "answer": [1000 * (job.answered_at - job.at) for job in sent],
    }
    return {name: round(percentile(values, 500), 1) for name, values in parts.items()}


def _stream(client: Client) -> list[Sent]:
    """The jobs in order of time; some send, so that one slow answer delays no other."""

    def one(due: float) -> Sent:
        time.sleep(max(0.0, due - time.time()))
        began = time.time()
        return Sent(client.jobs.submit(CHIP_JOB)["id"], began, time.time())

    first = time.time() + 0.2
    with ThreadPoolExecutor(SENDERS) as senders:
        dues = [first + number / JOBS_A_SECOND for number in range(JOBS_A_SECOND * SECONDS)]
        return sorted(senders.map(one, dues), key=lambda sent: sent.at)


BENCHMARK = Benchmark(
    "paced",
    measure,
    {"p50_ms": Target(10, at_least=False, unit="ms"), "p99_ms": Target(30, at_least=False, unit="ms")},
)

if __name__ == "__main__":
    main(BENCHMARK)
