"""How much thought one replica's place is worth (S4): a stated function of load, never of a clock.

A cycle may value so many classes of nodes in all (P3). The fewer jobs wait, the more of it each has; with more
waiting jobs than that, none is valued, and the first node in order is taken.
"""

from __future__ import annotations

from typing import Final

CYCLE_VALUES: Final = 2_000
"""Classes of nodes valued in one cycle. With one job waiting all of 1,000 nodes are; with 250, the first 8 for
each."""
LEAST_VALUES: Final = 8
"""Fewer than that for one job are hardly a choice, and the look at all nodes costs as much as ever."""
FEW_NODES: Final = 16
"""In a cell of less, loops are plain for good: the compiler's 70 MiB would be most of what its scheduler takes."""
SMALL_VALUES: Final = 16
"""There, where a value takes a hundred times as long: some milliseconds."""
LEAST_SMALL_VALUES: Final = 4


def effort(waiting: int, nodes: int) -> int:
    """Classes of nodes to value for each replica: the cycle's shared among the waiting jobs, and no more
    than there are nodes, for so many classes there can be; none where that is less than a choice.
    """
    values, least = (SMALL_VALUES, LEAST_SMALL_VALUES) if nodes < FEW_NODES else (CYCLE_VALUES, LEAST_VALUES)
    share = values // max(1, waiting)
    return min(nodes, share) if share >= least else 0
