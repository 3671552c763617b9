"""A backup taken while jobs run, restored into a new PostgreSQL: the platform goes on from it, and the laws hold."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from flexai.embedded import postgres
from tests.support.platform import LivePlatform, new_data_dir, own_environment, running_platform
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]
DEPLOY = Path(__file__).parents[2] / "deploy"
SECONDS = 120
BURNT = 3_000
"""Transactions that the old server is ahead of the new one."""
KEPT = ("secrets", "agent", "outputs")
"""What a data directory holds beside the database and that cannot be made anew."""


def test_a_platform_goes_on_from_its_backup_in_a_new_database(tmp_path: Path) -> None:
    first, second, file = new_data_dir(), new_data_dir(), tmp_path / "flexai.dump"
    try:
        with running_platform(data_dir=first) as live:
            ids = _history_on(live)
            _burn(first)
            _run("backup", file, first)
            before = {job_id: live.client().jobs.get(job_id) for job_id in ids.values()}
        _keep(first, second)
        with _a_new_server(second):
            _run("restore", file, second)
            assert "not empty" in _run("restore", file, second, fails=True)
            with psycopg.connect(_url(second)) as connection:
                _no_row_is_from_the_future(connection)
        with running_platform(data_dir=second) as live:
            _goes_on(live, ids, before, tmp_path)
            with psycopg.connect(_url(second)) as connection:
                _counters_are_sums(connection)
    finally:
        for folder in (first, second):
            shutil.rmtree(folder, ignore_errors=True)


def _history_on(live: LivePlatform) -> dict[str, str]:
    """Ids of a job that has ended, one that runs, one that waits, and one that is held."""
    jobs = live.client().jobs
    chips = len(list(live.client().chips.list()))
    commands = ["echo from before", "echo a result > result.txt"]
    ended = jobs.submit({"name": "ended", "commands": commands, "outputs": ["result.txt"]})["id"]
    assert jobs.wait(ended, timeout=SECONDS)["status"] == "succeeded"
    jobs.outputs(ended, patience=SECONDS)
    everything = {"accelerators": f"cpu:{chips}"}
    runs = jobs.submit({"name": "runs", "commands": ["sleep 600"], "resources": everything})["id"]
    wait_for(lambda: jobs.get(runs)["status"] == "running", "it to run", SECONDS)
    waits = jobs.submit({"name": "waits", "commands": ["true"], "resources": everything})["id"]
    held = jobs.submit({"name": "held", "commands": ["echo let go"], "hold": True})["id"]
    return {"ended": ended, "runs": runs, "waits": waits, "held": held}


def _goes_on(live: LivePlatform, ids: dict[str, str], before: dict[str, object], into: Path) -> None:
    """What was is as it was; what waited starts; what ran, and ended with its node meanwhile, runs again."""
    jobs = live.client().jobs
    assert jobs.get(ids["ended"]) | {"version": 0} == dict(before[ids["ended"]]) | {"version": 0}  # type: ignore[call-overload]
    assert "".join(jobs.logs(ids["ended"])) == "from before\n"
    jobs.download_outputs(ids["ended"], into)
    assert (into / "result.txt").read_text() == "a result\n"
    assert jobs.get(ids["held"])["status"] == "held"
    jobs.resume(ids["held"])
    assert jobs.wait(ids["held"], timeout=SECONDS)["status"] == "succeeded"
    wait_for(lambda: jobs.get(ids["runs"])["attempt"] == 2, "its next attempt", SECONDS)
    wait_for(lambda: jobs.get(ids["runs"])["status"] == "running", "it to run again", SECONDS)
    jobs.stop(ids["runs"])
    assert jobs.wait(ids["waits"], timeout=SECONDS)["status"] == "succeeded"
    fresh = jobs.submit({"name": "fresh", "commands": ["echo hello"]})["id"]
    assert jobs.wait(fresh, timeout=SECONDS)["status"] == "succeeded"
    (node,) = live.client().nodes.list()
    assert node["status"] == "ready"


def _keep(first: Path, second: Path) -> None:
    """With their owners, as a backup has to."""
    for name in KEPT:
        subprocess.run(["cp", "-a", first / name, second / name], check=True, timeout=SECONDS)


@contextmanager
def _a_new_server(data_dir: Path) -> Iterator[None]:
    server = postgres.Postgres(data_dir / "postgres")
    assert server.prepare()
    options = server.spawn_options()
    process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, **options)
    try:
        server.wait_ready(process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _url(data_dir: Path) -> str:
    return postgres.Postgres(data_dir / "postgres").url


def _run(script: str, file: Path, data_dir: Path, *, fails: bool = False) -> str:
    """What the script says."""
    tools = postgres._installation() / "bin"
    environment = own_environment() | {
        "DATABASE_URL": _url(data_dir),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [DEPLOY / script, file], env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr


def _burn(data_dir: Path) -> None:
    with psycopg.connect(_url(data_dir), autocommit=True) as connection:
        for _ in range(BURNT):
            connection.execute("SELECT pg_current_xact_id()")
        connection.execute("UPDATE cluster_node SET version = version + 1")


def _no_row_is_from_the_future(connection: psycopg.Connection) -> None:
    tables = connection.execute(
        "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'mark_changed'"
    ).fetchall()
    assert len(tables) > 5
    for (table,) in tables:
        ahead = connection.execute(
            f"SELECT count(*) FROM {table} WHERE changed > pg_current_xact_id()::text::bigint"
        ).fetchone()
        assert ahead == (0,), table


def _counters_are_sums(connection: psycopg.Connection) -> None:
    """Law 8: what chips, nodes and teams count is what live attempts hold."""
    wrong = connection.execute(
        """
        SELECT c.id, c.used_milli, sum(l.milli) FROM cluster_chip c
        LEFT JOIN jobs_allocation l ON l.chip_id = c.id AND l.active AND l.kind = 'owned'
        GROUP BY c.id HAVING c.used_milli <> coalesce(sum(l.milli), 0)
        """
    ).fetchall()
    assert wrong == []
    twice = connection.execute(
        "SELECT job_id FROM jobs_attempt WHERE state <> 'ended' GROUP BY job_id HAVING count(*) > 1"
    ).fetchall()
    assert twice == []
