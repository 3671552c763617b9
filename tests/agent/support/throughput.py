"""How fast is the agent alone? `python -m tests.agent.support.throughput [jobs] [options]` prints one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from pathlib import Path

from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer


async def measure(
    jobs: int, at_once: int, memory_mib: int, cpu_milli: int, latency_jobs: int
) -> dict[str, object]:
    server = FakeServer()
    await server.start()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        agent = Agent(server.url, Path(folder) / "data")
        agent.start()
        try:
            node = await server.connected()
            delays = []
            for number in range(latency_jobs):
                asked = time.monotonic()
                await server.want(
                    a_replica(f"one-{number}", "true", memory_mib=memory_mib, cpu_milli=cpu_milli)
                )
                await server.ended(f"one-{number}")
                delays.append(node.first_seen[f"one-{number}", 0, "running"] - asked)
            delays.sort()
            before = os.times()
            began = time.monotonic()
            waiting = [
                a_replica(f"a-{number}", "true", memory_mib=memory_mib, cpu_milli=cpu_milli)
                for number in range(jobs)
            ]

            def ended() -> int:
                return sum(1 for key in node.first_seen if key[2] == "ended" and key[0].startswith("a-"))

            while waiting or ended() < jobs:
                room = at_once - len(node.wanted)
                if room > 0 and waiting:
                    batch, waiting = waiting[:room], waiting[room:]
                    await server.want(*batch)
                await asyncio.sleep(0.005)
            seconds = time.monotonic() - began
            after = os.times()
            cpu = _cpu_of(agent.process.pid if agent.process else 0)
        finally:
            agent.end_everything()
            await server.stop()
    return {
        "jobs": jobs,
        "jobs_per_second": round(jobs / seconds),
        "seconds": round(seconds, 3),
        "running_p50_ms": round(delays[len(delays) // 2] * 1000, 1) if delays else None,
        "running_p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1) if delays else None,
        "frames": node.frames,
        "server_cpu_s": round(after.user + after.system - before.user - before.system, 2),
        "agent_cpu_s": cpu,
        "max_rss_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
    }


def _cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--memory-mib", type=int, default=0)
    parser.add_argument("--cpu-milli", type=int, default=0)
    parser.add_argument("--latency-jobs", type=int, default=50)
    given = parser.parse_args()
    print(
        json.dumps(
            asyncio.run(
                measure(given.jobs, given.at_once, given.memory_mib, given.cpu_milli, given.latency_jobs)
            )
        )
    )
