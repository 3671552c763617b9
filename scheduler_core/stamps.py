"""Which state of the nodes is which, and whether room was made on the way from one to another."""

from __future__ import annotations

from bisect import bisect_left


class Stamps:
    """A number for every state of a ledger's nodes, the trial included. One that was rewound has none any more."""

    __slots__ = ("_before", "_last", "_made_room", "now")

    def __init__(self) -> None:
        self.now = 0
        """Of the nodes as they are now."""
        self._last = 0
        self._made_room = 0
        """Of the last state that has more room than the one before."""
        self._before: list[tuple[int, int]] = []
        """Of every state that a rewind comes back to, the earliest first: its number, and this one of then."""

    def go_on(self, *, makes_room: bool = True) -> None:
        """A node has changed, in the trial."""
        self._before.append((self.now, self._made_room))
        self.renew()
        if makes_room:
            self._made_room = self.now

    def renew(self) -> None:
        """Something has changed for good."""
        self._last += 1
        self.now = self._last

    def go_back(self) -> None:
        """The last change in the trial is undone."""
        self.now, self._made_room = self._before.pop()

    def settle(self) -> None:
        """What was done so far stays."""
        self._before.clear()
        self._made_room = self.now

    def lies_before(self, stamp: int) -> bool:
        """Whether a rewind may come back to that state."""
        at = bisect_left(self._before, (stamp,))
        return at < len(self._before) and self._before[at][0] == stamp

    def only_less_room_since(self, stamp: int) -> bool:
        """Whether things were held or closed since that state, and nothing else: what did not fit then does not
        fit now. False where that state is not on the way to the present one.
        """
        if stamp == self.now:
            return True
        return stamp >= self._made_room and self.lies_before(stamp)
