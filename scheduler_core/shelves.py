"""All nodes in order, for every need at once: where a replica would sit best costs a look, not a search (P2, P6).

From the naive version: score every node for every need, take the best. Three departures. Nodes with an equal
opening lie on one *shelf*, so a need is scored once for all of them. On a shelf nodes lie by the host CPU and
memory they have left, so the tightest that is large enough is found by bisection. And a change moves one
node between a handful of shelves, however many needs there are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Set
from heapq import merge
from typing import Final, TypeAlias

from scheduler_core.fit import Need, Offer, Opening, offer, openings
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id
from scheduler_core.shape import MAX_FRAMES, Frame, NodeState

ID_BITS: Final = 64
MEMORY_BITS: Final = 40
"""Of a key: free host CPU, then free host memory (below 2^40 MiB, an exbibyte), then the node's id."""
CPU_SHIFT: Final = ID_BITS + MEMORY_BITS
ID_MASK: Final = (1 << ID_BITS) - 1
MEMORY_MASK: Final = (1 << MEMORY_BITS) - 1

TIDY_EVERY: Final = 256
"""Looks into an aisle after which empty shelves are taken out: rarely enough to cost nothing."""


class Shelf:
    """The nodes that have one opening: the least host CPU left first, then memory, then id."""

    __slots__ = ("keys", "opening", "passed_by")

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.keys: list[int] = []
        self.passed_by: list[tuple[Aisle, Offer]] = []
        """Aisles that took the shelf out while it was empty."""

    def large_enough(self, cpu: int, memory: int) -> Iterator[int]:
        """The keys of nodes that have so much left, the tightest first. A node asked for nothing has enough."""
        keys = self.keys
        for at in range(bisect_left(keys, cpu << CPU_SHIFT), len(keys)):
            if (keys[at] >> ID_BITS) & MEMORY_MASK >= memory:
                yield keys[at]

    def tightest(self, cpu: int, memory: int) -> int | None:
        """The first of them."""
        keys = self.keys
        at, end = bisect_left(keys, cpu << CPU_SHIFT), len(keys)
        while at < end:
            if (keys[at] >> ID_BITS) & MEMORY_MASK >= memory:
                return keys[at]
            at += 1
        return None

    def put_back(self) -> None:
        """The shelf is in every aisle again that took it out."""
        waiting, self.passed_by = self.passed_by, []
        for aisle, found in waiting:
            aisle.put(found, self)


Choice: TypeAlias = tuple[Id, Offer, Shelf]
"""A node, how a replica would sit there, and the shelf on which it was found."""


class Row:
    """Shelves that are equally good for a need."""

    __slots__ = ("keys", "score", "shelves")

    def __init__(self, score: tuple[int, ...]) -> None:
        self.score = score
        self.shelves: list[tuple[Opening, Offer, Shelf]] = []
        self.keys: list[int] | None = None
        """Of its shelf, while there is only one."""

    def put(self, found: Offer, shelf: Shelf) -> None:
        """The shelf is in the row."""
        insort(self.shelves, (shelf.opening, found, shelf), key=_by_opening)
        self.keys = shelf.keys if len(self.shelves) == 1 else None

    def first(self, cpu: int, memory: int) -> Choice | None:
        """The tightest node that is large enough; on several shelves, the first shelf's opening."""
        best: tuple[int, Offer, Shelf] | None = None
        for _, found, shelf in self.shelves:
            key = shelf.tightest(cpu + found.claim, memory) if shelf.keys else None
            if key is not None and (best is None or key < best[0]):
                best = key, found, shelf
        return None if best is None else (best[0] & ID_MASK, best[1], best[2])

    def all(self, cpu: int, memory: int) -> Iterator[Choice]:
        """All that are large enough, the tightest first."""
        lines = [
            [(key, place) for key in shelf.large_enough(cpu + found.claim, memory)]
            for place, (_, found, shelf) in enumerate(self.shelves)
        ]
        for key, place in merge(*lines):
            _, found, shelf = self.shelves[place]
            yield key & ID_MASK, found, shelf


class Aisle:
    """The shelves that could serve a need, best first."""

    def __init__(self, need: Need) -> None:
        self._need = need
        self._scores: list[tuple[int, ...]] = []
        self._rows: list[Row] = []
        self._looks = 0

    def consider(self, shelf: Shelf) -> None:
        """The shelf is in the aisle if it could serve."""
        found = offer(self._need, shelf.opening)
        if found is not None:
            self.put(found, shelf)

    def put(self, found: Offer, shelf: Shelf) -> None:
        """The shelf is in the aisle."""
        at = bisect_left(self._scores, found.score)
        if at == len(self._scores) or self._scores[at] != found.score:
            self._scores.insert(at, found.score)
            self._rows.insert(at, Row(found.score))
        self._rows[at].put(found, shelf)

    def first(self, cpu: int, memory: int) -> Choice | None:
        """The best node that can take a replica which needs so much of the host."""
        self._looks += 1
        if self._looks % TIDY_EVERY == 0:
            self._tidy()
        least = cpu << CPU_SHIFT
        for row in self._rows:
            keys = row.keys
            if keys is not None and (not keys or keys[-1] < least):
                continue
            choice = row.first(cpu, memory)
            if choice is not None:
                return choice
        return None

    def nodes(self, cpu: int, memory: int) -> Iterator[Choice]:
        """All such nodes, best first. One that could take it in several openings comes up with each."""
        for row in self._rows:
            yield from row.all(cpu, memory)

    def _tidy(self) -> None:
        """Take out the rows on whose shelves no node lies; they come back with the next one that does."""
        empty = [row for row in self._rows if not any(shelf.keys for _, _, shelf in row.shelves)]
        for row in empty:
            for _, found, shelf in row.shelves:
                shelf.passed_by.append((self, found))
        if empty:
            gone = {row.score for row in empty}
            self._rows = [row for row in self._rows if row.score not in gone]
            self._scores = [row.score for row in self._rows]


