"""Snapshots that contradict themselves are refused with the rule and the id, or freed of what they contradict
themselves in.

A contradiction is what no honest history of a cell can lead to: the rows were read or written wrongly, and any
decision on them would be wrong too. What can honestly come about is no contradiction but an *excess that
stands*: it is reported (`Decision.excesses`), worked off and never made worse. So these are accepted:

- more of a node's CPU or memory in use than it registers now, and more of a chip's memory than is measured
  now: the machine came back smaller;
- more charged to a team than its limit or guarantee is now: they were lowered;
- work on a chip that is unhealthy or on a node out of service: it was lost under the work, and keeps its row
  for as long as anything is allocated on it;
- a waiting job whose request means nothing: it waits and says so (Q2), and never blocks others (F6).

Where decisions must go on all the same, `set_aside` keeps out of them what is contradicted, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from scheduler_core.model import (
    WHOLE_CHIP,
    AllocationKind,
    Chip,
    ChipShare,
    Id,
    Node,
    Placement,
    Pool,
    Quota,
    Row,
    Running,
    Snapshot,
    Team,
)

MOST: Final = 2**40
"""Above every quantity in its own unit: a million million milli-chips or millicores, an exbibyte in MiB."""
MOST_ID: Final = 2**63
"""Above every id and every instant."""
CONTRADICTED: Final = "set aside, its records contradict themselves"
"""Why a node that was set aside takes nothing new."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What no honest history leads to: the rule, a row that breaks it, and what is wrong in a sentence."""

    rule: str
    row: Row
    sentence: str


class SnapshotRefused(ValueError):  # noqa: N818 - it says what became of the snapshot
    """The snapshot contradicts itself. `rule` names the rule, `id` the row that breaks it."""

    def __init__(self, found: Contradiction) -> None:
        super().__init__(f"{found.rule}: {found.sentence}")
        self.rule = found.rule
        self.id = found.row.id


def check_snapshot(snapshot: Snapshot) -> None:
    """The snapshot makes sense; raises SnapshotRefused with the first contradiction where it does not."""
    for found in contradictions(snapshot):
        raise SnapshotRefused(found)


@dataclass(frozen=True, slots=True)
class SetAside:
    """What is kept out of decisions until the rows are right: a cell goes on with what it can be sure of.

    A node that a contradiction touches takes nothing new. A team whose quotas make no sense has a limit of 0 on
    each of their types. Amounts that make no sense count as the nearest that would. A team above itself goes on:
    whoever pays pays once on each level (F1).
    """

    nodes: frozenset[Id] = frozenset()
    rows: frozenset[tuple[type[Row], Id]] = frozenset()

    def of(self, row: Row) -> Row:
        """The row as decisions may know it."""
        if isinstance(row, Node) and (row.id in self.nodes or (Pool, row.pool) in self.rows):
            sized = replace(row, cpu=_bounded(row.cpu), memory=_bounded(row.memory))
            return replace(sized, ready=False, unready_because=CONTRADICTED)
        if (type(row), row.id) not in self.rows:
            return row
        if isinstance(row, Pool):
            return replace(row, slice_step=_bounded(row.slice_step))
        if isinstance(row, Chip):
            sized_chip = replace(row, memory=_bounded(row.memory), host_cpu=_bounded(row.host_cpu))
            return replace(sized_chip, health=_bounded(row.health), speed=_bounded(row.speed))
        if isinstance(row, Team):
            return replace(row, quotas=tuple(Quota(name, limit=0) for name in _types(row)))
        if isinstance(row, Running):
            return replace(row, placements=tuple(_bounded_placement(place) for place in row.placements))
        return row


def set_aside(found: Iterable[Contradiction], snapshot: Snapshot) -> SetAside:
    """What these contradictions of the snapshot leave unsure; nothing where there are none."""
    chips = {chip.id: chip.node for chip in snapshot.chips}
    nodes: set[Id] = set()
    rows: set[tuple[type[Row], Id]] = set()
    for one in found:
        if one.rule != "team_tree":
            rows.add((type(one.row), one.row.id))
        if isinstance(one.row, Node):
            nodes.add(one.row.id)
        elif isinstance(one.row, Chip):
            nodes.add(one.row.node)
        elif isinstance(one.row, Running):
            nodes |= {place.node for place in one.row.placements}
            held = {share.chip for place in one.row.placements for share in place.chips}
            nodes |= {chips[chip] for chip in held if chip in chips}
    return SetAside(frozenset(nodes), frozenset(rows))


def without(aside: SetAside, snapshot: Snapshot) -> Snapshot:
    """The snapshot as decisions may know it. Windows that end before they start are not there."""
    parts = ("pools", "nodes", "chips", "teams", "running")
    changed = {part: tuple(aside.of(row) for row in getattr(snapshot, part)) for part in parts}
    windows = tuple(row for row in snapshot.windows if (type(row), row.id) not in aside.rows)
    return replace(snapshot, windows=windows, **changed)  # type: ignore[arg-type]


def _bounded(amount: int) -> int:
    return min(max(amount, 0), MOST - 1)


def _bounded_placement(place: Placement) -> Placement:
    shares = tuple(ChipShare(s.chip, _bounded(s.milli), _bounded(s.memory)) for s in place.chips)
    return replace(place, cpu=_bounded(place.cpu), memory=_bounded(place.memory), chips=shares)


def _types(team: Team) -> list[str]:
    return sorted({quota.chip_type for quota in team.quotas})


