"""Every node asked by every filter (P1), in one loop over columns.

In a cell in use hardly two nodes are alike, so that nothing is gained by looking for classes of them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np

from scheduler_core.columns import (
    ACCEPTS,
    CHIP_MEMORY,
    CHIPS,
    CPU,
    FREE_CHIP_MEMORY,
    FREE_CPU,
    FREE_MEMORY,
    FREE_MILLI,
    HEALTH,
    HEALTHY,
    HELD,
    HOLDER,
    HOST_CPU,
    MASKS,
    MEMORY,
    OTHERS_ACCEPT,
    POOL,
    SLICING,
    STEP,
    TYPE,
    TYPES,
    UNREADY,
    Ints,
)
from scheduler_core.compiled import compiled
from scheduler_core.model import WHOLE_CHIP
from scheduler_core.shape import EXCLUSIVE


class Why(IntEnum):
    """The filters in the order they are asked: the first that says no is why a node is rejected (P1).

    Up to `HOST_MEMORY_TOO_SMALL` it could never fit there (F6); from `NOT_READY` on it could, at another
    time.
    """

    OTHER_POOL = 0
    NO_SUCH_CHIPS = 1
    TOO_FEW_CHIPS = 2
    CHIPS_TOO_SMALL = 3
    ISOLATION = 4
    HOST_CPU_TOO_SMALL = 5
    HOST_MEMORY_TOO_SMALL = 6
    NOT_READY = 7
    UNHEALTHY = 8
    BUSY = 9
    HELD_BY_STRANGERS = 10
    CPU_BUSY = 11
    MEMORY_BUSY = 12


(
    _OTHER_POOL, _NO_SUCH_CHIPS, _TOO_FEW, _TOO_SMALL, _ISOLATION, _CPU_SMALL, _MEMORY_SMALL, _NOT_READY,
    _UNHEALTHY, _BUSY, _STRANGERS, _CPU_BUSY, _MEMORY_BUSY, FITS,
) = range(len(Why) + 1)  # fmt: skip
"""The same as plain numbers, which is what is compiled; and last a node that no filter rejects."""

COUNT, MOST, ALSO, MOST_ALSO = range(4)
"""Columns of the counts: how many nodes; the most that one has of what is lacking; the most besides, of those,
and of all."""

WHOLE, SLICE, HOST = range(3)
"""What a need asks for: whole chips, a part of one, the host alone."""


class Asked(NamedTuple):
    """A need in numbers."""

    kind: int
    chip_type: int
    chips: int
    milli: int
    chip_memory: int
    enforced: int
    """The weakest slice class that will do."""
    organization: int
    accepts: int
    cpu: int
    memory: int


Met: TypeAlias = tuple[int, int, int, int]
"""What a need's chips meet on a node: the first filter that rejects it, what it has most of what is lacking and
what besides, and the millicores that the chips would claim (Q6)."""


@compiled
def count_nodes(
    nodes: Ints, chips: Ints, asked: Asked, pools: Ints, counts: Ints, out_of_service: Ints
) -> None:
    """Every node is counted in the row of the first filter that rejects it."""
    bit = 1 << asked.chip_type % MASKS
    for row in range(len(nodes)):
        node = nodes[row]
        if node[CHIPS] < 0:
            continue
        why, most, also = _NO_SUCH_CHIPS, 0, 0
        if len(pools) and not np.any(pools == node[POOL]):
            why = _OTHER_POOL
        elif asked.kind == HOST or node[TYPES] & bit:
            why, most, also = _rejection(node, chips[row], asked)
        if why == _NOT_READY:
            out_of_service[node[UNREADY]] += 1
        told = counts[why]
        told[COUNT] += 1
        told[MOST_ALSO] = max(told[MOST_ALSO], also)
        if told[COUNT] == 1 or most > told[MOST] or (most == told[MOST] and also > told[ALSO]):
            told[MOST], told[ALSO] = most, also


@compiled
def _rejection(node: Ints, chips: Ints, asked: Asked) -> tuple[int, int, int]:
    """The first filter that rejects the node. A request of 0 takes nothing, so it fits even where more is held
    than there is. Of what the host lacks, what is told besides leaves out what is asked for.
    """
    why, most, also, claim = FITS, 0, 0, 0
    if asked.kind == WHOLE:
        why, most, also, claim = _whole_chips(chips[: node[CHIPS]], asked)
    elif asked.kind == SLICE:
        why, most, also, claim = _part_of_one(chips[: node[CHIPS]], node[STEP], asked)
    cpu = asked.cpu + claim
    if why <= _ISOLATION:
        return why, most, also
    if cpu > node[CPU]:
        return _CPU_SMALL, node[CPU], claim
    if asked.memory > node[MEMORY]:
        return _MEMORY_SMALL, node[MEMORY], 0
    if node[UNREADY]:
        return _NOT_READY, 0, 0
    if why == FITS and cpu and cpu > node[FREE_CPU]:
        return _CPU_BUSY, node[FREE_CPU], claim
    if why == FITS and asked.memory and asked.memory > node[FREE_MEMORY]:
        return _MEMORY_BUSY, node[FREE_MEMORY], 0
    return why, most, also


@compiled
def _whole_chips(chips: Ints, asked: Asked) -> Met:
    of_type = healthy = free = 0
    claims = False
    for chip in chips:
        if chip[TYPE] == asked.chip_type:
            of_type += 1
            healthy += chip[HEALTHY]
            free += chip[HEALTHY] * (1 - chip[HELD])
            claims |= chip[HOST_CPU] > 0
    if not of_type:
        return _NO_SUCH_CHIPS, 0, 0, 0
    if of_type < asked.chips:
        return _TOO_FEW, of_type, free, 0
    claim = _claim(chips, asked, free >= asked.chips) if claims else 0
    if healthy < asked.chips:
        return _UNHEALTHY, healthy, free, claim
    if free < asked.chips:
        return _BUSY, free, free, claim
    return FITS, 0, 0, claim


@compiled
def _claim(chips: Ints, asked: Asked, free_ones: bool) -> int:
    """Millicores that the chips claim: the healthiest free ones, or where they are too few the first of all."""
    claim, health, place = 0, 1 << 62, -1
    for _ in range(asked.chips):
        best = -1
        for at in range(len(chips)):
            chip = chips[at]
            if chip[TYPE] != asked.chip_type or (free_ones and (chip[HELD] or not chip[HEALTHY])):
                continue
            here = chip[HEALTH] if free_ones else 0
            later = here < health or (here == health and at > place)
            if later and (best < 0 or (free_ones and here > chips[best][HEALTH])):
                best = at
        health, place = (chips[best][HEALTH] if free_ones else 0), best
        claim += chips[best][HOST_CPU]
    return claim


@compiled
def _part_of_one(chips: Ints, step: int, asked: Asked) -> Met:
    """What the chip meets that comes furthest through the filters; of those that pass, the least claim."""
    why, most, also, claim = _NO_SUCH_CHIPS, 0, 0, 0
    for chip in chips:
        if chip[TYPE] == asked.chip_type:
            its_why, its_most, its_also, its_claim = _part_of(chip, step, asked)
            further = its_why > why or (its_why == why and its_most > most)
            further |= its_why == why and its_most == most and its_also > also
            if further or (its_why == FITS and why == FITS and its_claim < claim):
                why, most, also, claim = its_why, its_most, its_also, its_claim
    return why, most, also, claim


@compiled
def _part_of(chip: Ints, step: int, asked: Asked) -> Met:
    size = chip[CHIP_MEMORY]
    if asked.chip_memory > size:
        return _TOO_SMALL, size, 0, 0
    if chip[SLICING] < asked.enforced:
        return _ISOLATION, 0, 0, 0
    milli, memory = asked.milli, asked.chip_memory
    if not milli:
        share = -(-memory * WHOLE_CHIP // size)
        milli = min(WHOLE_CHIP, -(-share // step) * step)
    if not memory:
        memory = asked.milli * size // WHOLE_CHIP
    claim = -(-milli * chip[HOST_CPU] // WHOLE_CHIP)
    if not chip[HEALTHY]:
        return _UNHEALTHY, 0, 0, claim
    if milli > chip[FREE_MILLI] or memory > chip[FREE_CHIP_MEMORY]:
        return _BUSY, chip[FREE_MILLI], chip[FREE_CHIP_MEMORY], claim
    if not _may_join(chip, asked):
        return _STRANGERS, 0, 0, claim
    return FITS, 0, 0, claim


@compiled
def _may_join(chip: Ints, asked: Asked) -> bool:
    """P4, as `fit.may_join` says it."""
    if not chip[HELD]:
        return True
    if asked.accepts == EXCLUSIVE or chip[ACCEPTS] == EXCLUSIVE:
        return False
    strangers = chip[OTHERS_ACCEPT] if chip[HOLDER] == asked.organization else chip[ACCEPTS]
    return bool(strangers < 0 or chip[SLICING] >= max(strangers, asked.accepts))
