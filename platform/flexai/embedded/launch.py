"""Become another program, one that ends when its parent does. Run with `python -I -S`.

`launch.py PARENT SIGNAL UID GID NEEDED PROGRAM ARGUMENTS…`: takes the user and group (-1: stay), asks the kernel
for SIGNAL at the death of the parent *after* that (a change of user clears the wish), makes sure that the
parent still lives, and becomes the program, under the same pid. NEEDED are folders, divided by colons, that the
user must reach even where they lie behind closed ones. A script, not a `preexec_fn`: forking Python code from a
process with threads can deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Does not return."""
    parent, death_signal, uid, gid = (int(text) for text in arguments[:4])
    needed, program = arguments[4].split(":"), arguments[5:]
    if uid >= 0 and needed != [""]:
        _show(needed)
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)
    os.umask(0o077 if uid >= 0 else 0o022)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the supervisor has ended")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.chdir("/")
    try:
        os.execv(program[0], program)  # noqa: S606 - a shell is not wanted
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error.strerror}")


def _show(needed: list[str]) -> None:
    """These folders can be reached by everybody, in mounts that this process and its program alone see."""
    sys.path += needed
    from node_agent import visibility  # found in one of them

    try:
        visibility.open_up(needed)
    except OSError as error:
        sys.exit(f"it lies behind a closed folder, and mounts are not permitted: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
