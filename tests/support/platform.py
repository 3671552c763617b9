"""A live embedded platform, started as a user would: `flexai up` in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flexai.client import Client
from tests.support.waiting import wait_for

START_SECONDS = 120
STOP_SECONDS = 60
COMMAND = [sys.executable, "-m", "flexai.embedded"]
_FOREIGN = ("DATABASE_URL", "REDIS_URL", "FLEXAI_", "DJANGO_SETTINGS_MODULE", "PYTEST_")


@dataclass
class LivePlatform:
    """One running `flexai up`. Also what it left on disk after it ended."""

    data_dir: Path
    process: subprocess.Popen[str]
    output_file: Path
    started_in: float = 0.0
    """Seconds from the command to an address that answers."""
    _clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.state()["url"])

    @property
    def username(self) -> str:
        return "admin"

    @property
    def password(self) -> str:
        return (self.data_dir / "secrets" / "admin-password").read_text().strip()

    @property
    def token(self) -> str:
        return (self.data_dir / "secrets" / "admin-token").read_text().strip()

    @property
    def children(self) -> dict[str, int]:
        """Pid by name: postgres, valkey, forkserver, web, scheduler, worker, agent, agent-simulated."""
        found = self.state()["children"]
        assert isinstance(found, dict)
        return found

    @property
    def output(self) -> str:
        """All that the command has printed."""
        return self.output_file.read_text()

    def state(self) -> dict[str, object]:
        found = json.loads((self.data_dir / "state.json").read_text())
        assert isinstance(found, dict)
        return found

    def client(self) -> Client:
        """The SDK, signed in as the operator; closed with the platform."""
        client = Client(self.url, self.token)
        self._clients.append(client)
        return client

    def kill(self, name: str) -> int:
        """`kill -9` for one child; its pid. It has ended when this returns."""
        pid = self.children[name]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), f"{name} to end")
        return pid

    def wait_restarted(self, name: str, old_pid: int, seconds: float = 60) -> None:
        """The supervisor has started this child again."""
        wait_for(lambda: self.children.get(name, old_pid) != old_pid, f"{name} to be started again", seconds)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def new_data_dir() -> Path:
    """An empty folder that PostgreSQL's user and jobs can pass, for the caller to remove."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-e2e-"))
    folder.chmod(0o755)
    return folder


def own_environment() -> dict[str, str]:
    """Ours, without what points at the test session's own servers and settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}


def spawn(
    data_dir: Path, *arguments: str, command: str = "up", output_file: Path | None = None, **environment: str
) -> LivePlatform:
    """The command runs; nothing is known of its success. What it prints goes beside the data directory."""
    output_file = output_file or data_dir.with_name(f"{data_dir.name}.out")
    with output_file.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, command, "--data-dir", str(data_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=own_environment() | environment,
        )
    return LivePlatform(data_dir, process, output_file)


@contextmanager
def running_platform(
    *arguments: str, data_dir: Path | None = None, **environment: str
) -> Iterator[LivePlatform]:
    """A platform that is up; stopped, and its folder removed, afterwards (unless the folder was given)."""
    folder = data_dir or new_data_dir()
    platform = spawn(folder, *arguments, **environment)
    began = time.monotonic()
    try:
        wait_for(
            lambda: "Ctrl-C stops it" in platform.output or platform.process.poll() is not None,
            "the platform",
            START_SECONDS,
        )
        if platform.process.poll() is not None:
            raise AssertionError(f"`flexai up` ended with {platform.process.returncode}:\n{platform.output}")
        platform.started_in = time.monotonic() - began
        yield platform
    finally:
        try:
            platform.stop()
        finally:
            platform.output_file.unlink(missing_ok=True)
            if data_dir is None:
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def platform() -> Iterator[LivePlatform]:
    """One platform for the whole test session; leave it as you found it."""
    with running_platform() as live:
        yield live


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_with(text: str) -> dict[int, str]:
    """Command lines, other than ours, in which the text appears, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line and is_alive(int(entry.name)):
                found[int(entry.name)] = line
    return found
