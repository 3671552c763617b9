"""The safety laws drop a unit that breaks one, name it, and let the others go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core import Decision, Snapshot, Start, Unit, tally
from scheduler_core.invariants import check, enforce
from scheduler_core.ledger import Ledger
from scheduler_core.model import ChipShare, Isolation, Placement
from scheduler_core.reasons import LawBroken
from tests.support.engine import (
    Case,
    a_cpu_job,
    a_gang,
    a_job,
    a_node,
    a_quota,
    a_slice,
    a_team,
    given,
    live,
)


@pytest.fixture(autouse=True, params=[0, tally.FEW])
def counted_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few the units are, they are first counted together; and not."""
    monkeypatch.setattr(tally, "FEW", request.param)


def tampered(case: Case, name: str, **changes: object) -> Decision:
    """The engine's decision with one start changed."""
    job = next(job.id for job in case.snapshot.jobs if job.name == name)
    units = tuple(
        Unit(replace(unit.start, **changes)) if unit.start.job == job else unit  # type: ignore[arg-type]
        for unit in case.decision.raw.units
    )
    return replace(case.decision.raw, units=units)


def laws_broken(snapshot: Snapshot, decision: Decision) -> list[str]:
    return [violation.law for violation in check(snapshot, decision)]


def whole(replica: int, node: int, *chips: int, memory: int = 40960) -> Placement:
    return Placement(replica, node, 0, 0, tuple(ChipShare(chip, 1000, memory) for chip in chips))


TWO_NODES = [a_node("one", chips=2), a_node("two", chips=2)]


def gang_case() -> Case:
    return given(nodes=TWO_NODES, waiting=[a_gang("train", replicas=2, chips=1)])


def test_what_the_engine_decides_breaks_no_law() -> None:
    case = gang_case()
    assert case.decision.starts("train")
    assert check(case.snapshot, case.decision.raw) == ()


@pytest.mark.parametrize(
    ("law", "placements"),
    [
        ("whole_gang", (whole(0, 1, 1),)),
        ("whole_gang", (whole(0, 1, 1), whole(2, 2, 3))),
        ("whole_gang", ()),
        ("spread", (whole(0, 1, 1), whole(1, 1, 2))),
        ("as_asked", (whole(0, 1, 1, 2), whole(1, 2, 3))),
        ("as_asked", (whole(0, 1), whole(1, 2, 3))),
        ("as_asked", (whole(0, 1, 1, memory=1), whole(1, 2, 3))),
        ("chip_in_service", (whole(0, 1, 3), whole(1, 2, 1))),
        ("chip_in_service", (whole(0, 1, 99), whole(1, 2, 3))),
        ("node_in_service", (whole(0, 9, 1), whole(1, 2, 3))),
    ],
)
def test_r4_a_gang_that_is_not_whole_or_not_as_asked_is_dropped(law: str, placements: tuple) -> None:
    case = gang_case()
    assert laws_broken(case.snapshot, tampered(case, "train", placements=placements)) == [law]


@pytest.mark.parametrize("named", [("A100",), ("A100", "H100"), ()])
def test_p5_chips_are_of_one_type_and_of_one_that_the_job_named(named: tuple[str, ...]) -> None:
    case = given(
        nodes=[
            a_node("one", chips=1),
            a_node("two", chips=2, type="H100"),
            a_node("three", chips=1, type="H100"),
        ],
        waiting=[a_gang("train", replicas=2, chips=1, type=named)],
    )

    def broken(*placements: Placement) -> list[str]:
        return laws_broken(case.snapshot, Decision(0, (Unit(Start(1, 0, placements)),)))

    assert broken(whole(0, 2, 2), whole(1, 3, 4)) == ([] if named != ("A100",) else ["as_asked"])
    assert broken(whole(0, 1, 1), whole(1, 2, 2)) == ["as_asked"]


