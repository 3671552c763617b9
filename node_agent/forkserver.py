"""The fork server: a small single-threaded process that has imported only what a shim needs.

A fresh interpreter costs 28 ms, a fork of this process 1–2 ms (most of it page faults of the new process), a shim
that has done its work and is given more of it 0.2 ms. So shims whose replica ended soon are kept for a while
and lead another life.

It takes launches from the agent on its standard input (each a 4-byte length and an encoded `Launch`). It ends when
the agent or the supervisor goes; idle shims go with it, busy ones go on. It holds the data directory's lock
beside the agent, and each launch travels with that lock until its first move is recorded: a new agent that
gets the lock therefore finds on disk every replica that was ever started.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback

from node_agent import kernel, launch, shim, visibility
from node_agent.runtimes import process

PRELOADED = (resource,)
"""Imported by `os.wait4` at its first call: better here, once, than in every shim."""
LENGTH = struct.Struct("<I")
IDLE_SHIMS = 48
"""Kept at most; each has 1–2 MiB of its own."""
IDLE_SECONDS = 10.0
SHORT_SECONDS = 10.0
"""A shim whose replica lives longer is not awaited: it ends with its replica."""
MOST_LIVES = 500
"""Replicas that one shim watches over, one after the other."""

_CONTROL = 0
_READ_BYTES = 1 << 20
_TIDY_MS = 2_000
_IDLE = b"i"


def main() -> None:
    """Arguments: one JSON object, written by `forking`. Returns when the agent closes the control stream."""
    settings = json.loads(sys.argv[1])
    notes = _settle(settings)
    node = shim.Node(
        home=os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC),
        hints=settings["hints"],
        lease=settings["lease"],
        lock=settings["lock"],
        supervisor=settings["supervisor"],
    )
    for fd in (node.hints, node.lease, node.lock, node.supervisor):
        if fd >= 0:
            os.set_inheritable(fd, False)
    os.write(1, json.dumps({"notes": notes}).encode() + b"\n")
    os.dup2(2, 1)  # the agent has been told; nobody reads this stream any more
    gc.collect()
    gc.freeze()
    gc.disable()
    _serve(_Shims(node))


def _settle(settings: dict[str, object]) -> list[str]:
    """Become what every shim inherits. Returns sentences for people about what could not be done."""
    notes = []
    os.umask(0o022)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps shims; each shim resets this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if settings["separate_users"]:
        os.setgroups([])
        needed = settings["needed"]
        assert isinstance(needed, list)
        try:
            visibility.open_up(needed)
        except OSError as error:
            notes.append(
                f"Jobs cannot reach everything that they need below a closed directory: {error.strerror}."
            )
    kernel.forbid_new_privileges()
    os.chdir(str(settings["data_dir"]))
    return notes


def _serve(shims: _Shims) -> None:
    poll = shims.poll
    poll.register(_CONTROL, select.POLLIN)
    if shims.node.supervisor >= 0:
        poll.register(shims.node.supervisor, 0)
    buffer = bytearray()
    while True:
        events = poll.poll(_TIDY_MS if shims.known else None)
        for fd, _ in events:
            if fd == shims.node.supervisor:
                return
            if fd != _CONTROL:
                shims.heard(fd)
                continue
            data = os.read(_CONTROL, _READ_BYTES)
            if not data:
                return
            buffer += data
        while len(buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer)
            if len(buffer) < LENGTH.size + length:
                break
            shims.start(bytes(buffer[LENGTH.size : LENGTH.size + length]))
            del buffer[: LENGTH.size + length]
        shims.tidy()


class _Shims:
    """The shims that may lead another life. `known` maps our end of each one's socket to it and its last change."""

    def __init__(self, node: shim.Node) -> None:
        self.node = node
        self.poll = select.poll()
        self.known: dict[int, tuple[socket.socket, float]] = {}
        self._idle: list[int] = []
        self._tidied = time.monotonic()

    def start(self, frame: bytes) -> None:
        """Give the launch to a shim that is idle, else to a new one."""
        while self._idle:
            fd = self._idle.pop()
            ours = self.known[fd][0]
            try:
                _send(ours, frame, self.node.lock)
            except OSError:
                self._drop(fd)
            else:
                self.known[fd] = (ours, time.monotonic())
                return
        self._fork(frame)

    def heard(self, fd: int) -> None:
        """A shim says that it is idle, or is gone."""
        if fd not in self.known:
            return
        ours = self.known[fd][0]
        try:
            said = ours.recv(1)
        except OSError:
            said = b""
        if not said or len(self._idle) >= IDLE_SHIMS:
            self._drop(fd)
        else:
            self._idle.append(fd)
            self.known[fd] = (ours, time.monotonic())

    def tidy(self) -> None:
        """Let go of shims that were idle for long, or busy for long (those end with their replica)."""
        now = time.monotonic()
        if now - self._tidied < _TIDY_MS / 1000:
            return
        self._tidied = now
        limit = min(IDLE_SECONDS, SHORT_SECONDS)
        for fd in [fd for fd, (_, since) in self.known.items() if now - since > limit]:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        self.poll.unregister(fd)
        ours, _ = self.known.pop(fd)
        ours.close()
        if fd in self._idle:
            self._idle.remove(fd)

    def _fork(self, frame: bytes) -> None:
        try:
            ours, theirs = socket.socketpair()
            pid = os.fork()
        except OSError as error:
            name = os.path.basename(launch.decode(frame).base)
            os.write(self.node.hints, f"!{name} No process could be made: {error.strerror}\n".encode())
            return
        if pid == 0:
            _become_shim(theirs, frame, self.node)
        theirs.close()
        self.known[ours.fileno()] = (ours, time.monotonic())
        self.poll.register(ours.fileno(), select.POLLIN)


