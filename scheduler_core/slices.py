"""Slices of a chip in whole numbers (Q3, Q6): what they hold, what they cost, what they claim.

Every function is pure; milli-chips (1000 = one chip), MiB and millicores.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler_core.model import WHOLE_CHIP


@dataclass(frozen=True, slots=True)
class ResolvedSlice:
    """Both sides of a slice on one chip, and every rounding in a sentence of its own (Q3)."""

    milli: int
    memory: int
    roundings: tuple[str, ...] = ()


def resolve_slice(*, milli: int, memory: int, chip_memory: int, step: int) -> ResolvedSlice:
    """Both sides of a slice on a chip of `chip_memory` MiB, in a pool with this slice step (Q3).

    `milli` alone: memory is milli's share, rounded down. `memory` alone: milli is its share, rounded up to
    the step. Both: as given. Raises ValueError when the slice cannot be one of this chip.
    """
    if milli < 0 or memory < 0 or (milli == 0 and memory == 0):
        raise ValueError("a slice needs milli-chips, chip memory or both, and neither negative")
    if milli > WHOLE_CHIP or memory > chip_memory:
        raise ValueError(
            f"a slice of {milli} milli and {memory} MiB is more than a chip of {chip_memory} MiB"
        )
    if milli and memory:
        return ResolvedSlice(milli, memory)
    if milli:
        share = slice_memory(milli, chip_memory)
        return ResolvedSlice(milli, share, _memory_rounding(milli, share, chip_memory))
    stepped = slice_milli(memory, chip_memory, step)
    return ResolvedSlice(stepped, memory, _milli_rounding(stepped, memory, chip_memory, step))


def slice_memory(milli: int, chip_memory: int) -> int:
    """MiB that go with this share of the chip, rounded down (Q3)."""
    return milli * chip_memory // WHOLE_CHIP


def slice_milli(memory: int, chip_memory: int, step: int) -> int:
    """Milli-chips that go with this memory, rounded up to the step, at most a whole chip (Q3)."""
    return min(WHOLE_CHIP, _up(_share(memory, chip_memory), step))


def charge(milli: int, memory: int, chip_memory: int) -> int:
    """Milli-chips that quota charges for this part of a chip: the larger of its two shares (Q3)."""
    return max(milli, _share(memory, chip_memory))


def host_cpu_claim(milli: int, host_cpu: int) -> int:
    """Millicores of the node that this part of a chip claims, rounded up (Q6)."""
    return -(-milli * host_cpu // WHOLE_CHIP)


def percent(milli: int) -> str:
    """Milli-chips as people say them: 300 is "30 %", 125 is "12.5 %"."""
    whole, tenth = divmod(milli, 10)
    return f"{whole}.{tenth} %" if tenth else f"{whole} %"


def _share(memory: int, chip_memory: int) -> int:
    """Milli-chips' worth of this memory, rounded up; a chip without memory has no share to give."""
    if memory == 0 or chip_memory <= 0:
        return 0
    return -(-memory * WHOLE_CHIP // chip_memory)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _memory_rounding(milli: int, memory: int, chip_memory: int) -> tuple[str, ...]:
    if memory * WHOLE_CHIP == milli * chip_memory:
        return ()
    return (f"{percent(milli)} of a chip with {chip_memory} MiB is {memory} MiB, rounded down.",)


def _milli_rounding(milli: int, memory: int, chip_memory: int, step: int) -> tuple[str, ...]:
    if milli * chip_memory == memory * WHOLE_CHIP:
        return ()
    return (
        f"{memory} MiB of a chip with {chip_memory} MiB takes {percent(milli)} of it, "
        f"rounded up to the pool's step of {percent(step)}.",
    )
