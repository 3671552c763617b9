"""Nodes that close: a planned drain, or a window in which only one team may hold them (B5).

A node that closes is kept from everybody first; whoever will be gone in time, and the team of a window, may
still use it where nothing else will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Window
from scheduler_core.ordering import JobClass

ALREADY = -1
"""The instant at which a node closed that is closed now; before every other."""


class Closing:
    """The nodes that close, in one cycle."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._now = 0
        self.closed: dict[Id, str] = {}
        """Nodes that are kept from everybody in the trial, each with why."""
        self._windows: list[Window] = []
        self._of_team: dict[Id, Mapping[Id, int]] = {}

    def begin(self, now: int) -> None:
        """Every node that will close, or has, is closed in the trial."""
        ledger = self._ledger
        self._now = now
        self._of_team = {}
        self._windows = sorted(
            (window for window in ledger.windows.values() if window.ends > now), key=lambda window: window.id
        )
        reasons = dict.fromkeys(ledger.draining, "drained")
        for window in self._windows:
            reasons |= {node: "reserved" for node in window.nodes if node not in reasons}
        self.closed = {}
        for node, why in sorted(reasons.items()):
            state = ledger.states.get(node)
            if state is not None and state.frame.build.unready is None:
                self.closed[node] = why
                ledger.close(node, why)

    def turns(self) -> Iterator[int]:
        """Every instant ahead at which a node closes or opens, in any order (S6)."""
        if self.closed:
            instants = [instant for window in self._windows for instant in (window.starts, window.ends)]
            instants += [drain for node in self.closed if (drain := self._ledger.nodes[node].drain_at)]
            yield from (instant for instant in instants if instant > self._now)

    def stays_open_until(self, kind: JobClass) -> Iterator[int]:
        """For each node that closes to this class: the last instant at which it may still start there."""
        if kind.longest is not None:
            yield from (closes - kind.longest for closes in self.of(kind).values() if closes != ALREADY)

    def of(self, kind: JobClass) -> Mapping[Id, int]:
        """Until when this class may use each node that closes to it."""
        if not self.closed:
            return {}
        known = self._of_team.get(kind.team)
        if known is None:
            known = self._of_team[kind.team] = self._for_team(kind.team)
        return known

    def open_to(self, kind: JobClass) -> list[Id]:
        """The nodes that this class may use although they close; they are open in the trial now."""
        closes = self.of(kind)
        opened = [node for node in self.closed if self._may_use(kind, closes.get(node))]
        for node in opened:
            self._ledger.open(node)
        return opened

    def close_again(self, nodes: Iterable[Id]) -> None:
        """These nodes are kept from everybody again."""
        for node in nodes:
            self._ledger.close(node, self.closed[node])

    def _may_use(self, kind: JobClass, closes: int | None) -> bool:
        return closes is None or (kind.longest is not None and self._now + kind.longest <= closes)

    def _for_team(self, team: Id) -> dict[Id, int]:
        closes: dict[Id, int] = {}
        for node in self.closed:
            drain_at = self._ledger.nodes[node].drain_at
            if drain_at is not None:
                closes[node] = drain_at
        for window in self._windows:
            if window.team not in self._ledger.payers(team):
                starts = window.starts if window.starts > self._now else ALREADY
                for node in window.nodes:
                    if node in self.closed:
                        closes[node] = min(closes.get(node, starts), starts)
        return closes
