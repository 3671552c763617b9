"""Many placements are taken or given back at once: their rows change in one loop (`columns`).

From the naive version, `Columns.move` for each: who holds a chip then is found one share after another, and the numbers
of all rows are put down together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from scheduler_core.columns import Columns, Ints, put, sum_up
from scheduler_core.compiled import compiled
from scheduler_core.model import Id, Placement
from scheduler_core.shape import Tenant

S_ROW, S_AT, S_MILLI, S_MEMORY, S_HELD, S_HOLDER, S_ACCEPTS, S_OTHERS, SHARE_FIELDS = range(9)
"""Columns of a share: where its chip stands, how much of it there is, and who holds the chip then."""
P_ROW, P_CPU, P_MEMORY, P_SHARES_END, PLACE_FIELDS = range(5)
"""Columns of a placement: its node's row; what it holds of the host; where its shares end."""


def move_all(
    columns: Columns, moves: Sequence[tuple[Placement, Tenant]], sign: int
) -> Iterator[tuple[Id, bool]]:
    """Each of these placements is held by its tenant, or with sign -1 no longer; what is not there is left out. The
    nodes, and of which of them more is held than there is.
    """
    shares, places = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for placement, by in moves:
        row = columns.rows.get(placement.node)
        if row is None:
            continue
        for share in placement.chips:
            where = columns.places.get(share.chip)
            if where is not None and where[0] == row:
                shares.append((*where, share.milli, share.memory, *columns.held(share.chip, by, sign)))
        places.append((row, placement.cpu, placement.memory, len(shares)))
    shares_table = np.array(shares, np.int64).reshape(len(shares), SHARE_FIELDS)
    places_table = np.array(places, np.int64).reshape(len(places), PLACE_FIELDS)
    overdrawn = np.zeros(max(len(places), 1), np.int64)
    held, where_held, over = map(columns.readable, (shares_table, places_table, overdrawn))
    columns.over(put_all)(columns.nodes, columns.chips, held, where_held, over, sign)
    rows = [row for row, *_ in places]
    columns.note_changes(rows)
    return zip([columns.ids[row] for row in rows], overdrawn[: len(rows)].astype(bool).tolist(), strict=True)


@compiled
def put_all(nodes: Ints, chips: Ints, shares: Ints, places: Ints, overdrawn: Ints, sign: int) -> None:
    """The shares are taken, or with sign -1 free, and so is what the placements hold of the host."""
    at = 0
    for place in range(len(places)):
        cpu = sign * places[place, P_CPU]
        while at < places[place, P_SHARES_END]:
            cpu += put(
                chips, shares[at, S_ROW], shares[at, S_AT], sign, shares[at, S_MILLI], shares[at, S_MEMORY],
                shares[at, S_HELD], shares[at, S_HOLDER], shares[at, S_ACCEPTS], shares[at, S_OTHERS],
            )  # fmt: skip
            at += 1
        overdrawn[place] = sum_up(nodes, chips, places[place, P_ROW], cpu, sign * places[place, P_MEMORY])
