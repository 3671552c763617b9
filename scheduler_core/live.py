"""The part of the books that live attempts fill: what they hold and are charged, and in which order to look at them.

An attempt that begins is noted alone. Those that live when the books are opened, and those that end, are many at a
time: what they hold moves in one loop over rows, what they are charged in one sum for each team.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from scheduler_core.model import AllocationKind, Id, Placement, Running
from scheduler_core.ordered import Ordered
from scheduler_core.returned import move_all
from scheduler_core.shape import Tenant, tenant
from scheduler_core.trial import MOVED, Trial

Listed = tuple[int, int, Id]
"""A live attempt among those to look at (R1): (-service level if it saves its state, else 0; -saved; id)."""

FEW = 4
"""Placements up to which it is as quick to move them one by one."""


class Live(Trial):
    """Live attempts, and every sum that follows from them."""

    running: dict[Id, Running]
    guests: dict[Id, Running]
    """Live attempts on lent chips (T3): in no sum but `live_of_job` and `live_of_set` (ADR 0007)."""
    of_user: dict[tuple[Id, Id, str], int]
    """The part of `own` that each user of the team is charged (F5)."""

    def _nobody_lives(self) -> None:
        """What is kept beside the rows, empty."""
        self.preemptible_of: dict[Id, dict[int, Ordered[Listed]]] = {}
        """Of a team, what may be taken from it (F4), by priority, in the order in which to look at it."""
        self.levels: dict[Id, int] = {}  # the service level that live attempts have reached (ADR 0004)
        self.elastic: set[Id] = set()
        """Live attempts whose number of replicas may change (E1)."""
        self.spare: set[Id] = set()  # live attempts with more replicas than their minimum (R4)
        self.unsaved: set[Id] = set()  # live preemptible attempts that would start from nothing (R3)
        self.roaming: set[Id] = set()  # live attempts that may move (R7), also to chips of another type
        self.restless: set[Id] = set()  # live attempts that are to go on elsewhere (R8)
        self._running_on: dict[Id, set[Id]] = {}
        self._types_of: dict[Id, tuple[str, ...]] = {}

    @abstractmethod
    def charges(self, placement: Placement) -> Iterator[tuple[str, int]]:
        """Chip type and milli-chips that quota charges for each share of a placement (Q3)."""

    @abstractmethod
    def payers(self, team: Id) -> tuple[Id, ...]:
        """The team and every team above it, lowest first: all of them are charged for its work (F1)."""

    def live(self, attempt: Id) -> Running | None:
        """The live attempt, guest or not."""
        return self.running.get(attempt) or self.guests.get(attempt)

    def running_on(self, node: Id) -> list[Running]:
        """The live attempts that hold something of this node, by id."""
        return [self.running[attempt] for attempt in sorted(self._running_on.get(node, ()))]

    def types_of(self, attempt: Running) -> tuple[str, ...]:
        """The chip types of which a live attempt holds something."""
        types = self._types_of.get(attempt.id)
        if types is None:
            held = {chip_type for place in attempt.placements for chip_type, _ in self.charges(place)}
            types = self._types_of[attempt.id] = tuple(sorted(held))
        return types

    def stand(self, attempt_id: Id, level: int) -> None:
        """This live attempt stands on this service level from now on."""
        attempt = self.running[attempt_id]
        before = self._listed(attempt)
        self.levels[attempt_id] = level
        after = self._listed(attempt)
        if before != after and not attempt.departing:
            listed = self.preemptible_of[attempt.team][attempt.priority]
            listed.remove(before)
            listed.add(after)

    def _start(self, attempt: Running) -> None:
        if not self._enter(attempt):
            return
        by = tenant(attempt.organization, attempt.isolation)
        for placement in attempt.placements:
            self._move(placement, by, 1)
        self._charge_all(attempt, 1)

    def _start_all(self, attempts: Iterable[Running]) -> None:
        """For good: nothing of it can be undone."""
        self._hold_all([attempt for attempt in attempts if self._enter(attempt)], 1)

    def _enter(self, attempt: Running) -> bool:
        """The attempt is among those to look at. Whether it holds anything: a guest is in no sum."""
        self._count_live(attempt.job, attempt.set, 1)
        if attempt.kind is AllocationKind.GUEST:
            self.guests[attempt.id] = attempt
            return False
        self.running[attempt.id] = attempt
        if attempt.gang is not None and attempt.gang.minimum < attempt.gang.maximum:
            self.elastic.add(attempt.id)
        if attempt.gang is not None and attempt.gang.minimum < len(attempt.placements):
            self.spare.add(attempt.id)
        if attempt.preemptible and not attempt.checkpoint:
            self.unsaved.add(attempt.id)
        if attempt.checkpoint and attempt.gang is not None and len(attempt.gang.request.chip_types) != 1:
            self.roaming.add(attempt.id)
        if attempt.unwanted and attempt.preemptible and attempt.gang is not None and not attempt.departing:
            self.restless.add(attempt.id)
        if attempt.preemptible and not attempt.departing:
            of_team = self.preemptible_of.setdefault(attempt.team, {})
            if attempt.priority not in of_team:
                of_team[attempt.priority] = Ordered()
            of_team[attempt.priority].add(self._listed(attempt))
        for placement in attempt.placements:
            self._running_on.setdefault(placement.node, set()).add(attempt.id)
        return True

    def _end(self, attempts: Collection[Id]) -> list[Running]:
        """These attempts live no longer; those that never did are left alone. The others, guests first."""
        guests = [self.guests.pop(attempt) for attempt in attempts if attempt in self.guests]
        ended = [self.running.pop(attempt) for attempt in attempts if attempt in self.running]
        for some in (self.elastic, self.spare, self.unsaved, self.roaming, self.restless):
            some.difference_update(attempts)
        for attempt in ended:
            self._unlist(attempt)
            for placement in attempt.placements:
                self._running_on[placement.node].discard(attempt.id)
        self._hold_all(ended, -1)
        for attempt in (*guests, *ended):
            self._count_live(attempt.job, attempt.set, -1)
        return [*guests, *ended]

    def _unlist(self, attempt: Running) -> None:
        """The attempt is not among those to look at any more."""
        self._types_of.pop(attempt.id, None)
        if attempt.preemptible and not attempt.departing:
            of_team = self.preemptible_of[attempt.team]
            listed = of_team[attempt.priority]
            listed.remove(self._listed(attempt))
            if not listed:
                del of_team[attempt.priority]
            if not of_team:
                del self.preemptible_of[attempt.team]

    def _hold_all(self, attempts: Iterable[Running], sign: int) -> None:
        """They hold what they hold and are charged for it, or with sign -1 no longer. For good: nothing of it can be
        undone."""
        moves, sums = list[tuple[Placement, Tenant]](), Counter[Any]()
        for attempt in attempts:
            by = tenant(attempt.organization, attempt.isolation)
            moves += [(placement, by) for placement in attempt.placements]
            staying = (attempt.team, attempt.user, attempt.preemptible)
            for placement in attempt.staying:
                for chip_type, milli in self.charges(placement):
                    sums[staying, chip_type] += milli
        self._move_all(moves, sign)
        for ((team, user, preemptible), chip_type), milli in sums.items():
            self._charge(team, preemptible, chip_type, sign * milli, user)

    def _move_all(self, moves: list[tuple[Placement, Tenant]], sign: int) -> None:
        if len(moves) <= FEW:
            for placement, by in moves:
                self._move(placement, by, sign)
            return
        self.stamps.renew()
        for node, overdrawn in move_all(self.columns, moves, sign):
            (self.overdrawn.add if overdrawn else self.overdrawn.discard)(node)

    def _listed(self, attempt: Running) -> Listed:
        level = self.levels.get(attempt.id, 0) if attempt.checkpoint else 0
        return -level, -attempt.saved, attempt.id

    # -- one way to change a sum --------------------------------------------------------------------------

    def _move(self, placement: Placement, by: Tenant, sign: int, *, makes_room: bool = True) -> None:
        self._undo.append((MOVED, (placement, by), sign))
        self.stamps.go_on(makes_room=makes_room)
        self._moved(placement, by, sign)

    def _charge_all(self, attempt: Running, sign: int) -> None:
        for placement in attempt.staying:
            self._charge_placement(attempt.team, attempt.preemptible, placement, sign, attempt.user)

    def _charge_placement(
        self,
        team: Id,
        preemptible: bool,
        placement: Placement,
        sign: int,
        user: Id | None = None,
        *,
        in_line: bool = True,
    ) -> None:
        sums: dict[str, int] = {}
        for chip_type, milli in self.charges(placement):
            sums[chip_type] = sums.get(chip_type, 0) + milli
        for chip_type, milli in sums.items():
            self._charge(team, preemptible, chip_type, sign * milli, user, in_line=in_line)

    def _charge(
        self,
        team: Id,
        preemptible: bool,
        chip_type: str,
        milli: int,
        user: Id | None = None,
        *,
        in_line: bool = True,
    ) -> None:
        for payer in self.payers(team):
            self._add(self.used, (payer, chip_type), milli)
        if in_line:
            self._add(self.own, (team, chip_type), milli)
        if not preemptible:
            self._add(self.firm, (team, chip_type), milli)
        if user is not None:
            self._add(self.of_user, (team, user, chip_type), milli)
