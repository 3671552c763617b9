"""A scheduling cycle from rows to rows: 10,000 chips, 10,000 waiting jobs, PostgreSQL that syncs.

`apply`: one decision that starts all 10,000 jobs on 10,000 free chips is committed with rows, history and counters.
`cold`: all chips are then busy, 10,000 more jobs wait, and a process that knows nothing runs a cycle: it reads
everything, decides, writes. `incremental`: a hundred jobs have ended; the next cycle fills their chips.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import servers
from benchmarks.reporting import Benchmark, Result, Target, main, percentile

if TYPE_CHECKING:
    from tests.server.scheduling.world import World

CHIPS = 10_000
CHIPS_A_NODE = 8
ENDED = 100
ROUNDS = 5


def measure() -> Result:
    """Milliseconds of a whole cycle, cold and incremental, and how many decisions a second apply commits."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with servers(folder):
            return _measure()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure() -> Result:
    from flexai.scheduling import cycle
    from flexai.scheduling.engine_state import forget
    from tests.server.scheduling.world import World, counters_agree

    world = World()
    for _ in range(CHIPS // CHIPS_A_NODE):
        world.a_node(chips=CHIPS_A_NODE, cpu=64_000, memory=512_000)
    phases = _Phases()
    cycle._refresh, refresh = phases.timed("read", cycle._refresh), cycle._refresh
    cycle._apply_in_parts, apply = phases.timed("apply", cycle._apply_in_parts), cycle._apply_in_parts
    cycle.MAX_PASSES, cycle.MAX_SECONDS = 1, 60.0
    try:
        _fill(world, phases)
        _analyse()
        cold = []
        for _ in range(ROUNDS):
            _end_some(world)
            forget(world.cell.pk)
            cold.append(_cycle(world, phases, ENDED))
        incremental = []
        for _ in range(ROUNDS):
            _end_some(world)
            incremental.append(_cycle(world, phases, ENDED))
        counters_agree(world.cell)
    finally:
        cycle._refresh, cycle._apply_in_parts = refresh, apply
    return {
        "cold_ms": round(percentile([one["whole"] for one in cold], 500)),
        "incremental_ms": round(percentile([one["whole"] for one in incremental], 500)),
        "apply_per_second": phases.per_second,
        "cold": cold[len(cold) // 2],
        "incremental": incremental[len(incremental) // 2],
    }


def _fill(world: World, phases: _Phases) -> None:
    """Every chip is held by a job of its own, started by one decision, and as many jobs wait."""
    from flexai.scheduling.models import CellPolicy

    CellPolicy.objects.create(cell=world.cell, values={"max_starts": CHIPS})
    world.jobs(CHIPS, chips=1, cpu=10)
    told = _cycle(world, phases, CHIPS)
    phases.per_second = round(1000 * CHIPS / told["apply"])
    world.jobs(CHIPS, chips=1, cpu=10)


def _cycle(world: World, phases: _Phases, starts: int) -> dict[str, float]:
    """Milliseconds of one cycle that started so many jobs, and of its parts."""
    from flexai.scheduling.cycle import run_cycle

    phases.clear()
    began = perf_counter()
    report = run_cycle(world.cell.pk)
    whole = 1000 * (perf_counter() - began)
    if report.error or report.started != starts:
        raise RuntimeError(f"{report.started} jobs were started, not {starts}: {report.error}")
    return {"whole": round(whole, 1), **phases.told}


def _end_some(world: World) -> None:
    """A hundred jobs at random have ended, as the platform ends them."""
    from flexai.common import clock
    from flexai.jobs.ending import Ending, end_attempts
    from flexai.jobs.models import Attempt
    from scheduler_core.lifecycle import Outcome

    live = list(Attempt.objects.filter(cell=world.cell).exclude(state="ended").values_list("pk", flat=True))
    chosen = random.Random(len(live)).sample(live, ENDED)
    end_attempts([Ending(pk, Outcome.SUCCEEDED) for pk in chosen], actor="bench", at=clock.now())


def _analyse() -> None:
    """The planner knows the tables, as autovacuum makes it within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


class _Phases:
    """Milliseconds of the parts of one cycle."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.per_second = 0

    def clear(self) -> None:
        self.told.clear()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            began = perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.told[name] = round(self.told.get(name, 0) + 1000 * (perf_counter() - began), 1)

        return run


BENCHMARK = Benchmark(
    "cycle",
    measure,
    {
        "cold_ms": Target(1500, at_least=False, unit="ms"),
        "incremental_ms": Target(150, at_least=False, unit="ms"),
        "apply_per_second": Target(15_000, at_least=True, unit="decisions/s"),
    },
)

if __name__ == "__main__":
    os.environ.setdefault("FLEXAI_LOG_LEVEL", "WARNING")
    main(BENCHMARK)
