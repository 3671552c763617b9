"""One supervisor for a whole platform: starts, watches and stops its processes in order.

PostgreSQL and Valkey first, then migrations if anything changed, then web, scheduler and worker, then the agents.
Stopping goes the other way. Every child dies with the supervisor, however it dies (`launch.py`, `forkserver.py`); jobs
end when the pipe that it holds open is closed. What goes wrong with a child is said, and it is started again
after a growing pause.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from flexai.embedded.children import Child, Program
from flexai.embedded.forking import Process, adopt_orphans, bury_strangers
from flexai.embedded.home import Home

SLOW_SECONDS = 20
"""So long a part may take to start without a word about it."""
HOUSEKEEPING_SECONDS = 5
"""Between looks at the size of the logs."""
JOBS_STOP_SECONDS = 8
"""Shims give their jobs 5 s at most once the platform goes, and need a moment themselves."""
STOP_ORDER = ("agent", "agent-simulated", "scheduler", "worker", "web", "forkserver", "valkey", "postgres")


class StartError(RuntimeError):
    """The platform could not be started; says which part, and the end of that part's log."""


class StopAsked(Exception):  # noqa: N818 - not an error: somebody wants the platform stopped
    """A signal arrived while the platform was starting."""


class Supervisor:
    """Owns the children of one platform. Use from the main thread; `say` gets a sentence for people now and
    then."""

    def __init__(self, home: Home, *, say: Callable[[str], None]) -> None:
        self.home = home
        self.url = ""
        self.say = say
        self._children: dict[str, Child] = {}
        self._stops_asked = 0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._jobs_read, self._jobs_write = os.pipe2(os.O_CLOEXEC)
        self._next_housekeeping = 0.0
        self._written: dict[str, int] = {}
        adopt_orphans()

    @property
    def jobs_pipe(self) -> int:
        """To be inherited by agents and their shims: readable (at its end) once the supervisor is gone or
        stopping."""
        return self._jobs_read

    def listen_to_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for an ordered stop; a second one for a stop at once."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # `nohup` means: stay
                signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes `_wait`

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stops_asked += 1

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether a signal has asked for a stop."""
        return self._stops_asked > 0

    def wake(self) -> None:
        """`run` looks at its `until` now. Safe from any thread."""
        os.write(self._wake_write, b"\0")

    def start(self, program: Program) -> Process:
        """The program runs and is kept running from now on."""
        child = Child(program)
        process = child.start()
        self._children[child.name] = child
        self._write_state()
        return process

    def run_once(self, program: Program, *, seconds: float) -> None:
        """The program has run to its end with exit code 0. Raises as `wait_until`."""
        process = self.start(program)
        try:
            self.wait_until(lambda: process.poll() == 0, what=program.name, seconds=seconds)
        finally:
            self._children.pop(program.name).wait_stopped(0)

    def wait_until(self, ready: Callable[[], bool], *, what: str, seconds: float) -> None:
        """`ready()` was true. Meanwhile a child that ends is an error: nothing has worked yet. Raises
        `StartError`, also after `seconds`, and `StopAsked`."""
        began = time.monotonic()
        deadline, told_at = began + seconds, began + SLOW_SECONDS
        while not ready():
            if time.monotonic() > told_at:
                told_at = deadline + 1
                self.say(f"{what} is slow to start; it has {seconds:.0f} s in all. Logs: {self.home.logs}")
            ended = next(
                ((c, code) for c in self._children.values() if (code := c.has_ended()) is not None), None
            )
            if ended is not None and not ready():
                raise StartError(
                    f"{ended[0].name} ended while starting ({_how(ended[1])}):\n{ended[0].last_lines()}"
                )
            if time.monotonic() > deadline:
                raise StartError(f"{what} was not ready within {seconds:.0f} s. Logs: {self.home.logs}")
            self._step(0.03)
        self._write_state()

    @property
    def is_complete(self) -> bool:
        """Whether every child runs."""
        return all(child.pid is not None for child in self._children.values())

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keeps the children running until somebody asks to stop, or `until()`."""
        while not self._stops_asked and not until():
            self._tend()
            self._wait(self._seconds_to_next())

    def _tend(self) -> None:
        for child in self._children.values():
            code = child.has_ended()
            if code is not None:
                delay = child.plan_restart()
                self.say(f"{child.name} ended ({_how(code)}); it is started again in {delay:g} s.")
            if child.is_due():
                child.start()
        if time.monotonic() >= self._next_housekeeping:
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
            for child in self._children.values():
                child.bound_log()

    def _seconds_to_next(self) -> float:
        now = time.monotonic()
        due = [child.restart_at for child in self._children.values() if child.restart_at is not None]
        return max(min([self._next_housekeeping, *due]) - now, 0)

    def stop(self) -> None:
        """Every child has ended, in order; jobs got their grace first. A stop asked for again cuts all of it
        short."""
        already = self._stops_asked
        self._end_jobs()
        for name in self._in_stop_order(self._children):
            child = self._children[name]
            child.ask_to_stop()
            deadline = time.monotonic() + child.program.stop_seconds
            while (
                child.pid is not None and time.monotonic() < deadline and self._stops_asked <= max(already, 1)
            ):
                self._wait(0.05)
            if not child.wait_stopped(0):
                self.say(f"{name} did not stop in time and was killed.")
        self._children.clear()
        self.home.state_file.unlink(missing_ok=True)

    @staticmethod
    def _in_stop_order(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: STOP_ORDER.index(name) if name in STOP_ORDER else -1)

    def _end_jobs(self) -> None:
        """Closing the pipe tells agents and shims to end; shims give their jobs a grace. They hold the other
        end open."""
        if self._jobs_write < 0:
            return
        pipe = os.readlink(f"/proc/self/fd/{self._jobs_read}")
        os.close(self._jobs_write)
        os.close(self._jobs_read)
        self._jobs_write = self._jobs_read = -1
        asked, deadline = self._stops_asked, time.monotonic() + JOBS_STOP_SECONDS
        while any(_holders(pipe)) and time.monotonic() < deadline and self._stops_asked <= max(asked, 1):
            self._wait(0.1)
        for pid in _holders(pipe):
            self.say(f"Process {pid} did not end with its job in time and was killed.")
            _kill(pid)

    def _step(self, seconds: float) -> None:
        if self._stops_asked:
            raise StopAsked
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        self._write_state()
        bury_strangers({child.process.pid for child in self._children.values() if child.process is not None})
        awaited = [line for child in self._children.values() if (line := child.awaited) >= 0]
        readable, _, _ = select.select([self._wake_read, *awaited], [], [], seconds)
        if self._wake_read in readable:
            os.read(self._wake_read, 4096)

    def _write_state(self) -> None:
        """Who has come since it was written last is in it."""
        children = {child.name: pid for child in self._children.values() if (pid := child.pid) is not None}
        if not children.items() <= self._written.items():
            self.home.write_state({"pid": os.getpid(), "url": self.url, "children": children})
            self._written = children


def _holders(pipe: str) -> Iterator[int]:
    """Processes other than this one that have the pipe (`pipe:[inode]`) open: agents, fork servers, shims."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                held = any(os.readlink(link.path) == pipe for link in os.scandir(f"/proc/{entry.name}/fd"))
            except OSError:
                continue  # it has just ended, or belongs to somebody else
            if held:
                yield int(entry.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _how(code: int | None) -> str:
    if code is None:
        return "no end in time"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
