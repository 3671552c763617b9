"""The books of a cell: every row, and what is held of it (S1).

Rows come in by feed events, in any order; sums always follow from the rows alone, so that a ledger kept for a
week and one built from a snapshot agree. A *trial* on top lets the units of one decision stack and then
vanish.

Promises: `note` costs time in proportion to the change. Leaves to others: every rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Any, Final

from scheduler_core.columns import Columns
from scheduler_core.compiled import LONG
from scheduler_core.live import Live
from scheduler_core.model import (
    WHOLE_CHIP,
    Chip,
    FeedEvent,
    Id,
    Job,
    Node,
    Placement,
    Pool,
    Promise,
    Quota,
    Reservation,
    Row,
    Running,
    Seen,
    Snapshot,
    Team,
    Upsert,
    Window,
)
from scheduler_core.shape import NodeState, Tenant, tenant
from scheduler_core.shelves import Shelves
from scheduler_core.slices import charge
from scheduler_core.stamps import Stamps
from scheduler_core.trial import TURNED, Use

REFERENCE_SPEED: Final = 1000
"""Of a chip as fast as the reference (Q4)."""


class Ledger(Live):
    """Rows and sums of one cell. Reading is free to all; only `note`, `hold` and `rewind` change it."""

    def __init__(self, snapshot: Snapshot, machine_from: int = LONG) -> None:
        self.pools: dict[Id, Pool] = {pool.id: pool for pool in snapshot.pools}
        self.nodes: dict[Id, Node] = {node.id: node for node in snapshot.nodes}
        self.chips: dict[Id, Chip] = {}
        self.teams: dict[Id, Team] = {}
        self.quotas: dict[Use, Quota] = {}
        """Every team's quota rows, found by team and chip type."""
        self.running: dict[Id, Running] = {}
        self.guests: dict[Id, Running] = {}
        """Live attempts on lent chips (T3): in no sum but `live_of_job` and `live_of_set` (ADR 0007)."""
        self.promises: dict[Id, Promise] = {promise.job: promise for promise in snapshot.promises}
        self.reservations: dict[Id, Reservation] = {row.job: row for row in snapshot.reservations}
        self.windows: dict[Id, Window] = {window.id: window for window in snapshot.windows}
        self.seen: dict[Id, Seen] = {row.id: row for row in snapshot.seen}
        self.columns = Columns(len(snapshot.nodes), machine_from)
        self.shelves = Shelves(self.columns)
        self.states: Mapping[Id, NodeState] = self.columns.states  # what each node has left
        self.used: dict[Use, int] = {}
        """Milli-chips charged to a team and to all teams below it, per chip type (Q3): what limits bound. What
        is on its way out is charged to nobody: its chips were promised, and are charged, to somebody else (R6)."""
        self.own: dict[Use, int] = {}
        """The part of `used` that the team's own work is charged: what shares are taken of (F3)."""
        self.firm: dict[Use, int] = {}
        """The part of `own` that is not preemptible (F4)."""
        self.of_user: dict[tuple[Id, Id, str], int] = {}
        """The part of `own` that each user of the team is charged (F5)."""
        self.capacity: dict[str, int] = {}
        """Milli-chips per type that are healthy and on nodes in service (F2)."""
        self.terms = 0
        """A number for the teams, their quotas, the capacity and the chip types as they are now."""
        self._on_terms: tuple[int, dict[Hashable, Any]] = (0, {})
        self.live_of_set: dict[Id, int] = {}
        self.live_of_job: dict[Id, int] = {}
        self.overdrawn: set[Id] = set()  # nodes of which more is held than they have
        self.draining: set[Id] = set()  # nodes that are drained, or will be (B5)
        self.stamps = Stamps()
        """A number for all nodes and pools as they are now; a rewound trial leaves it as it was."""
        self._note_nothing()
        self._list(snapshot)

    def _note_nothing(self) -> None:
        """What is kept beside the rows, empty."""
        self._nobody_lives()
        self._plain: dict[Any, dict[Id, Any]] = {
            Promise: self.promises, Reservation: self.reservations, Window: self.windows, Seen: self.seen
        }  # fmt: skip
        self._chips_of: dict[Id, dict[Id, Chip]] = {}
        self._payers: dict[Id, tuple[Id, ...]] = {}
        self._capacity_of: dict[Id, dict[str, int]] = {}
        self._kinds: dict[tuple[str, int, int], int] = {}
        self._types: tuple[str, ...] | None = None
        self._undo: list[tuple[Any, Any, Any]] = []

    def _list(self, snapshot: Snapshot) -> None:
        for team in snapshot.teams:
            self._list_team(team)
        for chip in snapshot.chips:
            self._list_chip(chip)
        for node in self.nodes:
            self._clear_node(node)
        self._start_all(snapshot.running)
        self._settle()

    # -- what is known ------------------------------------------------------------------------------------

    def chip_types(self) -> tuple[str, ...]:
        """The cell's chip types: fastest first, then least memory, then name."""
        if self._types is None:
            best: dict[str, tuple[int, int]] = {}
            for name, speed, memory in self._kinds:
                best[name] = min(best.get(name, (-speed, memory)), (-speed, memory))
            self._types = tuple(sorted(best, key=lambda name: (best[name], name)))
        return self._types

    def chip_memories(self, chip_type: str) -> list[int]:
        """The different memory sizes that chips of this type have, least first."""
        return sorted({memory for name, _, memory in self._kinds if name == chip_type})

    @property
    def on_terms(self) -> dict[Hashable, Any]:
        """What was found out of `terms` alone; empty when they have changed."""
        if self._on_terms[0] != self.terms:
            self._on_terms = self.terms, {}
        return self._on_terms[1]

    def sizes(self) -> tuple[Any, ...]:
        """What least charges and the order of chip types depend on: which chips there are, and how they are cut."""
        step = min((pool.slice_step for pool in self.pools.values()), default=1)
        return self.chip_types(), frozenset(self._kinds), step

    def speed(self, chip_type: str) -> int:
        """Relative speed of the fastest chips of the type; the reference's where there are none (Q4)."""
        return max((speed for name, speed, _ in self._kinds if name == chip_type), default=REFERENCE_SPEED)

    def charges(self, placement: Placement) -> Iterator[tuple[str, int]]:
        """Chip type and milli-chips that quota charges for each share of a placement (Q3)."""
        for share in placement.chips:
            chip = self.chips.get(share.chip)
            if chip is not None and chip.node == placement.node:
                yield chip.type, charge(share.milli, share.memory, chip.memory)

    def capacity_on(self, node: Id, chip_type: str) -> int:
        """Milli-chips of the type that are healthy there; none while the node is out of service."""
        return self._capacity_of.get(node, {}).get(chip_type, 0)

    def payers(self, team: Id) -> tuple[Id, ...]:
        """The team and every team above it, lowest first: all of them are charged for its work (F1)."""
        line = self._payers.get(team)
        if line is None:
            above: dict[Id, None] = {}
            at: Id | None = team
            while at is not None and at not in above:
                above[at] = None
                row = self.teams.get(at)
                at = row.parent if row else None
            line = self._payers[team] = tuple(above)
        return line

    # -- what becomes known -------------------------------------------------------------------------------

    def note(self, event: FeedEvent) -> None:
        """The rows and every sum are as the event says. Twice, or out of order between kinds, is harmless."""
        if isinstance(event, Upsert):
            self._note_row(event.row)
        else:
            self._forget(event.kind, event.id)
        self._settle()

    def note_ends(self, attempts: Collection[Id]) -> list[Running]:
        """The same of many attempts that live no longer: those of them that lived until now."""
        ended = self._end(attempts)
        self._settle()
        return ended

    def _settle(self) -> None:
        """What was done so far stays."""
        self._undo.clear()
        self.stamps.settle()

    def _note_row(self, row: Row) -> None:
        if isinstance(row, Running):
            if self.live(row.id) != row:
                self._end([row.id])
                self._start(row)
        elif isinstance(row, Chip):
            if (old := self.chips.get(row.id)) != row:
                places = {row.node} if old is None else {row.node, old.node}
                self._with_work_lifted(places, lambda: self._list_chip(row))
        elif isinstance(row, Node):
            if self.nodes.get(row.id) != row:
                self._with_work_lifted({row.id}, lambda: self.nodes.__setitem__(row.id, row))
        elif isinstance(row, Pool):
            self.stamps.renew()
            if self.pools.get(row.id) != row:
                self._with_work_lifted(self._nodes_of(row.id), lambda: self.pools.__setitem__(row.id, row))
        elif isinstance(row, Team):
            self._with_bills_lifted(row.id, row.parent, lambda: self._list_team(row))
        elif (plain := self._plain.get(type(row))) is not None:
            plain[row.id] = row

    def _forget(self, kind: type[Row], row: Id) -> None:
        if kind is Running:
            self._end([row])
        elif kind is Chip:
            if (chip := self.chips.get(row)) is not None:
                self._with_work_lifted({chip.node}, lambda: self._unlist_chip(row))
        elif kind is Node:
            self._with_work_lifted({row}, lambda: self.nodes.pop(row, None))
        elif kind is Pool:
            self.stamps.renew()
            self._with_work_lifted(self._nodes_of(row), lambda: self.pools.pop(row, None))
        elif kind is Team:
            self._with_bills_lifted(row, None, lambda: self._unlist_team(row))
        elif kind in self._plain:
            self._plain[kind].pop(row, None)

    def _with_work_lifted(self, nodes: Iterable[Id], change: Callable[[], object]) -> None:
        """Change what these nodes are, with the work on them taken off before and charged anew after."""
        nodes = list(nodes)
        touched = {attempt for node in nodes for attempt in self._running_on.get(node, ())}
        lifted = [self.running[attempt] for attempt in sorted(touched)]
        self._end([attempt.id for attempt in lifted])
        change()
        for node in nodes:
            self._clear_node(node)
        for attempt in lifted:
            self._start(attempt)

    def _with_bills_lifted(self, team_id: Id, parent: Id | None, change: Callable[[], object]) -> None:
        """Change a team. Where that moves it under another parent, all work that it pays for is charged anew."""
        old = self.teams.get(team_id)
        if (old.parent if old else None) == parent:
            change()
            return
        moved = [attempt for attempt in self.running.values() if team_id in self.payers(attempt.team)]
        for attempt in moved:
            self._charge_all(attempt, -1)
        change()
        self._payers.clear()
        for attempt in moved:
            self._charge_all(attempt, 1)

    def _nodes_of(self, pool: Id) -> list[Id]:
        return [node.id for node in self.nodes.values() if node.pool == pool]

    def _list_team(self, team: Team) -> None:
        self._unlist_team(team.id)
        self.teams[team.id] = team
        self.quotas.update({(team.id, quota.chip_type): quota for quota in reversed(team.quotas)})

    def _unlist_team(self, team_id: Id) -> None:
        self.terms += 1
        old = self.teams.pop(team_id, None)
        for quota in old.quotas if old else ():
            self.quotas.pop((team_id, quota.chip_type), None)

    def _list_chip(self, chip: Chip) -> None:
        self._unlist_chip(chip.id)
        self.chips[chip.id] = chip
        self._chips_of.setdefault(chip.node, {})[chip.id] = chip
        self._count_kind(chip, 1)

    def _unlist_chip(self, chip_id: Id) -> None:
        old = self.chips.pop(chip_id, None)
        if old is not None:
            self._chips_of[old.node].pop(chip_id)
            self._count_kind(old, -1)

    def _count_kind(self, chip: Chip, by: int) -> None:
        self.terms += 1
        kind = (chip.type, chip.speed, chip.memory)
        count = self._kinds.pop(kind, 0) + by
        if count:
            self._kinds[kind] = count
        self._types = None

    def _clear_node(self, node_id: Id) -> None:
        """The node's state with nothing on it; no state when there is no such node."""
        node = self.nodes.get(node_id)
        self._count_capacity(node_id, node)
        self.stamps.renew()
        self.overdrawn.discard(node_id)
        drains = node is not None and node.drain_at is not None
        (self.draining.add if drains else self.draining.discard)(node_id)
        if node is None:
            self.columns.forget_node(node_id)
            return
        pool = self.pools.get(node.pool) or Pool(node.pool, f"{node.pool}")
        self.columns.list_node(node, pool.slice_step, self._chips_of.get(node_id, {}).values())

    def _count_capacity(self, node_id: Id, node: Node | None) -> None:
        """What the node adds to the cell's capacity is as its chips are now."""
        self.terms += 1
        for chip_type, milli in self._capacity_of.pop(node_id, {}).items():
            self.capacity[chip_type] -= milli
        here: dict[str, int] = {}
        for chip in self._chips_of.get(node_id, {}).values() if node and node.ready else ():
            if chip.healthy:
                here[chip.type] = here.get(chip.type, 0) + WHOLE_CHIP
        for chip_type, milli in here.items():
            self.capacity[chip_type] = self.capacity.get(chip_type, 0) + milli
        if here:
            self._capacity_of[node_id] = here

    # -- what is tried ------------------------------------------------------------------------------------

    def hold(
        self, placement: Placement, *, team: Id, preemptible: bool, by: Tenant, user: Id | None = None
    ) -> None:
        """One replica of a waiting job holds this placement, until rewound. `user`: who is charged too (F5)."""
        self._move(placement, by, 1, makes_room=False)
        self._charge_placement(team, preemptible, placement, 1, user)

    def shadow(self, placement: Placement, *, by: Tenant) -> None:
        """This placement is kept free for somebody and charged to nobody, until rewound."""
        self._move(placement, by, 1, makes_room=False)

    def unshadow(self, placement: Placement, *, by: Tenant) -> None:
        """What `shadow` kept free is free to all again, until rewound."""
        self._move(placement, by, -1)

    def close(self, node: Id, because: str) -> None:
        """Nothing new may be placed on this node, until it is opened or rewound."""
        self._turn(node, because, makes_room=False)

    def open(self, node: Id) -> None:
        """What `close` closed takes new work again, until rewound."""
        self._turn(node, None, makes_room=True)

    def bill(
        self,
        placements: Iterable[Placement],
        *,
        team: Id,
        preemptible: bool,
        sign: int,
        user: Id | None = None,
        in_line: bool = True,
    ) -> None:
        """The team is charged for these placements, or no longer (`sign` -1), until rewound; nothing is held.
        `in_line` False leaves `own` alone, which decides the team's place in line (F3).
        """
        for placement in placements:
            self._charge_placement(team, preemptible, placement, sign, user, in_line=in_line)

    def lift(self, attempt: Running, placements: Iterable[Placement] | None = None) -> None:
        """What the attempt holds, or these placements of it alone, is free and charged to nobody, until
        rewound. It still counts as known.
        """
        self._lift(attempt, placements, 1)

    def put_back(self, attempt: Running, placements: Iterable[Placement] | None = None) -> None:
        """What was lifted is held and charged again, until rewound."""
        self._lift(attempt, placements, -1)

    def _lift(self, attempt: Running, placements: Iterable[Placement] | None, sign: int) -> None:
        by = tenant(attempt.organization, attempt.isolation)
        staying = attempt.staying
        for placement in attempt.placements if placements is None else placements:
            self._move(placement, by, -sign)
            if placement in staying:
                self._charge_placement(attempt.team, attempt.preemptible, placement, -sign, attempt.user)
        if placements is None:
            self._count_live(attempt.job, attempt.set, -sign)

    def count_start(self, job: Job, by: int = 1) -> None:
        """The job counts as live, or with -1 no longer, until rewound."""
        self._count_live(job.id, job.set, by)

    # -- one way to change a sum --------------------------------------------------------------------------

    def _turn(self, node: Id, because: str | None, *, makes_room: bool) -> None:
        self.stamps.go_on(makes_room=makes_room)
        self._undo.append((TURNED, node, self.columns.close(node, because)))
