"""What every node has left, in whole numbers: a node is a row, a chip a place in it.

These columns are the books: what is held is counted here, and nowhere else. A node as an object (`shape`) is made
of its row where somebody reads it. Compiled loops read and change the rows, so that a placement costs no object.
Chips stand in a row by index, then by id. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler_core.compiled import LONG, Arguments, Loop, Result, compiled, readable
from scheduler_core.model import WHOLE_CHIP, Chip, Id, Node, Placement
from scheduler_core.shape import EXCLUSIVE, Build, ChipState, Frames, NodeState, Tenant, as_new

Ints: TypeAlias = NDArray[np.int64]

Held: TypeAlias = Mapping[Tenant, int]
"""Who holds parts of a chip, each with the number of its shares."""

(
    TYPE, HEALTHY, HEALTH, CHIP_MEMORY, HOST_CPU, SLICING, FREE_MILLI, FREE_CHIP_MEMORY,
    HELD, HOLDER, ACCEPTS, OTHERS_ACCEPT, CHIP_FIELDS,
) = range(13)  # fmt: skip
"""Columns of a chip. Of those who hold it: the organization of the one that accepts least beside it, how
strong an isolation that one wants, and how strong a one the holders from other organizations want."""

(
    ID, POOL, STEP, UNREADY, CPU, MEMORY, FREE_CPU, FREE_MEMORY, CHIPS, TYPES, ALIKE,
    UNTOUCHED, FIRST_UNTOUCHED, MOST_FREE, MOST_FREE_MEMORY, OPEN, LIKE, IMAGES, NODE_FIELDS,
) = range(19)  # fmt: skip
"""Columns of a node. `UNREADY` is 0 where it is ready, else why not, by number; `TYPES` marks which chip types
it may have, a bit each; `CHIPS` is `NO_NODE` where there is no node. Whether it has chips and all are of one kind;
how many healthy ones nobody holds, and the place of the first of these or -1; the most milli-chips and memory that
one has free, and the same memory where that chip is held and lets in whoever accepts what it enforces, else -1;
a number that it shares with nodes which are the same but for what is held, or `UNLIKE`; whether it runs images."""

LEFT_UNTOUCHED, LEFT_MOST, LEFT_CPU, LEFT_MEMORY, LEFT_MOST_MEMORY, LEFT_OPEN, LEFT_FIELDS = range(7)
"""Columns of what is left, row by row: chips that nobody holds; the most milli-chips that one chip has free; host CPU
and memory; the most memory that one chip has free, of this node and those before it; `OPEN`."""

NO_NODE: Final = -1
UNLIKE: Final = -1
"""Of a node whose chips differ, or that has none."""
NOBODY: Final = -1
NO_HOLDERS: Final[Held] = {}
MASKS: Final = 62
"""Types that have a bit of their own; further ones share."""

LOG: Final = 4096
"""The last so many changes are known one by one; who has missed more looks at every row for when it changed."""


@dataclass(slots=True)
class Saved:
    """Rows as they were before a loop changed them, and who held their chips."""

    rows: Ints
    nodes: Ints
    chips: Ints
    held: list[Id] = field(default_factory=list)  # chips of which somebody then had a part more, some again
    holders: list[Held | None] = field(default_factory=list)  # who had parts of each before


class Columns:
    """Every node of a cell as a row."""

    def __init__(self, nodes: int, machine_from: int = LONG) -> None:
        """`machine_from`: so many rows are looked at by machine code, fewer by plain loops; they find the same."""
        self._machine_from = machine_from
        self._node_array: Ints
        self._chip_array: Ints
        self._changed_array: Ints
        self.states: Mapping[Id, NodeState] = _States(self)
        """Every node as an object, as it is now."""
        self.changes = 0
        """Changes so far: the number of the last one."""
        self.built = 0
        """Changes of what nodes are, whatever is held of them."""
        self.changed: Any
        """For each row the number of its last change."""
        self.log: Any
        """The rows of the last `LOG` changes."""
        self.nodes: Any
        self.chips: Any
        self.rows: dict[Id, int] = {}
        """The row of each node."""
        self.chip_ids: list[list[Id]] = []
        """For each row the ids of its chips."""
        self.ids_of_chips: Ints  # the same as a table
        self.chip_memories: list[list[int]] = []
        """For each row the MiB of its chips."""
        self.ids: list[Id] = []
        """For each row the node."""
        self._free: list[int] = []
        self.places: dict[Id, tuple[int, int]] = {}
        """The row and the place of each chip."""
        self._which: list[list[tuple[int, Id]]] = []
        """For each row the indices and ids of its chips."""
        self._untouched: list[list[ChipState]] = []
        """For each row its chips as they are when nobody holds them."""
        self._holders: dict[Id, Held] = {}
        """Who holds parts of a chip, each with the number of its shares; where anybody does. Never changed in place, so
        that many chips share one and what was there before can be put back."""
        self._alone: dict[Tenant, Held] = {}  # of each tenant one share of a chip that nobody else holds
        self._type_codes: dict[str, int] = {}
        self._unready_codes: dict[str, int] = {}
        self._like_codes: dict[tuple[Any, ...], int] = {}
        self._frames = Frames()
        self._made: dict[Id, NodeState] = {}
        self._log_array = np.zeros(LOG, np.int64)
        self._grow(max(nodes, 1), 1)

    @property
    def size(self) -> int:
        """Rows there are, with a node or without."""
        return len(self.ids)

    def numbers(self) -> tuple[Ints, int]:
        """The rows of the nodes as an array, and how many chips a row has room for."""
        return self._node_array, self._chip_array.shape[1]

    @property
    def arrays(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Nodes, chips, changes and log as arrays, whatever the size of the cell."""
        return self._node_array, self._chip_array, self._changed_array, self._log_array

    def note_stretch(
        self, changes: int, saved: Saved, chips: Sequence[Id], tenants: Sequence[Tenant]
    ) -> None:
        """A loop has changed these rows, up to this change: of each of these chips this tenant holds a part more."""
        self.changes = changes
        if self._made:
            for row in saved.rows.tolist():
                self._made.pop(self.ids[row], None)
        holders, alone = self._holders, {by: self._only(by) for by in dict.fromkeys(tenants)}
        saved.held = list(chips)
        for chip, by in zip(chips, tenants, strict=True):
            old = holders.get(chip)
            saved.holders.append(old)
            holders[chip] = alone[by] if old is None else {**old, by: old.get(by, 0) + 1}

    def restore(self, saved: Saved) -> None:
        """The rows are as they were saved."""
        for chip, old in zip(reversed(saved.held), reversed(saved.holders), strict=True):
            if old is None:
                del self._holders[chip]
            else:
                self._holders[chip] = old
        self._node_array[saved.rows] = saved.nodes
        self._chip_array[saved.rows] = saved.chips
        self.note_changes(saved.rows.tolist())

    def readable(self, table: Ints) -> Any:
        """Another table as loops over the cell's rows read it."""
        return table if self.by_machine else readable(table)

    @property
    def by_machine(self) -> bool:
        """Whether loops over the rows run as machine code."""
        return len(self.ids) >= self._machine_from

    def over(self, loop: Loop[Arguments, Result]) -> Callable[Arguments, Result]:
        """The loop for tables of this cell, which it is given as `readable`."""
        return loop.machine if self.by_machine else loop.plain

    def list_node(self, node: Node, slice_step: int, chips: Iterable[Chip]) -> None:
        """The node is so, and nobody holds anything of it."""
        row = self.rows.get(node.id)
        if row is None:
            row = self._new_row(node.id)
        for old in self.chip_ids[row]:
            self._unlist(old, row)
        ordered = sorted(chips, key=lambda chip: (chip.index, chip.id))
        if len(ordered) > self._chip_array.shape[1]:
            self._grow(len(self._node_array), len(ordered))
        self.chip_ids[row] = [chip.id for chip in ordered]
        self.chip_memories[row] = [chip.memory for chip in ordered]
        self.ids_of_chips[row, : len(ordered)] = self.chip_ids[row]
        self._which[row] = [(chip.index, chip.id) for chip in ordered]
        new = self._untouched[row] = [as_new(chip) for chip in ordered]
        self.places |= {chip.id: (row, at) for at, chip in enumerate(ordered)}
        nobody = (0, NOBODY, NOBODY, NOBODY)
        fields = [(self.type_code(chip.type), *map(int, chip[1:8]), *nobody) for chip in new]
        self._chip_array[row, : len(ordered)] = np.array(fields, np.int64).reshape(-1, CHIP_FIELDS)
        types = 0
        for code in {self.type_code(chip.type) for chip in ordered}:
            types |= 1 << code % MASKS
        alike, like = len(set(new)) == 1, UNLIKE
        if alike:
            what = (node.pool, slice_step, node.cpu, node.memory, node.images, new[0], len(new))
            like = self._like_codes.setdefault(what, len(self._like_codes))
        unready = None if node.ready else node.unready_because or "not ready"
        self._node_array[row] = (
            node.id, node.pool, slice_step, self._unready_code(unready), node.cpu, node.memory, node.cpu,
            node.memory, len(ordered), types, int(alike), 0, 0, 0, 0, -1, like, int(node.images),
        )  # fmt: skip
        self.built += 1
        self._settle(row, 0, 0)

    def forget_node(self, node: Id) -> None:
        """There is no such node."""
        row = self.rows.pop(node, None)
        if row is None:
            return
        for chip in self.chip_ids[row]:
            self._unlist(chip, row)
        self.chip_ids[row] = []
        self.built += 1
        self._node_array[row, CHIPS] = NO_NODE
        self._made.pop(node, None)
        self._note_change(row)
        self._free.append(row)

    def move(self, placement: Placement, by: Tenant, sign: int) -> bool:
        """`by` holds this placement, or with -1 no longer; what is left may become negative. Chips that are not
        the node's are left out, and so is a node that is not there. True where more is held then than there is.
        """
        row = self.rows.get(placement.node)
        if row is None:
            return False
        cpu = sign * placement.cpu
        for share in placement.chips:
            where = self.places.get(share.chip)
            if where is not None and where[0] == row:
                held, holder, accepts, others = self.held(share.chip, by, sign)
                cpu += self._put(
                    self.chips, row, where[1], sign, share.milli, share.memory, held, holder, accepts, others
                )
        return self._settle(row, cpu, sign * placement.memory)

    def close(self, node: Id, because: str | None) -> str | None:
        """The node takes nothing new for this reason, or with None it does. Answers what was so before."""
        row = self.rows[node]
        before = self.unready_because(row)
        self._node_array[row, UNREADY] = self._unready_code(because)
        self._made.pop(node, None)
        self._note_change(row)
        return before

    def state(self, node: Id) -> NodeState:
        """The node as an object, as it is now; KeyError where there is none."""
        made = self._made.get(node)
        if made is None:
            made = self._made[node] = self._make(self.rows[node])
        return made

    def host_left(self, node: Id) -> tuple[int, int]:
        """Millicores and MiB of the host that are left; KeyError where there is no such node."""
        row = self.rows[node]
        return int(self.nodes[row, FREE_CPU]), int(self.nodes[row, FREE_MEMORY])

    def hosts_left(self, nodes: Sequence[Id]) -> tuple[Ints, Ints]:
        """The same of many nodes at once."""
        rows = list(map(self.rows.__getitem__, nodes))
        return self._node_array[rows, FREE_CPU], self._node_array[rows, FREE_MEMORY]

    def chips_left(self, chips: Sequence[Id]) -> tuple[Ints, Ints, Ints]:
        """Of each chip the milli-chips and the memory that are left, and how strongly its parts are kept apart."""
        where = chain.from_iterable(map(self.places.__getitem__, chips))
        places = np.fromiter(where, np.int64, 2 * len(chips)).reshape(len(chips), 2)
        left = self._chip_array[places[:, 0], places[:, 1]]
        return left[:, FREE_MILLI], left[:, FREE_CHIP_MEMORY], left[:, SLICING]

    def tenants(self, chip: Id) -> Iterable[Tenant]:
        """Who holds parts of the chip."""
        return self._holders.get(chip, ())

    def anybody_holds(self, chips: Iterable[Id]) -> bool:
        """Whether anybody holds a part of one of these chips."""
        return not self._holders.keys().isdisjoint(chips)

    def untouched(self, node: Id) -> int:
        """How many healthy chips of the node nobody holds; none where there is no such node."""
        row = self.rows.get(node)
        return 0 if row is None else int(self.nodes[row, UNTOUCHED])

    def has_free(self, milli: int, chip_type: str | None) -> bool:
        """Whether nobody holds so many milli-chips of the type, or of any; whole chips come first, mostly enough."""
        nodes, chips = self._node_array, self._chip_array
        fits = chips[:, :, TYPE] == self.type_code(chip_type) if chip_type else chips[:, :, TYPE] >= 0
        alike = (nodes[:, CHIPS] > 0) & (nodes[:, ALIKE] == 1) & fits[:, 0]
        whole = int(nodes[alike, UNTOUCHED].sum()) * WHOLE_CHIP
        return milli <= whole or milli <= int(chips[:, :, FREE_MILLI][fits].clip(0).sum())

    def free_on(self, node: Id, chip_type: str) -> int:
        """Milli-chips of the type that nobody holds on this node; KeyError where there is none."""
        row, code = self.rows[node], self.type_code(chip_type)
        left = self._chip_array[row, : len(self.chip_ids[row])].tolist()
        return sum([max(chip[FREE_MILLI], 0) for chip in left if chip[TYPE] == code])

    def chip(self, chip: Id) -> ChipState:
        """What is left of this chip; KeyError where no node has it."""
        row, at = self.places[chip]
        return self._chip(row, at, self._chip_array[row, at].tolist())

    def type_code(self, chip_type: str) -> int:
        """The number that stands for a chip type."""
        return self._type_codes.setdefault(chip_type, len(self._type_codes))

    def unready(self) -> list[str]:
        """Why nodes are not ready; its place in the list, counted from 1, stands for each."""
        return list(self._unready_codes)

    def unready_because(self, row: int) -> str | None:
        """Why the node of this row takes nothing new; None where it does."""
        code = int(self.nodes[row, UNREADY])
        return None if code == 0 else self.unready()[code - 1]

    # -- objects ------------------------------------------------------------------------------------------

    def _make(self, row: int) -> NodeState:
        _, pool, step, _, cpu, memory, free_cpu, free_memory, *_ = self._node_array[row].tolist()
        images = bool(self._node_array[row, IMAGES])
        build = Build(pool, step, self.unready_because(row), cpu, memory, images)
        left = self._chip_array[row].tolist()
        chips = [(self._chip(row, at, left[at]), which) for at, which in enumerate(self._which[row])]
        chips.sort()
        frame = self._frames.of(build, tuple([state for state, _ in chips]))
        return NodeState(frame, free_cpu, free_memory, tuple([which for _, which in chips]))

    def _chip(self, row: int, at: int, left: list[int]) -> ChipState:
        tenants = self._tenants(self.chip_ids[row][at])
        return ChipState(*self._untouched[row][at][:6], left[FREE_MILLI], left[FREE_CHIP_MEMORY], tenants)

    def _tenants(self, chip: Id) -> tuple[tuple[Tenant, int], ...]:
        holders = self._holders.get(chip)
        return tuple(sorted(holders.items())) if holders else ()

    # -- one way to change a row --------------------------------------------------------------------------

    def held(self, chip: Id, by: Tenant, sign: int) -> tuple[int, int, int, int]:
        """Who holds the chip once `by` has a share more, or less: the columns from `HELD` on."""
        before = self._holders.get(chip, NO_HOLDERS)
        count = before.get(by, 0) + sign
        if not before and count == 1:
            self._holders[chip] = self._only(by)
            return 1, by.organization, by.accepts, NOBODY
        holders = {**before, by: count}
        if not count:
            del holders[by]
        if not holders:
            del self._holders[chip]
            return 0, NOBODY, NOBODY, NOBODY
        self._holders[chip] = holders
        if len(holders) == 1:
            (only,) = holders
            return 1, only.organization, only.accepts, NOBODY
        least = max(holders, key=lambda who: who.accepts)
        others = [who.accepts for who in holders if who.organization != least.organization]
        return 1, least.organization, least.accepts, max(others, default=NOBODY)

    def _only(self, by: Tenant) -> Held:
        alone = self._alone.get(by)
        if alone is None:
            alone = self._alone[by] = {by: 1}
        return alone

    def _settle(self, row: int, cpu: int, memory: int) -> bool:
        """So much less is left of the host; what is kept about all of its chips is so again. Whether more is held
        than there is.
        """
        overdrawn = self._sum_up(self.nodes, self.chips, row, cpu, memory)
        self._made.pop(self.ids[row], None)
        self._note_change(row)
        return overdrawn

    def note_changes(self, rows: Iterable[int]) -> None:
        """A loop has changed these rows."""
        for row in rows:
            self._made.pop(self.ids[row], None)
            self._note_change(row)

    def _note_change(self, row: int) -> None:
        self.changes += 1
        self.log[self.changes % LOG] = row
        self.changed[row] = self.changes

    def _unlist(self, chip: Id, row: int) -> None:
        if self.places.get(chip, (row, 0))[0] == row:
            self.places.pop(chip, None)
            self._holders.pop(chip, None)

    def _unready_code(self, because: str | None) -> int:
        if because is None:
            return 0
        return self._unready_codes.setdefault(because, len(self._unready_codes) + 1)

    # -- room for rows ------------------------------------------------------------------------------------

    def _new_row(self, node: Id) -> int:
        if not self._free:
            self._grow(2 * len(self._node_array), self._chip_array.shape[1])
        row = self.rows[node] = self._free.pop()
        self.ids[row] = node
        return row

    def _grow(self, rows: int, chips: int) -> None:
        before = len(self.ids)
        nodes = np.full((rows, NODE_FIELDS), NO_NODE, np.int64)
        places = np.zeros((rows, chips, CHIP_FIELDS), np.int64)
        ids = np.zeros((rows, chips), np.int64)
        if before:
            nodes[:before] = self._node_array
            places[:before, : self._chip_array.shape[1]] = self._chip_array
            ids[:before, : self._chip_array.shape[1]] = self.ids_of_chips
        self._node_array, self._chip_array, self.ids_of_chips = nodes, places, ids
        more = rows - before
        self.chip_ids += [[] for _ in range(more)]
        self.chip_memories += [[] for _ in range(more)]
        self._which += [[] for _ in range(more)]
        self._untouched += [[] for _ in range(more)]
        self.ids += [0] * more
        self._free = [*range(rows - 1, before - 1, -1), *self._free]
        changed = np.zeros(rows, np.int64)
        if before:
            changed[:before] = self._changed_array
        self._changed_array = changed
        self.nodes, self.chips = self.readable(nodes), self.readable(places)
        self.changed, self.log = self.readable(changed), self.readable(self._log_array)
        self._put, self._sum_up = self.over(put), self.over(sum_up)


