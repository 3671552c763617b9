"""Where one replica would sit best: all nodes in order for a need, at the cost of a look (P2, P4, P6, Q6).

From the naive version: score every node for every need, take the best. One departure. A need remembers the best
few seats that it saw, and a bound that no node outside of them is better than. Before it answers it looks again
at the nodes that changed since it was last asked, which are few. Only when none of its seats is left, and some
may lie beyond the bound, does it look at every node again.

Everything here is compiled where a cell is large, and is the same in plain Python.
"""

from __future__ import annotations

from typing import Final

from scheduler_core.census import (
    CHIP_TYPE,
    FITS,
    HOST,
    IN_IMAGE,
    KIND,
    MILLI,
    NO_POOL,
    SLICE,
    WANTED,
    WANTED_CPU,
    WANTED_HOST_MEMORY,
    WHOLE,
    next_chip,
    part_of,
    sides,
)
from scheduler_core.columns import (
    ALIKE,
    CHIP_MEMORY,
    CHIPS,
    FREE_CHIP_MEMORY,
    FREE_CPU,
    FREE_MEMORY,
    FREE_MILLI,
    HEALTH,
    HEALTHY,
    HELD,
    HOST_CPU,
    ID,
    IMAGES,
    LOG,
    MASKS,
    MOST_FREE,
    POOL,
    STEP,
    TYPE,
    TYPES,
    UNREADY,
    UNTOUCHED,
    Ints,
)
from scheduler_core.compiled import compiled, inlined
from scheduler_core.model import WHOLE_CHIP

KEPT: Final = 256
"""Seats that a need remembers at most. Others fill its best nodes too, ten starts a node: the more it remembers,
the rarer is a look at every node, and the longer takes every other look."""

FLOOR, SCRATCH = -2, -1
"""Rows at the end of a need's table, behind its seats: the bound, and the seat that is being looked at."""
BEHIND: Final = 2

ORDER: Final = 11
"""Leading columns that order seats, less is better: the score, then host CPU and memory left, then the node's id."""

ROW, AS_OF, CHARGE, AT, SHARE, SHARE_MEMORY, SEAT_FIELDS = range(ORDER, ORDER + 7)
"""Columns of a seat after those: its row, and the last change of it that the seat knows; what quota charges; of a
slice its chip's place, milli-chips and MiB."""

COUNT, BOUNDED, SEEN, HEAD_FIELDS = range(4)
"""Of a need: its seats; whether there is a bound; the number of the last change it has seen."""

UNSEEN: Final = -1
"""`SEEN` of a need that was never asked."""


@compiled
def best_seat(
    nodes: Ints,
    chips: Ints,
    changed: Ints,
    log: Ints,
    changes: int,
    asked: Ints,
    pools: Ints,
    seats: Ints,
    head: Ints,
) -> int:
    """The place in `seats` of the best one there is; -1 where no node can take the replica."""
    if head[SEEN] == UNSEEN:
        _look_everywhere(nodes, chips, changed, asked, pools, seats, head)
    else:
        _forget_what_changed(changed, seats, head)
        _look_again(nodes, chips, changed, log, changes, asked, pools, seats, head)
        if head[COUNT] == 0 and head[BOUNDED]:
            _look_everywhere(nodes, chips, changed, asked, pools, seats, head)
    head[SEEN] = changes
    best = -1
    for at in range(head[COUNT]):
        if best < 0 or before(seats, at, best):
            best = at
    return best


@compiled
def seats_on(nodes: Ints, chips: Ints, rows: Ints, asked: Ints, pools: Ints, seats: Ints) -> int:
    """The seats on these rows, at most one each, in the first rows of `seats`; how many there are."""
    count = 0
    for at in range(len(rows)):
        if has_seat(nodes, chips, rows[at], asked, 0, pools, seats, count):
            count += 1
    return count


@compiled
def has_a_seat(nodes: Ints, chips: Ints, row: int, asked: Ints, pools: Ints, seats: Ints) -> bool:
    """Whether there is a seat on this row."""
    return bool(has_seat(nodes, chips, row, asked, 0, pools, seats, SCRATCH))


@compiled
def rows_with_seats(nodes: Ints, chips: Ints, asked: Ints, pools: Ints, seats: Ints, found: Ints) -> int:
    """The rows of all nodes that can take a replica, in front of `found`; how many there are."""
    count = 0
    for row in range(len(nodes)):
        if has_seat(nodes, chips, row, asked, 0, pools, seats, SCRATCH):
            found[count] = row
            count += 1
    return count


@compiled
def chips_of(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, chosen: Ints) -> None:
    """The places of the whole chips that a replica would take: the healthiest that nobody holds."""
    last = -1
    for place in range(asked[need, WANTED]):
        last = next_chip(nodes, chips, row, asked, need, True, last)
        chosen[place] = last


