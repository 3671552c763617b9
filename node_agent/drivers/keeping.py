"""What drivers share: chips that keep their index, amounts that change seldom, names of memory sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from node_agent.protocol import ChipInfo

_NOMINAL_GIB = (
    4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 144, 180, 192, 256, 288,
)  # fmt: skip
"""Sizes that the chips are sold as; measured memory is a little more or less."""


def kept(before: Sequence[ChipInfo], found: Iterable[ChipInfo]) -> list[ChipInfo]:
    """The chips that are found, by uuid, each under the index that it had; one that is gone stays, not healthy; a new
    one comes last."""
    new = {chip.uuid: chip for chip in found}
    chips = []
    for known in before:
        chip = new.pop(known.uuid, None)
        chips.append(_gone(known) if chip is None else msgspec.structs.replace(chip, index=known.index))
    for chip in new.values():
        chips.append(msgspec.structs.replace(chip, index=len(chips)))
    return chips


def leading_digit(count: int) -> int:
    """Of the number only its first digit, the others 0: a counter that runs is not news every second."""
    return count - count % 10 ** (len(str(count)) - 1) if count > 0 else 0


def nominal_gib(memory_bytes: int) -> int:
    """The size that a chip with so much memory is sold as."""
    gib = memory_bytes / (1 << 30)
    return min(_NOMINAL_GIB, key=lambda size: abs(size - gib))


def _gone(chip: ChipInfo) -> ChipInfo:
    note = "It is not offered any more: it does not answer, or was divided."
    return msgspec.structs.replace(chip, healthy=False, health_note=note)
