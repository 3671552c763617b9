"""Ends what a shim left behind that was itself killed from outside. Nothing may live without its shim (law 5)."""

from __future__ import annotations

import os
import signal
import time

from node_agent.cgroups import pids_in, remove_group
from node_agent.spool import Move

_ROUNDS = 50
_PAUSE_SECONDS = 0.02


def end_orphans(moves: list[Move]) -> int:
    """SIGKILL every process of the replica that these moves are of. Returns how many were found.

    They are known by their control group, by the session of the command, and by a variable in their environment.
    """
    found: set[int] = set()
    groups = [str(path) for path in _list(_fact(moves, "starting", "groups"))]
    session = _fact(moves, "running", "pid")
    mark = _fact(moves, "starting", "mark")
    for _ in range(_ROUNDS):
        alive = {pid for path in groups for pid in pids_in(path)}
        alive |= _processes(session if isinstance(session, int) else 0, str(mark or ""))
        if not alive:
            break
        found |= alive
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(_PAUSE_SECONDS)
    for path in groups:
        remove_group(path)
    return len(found)


def _processes(session: int, mark: str) -> set[int]:
    wanted = f"FLEXAI_PREEMPT_FILE={mark}".encode() if mark else b""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _belongs(name, session, wanted):
            found.add(int(name))
    return found


def _belongs(name: str, session: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        if fields[0] == b"Z":
            return False
        if session and int(fields[3]) == session:
            return True
        if not mark:
            return False
        with open(f"/proc/{name}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _fact(moves: list[Move], state: str, name: str) -> object:
    return next((move.get(name) for move in moves if move.get("state") == state), None)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
