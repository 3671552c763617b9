"""Every place of a large cell in order, once for all needs (P2, P6).

Nodes that are the same but for what is held of them differ in few numbers: how many chips nobody holds, what is free
of a chip that somebody does, and what is left of the host. Sorted by these in the order of P2, the best place for a
need is the first one that has enough; what a node is, the need asks once for all of them.

From the naive version: a sorted list, looked through from its begin. Two departures. The list is a tree, so that one
node can be put elsewhere at the cost of a look; and every branch knows the most that a node in it has of each thing,
so that branches without enough are passed over. The tree is a treap (Seidel and Aragon, 1996), with a fixed hash in
the place of chance: its form decides nothing.

Nodes like no other, whose chips differ, stand on no shelf: each of them is looked at.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from scheduler_core.census import (
    ACCEPTED,
    CHIP_TYPE,
    ENFORCED,
    HOST,
    IN_IMAGE,
    KIND,
    WANTED,
    WANTED_CPU,
    WANTED_HOST_MEMORY,
    WANTED_MEMORY,
    WHOLE,
    may_join,
    sides,
)
from scheduler_core.columns import (
    CHIP_MEMORY,
    CHIPS,
    FREE_CHIP_MEMORY,
    FREE_CPU,
    FREE_MEMORY,
    FREE_MILLI,
    HEALTHY,
    HELD,
    HOST_CPU,
    ID,
    IMAGES,
    LIKE,
    LOG,
    NO_NODE,
    POOL,
    SLICING,
    STEP,
    TYPE,
    UNLIKE,
    UNREADY,
    UNTOUCHED,
    Columns,
    Ints,
)
from scheduler_core.compiled import LONG, compiled
from scheduler_core.model import WHOLE_CHIP
from scheduler_core.seats import ORDER, SCRATCH, before, copy_seat, has_seat, rank_of
from scheduler_core.shape import EXCLUSIVE

MOST_UNLIKE: Final = 512
"""Nodes like no other up to which shelves serve: they are looked at one by one, for every place."""

SPARE_KINDS: Final = 16
"""Kinds of nodes that may come before all shelves are filled anew."""

(
    MILLI_LEFT, MEMORY_LEFT, FRESH, CPU_LEFT, HOST_LEFT, NODE, AT,
    ABOVE, BEFORE, AFTER, WEIGHT, SHELF, MOST_MEMORY, MOST_CPU, MOST_HOST, SHELF_FIELDS,
) = range(16)  # fmt: skip
"""Columns of a place. First what orders it: of a chip that somebody holds its free milli-chips and memory, of a whole
node 0; the node's chips that nobody holds, its host CPU and memory left, its id, and the chip's place. Then the tree:
the place above, the places before and after that it is above of, its weight, and the shelf that it stands on. Then the
most of that branch."""
KEYS: Final = AT + 1

NOWHERE: Final = -1

WHOLE_NODES, HELD_CHIPS, SHELVES_EACH = range(3)
"""The shelves of each kind of node: its nodes, and those of their chips of which somebody holds a part."""


class Shelves:
    """The places of all nodes that have their like, kept in order as rows change."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._built = -1
        self._seen = 0
        self._unlike = 0
        self.arrays: tuple[Any, ...] = ()
        self.tables: tuple[Any, ...] = ()
        """The shelves, how many places stand before the shelves' ends in them, and the rows that are like no other."""

    def serve(self) -> bool:
        """Whether the shelves are as the rows are now. Not where the cell is small or few nodes are alike."""
        columns = self._columns
        if columns.size < LONG:
            return False
        if self._built != columns.built:
            self._list_unlike()
        if self._unlike > MOST_UNLIKE:
            return False
        if self._seen != columns.changes:
            shelves, ends, _ = self.tables
            look = columns.over(put_back)
            look(
                columns.nodes, columns.chips, columns.changed, columns.log, self._seen, columns.changes,
                shelves, ends,
            )  # fmt: skip
            self._seen = columns.changes
        return True

    def follow(self) -> None:
        """Who changed the rows has changed the shelves with them."""
        self._seen = self._columns.changes

    def _list_unlike(self) -> None:
        """What nodes are has changed: some may be like no other now, and there may be new kinds."""
        columns = self._columns
        nodes, chips, *_ = columns.arrays
        there = nodes[:, CHIPS] != NO_NODE
        unlike = np.flatnonzero(there & (nodes[:, LIKE] == UNLIKE))
        self._unlike, self._built = len(unlike), columns.built
        if self._unlike > MOST_UNLIKE:
            return
        ends = len(nodes) * (chips.shape[1] + 1)
        kinds = int(nodes[there, LIKE].max(initial=UNLIKE)) + 1
        shelves = self.arrays[0] if self.arrays and self.arrays[1] == ends else None
        if shelves is None or len(shelves) < ends + SHELVES_EACH * kinds:
            shelves = empty_shelves(ends, 2 * kinds + SPARE_KINDS)
            put_all = columns.over(put_everything)
            put_all(columns.nodes, columns.chips, columns.readable(shelves), ends)
            self._seen = columns.changes
        self.arrays = shelves, ends, np.append(unlike, NOWHERE)
        self.tables = columns.readable(shelves), ends, columns.readable(self.arrays[2])


