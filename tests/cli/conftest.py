"""The command as a real process against a stub server, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_process import run
from tests.support.http_stub import TOKEN, Stub, a_node, a_team, serve
from tests.support.platform import platform

__all__ = ["platform"]

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs `flexai …`; no variable of the caller's reaches it but `environment`."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str = "", cwd: Path | None = None, **more: str) -> Done:
        environment = {**self.variables(), **more}
        if "PYTHONPATH" in more:  # what it names has to be seen by an interpreter that begins
            done = subprocess.run(
                self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=60, check=False,
                env=environment, cwd=cwd or self.home,
            )  # fmt: skip
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            code, out, err = run(arguments, environment=environment, cwd=cwd or self.home, stdin=stdin)
        assert "Traceback" not in err, err
        return Done(code, out, err)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "flexai.cli", *arguments]

    def variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": path, **self.environment}


@pytest.fixture
def stub() -> Iterator[Stub]:
    state = Stub(nodes=[a_node(), a_node("sim", simulated=True)], teams=[a_team()])
    server = serve(state)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def stranger(tmp_path: Path) -> Shell:
    """Nobody is signed in."""
    return Shell(tmp_path)


@pytest.fixture
def flexai(tmp_path: Path, stub: Stub) -> Shell:
    """Signed in by environment."""
    return Shell(tmp_path, {"FLEXAI_URL": stub.url, "FLEXAI_TOKEN": TOKEN})
