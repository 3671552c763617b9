"""The processes of the platform: none outlives the supervisor, each is restarted, logs are bounded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from flexai.embedded.accounts import AS_WE_ARE, Account, launch_command
from flexai.embedded.forking import Forked, ForkServer, Process

BACK_OFF_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30)
"""Before the first, second … restart in a row; the last one repeats."""
STEADY_SECONDS = 10
"""A child that lived so long did not fail by starting, and is started again at once: if it waited, a platform that
loses a process now and then would be down half of the time."""
LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A log that grew beyond is moved to `NAME.log.1`, of which one is kept."""


@dataclass(frozen=True, slots=True)
class Program:
    """How to run one process of the platform."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    stop_signal: int = signal.SIGTERM
    stop_seconds: int = 10
    """How long it may take to stop before it is killed."""
    death_signal: int = signal.SIGKILL
    """What it gets when the supervisor dies without having stopped it."""
    account: Account = AS_WE_ARE
    descriptors: tuple[int, ...] = ()
    """Open files that it inherits under the same numbers."""
    secret_environment: frozenset[str] = frozenset()
    """Names that it must not inherit."""
    forked_by: ForkServer | None = None
    """The command is then a function of loaded code, `module:function`, and its arguments, before which it gets the
    numbers of its descriptors; environment and account are the fork server's."""


class Child:
    """One program and the process that runs it now. Start it from the main thread: a parent-death signal goes
    by thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: Process | None = None
        self.restarts = 0
        self.restart_at: float | None = None
        self._started_at = 0.0
        self._row = 0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    @property
    def awaited(self) -> int:
        """The descriptor on which a process that was asked for will say its pid; -1 when none is awaited."""
        return self.process.line if isinstance(self.process, Forked) else -1

    def start(self) -> Process:
        """The program runs in a process group of its own; one that is forked, as soon as its fork server can."""
        with self.program.log.open("ab") as log:
            self.process = self._forked(log.fileno()) if self.program.forked_by else self._launched(log)
        self.restart_at = None
        self._started_at = time.monotonic()
        return self.process

    def _forked(self, log: int) -> Forked:
        program = self.program
        assert program.forked_by is not None
        entry, *arguments = program.command
        return program.forked_by.fork(
            program.name, entry, arguments, log=log, descriptors=program.descriptors
        )

    def _launched(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        program = self.program
        environment = {
            key: value for key, value in os.environ.items() if key not in program.secret_environment
        }
        return subprocess.Popen(
            launch_command(program.account, program.death_signal, program.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment | program.account.environment | dict(program.environment),
            pass_fds=program.descriptors,
            process_group=0,
        )

    def has_ended(self) -> int | None:
        """Its exit code (negative: the signal) if it ended since it was started and this was not yet said;
        else None."""
        if self.process is None or self.restart_at is not None:
            return None
        return self.process.poll()

    def plan_restart(self) -> float:
        """It will be due after the seconds returned; what is left of its process group is ended."""
        self._kill_group()
        lived = time.monotonic() - self._started_at
        self._row = 0 if lived > STEADY_SECONDS else self._row
        delay = BACK_OFF_SECONDS[min(self._row, len(BACK_OFF_SECONDS) - 1)]
        self._row += 1
        self.restarts += 1
        self.restart_at = time.monotonic() + delay
        return delay

    def is_due(self) -> bool:
        """Whether a planned restart has come."""
        return self.restart_at is not None and time.monotonic() >= self.restart_at

    def ask_to_stop(self) -> None:
        """Sends the stop signal, if it runs."""
        self.restart_at = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.program.stop_signal)

    def wait_stopped(self, seconds: float) -> bool:
        """It has ended afterwards, and all of its process group; False when it had to be killed."""
        willing = True
        if self.process is not None:
            try:
                self.process.wait(max(seconds, 0))
            except subprocess.TimeoutExpired:
                willing = False
            self._kill_group()
            self.process.wait()
        return willing

    def _kill_group(self) -> None:
        if self.process is None:
            return
        if self.process.pid is None:
            self.process.send_signal(signal.SIGKILL)
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def bound_log(self) -> None:
        """The log is at most `LOG_LIMIT_BYTES` afterwards. It is copied and cut short: the writer keeps its
        open file."""
        log = self.program.log
        try:
            if log.stat().st_size <= LOG_LIMIT_BYTES:
                return
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
        except FileNotFoundError:
            return

    def last_lines(self, count: int = 12) -> str:
        """The end of its log, for people."""
        try:
            with self.program.log.open("rb") as stream:
                stream.seek(max(self.program.log.stat().st_size - 16_384, 0))
                return "\n".join(stream.read().decode(errors="replace").rstrip().splitlines()[-count:])
        except OSError:
            return ""
