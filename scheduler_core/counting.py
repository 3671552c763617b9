"""Every node asked by every filter (P1), in one loop over columns.

In a cell in use hardly two nodes are alike, so that nothing is gained by looking for classes of them. On most
nodes all chips are of one kind: there a few sums answer for them, which `columns` keeps.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

from scheduler_core.columns import (
    ACCEPTS,
    ALIKE,
    CHIP_MEMORY,
    CHIPS,
    CPU,
    FIRST_UNTOUCHED,
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
    MOST_FREE,
    MOST_FREE_MEMORY,
    OTHERS_ACCEPT,
    POOL,
    SLICING,
    STEP,
    TYPE,
    TYPES,
    UNREADY,
    UNTOUCHED,
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
        if nodes[row, CHIPS] < 0:
            continue
        why, most, also = _NO_SUCH_CHIPS, 0, 0
        if len(pools) and _rank(nodes[row, POOL], pools) < 0:
            why = _OTHER_POOL
        elif asked.kind == HOST or nodes[row, TYPES] & bit:
            why, most, also = _rejection(nodes, chips, row, asked)
        if why == _NOT_READY:
            out_of_service[nodes[row, UNREADY]] += 1
        counts[why, COUNT] += 1
        counts[why, MOST_ALSO] = max(counts[why, MOST_ALSO], also)
        if counts[why, COUNT] == 1 or (most, also) > (counts[why, MOST], counts[why, ALSO]):
            counts[why, MOST], counts[why, ALSO] = most, also


@compiled
def _rank(pool: int, pools: Ints) -> int:
    """The place of the pool among those that are allowed; -1 where it is not."""
    if len(pools) == 0:
        return 0
    for rank in range(len(pools)):
        if pools[rank] == pool:
            return rank
    return -1


@compiled
def _rejection(nodes: Ints, chips: Ints, row: int, asked: Asked) -> tuple[int, int, int]:
    """The first filter that rejects the node. A request of 0 takes nothing, so it fits even where more is held
    than there is. Of what the host lacks, what is told besides leaves out what is asked for.
    """
    why, most, also, claim = FITS, 0, 0, 0
    if asked.kind == WHOLE:
        why, most, also, claim = _whole_chips(nodes, chips, row, asked)
    elif asked.kind == SLICE:
        why, most, also, claim = _part_of_one(nodes, chips, row, asked)
    cpu, memory = asked.cpu + claim, asked.memory
    if why <= _ISOLATION:
        return why, most, also
    if cpu > nodes[row, CPU]:
        return _CPU_SMALL, nodes[row, CPU], claim
    if memory > nodes[row, MEMORY]:
        return _MEMORY_SMALL, nodes[row, MEMORY], 0
    if nodes[row, UNREADY]:
        return _NOT_READY, 0, 0
    if why == FITS and cpu and cpu > nodes[row, FREE_CPU]:
        return _CPU_BUSY, nodes[row, FREE_CPU], claim
    if why == FITS and memory and memory > nodes[row, FREE_MEMORY]:
        return _MEMORY_BUSY, nodes[row, FREE_MEMORY], 0
    return why, most, also


@compiled
def _whole_chips(nodes: Ints, chips: Ints, row: int, asked: Asked) -> Met:
    if nodes[row, ALIKE]:
        return _alike_chips(nodes, chips, row, asked)
    of_type = healthy = free = claims = 0
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] == asked.chip_type:
            of_type += 1
            healthy += chips[row, at, HEALTHY]
            free += chips[row, at, HEALTHY] * (1 - chips[row, at, HELD])
            claims += chips[row, at, HOST_CPU]
    if not of_type:
        return _NO_SUCH_CHIPS, 0, 0, 0
    if of_type < asked.chips:
        return _TOO_FEW, of_type, free, 0
    claim = 0
    if claims:
        claim = _claim_of(nodes, chips, row, asked, free >= asked.chips)
    if healthy < asked.chips:
        return _UNHEALTHY, healthy, free, claim
    if free < asked.chips:
        return _BUSY, free, free, claim
    return FITS, 0, 0, claim


@compiled
def _alike_chips(nodes: Ints, chips: Ints, row: int, asked: Asked) -> Met:
    """The same without a look at each chip."""
    all_of_them, free = nodes[row, CHIPS], nodes[row, UNTOUCHED]
    if chips[row, 0, TYPE] != asked.chip_type:
        return _NO_SUCH_CHIPS, 0, 0, 0
    if all_of_them < asked.chips:
        return _TOO_FEW, all_of_them, free, 0
    claim = chips[row, 0, HOST_CPU] * asked.chips
    if not chips[row, 0, HEALTHY]:
        return _UNHEALTHY, 0, 0, claim
    if free < asked.chips:
        return _BUSY, free, free, claim
    return FITS, 0, 0, claim


@compiled
def _claim_of(nodes: Ints, chips: Ints, row: int, asked: Asked, free_ones: bool) -> int:
    """Millicores that the chips claim: the healthiest free ones, or where they are too few the first of all."""
    claim, last = 0, -1
    for _ in range(asked.chips):
        last = _next_chip(nodes, chips, row, asked, free_ones, last)
        claim += chips[row, last, HOST_CPU]
    return claim


@compiled
def _next_chip(nodes: Ints, chips: Ints, row: int, asked: Asked, free_ones: bool, last: int) -> int:
    """The chip of the type that comes after this one: of free ones the healthiest first, then in order."""
    best = -1
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] != asked.chip_type:
            continue
        if free_ones and (chips[row, at, HELD] or not chips[row, at, HEALTHY]):
            continue
        here = (-chips[row, at, HEALTH] if free_ones else 0, at)
        after = last < 0 or here > (-chips[row, last, HEALTH] if free_ones else 0, last)
        if after and (best < 0 or here < (-chips[row, best, HEALTH] if free_ones else 0, best)):
            best = at
    return best


@compiled
def _part_of_one(nodes: Ints, chips: Ints, row: int, asked: Asked) -> Met:
    """What the chip meets that comes furthest through the filters; of those that pass, the least claim."""
    best = (_NO_SUCH_CHIPS, 0, 0, 0)
    if nodes[row, ALIKE]:
        at = max(nodes[row, FIRST_UNTOUCHED], 0)
        best = _part_of(chips, row, at, nodes[row, STEP], asked)
        if chips[row, at, TYPE] != asked.chip_type:
            return _NO_SUCH_CHIPS, 0, 0, 0
        if best[0] == FITS or best[0] < _BUSY:
            return best
        if nodes[row, UNTOUCHED] == 0 and asked.milli > nodes[row, MOST_FREE]:
            return _BUSY, nodes[row, MOST_FREE], nodes[row, MOST_FREE_MEMORY], best[3]
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] == asked.chip_type:
            met = _part_of(chips, row, at, nodes[row, STEP], asked)
            if met[:3] > best[:3] or (met[0] == best[0] == FITS and met[3] < best[3]):
                best = met
    return best


@compiled
def _part_of(chips: Ints, row: int, at: int, step: int, asked: Asked) -> Met:
    size = chips[row, at, CHIP_MEMORY]
    if asked.chip_memory > size:
        return _TOO_SMALL, size, 0, 0
    if chips[row, at, SLICING] < asked.enforced:
        return _ISOLATION, 0, 0, 0
    milli, memory = _sides(size, step, asked)
    claim = -(-milli * chips[row, at, HOST_CPU] // WHOLE_CHIP) if chips[row, at, HOST_CPU] else 0
    if not chips[row, at, HEALTHY]:
        return _UNHEALTHY, 0, 0, claim
    free, free_memory = chips[row, at, FREE_MILLI], chips[row, at, FREE_CHIP_MEMORY]
    if milli > free or memory > free_memory:
        return _BUSY, free, free_memory, claim
    if not _may_join(chips, row, at, asked):
        return _STRANGERS, 0, 0, claim
    return FITS, 0, 0, claim


@compiled
def _sides(size: int, step: int, asked: Asked) -> tuple[int, int]:
    """The slice's milli-chips and MiB on a chip of this size (Q3), as `fit.sides` says it."""
    milli, memory = asked.milli, asked.chip_memory
    if not milli:
        share = -(-memory * WHOLE_CHIP // size)
        milli = min(WHOLE_CHIP, -(-share // step) * step)
    if not memory:
        memory = asked.milli * size // WHOLE_CHIP
    return milli, memory


@compiled
def _may_join(chips: Ints, row: int, at: int, asked: Asked) -> bool:
    """P4, as `fit.may_join` says it."""
    if not chips[row, at, HELD]:
        return True
    if asked.accepts == EXCLUSIVE or chips[row, at, ACCEPTS] == EXCLUSIVE:
        return False
    strangers = chips[row, at, ACCEPTS]
    if chips[row, at, HOLDER] == asked.organization:
        strangers = chips[row, at, OTHERS_ACCEPT]
    return bool(strangers < 0 or chips[row, at, SLICING] >= max(strangers, asked.accepts))
