"""What is lost of each node's value by a replica that sits there, in one loop over columns (P3).

`value` says what a state is worth. Here a node's state is read from its row: what is left of its host, and of its chips
of one type, the most first. States that are equal are valued once: their values are remembered.

Everything here is compiled where a cell is large, and is the same in plain Python.
"""

from __future__ import annotations

from typing import Final

from scheduler_core.census import (
    ACCEPTED,
    CHIP_TYPE,
    FITS,
    HOST,
    KIND,
    MILLI,
    SLICE,
    WANTED,
    WANTED_CPU,
    WANTED_HOST_MEMORY,
    WHOLE,
    part_of,
    sides,
)
from scheduler_core.columns import (
    ACCEPTS,
    CHIP_MEMORY,
    CHIPS,
    FREE_CHIP_MEMORY,
    FREE_CPU,
    FREE_MEMORY,
    FREE_MILLI,
    HEALTH,
    HEALTHY,
    HELD,
    LOG,
    STEP,
    TYPE,
    UNREADY,
    Ints,
)
from scheduler_core.compiled import compiled, inlined
from scheduler_core.model import WHOLE_CHIP
from scheduler_core.seats import (
    AT,
    ORDER,
    ROW,
    SHARE,
    SHARE_MEMORY,
    host_has,
    is_less,
)
from scheduler_core.shape import EXCLUSIVE
from scheduler_core.value import further_use, home_price, homes_on

STREAMS, OF_TYPE, CPU_LEFT, HOST_LEFT, FREE = range(5)
"""A state: by how many streams it is valued, the chips' type, what is left of the host; then what is free of each chip,
the most first, and 0 up to the width of a row."""

NO_TYPE: Final = -1

G_CPU, G_MEMORY, G_CHIPS, G_TYPES, G_SEEN, G_ALIKE, GANG_FIELDS = range(7)
"""Columns of a kind of request for several whole chips: what it asks for, how often it was seen, and how often one with
as many chips."""


# fmt: off
@compiled
def value_seats(
    nodes: Ints, chips: Ints, asked: Ints, seats: Ints, chosen: Ints, losses: Ints, types: Ints, kinds: Ints,
    requests: Ints, least: Ints, gangs: Ints, prices: Ints, keys: Ints, values: Ints, used: Ints, before: Ints,
    after: Ints, scratch: Ints,
) -> None:
# fmt: on
    """For each of the chosen seats, what is lost of its node's value, the homes of gangs included. A slice sits on the
    chip with which least is lost, of those that charge quota the least.
    """
    for which in range(len(chosen)):
        place = chosen[which]
        row = seats[place, ROW]
        of_type = asked[0, CHIP_TYPE]
        if asked[0, KIND] == HOST:
            of_type = chips[row, 0, TYPE] if nodes[row, CHIPS] > 0 else NO_TYPE
        whole = read_state(nodes, chips, row, of_type, types, requests.shape[0], before)
        worth = worth_of(before, kinds, requests, least, keys, values, used, scratch)
        if asked[0, KIND] == SLICE:
            rest, left = _best_chip(
                nodes, chips, asked, seats, place, whole, kinds, requests, least, keys, values, used, before, after,
                scratch,
            )  # fmt: skip
        else:
            left = _without_whole_chips(asked, seats, place, whole, before, after)
            rest = worth_of(after, kinds, requests, least, keys, values, used, scratch)
        losses[place] = worth - rest
        cpu = before[CPU_LEFT] - asked[0, WANTED_CPU] - _claim(asked, seats, place)
        memory = before[HOST_LEFT] - asked[0, WANTED_HOST_MEMORY]
        for gang in range(len(gangs)):
            if prices[gang]:
                had = _homes(before[CPU_LEFT], before[HOST_LEFT], whole, before[OF_TYPE], gangs, gang)
                has = _homes(cpu, memory, left, before[OF_TYPE], gangs, gang)
                losses[place] += prices[gang] * (had - has)


@inlined
def _claim(asked: Ints, seats: Ints, place: int) -> int:
    """Millicores that the seat's chips claim."""
    claim = 0
    if asked[0, KIND] == WHOLE:
        claim = seats[place, 4]
    elif asked[0, KIND] == SLICE:
        claim = seats[place, 7]
    return int(claim)


@compiled
def _without_whole_chips(
    asked: Ints, seats: Ints, place: int, whole: int, before: Ints, after: Ints
) -> int:
    """`after` is the state once the replica holds its whole chips, or no chip; how many are wholly free then."""
    wanted = asked[0, WANTED] if asked[0, KIND] == WHOLE else 0
    for at in range(FREE):
        after[at] = before[at]
    for at in range(FREE, len(before)):
        after[at] = before[at + wanted] if at + wanted < len(before) else 0
    after[CPU_LEFT] -= asked[0, WANTED_CPU] + _claim(asked, seats, place)
    after[HOST_LEFT] -= asked[0, WANTED_HOST_MEMORY]
    return int(whole - wanted)


