"""The example that drives the engine from a simulator of one's own: it runs, and it is short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "engine" / "round_by_round.py"
MOST_LINES = 60


def test_somebody_elses_simulator_asks_the_engine_round_by_round() -> None:
    run = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    told = re.findall(r"(.+): mean completion time (\d+\.\d+) h, (\d+) restarts", run.stdout)
    assert [name for name, _, _ in told] == ["one level", "service levels"]
    (_, plain, no_restarts), (_, levels, restarts) = told
    assert int(no_restarts) == 0 < int(restarts)
    assert float(levels) < float(plain)
    assert len(EXAMPLE.read_text().splitlines()) < MOST_LINES
