"""Right-sizing from what was measured (T5): what the next task of an array asks for, and advice to everybody else.

The naive rule gives the next task what the last one used. One task in two then needs more than it gets. So: the most
that any of several ended tasks held, and a margin; only host memory, of which too little ends a task and does not
merely slow it; and a task that runs out of it after all goes on with what it asked for.

Pure, whole numbers (Q1): MiB, permille, milli-chips, milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scheduler_core.model import WHOLE_CHIP

FEWEST: Final = 3
"""Ended tasks that are measured before others are sized by them."""
MARGIN: Final = 250
"""Permille above the most that was held."""
STEP_MIB: Final = 64
"""Sizes are rounded up to this, so that they stay few (P6)."""
WORTH_IT: Final = 900
"""Permille of what is asked for now; a size above this is not worth a change."""
SHORTEST_LOOK: Final = 600_000
"""Milliseconds that work must have run before its use is worth advice."""
USED_LITTLE: Final = 500
"""Permille: who uses no more of its chips than this is told."""
HELD_LITTLE: Final = 500
"""Permille of the host memory that was asked for."""
SLICE_STEP: Final = 50
"""Milli-chips: advice names slices of these steps."""


def right_size(asked: int, now: int, measured: int, peak: int) -> int | None:
    """The host memory of the array's waiting tasks; None: what they ask for now stands. `asked`: what was submitted;
    `measured`: how many ended tasks are, and `peak` what any of them held at most."""
    if not asked or measured < FEWEST or not peak:
        return None
    size = min(asked, with_margin(peak))
    shrinks = size * 1000 <= now * WORTH_IT
    return size if shrinks or size > now else None


def with_margin(peak: int) -> int:
    """So much and the margin, rounded up to the step."""
    return -(-peak * (1000 + MARGIN) // (1000 * STEP_MIB)) * STEP_MIB


@dataclass(frozen=True, slots=True)
class Used:
    """What one run asked for and used. `chips` and `milli`: of each replica; `use` None: not measured."""

    chips: int
    milli: int
    memory: int
    """Host memory that each replica asked for; 0: no limit."""
    run: int
    use: int | None
    peak: int
    """The most host memory that a replica held; 0: not measured."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A field of the spec, what it could say, and what for: the proof."""

    field: str
    value: str
    sentence: str


def advise(used: Used) -> tuple[Advice, ...]:
    """What the next run of such a job could ask for. Nothing for what ran too short to tell."""
    if used.run < SHORTEST_LOOK:
        return ()
    found = (_advise_chips(used), _advise_memory(used))
    return tuple(one for one in found if one is not None)


def _advise_chips(used: Used) -> Advice | None:
    held = used.chips * WHOLE_CHIP or used.milli
    if used.use is None or not held or used.use > USED_LITTLE:
        return None
    needed = max(1, held * used.use * (1000 + MARGIN) // 1_000_000)
    told = f"used {_percent(used.use)} of {'them' if used.chips > 1 else 'it'} on average"
    if used.chips > 1 and needed > WHOLE_CHIP:
        count = -(-needed // WHOLE_CHIP)
        sentence = f"Each replica had {used.chips} chips and {told}: {count} would do."
        return Advice("resources.accelerators", f"{count}", sentence) if count < used.chips else None
    part = -(-needed // SLICE_STEP) * SLICE_STEP
    if part >= held:
        return None
    value = _fraction(part)
    had = (
        "1 chip"
        if used.chips == 1
        else f"{used.chips} chips"
        if used.chips
        else f"{_fraction(held)} of a chip"
    )
    sentence = f"Each replica had {had} and {told}: `fraction: {value}` would do, if its chip memory fits in that part."
    return Advice("resources.fraction", value, sentence)


def _advise_memory(used: Used) -> Advice | None:
    if not used.memory or not used.peak or used.peak * 1000 > used.memory * HELD_LITTLE:
        return None
    size = with_margin(used.peak)
    if size >= used.memory:
        return None
    asked = f"Each replica asked for {used.memory} MiB and held {used.peak} MiB at most"
    sentence = f"{asked}: `memory: {size}MiB` would do."
    return Advice("resources.memory", f"{size}MiB", sentence)


def _percent(permille: int) -> str:
    return f"{(permille + 5) // 10} %"


def _fraction(milli: int) -> str:
    """Of a chip: 250 is 0.25."""
    return f"0.{milli:03d}".rstrip("0")