def test_a_unit_for_a_job_that_does_not_wait_in_this_version_is_dropped() -> None:
    case = gang_case()
    assert laws_broken(case.snapshot, tampered(case, "train", version=7)) == ["waiting"]
    assert laws_broken(replace(case.snapshot, jobs=()), case.decision.raw) == ["waiting"]


def test_a_second_unit_for_the_same_job_is_dropped() -> None:
    case = given(nodes=[a_node(chips=4)], waiting=[a_job("j")])
    unit = case.decision.raw.units[0]
    other = Unit(replace(unit.start, placements=(whole(0, 1, 4),)))
    twice = replace(case.decision.raw, units=(unit, other))
    assert laws_broken(case.snapshot, twice) == ["one_live_attempt"]


def test_two_units_may_not_take_the_same_chip() -> None:
    case = given(nodes=[a_node(chips=2)], waiting=[a_job("a"), a_job("b")])
    taken = case.decision.placements_of("a")
    assert laws_broken(case.snapshot, tampered(case, "b", placements=taken)) == ["chip_milli"]


def test_no_unit_takes_more_host_cpu_or_memory_than_is_left() -> None:
    case = given(
        nodes=[a_node("small", cpu=1500, memory=100), a_node("big", cpu=1500, memory=100)],
        waiting=[a_cpu_job("a", cpu=1000), a_cpu_job("b", cpu=1000)],
    )
    same = case.decision.placements_of("a")
    assert laws_broken(case.snapshot, tampered(case, "b", placements=same)) == ["node_cpu"]
    case = given(
        nodes=[a_node(memory=100), a_node(memory=100)],
        waiting=[a_cpu_job("a", cpu=1, memory=60), a_cpu_job("b", cpu=1, memory=60)],
    )
    same = case.decision.placements_of("a")
    assert laws_broken(case.snapshot, tampered(case, "b", placements=same)) == ["node_memory"]


def test_no_unit_takes_more_chip_memory_than_is_left() -> None:
    case = given(
        nodes=[a_node(chips=2, chip_memory=1000)],
        waiting=[a_slice("a", milli=100, chip_memory=600), a_slice("b", milli=100, chip_memory=600)],
    )
    same = case.decision.placements_of("a")
    assert laws_broken(case.snapshot, tampered(case, "b", placements=same)) == ["chip_memory"]


@pytest.mark.parametrize("change", [{"ready": False}, {"pool": 2}])
def test_a_node_that_left_service_or_the_pools_is_not_used(change: dict) -> None:
    case = given(nodes=[a_node(pool="a"), a_node(pool="b")], waiting=[a_cpu_job("j", pools=("a",))])
    nodes = (replace(case.snapshot.nodes[0], **change), case.snapshot.nodes[1])
    assert laws_broken(replace(case.snapshot, nodes=nodes), case.decision.raw) == ["node_in_service"]


def test_a_chip_that_fell_ill_is_not_used() -> None:
    case = given(nodes=[a_node(chips=1)], waiting=[a_job("j")])
    ill = tuple(replace(chip, healthy=False) for chip in case.snapshot.chips)
    assert laws_broken(replace(case.snapshot, chips=ill), case.decision.raw) == ["chip_in_service"]


def test_f1_and_f4_hold_over_the_units_together() -> None:
    case = given(nodes=[a_node(chips=4)], waiting=[a_job("a", chips=2), a_job("b", chips=2)])
    team = replace(case.snapshot.teams[0], quotas=(a_quota(guaranteed=9, limit=3),))
    assert laws_broken(replace(case.snapshot, teams=(team,)), case.decision.raw) == ["team_limit"]
    team = replace(case.snapshot.teams[0], quotas=(a_quota(guaranteed=3),))
    assert laws_broken(replace(case.snapshot, teams=(team,)), case.decision.raw) == ["guarantee"]


