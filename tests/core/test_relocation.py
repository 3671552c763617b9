"""R8: what is held back goes on elsewhere, once there is a place for all of it, and nobody waits longer for that."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from scheduler_core import Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import Decision, Resize, Resizing
from scheduler_core.invariants import check
from scheduler_core.model import Upsert
from tests.core.taking_cells import POLICIES, Platform, contended_cells
from tests.support.engine import (
    ALive,
    AReservation,
    Case,
    a_gang,
    a_job,
    a_node,
    a_quota,
    a_team,
    given,
    live,
    order_does_not_matter,
    reserved,
)
from tests.support.engine_laws import laws_hold

bounded = settings(
    max_examples=int(os.environ.get("FLEXAI_TEST_EXAMPLES", "50")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
NOW = 3_600_000
seen: Counter[str] = Counter()


def a_cell(spare: int = 1, *, size: int = 3, waiting: tuple[object, ...] = (), **job: object) -> Case:
    """A gang of one chip on each of so many nodes, held back on the first (1), and spare nodes beside."""
    nodes = [a_node(f"n{n}", chips=1) for n in range(1, size + spare + 1)]
    return given(nodes=nodes, running=[held_back(size, **job)], waiting=list(waiting), now=NOW)  # type: ignore[arg-type]


def held_back(size: int = 3, **job: object) -> ALive:
    row = {key: job.pop(key) for key in ("leaving", "gang") if key in job}
    asked = a_gang("train", replicas=size, chips=1, **({"preemptible": True, "checkpoint": True} | job))  # type: ignore[arg-type]
    places = [(f"n{n}", [0]) for n in range(1, size + 1)]
    return live(asked, *places, unwanted=(1,), **row)  # type: ignore[arg-type]


def goes_to(case: Case) -> list[int]:
    """Nodes of the one attempt that goes on elsewhere; none where none does."""
    moved = case.decision.raw.resizings
    assert len(moved) <= 1
    return sorted(place.node for one in moved for resize in one.resizes for place in resize.placements)


def test_r8_a_gang_goes_on_without_the_node_that_holds_it_back() -> None:
    assert goes_to(a_cell()) == [2, 3, 4]


def test_r8_without_a_place_it_goes_on_where_it_is() -> None:
    assert goes_to(a_cell(spare=0)) == []


def test_r8_work_without_a_checkpoint_may_go_too_as_its_policy_said() -> None:
    assert goes_to(a_cell(size=1, checkpoint=False)) == [2]


@pytest.mark.parametrize("kept", [{"preemptible": False}, {"leaving": True}, {"gang": None}])
def test_r8_what_cannot_be_moved_stays(kept: dict[str, object]) -> None:
    assert goes_to(a_cell(**kept)) == []


def test_r8_whoever_waits_goes_first() -> None:
    case = a_cell(waiting=(a_job("new", chips=1),))
    assert case.decision.starts("new", on=["n4"])
    assert goes_to(case) == []


def test_r8_reserved_nodes_take_no_part() -> None:
    promised: AReservation = reserved("large", NOW + 60_000, ("n4", [0]), ("n5", [0]))
    nodes = [a_node(f"n{n}", chips=1) for n in range(1, 6)]
    other = live(a_job("other", max_duration=NOW + 60_000), ("n5", [0]))
    large = a_gang("large", replicas=2, chips=1, submitted=0)
    case = given(nodes=nodes, running=[held_back(), other], waiting=[large], reservations=[promised], now=NOW)
    assert case.decision.reservation_of("large") is not None
    assert goes_to(case) == []


def test_r8_the_limit_of_its_team_does_not_keep_it() -> None:
    nodes = [a_node(f"n{n}", chips=1) for n in range(1, 5)]
    team = a_team("research", a_quota("A100", limit=3))
    case = given(teams=[team], nodes=nodes, running=[held_back(team="research")], now=NOW)
    assert goes_to(case) == [2, 3, 4]


def test_r8_no_more_go_in_a_cycle_than_the_policy_says_and_the_next_comes_at_once() -> None:
    nodes = [a_node(f"n{n}", chips=2) for n in (1, 2)]
    jobs = [a_job(f"job-{n}", preemptible=True) for n in (1, 2)]
    running = [live(job, ("n1", [n]), unwanted=(1,)) for n, job in enumerate(jobs)]
    case = given(nodes=nodes, running=running, now=NOW, policy=Policy(max_moves=1))
    assert len(case.decision.raw.resizings) == 1
    assert case.decision.raw.due == NOW
    assert len(decide(case.snapshot, Policy()).resizings) == 2


def test_r8_a_unit_that_stays_or_was_not_asked_for_breaks_a_law() -> None:
    case = a_cell()
    good = case.decision.raw.resizings[0].resizes[0]
    stays = replace(good, placements=case.snapshot.running[0].placements)
    assert broken(case.snapshot, stays) == ["elsewhere"]
    content = replace(case.snapshot.running[0], unwanted=())
    assert broken(replace(case.snapshot, running=(content,)), good) == ["elastic"]
    assert broken(case.snapshot, good) == []


def broken(snapshot: Snapshot, resize: Resize) -> list[str]:
    return [fault.law for fault in check(snapshot, Decision(NOW, resizings=(Resizing((resize,)),)))]


@st.composite
def restless_cells(draw: st.DrawFn) -> Snapshot:
    """Some of those who run are held back on some of their nodes."""
    cell = draw(contended_cells(most_waiting=2))
    rows = []
    for row in cell.running:
        nodes = sorted({place.node for place in row.placements})
        rows.append(replace(row, unwanted=tuple(sorted(draw(st.sets(st.sampled_from(nodes)))))))
    return replace(cell, running=tuple(row for row in rows if draw(st.booleans())))


def relocated(decision: Decision, snapshot: Snapshot) -> list[Resize]:
    sizes = {row.id: len(row.placements) for row in snapshot.running}
    return [
        resize
        for one in decision.resizings
        for resize in one.resizes
        if len(resize.placements) == sizes[resize.attempt]
    ]


@bounded
@drawn(restless_cells(), POLICIES)
def test_r8_every_law_holds(snapshot: Snapshot, policy: Policy) -> None:
    decision = decide(snapshot, policy)
    laws_hold(snapshot, policy, decision)
    order_does_not_matter(snapshot, policy, decision)
    assert check(snapshot, decision) == ()
    seen["moved"] += bool(relocated(decision, snapshot))


@bounded
@drawn(restless_cells(), POLICIES)
def test_r8_who_waits_starts_as_if_nobody_were_held_back(snapshot: Snapshot, policy: Policy) -> None:
    content = replace(snapshot, running=tuple(replace(row, unwanted=()) for row in snapshot.running))
    before, after = decide(content, policy), decide(snapshot, policy)
    starts = {unit.start.job: unit for unit in after.units}
    assert starts.keys() == {unit.start.job for unit in before.units} or before.resizings
    assert after.relief == before.relief


@bounded
@drawn(restless_cells(), POLICIES)
def test_r6_who_went_on_elsewhere_starts_just_there_and_stays(snapshot: Snapshot, policy: Policy) -> None:
    decision = decide(snapshot, policy)
    moved = relocated(decision, snapshot)
    platform = Platform(snapshot)
    platform.take(decision)
    platform.leave(snapshot.now)
    again = decide(platform.mirror.snapshot(snapshot.now), policy)
    starts = {unit.start.job: unit.start.placements for unit in again.units}
    assert all(starts[one.job] == one.placements for one in moved)


@bounded
@drawn(restless_cells(), POLICIES)
def test_s1_a_kept_scheduler_agrees(snapshot: Snapshot, policy: Policy) -> None:
    content = replace(snapshot, running=tuple(replace(row, unwanted=()) for row in snapshot.running))
    kept = Scheduler(content, policy)
    kept.decide(snapshot.now)
    kept.apply([Upsert(row) for row in snapshot.running])
    assert kept.decide(snapshot.now) == decide(snapshot, policy)


def test_each_interesting_thing_sometimes_happens() -> None:
    if not seen:
        pytest.skip("the tests that meet these things were not run")
    assert seen["moved"], dict(seen)