class Shelves:
    """Every node of a ledger on the shelves of its openings, brought up to date when asked."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._shelf_of: dict[Opening, Shelf] = {}
        self._family: dict[tuple[type[Opening], str], tuple[list[Shelf], list[Aisle]]] = {}
        """Shelves and aisles that concern each other."""
        self._aisles: dict[Need, Aisle] = {}
        self._of_frame: dict[Frame, dict[Shelf, tuple[int, ...]]] = {}
        self._lies: dict[Id, tuple[int, dict[Shelf, tuple[int, ...]]]] = {}
        """Each node's key and shelves."""
        self._read = len(ledger.changed)
        for node in ledger.states:
            self._move(node)

    def catch_up(self) -> None:
        """Nodes that changed since the last time lie where they belong now."""
        changed = self._ledger.changed
        if self._read + 1 == len(changed):
            self._move(changed[-1])
        elif self._read < len(changed):
            for node in dict.fromkeys(changed[self._read :]):
                self._move(node)
        self._read = len(changed)

    def from_the_start(self) -> None:
        """The ledger's list of changes, which has been read to its end, begins anew."""
        self._read = 0

    def aisle(self, need: Need) -> Aisle:
        """The aisle of this need, whose host CPU and memory make no difference to it."""
        known = self._aisles.get(need)
        if known is None:
            known = self._aisles[need] = Aisle(need)
            shelves, aisles = self._relatives(need.opening, need.chip_type)
            aisles.append(known)
            for shelf in shelves:
                known.consider(shelf)
        return known

    def keep(self, needs: Set[Need]) -> None:
        """Nobody asks for other needs any more."""
        for need in self._aisles.keys() - needs:
            gone = self._aisles.pop(need)
            self._relatives(need.opening, need.chip_type)[1].remove(gone)
            for shelf in self._shelf_of.values():
                shelf.passed_by = [entry for entry in shelf.passed_by if entry[0] is not gone]

    def positions(self, frame: Frame, shelf: Shelf) -> tuple[int, ...]:
        """Where the chips of this shelf's opening stand in the frame, the best first."""
        return self._shelves_of(frame)[shelf]

    def _move(self, node: Id) -> None:
        state = self._ledger.states.get(node)
        before = self._lies.pop(node, None)
        after = None if state is None else (_key(node, state), self._shelves_of(state.frame))
        if before is not None:
            key, shelves = before
            if after is not None and after[0] == key and after[1] is shelves:
                self._lies[node] = before
                return
            for shelf in shelves:
                keys = shelf.keys
                del keys[bisect_left(keys, key)]
        if after is not None:
            key, shelves = self._lies[node] = after
            for shelf in shelves:
                insort(shelf.keys, key)
                if shelf.passed_by:
                    shelf.put_back()

    def _shelves_of(self, frame: Frame) -> dict[Shelf, tuple[int, ...]]:
        known = self._of_frame.get(frame)
        if known is None:
            if len(self._of_frame) >= MAX_FRAMES:
                self._of_frame.clear()
            offered = openings(frame)
            known = self._of_frame[frame] = {
                self._shelf(opening): positions for opening, positions in offered.items()
            }
        return known

    def _shelf(self, opening: Opening) -> Shelf:
        shelf = self._shelf_of.get(opening)
        if shelf is None:
            shelf = self._shelf_of[opening] = Shelf(opening)
            shelves, aisles = self._relatives(type(opening), opening.chip_type)
            shelves.append(shelf)
            for aisle in aisles:
                aisle.consider(shelf)
        return shelf

    def _relatives(self, kind: type[Opening], chip_type: str) -> tuple[list[Shelf], list[Aisle]]:
        return self._family.setdefault((kind, chip_type), ([], []))


def _key(node: Id, state: NodeState) -> int:
    """What is overdrawn has nothing left."""
    cpu = state.free_cpu if state.free_cpu > 0 else 0
    memory = state.free_memory if state.free_memory > 0 else 0
    return (cpu << CPU_SHIFT) + (min(memory, MEMORY_MASK) << ID_BITS) + node


def _by_opening(entry: tuple[Opening, Offer, Shelf]) -> Opening:
    return entry[0]
