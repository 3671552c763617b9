"""S1: a scheduler told by events knows what a fresh one knows, whatever the order and however often told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.fairness import Sharing, fair_shares
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    Chip,
    Job,
    Node,
    Pool,
    Promise,
    Remove,
    Reservation,
    Running,
    Seen,
    Team,
    Upsert,
    Window,
)
from tests.core.cells import attempt_of
from tests.support.engine import (
    AWindow,
    Case,
    a_cpu_job,
    a_job,
    a_node,
    a_quota,
    a_slice,
    a_team,
    given,
    live,
)


def a_case() -> Case:
    return given(
        nodes=[a_node("one", chips=4), a_node("two", chips=4)],
        teams=[a_team("vision", a_quota(guaranteed=6, limit=7))],
        running=[live(a_slice("old", milli=300), ("one", [0]))],
        waiting=[a_job(f"j{n}", chips=2, submitted=n) for n in range(5)],
    )


def names(decision: Decision) -> list[int]:
    return [unit.start.job for unit in decision.units]


def test_s1_a_decision_is_not_taken_as_applied() -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    first = scheduler.decide(1)
    assert names(first) == [1, 2]
    assert replace(scheduler.decide(2), now=1) == first


def test_s1_what_was_applied_is_told_by_the_feed() -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    start = scheduler.decide(1).units[0].start
    attempt = attempt_of(case.snapshot.jobs[0], 500, start.placements)
    scheduler.apply([Upsert(attempt), Remove(Job, 1)])
    expected = replace(
        case.snapshot, now=2, jobs=case.snapshot.jobs[1:], running=(*case.snapshot.running, attempt)
    )
    assert scheduler.decide(2) == decide(expected, case.policy)
    scheduler.apply([Remove(Running, 500), Upsert(case.snapshot.jobs[0])])
    assert scheduler.decide(3) == decide(replace(case.snapshot, now=3), case.policy)


def test_s1_the_same_event_twice_changes_nothing() -> None:
    case = a_case()
    attempt = attempt_of(case.snapshot.jobs[0], 500, ())
    once, twice = (Scheduler(case.snapshot, case.policy) for _ in range(2))
    events = [Upsert(attempt), Remove(Job, 2), Upsert(case.snapshot.nodes[0]), Upsert(case.snapshot.chips[0])]
    once.apply(events)
    twice.apply([event for event in events for _ in range(3)])
    assert once.decide(1) == twice.decide(1)


@pytest.mark.parametrize("kind", [Job, Running, Node, Chip, Team, Pool, Promise, Reservation, Window, Seen])
def test_s1_removing_what_never_was_is_harmless(kind) -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    scheduler.apply([Remove(kind, 999)])
    assert scheduler.decide(case.snapshot.now) == case.decision.raw


def test_s1_work_is_told_before_the_node_it_runs_on() -> None:
    case = a_case()
    rows = [
        *case.snapshot.running,
        *case.snapshot.jobs,
        *case.snapshot.chips,
        *case.snapshot.nodes,
        *case.snapshot.teams,
        *case.snapshot.pools,
    ]
    scheduler = Scheduler(Snapshot(0), Policy())
    scheduler.apply(Upsert(row) for row in rows)
    assert scheduler.decide(case.snapshot.now) == case.decision.raw


def test_s1_a_node_that_goes_and_comes_back_still_carries_its_work() -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    node = case.snapshot.nodes[0]
    scheduler.apply([Remove(Node, node.id)])
    without = replace(case.snapshot, nodes=case.snapshot.nodes[1:])
    assert scheduler.decide(case.snapshot.now) == decide(without, case.policy)
    scheduler.apply([Upsert(node)])
    assert scheduler.decide(case.snapshot.now) == case.decision.raw


def test_s1_a_chip_measured_anew_changes_what_its_work_is_charged() -> None:
    case = given(
        nodes=[a_node("n", chips=2, chip_memory=1000)],
        teams=[a_team("vision", a_quota(limit=1))],
        running=[live(a_slice("old", milli=100, chip_memory=400, preemptible=True), ("n", [0]))],
        waiting=[a_slice("new", milli=600, preemptible=True)],
    )
    assert case.decision.started == ["new"]
    smaller = replace(case.snapshot.chips[0], memory=800)
    scheduler = Scheduler(case.snapshot, case.policy)
    scheduler.apply([Upsert(smaller)])
    decision = scheduler.decide(1)
    assert names(decision) == []
    assert decision.verdicts[0].reasons[0].facts()["used"] == 500


def test_f2_s1_shares_follow_every_chip_that_comes_and_goes() -> None:
    """Also where a team has changed since, which makes the shares anew too."""
    case = given(nodes=[a_node("n", chips=2)], teams=[a_team("vision"), a_team("speech")])
    ledger, asked = Ledger(case.snapshot), {(1, "A100"): 9_000, (2, "A100"): 9_000}
    sharing, chip = Sharing(ledger), case.snapshot.chips[0]
    team = replace(case.snapshot.teams[0], quotas=(a_quota(weight=3),))
    for event, vision, speech in (
        (Upsert(replace(chip, id=3, index=2)), 1500, 1500),
        (Remove(Chip, 3), 1000, 1000),
        (Upsert(replace(chip, healthy=False)), 500, 500),
        (Upsert(team), 750, 250),
        (Upsert(chip), 1500, 500),
    ):
        sharing.shares(asked)
        ledger.note(event)
        shares = sharing.shares(asked)
        assert shares == fair_shares(ledger, asked)
        assert shares.fair == {(1, "A100"): vision, (2, "A100"): speech}


def test_f2_s1_shares_follow_a_node_and_a_team_that_change_together() -> None:
    case = given(
        nodes=[a_node("n", chips=2), a_node("m", chips=1)], teams=[a_team("vision"), a_team("speech")]
    )
    ledger, asked = Ledger(case.snapshot), {(1, "A100"): 9_000, (2, "A100"): 9_000}
    sharing = Sharing(ledger)
    assert sharing.shares(asked).fair == {(1, "A100"): 1500, (2, "A100"): 1500}
    ledger.note(Upsert(replace(case.snapshot.nodes[1], ready=False)))
    ledger.note(Upsert(replace(case.snapshot.teams[0], quotas=(a_quota(weight=3),))))
    assert sharing.shares(asked).fair == {(1, "A100"): 1500, (2, "A100"): 500}


def test_q4_the_fastest_type_comes_first_then_the_one_with_least_memory() -> None:
    nodes = [
        a_node(type=name, chips=1, speed=speed, chip_memory=memory)
        for name, speed, memory in (
            ("A", 1000, 80),
            ("B", 1000, 40),
            ("C", 2000, 90),
            ("D", 500, 10),
            ("D", 1000, 60),
        )
    ]
    assert Ledger(given(nodes=nodes).snapshot).chip_types() == ("C", "B", "D", "A")


def test_s1_a_type_of_chips_is_gone_with_the_last_of_them() -> None:
    case = given(nodes=[a_node("a", chips=1), a_node("h", chips=2, type="H100", speed=2000)])
    ledger = Ledger(case.snapshot)
    known = [ledger.chip_types()]
    for chip in (2, 3):
        ledger.note(Remove(Chip, chip))
        known.append(ledger.chip_types())
    assert known == [("H100", "A100"), ("H100", "A100"), ("A100",)]


def test_b5_s1_a_window_that_is_called_off_keeps_nobody_out() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        teams=[a_team("vision"), a_team("speech")],
        waiting=[a_job("j", endless=True)],
        windows=[AWindow("speech", ("n",), 0, 2_000_000)],
    )
    kept = Scheduler(case.snapshot, case.policy)
    assert names(kept.decide(1)) == []
    kept.apply([Remove(Window, case.snapshot.windows[0].id)])
    assert names(kept.decide(1)) == [1]


def test_q3_s1_a_pool_that_goes_takes_its_slice_step_with_it() -> None:
    """A third of a chip by memory is 340 thousandths in steps of ten, and 400 in the usual ones."""
    case = given(
        nodes=[a_node("n", chips=1, chip_memory=1000)],
        pools=[Pool(0, "default", 10)],
        waiting=[a_slice("third", chip_memory=333)],
    )
    (share,) = case.decision.placements_of("third")[0].chips
    assert share.milli == 340
    kept = Scheduler(case.snapshot, case.policy)
    kept.decide(1)
    kept.apply([Remove(Pool, case.snapshot.pools[0].id)])
    after = kept.decide(case.snapshot.now)
    assert after == case.but(pools=()).decision.raw
    assert after.units[0].start.placements[0].chips[0].milli == 400


def a_tree() -> Case:
    """Vision and speech under a lab with a limit of 4; each holds one chip; vision asks for three more."""
    return given(
        nodes=[a_node("n", chips=8)],
        teams=[
            a_team("lab", a_quota(limit=4)),
            a_team("vision", parent="lab"),
            a_team("speech", parent="lab"),
        ],
        running=[
            live(a_job("v", preemptible=True), ("n", [0])),
            live(a_job("s", team="speech", preemptible=True), ("n", [1])),
        ],
        waiting=[a_job("three", chips=3, preemptible=True)],
    )


@pytest.mark.parametrize(
    ("lab", "vision", "speech", "starts"),
    [
        ({}, {}, {}, False),
        ({}, {}, {"parent": None}, True),
        ({}, {"parent": None}, {}, True),
        ({}, {}, {"parent": 2}, False),
        ({"quotas": (a_quota(limit=5),)}, {}, {}, True),
        ({"quotas": ()}, {}, {}, True),
        ({"parent": 3}, {}, {"quotas": (a_quota(limit=4),)}, False),
        (None, {}, {}, True),
        ({}, {"parent": 99}, {}, True),
    ],
)
def test_s1_a_team_that_moves_or_changes_its_quota_is_charged_anew(lab, vision, speech, starts) -> None:
    case = a_tree()
    changes = (lab, vision, speech)
    after = [
        replace(team, **change)
        for team, change in zip(case.snapshot.teams, changes, strict=True)
        if change is not None
    ]
    kept = Scheduler(case.snapshot, case.policy)
    kept.decide(1)
    kept.apply([Remove(Team, 1)] if lab is None else [])
    kept.apply(Upsert(team) for team in after)
    changed = case.but(teams=tuple(after))
    assert bool(changed.decision.started) is starts
    assert kept.decide(case.snapshot.now) == changed.decision.raw
    kept.apply([Upsert(team) for team in reversed(case.snapshot.teams)])
    assert kept.decide(case.snapshot.now) == case.decision.raw
    kept.apply([Remove(Running, attempt.id) for attempt in case.snapshot.running])
    assert kept._ledger.used == kept._ledger.own == {}


def test_s1_where_nothing_is_left_to_be_taken_nobody_searches() -> None:
    """The last work that could be taken has ended: it is as if there had never been any, also for when it is due."""
    case = given(
        nodes=[a_node("one", chips=1)],
        running=[live(a_job("old", preemptible=True), ("one", [0]))],
        waiting=[a_job("a"), a_job("b"), a_job("low", priority=10, preemptible=True)],
    )
    kept = Scheduler(case.snapshot, case.policy)
    kept.decide(case.snapshot.now)
    kept.apply([Remove(Running, attempt.id) for attempt in case.snapshot.running])
    alone = case.but(running=())
    assert kept.decide(case.snapshot.now) == alone.decision.raw


def test_s1_a_cycle_that_raises_leaves_the_books_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    with monkeypatch.context() as patch:
        patch.setattr("scheduler_core.engine.reasons_to_wait", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            scheduler.decide(1)
    assert scheduler.decide(case.snapshot.now) == case.decision.raw


def test_law_5_a_waiting_job_with_a_live_attempt_is_passed_over() -> None:
    """No one snapshot holds such rows, but a feed may tell one before the other."""
    case = given(nodes=[a_node()], waiting=[a_cpu_job("again"), a_cpu_job("other")])
    scheduler = Scheduler(case.snapshot, case.policy)
    scheduler.apply([Upsert(Running(9, 1, 1, 1, ()))])
    decision = scheduler.decide(1)
    assert names(decision) == [2]
    assert [reason.code for reason in decision.verdicts[0].reasons] == ["earlier_attempt_lives"]
    assert decision.verdicts[0].reasons[0].sentence() == "Its earlier attempt has not ended yet."
    scheduler.apply([Remove(Running, 9)])
    assert names(scheduler.decide(2)) == [1, 2]


def test_s1_a_chip_that_is_found_on_another_node_is_held_by_nobody_there() -> None:
    """What its work holds is told by the attempt's next row; until then neither quota nor node counts it."""
    case = given(
        nodes=[a_node("one", chips=1), a_node("two")],
        teams=[a_team("vision", a_quota(guaranteed=1, limit=1))],
        running=[live(a_job("old"), ("one", [0]))],
        waiting=[a_job("new")],
    )
    assert case.decision.started == []
    moved = case.but(chips=(replace(case.snapshot.chips[0], node=2),))
    assert moved.decision.starts("new", on=["two"])
    kept = Scheduler(case.snapshot, case.policy)
    kept.apply([Upsert(moved.snapshot.chips[0])])
    assert kept.decide(case.snapshot.now) == moved.decision.raw


def test_s1_what_a_scheduler_remembers_does_not_grow_with_its_cycles() -> None:
    case = a_case()
    scheduler = Scheduler(case.snapshot, case.policy)
    for now in range(50):
        scheduler.decide(now)
    assert scheduler._ledger.mark() == 0
