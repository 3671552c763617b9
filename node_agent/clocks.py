"""The clocks of a node: wall clock for people and reports, boot-time clock (it counts suspend) for every deadline."""

from __future__ import annotations

import time


def boottime_ms() -> int:
    """Milliseconds since the kernel started, suspend included; never goes back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970, as the node's own clock says."""
    return time.time_ns() // 1_000_000


def boot_id() -> str:
    """The kernel's id of this boot; another value means that no process of before is alive."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
