"""Why nodes cannot take a replica, counted (P1): the facts that verdicts are made of (X1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from scheduler_core.census import (
    ALSO,
    ASKED_FIELDS,
    COUNT,
    FITS,
    HOST,
    MOST,
    MOST_ALSO,
    NO_POOL,
    SLICE,
    WHOLE,
    Why,
    count_nodes,
)
from scheduler_core.columns import (
    CHIPS,
    FREE_CPU,
    FREE_MEMORY,
    LEFT_FIELDS,
    LEFT_MOST_MEMORY,
    LIKE,
    MOST_FREE,
    MOST_FREE_MEMORY,
    NO_NODE,
    OPEN,
    UNLIKE,
    UNREADY,
    UNTOUCHED,
    Columns,
    Ints,
)
from scheduler_core.fit import Need
from scheduler_core.model import ISOLATION_STRENGTH, Isolation, Request
from scheduler_core.request import wants_slice
from scheduler_core.shape import NOT_SLICED

BEYOND: Final = 1 << 41
"""More than any machine has of anything: what is asked for beyond it is not there either."""


class Rejection(NamedTuple):
    """Why nodes cannot take a replica, with the most that one of them has of what is lacking."""

    why: Why
    most: int = 0
    also: int = 0
    """For chips: how many are free; for slices: the free memory beside the free milli-chips; for the host:
    how much is needed."""


class Census:
    """Every node of a cell that cannot take a replica, by why."""

    __slots__ = (
        "_nearest",
        "_out",
        "_reasons",
        "_request",
        "_table",
        "counts",
        "fitting",
        "furthest",
        "never",
    )

    def __init__(
        self,
        request: Request,
        sums: tuple[int, int, int, int, int],
        counts: list[int],
        table: Ints,
        out: Ints,
        reasons: Sequence[str],
    ) -> None:
        """`table` and `out` as `count_nodes` has them for one need; `reasons` for which nodes are out of service."""
        self.fitting, self.never, furthest, *nearest = sums
        """Nodes that can take one, and that could not at any time, whatever is held of them and in service."""
        self.furthest = furthest if furthest >= 0 else len(Why)
        """How far a node came through the filters, as a number; beyond all of them where none was rejected."""
        self.counts = counts
        """How many nodes were rejected for each reason in their order, and last how many were not."""
        self._nearest = nearest
        """Of those that came furthest, the most of what is lacking, and what besides."""
        self._request, self._table, self._out, self._reasons = request, table, out, reasons

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why nodes that would do are out of service."""
        told = zip(self._reasons, self._out[1:].tolist(), strict=True)
        return tuple(sorted(why for why, count in told if count))

    @property
    def nearest(self) -> Rejection | None:
        """Of a node that came furthest through the filters, with the most of what is lacking."""
        if self.furthest == len(Why):
            return None
        why, (most, also) = Why(self.furthest), self._nearest
        if why in (Why.HOST_CPU_TOO_SMALL, Why.CPU_BUSY):
            also += self._request.cpu
        elif why in (Why.HOST_MEMORY_TOO_SMALL, Why.MEMORY_BUSY):
            also += self._request.memory
        return Rejection(why, most, also)

    def most(self, why: Why) -> int:
        """The most that any node rejected for this has of what is lacking."""
        return int(self._table[why, MOST]) if self.counts[why] else 0

    def most_also(self, whys: Iterable[Why]) -> int:
        """The most that any node rejected for one of these has besides."""
        return max((int(self._table[why, MOST_ALSO]) for why in whys if self.counts[why]), default=0)


def take_census(needs: Sequence[Need], numbers: tuple[Ints, Ints], columns: Columns) -> list[Census]:
    """For each need, also given in numbers, every node that cannot take a replica, by why; all of them in one pass."""
    asked, pools = numbers
    reasons = columns.unready()
    counts = np.zeros((len(needs), FITS + 1, 4), np.int64)
    out_of_service = np.zeros((len(needs), len(reasons) + 1), np.int64)
    tables = [*like_by_like(columns), asked, pools, counts, out_of_service]
    count = columns.over(count_nodes)
    count(columns.nodes, columns.chips, *(columns.readable(table) for table in tables))
    met = counts[:, FITS - 1 :: -1, COUNT] > 0
    furthest = np.where(met.any(axis=1), FITS - 1 - met.argmax(axis=1), -1)
    never = counts[:, : Why.NOT_READY, COUNT].sum(axis=1)
    nearest = counts[np.arange(len(needs)), furthest][:, [MOST, ALSO]]
    sums = np.column_stack((counts[:, FITS, COUNT], never, furthest, nearest)).tolist()
    told = zip(needs, sums, counts[:, :, COUNT].tolist(), counts, out_of_service, strict=True)
    return [
        Census(need.request, of_need, how_many, table, out, reasons)
        for need, of_need, how_many, table, out in told
    ]


