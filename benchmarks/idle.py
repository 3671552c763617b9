"""What an idle platform costs: the CPU time of all its processes over 30 s, and their memory.

Memory is proportional set size, which counts shared pages once; where that may not be read, resident size.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.live import platform
from benchmarks.reporting import Benchmark, Result, Target, main

SETTLE_SECONDS = 10
WATCH_SECONDS = 30


def measure() -> Result:
    """Percent of one core, and MiB, of all processes together with nothing to do."""
    with platform() as live:
        time.sleep(SETTLE_SECONDS)
        before, began = live.cpu_seconds(), time.monotonic()
        time.sleep(WATCH_SECONDS)
        after, passed = live.cpu_seconds(), time.monotonic() - began
        memory = sum(memory_kib(pid) for pid in live.processes()) / 1024
    used = sum(seconds - before.get(pid, 0) for pid, seconds in after.items())
    return {
        "core_percent": round(100 * used / passed, 2),
        "memory_mib": round(memory, 1),
        "processes": len(after),
    }


def memory_kib(pid: int) -> int:
    """Its proportional share of what it holds; 0 when it is gone."""
    for name, word in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(word):
                return int(line.split()[1])
    return 0


BENCHMARK = Benchmark(
    "idle",
    measure,
    {
        "core_percent": Target(5, at_least=False, unit="% of a core"),
        "memory_mib": Target(600, at_least=False, unit="MiB"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
