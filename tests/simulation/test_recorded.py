"""`flexai replay`: the exit code says what was found, and the words say why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from scheduler_core import decide
from scheduler_core.recording import record
from scheduler_core.simulation.recorded import replay
from tests.support.engine import a_job, a_node, given

app = typer.Typer()
app.command()(replay)

CASE = given(nodes=[a_node(chips=2)], waiting=[a_job("a"), a_job("pair", chips=2), a_job("c")])
DECISION = decide(CASE.snapshot, CASE.policy)


def told(tmp_path: Path, recording: bytes, *options: str) -> Result:
    file = tmp_path / "cycles.rec"
    file.write_bytes(recording)
    return CliRunner().invoke(app, [str(file), *options])


def test_a_cycle_that_comes_out_as_recorded(tmp_path: Path) -> None:
    result = told(tmp_path, record(CASE.snapshot, CASE.policy, DECISION), "--why", "pair", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["cycles"], answer["different"]) == (1, 0)
    assert answer["why"][0]["sentences"][0].startswith(
        "Needs 2 chips on one node; the emptiest node has 0 free."
    )


def test_a_job_that_the_cycle_starts(tmp_path: Path) -> None:
    result = told(tmp_path, record(CASE.snapshot, CASE.policy, DECISION), "--why", "1")
    assert result.exit_code == 0
    assert "It is started in this cycle." in result.stdout


def test_a_cycle_that_comes_out_differently(tmp_path: Path) -> None:
    changed = replace(DECISION, units=DECISION.units[:1])
    assert told(tmp_path, record(CASE.snapshot, CASE.policy, changed)).exit_code == 1


def test_a_file_that_is_no_recording(tmp_path: Path) -> None:
    result = told(tmp_path, b"hello")
    assert result.exit_code == 2
    assert "not a recording" in result.output


def test_a_job_that_waits_in_no_cycle(tmp_path: Path) -> None:
    result = told(tmp_path, record(CASE.snapshot, CASE.policy, DECISION), "--why", "nobody")
    assert result.exit_code == 3
    assert "No job 'nobody'" in result.output
