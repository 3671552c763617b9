"""A quick no: what does not fit into the chips that nodes have free, whatever else they are, fits nowhere (P6).

From the naive version: look at every node with everything in mind. Here a few of the nodes' columns are read at once,
and what they say holds as long as no room is made.
"""

from __future__ import annotations

import numpy as np

from scheduler_core.columns import CHIPS, MOST_FREE, UNREADY, UNTOUCHED, Columns
from scheduler_core.model import Gang
from scheduler_core.request import wants_slice


class Glance:
    """What the nodes had free when it was taken."""

    def __init__(self, columns: Columns) -> None:
        nodes, _ = columns.numbers()
        there = nodes[(nodes[:, CHIPS] >= 0) & (nodes[:, UNREADY] == 0)]
        self._untouched, self._most = there[:, UNTOUCHED], there[:, MOST_FREE]
        self._known: dict[tuple[int, int, bool], int] = {}

    def allows(self, gang: Gang) -> bool:
        """Whether there may be places for its minimum; where not, there are none."""
        request = gang.request
        if not request.chips and not wants_slice(request):
            return True
        asked = (request.chips, request.milli, gang.spread)
        places = self._known.get(asked)
        if places is None:
            places = self._known[asked] = self._places(*asked)
        return places >= (gang.minimum if request.chips or gang.spread else 1)

    def _places(self, chips: int, milli: int, spread: bool) -> int:
        if not chips:
            return int(np.count_nonzero(self._most >= milli))
        if spread:
            return int(np.count_nonzero(self._untouched >= chips))
        return int((self._untouched // chips).sum())
