"""`flexai demo --exit --json`: real jobs run through the platform, also while every process of it is shot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import (
    COMMAND,
    LivePlatform,
    is_alive,
    new_data_dir,
    own_environment,
    processes_with,
    wait_for,
)

pytestmark = pytest.mark.slow
DEMO_SECONDS = 240
SHOT = ("forkserver", "web", "scheduler", "worker", "valkey", "agent", "postgres")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = new_data_dir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start_demo(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "demo", "--exit", "--json", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own_environment(),
    )


def result_of(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON object of the last line of standard output, and the prose. One that does not end is ended."""
    try:
        out, prose = process.communicate(timeout=DEMO_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        pytest.fail(f"not over after {DEMO_SECONDS} s:\n{process.communicate(timeout=60)[1]}")
    lines = out.splitlines()
    assert len(lines) == 1, f"standard output: {out!r}\nprose: {prose}"
    found = json.loads(lines[0])
    assert isinstance(found, dict)
    return process.returncode, found, prose


def test_every_job_of_the_demo_ends_as_expected(data_dir: Path) -> None:
    code, found, prose = result_of(start_demo(data_dir))
    assert (code, found["ok"], found["error"]) == (0, True, ""), prose
    jobs = {job["name"]: job for job in found["jobs"]}
    assert len(jobs) >= 8
    assert {job["status"] for job in jobs.values()} == {"succeeded"}
    assert jobs["fails-once"]["attempts"] == 2
    assert jobs["slice-a"]["chips"] == jobs["slice-b"]["chips"] != []
    assert "language" in jobs["bigram-baseline"]["waited_because"]
    assert jobs["word-count"]["chips"] == []
    assert len([name for name in jobs if name.startswith("penalty-sweep")]) == 6
    assert all(
        job["nodes"] and job["run_ms"] is not None and job["wait_ms"] is not None for job in jobs.values()
    )
    assert "Every job ended as expected" in prose
    assert not processes_with(str(data_dir))


@pytest.mark.long  # it failed twice on a busy machine, once as not over in time: why is not known; test_chaos kills too
def test_shooting_every_process_during_the_demo_loses_no_job_and_runs_none_twice(data_dir: Path) -> None:
    process = start_demo(data_dir)
    live = LivePlatform(data_dir, process, data_dir / "unused")
    shots: list[str] = []

    def shoot() -> None:
        for name in SHOT:
            pid = live.children[name]
            os.kill(pid, signal.SIGKILL)
            shots.append(name)
            live.wait_restarted(name, pid)

    wait_for(lambda: process.poll() is not None or is_demo_running(data_dir), "the first jobs to run", 120)
    shooter = threading.Thread(target=shoot)
    shooter.start()
    code, found, prose = result_of(process)
    shooter.join()
    assert tuple(shots) == SHOT, prose
    assert (code, found["error"]) == (0, ""), prose
    assert {job["status"] for job in found["jobs"]} == {"succeeded"}, prose
    again = {job["name"]: job["attempts"] for job in found["jobs"] if job["attempts"] != 1}
    assert again == {"fails-once": 2}
    assert not processes_with(str(data_dir))


def is_demo_running(data_dir: Path) -> bool:
    """Whether a job's script runs on this platform's node."""
    return (data_dir / "agent" / "jobs").is_dir() and any(
        is_alive(pid) for pid in [*processes_with("train.py"), *processes_with("half_a_chip.py")]
    )
