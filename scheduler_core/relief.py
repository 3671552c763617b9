"""What works off an excess that already stands: a lowered limit, a lost chip's memory, a smaller host (R1).

Nobody gains by it, so no right is needed; but only what may be taken at all is taken (R1), never work that is
not preemptible (F4). For each excess in turn: the cheapest is lifted until nothing is over, then whatever the
excess stays away without is put back, the dearest first. Work that is leaving already counts as gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.invariants import node_excesses
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Placement, Running
from scheduler_core.rights import Rights
from scheduler_core.trial import Use


@dataclass(frozen=True, slots=True)
class _OverOnNode:
    """By how much a node is over: its host and its chips added up."""

    ledger: Ledger
    node: Id

    def __call__(self) -> int:
        return sum(excess.used - excess.capacity for excess in node_excesses(self.ledger, self.node))


@dataclass(frozen=True, slots=True)
class _OverLimit:
    """By how much a team and all below it are over its limit of a chip type."""

    ledger: Ledger
    use: Use
    limit: int

    def __call__(self) -> int:
        return max(0, self.ledger.used.get(self.use, 0) - self.limit)


_Over = _OverOnNode | _OverLimit


def relieve(ledger: Ledger, rights: Rights) -> tuple[Taking, ...]:
    """Takings that work off what is over, as far as it can be; what they leave is charged to nobody in the
    ledger's trial, and still held.
    """
    start = ledger.mark()
    for node in sorted(ledger.overdrawn):
        for attempt in ledger.running_on(node):
            ledger.lift(attempt, attempt.departing)
    gone: dict[Id, tuple[Placement, ...]] = {}
    for node in sorted(ledger.overdrawn):
        _work_off(_OverOnNode(ledger, node), _on_node(ledger, rights, node), ledger, rights, gone)
    for team, chip_type, limit in _limits_exceeded(ledger):
        over = _OverLimit(ledger, (team, chip_type), limit)
        _work_off(over, _below(ledger, rights, team, chip_type), ledger, rights, gone)
    takings = tuple(_taking(ledger.running[attempt], gone[attempt], rights) for attempt in sorted(gone))
    ledger.rewind(start)
    for taking in takings:
        rights.taken.add(taking.attempt)
        attempt = ledger.running[taking.attempt]
        ledger.bill(
            gone[attempt.id], team=attempt.team, preemptible=attempt.preemptible, sign=-1, user=attempt.user
        )
    return takings


def _work_off(
    over: _Over,
    candidates: list[Running],
    ledger: Ledger,
    rights: Rights,
    gone: dict[Id, tuple[Placement, ...]],
) -> None:
    """Less is over, by an irreducible set of the candidates; none where none of them helps."""
    lifted: list[tuple[Running, tuple[Placement, ...]]] = []
    for attempt, places in _steps(candidates, rights):
        before = over()
        if not before:
            break
        left = tuple(place for place in places if place not in gone.get(attempt.id, ()))
        ledger.lift(attempt, left)
        if over() < before:
            gone[attempt.id] = gone.get(attempt.id, ()) + left
            lifted.append((attempt, left))
        else:
            ledger.put_back(attempt, left)
    least = over()
    for attempt, places in reversed(lifted):
        still = tuple(place for place in gone[attempt.id] if place not in places)
        if attempt.gang is not None and still and len(attempt.placements) - len(still) < attempt.gang.minimum:
            continue  # R4: a replica that could be spared does not come back without the rest
        ledger.put_back(attempt, places)
        if over() > least:
            ledger.lift(attempt, places)
            continue
        gone[attempt.id] = still
        if not gone[attempt.id]:
            del gone[attempt.id]


def _steps(candidates: list[Running], rights: Rights) -> list[tuple[Running, tuple[Placement, ...]]]:
    """What may be taken, least disturbing first: replicas that elastic work can spare, then whole gangs."""
    shrinks = [
        (Rung.SHRINK, rights.loss_of_shrinking(attempt), attempt.id, (place,))
        for attempt in candidates
        if attempt.gang is not None
        for place in attempt.placements[attempt.gang.minimum :]
    ]
    whole = [
        (rights.worst_rung(attempt), rights.reckoned(attempt), attempt.id, attempt.placements)
        for attempt in candidates
    ]
    by_id = {attempt.id: attempt for attempt in candidates}
    ordered = sorted([*shrinks, *whole], key=lambda step: step[:3])
    return [(by_id[attempt], places) for _, _, attempt, places in ordered]


def _taking(attempt: Running, gone: tuple[Placement, ...], rights: Rights) -> Taking:
    if len(gone) == len(attempt.placements):
        rung = rights.worst_rung(attempt)
        return Taking(attempt.id, attempt.job, rung, Ground.EXCESS, rights.loss(attempt))
    keeps = tuple(place.replica for place in attempt.placements if place not in gone)
    return Taking(
        attempt.id, attempt.job, Rung.SHRINK, Ground.EXCESS, rights.loss_of_shrinking(attempt), keeps
    )


def _limits_exceeded(ledger: Ledger) -> Iterator[tuple[Id, str, int]]:
    for (team, chip_type), quota in sorted(ledger.quotas.items()):
        if quota.limit is not None and ledger.used.get((team, chip_type), 0) > quota.limit:
            yield team, chip_type, quota.limit


def _on_node(ledger: Ledger, rights: Rights, node: Id) -> list[Running]:
    return [attempt for attempt in ledger.running_on(node) if rights.may_be_taken(attempt)]


def _below(ledger: Ledger, rights: Rights, team: Id, chip_type: str) -> list[Running]:
    """Work of the team and of those below it that holds chips of the type and may be taken."""
    listed = (
        ledger.running[attempt]
        for below, by_priority in sorted(ledger.preemptible_of.items())
        if team in ledger.payers(below)
        for _, some in sorted(by_priority.items())
        for *_, attempt in some
    )
    return [
        attempt
        for attempt in listed
        if rights.may_be_taken(attempt)
        and any(name == chip_type for place in attempt.placements for name, _ in ledger.charges(place))
    ]
