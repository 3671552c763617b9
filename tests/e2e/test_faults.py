"""`kill -9` for each process while jobs run: every job ends as expected, none runs twice, no log is short."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexai.client import Client, FlexaiError
from flexai.client.types import is_final
from tests.support.platform import LivePlatform, processes_with, running_platform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
JOBS = 6
TICKS = 30
TICK_SECONDS = 0.2
END_SECONDS = 120


@pytest.fixture(scope="module")
def shot_at() -> Iterator[LivePlatform]:
    """A platform of this module's own."""
    with running_platform() as live:
        yield live


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder in which every job, whoever it runs as, leaves a line for each time it starts."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-starts-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def spec(outside: Path, number: int) -> dict[str, Any]:
    return {
        "name": f"ticking-{number}",
        "team": "research",
        "commands": [
            f'echo "attempt $FLEXAI_ATTEMPT" >> {outside}/$FLEXAI_JOB_ID',
            f"for i in $(seq 1 {TICKS}); do echo tick $i; sleep {TICK_SECONDS}; done",
            f"exit {number % 2 * 7}",
        ],
        "resources": {"cpus": 0.05, "memory": "32MB"},
        "retry": {"limit": 0},
    }


def submitted(client: Client, outside: Path) -> list[str]:
    """The jobs run, and have printed something."""
    ids = [client.jobs.submit(spec(outside, number))["id"] for number in range(JOBS)]
    wait_for(lambda: len(list(outside.iterdir())) == JOBS, "every job to run", 60)
    return ids


def wait_ended(client: Client, ids: list[str]) -> None:
    def all_ended() -> bool:
        try:
            return all(is_final(client.jobs.get(job_id)["status"]) for job_id in ids)
        except FlexaiError:
            return False  # the server is just restarting

    wait_for(all_ended, "every job to end", END_SECONDS)


def check_ran_once(client: Client, ids: list[str], outside: Path) -> None:
    """Each job has run once, ended as its number says, and its log is whole."""
    expected_log = "".join(f"tick {number}\n" for number in range(1, TICKS + 1))
    for number, job_id in enumerate(ids):
        job = client.jobs.get(job_id)
        assert (job["status"], job["exit_code"]) == (("failed", 7) if number % 2 else ("succeeded", 0)), job[
            "sentence"
        ]
        assert (outside / job_id).read_text() == "attempt 1\n"
        assert len(job["attempts"]) == 1
        wait_for(
            lambda job_id=job_id: "".join(client.jobs.logs(job_id)) == expected_log,
            f"the log of {job_id}",
            20,
        )


@pytest.mark.parametrize("name", ["web", "scheduler", "worker", "forkserver", "valkey", "postgres", "agent"])
def test_killing_one_process_loses_no_job_and_runs_none_twice(
    shot_at: LivePlatform, outside: Path, name: str
) -> None:
    with Client(shot_at.url, shot_at.token) as client:
        ids = submitted(client, outside)
        pid = shot_at.kill(name)
        shot_at.wait_restarted(name, pid)
        wait_ended(client, ids)
        check_ran_once(client, ids, outside)


def test_jobs_submitted_while_the_scheduler_is_down_are_not_forgotten(
    shot_at: LivePlatform, outside: Path
) -> None:
    with Client(shot_at.url, shot_at.token) as client:
        shot_at.kill("scheduler")
        ids = [client.jobs.submit(spec(outside, number))["id"] for number in range(JOBS)]
        wait_ended(client, ids)
        check_ran_once(client, ids, outside)


def test_killing_everything_at_once_loses_no_job(shot_at: LivePlatform, outside: Path) -> None:
    with Client(shot_at.url, shot_at.token) as client:
        ids = submitted(client, outside)
        pids = shot_at.children
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in pids.items():
            shot_at.wait_restarted(name, pid)
        wait_ended(client, ids)
        check_ran_once(client, ids, outside)


def test_a_job_whose_shim_was_killed_ends_and_nothing_of_it_lives_on(shot_at: LivePlatform) -> None:
    with Client(shot_at.url, shot_at.token) as client:
        job_id = client.jobs.submit(
            {"name": "orphan", "team": "research", "commands": ["sleep 2345"], "resources": {"cpus": 0.05}}
        )["id"]
        wait_for(lambda: processes_with("sleep 2345"), "the job to run")
        for pid in processes_with("sleep 2345"):
            os.kill(shim_of(pid), signal.SIGKILL)
        wait_for(lambda: client.jobs.get(job_id)["attempts"][0]["state"] == "ended", "the attempt to end", 60)
        assert client.jobs.get(job_id)["attempts"][0]["outcome"] == "node_lost"
        client.jobs.stop(job_id)
        wait_for(lambda: is_final(client.jobs.get(job_id)["status"]), "the job to end", 60)
        wait_for(lambda: not processes_with("sleep 2345"), "its processes to end")


def shim_of(pid: int) -> int:
    """The process above the job's shell: its first ancestor that is a Python."""
    while True:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if "python" in os.readlink(f"/proc/{pid}/exe"):
            return pid
