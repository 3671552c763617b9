"""The nodes of a ledger as columns of whole numbers, for what is counted over all of them (P1).

A node is a row, a chip a place in it. Rows follow the ledger's list of changes, at a cost in proportion to it.
Nothing is decided here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler_core.ledger import Ledger
from scheduler_core.model import Id
from scheduler_core.shape import ChipState, Frame, NodeState

Ints = NDArray[np.int64]

(
    TYPE, HEALTHY, HEALTH, CHIP_MEMORY, HOST_CPU, SLICING, FREE_MILLI, FREE_CHIP_MEMORY,
    HELD, HOLDER, ACCEPTS, OTHERS_ACCEPT, CHIP_FIELDS,
) = range(13)  # fmt: skip
"""Columns of a chip. Of those who hold it: the organization of the one that accepts least beside it, how
strong an isolation that one wants, and how strong a one the holders from other organizations want."""

(
    POOL, STEP, UNREADY, CPU, MEMORY, FREE_CPU, FREE_MEMORY, CHIPS, TYPES,
    ALIKE, UNTOUCHED, FIRST_UNTOUCHED, MOST_FREE, MOST_FREE_MEMORY, NODE_FIELDS,
) = range(15)  # fmt: skip
"""Columns of a node. `UNREADY` is 0 where it is ready, else why not, by number; `TYPES` marks which chip types
it may have, a bit each; `CHIPS` is `NO_NODE` where there is no node. Whether it has chips and all are of one kind;
how many healthy ones nobody holds, and the place of the first of these or -1; the most milli-chips and memory that
one has free."""

NO_NODE: Final = -1
NOBODY: Final = -1
MASKS: Final = 62
"""Types that have a bit of their own; further ones share."""

MAX_FRAMES: Final = 20_000
"""Frames of which the chips are remembered as columns; past it the memory starts afresh (≈ 20 MB)."""


class Table(NamedTuple):
    """What compiled loops read."""

    nodes: Ints
    """A row for each node, with columns from `POOL` on."""
    chips: Ints
    """For each node its chips, with columns from `TYPE` on."""


class Columns:
    """Every node of a ledger as a row, brought up to date when asked."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[Id, int] = {}
        self._free: list[int] = []
        self._written: dict[Id, NodeState] = {}
        self._type_codes: dict[str, int] = {}
        self._unready_codes: dict[str, int] = {}
        self._of_frame: dict[Frame, tuple[Ints, tuple[int, ...], int]] = {}
        count = len(ledger.states)
        self._nodes = np.full((max(count, 1), NODE_FIELDS), NO_NODE, np.int64)
        self._chips = np.zeros((max(count, 1), 1, CHIP_FIELDS), np.int64)
        self._free = list(range(len(self._nodes) - 1, -1, -1))
        self._read = len(ledger.changed)
        for node in ledger.states:
            self._write(node)

    def table(self) -> Table:
        """The rows as the ledger is now, trial and all."""
        changed = self._ledger.changed
        if self._read < len(changed):
            for node in dict.fromkeys(changed[self._read :]):
                self._write(node)
            self._read = len(changed)
        return Table(self._nodes, self._chips)

    def from_the_start(self) -> None:
        """The ledger's list of changes, which has been read to its end, begins anew."""
        self._read = 0

    def type_code(self, chip_type: str) -> int:
        """The number that stands for a chip type."""
        return self._type_codes.setdefault(chip_type, len(self._type_codes))

    def unready(self) -> list[str]:
        """Why nodes are not ready; its place in the list, counted from 1, stands for each."""
        return list(self._unready_codes)

    def _write(self, node: Id) -> None:
        state = self._ledger.states.get(node)
        if state is None:
            if (row := self._rows.pop(node, None)) is not None:
                self._nodes[row, CHIPS] = NO_NODE
                self._free.append(row)
                del self._written[node]
            return
        before = self._written.get(node)
        if before is state:
            return
        row = self._rows[node] if before is not None else self._new_row(node)
        self._written[node] = state
        if before is None or before.frame is not state.frame:
            chips, build, count = self._frame(state.frame)
            self._chips[row, :count] = chips
            self._nodes[row] = build
        self._nodes[row, FREE_CPU] = state.free_cpu
        self._nodes[row, FREE_MEMORY] = state.free_memory

    def _new_row(self, node: Id) -> int:
        if not self._free:
            old = len(self._nodes)
            more = np.full_like(self._nodes, NO_NODE)
            self._nodes = np.concatenate([self._nodes, more])
            self._chips = np.concatenate([self._chips, np.zeros_like(self._chips)])
            self._free = list(range(2 * old - 1, old - 1, -1))
        row = self._rows[node] = self._free.pop()
        return row

    def _frame(self, frame: Frame) -> tuple[Ints, tuple[int, ...], int]:
        known = self._of_frame.get(frame)
        if known is None:
            if len(self._of_frame) >= MAX_FRAMES:
                self._of_frame.clear()
            count, build = len(frame.chips), frame.build
            if count > self._chips.shape[1]:
                wider = np.zeros((len(self._chips), count, CHIP_FIELDS), np.int64)
                wider[:, : self._chips.shape[1]] = self._chips
                self._chips = wider
            chips = np.array([self._chip(chip) for chip in frame.chips], np.int64)
            unready, types = 0, 0
            if build.unready is not None:
                unready = self._unready_codes.setdefault(build.unready, len(self._unready_codes) + 1)
            for code in {self.type_code(chip.type) for chip in frame.chips}:
                types |= 1 << code % MASKS
            alike = len({chip[:6] for chip in frame.chips}) == 1
            free = [at for at, chip in enumerate(frame.chips) if chip.healthy and not chip.tenants]
            most = max(((chip.free_milli, chip.free_memory) for chip in frame.chips), default=(0, 0))
            row = (
                build.pool, build.slice_step, unready, build.cpu, build.memory, 0, 0, count, types,
                int(alike), len(free), free[0] if free else -1, *most,
            )  # fmt: skip
            known = self._of_frame[frame] = chips.reshape(count, CHIP_FIELDS), row, count
        return known

    def _chip(self, chip: ChipState) -> tuple[int, ...]:
        holder, accepts = max(
            ((who.organization, who.accepts) for who, _ in chip.tenants),
            key=lambda who: who[1],
            default=(NOBODY, NOBODY),
        )
        others = max((who.accepts for who, _ in chip.tenants if who.organization != holder), default=NOBODY)
        return (
            self.type_code(chip.type), int(chip.healthy), chip.health, chip.memory, chip.host_cpu, chip.slicing,
            chip.free_milli, chip.free_memory, int(bool(chip.tenants)), holder, accepts, others,
        )  # fmt: skip