def _become_shim(mine: socket.socket, frame: bytes, node: shim.Node) -> None:
    """The new process: one life after the other. Never returns."""
    try:
        os.setsid()
        os.dup2(mine.fileno(), _CONTROL, inheritable=False)
        _close_all_but({node.home, node.hints, node.lease, node.lock, node.supervisor})
        with socket.socket(fileno=_CONTROL) as line:
            _live(line, frame, node)
    except BaseException:  # whatever it was: nothing may live on without its shim
        traceback.print_exc()
        process.end_everything()
    finally:
        os._exit(0)


def _close_all_but(kept: set[int]) -> None:
    """The other shims' sockets and this one's second name are closed; the standard streams stay open.

    While anybody holds the fork server's end of a shim's socket, that shim never hears that the server has gone.
    """
    below = 3
    for fd in sorted(fd for fd in kept if fd >= below):
        for unwanted in range(below, fd):  # `closerange` with an empty range would close everything
            try:
                os.close(unwanted)
            except OSError:
                continue
        below = fd + 1
    os.closerange(below, 1 << 20)


def _live(line: socket.socket, frame: bytes, node: shim.Node) -> None:
    senses = shim.Senses()
    for _ in range(MOST_LIVES):
        shim.run(launch.decode(frame), node, senses)
        try:
            line.send(_IDLE)
            received = _receive(line)
        except OSError:
            return
        if received is None:
            return
        frame, node.lock = received


def _send(line: socket.socket, frame: bytes, lock: int) -> None:
    message = LENGTH.pack(len(frame)) + frame
    sent = socket.send_fds(line, [message], [lock])
    if sent < len(message):
        line.sendall(message[sent:])


def _receive(line: socket.socket) -> tuple[bytes, int] | None:
    """The next launch and the lock that travels with it; None when the fork server is gone or wants no more."""
    data, fds, _, _ = socket.recv_fds(line, _READ_BYTES, 1)
    if not data or not fds:
        return None
    (length,) = LENGTH.unpack_from(data)
    while len(data) < LENGTH.size + length:
        more = line.recv(_READ_BYTES)
        if not more:
            return None
        data += more
    return data[LENGTH.size :], fds[0]


if __name__ == "__main__":
    main()