class _States(Mapping[Id, NodeState]):
    """Every node as an object, made when it is read."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __getitem__(self, node: Id) -> NodeState:
        return self._columns.state(node)

    def __contains__(self, node: object) -> bool:
        return node in self._columns.rows

    def __iter__(self) -> Iterator[Id]:
        return iter(self._columns.rows)

    def __len__(self) -> int:
        return len(self._columns.rows)


@compiled
def put(
    chips: Ints,
    row: int,
    at: int,
    sign: int,
    milli: int,
    memory: int,
    held: int,
    holder: int,
    accepts: int,
    others: int,
) -> int:
    """A share of the chip is taken, or with sign -1 given back; the millicores that it claims more (Q6)."""
    chips[row, at, FREE_MILLI] -= sign * milli
    chips[row, at, FREE_CHIP_MEMORY] -= sign * memory
    chips[row, at, HELD] = held
    chips[row, at, HOLDER] = holder
    chips[row, at, ACCEPTS] = accepts
    chips[row, at, OTHERS_ACCEPT] = others
    claim: int = -(-milli * chips[row, at, HOST_CPU] // WHOLE_CHIP)
    return sign * claim


@compiled
def sum_up(nodes: Ints, chips: Ints, row: int, cpu: int, memory: int) -> bool:
    """So much less of the host is left; what the node's columns say of its chips is so again. Whether more is held
    than there is.
    """
    free_cpu, free_memory = nodes[row, FREE_CPU] - cpu, nodes[row, FREE_MEMORY] - memory
    untouched, first, most, most_memory, best = 0, -1, 0, 0, -1
    overdrawn = free_cpu < 0 or free_memory < 0
    for at in range(nodes[row, CHIPS]):
        milli, chip_memory = chips[row, at, FREE_MILLI], chips[row, at, FREE_CHIP_MEMORY]
        if chips[row, at, HEALTHY] and not chips[row, at, HELD]:
            if not untouched:
                first = at
            untouched += 1
        if milli > most or (milli == most and chip_memory > most_memory) or at == 0:
            most, most_memory, best = milli, chip_memory, at
        overdrawn = overdrawn or milli < 0 or chip_memory < 0
    nodes[row, FREE_CPU], nodes[row, FREE_MEMORY] = free_cpu, free_memory
    nodes[row, UNTOUCHED], nodes[row, FIRST_UNTOUCHED] = untouched, first
    nodes[row, MOST_FREE], nodes[row, MOST_FREE_MEMORY], nodes[row, OPEN] = most, most_memory, -1
    if best >= 0 and chips[row, best, HELD]:
        accepts = chips[row, best, ACCEPTS]
        if accepts != EXCLUSIVE and accepts <= chips[row, best, SLICING]:
            nodes[row, OPEN] = max(most_memory, -1)
    return bool(overdrawn)