def contradictions(snapshot: Snapshot) -> Iterator[Contradiction]:
    """Each of them, in an order that follows from the snapshot's alone."""
    yield from _ids(snapshot)
    yield from _quantities(snapshot)
    yield from _tree(snapshot.teams)
    yield from _allocations(snapshot)
    for window in snapshot.windows:
        if window.ends < window.starts:
            yield Contradiction("window", window, f"Window {window.id} ends before it starts.")


def _ids(snapshot: Snapshot) -> Iterator[Contradiction]:
    """Every row of a kind has an id of its own."""
    kinds: dict[str, tuple[Row, ...]] = {
        "pool": snapshot.pools,
        "node": snapshot.nodes,
        "chip": snapshot.chips,
        "team": snapshot.teams,
        "waiting job": snapshot.jobs,
        "live attempt": snapshot.running,
        "promise": snapshot.promises,
        "reservation": snapshot.reservations,
        "window": snapshot.windows,
    }
    for kind, rows in kinds.items():
        seen: set[Id] = set()
        for row in rows:
            if row.id in seen:
                yield Contradiction("duplicate_id", row, f"Two rows are {kind} {row.id}.")
            if not 0 <= row.id < MOST_ID:
                sentence = f"The id of {kind} {row.id} must lie from 0 to 2^63 - 1."
                yield Contradiction("id_out_of_range", row, sentence)
            seen.add(row.id)
    for team in snapshot.teams:
        if len(_types(team)) < len(team.quotas):
            yield Contradiction("duplicate_id", team, f"Team {team.id} has two quotas of one chip type.")


def _quantities(snapshot: Snapshot) -> Iterator[Contradiction]:
    """No amount is negative, and none is beyond every machine (`MOST`)."""
    for kind, row, what, amount in _amounts(snapshot):
        if not 0 <= amount < MOST:
            sentence = f"{what} of {kind} {row.id} is {amount}; it must lie from 0 to 2^40 - 1."
            yield Contradiction("quantity", row, sentence)


def _amounts(snapshot: Snapshot) -> Iterator[tuple[str, Row, str, int]]:
    for pool in snapshot.pools:
        yield "pool", pool, "The slice step", pool.slice_step
    for node in snapshot.nodes:
        yield "node", node, "The host CPU", node.cpu
        yield "node", node, "The host memory", node.memory
    for chip in snapshot.chips:
        yield "chip", chip, "The memory", chip.memory
        yield "chip", chip, "The host CPU", chip.host_cpu
        yield "chip", chip, "The health", chip.health
        yield "chip", chip, "The speed", chip.speed
    for team in snapshot.teams:
        for quota in team.quotas:
            yield "team", team, f"The guarantee of {quota.chip_type}", quota.guaranteed
            yield "team", team, f"The limit of {quota.chip_type}", quota.limit or 0
            yield "team", team, f"The weight of {quota.chip_type}", quota.over_quota_weight
    for attempt in snapshot.running:
        for placement in attempt.placements:
            yield "attempt", attempt, "The host CPU", placement.cpu
            yield "attempt", attempt, "The host memory", placement.memory
            for share in placement.chips:
                yield "attempt", attempt, f"The part of chip {share.chip}", share.milli
                yield "attempt", attempt, f"The memory of chip {share.chip}", share.memory


def _tree(teams: Iterable[Team]) -> Iterator[Contradiction]:
    """Whoever follows the parents of a team comes to the top of an organization."""
    row_of = {team.id: team for team in teams}
    to_the_top: set[Id] = set()
    for team in sorted(row_of):
        line: dict[Id, None] = {}
        at: Id | None = team
        while at is not None and at in row_of and at not in to_the_top:
            if at in line:
                yield Contradiction("team_tree", row_of[at], f"Team {at} is above itself.")
                break
            line[at] = None
            at = row_of[at].parent
        to_the_top.update(line)


def _allocations(snapshot: Snapshot) -> Iterator[Contradiction]:
    """Work sits on nodes and chips that there are, and no chip is given away more than once."""
    nodes = {node.id for node in snapshot.nodes}
    chips = {chip.id: chip for chip in snapshot.chips}
    held: defaultdict[tuple[Id, AllocationKind], int] = defaultdict(int)
    for attempt in snapshot.running:
        yield from _places(attempt, nodes, chips)
        for placement in attempt.placements:
            for share in placement.chips:
                held[share.chip, attempt.kind] += share.milli
    for (chip, kind), milli in held.items():
        if milli > WHOLE_CHIP and chip in chips:
            sentence = f"Of chip {chip} {milli} milli-chips are allocated ({kind}); a chip has {WHOLE_CHIP}."
            yield Contradiction("chip_allocated_twice", chips[chip], sentence)


def _places(attempt: Running, nodes: set[Id], chips: dict[Id, Chip]) -> Iterator[Contradiction]:
    for placement in attempt.placements:
        if placement.node not in nodes:
            sentence = f"Attempt {attempt.id} sits on node {placement.node}, which is not in the snapshot."
            yield Contradiction("unknown_node", attempt, sentence)
        for share in placement.chips:
            chip = chips.get(share.chip)
            if chip is None:
                sentence = f"Attempt {attempt.id} holds chip {share.chip}, which is not in the snapshot."
                yield Contradiction("unknown_chip", attempt, sentence)
            elif chip.node != placement.node:
                sentence = (
                    f"Attempt {attempt.id} holds chip {share.chip} on node {placement.node}; "
                    f"the chip is on node {chip.node}."
                )
                yield Contradiction("chip_elsewhere", attempt, sentence)
