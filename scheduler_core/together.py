"""Places for gangs that are resized together (E1): small ones first, each on one node where it can be, larger
ones on few.

Whoever is resized starts anew, so all of it is placed anew, on what is free and on what the others leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Gang, Id, Placement
from scheduler_core.placement import Placer
from scheduler_core.players import Player
from scheduler_core.shape import tenant

MOST_TOGETHER: Final = 16
"""Chips that are looked for on one node: nodes with more are rare."""

Placements: TypeAlias = tuple[Placement, ...]


class Places:
    """Works in the ledger's trial."""

    def __init__(self, ledger: Ledger, placer: Placer) -> None:
        self._ledger, self._placer = ledger, placer

    def of(
        self, changed: Sequence[Player], sizes: Mapping[Id, int], widest: int
    ) -> tuple[dict[Id, Placements], Id | None]:
        """Places for all of them together; or who found none. Nothing is held afterwards."""
        mark = self._ledger.mark()
        for player in changed:
            self.take_off(player)
        placed: dict[Id, Placements] = {}
        stuck = None
        for player in sorted(changed, key=lambda player: _by_size(player, sizes[player.id], widest)):
            placed[player.id] = self._place(player, sizes[player.id])
            if not placed[player.id]:
                stuck = player.id
                break
        self._ledger.rewind(mark)
        return placed, stuck

    def take_off(self, player: Player) -> None:
        """What it holds is free."""
        if player.attempt is not None:
            self._ledger.lift(player.attempt)
        elif player.start is not None:
            kind, placements = player.kind, player.start.placements
            by = tenant(kind.organization, kind.gang.request.isolation)
            for place in placements:
                self._ledger.unshadow(place, by=by)
            self._ledger.bill(
                placements, team=kind.team, preemptible=kind.preemptible, sign=-1, user=kind.user
            )

    def _place(self, player: Player, size: int) -> Placements:
        """Places for so many replicas, or as many as there is room for, but never as many as it has; held."""
        grows = size > player.has
        least = max(player.has + 1 if grows else 1, player.rule.minimum)
        for replicas in range(size, least - 1, -1):
            if placements := self._together(player, replicas) or self._anywhere(player, replicas):
                return placements
        return ()

    def _anywhere(self, player: Player, replicas: int) -> Placements:
        gang = player.kind.gang
        return self._placer.place(
            replace(player.kind, gang=replace(gang, minimum=replicas, maximum=replicas))
        )

    def _together(self, player: Player, replicas: int) -> Placements:
        """On one node, else on as few as can be found; none where the gang may not, or its chips are parts."""
        gang = player.kind.gang
        request = gang.request
        if gang.spread or gang.within or gang.near or not request.chips or replicas == 1:
            return ()
        mark = self._ledger.mark()
        parts: list[Placement] = []
        count = max(min(replicas, MOST_TOGETHER // request.chips), 1)
        while replicas and count:
            count = min(count, replicas)
            merged = replace(
                request, chips=request.chips * count, cpu=request.cpu * count, memory=request.memory * count
            )
            whole = self._placer.place(
                replace(player.kind, gang=replace(gang, request=merged, minimum=1, maximum=1))
            )
            if whole:
                parts += _split(whole[0], count, len(parts), gang)
                replicas -= count
            else:
                count -= 1
        if replicas:
            self._ledger.rewind(mark)
            return ()
        return tuple(parts)


def _split(whole: Placement, count: int, first: int, gang: Gang) -> list[Placement]:
    """The placement of so many replicas as one, replica by replica."""
    request = gang.request
    shares: tuple[ChipShare, ...] = whole.chips
    return [
        Placement(
            first + n,
            whole.node,
            request.cpu,
            request.memory,
            shares[n * request.chips : (n + 1) * request.chips],
        )
        for n in range(count)
    ]


def _by_size(player: Player, replicas: int, widest: int) -> tuple[bool, int, Id]:
    """Those that one node can take first, the largest of them first."""
    chips = replicas * player.kind.gang.request.chips
    return chips > widest, -chips, player.id
