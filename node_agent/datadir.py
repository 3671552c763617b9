"""The agent's data directory: who may enter it, its lock, the lease file and the named pipe of hints.

credential.json   0600   node id and credential (`enrol`)
users.json        0600   organization → uid
lease             0600   boot-time ms of the last answered renewal, read by every shim
hints             0600   named pipe: shims write the name of a replica that moved
replicas/         0700   the spool: the files of each replica, until the server has all of it
outputs/          0700   copies of the files that jobs leave, until the server has them
jobs/             0711   one directory per job, owned by the organization's user, kept for a while
images/           0700   what podman keeps of images, where the node runs any
containers/       0700   a folder for each container, until its replica has ended
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

from node_agent.spool import REPLICAS

JOBS = "jobs"
LOCK_PATIENCE_SECONDS = 5.0
"""How long the shims of an agent that was just killed may take to record their first move."""


class DataDirError(Exception):
    """The directory cannot be used; the text says why and what to do."""


def prepare(path: Path) -> Path:
    """Make what is missing. Raises `DataDirError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        path = path.resolve()
        if os.stat(path).st_uid == os.geteuid():
            path.chmod(0o711)
        for name, mode in ((REPLICAS, 0o700), (JOBS, 0o711)):
            (path / name).mkdir(mode=mode, exist_ok=True)
            (path / name).chmod(mode)
        if not os.access(path, os.W_OK | os.X_OK):  # not by writing: a full disk is no reason not to begin
            raise PermissionError(errno.EACCES, "not writable")
    except OSError as error:
        raise DataDirError(
            f"The data directory {path} cannot be used: {error.strerror}. Choose another with --data-dir."
        ) from error
    return path


async def lock(path: Path) -> int:
    """Take the directory for this agent. Raises `DataDirError` when another agent has it."""
    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = asyncio.get_running_loop().time() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                os.close(fd)
                raise DataDirError(f"Another agent is running with the data directory {path}.") from None
            await asyncio.sleep(0.02)
        else:
            return fd


def open_lease(path: Path) -> int:
    """The lease file, its space reserved so that a renewal never fails for want of it."""
    fd = os.open(path / "lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size == 0:
            os.pwrite(fd, bytes(8), 0)
    except OSError as error:
        raise DataDirError(f"The lease file in {path} cannot be written: {error.strerror}.") from error
    return fd


def open_hints(path: Path) -> int:
    """Both ends of the named pipe, not blocking. What was written while no agent lived may still be in it."""
    name = path / "hints"
    try:
        os.mkfifo(name, 0o600)
    except FileExistsError:
        if not stat.S_ISFIFO(os.stat(name).st_mode):
            raise DataDirError(f"{name} is not a named pipe.") from None
    fd = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError:
        pass  # the system's own limit is lower: hints may get lost, the sweep finds what they would have said
    return fd


def own_name(data_dir: Path) -> str:
    """Name of what the agent with this data directory has outside of it (control groups, podman's volatile files): two
    agents on a machine have two."""
    return f"flexai-{hashlib.blake2b(str(data_dir).encode(), digest_size=4).hexdigest()}"
