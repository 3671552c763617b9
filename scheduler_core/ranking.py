"""All nodes in order for one need (P2), and why the others cannot take it (P1)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Set
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from scheduler_core.census import could_take
from scheduler_core.columns import Ints
from scheduler_core.filters import Census, in_numbers, take_census
from scheduler_core.fit import Need
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, ChipShare, Id
from scheduler_core.request import wants_slice
from scheduler_core.seats import (
    AT,
    BEHIND,
    BOUNDED,
    CHARGE,
    COUNT,
    HEAD_FIELDS,
    ORDER,
    ROW,
    SEAT_FIELDS,
    SEEN,
    SHARE,
    SHARE_MEMORY,
    UNSEEN,
    best_seat,
    chips_of,
    has_a_seat,
    rows_with_seats,
    seats_on,
)
from scheduler_core.shelves import best_on_shelves
from scheduler_core.worth import Worth

ONE_SEAT: Final = 4
"""Where among a need's tables the one stands into which a single seat is written."""
FEW_STATES: Final = 8
"""States of the nodes of which something is remembered, before those to which no trial comes back are forgotten; later
they are when there are twice as many as were left: a trial of many gangs comes back to all of its own."""


class Seat(NamedTuple):
    """How a replica would sit on a node."""

    node: Id
    charge: int
    """Milli-chips that quota charges."""
    chips: tuple[ChipShare, ...]


Loss: TypeAlias = tuple[int, int, int]
"""What orders a seat before all else: what quota charges, where that may differ; the place of its pool; what is lost of
the node's value."""


