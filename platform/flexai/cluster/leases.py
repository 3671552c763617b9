"""When a lease is provably over, by law 5. Pure arithmetic on milliseconds.

A node ends a replica by *its* clock at the moment the renewal was sent + lease. The server counts from when it
answered, which is later, and adds a margin for clocks that run at different speeds. A wall clock that jumps proves
nothing: after a jump, as after its own start, the server expires nothing for one whole lease.
"""

from __future__ import annotations

from dataclasses import dataclass

MARGIN_PERCENT = 2
"""Far beyond the drift of any crystal (0.02 %)."""
MARGIN_MS = 5000
"""For a node that was slow to act at its deadline."""
JUMP_MS = 500
"""Wall clock and boot-time clock may drift apart by so much between two looks (a few seconds); more is a jump."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The server's clocks as last looked at, and since when (boot-time clock) they have run together."""

    wall_ms: int
    boot_ms: int
    steady_since_ms: int


def look(before: Watch | None, *, wall_ms: int, boot_ms: int) -> Watch:
    """The watch after one more look; the first look and every jump of the wall clock begin anew."""
    if before is None or boot_ms < before.boot_ms:
        return Watch(wall_ms, boot_ms, boot_ms)
    jumped = abs((wall_ms - before.wall_ms) - (boot_ms - before.boot_ms)) > JUMP_MS
    return Watch(wall_ms, boot_ms, boot_ms if jumped else before.steady_since_ms)


def over_at_ms(*, renewed_ms: int, placed_ms: int, lease_ms: int) -> int:
    """Wall-clock instant from which the lease is over on the node, however its clock runs.

    `renewed_ms` is when the server answered the last renewal. What was placed later than that counts from its
    placement.
    """
    return max(renewed_ms, placed_ms) + lease_ms + -(-lease_ms * MARGIN_PERCENT // 100) + MARGIN_MS


def is_over(watch: Watch, *, renewed_ms: int, placed_ms: int, lease_ms: int | None) -> bool:
    """True when nothing can run under this lease any more. A lease of `never` (None) is never over."""
    if lease_ms is None:
        return False
    if watch.boot_ms - watch.steady_since_ms < lease_ms:
        return False
    return watch.wall_ms >= over_at_ms(renewed_ms=renewed_ms, placed_ms=placed_ms, lease_ms=lease_ms)
