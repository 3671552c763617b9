"""Telemetry of a whole cluster into one web process: 10,000 nodes of 8 chips, one frame a second each.

Real sockets, PostgreSQL (syncing) and Valkey; the agents are scripted, since as many real ones do not fit a machine.
First telemetry alone, then with every agent's heartbeats, whose leases are committed before they are answered. What
was sent is counted here and compared with the samples that PostgreSQL's roll-ups stand for at the end. Then the web
process is stopped and another one started, to which all agents come at the same moment. It ends by itself within three
minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.cluster import servers, web
from benchmarks.fleet import Fleet
from benchmarks.reporting import Benchmark, Result, Target, main

NODES = int(os.environ.get("FLEXAI_BENCH_NODES", "10000"))
CHIPS = 8
WATCH_SECONDS = 60
HEARTBEAT_WATCH_SECONDS = 20
SETTLE_SECONDS = 3
_TICKS = os.sysconf("SC_CLK_TCK")


def measure() -> Result:
    """What 10,000 nodes x 8 chips at 1 Hz cost one web process, and whether anything is lost."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with servers(folder):
            return _measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path) -> Result:
    fleet = Fleet(NODES, CHIPS)
    said = folder / "web.json"
    with web(said) as (port, pid, stop):
        let_in = _connect(fleet, port, pid)
        time.sleep(SETTLE_SECONDS)
        alone = _watch(fleet, pid, WATCH_SECONDS, heartbeats=False)
        both = _watch(fleet, pid, HEARTBEAT_WATCH_SECONDS, heartbeats=True)
        memory = _resident_mib(pid)
        time.sleep(SETTLE_SECONDS)
        stopped = stop()
    fleet.close()
    lags = json.loads(said.read_text())
    lost = fleet.sent - fleet.stored()
    with web(folder / "again.json") as (port, pid, stop):
        again = _connect(fleet, port, pid, at_once=NODES)
        stop()
    fleet.close()
    return {
        "core_percent": alone["core_percent"],
        "lost": lost,
        "lag_p99_ms": _percentile_ms(lags, alone),
        "visible_s": round(max(alone["visible_s"], both["visible_s"]), 2),
        "nodes": NODES,
        "chips": NODES * CHIPS,
        "frames": fleet.sent,
        "frames_per_second": alone["frames_per_second"],
        "us_per_frame": alone["us_per_frame"],
        "with_heartbeats_core_percent": both["core_percent"],
        "with_heartbeats_lag_p99_ms": _percentile_ms(lags, both),
        "memory_mib": memory,
        "let_in_s": let_in["seconds"],
        "let_in_cpu_ms_each": let_in["cpu_ms_each"],
        "back_after_restart_s": again["seconds"],
        "back_cpu_ms_each": again["cpu_ms_each"],
        "stop_s": round(stopped, 1),
    }


def _connect(fleet: Fleet, port: int, pid: int, **how: int) -> dict[str, float]:
    used = _cpu_seconds(pid)
    seconds = fleet.connect(port, **how)
    each = 1000 * (_cpu_seconds(pid) - used) / NODES
    return {"seconds": round(seconds, 1), "cpu_ms_each": round(each, 2)}


def _watch(fleet: Fleet, pid: int, seconds: int, *, heartbeats: bool) -> dict[str, float]:
    """A second is cut into slices, and each node keeps to its own: the frames come evenly."""
    used, began, sent = _cpu_seconds(pid), time.monotonic(), fleet.sent
    visible = fleet.run(seconds, heartbeats=heartbeats)
    passed, worked = time.monotonic() - began, _cpu_seconds(pid) - used
    return {
        "began": began,
        "ended": began + passed,
        "core_percent": round(100 * worked / passed, 1),
        "us_per_frame": round(1e6 * worked / (fleet.sent - sent), 1),
        "frames_per_second": round((fleet.sent - sent) / passed),
        "visible_s": max(visible),
    }


def _percentile_ms(lags: list[tuple[float, float]], during: dict[str, float]) -> float:
    ranked = sorted(lag for at, lag in lags if during["began"] <= at <= during["ended"])
    return round(1000 * ranked[len(ranked) * 99 // 100], 1)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


BENCHMARK = Benchmark(
    "telemetry",
    measure,
    {
        "core_percent": Target(40, at_least=False, unit="% of a core"),
        "lost": Target(0, at_least=False, unit="frames"),
        "lag_p99_ms": Target(100, at_least=False, unit="ms"),
        "visible_s": Target(2, at_least=False, unit="s"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