class Ranking:
    """All nodes for one need, as they are now: those that can take a replica, best first; the others counted
    by why (P1).
    """

    def __init__(self, need: Need, ledger: Ledger, kept: int, number: int = 0) -> None:
        """`kept`: so many seats are remembered; that decides nothing but how often all nodes are looked at."""
        self.asked_in = 0
        self.number = number
        """Its own among rankings."""
        self.need = need
        self._ledger = ledger
        self._columns = ledger.columns
        self._stamp = ledger.stamps.now
        self._known: dict[Hashable, Any] = {}
        self._known_at = {self._stamp: self._known}
        self._most_states = FEW_STATES
        self._counted: tuple[int, Census] | None = None
        """The last census, and of which state of the nodes."""
        self._never: tuple[int, int] | None = None
        """As of which nodes, and how many of them could not take a replica at any time."""
        self._could: dict[Id, bool] = {}
        """Of nodes that were asked about, whether they could; and as of which nodes that is known."""
        self._could_as_of = -1
        asked, pools = in_numbers([need], self._columns)
        seats, head = np.zeros((kept + BEHIND, SEAT_FIELDS), np.int64), np.zeros(HEAD_FIELDS, np.int64)
        self._arrays = asked, pools, seats, head
        self._one_seat = np.zeros((1 + BEHIND, SEAT_FIELDS), np.int64)
        head[SEEN] = UNSEEN
        self._tables: tuple[Any, ...] = ()
        """The arrays as loops over the cell's columns read them."""
        self._rows = 0

    def __len__(self) -> int:
        """How many nodes could take a replica."""
        return self.census.fitting

    @property
    def is_known_to_be_full(self) -> bool:
        """Whether the nodes were counted as they are now, and none of them can take a replica."""
        counted = self._counted
        return counted is not None and counted[0] == self._ledger.stamps.now and not counted[1].fitting

    @property
    def census(self) -> Census:
        """Every other node, by why it cannot."""
        counted = self._counted
        if counted is not None and counted[0] == self._ledger.stamps.now:
            return counted[1]
        (census,) = take_census([self.need], self.numbers, self._columns)
        self.learn(census)
        return census

    @property
    def ever(self) -> int:
        """How many nodes could take a replica at some time, whatever is held of them and in service now."""
        if self._never is None or self._never[0] != self._columns.built:
            self.learn(self.census)
        assert self._never is not None
        return len(self._columns.rows) - self._never[1]

    @property
    def numbers(self) -> tuple[Ints, Ints]:
        """What the need asks for, and which pools it allows, a row each."""
        return self._arrays[0], self._arrays[1]

    def learn(self, census: Census) -> None:
        """This is the census of the nodes as they are now."""
        self._counted = self._ledger.stamps.now, census
        self._never = self._columns.built, census.never

    @property
    def known(self) -> dict[Hashable, Any]:
        """What was found out of the nodes as they are now; there again when a trial comes back to that."""
        stamps = self._ledger.stamps
        if self._stamp != stamps.now:
            self._stamp, known = stamps.now, self._known_at.get(stamps.now)
            if known is None:
                if len(self._known_at) >= self._most_states:
                    self._known_at = {
                        at: found for at, found in self._known_at.items() if stamps.lies_before(at)
                    }
                    self._most_states = max(FEW_STATES, 2 * len(self._known_at))
                known = self._known_at[self._stamp] = {}
            self._known = known
        return self._known

    def best(self, count: int, among: Set[Id] | None = None) -> list[Seat]:
        """The best nodes, at most so many, each with how a replica would sit there; `among` leaves out all
        others.
        """
        if count == 1 and among is None:
            return self._first()
        if among is not None:
            return [self._seat(seat) for seat in self._seats_on(among)[:count]]
        if self._best() < 0:
            return []
        remembered, head = self._arrays[2], self._arrays[3]
        if head[COUNT] < count and head[BOUNDED]:
            return [self._seat(seat) for seat in self._seats_on(self._columns.rows)[:count]]
        return [self._seat(seat) for seat in sorted(remembered[: head[COUNT]].tolist())[:count]]

    def best_valued(self, worth: Worth, count: int = 1, among: Set[Id] | None = None) -> list[Seat]:
        """The nodes whose value falls least, at most so many, each with how a replica would sit there (P3)."""
        alone = count == 1 and among is None
        found = self._first_valued(worth) if alone else self._valued(worth, count, among)
        return [self._seat(seat) for _, seat in found]

    def least_loss(self, worth: Worth) -> Loss | None:
        """Of the best of these nodes; None where there is none."""
        found = self._first_valued(worth)
        return found[0][0] if found else None

    def _first_valued(self, worth: Worth) -> list[tuple[Loss, list[int]]]:
        """The best of them, if there is one; found once, until a node changes."""
        known, key = self.known, ("valued", worth.version)
        if key not in known:
            known[key] = self._valued(worth, 1, None) if self._first() else []
        return known[key]  # type: ignore[no-any-return]

    def _valued(self, worth: Worth, count: int, among: Set[Id] | None) -> list[tuple[Loss, list[int]]]:
        columns, (asked, pools, *_) = self._columns, self._readable()
        rows = np.arange(columns.size)
        if among is not None:
            rows = np.array([columns.rows[node] for node in among if node in columns.rows], np.int64)
        seats = np.zeros((len(rows) + 1, SEAT_FIELDS), np.int64)
        look = columns.over(seats_on)
        found = look(
            columns.nodes, columns.chips, columns.readable(rows), asked, pools, columns.readable(seats)
        )
        if not found:
            return []
        chosen, losses = worth.in_order(asked, seats, found)
        if count == 1:
            first = [worth.best(seats, chosen, losses)]
        else:
            scores = [
                (*seats[at, :2].tolist(), int(losses[at]), *seats[at, 2:].tolist(), at) for at in chosen
            ]
            first = [score[-1] for score in sorted(scores)[:count]]
        return [((*seats[at, :2].tolist(), int(losses[at])), seats[at].tolist()) for at in first]

    def _first(self) -> list[Seat]:
        """The best seat, if there is one; found once, until a node changes."""
        known = self.known
        if "first" not in known:
            best = None if self.is_known_to_be_full else self._best_one()
            known["first"] = [] if best is None else [self._seat(best)]
        return known["first"]  # type: ignore[no-any-return]

    def _best_one(self) -> list[int] | None:
        """The best seat; None where there is none."""
        columns, shelves = self._columns, self._ledger.shelves
        if not shelves.serve():
            at = self._best()
            return None if at < 0 else self._arrays[2][at].tolist()
        asked, pools, *_ = self._readable()
        look: Any = columns.over(best_on_shelves)
        seat = self._one_seat
        if look(columns.nodes, columns.chips, *shelves.tables, asked, 0, pools, seat):
            found: list[int] = seat[0].tolist()
            return found
        return None

    def _best(self) -> int:
        """Where among the remembered seats the best one stands; -1 where there is none."""
        columns, arrays = self._columns, self._readable()
        return self._best_seat(
            columns.nodes, columns.chips, columns.changed, columns.log, columns.changes, *arrays[:ONE_SEAT]
        )

    def on(self, node: Id) -> Seat | None:
        """How a replica would sit on just this node; None when it cannot."""
        found = self._seats_on([node])
        return self._seat(found[0]) if found else None

    def takes(self, node: Id) -> bool:
        """Whether a replica could sit on just this node."""
        columns = self._columns
        row = columns.rows.get(node)
        if row is None:
            return False
        asked, pools, *_ = self._readable()
        look = columns.over(has_a_seat)
        return bool(look(columns.nodes, columns.chips, row, asked, pools, self._tables[ONE_SEAT]))

    def could_take(self, node: Id) -> bool:
        """Whether a replica could sit on just this node at some time, whatever is held of it and in service now."""
        columns = self._columns
        if self._could_as_of != columns.built:
            self._could, self._could_as_of = {}, columns.built
        known = self._could.get(node)
        if known is None:
            asked, pools, *_ = self._readable()
            row, look = columns.rows.get(node), columns.over(could_take)
            known = row is not None and bool(look(columns.nodes, columns.chips, row, asked, pools))
            self._could[node] = known
        return known

    def nodes(self) -> list[Id]:
        """Every node that can take a replica, in no order."""
        if self.known.get("first") == []:
            return []
        columns, (asked, pools, seats, *_) = self._columns, self._readable()
        found = np.zeros(self._rows, np.int64)
        look = columns.over(rows_with_seats)
        count = look(columns.nodes, columns.chips, asked, pools, seats, columns.readable(found))
        return [columns.ids[row] for row in found[:count].tolist()]

    def _readable(self) -> tuple[Any, ...]:
        """The arrays as loops over so many rows want them."""
        rows = self._columns.size
        if rows != self._rows:
            self._rows = rows
            self._tables = tuple(map(self._columns.readable, (*self._arrays, self._one_seat)))
            self._best_seat = self._columns.over(best_seat)
        return self._tables

    def _seats_on(self, nodes: Iterable[Id]) -> list[list[int]]:
        """The seats on these nodes, best first."""
        columns = self._columns
        rows = [columns.rows[node] for node in nodes if node in columns.rows]
        if not rows:
            return []
        asked, pools, *_ = self._readable()
        found = np.zeros((len(rows) + 1, SEAT_FIELDS), np.int64)
        wanted, look = columns.readable(np.array(rows, np.int64)), columns.over(seats_on)
        count = look(columns.nodes, columns.chips, wanted, asked, pools, columns.readable(found))
        return sorted(found[:count].tolist())

    def _seat(self, seat: list[int]) -> Seat:
        """The seat with its chips by id."""
        columns, row = self._columns, seat[ROW]
        ids = columns.chip_ids[row]
        if not self.need.request.chips:
            sliced = wants_slice(self.need.request)
            part = (ChipShare(ids[seat[AT]], seat[SHARE], seat[SHARE_MEMORY]),) if sliced else ()
            return Seat(seat[ORDER - 1], seat[CHARGE], part)
        asked = self._tables[0]
        chosen = np.zeros(self.need.request.chips, np.int64)
        look = columns.over(chips_of)
        look(columns.nodes, columns.chips, row, asked, 0, columns.readable(chosen))
        memories = columns.chip_memories[row]
        found = [ChipShare(ids[at], WHOLE_CHIP, memories[at]) for at in chosen.tolist()]
        found.sort(key=_by_chip)
        return Seat(seat[ORDER - 1], seat[CHARGE], tuple(found))


def _by_chip(share: ChipShare) -> Id:
    return share.chip
