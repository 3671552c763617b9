"""What an idle agent costs that reports 8 chips once a second: the CPU time of its processes over a minute, and memory.

The chips are simulated (8 of them on one node): the agent packs, sends and heartbeats as with real ones, but asks no
vendor's library. `real_core_percent` is the same for an agent on this machine's own cores, with its rounds and
its fork server.
"""

from __future__ import annotations

import time

from benchmarks.idle import memory_kib
from benchmarks.live import Live, platform
from benchmarks.reporting import Benchmark, Result, Target, main

SETTLE_SECONDS = 10
WATCH_SECONDS = 60


def measure() -> Result:
    """Percent of one core and MiB of an agent with 8 chips at 1 Hz and no work."""
    with platform("--simulate", "1x8:H100-80GB") as live:
        simulated = _watch(live)
    with platform() as live:
        real = _watch(live)
    return simulated | {f"real_{figure}": value for figure, value in real.items()}


def _watch(live: Live) -> Result:
    time.sleep(SETTLE_SECONDS)
    agents = [pid for pid in live.processes() if _is_agent(pid)]
    before, began = live.cpu_seconds(), time.monotonic()
    time.sleep(WATCH_SECONDS)
    after, passed = live.cpu_seconds(), time.monotonic() - began
    used = sum(after[pid] - before[pid] for pid in agents)
    return {
        "core_percent": round(100 * used / passed, 2),
        "memory_mib": round(sum(memory_kib(pid) for pid in agents) / 1024, 1),
    }


def _is_agent(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"node_agent" in file.read()
    except OSError:
        return False


BENCHMARK = Benchmark(
    "agent_cost",
    measure,
    {
        "core_percent": Target(1, at_least=False, unit="% of a core"),
        "memory_mib": Target(80, at_least=False, unit="MiB"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
