"""The line served in stretches, on shelves, is the line served turn by turn, bit for bit (P2, F3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide, shelves, stretch
from scheduler_core.ledger import Ledger
from scheduler_core.model import Chip, Gang, Isolation, Job, Node, Placement, Pool, Prediction
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.stretches import Stretches
from tests.core.cells import (
    ORGANIZATION,
    Mirror,
    cells,
    crowded_cells,
    events,
    policies,
    requests,
    started,
    teams,
    troubled_cells,
)
from tests.core.taking_cells import contended_cells
from tests.core.test_properties import applied, brisk


@pytest.fixture(autouse=True, scope="module")
def nothing_is_valued() -> Iterator[None]:
    """As where many wait: who values nodes serves no stretches."""
    with patch("scheduler_core.effort.SMALL_VALUES", 0):
        yield


seen: Counter[str] = Counter()
"""What happened at all in the runs of this module; see the last test."""


@contextmanager
def in_stretches() -> Iterator[None]:
    """As in a large cell, however small this one is."""
    run = Stretches._run

    def counted(self: Stretches, most: int, units: dict[int, object]) -> int:
        before = len(units)
        why = run(self, most, units)  # type: ignore[arg-type]
        seen[f"ended {why}"] += 1
        seen["starts"] += len(units) - before
        seen["left for good"] += int(self._head[stretch.LEFT])
        return why

    with patch.object(shelves, "LONG", 1), patch.object(Stretches, "_run", counted):
        yield


def in_both_ways(snapshot: Snapshot, policy: Policy) -> Decision:
    turn_by_turn = decide(snapshot, policy)
    with in_stretches():
        assert decide(snapshot, policy) == turn_by_turn
    return turn_by_turn


@brisk
@given(st.one_of(cells(), troubled_cells(), crowded_cells()), policies)
def test_any_cell_is_decided_alike(snapshot: Snapshot, policy: Policy) -> None:
    in_both_ways(snapshot, policy)


@st.composite
def alike_cells(draw: st.DrawFn) -> Snapshot:
    """Nodes of two kinds, and more single jobs than there is room for, many of them alike."""
    count = draw(st.integers(2, 5))
    claim = draw(st.sampled_from([0, 0, 1000]))
    levels = draw(st.sampled_from([{Isolation.ENFORCED}, {Isolation.COOPERATIVE}, {Isolation.EXCLUSIVE}]))
    made, parts = [], []
    for number in range(1, count + 1):
        kind = draw(st.sampled_from(["A", "A", "B"]))
        cpu = draw(st.sampled_from([3000, 8000]))
        made.append(Node(number, f"n{number}", 1, cpu, 256, ready=draw(st.integers(0, 9)) > 0))
        parts += [
            Chip(number * 10 + index, number, index, kind, 100, isolation=frozenset(levels), host_cpu=claim)
            for index in range(draw(st.integers(1, 3)))
        ]
    quoted = tuple(draw(teams(team)) for team in draw(st.sampled_from([(1, 2, 3), (1, 2, 3, 5, 6)])))
    asked = [draw(requests()) for _ in range(draw(st.integers(1, 4)))]
    waiting = []
    for number in range(1, draw(st.integers(4, 20))):
        team = draw(st.integers(1, 3))
        waiting.append(
            Job(
                number,
                f"job-{number}",
                team,
                ORGANIZATION[team],
                1,
                Gang(draw(st.sampled_from(asked))),
                priority=draw(st.sampled_from([50, 50, 75])),
                submitted=draw(st.integers(0, 3)),
                preemptible=draw(st.booleans()),
                attained=draw(st.sampled_from([0, 0, 1_000_000])),
                set=draw(st.sampled_from([None, None, 1])),
                prediction=draw(st.sampled_from([None, Prediction(500, 900)])),
            )
        )
    snapshot = Snapshot(1000, (Pool(1, "one"),), tuple(made), tuple(parts), quoted)
    split = draw(st.integers(0, 5))
    before = [replace(job, id=job.id + 100) for job in waiting[:split]]
    running = started(replace(snapshot, jobs=tuple(before)))
    return replace(snapshot, jobs=tuple(waiting[split:]), running=running)


@brisk
@given(alike_cells(), policies)
def test_a_cell_of_nodes_that_are_alike_is_decided_alike(snapshot: Snapshot, policy: Policy) -> None:
    decision = in_both_ways(snapshot, policy)
    seen["reservations"] += len(decision.reservations)
    seen["verdicts"] += len(decision.verdicts)


@brisk
@given(st.data())
def test_a_kept_scheduler_in_stretches_agrees_with_a_fresh_one_turn_by_turn(data: st.DataObject) -> None:
    snapshot = data.draw(st.one_of(alike_cells(), crowded_cells()))
    policy = data.draw(policies)
    mirror, kept = Mirror(snapshot), Scheduler(snapshot, policy)
    for cycle in range(1, 4):
        now = snapshot.now + cycle
        fresh = decide(mirror.snapshot(now), policy)
        with in_stretches():
            assert kept.decide(now) == fresh
        happens = applied(mirror, fresh, share=data.draw(st.integers(0, 2)))
        for happening in happens:
            mirror.apply(happening)
        for number in range(data.draw(st.integers(0, 4))):
            happens.append(data.draw(events(mirror, cycle * 10 + number)))
            mirror.apply(happens[-1])
        kept.apply(happens)


@brisk
@given(contended_cells(), policies)
def test_a_cell_in_which_chips_are_taken_back_is_decided_alike(snapshot: Snapshot, policy: Policy) -> None:
    decision = in_both_ways(snapshot, policy)
    seen["takings"] += sum(len(unit.takings) for unit in decision.units)


@brisk
@given(st.one_of(alike_cells(), cells()), st.data())
def test_the_first_place_on_the_shelves_is_the_best_of_all_nodes(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    """Each place is held, so that the next question meets other rows; then all is given back."""
    ledger = Ledger(snapshot)
    placer = Placer(ledger)
    kinds = [JobClass.of(job) for job in snapshot.jobs]
    for kind in data.draw(st.lists(st.sampled_from(kinds), max_size=12)) if kinds else ():
        for chip_type in placer.chip_types(kind.gang.request) if not kind.problem else ():
            ranking = placer.ranking(kind, chip_type)
            all_seats = ranking.best(1, ledger.states.keys())
            with in_stretches():
                best = ranking.best(1)
            assert best == all_seats
            if best and data.draw(st.booleans()):
                request = kind.gang.request
                seat = best[0]
                placer.hold(kind, Placement(0, seat.node, request.cpu, request.memory, seat.chips))
                seen["held"] += 1
        if data.draw(st.integers(0, 4)) == 0:
            ledger.rewind()


def test_the_runs_met_everything() -> None:
    """Every end of a stretch came up, and what stands beside it."""
    ends = {f"ended {why}" for why in (stretch.EMPTY, stretch.TURN, stretch.NO_PLACE, stretch.FULL)}
    for what in (*ends, "starts", "left for good", "reservations", "verdicts", "takings", "held"):
        assert seen[what], f"{what}: {seen}"
