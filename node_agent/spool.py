"""The spool on disk: `NAME.state` and `NAME.log` for each replica. These files are the truth.

The shim writes them, the agent reads them and removes them once the server has acknowledged all of it. There is no
second copy: what the server has not acknowledged is simply still here. (Two flat files and no directory of their own:
making and removing a directory costs more than everything else that the spool does for a short job.)

`NAME.state` has a fixed size, reserved when it is made, so that a full disk never hides how a replica ended:

    0 .. 3583      moves: one JSON object a line, oldest first, then zero bytes
    3584 .. 4095   the stop request: one JSON object, written by the agent before it signals the shim

The shim holds an exclusive flock on it for as long as it lives. Making the file is the fence: whoever finds it made
does not start the replica again. `NAME.log` exists once something was printed. Only modules cheap to fork are imported.

`base` is everywhere the path of a replica's files without their endings.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from json.encoder import encode_basestring_ascii as _quote

REPLICAS = "replicas"
"""Directory of the spool inside the agent's data directory."""
STATE_BYTES = 4096
MOVES_BYTES = 3584
SENTENCE_CHARS = 400
"""Longest sentence of a move; keeps all moves inside `MOVES_BYTES`."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")

Move = dict[str, object]


class AlreadyStartedError(Exception):
    """The replica's state file exists: it was started before and is not started again."""


def is_safe_name(text: str) -> bool:
    """True when the text can be one path component: letters, digits, `_ - .`, at most 100, no leading dot."""
    return _KEY.fullmatch(text) is not None


def file_name(attempt: str, replica: int, generation: int) -> str:
    """Name of the replica's files, without ending; `parse_file_name` undoes it."""
    return f"{attempt}.{replica}.{generation}"


def parse_file_name(name: str) -> tuple[str, int, int] | None:
    """(attempt, replica, generation), or None when the name is not of a replica."""
    parts = name.rsplit(".", 2)
    if len(parts) != 3 or not parts[1].isdigit() or not parts[2].isdigit():
        return None
    return parts[0], int(parts[1]), int(parts[2])


class StateFile:
    """The writer's side, held by the shim."""

    def __init__(self, base: str) -> None:
        """Make the file and reserve its space. Raises `AlreadyStartedError`, or `OSError` (disk full)."""
        path = f"{base}.state"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise AlreadyStartedError(base) from None
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            os.posix_fallocate(self._fd, 0, STATE_BYTES)
        except OSError:
            os.unlink(path)
            raise
        self._end = 0

    def append(self, move: Move) -> None:
        """Record one move; readers see it whole or not at all. Never fails for want of space."""
        line = _encode(move).encode() + b"\n"
        if self._end + len(line) > MOVES_BYTES:
            raise OSError(errno.EFBIG, f"the moves of one replica take more than {MOVES_BYTES} bytes")
        os.pwrite(self._fd, line, self._end)
        self._end += len(line)

    def close(self) -> None:
        """Let go of the lock: for everybody else the shim is gone."""
        os.close(self._fd)

    def stop_request(self) -> Move:
        """What the agent asked for; empty when it asked for nothing."""
        return _first_object(os.pread(self._fd, STATE_BYTES - MOVES_BYTES, MOVES_BYTES))


def read_moves(base: str) -> list[Move]:
    """All whole moves recorded so far; empty when the replica never got as far as its first."""
    try:
        with open(f"{base}.state", "rb", buffering=0) as file:
            data = file.read(MOVES_BYTES)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def write_stop_request(base: str, request: Move) -> None:
    """Leave the request where the shim looks when it is signalled; needs no disk space."""
    data = _encode(request).encode() + b"\n"
    if len(data) > STATE_BYTES - MOVES_BYTES:
        raise ValueError(f"stop request of {len(data)} bytes")
    fd = os.open(f"{base}.state", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data, MOVES_BYTES)
    finally:
        os.close(fd)


def shim_is_alive(base: str) -> bool:
    """True while a shim holds the replica's state file. Immune to reused process ids."""
    try:
        fd = os.open(f"{base}.state", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def append_for_a_dead_shim(base: str, move: Move) -> None:
    """Record the end that the shim could not record. The caller has seen `shim_is_alive` say no."""
    with open(f"{base}.state", "r+b", buffering=0) as file:
        data = file.read(MOVES_BYTES)
        end = data.rfind(b"\n") + 1
        file.seek(end)
        file.write(_encode(move).encode() + b"\n")


def remove(base: str) -> None:
    """Forget the replica: its files are gone afterwards. Harmless when they already are."""
    for path in (f"{base}.log", f"{base}.guest", f"{base}.state"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def names(root: str) -> list[str]:
    """Names of all replicas in the spool, in order."""
    return sorted(entry.removesuffix(".state") for entry in os.listdir(root) if entry.endswith(".state"))


def _encode(move: Move) -> str:
    """JSON of the few kinds of values that moves have; the general encoder costs each shim many page faults."""
    fields = []
    for name, value in move.items():
        if isinstance(value, str):
            text = _quote(value)
        elif isinstance(value, int):
            text = str(value)
        elif isinstance(value, list):
            text = "[" + ",".join([_quote(str(item)) for item in value]) + "]"
        else:
            raise TypeError(f"{name} of a move is a {type(value).__name__}")
        fields.append(f'"{name}":{text}')
    return "{" + ",".join(fields) + "}"


def _first_object(data: bytes) -> Move:
    line, newline, _ = data.partition(b"\n")
    if not newline:
        return {}
    value = json.loads(line)
    return value if isinstance(value, dict) else {}
