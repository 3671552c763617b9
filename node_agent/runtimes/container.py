"""Starts a replica's command in a container, and removes what is left of it.

Runs inside the shim. The OCI runtime (runc, crun) is asked to leave the container to itself (`--detach`): it hands over
its own output, ends, and the container's first process comes to the shim, who is its subreaper, as a child like any
other. So nothing of logs, exit codes, signals or leases is done twice.

The image is mounted in mounts of the runtime's own, which the container takes along and nobody else ever sees: the
image's layers, and above them a little memory for the places where the runtime mounts things and for what hooks write.
When the container ends they are gone, whoever is still alive to care.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys

from node_agent import kernel
from node_agent.cgroups import Group
from node_agent.launch import Launch
from node_agent.runtimes import process
from node_agent.runtimes.process import StartError

ROOT = ".root"
"""Where images are mounted; empty for everybody who does not look from inside such mounts."""
MERGED = "image"
STATE = ".state"
"""The runtime's own."""
START_SECONDS = 60.0
"""The runtime needs a tenth of one; a disk that hangs may need for ever."""
REMOVE_SECONDS = 30.0
_FIRST_FD = 3
_ABOVE = "mode=0755,size=16m,nr_inodes=8192"
"""A driver brings a hundred files, each mounted on one of these, and its hooks write a cache of libraries."""


def prepare(folder: str) -> None:
    """The folder of all containers has what every start needs. Raises `OSError`."""
    for name in (ROOT, STATE):
        os.makedirs(f"{folder}/{name}", mode=0o700, exist_ok=True)


def start(launch: Launch, *, output: int, group: Group, home_fd: int) -> int:
    """Start the command in its container, its output on the `output` descriptor. Returns the process id of the
    container's first process, which is a child of the caller.

    Raises `StartError`. The caller's user, groups, cores and working directory are as before afterwards.
    """
    assert launch.container is not None
    name = os.path.basename(launch.base)
    try:
        process.make_job_directory(launch)
        process.put_on_user(launch)
        try:
            process.prepare_files(launch)
        finally:
            process.take_off_user(launch)
            os.fchdir(home_fd)
        pid = _run(launch.container, name, output=output, handed=_handed(launch), cores=launch.cores)
    except OSError as error:
        remove(launch.container["runtime"], launch.container["folder"], name)
        raise StartError(process.sentence(error)) from error
    inside = [pid, *process.descendants(pid)]
    group.take_in(inside)
    for one in inside if launch.cores else ():
        _pin(one, launch.cores)
    return pid


def remove(runtime: str, folder: str, name: str) -> None:
    """Nothing of the container is left, running or not: neither its control groups nor its files."""
    if os.path.isdir(f"{folder}/{STATE}/{name}"):
        nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        asked = [runtime, "--root", f"{folder}/{STATE}", "delete", "--force", name]
        pid = os.posix_spawn(
            runtime, asked, {"PATH": os.defpath}, file_actions=nothing, setsigdef=process.ALL_SIGNALS
        )
        _wait(pid, REMOVE_SECONDS)
    for file in ("config.json", "log", "pid"):
        _unlink(f"{folder}/{name}/{file}")
    try:
        os.rmdir(f"{folder}/{name}")
    except OSError:
        pass  # it never was, or somebody else has put something there: not ours to judge


def _handed(launch: Launch) -> list[bytes]:
    """What comes by descriptors: a script that is too long for an argument, then the secrets, as the description of a
    container lies in a file."""
    script = launch.script.encode("utf-8", "surrogatepass")
    handed = [script] if len(script) > process.LONGEST_SCRIPT_ARGUMENT else []
    if launch.secrets:
        quoted = {name: value.replace("'", "'\\''") for name, value in launch.secrets.items()}
        handed.append("".join(f"export {name}='{value}'\n" for name, value in quoted.items()).encode())
    return handed


