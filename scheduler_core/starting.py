"""What a cycle starts gives back some time: one release a start, in the order in which they end (B1).

A search for the earliest place reads the first few of them, of a hundred thousand: they are put in order as numbers,
and made when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from scheduler_core.columns import Ints
from scheduler_core.horizon import Release, releases_of
from scheduler_core.model import Placement
from scheduler_core.shape import Tenant

NEVER: Final = 1 << 60
"""The run time of who never ends, or later than anybody asks."""


class Starting:
    """The releases of one cycle's starts, in order: by instant, then by node, then as they were noted."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._runs: list[Ints] = []
        self._nodes: list[Ints] = []
        """Of what was noted since it was last put in order."""
        self._by: list[Tenant] = []
        self._placements: list[tuple[Placement, ...]] = []
        self._at = np.zeros(0, np.int64)
        self._on = np.zeros(0, np.int64)
        """Instants and nodes of all the others, in order; and which of the tenants and placements are theirs."""
        self._which = np.zeros(0, np.int64)

    def note(self, run_time: int, by: Tenant, placements: Sequence[Placement]) -> None:
        """These start now, and run so long."""
        for release in releases_of(run_time, by, placements):
            self.note_all(np.array([run_time]), np.array([release.node]), [by], [release.placements])

    def note_all(
        self,
        run_times: Ints,
        nodes: Ints,
        by: Sequence[Tenant],
        placements: Sequence[tuple[Placement, ...]],
    ) -> None:
        """The same of many, of which each is on one node; those that never end are among them with `NEVER`."""
        self._runs.append(run_times)
        self._nodes.append(nodes)
        self._by += by
        self._placements += placements

    def __iter__(self) -> Iterator[Release]:
        self._put_in_order()
        for at, node, which in zip(self._at, self._on, self._which, strict=True):
            yield Release(int(at), int(node), self._by[which], self._placements[which])

    def _put_in_order(self) -> None:
        if not self._runs:
            return
        runs, nodes = np.concatenate(self._runs), np.concatenate(self._nodes)
        self._runs, self._nodes = [], []
        which = np.arange(len(self._by) - len(runs), len(self._by))
        ends = runs < NEVER
        at = np.concatenate((self._at, self._now + runs[ends]))
        on, which = np.concatenate((self._on, nodes[ends])), np.concatenate((self._which, which[ends]))
        order = np.lexsort((on, at))
        self._at, self._on, self._which = at[order], on[order], which[order]