@inlined
def has_seat(
    nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, pools: Ints, seats: Ints, place: int
) -> bool:
    """Whether the node can take a replica; then how it would sit there stands at this place. Columns of the order that
    a kind of need does not use are 0 from the start, and stay so.
    """
    if nodes[row, CHIPS] < 0 or nodes[row, UNREADY] or (asked[need, IN_IMAGE] and not nodes[row, IMAGES]):
        return False
    if asked[need, KIND] == WHOLE and nodes[row, UNTOUCHED] < asked[need, WANTED]:
        return False
    if asked[need, KIND] == SLICE and nodes[row, MOST_FREE] < asked[need, MILLI]:
        return False
    rank = rank_of(pools, need, nodes[row, POOL])
    if rank < 0 or not host_has(nodes, row, asked, need, 0):
        return False
    seats[place, 1], seats[place, ROW], seats[place, CHARGE] = rank, row, 0
    found = True
    if asked[need, KIND] == WHOLE:
        found = _whole_chips(nodes, chips, row, asked, need, seats, place)
    elif asked[need, KIND] == SLICE:
        found = _part_of_one(nodes, chips, row, asked, need, seats, place)
    else:
        seats[place, 2] = nodes[row, UNTOUCHED]
    seats[place, ORDER - 3] = max(nodes[row, FREE_CPU], 0)
    seats[place, ORDER - 2] = max(nodes[row, FREE_MEMORY], 0)
    seats[place, ORDER - 1] = nodes[row, ID]
    return found


@inlined
def before(seats: Ints, one: int, other: int) -> bool:
    """Whether the one seat is better than the other."""
    for column in range(ORDER):
        if seats[one, column] != seats[other, column]:
            return bool(seats[one, column] < seats[other, column])
    return False


@inlined
def rank_of(pools: Ints, need: int, pool: int) -> int:
    """The pool's place among those that are allowed, in order; -1 where it is not. Who allows all prefers none."""
    if pools[need, 0] == NO_POOL:
        return 0
    rank = -1
    for place in range(pools.shape[1] - 1, -1, -1):
        if pools[need, place] == pool:
            rank = place
    return rank


@inlined
def host_has(nodes: Ints, row: int, asked: Ints, need: int, claim: int) -> bool:
    """Who asks for nothing of the host takes nothing of it, even where more is held than there is."""
    cpu, memory = asked[need, WANTED_CPU] + claim, asked[need, WANTED_HOST_MEMORY]
    return bool(
        (cpu == 0 or cpu <= nodes[row, FREE_CPU]) and (memory == 0 or memory <= nodes[row, FREE_MEMORY])
    )


@inlined
def _whole_chips(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, seats: Ints, place: int) -> bool:
    """P2: the healthiest chips → the fewest left → the least of the host claimed."""
    wanted = asked[need, WANTED]
    if not nodes[row, TYPES] & 1 << asked[need, CHIP_TYPE] % MASKS:
        return False
    health = claim = free = 0
    if nodes[row, ALIKE]:
        if chips[row, 0, TYPE] != asked[need, CHIP_TYPE]:
            return False
        free, health, claim = (
            nodes[row, UNTOUCHED],
            chips[row, 0, HEALTH] * wanted,
            chips[row, 0, HOST_CPU] * wanted,
        )
    else:
        for at in range(nodes[row, CHIPS]):
            if (
                chips[row, at, TYPE] == asked[need, CHIP_TYPE]
                and chips[row, at, HEALTHY]
                and not chips[row, at, HELD]
            ):
                free += 1
        if free < wanted:
            return False
        last = -1
        for _ in range(wanted):
            last = next_chip(nodes, chips, row, asked, need, True, last)
            health += chips[row, last, HEALTH]
            claim += chips[row, last, HOST_CPU]
    seats[place, 2], seats[place, 3], seats[place, 4] = -health, free - wanted, claim
    seats[place, CHARGE] = wanted * WHOLE_CHIP
    return bool(host_has(nodes, row, asked, need, claim))


