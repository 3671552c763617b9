"""Agents as real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from node_agent import cgroups, spool
from node_agent.datadir import own_name
from node_agent.protocol import WantedChip, WantedReplica
from tests.agent.support.server import TOKEN

ROOT = Path(__file__).resolve().parents[3]


_data_dirs: set[bytes] = set()
"""Of all agents of this test run."""


class Agent:
    """One agent process with a data directory that outlives it."""

    def __init__(
        self,
        server: str,
        data_dir: Path,
        *options: str,
        token: str | None = TOKEN,
        inside: tuple[str, ...] = (),
    ) -> None:
        """`inside` is a command that runs the agent's own: in a network namespace, under another clock."""
        self.server = server
        self.data_dir = data_dir
        _data_dirs.add(str(data_dir).encode())
        self.options = options
        self.inside = inside
        self.token = token
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = data_dir.parent / f"{data_dir.name}.agent.log"

    def start(self, *, pass_fds: tuple[int, ...] = (), env: Mapping[str, str] | None = None) -> None:
        command = [
            *self.inside, sys.executable, "-m", "node_agent", "--server", self.server,
            "--data-dir", str(self.data_dir), "--name", "node-a", *self.options,
        ]  # fmt: skip
        if self.token:
            command += ["--enrol-token", self.token]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                env={**os.environ, **(env or {})},
            )

    def kill(self) -> None:
        """kill -9: nothing is said, nothing is written."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def story(self) -> str:
        """The last lines of the agent and of its shims, for a test that failed."""
        shims = self.data_dir / "shims.log"
        broken = shims.read_text(errors="replace") if shims.exists() else ""
        return f"--- agent:\n{self.log()[-4000:]}\n--- shims:\n{broken[-4000:]}"

    def spooled(self) -> list[str]:
        """Replicas that the spool still holds."""
        root = self.data_dir / spool.REPLICAS
        return spool.names(str(root)) if root.exists() else []

    def end_everything(self) -> None:
        """The agent, and every shim of its data directory with what it watches over."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        root = self.data_dir / spool.REPLICAS
        deadline = time.monotonic() + 5
        for name in self.spooled():
            base = f"{root}/{name}"
            while spool.shim_is_alive(base) and time.monotonic() < deadline:
                moves = spool.read_moves(base)
                if moves and isinstance(pid := moves[0].get("pid"), int):
                    spool.write_stop_request(base, {"outcome": "cancelled", "grace_ms": 0})
                    os.kill(pid, signal.SIGTERM)
                time.sleep(0.05)
        shutil.rmtree(f"/run/{own_name(self.data_dir.resolve())}", ignore_errors=True)
        for parent in set(cgroups.detect(own_name(self.data_dir.resolve())).groups.values()):
            for entry in os.scandir(parent):
                if entry.is_dir():
                    cgroups.remove_group(entry.path)
            cgroups.remove_group(parent)


def a_replica(attempt: str, *commands: str, **changes: object) -> WantedReplica:
    """A wanted replica with small defaults."""
    chips = changes.pop("chips", [])
    assert isinstance(chips, list)
    fields: dict[str, object] = {
        "attempt": attempt,
        "replica": 0,
        "desired": "run",
        "job": f"job-{attempt}",
        "number": 1,
        "organization": "org-a",
        "commands": list(commands) or ["true"],
        "grace_ms": 1000,
        "chips": [WantedChip(index=index, milli=milli) for index, milli in chips],
        **changes,
    }
    return WantedReplica(**fields)  # type: ignore[arg-type]


def processes_with(text: str) -> list[int]:
    """Processes of this run's agents whose command line contains the text (another run may be going on beside)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                command, environment = (
                    Path(f"/proc/{name}/{file}").read_bytes() for file in ("cmdline", "environ")
                )
            except OSError:
                continue
            if text.encode() in command and any(path in command + environment for path in _data_dirs):
                found.append(int(name))
    return found
