"""The fork server: a small single-threaded process that has imported only what a shim needs.

A fresh interpreter costs 28 ms; a fork of this process half of one. It takes launches from the agent on its
standard input (each a 4-byte length and an encoded `Launch`) and forks a shim for each. It ends when the agent
or the supervisor goes; the shims go on. It holds the data directory's lock beside the agent, and each shim
holds it until its first move is recorded: a new agent that gets the lock therefore finds on disk every shim
that was ever forked."""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import struct
import sys
import traceback

from node_agent import kernel, launch, shim, visibility
from node_agent.runtimes import process

PRELOADED = (resource,)
"""Imported by `os.wait4` at its first call: better here, once, than in every shim."""
LENGTH = struct.Struct("<I")
_CONTROL = 0
_READ_BYTES = 1 << 20


def main() -> None:
    """Arguments: one JSON object (see `Settings` in `executor`). Returns when the agent closes the control stream."""
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
    _serve(node)


def _settle(settings: dict[str, object]) -> list[str]:
    """Become what every shim inherits. Returns sentences for people about what could not be done."""
    notes = []
    os.umask(0o022)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps shims; each shim resets this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if settings["separate_users"]:
        os.setgroups([])
        needed = [path for path in settings["needed"] if isinstance(path, str)]  # type: ignore[attr-defined]
        try:
            visibility.open_up(needed)
        except OSError as error:
            notes.append(
                f"Jobs cannot reach everything that they need below a closed directory: {error.strerror}."
            )
    kernel.forbid_new_privileges()
    os.chdir(str(settings["data_dir"]))
    return notes


def _serve(node: shim.Node) -> None:
    poll = select.poll()
    poll.register(_CONTROL, select.POLLIN)
    if node.supervisor >= 0:
        poll.register(node.supervisor, 0)
    buffer = bytearray()
    while True:
        for fd, _ in poll.poll():
            if fd == node.supervisor:
                return
            data = os.read(_CONTROL, _READ_BYTES)
            if not data:
                return
            buffer += data
        while len(buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer)
            if len(buffer) < LENGTH.size + length:
                break
            frame = bytes(buffer[LENGTH.size : LENGTH.size + length])
            del buffer[: LENGTH.size + length]
            _fork(frame, node)


def _fork(frame: bytes, node: shim.Node) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        name = os.path.basename(launch.decode(frame).base)
        os.write(node.hints, f"!{name} No process could be made: {error.strerror}\n".encode())
        return
    if pid:
        return
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, _CONTROL)
        os.close(null)
        shim.run(launch.decode(frame), node)
    except BaseException:  # whatever it was: nothing may live on without its shim
        traceback.print_exc()
        process.end_everything()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
