"""Machine code is made in a process of its own; cells are decided meanwhile, and by it afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt
from flexai.scheduling import machine_code, mixes
from flexai.scheduling.cycle import run_cycle
from flexai.scheduling.engine_state import forget, refresh
from scheduler_core.compiled import LONG
from scheduler_core.effort import FEW_NODES
from tests.server.scheduling.world import World
from tests.support.web import eventually

UNTIL_TOLD = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file at whose appearance the machine code is made."""
    file = tmp_path / "made"
    monkeypatch.setattr(machine_code, "_making", [])
    monkeypatch.setattr(machine_code, "PROGRAM", (sys.executable, "-c", UNTIL_TOLD, str(file)))
    yield file
    file.touch()
    for process in machine_code._making:
        process.wait(60)


def test_who_makes_it_ends_with_whoever_wants_it(tmp_path: Path) -> None:
    wanting = (
        "import sys; from flexai.scheduling import machine_code; machine_code.machine_from(16); "
        "print(machine_code._making[0].pid, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", wanting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as scheduler:
        assert scheduler.stdout is not None
        maker = Path("/proc", scheduler.stdout.readline().decode().strip())
        assert maker.exists()
        scheduler.kill()
    eventually(lambda: _has_ended(maker), timeout=60)


def test_who_has_made_it_ends_well_while_its_starter_goes_on() -> None:
    done = "from flexai.scheduling import making; making.end_with_starter()"
    with subprocess.Popen([sys.executable, "-c", done], stdin=subprocess.PIPE) as maker:
        assert maker.wait(60) == 0


def _has_ended(process: Path) -> bool:
    try:
        return "State:\tZ" in (process / "status").read_text()
    except OSError:
        return True


def test_a_small_cell_asks_for_no_machine_code(made: Path) -> None:
    assert machine_code.machine_from(FEW_NODES - 1) == LONG
    assert machine_code._making == []


@pytest.mark.django_db(transaction=True)
def test_a_cell_is_decided_while_its_machine_code_is_made(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "FEW_NODES", 1)
    world = World()
    world.a_node(chips=2)
    job = world.a_job(chips=1)
    mixes.learn(world.cell.pk, clock.now())
    forget(world.cell.pk)
    run_cycle(world.cell.pk)
    assert Attempt.objects.filter(job=job).exists()
    state = refresh(world.cell.pk, clock.to_ms(clock.now())).state
    assert state.lacks_code
    assert state.feed.seen == 0, "plain, values would take too long"
    assert not machine_code.is_there()

    made.touch()
    machine_code._making[0].wait(60)
    refreshed = refresh(world.cell.pk, clock.to_ms(clock.now()))
    assert refreshed.rebuilt
    assert not refreshed.state.lacks_code
    assert refreshed.state.feed.seen == 1
    forget(world.cell.pk)


def test_a_cell_too_large_for_plain_loops_waits(made: Path) -> None:
    made.touch()
    assert machine_code.machine_from(machine_code.PLAIN_NODES + 1) == FEW_NODES
    assert len(machine_code._making) == 1
    assert machine_code.is_there()


def test_where_it_cannot_be_made_ahead_cycles_of_large_cells_make_it(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "PROGRAM", (sys.executable, "-c", "raise SystemExit(1)"))
    assert machine_code.machine_from(LONG) in (FEW_NODES, machine_code.PLAIN_NODES + 1)
    machine_code._making[0].wait(60)
    assert machine_code.machine_from(LONG) == FEW_NODES
    assert machine_code.machine_from(LONG - 1) == machine_code.PLAIN_NODES + 1
    assert not machine_code.is_there()
