"""The CI kit, run as a pipeline would: a key, a second try, the log, the files, the exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import ROOT, Shell
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "examples/ci/pipeline.sh"
ACTION = yaml.safe_load((ROOT / "deploy/ci/github/action.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "deploy/ci/gitlab.yml").read_text())[".flexai"]


@pytest.fixture
def runner(tmp_path: Path, platform: LivePlatform) -> dict[str, str]:
    """The environment of a fresh machine with the command and a token, and nothing else of the platform."""
    command = tmp_path / "bin/flexai"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flexai.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    return {
        "HOME": str(tmp_path), "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": path,
        "FLEXAI_URL": platform.url, "FLEXAI_TOKEN": platform.token,
    }  # fmt: skip


def ran(
    arguments: list[str], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, env=dict(environment), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def jobs_named(runner: dict[str, str], tmp_path: Path, name: str) -> list[dict[str, Any]]:
    shell = Shell(tmp_path, {key: runner[key] for key in ("FLEXAI_URL", "FLEXAI_TOKEN")})
    return list(shell("ps", "--all", "--json", "--name", name).json)


def a_spec(tmp_path: Path, name: str, command: str, **fields: Any) -> str:
    spec = {"name": name, "commands": [command], "resources": {"cpus": 0.05}, **fields}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(spec))
    return "job.yaml"


def test_a_pipeline_submits_once_waits_and_keeps_log_and_files(
    runner: dict[str, str], tmp_path: Path
) -> None:
    environment = {**runner, "RUN_ID": f"run-{uuid.uuid4()}"}
    spec = str(ROOT / "examples/ci/test.yaml")
    first = ran(["sh", str(SCRIPT), spec, "first.log", "files"], environment, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "Ran 1 test" in (tmp_path / "first.log").read_text()
    report = '<testsuite name="sums" tests="1" failures="0"/>\n'
    assert (tmp_path / "files" / "junit.xml").read_text() == report
    again = ran(["sh", str(SCRIPT), spec, "again.log", "more"], environment, tmp_path)
    assert (again.returncode, again.stdout) == (0, first.stdout), "the same run is the same job"
    assert (tmp_path / "more" / "junit.xml").read_text() == report
    assert len(jobs_named(runner, tmp_path, "ci-test")) == 1


def test_a_job_that_fails_leaves_its_files(runner: dict[str, str], tmp_path: Path) -> None:
    script = "mkdir -p r/deep; echo bad > r/deep/a; ln -sf /etc/passwd r/p; exit 7"
    spec = a_spec(tmp_path, "ci-files", script, outputs=["r"], retry=1)
    done = ran(
        ["sh", str(SCRIPT), spec, "log", "files"], {**runner, "RUN_ID": f"run-{uuid.uuid4()}"}, tmp_path
    )
    assert done.returncode == 7, done.stderr
    assert (tmp_path / "files/r/deep/a").read_text() == "bad\n"
    assert not (tmp_path / "files/r/p").exists()
    assert "r/p is a link out of the job's folder." in done.stderr
    shell = Shell(tmp_path, {key: runner[key] for key in ("FLEXAI_URL", "FLEXAI_TOKEN")})
    listed = shell("outputs", "ci-files", "--json").json
    assert (listed["attempt"], listed["state"]) == (2, "complete")
    first = shell("outputs", "ci-files", "--attempt", "1", "--download", "first")
    assert first.code == 0, first.err
    assert (tmp_path / "first/r/deep/a").read_text() == "bad\n"
    assert "r/deep/a" in shell("outputs", "ci-files").out
    assert shell("outputs", "ci-files", "--remove").code == 0
    gone = shell("outputs", "ci-files", "--download", "again")
    assert (gone.code, gone.err.strip()) == (1, "The files were removed.")


def test_the_exit_code_is_the_jobs(runner: dict[str, str], tmp_path: Path) -> None:
    spec = a_spec(tmp_path, "ci-fails", "echo no; exit 7")
    done = ran(["sh", str(SCRIPT), spec], {**runner, "RUN_ID": f"run-{uuid.uuid4()}"}, tmp_path)
    assert (done.returncode, done.stdout) == (7, "no\n")
    for wrong in (["--wait", "--download", "x"], ["--download", "x"]):
        refused = ran(["flexai", "apply", "-f", spec, *wrong], runner, tmp_path)
        assert refused.returncode == 2, refused.stderr


def test_what_does_not_start_in_time_is_withdrawn(runner: dict[str, str], tmp_path: Path) -> None:
    spec = a_spec(tmp_path, "ci-waits", "true", hold=True)
    environment = {**runner, "RUN_ID": f"run-{uuid.uuid4()}", "START_WITHIN": "1s"}
    done = ran(["sh", str(SCRIPT), spec], environment, tmp_path)
    assert done.returncode == 75, done.stderr
    assert [job["status"] for job in jobs_named(runner, tmp_path, "ci-waits")] == ["cancelled"]


def test_the_github_action_runs_a_job(runner: dict[str, str], tmp_path: Path) -> None:
    step = ACTION["runs"]["steps"][-1]
    spec = a_spec(tmp_path, "ci-github", "echo from the action; echo x > x; exit 3", outputs=["x"])
    known = {
        "inputs.url": runner["FLEXAI_URL"], "inputs.token": runner["FLEXAI_TOKEN"], "inputs.spec": spec,
        "inputs.start-within": ACTION["inputs"]["start-within"]["default"], "github.repository": "acme/models",
        "inputs.trust-rule": "", "inputs.download": "my files", "runner.temp": str(tmp_path),
        "github.run_id": str(uuid.uuid4()), "github.run_attempt": "1", "github.job": "test",
        "strategy.job-index": "0",
    }  # fmt: skip
    given = {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], value)
        for name, value in step["env"].items()
    }
    done = ran(["bash", "-e", "-c", step["run"]], {**runner, **given}, tmp_path)
    assert (done.returncode, done.stdout) == (3, "from the action\n"), done.stderr
    assert (tmp_path / "my files" / "x").read_text() == "x\n"
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"name": "ci-other", "commands": ["echo beside"]}))
    beside = {"SPEC": "other.yaml", "DOWNLOAD": ""}
    done = ran(["bash", "-e", "-c", step["run"]], {**runner, **given, **beside}, tmp_path)
    assert (done.returncode, done.stdout) == (0, "beside\n"), "another step of the same job runs another spec"


def test_the_gitlab_template_runs_a_job(runner: dict[str, str], tmp_path: Path) -> None:
    a_spec(tmp_path, "ci-gitlab", "echo from the template")
    given = {**GITLAB["variables"], "CI_PROJECT_PATH": "acme/models", "CI_JOB_ID": str(uuid.uuid4())}
    done = ran(["sh", "-e", "-c", "\n".join(GITLAB["script"])], {**runner, **given}, tmp_path)
    assert (done.returncode, done.stdout) == (0, "from the template\n"), done.stderr


def test_nothing_that_a_pull_request_may_name_is_put_into_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"], (
            "inputs come by environment, where a shell does not read them as code"
        )
