"""Every node asked by every filter (P1), in one loop over columns.

On most nodes all chips are of one kind, and many nodes are the same but for what is held. In a busy cell most of those
have too little free: they are counted by one look at the one that has most, and only the others one by one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

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
    IMAGES,
    LEFT_CPU,
    LEFT_MEMORY,
    LEFT_MOST,
    LEFT_MOST_MEMORY,
    LEFT_OPEN,
    LEFT_UNTOUCHED,
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
from scheduler_core.compiled import compiled, inlined
from scheduler_core.model import WHOLE_CHIP
from scheduler_core.shape import EXCLUSIVE


class Why(IntEnum):
    """The filters in the order they are asked: the first that says no is why a node is rejected (P1).

    Up to `HOST_MEMORY_TOO_SMALL` it could never fit there (F6); from `NOT_READY` on it could, at another
    time.
    """

    OTHER_POOL = 0
    NO_IMAGES = 1
    NO_SUCH_CHIPS = 2
    TOO_FEW_CHIPS = 3
    CHIPS_TOO_SMALL = 4
    ISOLATION = 5
    HOST_CPU_TOO_SMALL = 6
    HOST_MEMORY_TOO_SMALL = 7
    NOT_READY = 8
    UNHEALTHY = 9
    BUSY = 10
    HELD_BY_STRANGERS = 11
    CPU_BUSY = 12
    MEMORY_BUSY = 13


(
    _OTHER_POOL, _NO_IMAGES, _NO_SUCH_CHIPS, _TOO_FEW, _TOO_SMALL, _ISOLATION, _CPU_SMALL, _MEMORY_SMALL, _NOT_READY,
    _UNHEALTHY, _BUSY, _STRANGERS, _CPU_BUSY, _MEMORY_BUSY, FITS,
) = range(len(Why) + 1)  # fmt: skip
"""The same as plain numbers, which is what is compiled; and last a node that no filter rejects."""

COUNT, MOST, ALSO, MOST_ALSO = range(4)
"""Columns of the counts: how many nodes; the most that one has of what is lacking; the most besides, of those,
and of all."""

WHOLE, SLICE, HOST = range(3)
"""What a need asks for: whole chips, a part of one, the host alone."""


(
    KIND, CHIP_TYPE, WANTED, MILLI, WANTED_MEMORY, ENFORCED, ORGANIZATION, ACCEPTED, WANTED_CPU, WANTED_HOST_MEMORY,
    IN_IMAGE, ASKED_FIELDS,
) = range(12)  # fmt: skip
"""Columns of a need: `WHOLE`, `SLICE` or `HOST`; chips, milli-chips and memory of one; the weakest slice class that
will do; who asks, and what isolation it accepts; what it asks of the host; whether it runs in an image."""

LEAST = -(1 << 60)
"""Less than any node has left."""

NO_POOL = -1
"""Ends the pools that a need allows; one that allows all begins with it."""


Met: TypeAlias = tuple[int, int, int, int]
"""What a need's chips meet on a node: the first filter that rejects it, what it has most of what is lacking and
what besides, and the millicores that the chips would claim (Q6)."""


# fmt: off
@compiled
def count_nodes(
    nodes: Ints, chips: Ints, rows: Ints, sets: Ints, left: Ints, asked: Ints, pools: Ints, counts: Ints,
    out_of_service: Ints,
) -> None:
# fmt: on
    """For each need, a row of `asked` and of `pools`, every node is counted by the first filter that rejects it.

    Rows come as `filters.like_by_like` has them. What a node is, all of a set answer alike; and of what is held, those
    with too little free stand in front, so that the last of them answers for all.
    """
    for need in range(len(asked)):
        for at in range(sets[0]):
            _count(nodes, chips, rows[at], asked, pools, need, 1, 0, counts, out_of_service)
        for which in range(len(sets) - 1):
            first, last = sets[which], sets[which + 1]
            why = _filter(nodes, chips, rows[last - 1], asked, pools, need)[0]
            if why <= _UNHEALTHY:
                _count(
                    nodes, chips, rows[last - 1], asked, pools, need, last - first, 0, counts, out_of_service
                )
                continue
            milli, claim = _asked_of(nodes, chips, rows[first], asked, need)
            begin = _first_with_room(left, first, last, asked, need, milli)
            if begin > first:
                also = left[begin - 1, LEFT_MOST_MEMORY] if asked[need, KIND] == SLICE else 0
                row = rows[begin - 1]
                _count(nodes, chips, row, asked, pools, need, begin - first, also, counts, out_of_service)
            if asked[need, KIND] == SLICE:
                begin = _count_sliced(
                    nodes,
                    chips,
                    rows,
                    left,
                    begin,
                    last,
                    asked,
                    pools,
                    need,
                    milli,
                    claim,
                    counts,
                    out_of_service,
                )
            _count_hosts(left, begin, last, asked, need, claim, counts)


@compiled
def could_take(nodes: Ints, chips: Ints, row: int, asked: Ints, pools: Ints) -> bool:
    """Whether the node could take a replica at some time, whatever is held of it and in service now."""
    return bool(_filter(nodes, chips, row, asked, pools, 0)[0] > _MEMORY_SMALL)


@compiled
def _asked_of(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int) -> tuple[int, int]:
    """The milli-chips of a slice on these chips, and the millicores that what is asked for claims (Q3, Q6)."""
    if asked[need, KIND] == HOST:
        return 0, 0
    if asked[need, KIND] == WHOLE:
        return 0, asked[need, WANTED] * chips[row, 0, HOST_CPU]
    milli, _ = sides(chips[row, 0, CHIP_MEMORY], nodes[row, STEP], asked, need)
    return milli, -(-milli * chips[row, 0, HOST_CPU] // WHOLE_CHIP)


@compiled
def _first_with_room(left: Ints, first: int, last: int, asked: Ints, need: int, milli: int) -> int:
    """Where in this set those end whose chips have too little free, whatever else they have."""
    if asked[need, KIND] == HOST:
        return first
    wanted, column = (
        (milli, LEFT_MOST) if asked[need, KIND] == SLICE else (asked[need, WANTED], LEFT_UNTOUCHED)
    )
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if left[middle, column] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _count_sliced(
    nodes: Ints,
    chips: Ints,
    rows: Ints,
    left: Ints,
    begin: int,
    last: int,
    asked: Ints,
    pools: Ints,
    need: int,
    milli: int,
    claim: int,
    counts: Ints,
    out_of_service: Ints,
) -> int:
    """Nodes with enough milli-chips free of one chip, but no chip that nobody holds: where the freest one lets the need
    in, by their hosts, the others one by one. Where they end.
    """
    row = rows[begin] if begin < last else 0
    memory = sides(chips[row, 0, CHIP_MEMORY], nodes[row, STEP], asked, need)[1] if begin < last else 0
    lets_in = begin < last and asked[need, ACCEPTED] <= chips[row, 0, SLICING]
    lets_in = lets_in and asked[need, ACCEPTED] != EXCLUSIVE
    at = begin
    while at < last and left[at, LEFT_UNTOUCHED] == 0:
        first = at
        while at < last and left[at, LEFT_UNTOUCHED] == 0 and lets_in and left[at, LEFT_OPEN] >= memory:
            at += 1
        if at > first:
            _count_hosts(left, first, at, asked, need, claim, counts)
        else:
            _count(nodes, chips, rows[at], asked, pools, need, 1, 0, counts, out_of_service)
            at += 1
    return at


@compiled
def _count_hosts(left: Ints, begin: int, end: int, asked: Ints, need: int, claim: int, counts: Ints) -> None:
    """Nodes whose chips will do are counted by their hosts."""
    cpu, memory = asked[need, WANTED_CPU] + claim, asked[need, WANTED_HOST_MEMORY]
    fits = short_of_cpu = short_of_memory = 0
    most_cpu = most_memory = LEAST
    for at in range(begin, end):
        if cpu and cpu > left[at, LEFT_CPU]:
            short_of_cpu += 1
            most_cpu = max(most_cpu, left[at, LEFT_CPU])
        elif memory and memory > left[at, LEFT_MEMORY]:
            short_of_memory += 1
            most_memory = max(most_memory, left[at, LEFT_MEMORY])
        else:
            fits += 1
    _add(counts, need, FITS, fits, 0, 0, 0)
    _add(counts, need, _CPU_BUSY, short_of_cpu, most_cpu, claim, claim)
    _add(counts, need, _MEMORY_BUSY, short_of_memory, most_memory, 0, 0)


@inlined
def _add(counts: Ints, need: int, why: int, count: int, most: int, also: int, most_also: int) -> None:
    """So many more nodes are rejected for this; one of them has most of what is lacking, with this besides."""
    if count:
        before = counts[need, why, MOST]
        if (
            counts[need, why, COUNT] == 0
            or most > before
            or (most == before and also > counts[need, why, ALSO])
        ):
            counts[need, why, MOST], counts[need, why, ALSO] = most, also
        counts[need, why, COUNT] += count
        counts[need, why, MOST_ALSO] = max(counts[need, why, MOST_ALSO], most_also)


@compiled
def _count(
    nodes: Ints,
    chips: Ints,
    row: int,
    asked: Ints,
    pools: Ints,
    need: int,
    count: int,
    most_also: int,
    counts: Ints,
    out_of_service: Ints,
) -> None:
    """So many nodes are rejected as this one is; each of them has at most `most_also` besides."""
    why, most, also = _filter(nodes, chips, row, asked, pools, need)
    if why == _NOT_READY:
        out_of_service[need, nodes[row, UNREADY]] += count
    _add(counts, need, why, count, most, also, max(also, most_also))


@compiled
def _filter(nodes: Ints, chips: Ints, row: int, asked: Ints, pools: Ints, need: int) -> tuple[int, int, int]:
    """The first filter that rejects the node, what it has most of what is lacking, and what besides."""
    if not _allows(pools, need, nodes[row, POOL]):
        return _OTHER_POOL, 0, 0
    if asked[need, IN_IMAGE] and not nodes[row, IMAGES]:
        return _NO_IMAGES, 0, 0
    if asked[need, KIND] != HOST and not nodes[row, TYPES] & 1 << asked[need, CHIP_TYPE] % MASKS:
        return _NO_SUCH_CHIPS, 0, 0
    return _rejection(nodes, chips, row, asked, need)


@inlined
def _allows(pools: Ints, need: int, pool: int) -> bool:
    allowed = pools[need, 0] == NO_POOL
    for place in range(pools.shape[1]):
        allowed |= pools[need, place] == pool
    return bool(allowed)


@inlined
def _rejection(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int) -> tuple[int, int, int]:
    """The first filter that rejects the node. A request of 0 takes nothing, so it fits even where more is held
    than there is. Of what the host lacks, what is told besides leaves out what is asked for.
    """
    why, most, also, claim = FITS, 0, 0, 0
    if asked[need, KIND] == WHOLE:
        why, most, also, claim = _whole_chips(nodes, chips, row, asked, need)
    elif asked[need, KIND] == SLICE:
        why, most, also, claim = _part_of_one(nodes, chips, row, asked, need)
    cpu, memory = asked[need, WANTED_CPU] + claim, asked[need, WANTED_HOST_MEMORY]
    if why <= _ISOLATION:
        return why, most, 0 if why == _TOO_FEW and nodes[row, UNREADY] else also
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


@inlined
def _whole_chips(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int) -> Met:
    if nodes[row, ALIKE]:
        return _alike_chips(nodes, chips, row, asked, need)
    of_type = healthy = free = claims = 0
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] == asked[need, CHIP_TYPE]:
            of_type += 1
            healthy += chips[row, at, HEALTHY]
            free += chips[row, at, HEALTHY] * (1 - chips[row, at, HELD])
            claims += chips[row, at, HOST_CPU]
    if not of_type:
        return _NO_SUCH_CHIPS, 0, 0, 0
    if of_type < asked[need, WANTED]:
        return _TOO_FEW, of_type, free, 0
    claim = 0
    if claims:
        claim = _claim_of(nodes, chips, row, asked, need, free >= asked[need, WANTED])
    if healthy < asked[need, WANTED]:
        return _UNHEALTHY, healthy, free, claim
    if free < asked[need, WANTED]:
        return _BUSY, free, free, claim
    return FITS, 0, 0, claim


@inlined
def _alike_chips(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int) -> Met:
    """The same without a look at each chip."""
    all_of_them, free = nodes[row, CHIPS], nodes[row, UNTOUCHED]
    if chips[row, 0, TYPE] != asked[need, CHIP_TYPE]:
        return _NO_SUCH_CHIPS, 0, 0, 0
    if all_of_them < asked[need, WANTED]:
        return _TOO_FEW, all_of_them, free, 0
    claim = chips[row, 0, HOST_CPU] * asked[need, WANTED]
    if not chips[row, 0, HEALTHY]:
        return _UNHEALTHY, 0, 0, claim
    if free < asked[need, WANTED]:
        return _BUSY, free, free, claim
    return FITS, 0, 0, claim


@compiled
def _claim_of(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, free_ones: bool) -> int:
    """Millicores that the chips claim: the healthiest free ones, or where they are too few the first of all."""
    claim, last = 0, -1
    for _ in range(asked[need, WANTED]):
        last = next_chip(nodes, chips, row, asked, need, free_ones, last)
        claim += chips[row, last, HOST_CPU]
    return claim


@compiled
def next_chip(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, free_ones: bool, last: int) -> int:
    """The chip of the type that comes after this one: of free ones the healthiest first, then in order."""
    best = -1
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] != asked[need, CHIP_TYPE]:
            continue
        if free_ones and (chips[row, at, HELD] or not chips[row, at, HEALTHY]):
            continue
        here = (-chips[row, at, HEALTH] if free_ones else 0, at)
        after = last < 0 or here > (-chips[row, last, HEALTH] if free_ones else 0, last)
        if after and (best < 0 or here < (-chips[row, best, HEALTH] if free_ones else 0, best)):
            best = at
    return best


@inlined
def _part_of_one(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int) -> Met:
    """What the chip meets that comes furthest through the filters; of those that pass, the least claim."""
    best = (_NO_SUCH_CHIPS, 0, 0, 0)
    if nodes[row, ALIKE] and chips[row, 0, TYPE] != asked[need, CHIP_TYPE]:
        return best
    if nodes[row, ALIKE]:
        at = max(nodes[row, FIRST_UNTOUCHED], 0)
        best = part_of(chips, row, at, nodes[row, STEP], asked, need)
        if best[0] == FITS or best[0] < _BUSY:
            return best
        if nodes[row, UNTOUCHED] == 0 and asked[need, MILLI] > nodes[row, MOST_FREE]:
            return _BUSY, nodes[row, MOST_FREE], nodes[row, MOST_FREE_MEMORY], best[3]
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] == asked[need, CHIP_TYPE]:
            met = part_of(chips, row, at, nodes[row, STEP], asked, need)
            if met[:3] > best[:3] or (met[0] == best[0] == FITS and met[3] < best[3]):
                best = met
    return best


@compiled
def part_of(chips: Ints, row: int, at: int, step: int, asked: Ints, need: int) -> Met:
    size = chips[row, at, CHIP_MEMORY]
    if asked[need, WANTED_MEMORY] > size:
        return _TOO_SMALL, size, 0, 0
    if chips[row, at, SLICING] < asked[need, ENFORCED]:
        return _ISOLATION, 0, 0, 0
    milli, memory = sides(size, step, asked, need)
    claim = -(-milli * chips[row, at, HOST_CPU] // WHOLE_CHIP) if chips[row, at, HOST_CPU] else 0
    if not chips[row, at, HEALTHY]:
        return _UNHEALTHY, 0, 0, claim
    free, free_memory = chips[row, at, FREE_MILLI], chips[row, at, FREE_CHIP_MEMORY]
    if milli > free or memory > free_memory:
        return _BUSY, free, free_memory, claim
    if not may_join(chips, row, at, asked, need):
        return _STRANGERS, 0, 0, claim
    return FITS, 0, 0, claim


@inlined
def sides(size: int, step: int, asked: Ints, need: int) -> tuple[int, int]:
    """The slice's milli-chips and MiB on a chip of this size (Q3), as `fit.sides` says it."""
    milli, memory = asked[need, MILLI], asked[need, WANTED_MEMORY]
    if not milli:
        share = -(-memory * WHOLE_CHIP // size)
        milli = min(WHOLE_CHIP, -(-share // step) * step)
    if not memory:
        memory = asked[need, MILLI] * size // WHOLE_CHIP
    return milli, memory


@inlined
def may_join(chips: Ints, row: int, at: int, asked: Ints, need: int) -> bool:
    """P4, as `fit.may_join` says it."""
    if not chips[row, at, HELD]:
        return True
    if asked[need, ACCEPTED] == EXCLUSIVE or chips[row, at, ACCEPTS] == EXCLUSIVE:
        return False
    strangers = chips[row, at, ACCEPTS]
    if chips[row, at, HOLDER] == asked[need, ORGANIZATION]:
        strangers = chips[row, at, OTHERS_ACCEPT]
    return bool(strangers < 0 or chips[row, at, SLICING] >= max(strangers, asked[need, ACCEPTED]))