@inlined
def _part_of_one(nodes: Ints, chips: Ints, row: int, asked: Ints, need: int, seats: Ints, place: int) -> bool:
    """P2: the least quota charged → a chip already sliced → its health → the least left of it → the fewest chips
    untouched beside it; of equal chips the first.
    """
    if not nodes[row, TYPES] & 1 << asked[need, CHIP_TYPE] % MASKS:
        return False
    found = False
    for at in range(nodes[row, CHIPS]):
        if chips[row, at, TYPE] != asked[need, CHIP_TYPE] or chips[row, at, FREE_MILLI] <= 0:
            continue
        if asked[need, MILLI] > chips[row, at, FREE_MILLI]:
            continue
        why, _, _, claim = part_of(chips, row, at, nodes[row, STEP], asked, need)
        if why != FITS or not host_has(nodes, row, asked, need, claim):
            continue
        size = chips[row, at, CHIP_MEMORY]
        milli, memory = sides(size, nodes[row, STEP], asked, need)
        cost = max(milli, -(-memory * WHOLE_CHIP // size) if memory and size > 0 else 0)
        left, memory_left = chips[row, at, FREE_MILLI] - milli, chips[row, at, FREE_CHIP_MEMORY] - memory
        fresh, health = 1 - chips[row, at, HELD], -chips[row, at, HEALTH]
        if found and not is_less(seats, place, cost, fresh, health, left, memory_left, claim):
            continue
        found = True
        seats[place, 0], seats[place, 2], seats[place, 3] = cost, fresh, health
        seats[place, 4], seats[place, 5], seats[place, 7] = left, memory_left, claim
        seats[place, CHARGE], seats[place, AT] = cost, at
        seats[place, SHARE], seats[place, SHARE_MEMORY] = milli, memory
    seats[place, 6] = nodes[row, UNTOUCHED]
    return found


@inlined
def is_less(
    seats: Ints, place: int, cost: int, fresh: int, health: int, left: int, memory_left: int, claim: int
) -> bool:
    """Whether a chip of the node is better than the one that stands there."""
    if cost != seats[place, 0]:
        return bool(cost < seats[place, 0])
    if fresh != seats[place, 2]:
        return bool(fresh < seats[place, 2])
    if health != seats[place, 3]:
        return bool(health < seats[place, 3])
    if left != seats[place, 4]:
        return bool(left < seats[place, 4])
    if memory_left != seats[place, 5]:
        return bool(memory_left < seats[place, 5])
    return bool(claim < seats[place, 7])


@compiled
def _look_everywhere(
    nodes: Ints, chips: Ints, changed: Ints, asked: Ints, pools: Ints, seats: Ints, head: Ints
) -> None:
    """The best seats of all nodes are remembered; where there are more, with a bound."""
    head[COUNT] = head[BOUNDED] = 0
    for row in range(len(nodes)):
        _consider(nodes, chips, changed, row, asked, pools, seats, head)


@compiled
def _forget_what_changed(changed: Ints, seats: Ints, head: Ints) -> None:
    """Seats on nodes that changed are not remembered any more."""
    kept = 0
    for at in range(head[COUNT]):
        if changed[seats[at, ROW]] == seats[at, AS_OF]:
            if kept < at:
                copy_seat(seats, at, kept)
            kept += 1
    head[COUNT] = kept


@compiled
def _look_again(
    nodes: Ints,
    chips: Ints,
    changed: Ints,
    log: Ints,
    changes: int,
    asked: Ints,
    pools: Ints,
    seats: Ints,
    head: Ints,
) -> None:
    """The nodes that changed are considered anew."""
    seen = head[SEEN]
    if changes - seen < LOG:
        for change in range(seen + 1, changes + 1):
            row = log[change % LOG]
            if changed[row] == change:
                _consider(nodes, chips, changed, row, asked, pools, seats, head)
    else:
        for row in range(len(nodes)):
            if changed[row] > seen:
                _consider(nodes, chips, changed, row, asked, pools, seats, head)


@compiled
def _consider(
    nodes: Ints, chips: Ints, changed: Ints, row: int, asked: Ints, pools: Ints, seats: Ints, head: Ints
) -> None:
    """The node's seat is remembered if it is among the best; what is then beyond them makes the bound."""
    if asked[0, KIND] != HOST and nodes[row, TYPES] & 1 << asked[0, CHIP_TYPE] % MASKS == 0:
        return
    if not has_seat(nodes, chips, row, asked, 0, pools, seats, SCRATCH):
        return
    if head[BOUNDED] and not before(seats, SCRATCH, FLOOR):
        return
    if head[COUNT] == len(seats) - BEHIND:
        _drop_the_worst(seats, head)
        if not before(seats, SCRATCH, FLOOR):
            return
    seats[SCRATCH, AS_OF] = changed[row]
    copy_seat(seats, SCRATCH, head[COUNT])
    head[COUNT] += 1


@compiled
def _drop_the_worst(seats: Ints, head: Ints) -> None:
    """About a third of the seats is forgotten; the best of those is the bound. Two seats are compared and the better
    one stays, so that some always do.
    """
    kept = head[COUNT]
    bound = kept // 3
    if before(seats, bound, 2 * kept // 3):
        bound = 2 * kept // 3
    copy_seat(seats, bound, FLOOR)
    head[COUNT], head[BOUNDED] = 0, 1
    for at in range(kept):
        if before(seats, at, FLOOR):
            copy_seat(seats, at, head[COUNT])
            head[COUNT] += 1


@inlined
def copy_seat(seats: Ints, source: int, target: int) -> None:
    """The same seat stands at the other place too."""
    for column in range(SEAT_FIELDS):
        seats[target, column] = seats[source, column]