def empty_shelves(places: int, kinds: int) -> Ints:
    """Room for so many places, and the shelves of so many kinds of node behind them; nothing stands on them."""
    shelves = np.full((places + SHELVES_EACH * kinds, SHELF_FIELDS), NOWHERE, np.int64)
    mixed = np.arange(len(shelves), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    shelves[:, WEIGHT] = (mixed >> np.uint64(2)).astype(np.int64)
    return shelves


# -- the best place -------------------------------------------------------------------------------------------


@compiled
def best_on_shelves(
    nodes: Ints,
    chips: Ints,
    shelves: Ints,
    ends: int,
    unlike: Ints,
    asked: Ints,
    need: int,
    pools: Ints,
    seats: Ints,
) -> bool:
    """Whether any node can take the replica; the best seat then stands first in `seats`."""
    found = False
    stride = chips.shape[1] + 1
    for column in range(ORDER):
        seats[SCRATCH, column] = 0
    for kind in range((len(shelves) - ends) // SHELVES_EACH):
        top = shelves[ends + SHELVES_EACH * kind, BEFORE]
        if top < 0:
            continue
        place = _first_of_kind(nodes, chips, shelves, ends, kind, top // stride, asked, need, pools)
        if place >= 0 and has_seat(nodes, chips, place // stride, asked, need, pools, seats, SCRATCH):
            if not found or before(seats, SCRATCH, 0):
                copy_seat(seats, SCRATCH, 0)
            found = True
    for at in range(len(unlike) - 1):
        if has_seat(nodes, chips, unlike[at], asked, need, pools, seats, SCRATCH):
            if not found or before(seats, SCRATCH, 0):
                copy_seat(seats, SCRATCH, 0)
            found = True
    return found


@compiled
def _first_of_kind(
    nodes: Ints,
    chips: Ints,
    shelves: Ints,
    ends: int,
    kind: int,
    row: int,
    asked: Ints,
    need: int,
    pools: Ints,
) -> int:
    """The best place on nodes of a kind, of which this row is one."""
    cpu, memory = asked[need, WANTED_CPU], asked[need, WANTED_HOST_MEMORY]
    whole = ends + SHELVES_EACH * kind + WHOLE_NODES
    if rank_of(pools, need, nodes[row, POOL]) < 0 or (asked[need, IN_IMAGE] and not nodes[row, IMAGES]):
        return NOWHERE
    if asked[need, KIND] == HOST:
        return _first(chips, shelves, ends, whole, 0, 0, 0, cpu, memory, asked, need)
    if (
        nodes[row, CHIPS] < 1
        or chips[row, 0, TYPE] != asked[need, CHIP_TYPE]
        or not chips[row, 0, HEALTHY]
        or nodes[row, CHIPS] < asked[need, WANTED]
    ):
        return NOWHERE
    if asked[need, KIND] == WHOLE:
        claim = asked[need, WANTED] * chips[row, 0, HOST_CPU]
        return _first(
            chips, shelves, ends, whole, 0, 0, asked[need, WANTED], cpu + claim, memory, asked, need
        )
    size = chips[row, 0, CHIP_MEMORY]
    if asked[need, WANTED_MEMORY] > size or chips[row, 0, SLICING] < asked[need, ENFORCED]:
        return NOWHERE
    milli, part = sides(size, nodes[row, STEP], asked, need)
    claim = -(-milli * chips[row, 0, HOST_CPU] // WHOLE_CHIP)
    if milli > WHOLE_CHIP or part > size:
        return NOWHERE
    place = NOWHERE
    if asked[need, ACCEPTED] != EXCLUSIVE:
        held = ends + SHELVES_EACH * kind + HELD_CHIPS
        place = _first(chips, shelves, ends, held, milli, part, 0, cpu + claim, memory, asked, need)
    if place < 0:
        place = _first(chips, shelves, ends, whole, 0, 0, 1, cpu + claim, memory, asked, need)
    return place


@compiled
def _first(
    chips: Ints,
    shelves: Ints,
    ends: int,
    shelf: int,
    milli: int,
    part: int,
    fresh: int,
    cpu: int,
    memory: int,
    asked: Ints,
    need: int,
) -> int:
    """The first place on the shelf that has so much of everything, and lets the need's tenant in."""
    at, entered = shelves[shelf, BEFORE], True
    while at >= 0:
        if entered:
            if (
                shelves[at, MOST_MEMORY] < part
                or shelves[at, MOST_CPU] < cpu
                or shelves[at, MOST_HOST] < memory
            ):
                at, entered = _behind(shelves, ends, at), False
                continue
            if shelves[at, MILLI_LEFT] < milli or shelves[at, FRESH] < fresh:
                entered = shelves[at, AFTER] >= 0
                at = shelves[at, AFTER] if entered else _behind(shelves, ends, at)
                continue
            if shelves[at, BEFORE] >= 0:
                at = shelves[at, BEFORE]
                continue
        if (
            shelves[at, MEMORY_LEFT] >= part
            and shelves[at, CPU_LEFT] >= cpu
            and shelves[at, HOST_LEFT] >= memory
            and (milli == 0 or _lets_in(chips, at, asked, need))
        ):
            return int(at)
        entered = shelves[at, AFTER] >= 0
        at = shelves[at, AFTER] if entered else _behind(shelves, ends, at)
    return NOWHERE


@compiled
def _behind(shelves: Ints, ends: int, at: int) -> int:
    """The place that comes after everything in this branch; none where it is the last."""
    below, above = at, shelves[at, ABOVE]
    while above < ends and shelves[above, BEFORE] != below:
        below, above = above, shelves[above, ABOVE]
    return int(above) if above < ends else NOWHERE


@compiled
def _lets_in(chips: Ints, at: int, asked: Ints, need: int) -> bool:
    stride = chips.shape[1] + 1
    return bool(may_join(chips, at // stride, at % stride - 1, asked, need))


# -- rows that change -----------------------------------------------------------------------------------------


@compiled
def put_everything(nodes: Ints, chips: Ints, shelves: Ints, ends: int) -> None:
    """Every row stands on the shelves; nothing did."""
    for row in range(len(nodes)):
        put_row(nodes, chips, row, shelves, ends)


@compiled
def put_back(
    nodes: Ints,
    chips: Ints,
    changed: Ints,
    log: Ints,
    seen: int,
    changes: int,
    shelves: Ints,
    ends: int,
) -> None:
    """The rows that changed since then stand where they belong."""
    if changes - seen < LOG:
        for change in range(seen + 1, changes + 1):
            row = log[change % LOG]
            if changed[row] == change:
                put_row(nodes, chips, row, shelves, ends)
    else:
        for row in range(len(nodes)):
            if changed[row] > seen:
                put_row(nodes, chips, row, shelves, ends)


@compiled
def put_row(nodes: Ints, chips: Ints, row: int, shelves: Ints, ends: int) -> None:
    """The row's places stand on the shelves as the row is now."""
    stride = chips.shape[1] + 1
    shelf = NOWHERE
    if nodes[row, CHIPS] >= 0 and not nodes[row, UNREADY] and nodes[row, LIKE] >= 0:
        shelf = ends + SHELVES_EACH * nodes[row, LIKE]
    _put(nodes, row, shelves, ends, row * stride, shelf, 0, 0)
    for at in range(max(nodes[row, CHIPS], 0)):
        free, memory = chips[row, at, FREE_MILLI], chips[row, at, FREE_CHIP_MEMORY]
        held = shelf >= 0 and chips[row, at, HELD] and chips[row, at, HEALTHY] and free > 0
        _put(
            nodes, row, shelves, ends, row * stride + 1 + at, shelf + HELD_CHIPS if held else NOWHERE,
            free, memory,
        )  # fmt: skip
    for at in range(max(nodes[row, CHIPS], 0), stride - 1):
        if shelves[row * stride + 1 + at, SHELF] != NOWHERE:
            _take_off(shelves, ends, row * stride + 1 + at)


@compiled
def _put(
    nodes: Ints, row: int, shelves: Ints, ends: int, place: int, shelf: int, milli: int, memory: int
) -> None:
    """The place stands on this shelf, or on none, with what is left of it."""
    fresh, cpu, host = nodes[row, UNTOUCHED], max(nodes[row, FREE_CPU], 0), max(nodes[row, FREE_MEMORY], 0)
    if shelves[place, SHELF] != NOWHERE:
        if (
            shelves[place, SHELF] == shelf
            and shelves[place, MILLI_LEFT] == milli
            and shelves[place, MEMORY_LEFT] == memory
            and shelves[place, FRESH] == fresh
            and shelves[place, CPU_LEFT] == cpu
            and shelves[place, HOST_LEFT] == host
            and shelves[place, NODE] == nodes[row, ID]
        ):
            return
        _take_off(shelves, ends, place)
    if shelf == NOWHERE:
        return
    shelves[place, MILLI_LEFT], shelves[place, MEMORY_LEFT], shelves[place, FRESH] = milli, memory, fresh
    shelves[place, CPU_LEFT], shelves[place, HOST_LEFT] = cpu, host
    shelves[place, NODE], shelves[place, AT] = nodes[row, ID], place
    _put_on(shelves, ends, place, shelf)


@compiled
def _put_on(shelves: Ints, ends: int, place: int, shelf: int) -> None:
    """The place stands in order on the shelf; it stood on none."""
    shelves[place, SHELF] = shelf
    shelves[place, BEFORE] = shelves[place, AFTER] = NOWHERE
    shelves[place, MOST_MEMORY] = shelves[place, MEMORY_LEFT]
    shelves[place, MOST_CPU] = shelves[place, CPU_LEFT]
    shelves[place, MOST_HOST] = shelves[place, HOST_LEFT]
    above, comes_before = shelf, True
    below = shelves[shelf, BEFORE]
    while below >= 0:
        above, comes_before = below, _comes_before(shelves, place, below)
        shelves[above, MOST_MEMORY] = max(shelves[above, MOST_MEMORY], shelves[place, MEMORY_LEFT])
        shelves[above, MOST_CPU] = max(shelves[above, MOST_CPU], shelves[place, CPU_LEFT])
        shelves[above, MOST_HOST] = max(shelves[above, MOST_HOST], shelves[place, HOST_LEFT])
        below = shelves[above, BEFORE] if comes_before else shelves[above, AFTER]
    shelves[above, BEFORE if comes_before else AFTER] = place
    shelves[place, ABOVE] = above
    while shelves[place, ABOVE] < ends and shelves[shelves[place, ABOVE], WEIGHT] < shelves[place, WEIGHT]:
        _raise(shelves, place)


@compiled
def _take_off(shelves: Ints, ends: int, place: int) -> None:
    """The place stands on no shelf."""
    shelves[place, SHELF] = NOWHERE
    while shelves[place, BEFORE] >= 0 and shelves[place, AFTER] >= 0:
        left, right = shelves[place, BEFORE], shelves[place, AFTER]
        _raise(shelves, left if shelves[left, WEIGHT] > shelves[right, WEIGHT] else right)
    below = max(shelves[place, BEFORE], shelves[place, AFTER])
    above = shelves[place, ABOVE]
    shelves[above, BEFORE if shelves[above, BEFORE] == place else AFTER] = below
    if below >= 0:
        shelves[below, ABOVE] = above
    while above < ends and _sum_up(shelves, above):
        above = shelves[above, ABOVE]


@compiled
def _raise(shelves: Ints, place: int) -> None:
    """The place and the one above it change places; the order stays."""
    above = shelves[place, ABOVE]
    top = shelves[above, ABOVE]
    if shelves[above, BEFORE] == place:
        between = shelves[place, AFTER]
        shelves[above, BEFORE], shelves[place, AFTER] = between, above
    else:
        between = shelves[place, BEFORE]
        shelves[above, AFTER], shelves[place, BEFORE] = between, above
    if between >= 0:
        shelves[between, ABOVE] = above
    shelves[top, BEFORE if shelves[top, BEFORE] == above else AFTER] = place
    shelves[above, ABOVE], shelves[place, ABOVE] = place, top
    _sum_up(shelves, above)
    _sum_up(shelves, place)


@compiled
def _sum_up(shelves: Ints, place: int) -> bool:
    """The most of the branch is so again; whether it was otherwise."""
    memory, cpu, host = shelves[place, MEMORY_LEFT], shelves[place, CPU_LEFT], shelves[place, HOST_LEFT]
    left, right = shelves[place, BEFORE], shelves[place, AFTER]
    if left >= 0:
        memory = max(memory, shelves[left, MOST_MEMORY])
        cpu, host = max(cpu, shelves[left, MOST_CPU]), max(host, shelves[left, MOST_HOST])
    if right >= 0:
        memory = max(memory, shelves[right, MOST_MEMORY])
        cpu, host = max(cpu, shelves[right, MOST_CPU]), max(host, shelves[right, MOST_HOST])
    same = (
        memory == shelves[place, MOST_MEMORY]
        and cpu == shelves[place, MOST_CPU]
        and host == shelves[place, MOST_HOST]
    )
    shelves[place, MOST_MEMORY], shelves[place, MOST_CPU], shelves[place, MOST_HOST] = memory, cpu, host
    return not same


@compiled
def _comes_before(shelves: Ints, one: int, other: int) -> bool:
    for column in range(KEYS):
        if shelves[one, column] != shelves[other, column]:
            return bool(shelves[one, column] < shelves[other, column])
    return False
