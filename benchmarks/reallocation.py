"""How fast idle cores change hands: a real owner that turns idle and comes back, a real guest on its cores (T2, T3).

In each round the owner computes on all cores of this machine, then waits. `lend_s` runs from that instant until the
guest runs, by its node; `recall_s` from the instant at which the owner computes again until every process of the guest
is halted. Both are the worst of the rounds. The job asks to be lent after 2 s of idleness, all else is by default.
`utilisation_ratio` and `owner_slowdown` are of real load under static allocation and under ours: see `sharing`; drawn
into `results/reallocation.png`. On two cores with nothing else on them it ends within four minutes, half a minute of
which are the platform's own start and stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import sharing
from benchmarks.live import Live, platform
from benchmarks.reporting import RESULTS, Benchmark, Result, Target, main
from flexai.client import Client
from flexai.client.types import is_final

ROUNDS = 2
WORKS_SECONDS = 6
"""How long the owner computes before it waits."""
PATIENCE_SECONDS = 90
MARK = "guest-of-the-benchmark"


def measure() -> Result:
    """How fast idle cores are lent and taken back, and their useful work against that under static allocation."""
    with platform() as live, live.client() as client:
        rounds = [_round(live, client, number) for number in range(ROUNDS)]
        shared = sharing.compare(live, client)
        cores = sum(len(node["chips"]) for node in client.nodes.list())
    RESULTS.mkdir(exist_ok=True)
    sharing.draw(shared, cores, RESULTS / "reallocation.png")
    return {
        **shared,
        "lend_s": round(max(lend for lend, _ in rounds), 2),
        "recall_s": round(max(recall for _, recall in rounds), 2),
        "rounds": [[round(value, 2) for value in one] for one in rounds],
    }


def _round(live: Live, client: Client, number: int) -> tuple[float, float]:
    cores = sum(len(node["chips"]) for node in client.nodes.list())
    busy = live.folder / f"busy-{number}"
    busy.touch()
    owner = client.jobs.submit(_owner(busy, cores))["id"]
    _wait(lambda: client.jobs.get(owner)["status"] == "running", "the owner to run")
    guest = client.jobs.submit(_guest())["id"]
    time.sleep(WORKS_SECONDS)
    if client.jobs.get(guest)["status"] != "queued":
        raise RuntimeError("The guest ran while the owner computed.")
    busy.unlink()
    lend = _wait(lambda: _halted() is False and client.jobs.get(guest)["status"] == "running", "the loan")
    time.sleep(WORKS_SECONDS)
    busy.touch()
    recall = _wait(lambda: _halted() is True, "the guest to make way")
    busy.unlink()
    for job in (guest, owner):
        client.jobs.stop(job)
    _wait(lambda: all(is_final(client.jobs.get(job)["status"]) for job in (guest, owner)), "the end")
    return lend, recall


def _owner(busy: Path, cores: int) -> dict[str, Any]:
    spin = f"while [ -e {busy} ]; do i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; done"
    each = f"(while :; do {spin}; sleep 0.05; done) &"
    return {
        "name": "owner",
        "commands": [*[each] * cores, "wait"],
        "resources": {"accelerators": f"cpu:{cores}"},
        "lend": {"to": "team", "after": "2s"},
    }


def _guest() -> dict[str, Any]:
    return {
        "name": "guest",
        "commands": [f": {MARK}", "while :; do :; done"],
        "preemptible": True,
        "resources": {"accelerators": "cpu:1", "memory": "64MB"},
    }


def _halted() -> bool | None:
    """Whether all processes of the guest are halted; None where there is none."""
    states = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if MARK.encode() in (entry / "cmdline").read_bytes():
                    states.append((entry / "stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
    return all(state == "T" for state in states) if states else None


def _wait(what: Callable[[], bool], said: str) -> float:
    """Seconds until it was so. Raises RuntimeError when it never was."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise RuntimeError(f"waited {PATIENCE_SECONDS} s in vain for {said}")
        time.sleep(0.02)
    return time.monotonic() - began


BENCHMARK = Benchmark(
    "reallocation",
    measure,
    {
        "lend_s": Target(10, at_least=False, unit="s"),
        "recall_s": Target(5, at_least=False, unit="s"),
        "utilisation_ratio": Target(1.3, at_least=True, unit="x"),
        "owner_slowdown": Target(1.05, at_least=False, unit="x"),
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