def like_by_like(columns: Columns) -> tuple[Ints, Ints, Ints]:
    """All rows with a node, those first that are like no other; then like by like, what has fewest chips
    untouched first, then what has least free of one chip. Where each of these sets begins. And for each of those
    rows what is left of it, with columns from `LEFT_UNTOUCHED` on.
    """
    table = columns.numbers()[0]
    rows = np.flatnonzero(table[:, CHIPS] != NO_NODE)
    what = [table[rows, of] for of in (LIKE, UNREADY, UNTOUCHED, MOST_FREE, MOST_FREE_MEMORY)]
    order = _in_order(what)
    rows, like = rows[order], what[0][order]
    sets = like * (len(columns.unready()) + 1) + what[1][order]
    unlike = int(np.searchsorted(like, UNLIKE, side="right"))
    begins = [*(unlike + np.flatnonzero(np.diff(sets[unlike:], prepend=-1))), len(rows)]
    left = np.empty((len(rows), LEFT_FIELDS), np.int64)
    for at, of in enumerate((UNTOUCHED, MOST_FREE, FREE_CPU, FREE_MEMORY, MOST_FREE_MEMORY, OPEN)):
        left[:, at] = table[rows, of]
    for first, last in pairwise(begins):
        most = left[first:last, LEFT_MOST_MEMORY]
        np.maximum.accumulate(most, out=most)
    return rows, np.array(begins, np.int64), left


def _in_order(columns: Sequence[Ints]) -> Ints:
    """The order of rows by these columns, the first of them first: as one number for each row where that is enough."""
    packed, room = np.zeros_like(columns[0]), 1
    for column in columns if len(packed) else ():
        least = int(column.min())
        span = int(column.max()) - least + 1
        room *= span
        if room >= 1 << 63:
            return np.lexsort(list(reversed(columns)))
        packed = packed * span + (column - least)
    return np.argsort(packed, kind="stable")


def in_numbers(needs: Sequence[Need], columns: Columns) -> tuple[Ints, Ints]:
    """What the needs ask for, and which pools they allow, a row each."""
    width = max([1, *(len(need.pools) for need in needs)])
    pools = [(*need.pools, *[NO_POOL] * (width - len(need.pools))) for need in needs]
    return np.array([_asked(need, columns) for need in needs], np.int64), np.array(pools, np.int64)


def together(numbers: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """The same of several needs whose numbers are known, a row each."""
    if not numbers:
        return np.zeros((1, ASKED_FIELDS), np.int64), np.full((1, 1), NO_POOL, np.int64)
    width = max(pools.shape[1] for _, pools in numbers)
    allowed = np.full((len(numbers), width), NO_POOL, np.int64)
    for at, (_, pools) in enumerate(numbers):
        allowed[at, : pools.shape[1]] = pools[0]
    return np.concatenate([asked for asked, _ in numbers]), allowed


def _asked(need: Need, columns: Columns) -> tuple[int, ...]:
    request, who = need.request, need.tenant
    exclusive = request.isolation is Isolation.EXCLUSIVE
    least = 0 if request.isolation is None else ISOLATION_STRENGTH[request.isolation]
    return (
        WHOLE if request.chips else SLICE if wants_slice(request) else HOST,
        columns.type_code(need.chip_type),
        min(request.chips, BEYOND),
        request.milli,
        min(request.chip_memory, BEYOND),
        NOT_SLICED if exclusive else least,
        -1 if who is None else who.organization,
        -1 if who is None else who.accepts,
        min(request.cpu, BEYOND),
        min(request.memory, BEYOND),
        int(request.image),
    )
