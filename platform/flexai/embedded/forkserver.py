"""The fork server: loads the server's code once, and becomes each process of the platform that runs it.

`python -m flexai.embedded.forkserver LINE`, by the supervisor alone. Loading takes seconds of a core, a fork
milliseconds, and what was loaded is in memory once. It has one thread, no connection and no event loop; what a fork
must not share (the state of `random`) Python renews by itself.

A process that is asked for is forked twice, so that it comes to the supervisor, who is the subreaper, as a child like
any other: it is watched, stopped and told of the supervisor's death like those, and nothing happens to it when the
fork server dies. It says its pid itself, once all of that holds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import django
from celery.app.utils import find_app

LONGEST_REQUEST = 64 * 1024
MOST_DESCRIPTORS = 8
PRELOADED = (
    "celery.apps.worker",
    "celery.beat",
    "celery.concurrency.solo",
    "celery.worker.consumer",
    "flexai.config.asgi",
    "flexai.embedded.bootstrap",
    "flexai.embedded.web",
    "flexai.embedded.worker",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
"""What `django.setup` and Celery's own look at the tasks leave out: each would be loaded by every process anew."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_ARGUMENTS_START, _ARGUMENTS_END = 45, 46
"""Fields of `/proc/PID/stat` behind the name: where the kernel reads the command line."""

Entry = Callable[[Sequence[str]], None]


def main(line: int) -> None:
    """Returns in the processes that were asked for, when what they run returns."""
    gc.disable()  # what it would free leaves holes, in which each process would write on pages that are shared
    _load()
    gc.freeze()
    entry, arguments = _next_life(socket.socket(fileno=line), supervisor=os.getppid())
    gc.enable()
    entry(arguments)


def _load() -> None:
    app = find_app("flexai.config.celery")
    django.setup()
    app.loader.import_default_modules()
    for name in PRELOADED:
        importlib.import_module(name)


def _next_life(line: socket.socket, *, supervisor: int) -> tuple[Entry, list[str]]:
    """Forks for each request, and returns in the new process alone: what it runs, and with which arguments."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(
            line, LONGEST_REQUEST, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            sys.exit("the supervisor has ended")
        parent = _fork_twice()
        if parent:
            line.close()
            return _begin(json.loads(data), descriptors, parent=parent, supervisor=supervisor)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_twice() -> int:
    """In the new process the pid of the one between, which ends at once; here 0. When there is no room for a process
    there is none, and whoever asked hears the descriptors close."""
    try:
        between = os.fork()
    except OSError as error:
        print(f"no process could be made: {error.strerror}", file=sys.stderr)
        return 0
    if between:
        os.waitpid(between, 0)
        return 0
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    return between


def _begin(
    request: dict[str, object], descriptors: list[int], *, parent: int, supervisor: int
) -> tuple[Entry, list[str]]:
    """This is a process like any that the supervisor starts, and the supervisor knows it."""
    line, log, *given = descriptors
    os.setpgid(0, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    while os.getppid() == parent:
        time.sleep(0.001)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != supervisor:
        sys.exit("the supervisor has ended")
    name, entry = str(request["name"]), str(request["entry"])
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    _show_as(" ".join([entry, *arguments]))
    with socket.socket(fileno=line) as whoever_asked:
        whoever_asked.send(str(os.getpid()).encode())
    return pkgutil.resolve_name(entry), [*map(str, given), *arguments]


def _show_as(title: str) -> None:
    """`ps` shows this as the command line, cut to the room that the fork server's own left."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
    room = end - start
    ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)


if __name__ == "__main__":
    main(int(sys.argv[1]))
