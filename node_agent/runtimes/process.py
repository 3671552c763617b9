"""Starts a replica's command as a process of the node, and ends it with everything that it has started.

Runs inside the shim. The child is made by `posix_spawn` (vfork underneath: half the cost of a fork), so
everything that it must inherit — user, working directory, cores, control groups — is taken on by the shim for a
moment and put back. While the shim wears the job's user, files are written with that user's rights: a symbolic
link planted by an earlier attempt leads nowhere that the user could not go."""

from __future__ import annotations

import os
import signal

from node_agent.cgroups import Group
from node_agent.launch import Launch

LONGEST_SCRIPT_ARGUMENT = 100 * 1024
"""Bytes; the kernel takes 128 KiB in one argument. A longer script is handed over as a file."""
_SCRIPT_FD = 3
ALL_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""A job ignores none of them from its start, whatever the agent, or the shell that started it, ignores."""


class StartError(Exception):
    """The command was not started; the text is a sentence for people."""


def start(launch: Launch, *, output: int, group: Group, home_fd: int) -> int:
    """Start the command in a session of its own, its output on the `output` descriptor. Returns its process id.

    Raises `StartError`. The caller's user, groups, cores and working directory (`home_fd`) are as before afterwards.
    """
    pid = 0
    try:
        make_job_directory(launch)
        group.enter()
        try:
            pid = _start_as_user(launch, output)
        finally:
            group.leave(launch.groups)
            os.fchdir(home_fd)
    except OSError as error:
        if pid:
            raise  # started, but the shim is not what it was: it ends, and the replica with it
        raise StartError(sentence(error)) from error
    return pid


def end(group: Group, number: int, *, apart_from: int = 0) -> bool:
    """Send the signal to every descendant of the calling process, `apart_from` this one. True when there was one.

    With SIGKILL the caller repeats it until it has no children left: descendants of a killed process come to
    the caller, who is their subreaper.
    """
    found = descendants(os.getpid())
    if number == signal.SIGKILL:
        for pid in found:
            _signal(pid, signal.SIGSTOP)  # so that nothing forks while it is being ended
        group.kill()
        found = descendants(os.getpid())
    for pid in found:
        if pid == apart_from:
            continue
        _signal(pid, number)
        if number != signal.SIGKILL:
            _signal(pid, signal.SIGCONT)
    return bool(found)


def end_everything() -> None:
    """Send SIGKILL to every descendant, without control groups: the last resort of a broken shim."""
    end(Group({}, ""), signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before children."""
    children = _children_of_all()
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def make_job_directory(launch: Launch) -> None:
    """The job's directory is there and its user's. Raises `OSError`."""
    try:
        os.mkdir(launch.job_dir, 0o700)
    except FileExistsError:
        pass
    if launch.uid is not None and os.stat(launch.job_dir, follow_symlinks=False).st_uid != launch.uid:
        os.chown(launch.job_dir, launch.uid, launch.uid, follow_symlinks=False)


def _start_as_user(launch: Launch, output: int) -> int:
    everywhere = os.sched_getaffinity(0) if launch.cores else None
    if launch.cores:
        os.sched_setaffinity(0, launch.cores)
    put_on_user(launch)
    try:
        prepare_files(launch)
        return _spawn(launch, output)
    finally:
        take_off_user(launch)
        if everywhere:
            os.sched_setaffinity(0, everywhere)


def put_on_user(launch: Launch) -> None:
    """From here on the shim is the job's user. Saved ids stay 0, so that it comes back; execve overwrites them, so that
    a command never can."""
    if launch.uid is not None:
        os.setresgid(launch.uid, launch.uid, 0)
        os.setresuid(launch.uid, launch.uid, 0)


def take_off_user(launch: Launch) -> None:
    """The shim is itself again."""
    if launch.uid is not None:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def prepare_files(launch: Launch) -> None:
    """The working directory is there, with its files, and is the current one. Raises `OSError`."""
    os.chdir(launch.job_dir)
    _make_directories(launch.checkpoint_dir)
    if launch.working_dir.startswith(launch.job_dir + "/"):
        _make_directories(launch.working_dir)
        os.chdir(launch.working_dir)
    elif (
        launch.working_dir != launch.job_dir and launch.container is None
    ):  # else it is a folder of the image
        os.chdir(launch.working_dir)
    for name, text in launch.files.items():
        folder = os.path.dirname(name)
        if folder:
            _make_directories(folder)
        beside = f"{name}.flexai-{os.getpid()}"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            write_all(fd, text.encode("utf-8", "surrogatepass"))
        finally:
            os.close(fd)
        os.rename(beside, name)


def _spawn(launch: Launch, output: int) -> int:
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    script = launch.script.encode("utf-8", "surrogatepass")
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    arguments: list[str | bytes] = [shell, "-e"]
    script_fd = -1
    if len(script) > LONGEST_SCRIPT_ARGUMENT:
        script_fd = memory_file(script)
        actions.append((os.POSIX_SPAWN_DUP2, script_fd, _SCRIPT_FD))
        arguments.append(f"/dev/fd/{_SCRIPT_FD}")
    else:
        arguments += ["-c", script]
    try:
        return os.posix_spawn(
            shell,
            arguments,
            {**launch.env, **launch.secrets},
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=ALL_SIGNALS,
        )
    finally:
        if script_fd >= 0:
            os.close(script_fd)


def memory_file(data: bytes) -> int:
    """A descriptor of a file with these bytes that lies nowhere, readable for everybody, at its beginning."""
    fd = os.memfd_create("commands")
    write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    os.fchmod(fd, 0o444)
    return fd


def _make_directories(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def write_all(fd: int, data: bytes) -> None:
    """All of it is written. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or a process that is not ours to end


def _children_of_all() -> dict[int, list[int]]:
    """One pass over /proc (the kernel's own list of children is optional and often not built in)."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                parent = int(file.read(4096).rpartition(b")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(name))
    return children


def sentence(error: OSError) -> str:
    """Why the command was not started, for people."""
    what = f": {error.filename!r}" if error.filename else ""
    return f"The command could not be started: {error.strerror or error}{what}."