def _run(
    description: dict[str, str], name: str, *, output: int, handed: list[bytes], cores: list[int]
) -> int:
    """Raises `StartError` with what the runtime says, or `OSError`."""
    runtime, folder = description["runtime"], f"{description['folder']}/{name}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd = os.open(f"{folder}/config.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        process.write_all(fd, description["config"].encode("utf-8", "surrogatepass"))
    finally:
        os.close(fd)
    child = os.fork()
    if child == 0:
        _become_runtime(description, name, output, handed, cores)
    if _wait(child, START_SECONDS) != 0:
        said = _said(f"{folder}/log")
        remove(runtime, description["folder"], name)
        raise StartError(f"The container could not be started: {said}"[:400])
    with open(f"{folder}/pid", encoding="ascii") as file:
        return int(file.read())


def _become_runtime(
    description: dict[str, str], name: str, output: int, handed: list[bytes], cores: list[int]
) -> None:
    """The new process. Never returns."""
    folder = f"{description['folder']}/{name}"
    try:
        for number in process.ALL_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        if cores:
            os.sched_setaffinity(0, cores)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _mount_image(description)
        asked = [
            description["runtime"], "--root", f"{description['folder']}/{STATE}",
            "--log", f"{folder}/log", "--log-format", "json",
            "run", "--detach", "--bundle", folder, "--pid-file", f"{folder}/pid",
        ]  # fmt: skip
        if handed:
            _hand_over(handed)
            asked += ["--preserve-fds", str(len(handed))]
        os.execve(description["runtime"], [*asked, name], {"PATH": os.defpath})  # noqa: S606
    except OSError as error:
        with open(f"{folder}/log", "w", encoding="utf-8") as log:
            log.write(json.dumps({"msg": error.strerror if error.filename is None else str(error)}))
    finally:
        os._exit(1)


def _hand_over(handed: list[bytes]) -> None:
    """Each is a file in memory, at its descriptor. They are made out of the way first: one must not lie where another
    goes."""
    beyond = _FIRST_FD + len(handed)
    made = [fcntl.fcntl(process.memory_file(one), fcntl.F_DUPFD_CLOEXEC, beyond) for one in handed]
    for number, fd in enumerate(made, _FIRST_FD):
        os.dup2(fd, number)


def _mount_image(description: dict[str, str]) -> None:
    """From here on this process, and what it becomes, has the image at `ROOT`/`MERGED`. Raises `OSError`."""
    root = f"{description['folder']}/{ROOT}"
    kernel.private_mounts()
    kernel.mount("none", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, _ABOVE)
    for name in ("upper", "work", MERGED):
        os.mkdir(f"{root}/{name}", 0o755)
    os.chdir(description["layers_dir"])
    layers = f"lowerdir={description['layers']},upperdir={root}/upper,workdir={root}/work"
    kernel.mount("overlay", f"{root}/{MERGED}", "overlay", kernel.MS_NOSUID | kernel.MS_NODEV, layers)
    os.chdir("/")
    if not os.path.lexists(f"{root}/{MERGED}/bin/sh"):
        raise OSError(0, "the image has no /bin/sh, by which commands are run")


def _wait(pid: int, seconds: float) -> int:
    """The exit code of a child; it is ended, and 137, when it takes longer."""
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(seconds * 1000):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF
    finally:
        os.close(handle)


def _said(path: str) -> str:
    """The last of what the runtime wrote into its log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(64 * 1024).splitlines()
    except FileNotFoundError:
        return "the runtime ended without a word"
    for line in reversed(lines):
        try:
            said = str(json.loads(line)["msg"])
        except (ValueError, KeyError, TypeError):
            continue
        return said
    return "the runtime ended without a word"


def _pin(pid: int, cores: list[int]) -> None:
    """As before its start: newer runtimes give a container every core."""
    try:
        os.sched_setaffinity(pid, cores)
    except ProcessLookupError:
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass


def try_out(description: dict[str, str], name: str) -> str:
    """Run the container to its end, in this process. Empty when it ended with 0, else what went wrong."""
    kernel.become_subreaper()
    try:
        pid = _run(description, name, output=2, handed=[], cores=[])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except (StartError, OSError) as error:
        return str(error)
    finally:
        remove(description["runtime"], description["folder"], name)
    return f"its first process ended with {code}" if code else ""


def main() -> None:
    """For the probe: the description of a container and its name as JSON on standard input; its fate on the output."""
    description, name = json.load(sys.stdin)
    print(try_out(description, name))
