"""The few system calls that Python 3.11 does not offer: prctl, timerfd, mount namespaces.

Loaded once in the fork server, before any shim is forked.
"""

from __future__ import annotations

import ctypes
import os

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
CLONE_NEWNS = 0x20000

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLOCK_BOOTTIME = 7
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _TimerSpec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


def become_subreaper() -> None:
    """Orphaned descendants come to this process instead of to init, however they detach themselves."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def forbid_new_privileges() -> None:
    """No process from here on gains privileges by executing a setuid file."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def boottime_timer() -> int:
    """A timer on the boot-time clock, as a file descriptor that becomes readable when it is due."""
    return _check(_libc.timerfd_create(_CLOCK_BOOTTIME, os.O_CLOEXEC | os.O_NONBLOCK), "timerfd_create")


def arm(timer: int, at_ms: int) -> None:
    """Make the timer due at this boot-time instant (at once when it is past); 0 disarms it."""
    spec = _TimerSpec(_Timespec(0, 0), _Timespec(at_ms // 1000, at_ms % 1000 * 1_000_000))
    _check(_libc.timerfd_settime(timer, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None), "timerfd_settime")


def private_mounts() -> None:
    """Mounts made from here on are seen by this process and its children only. Raises `OSError` when not permitted."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises `OSError`."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(result, f"mount {target}")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