def test_f1_the_limit_of_a_team_above_holds_over_the_units_together() -> None:
    teams = [a_team("lab"), a_team("vision", parent="lab"), a_team("speech", parent="lab")]
    case = given(
        nodes=[a_node(chips=4)],
        teams=teams,
        waiting=[a_job("a", chips=2), a_job("b", chips=2, team="speech")],
    )
    lab, *others = case.snapshot.teams

    def under(**quota: int) -> list[str]:
        limited = replace(lab, quotas=(a_quota(**quota),))
        return laws_broken(replace(case.snapshot, teams=(limited, *others)), case.decision.raw)

    assert under(limit=4) == []
    assert under(limit=3) == ["team_limit"]
    assert under(limit=1) == ["team_limit", "team_limit"]
    assert under(guaranteed=0) == []


def test_the_cap_of_an_array_holds_over_the_units_together() -> None:
    case = given(
        nodes=[a_node(chips=4)], waiting=[a_job("a", array="s", cap=2), a_job("b", array="s", cap=2)]
    )
    jobs = tuple(replace(job, set_cap=1) for job in case.snapshot.jobs)
    assert laws_broken(replace(case.snapshot, jobs=jobs), case.decision.raw) == ["set_cap"]


def test_p4_strangers_do_not_meet_on_a_chip() -> None:
    case = given(
        nodes=[a_node(chips=2)],
        teams=[a_team("vision", organization="acme"), a_team("speech", organization="globex")],
        waiting=[
            a_slice("ours", milli=300, isolation=Isolation.ENFORCED),
            a_slice("theirs", milli=300, isolation=Isolation.ENFORCED, team="speech"),
        ],
    )
    weak = frozenset({Isolation.COOPERATIVE, Isolation.EXCLUSIVE})
    assert case.decision.starts("ours")
    chips = tuple(replace(chip, isolation=weak) for chip in case.snapshot.chips)
    snapshot = replace(case.snapshot, chips=chips)
    assert laws_broken(snapshot, case.decision.raw) == ["isolation", "isolation"]
    anything = tuple(
        replace(job, gang=replace(job.gang, request=replace(job.gang.request, isolation=None)))
        for job in case.snapshot.jobs
    )
    assert laws_broken(replace(snapshot, jobs=anything), case.decision.raw) == ["isolation"]


def test_a_broken_unit_is_dropped_and_named_and_the_others_go_on() -> None:
    case = given(nodes=[a_node(chips=3)], waiting=[a_job("a"), a_job("b"), a_job("c")])
    bad = tampered(case, "b", placements=case.decision.placements_of("a"))
    jobs = {job.id: job for job in case.snapshot.jobs}
    decision, broken = enforce(Ledger(case.snapshot), jobs, bad)
    assert [unit.start.job for unit in decision.units] == [1, 3]
    assert [(violation.job, violation.law) for violation in broken] == [(2, "chip_milli")]
    assert decision.broken == broken
    (verdict,) = decision.verdicts
    assert verdict.jobs == (2,)
    assert isinstance(verdict.reasons[0], LawBroken)
    assert verdict.reasons[0].sentence() == (
        "Its start was withheld, because it would have broken the law chip_milli: Chip 1 has 0 milli left."
    )


def test_an_excess_may_stand_but_not_grow() -> None:
    """A unit that adds nothing to what is over is kept; one that adds to it is dropped."""
    case = given(
        nodes=[a_node("n", chips=2, cpu=1000)],
        running=[live(a_cpu_job("old", cpu=1000), ("n", []))],
        waiting=[a_job("chip", cpu=0)],
    )
    less = tuple(replace(node, cpu=500) for node in case.snapshot.nodes)
    assert check(replace(case.snapshot, nodes=less), case.decision.raw) == ()
    with_cpu = Decision(0, (Unit(Start(1, 0, (replace(whole(0, 1, 1), cpu=1),))),))
    asks = tuple(
        replace(job, gang=replace(job.gang, request=replace(job.gang.request, cpu=1)))
        for job in case.snapshot.jobs
    )
    assert laws_broken(replace(case.snapshot, nodes=less, jobs=asks), with_cpu) == ["node_cpu"]
