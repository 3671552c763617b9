"""How much thought one replica's place is worth (S4): a stated function of load, never of a clock.

A cycle may value so many classes of nodes in all (P3). The fewer jobs wait, the more of it each has; with more
waiting jobs than that, none is valued, and the first node in order is taken.
"""

from __future__ import annotations

from typing import Final

CYCLE_VALUES: Final = 20_000
"""Classes of nodes valued in one cycle: some seconds at a tenth of a millisecond each."""


def effort(waiting: int, nodes: int) -> int:
    """Classes of nodes to value for each replica: `CYCLE_VALUES` shared among the waiting jobs, and no more
    than there are nodes, for so many classes there can be.
    """
    return min(nodes, CYCLE_VALUES // max(1, waiting))
