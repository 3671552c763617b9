"""Times the loop: 1,000 queued jobs, 40 starts a cycle. `python -m tests.server.scheduling.time_cycle
[--profile]`.

Prints milliseconds of each phase over the cycles of one drained queue: wall clock, CPU of this process, and
CPU of its PostgreSQL backend.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

JOBS = 1000
SLOTS = 40


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "flexai.config.settings"
    os.environ.setdefault("FLEXAI_LOG_LEVEL", "WARNING")
    from tests.support.servers import TestServers

    servers = TestServers()
    servers.start()
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        for title, asks in (("40 slots of 0.05 CPU", {"cpu": 50}), ("40 chips", {"chips": 1, "cpu": 10})):
            _time(title, asks)
    finally:
        servers.stop()


def _time(title: str, asks: dict[str, Any]) -> None:
    from flexai.scheduling import cycle, engine_state
    from tests.server.scheduling.world import World, counters_agree

    world = World()
    world.a_node(cpu=SLOTS * 50, chips=SLOTS)
    world.jobs(JOBS, **asks)
    phases = _Phases()
    cycle.refresh = phases.timed("read", engine_state.refresh)
    cycle._apply_in_parts = phases.timed("apply", _original(cycle._apply_in_parts))
    engine_state.Scheduler.decide = phases.timed("decide", _original(engine_state.Scheduler.decide))
    engine_state.VerdictKeeper.keep = phases.timed("verdicts", _original(engine_state.VerdictKeeper.keep))
    cycle.run_cycle(world.cell.pk)
    _end_all(world)
    phases.clear()
    run = phases.timed("whole call", cycle.run_cycle)
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    started = 0
    while True:
        if profile:
            profile.enable()
        report = run(world.cell.pk)
        if profile:
            profile.disable()
        assert not report.error, report.error
        if not report.started:
            break
        started += report.started
        _end_all(world)
    counters_agree(world.cell)
    print(f"\n{title}: {started} starts in {len(phases.walls['apply'])} applied passes")
    titles = ("wall p50", "wall max", "CPU p50", "CPU max", "PG p50", "PG max")
    print(f"{'ms':12} {'calls':>6} {' '.join(f'{title:>9}' for title in titles)}")
    phases.print()
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


class _Phases:
    def __init__(self) -> None:
        self.walls: dict[str, list[float]] = {}
        self.cpus: dict[str, list[float]] = {}
        self.servers: dict[str, list[float]] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            wall, cpu, server = perf_counter(), process_time(), _server_ms()
            try:
                return function(*args, **kwargs)
            finally:
                self.walls.setdefault(name, []).append((perf_counter() - wall) * 1000)
                self.cpus.setdefault(name, []).append((process_time() - cpu) * 1000)
                self.servers.setdefault(name, []).append(_server_ms() - server)

        run.original = function  # type: ignore[attr-defined]
        return run

    def clear(self) -> None:
        self.walls.clear()
        self.cpus.clear()
        self.servers.clear()

    def print(self) -> None:
        for name, walls in self.walls.items():
            columns = [
                f"{f(some):9.2f}"
                for some in (walls, self.cpus[name], self.servers[name])
                for f in (median, max)
            ]
            print(f"{name:12} {len(walls):6} {' '.join(columns)}")


def _server_ms() -> float:
    """CPU time of the backend that serves this process, in milliseconds."""
    from django.db import connection

    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def _original(function: Callable[..., Any]) -> Callable[..., Any]:
    return getattr(function, "original", function)


def _end_all(world: Any) -> None:
    """Everything live ends in one transaction, set-based."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (
            "UPDATE jobs_job SET state = 'succeeded' WHERE cell_id = %s AND state = 'active'",
            "UPDATE jobs_allocation SET active = false WHERE active AND attempt_id IN ("
            "SELECT id FROM jobs_attempt WHERE cell_id = %s AND state <> 'ended')",
            "UPDATE jobs_attempt SET state = 'ended' WHERE cell_id = %s AND state <> 'ended'",
            "UPDATE cluster_node SET used_cpu_milli = 0, used_memory_mib = 0 WHERE cell_id = %s",
            "UPDATE cluster_chip SET used_milli = 0, used_memory_mib = 0 WHERE cell_id = %s",
            "UPDATE tenancy_teamuse SET used_milli = 0 WHERE cell_id = %s",
        ):
            cursor.execute(statement, [world.cell.pk])


if __name__ == "__main__":
    main()
