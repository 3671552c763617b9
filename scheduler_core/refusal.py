"""Snapshots that contradict themselves are refused, with the rule and the id.

A contradiction is what no honest history of a cell can lead to: the rows were read or written wrongly, and any
decision on them would be wrong too. What can honestly come about is no contradiction but an *excess that
stands*: it is reported (`Decision.excesses`), worked off and never made worse. So these are accepted:

- more of a node's CPU or memory in use than it registers now, and more of a chip's memory than is measured
  now: the machine came back smaller;
- more charged to a team than its limit or guarantee is now: they were lowered;
- work on a chip that is unhealthy or on a node out of service: it was lost under the work, and keeps its row
  for as long as anything is allocated on it;
- a waiting job whose request means nothing: it waits and says so (Q2), and never blocks others (F6).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from scheduler_core.model import WHOLE_CHIP, AllocationKind, Chip, Id, Running, Snapshot, Team

MOST: Final = 2**40
"""Above every quantity in its own unit: a million million milli-chips or millicores, an exbibyte in MiB."""
MOST_ID: Final = 2**63
"""Above every id and every instant."""

Refusal: TypeAlias = tuple[str, Id, str]
"""The rule, the id of the row that breaks it, and what is wrong in a sentence."""


class SnapshotRefused(ValueError):  # noqa: N818 - it says what became of the snapshot
    """The snapshot contradicts itself. `rule` names the rule, `id` the row that breaks it."""

    def __init__(self, rule: str, row: Id, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        self.id = row


def check_snapshot(snapshot: Snapshot) -> None:
    """The snapshot makes sense; raises SnapshotRefused with the first contradiction where it does not."""
    for refusal in _refusals(snapshot):
        raise SnapshotRefused(*refusal)


def _refusals(snapshot: Snapshot) -> Iterator[Refusal]:
    yield from _ids(snapshot)
    yield from _quantities(snapshot)
    yield from _tree(snapshot.teams)
    yield from _allocations(snapshot)
    for window in snapshot.windows:
        if window.ends < window.starts:
            yield "window", window.id, f"Window {window.id} ends before it starts."


def _ids(snapshot: Snapshot) -> Iterator[Refusal]:
    """Every row of a kind has an id of its own."""
    kinds: dict[str, Iterable[Id]] = {
        "pool": (row.id for row in snapshot.pools),
        "node": (row.id for row in snapshot.nodes),
        "chip": (row.id for row in snapshot.chips),
        "team": (row.id for row in snapshot.teams),
        "waiting job": (row.id for row in snapshot.jobs),
        "live attempt": (row.id for row in snapshot.running),
        "promise": (row.id for row in snapshot.promises),
        "reservation": (row.id for row in snapshot.reservations),
        "window": (row.id for row in snapshot.windows),
    }
    for kind, ids in kinds.items():
        seen: set[Id] = set()
        for row in ids:
            if row in seen:
                yield "duplicate_id", row, f"Two rows are {kind} {row}."
            if not 0 <= row < MOST_ID:
                yield "id_out_of_range", row, f"The id of {kind} {row} must lie from 0 to 2^63 - 1."
            seen.add(row)
    for team in snapshot.teams:
        types = [quota.chip_type for quota in team.quotas]
        if len(set(types)) < len(types):
            yield "duplicate_id", team.id, f"Team {team.id} has two quotas of one chip type."


def _quantities(snapshot: Snapshot) -> Iterator[Refusal]:
    """No amount is negative, and none is beyond every machine (`MOST`)."""
    for kind, row, what, amount in _amounts(snapshot):
        if not 0 <= amount < MOST:
            yield "quantity", row, f"{what} of {kind} {row} is {amount}; it must lie from 0 to 2^40 - 1."


def _amounts(snapshot: Snapshot) -> Iterator[tuple[str, Id, str, int]]:
    for pool in snapshot.pools:
        yield "pool", pool.id, "The slice step", pool.slice_step
    for node in snapshot.nodes:
        yield "node", node.id, "The host CPU", node.cpu
        yield "node", node.id, "The host memory", node.memory
    for chip in snapshot.chips:
        yield "chip", chip.id, "The memory", chip.memory
        yield "chip", chip.id, "The host CPU", chip.host_cpu
        yield "chip", chip.id, "The health", chip.health
        yield "chip", chip.id, "The speed", chip.speed
    for team in snapshot.teams:
        for quota in team.quotas:
            yield "team", team.id, f"The guarantee of {quota.chip_type}", quota.guaranteed
            yield "team", team.id, f"The limit of {quota.chip_type}", quota.limit or 0
            yield "team", team.id, f"The weight of {quota.chip_type}", quota.over_quota_weight
    for attempt in snapshot.running:
        for placement in attempt.placements:
            yield "attempt", attempt.id, "The host CPU", placement.cpu
            yield "attempt", attempt.id, "The host memory", placement.memory
            for share in placement.chips:
                yield "attempt", attempt.id, f"The part of chip {share.chip}", share.milli
                yield "attempt", attempt.id, f"The memory of chip {share.chip}", share.memory


def _tree(teams: Iterable[Team]) -> Iterator[Refusal]:
    """Whoever follows the parents of a team comes to the top of an organization."""
    parent_of = {team.id: team.parent for team in teams}
    to_the_top: set[Id] = set()
    for team in sorted(parent_of):
        line: dict[Id, None] = {}
        at: Id | None = team
        while at is not None and at not in to_the_top:
            if at in line:
                yield "team_tree", at, f"Team {at} is above itself."
                return
            line[at] = None
            at = parent_of.get(at)
        to_the_top.update(line)


def _allocations(snapshot: Snapshot) -> Iterator[Refusal]:
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
        if milli > WHOLE_CHIP:
            sentence = f"Of chip {chip} {milli} milli-chips are allocated ({kind}); a chip has {WHOLE_CHIP}."
            yield "chip_allocated_twice", chip, sentence


def _places(attempt: Running, nodes: set[Id], chips: dict[Id, Chip]) -> Iterator[Refusal]:
    for placement in attempt.placements:
        if placement.node not in nodes:
            sentence = f"Attempt {attempt.id} sits on node {placement.node}, which is not in the snapshot."
            yield "unknown_node", attempt.id, sentence
        for share in placement.chips:
            chip = chips.get(share.chip)
            if chip is None:
                sentence = f"Attempt {attempt.id} holds chip {share.chip}, which is not in the snapshot."
                yield "unknown_chip", attempt.id, sentence
            elif chip.node != placement.node:
                sentence = (
                    f"Attempt {attempt.id} holds chip {share.chip} on node {placement.node}; "
                    f"the chip is on node {chip.node}."
                )
                yield "chip_elsewhere", attempt.id, sentence
