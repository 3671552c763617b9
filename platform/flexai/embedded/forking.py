"""The supervisor's end of the fork server: asks for processes, and has them as if it had started them itself."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Sequence
from typing import Protocol

_PR_SET_CHILD_SUBREAPER = 36


class Process(Protocol):
    """What `subprocess.Popen` and `Forked` have in common."""

    @property
    def pid(self) -> int | None: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


class Forked:
    """A process that was asked for. It has no pid until it says so, which takes as long as the fork server is away
    or loading."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self.pid: int | None = None
        self.returncode: int | None = None

    @property
    def line(self) -> int:
        """The descriptor on which it says its pid; -1 once it has."""
        return self._line.fileno()

    def hear(self) -> bool:
        """Whether it has said its pid just now. Whoever was killed before that ended by a signal."""
        if self._line.fileno() < 0:
            return False
        try:
            said = self._line.recv(16)
        except BlockingIOError:
            return False
        self._line.close()
        if said:
            self.pid = int(said)
        else:
            self.returncode = -signal.SIGKILL
        return bool(said)

    def poll(self) -> int | None:
        """Its exit code (negative: the signal) once it has ended."""
        self.hear()
        if self.returncode is None and self.pid is not None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # it said its pid, ended and was buried at one stroke
                pid, status = self.pid, signal.SIGKILL
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            time.sleep(0.005)
        return code

    def send_signal(self, sig: int) -> None:
        """As `Popen`'s. Who has no pid yet will not begin: it cannot say it any more, and ends."""
        if self.poll() is not None:
            return
        if self.pid is None:
            self._line.close()
            self.returncode = -sig
        else:
            os.kill(self.pid, sig)


class ForkServer:
    """Where processes are asked for. Requests wait while the server loads, or is away and being started again: both
    ends are open here, and the next one takes what the last one left."""

    def __init__(self) -> None:
        self._ours, self._its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @property
    def line(self) -> int:
        """To be inherited by the server."""
        return self._its.fileno()

    def fork(
        self, name: str, entry: str, arguments: Sequence[str], *, log: int, descriptors: Sequence[int]
    ) -> Forked:
        """A process that calls `entry` with the numbers that the descriptors have there, and the arguments."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"name": name, "entry": entry, "arguments": list(arguments)}
        with its:
            socket.send_fds(self._ours, [json.dumps(request).encode()], [its.fileno(), log, *descriptors])
        return Forked(ours)

    def close(self) -> None:
        """Nothing can be asked for any more."""
        self._ours.close()
        self._its.close()


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process, instead of init's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def bury_strangers(ours: Collection[int | None]) -> None:
    """Orphans that have ended are gone from the process table. A child of ours that ended stays for whoever asks, and
    strangers behind it until it has been asked for."""
    try:
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if found.si_pid in ours:
                return
            os.waitpid(found.si_pid, 0)
    except ChildProcessError:
        return