# fmt: off
@compiled
def _best_chip(
    nodes: Ints, chips: Ints, asked: Ints, seats: Ints, place: int, whole: int, kinds: Ints, requests: Ints,
    least: Ints, keys: Ints, values: Ints, used: Ints, before: Ints, after: Ints, scratch: Ints,
) -> tuple[int, int]:
# fmt: on
    """The slice's seat is the chip with which the node stays worth most; what it is worth then, and how many of its
    chips are wholly free.
    """
    row, best, left, found = seats[place, ROW], 0, whole, False
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] != asked[0, CHIP_TYPE] or chips[row, at, FREE_MILLI] <= 0:
            continue
        if asked[0, MILLI] > chips[row, at, FREE_MILLI]:
            continue
        why, _, _, claim = part_of(chips, row, at, nodes[row, STEP], asked, 0)
        if why != FITS or not host_has(nodes, row, asked, 0, claim):
            continue
        size = chips[row, at, CHIP_MEMORY]
        milli, memory = sides(size, nodes[row, STEP], asked, 0)
        if max(milli, -(-memory * WHOLE_CHIP // size) if memory and size > 0 else 0) != seats[place, 0]:
            continue
        free = free_of(chips, row, at)
        _with_slice(before, after, free, 0 if asked[0, ACCEPTED] == EXCLUSIVE else free - milli)
        after[CPU_LEFT] -= asked[0, WANTED_CPU] + claim
        after[HOST_LEFT] -= asked[0, WANTED_HOST_MEMORY]
        worth = worth_of(after, kinds, requests, least, keys, values, used, scratch)
        if found and worth < best:
            continue
        better = not found or worth > best
        if _sit(chips, row, at, milli, memory, claim, seats, place, better):
            found, best, left = True, worth, whole - (free == WHOLE_CHIP)
    return best, left


# fmt: off
@compiled
def _sit(
    chips: Ints, row: int, at: int, milli: int, memory: int, claim: int, seats: Ints, place: int, better: bool
) -> bool:
# fmt: on
    """The slice's seat is this chip if it is better, or else comes first in P2's order; whether it is."""
    chip_left, memory_left = chips[row, at, FREE_MILLI] - milli, chips[row, at, FREE_CHIP_MEMORY] - memory
    fresh, health = 1 - chips[row, at, HELD], -chips[row, at, HEALTH]
    if not better and not is_less(seats, place, seats[place, 0], fresh, health, chip_left, memory_left, claim):
        return False
    seats[place, 2], seats[place, 3], seats[place, 4] = fresh, health, chip_left
    seats[place, 5], seats[place, 7], seats[place, AT] = memory_left, claim, at
    seats[place, SHARE], seats[place, SHARE_MEMORY] = milli, memory
    return True


@compiled
def least_lost(seats: Ints, chosen: Ints, losses: Ints) -> int:
    """The best of the chosen seats: least charge, best pool, least value lost, then as they were in order."""
    best = chosen[0]
    for which in range(1, len(chosen)):
        if _comes_before(seats, losses, chosen[which], best):
            best = chosen[which]
    return int(best)


@inlined
def _comes_before(seats: Ints, losses: Ints, one: int, other: int) -> bool:
    for column in range(2):
        if seats[one, column] != seats[other, column]:
            return bool(seats[one, column] < seats[other, column])
    if losses[one] != losses[other]:
        return bool(losses[one] < losses[other])
    for column in range(2, ORDER):
        if seats[one, column] != seats[other, column]:
            return bool(seats[one, column] < seats[other, column])
    return False


# -- states ---------------------------------------------------------------------------------------------------


@compiled
def read_state(nodes: Ints, chips: Ints, row: int, of_type: int, types: Ints, streams: int, state: Ints) -> int:
    """The node's state with its chips of this type stands in `state`; how many of them are wholly free."""
    state[STREAMS], state[OF_TYPE] = streams, types[of_type] if of_type >= 0 else NO_TYPE
    state[CPU_LEFT], state[HOST_LEFT] = nodes[row, FREE_CPU], nodes[row, FREE_MEMORY]
    end, whole = FREE, 0
    for at in range(nodes[row, CHIPS]):
        free = free_of(chips, row, at) if chips[row, at, TYPE] == of_type else 0
        if free == 0:
            continue
        whole += free == WHOLE_CHIP
        here = end
        while here > FREE and state[here - 1] < free:
            state[here] = state[here - 1]
            here -= 1
        state[here] = free
        end += 1
    for at in range(end, len(state)):
        state[at] = 0
    return whole


@inlined
def free_of(chips: Ints, row: int, at: int) -> int:
    """What somebody could still have of the chip; nothing beside who has it for himself alone."""
    free = chips[row, at, FREE_MILLI]
    if not chips[row, at, HEALTHY] or free < 0 or (chips[row, at, HELD] and chips[row, at, ACCEPTS] == EXCLUSIVE):
        free = 0
    return int(free)


@compiled
def _with_slice(before: Ints, after: Ints, free: int, remains: int) -> None:
    """`after` is the state in which one chip that had so much free has this left."""
    for at in range(len(before)):
        after[at] = before[at]
    here = FREE
    while after[here] != free:
        here += 1
    while here + 1 < len(after) and after[here + 1] > remains:
        after[here] = after[here + 1]
        here += 1
    after[here] = remains


@compiled
def worth_of(
    state: Ints, kinds: Ints, requests: Ints, least: Ints, keys: Ints, values: Ints, used: Ints, scratch: Ints
) -> int:
    """What the streams get of the state; remembered. When the table is half full, it begins anew."""
    if state[OF_TYPE] < 0 or state[FREE] == 0:
        return 0
    width, places = len(state), len(values)
    mixed = 0
    for i in range(width):
        mixed = ((mixed ^ state[i]) * 0x1E3779B97F4A7C15) & 0x1FFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    place = mixed % places
    while keys[place, 0] != 0:
        same = True
        for i in range(width):
            if keys[place, i] != state[i]:
                same = False
                break
        if same:
            return int(values[place])
        place = (place + 1) % places
    end = FREE
    while end < width and state[end] > 0:
        end += 1
    worth = further_use(
        state[CPU_LEFT], state[HOST_LEFT], state[FREE:end], state[OF_TYPE], kinds, requests, least, scratch
    )
    if 2 * used[0] > places:
        for at in range(places):
            keys[at, 0] = 0
        used[0] = 0
        place = mixed % places
    for i in range(width):
        keys[place, i] = state[i]
    values[place] = worth
    used[0] += 1
    return int(worth)


# -- homes ----------------------------------------------------------------------------------------------------


# fmt: off
@compiled
def count_homes(
    nodes: Ints, chips: Ints, changed: Ints, log: Ints, seen: int, changes: int, types: Ints, gangs: Ints, home: Ints,
    sums: Ints, state: Ints,
) -> None:
# fmt: on
    """Of each node, what is free of its chips and how many homes it has for each gang stand in `home`, and the sums of
    all of them in `sums`; the rows that changed since `seen` are counted anew.
    """
    if seen >= 0 and changes - seen < LOG:
        for change in range(seen + 1, changes + 1):
            row = log[change % LOG]
            if changed[row] == change:
                _count_row(nodes, chips, row, types, gangs, home, sums, state)
    else:
        for row in range(len(nodes)):
            if changed[row] > seen:
                _count_row(nodes, chips, row, types, gangs, home, sums, state)


@compiled
def _count_row(
    nodes: Ints, chips: Ints, row: int, types: Ints, gangs: Ints, home: Ints, sums: Ints, state: Ints
) -> None:
    for which in range(len(sums)):
        sums[which] -= home[row, which]
        home[row, which] = 0
    if nodes[row, CHIPS] < 1 or nodes[row, UNREADY]:
        return
    for at in range(nodes[row, CHIPS]):
        first = True
        for earlier in range(at):
            if chips[row, earlier, TYPE] == chips[row, at, TYPE]:
                first = False
        if first:
            whole = read_state(nodes, chips, row, chips[row, at, TYPE], types, 0, state)
            for free in range(FREE, len(state)):
                home[row, 0] += state[free]
            for gang in range(len(gangs)):
                home[row, 1 + gang] += _homes(
                    state[CPU_LEFT], state[HOST_LEFT], whole, state[OF_TYPE], gangs, gang
                )
    for which in range(len(sums)):
        sums[which] += home[row, which]


@inlined
def _homes(cpu: int, memory: int, whole: int, of_type: int, gangs: Ints, gang: int) -> int:
    count = 0
    if of_type >= 0 and (gangs[gang, G_TYPES] >> of_type) & 1:
        count = homes_on(
            cpu, memory, whole, gangs[gang, G_CPU], gangs[gang, G_MEMORY], gangs[gang, G_CHIPS]
        )
    return max(count, 0)


@compiled
def price_homes(gangs: Ints, sums: Ints, asked: int, streams: int, prices: Ints) -> None:
    """What one of the homes that are left is worth now, for each gang."""
    for gang in range(len(gangs)):
        worth = gangs[gang, G_CHIPS] * WHOLE_CHIP * streams
        prices[gang] = home_price(
            worth, gangs[gang, G_SEEN], gangs[gang, G_ALIKE], sums[0], asked, sums[1 + gang]
        )
