"""The safety laws of takings: a unit that breaks one is dropped and named."""

from __future__ import annotations

from dataclasses import replace

from scheduler_core import Decision, Unit
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.invariants import check, enforce
from scheduler_core.ledger import Ledger
from tests.support.engine import Case, a_gang, a_job, a_node, given, live


def a_case(**row: object) -> Case:
    elastic = a_gang("low", replicas=(1, 2), chips=2, preemptible=True, priority=10, spread=False)
    return given(
        nodes=[a_node("n", chips=4)],
        running=[live(elastic, ("n", [0, 1]), ("n", [2, 3]), **row)],  # type: ignore[arg-type]
        waiting=[a_job("urgent", chips=4, priority=90), a_job("next", chips=2, priority=80)],
    )


def laws_broken(case: Case, *takings: Taking, also: tuple[Unit, ...] = ()) -> list[str]:
    unit = replace(case.decision.raw.units[0], takings=takings)
    return [broken.law for broken in check(case.snapshot, Decision(0, (unit, *also)))]


EVICTED = Taking(1001, 1001, Rung.EVICT, Ground.PRIORITY, 0)


def test_a_sound_unit_breaks_no_law() -> None:
    assert laws_broken(a_case(), EVICTED) == []


def test_whom_it_names_must_run_and_not_be_leaving() -> None:
    assert laws_broken(a_case(), replace(EVICTED, attempt=7)) == ["taken_alive"]
    case = a_case()
    leaving = tuple(replace(attempt, leaving=True) for attempt in case.snapshot.running)
    unit = replace(case.decision.raw.units[0], takings=(EVICTED,))
    broken = check(replace(case.snapshot, running=leaving), Decision(0, (unit,)))
    assert [fault.law for fault in broken] == ["taken_alive"]


def test_f4_work_that_is_not_preemptible_is_never_taken() -> None:
    case = a_case()
    firm = tuple(replace(attempt, preemptible=False) for attempt in case.snapshot.running)
    unit = replace(case.decision.raw.units[0], takings=(EVICTED,))
    broken = check(replace(case.snapshot, running=firm), Decision(0, (unit,)))
    assert [fault.law for fault in broken] == ["not_preemptible"]


def test_nobody_is_taken_from_twice() -> None:
    case = a_case()
    second = replace(case.decision.raw.units[0].start, job=2)
    assert laws_broken(case, EVICTED, EVICTED) == ["taken_once"]
    assert laws_broken(case, EVICTED, also=(Unit(second, (EVICTED,)),)) == ["taken_once"]


def test_r4_whole_gangs_or_down_to_their_minimum() -> None:
    shrunk = replace(EVICTED, rung=Rung.SHRINK)
    assert laws_broken(a_case(), replace(shrunk, keeps=())) == ["whole_or_minimum"]
    assert laws_broken(a_case(), replace(shrunk, keeps=(0, 1))) == ["whole_or_minimum"]
    assert laws_broken(a_case(), replace(EVICTED, keeps=(0,))) == ["whole_or_minimum"]


def test_the_promised_chips_must_really_become_free() -> None:
    assert laws_broken(a_case(), replace(EVICTED, rung=Rung.SHRINK, keeps=(0,))) == ["chip_milli"]


def test_r7_a_move_has_a_place_for_each_replica_that_is_free_before() -> None:
    case = a_case()
    moved = replace(EVICTED, rung=Rung.MOVE)
    assert laws_broken(case, moved) == ["moves_whole"]
    there = case.snapshot.running[0].placements
    assert laws_broken(case, replace(moved, placements=there)) == ["chip_milli"]


def test_what_a_victim_still_holds_is_nobodys_yet() -> None:
    """A later start may not use it, though it was taken."""
    case = a_case()
    (unit,) = case.decision.raw.units
    first = unit.start.placements[0]
    next_ = replace(unit.start, job=2, placements=(replace(first, chips=first.chips[:2]),))
    assert laws_broken(case, EVICTED, also=(Unit(next_),)) == ["chip_milli"]


def test_a_relief_that_breaks_a_law_is_dropped_and_named() -> None:
    case = a_case()
    relief = (replace(EVICTED, ground=Ground.EXCESS), replace(EVICTED, attempt=7, ground=Ground.EXCESS))
    decision, broken = enforce(Ledger(case.snapshot), {}, Decision(0, relief=relief))
    assert decision.relief == relief[:1]
    assert [fault.law for fault in broken] == ["taken_alive"]
