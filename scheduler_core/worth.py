"""Nodes in the order of what is lost of their value, by the requests that this cell sees (P3, S4).

What the mix is made of are rows (`Seen`), so that a scheduler that is kept and a fresh one value alike. All tables
here follow from them, from the chip types that there are and from the policy's seed; they are made anew when one of
those changes. Values of states are remembered from cycle to cycle, as many as there is room for; that decides
nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np

from scheduler_core.columns import Ints
from scheduler_core.effort import FEW_NODES
from scheduler_core.filters import BEYOND
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Gang, Request
from scheduler_core.request import problem_with, wants_chips
from scheduler_core.seats import ORDER
from scheduler_core.slices import slice_milli
from scheduler_core.value import CHIPS, CPU, MEMORY, MILLI, TYPES, Mix, least_of, samples_at, streams
from scheduler_core.valuing import FREE, GANG_FIELDS, count_homes, least_lost, price_homes, value_seats

MOST_KINDS: Final = 512
"""Kinds of requests in the mix: the most frequent."""
MOST_SEEN: Final = 1 << 20
"""Of one kind; more counts as so many, so that products stay whole numbers of 63 bits."""
MASKS: Final = 62
"""Chip types that have a bit of their own; further ones share."""
REMEMBERED: Final = 1 << 18
"""Places for values of states in a large cell: 25 MB; half full, they begin anew."""
REMEMBERED_A_NODE: Final = 256
"""And in a smaller one for each node, at least."""
REMEMBERED_SMALL: Final = 1 << 12


class Worth:
    """What is lost of nodes' values, as the nodes are now."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self._ledger, self._columns, self._seed = ledger, ledger.columns, seed
        self.effort = 0
        """Classes of nodes that are valued for a replica in this cycle; with 0 nothing is."""
        self.version = 0
        """A number for the mix and the effort as they are now."""
        self._seen: dict[Any, Any] = {}
        self._terms: tuple[Any, ...] = ()
        self._asked = 0
        """Milli-chips that all of the mix asks for."""
        self._requests: dict[int, Any] = {}
        """By how many they are, the streams."""
        self._counted = -1
        """The last change of a row that is counted in the homes of gangs."""

    def begin_cycle(self, effort: int) -> None:
        """So many classes of nodes may be valued for each replica, by the mix of now."""
        ledger, columns = self._ledger, self._columns
        if not ledger.seen and not self._seen:
            return
        terms = ledger.sizes(), columns.size, columns.numbers()[1]
        before = self.effort
        if terms != self._terms or ledger.seen != self._seen:
            self._terms, self._seen = terms, dict(ledger.seen)
            self._list_mix()
            self.version += 1
        self.effort = effort if self._asked else 0
        if self.effort != before:
            self.version += 1

    def in_order(self, asked: Any, seats: Ints, found: int) -> tuple[Ints, Ints]:
        """The first so many of `seats` that are worth a thought, by number, and for all of them what is lost: each is
        a need's seat on another node. `asked` is what the need asks for, as loops read it. A slice's seat is then on
        the chip with which least is lost.
        """
        columns, readable = self._columns, self._columns.readable
        samples = samples_at(self.effort)
        prices = self._priced(samples)
        chosen = self._worth_a_thought(seats, found)
        losses = np.zeros(found, np.int64)
        columns.over(value_seats)(
            columns.nodes, columns.chips, asked, readable(seats), readable(chosen), readable(losses),
            *self._mix, self._streams(samples), *self._bounds, prices, *self._memory,
        )  # fmt: skip
        return chosen, losses

    def best(self, seats: Ints, chosen: Ints, losses: Ints) -> int:
        """The number of the seat with which least is lost."""
        readable = self._columns.readable
        return int(self._columns.over(least_lost)(readable(seats), readable(chosen), readable(losses)))

    def _worth_a_thought(self, seats: Ints, found: int) -> Ints:
        """The seats of as many classes of nodes as the effort allows, the first in P2's order; nodes are of one class
        whose scores are the same.
        """
        if found <= self.effort:
            return np.arange(found)
        scores = seats[:found, : ORDER - 1]
        stretches = 1 + int((scores[1:] != scores[:-1]).any(axis=1).sum())
        if stretches <= self.effort:  # as many classes at most, so that nothing need be sorted
            return np.arange(found)
        order = np.lexsort([seats[:found, column] for column in range(ORDER - 1, -1, -1)])
        ordered = scores[order]
        classes = np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))
        return order[: 1 + int(np.searchsorted(classes, self.effort))]

    def _priced(self, samples: int) -> Any:
        """What homes of gangs are worth now."""
        columns, sums = self._columns, self._sums
        gangs, prices, home = self._gangs
        if self._counted != columns.changes:
            columns.over(count_homes)(
                columns.nodes, columns.chips, columns.changed, columns.log, self._counted, columns.changes,
                self._types, gangs, home, sums, self._state,
            )  # fmt: skip
            self._counted = columns.changes
        columns.over(price_homes)(gangs, sums, self._asked, samples, prices)
        return prices

    def _streams(self, samples: int) -> Any:
        found = self._requests.get(samples)
        if found is None:
            made = streams(self._as_mix, self._seed, samples)
            found = self._requests[samples] = self._columns.readable(made)
        return found

    # -- the mix ------------------------------------------------------------------------------------------

    def _list_mix(self) -> None:
        """The tables are as the rows are now."""
        ledger, columns = self._ledger, self._columns
        readable = columns.readable
        names = sorted(ledger.chip_types())
        counts: Counter[tuple[int, ...]] = Counter()
        for row in ledger.seen.values():
            kind = self._kind(row.request, names)
            if kind is not None and row.count > 0:
                counts[kind] += row.count
        most = sorted(sorted(counts), key=lambda kind: -counts[kind])[:MOST_KINDS]
        mix = Mix(
            np.array(most, np.int64).reshape(len(most), TYPES + 1),
            np.array([min(counts[kind], MOST_SEEN) for kind in most], np.int64),
        )
        self._as_mix, self._requests = mix, {}
        self._asked = int((mix.counts * mix.kinds[:, CHIPS] * mix.kinds[:, MILLI]).sum())
        codes = [columns.type_code(name) for name in names]
        types = np.full(max(codes, default=0) + 1, -1, np.int64)
        for at, code in enumerate(codes):
            types[code] = at % MASKS
        width = columns.numbers()[1]
        gangs = self._list_gangs(mix)
        home = np.zeros((columns.size, 1 + len(gangs)), np.int64)
        self._types = readable(types)
        self._gangs = readable(gangs), readable(np.zeros(max(len(gangs), 1), np.int64)), readable(home)
        self._sums = readable(np.zeros(1 + len(gangs), np.int64))
        self._counted = -1
        self._state = readable(np.zeros(FREE + width, np.int64))
        places = REMEMBERED_SMALL
        if columns.size >= FEW_NODES:
            places = min(REMEMBERED, 1 << (REMEMBERED_A_NODE * columns.size).bit_length())
        self._mix = self._types, readable(mix.kinds)
        self._bounds = readable(least_of(mix)), self._gangs[0]
        self._memory = tuple(
            readable(np.zeros(shape, np.int64))
            for shape in ((places, FREE + width), places, 1, FREE + width, FREE + width, FREE + width)
        )

    def _list_gangs(self, mix: Mix) -> Ints:
        """The kinds of requests for several whole chips, with columns from `G_CPU` on."""
        alike: Counter[int] = Counter()
        for kind, count in zip(mix.kinds.tolist(), mix.counts.tolist(), strict=True):
            alike[kind[CHIPS]] += count
        gangs = [
            (kind[CPU], kind[MEMORY], kind[CHIPS], kind[TYPES], count, alike[kind[CHIPS]])
            for kind, count in zip(mix.kinds.tolist(), mix.counts.tolist(), strict=True)
            if kind[CHIPS] > 1
        ]
        return np.array(gangs, np.int64).reshape(len(gangs), GANG_FIELDS)

    def _kind(self, request: Request, names: list[str]) -> tuple[int, ...] | None:
        """The request as a row of kinds; None where the cell has no such chips. A slice given in memory counts as on
        the smallest chips that can be cut so.
        """
        host = min(request.cpu, BEYOND), min(request.memory, BEYOND)
        if problem_with(Gang(request)) or request.chips > self._columns.numbers()[1]:
            return None
        if not wants_chips(request):
            return *host, 0, 0, 0
        named = [name for name in names if name in request.chip_types or not request.chip_types]
        milli = WHOLE_CHIP if request.chips else request.milli
        if not milli:
            sizes = [size for name in named for size in self._ledger.chip_memories(name)]
            size = min((size for size in sizes if size >= request.chip_memory), default=0)
            milli = slice_milli(request.chip_memory, size, self._ledger.sizes()[2]) if size else 0
        mask = 0
        for name in named:
            mask |= 1 << names.index(name) % MASKS
        return (*host, max(request.chips, 1), milli, mask) if mask and milli else None
