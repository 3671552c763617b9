"""`flexai agent` and `python -m node_agent`: what is missing or wrong is named, and the exit code says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.support.agents import ROOT


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEXAI_")}
    return subprocess.run(
        [sys.executable, "-m", "node_agent", *arguments],
        cwd=ROOT, env={**clean, **(env or {})}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing --server (or FLEXAI_SERVER_URL)"),
        (["--server", "platform:8000"], "must begin with http:// or https://"),
        (["--server", "http://127.0.0.1:1", "--simulate", "lots"], "for example 16x8:H100-80GB"),
        (["--server", "http://127.0.0.1:1", "--supervisor-fd", "77"], "is not an open descriptor"),
        (["--server", "http://127.0.0.1:1", "--log-level", "loud"], "none of debug, info, warning, error"),
        (["--nonsense"], "No such option"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_credential_and_token_it_says_which_token(tmp_path: Path) -> None:
    done = run("--data-dir", str(tmp_path / "d"), env={"FLEXAI_SERVER_URL": "http://127.0.0.1:1"})
    assert done.returncode == 1
    assert "--enrol-token or FLEXAI_ENROL_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'msgspec'\", name='msgspec')"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("--server", "http://127.0.0.1:1", env={"PYTHONPATH": path})
    assert done.returncode == 3
    assert "pip install 'flexai[agent]'" in done.stderr
