"""A platform for one benchmark: `flexai up` in an empty folder, stopped and removed afterwards."""

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
from dataclasses import dataclass
from pathlib import Path

from flexai.client import Client

START_SECONDS = 180
STOP_SECONDS = 60
_READY = "Ctrl-C stops it"
_TICKS = os.sysconf("SC_CLK_TCK")
_FOREIGN = ("DATABASE_URL", "REDIS_URL", "FLEXAI_", "DJANGO_SETTINGS_MODULE")


@dataclass(frozen=True)
class Live:
    """A running platform."""

    url: str
    token: str
    supervisor: int
    """Process id."""
    folder: Path

    def client(self) -> Client:
        """The SDK, signed in as the operator."""
        return Client(self.url, self.token, timeout=120)

    def cpu_seconds(self) -> dict[int, float]:
        """User and system time so far, by process; children that have ended count with their parent."""
        found = {}
        for pid in self.processes():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            found[pid] = sum(int(field) for field in fields[11:15]) / _TICKS
        return found

    def processes(self) -> list[int]:
        """The supervisor and everything below it."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                parents[int(entry.name)] = _parent(entry)
        found, waiting = [], [self.supervisor]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += [child for child, parent in parents.items() if parent == pid]
        return found


@contextmanager
def platform(*arguments: str) -> Iterator[Live]:
    """A platform that is up, given these arguments, and gone afterwards, also when this process is told to end.

    Raises RuntimeError with its output if it does not start.
    """
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="flexai-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    data, output = folder / "data", folder / "output"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    kept |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "XDG_CONFIG_HOME": str(folder / "config")}
    command = [sys.executable, "-m", "flexai.embedded", "up", "--data-dir", str(data), *arguments]
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=kept)
    try:
        _wait_ready(process, output)
        login = json.loads((data / "client.json").read_text())
        yield Live(login["url"], login["token"], process.pid, folder)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _wait_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while _READY not in output.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The platform did not start:\n{output.read_text(errors='replace')}")
        time.sleep(0.1)


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0
