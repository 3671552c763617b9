"""Why nodes cannot take a replica, counted (P1): the facts that verdicts are made of (X1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from scheduler_core.columns import Columns, Ints
from scheduler_core.counting import (
    ALSO,
    COUNT,
    FITS,
    HOST,
    MOST,
    MOST_ALSO,
    SLICE,
    WHOLE,
    Asked,
    Why,
    count_nodes,
)
from scheduler_core.fit import Need
from scheduler_core.model import ISOLATION_STRENGTH, Isolation
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

    def __init__(self, counts: Ints, not_ready: dict[str, int], cpu: int, memory: int) -> None:
        self.by_why: Counter[Why] = Counter(
            {why: count for why in Why if (count := int(counts[why, COUNT])) > 0}
        )
        self.fitting = int(counts[FITS, COUNT])
        """Nodes that can take one."""
        self.not_ready = tuple(sorted(not_ready))
        """Why nodes that would do are out of service."""
        self._counts = counts
        self._asked = {
            Why.HOST_CPU_TOO_SMALL: cpu,
            Why.HOST_MEMORY_TOO_SMALL: memory,
            Why.CPU_BUSY: cpu,
            Why.MEMORY_BUSY: memory,
        }

    @property
    def nearest(self) -> Rejection | None:
        """Of a node that came furthest through the filters, with the most of what is lacking."""
        why = max(self.by_why, default=None)
        if why is None:
            return None
        most, also = int(self._counts[why, MOST]), int(self._counts[why, ALSO])
        return Rejection(why, most, also + self._asked.get(why, 0))

    def most(self, why: Why) -> int:
        """The most that any node rejected for this has of what is lacking."""
        return int(self._counts[why, MOST]) if why in self.by_why else 0

    def most_also(self, whys: Iterable[Why]) -> int:
        """The most that any node rejected for one of these has besides."""
        return max((int(self._counts[why, MOST_ALSO]) for why in whys if why in self.by_why), default=0)


class Filters:
    """Counts every node of a ledger by why it cannot take a replica."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def census(self, need: Need) -> Census:
        """Every node that cannot take a replica, by why."""
        table, reasons = self._columns.table(), self._columns.unready()
        counts = np.zeros((FITS + 1, 4), np.int64)
        out_of_service = np.zeros(len(reasons) + 1, np.int64)
        pools = np.array(need.pools, np.int64)
        count_nodes(table.nodes, table.chips, self._asked(need), pools, counts, out_of_service)
        told = {why: int(count) for why, count in zip(reasons, out_of_service[1:], strict=True) if count}
        return Census(counts, told, need.request.cpu, need.request.memory)

    def _asked(self, need: Need) -> Asked:
        request, who = need.request, need.tenant
        exclusive = request.isolation is Isolation.EXCLUSIVE
        least = 0 if request.isolation is None else ISOLATION_STRENGTH[request.isolation]
        return Asked(
            kind=WHOLE if request.chips else SLICE if wants_slice(request) else HOST,
            chip_type=self._columns.type_code(need.chip_type),
            chips=min(request.chips, BEYOND),
            milli=request.milli,
            chip_memory=min(request.chip_memory, BEYOND),
            enforced=NOT_SLICED if exclusive else least,
            organization=-1 if who is None else who.organization,
            accepts=-1 if who is None else who.accepts,
            cpu=min(request.cpu, BEYOND),
            memory=min(request.memory, BEYOND),
        )


def without_host(need: Need) -> Need:
    """The need with nothing asked of the host but its chips."""
    return replace(need, request=replace(need.request, cpu=0, memory=0))
