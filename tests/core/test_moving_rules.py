"""R7: work that moves so that a waiting gang fits."""

from __future__ import annotations

from scheduler_core import Policy
from scheduler_core.decision import Rung
from tests.support.engine import a_gang, a_job, a_node, given, live


def long(name: str, **more: object):  # type: ignore[no-untyped-def]
    """Work that keeps what it has done."""
    return a_job(name, **{"preemptible": True, "checkpoint": True, **more})


def test_r7_nothing_moves_when_nobody_fits_by_it() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2)],
        running=[
            live(long("one"), ("a", [0])),
            live(long("two"), ("b", [0])),
        ],
        waiting=[a_job("large", chips=3, priority=5)],
    )
    assert case.decision.started == []


def test_r7_moves_stay_within_their_budget() -> None:
    nodes = [a_node(f"n{n}", chips=2) for n in range(4)]
    running = [live(a_job(f"r{n}", checkpoint=True, preemptible=True), (f"n{n}", [0])) for n in range(4)]
    waiting = [a_job("one", chips=2), a_job("two", chips=2)]
    assert given(nodes=nodes, running=running, waiting=waiting).decision.started == ["one", "two"]
    bounded = given(nodes=nodes, running=running, waiting=waiting, policy=Policy(max_moves=1))
    assert bounded.decision.started == ["one"]


def test_r7_work_moves_to_chips_of_another_type_where_it_takes_them() -> None:
    case = given(
        nodes=[a_node("a", chips=2, type="H100"), a_node("b", chips=1, type="A100")],
        running=[live(long("either", type=("H100", "A100")), ("a", [0]))],
        waiting=[a_job("large", chips=2, type="H100")],
    )
    assert case.decision.takings_for("large")["either"].rung is Rung.MOVE, "fewer H100 are free than it needs"


def test_r7_every_move_of_a_cycle_counts_once() -> None:
    nodes = [a_node(f"n{n}", chips=2) for n in range(6)]
    running = [live(a_job(f"r{n}", checkpoint=True, preemptible=True), (f"n{n}", [0])) for n in range(6)]
    waiting = [a_job(name, chips=2) for name in ("one", "two", "three")]
    bounded = given(nodes=nodes, running=running, waiting=waiting, policy=Policy(max_moves=2))
    assert bounded.decision.started == ["one", "two"]


def test_r7_a_gang_moves_whole_and_waits_for_itself() -> None:
    gang = a_gang("gang", replicas=2, chips=1, spread=False, preemptible=True, checkpoint=True)
    case = given(
        nodes=[a_node("a", chips=4), a_node("b", chips=3)],
        running=[live(gang, ("a", [0]), ("a", [1]))],
        waiting=[a_job("large", chips=4)],
    )
    taking = case.decision.takings_for("large")["gang"]
    assert taking.rung is Rung.MOVE
    assert len(taking.placements) == 2
    assert set(case.decision.raw.promises) == {1, 1001}


def test_r7_work_that_saves_nothing_does_not_move() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2)],
        running=[
            live(a_job("one", preemptible=True), ("a", [0])),
            live(a_job("two", preemptible=True), ("b", [0])),
        ],
        waiting=[a_job("large", chips=2)],
    )
    assert case.decision.started == []


def test_r7_only_nodes_that_could_take_the_gang_are_looked_at() -> None:
    """One node is looked at, and the work that was saved last is on chips of another type."""
    case = given(
        nodes=[a_node("a", chips=2, type="A100"), *(a_node(f"h{n}", chips=2, type="H100") for n in range(2))],
        running=[
            live(long("saved last", type="A100"), ("a", [0]), checkpointed=999_000),
            live(long("one", type="H100"), ("h0", [0]), checkpointed=500_000),
            live(long("two", type="H100"), ("h1", [0]), checkpointed=400_000),
        ],
        waiting=[a_job("large", chips=2, type="H100")],
        policy=Policy(max_nodes_searched=1),
    )
    assert list(case.decision.takings_for("large")) == ["one"]


def test_r7_work_that_has_another_place_moves_not_cheaper_work_that_has_none() -> None:
    case = given(
        nodes=[a_node("a", chips=4, cpu=64_000), a_node("b", chips=1, cpu=1_000)],
        running=[
            live(long("cheap", cpu=32_000), ("a", [0]), checkpointed=999_000),
            live(long("dear", cpu=1_000), ("a", [1]), checkpointed=500_000),
        ],
        waiting=[a_job("large", chips=3)],
    )
    assert list(case.decision.takings_for("large")) == ["dear"]
