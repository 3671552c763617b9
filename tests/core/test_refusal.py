"""Snapshots that contradict themselves are refused with the rule and the id; standing excess is accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given as for_all
from hypothesis import settings

from scheduler_core import Policy, Snapshot, SnapshotRefused, check_snapshot, decide
from scheduler_core.model import AllocationKind, ChipShare, Pool, Quota, Team, Window
from scheduler_core.refusal import CONTRADICTED, SetAside, contradictions, set_aside, without
from tests.core.cells import cells
from tests.support.engine import a_job, a_node, a_quota, a_slice, a_team, given, live


def a_cell() -> Snapshot:
    """One node with two chips, two teams, a job on the first chip, one that waits."""
    return given(
        nodes=[a_node("n", chips=2)],
        teams=[a_team("lab", a_quota(limit=4)), a_team("vision", a_quota(limit=4), parent="lab")],
        running=[live(a_job("old"), ("n", [0]))],
        waiting=[a_job("new")],
    ).snapshot


def held(snapshot: Snapshot, share: ChipShare, **changes: object) -> Snapshot:
    """The running attempt holds this share instead, on its node or another."""
    attempt = snapshot.running[0]
    placement = replace(attempt.placements[0], chips=(share,), **changes)
    return replace(snapshot, running=(replace(attempt, placements=(placement,)),))


def twice(snapshot: Snapshot, part: str) -> Snapshot:
    rows = getattr(snapshot, part)
    return replace(snapshot, **{part: (*rows, rows[0])})


CONTRADICTIONS = [
    ("duplicate_id", 1, lambda s: twice(s, "pools")),
    ("duplicate_id", 1, lambda s: twice(s, "nodes")),
    ("duplicate_id", 1, lambda s: twice(s, "chips")),
    ("duplicate_id", 1, lambda s: twice(s, "teams")),
    ("duplicate_id", 1, lambda s: twice(s, "jobs")),
    ("duplicate_id", 1001, lambda s: twice(s, "running")),
    (
        "duplicate_id",
        1,
        lambda s: replace(s, teams=(replace(s.teams[0], quotas=(Quota("A"), Quota("A"))), *s.teams[1:])),
    ),
    ("id_out_of_range", -1, lambda s: replace(s, jobs=(replace(s.jobs[0], id=-1),))),
    ("quantity", 1, lambda s: replace(s, nodes=(replace(s.nodes[0], cpu=-1),))),
    ("quantity", 1, lambda s: replace(s, nodes=(replace(s.nodes[0], memory=2**40),))),
    ("quantity", 2, lambda s: replace(s, chips=(s.chips[0], replace(s.chips[1], memory=-5)))),
    (
        "quantity",
        2,
        lambda s: replace(s, teams=(s.teams[0], replace(s.teams[1], quotas=(Quota("A", -1),)))),
    ),
    ("quantity", 1001, lambda s: held(s, ChipShare(1, -100, 0))),
    (
        "team_tree",
        1,
        lambda s: replace(s, teams=(replace(s.teams[0], parent=2), s.teams[1])),
    ),
    ("team_tree", 1, lambda s: replace(s, teams=(replace(s.teams[0], parent=1), s.teams[1]))),
    ("unknown_chip", 1001, lambda s: held(s, ChipShare(99, 1000, 0))),
    ("unknown_node", 1001, lambda s: held(s, ChipShare(1, 1000, 0), node=9)),
    (
        "chip_elsewhere",
        1001,
        lambda s: replace(s, chips=(replace(s.chips[0], node=2), s.chips[1])),
    ),
    ("chip_allocated_twice", 1, lambda s: held(s, ChipShare(1, 1001, 0))),
    (
        "chip_allocated_twice",
        1,
        lambda s: replace(s, running=(*s.running, replace(s.running[0], id=1002, job=1002))),
    ),
    ("window", 3, lambda s: replace(s, windows=(Window(3, (1,), 1, 20, 10),))),
]


@pytest.mark.parametrize(("rule", "row", "change"), CONTRADICTIONS)
def test_a_contradiction_is_refused_with_its_rule_and_id(rule, row, change) -> None:
    snapshot = a_cell()
    check_snapshot(snapshot)
    with pytest.raises(SnapshotRefused) as refused:
        check_snapshot(change(snapshot))
    assert (refused.value.rule, refused.value.id) == (rule, row)
    assert str(refused.value).startswith(f"{rule}: ")
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(("rule", "row", "change"), CONTRADICTIONS)
def test_what_is_contradicted_is_set_aside_and_the_rest_is_decided(rule, row, change) -> None:
    """A second node and a second organization, of which everything is right, go on; nothing breaks a law."""
    wrong = change(a_cell())
    wrong = replace(
        wrong,
        pools=(*wrong.pools, Pool(9, "beside")),
        nodes=(*wrong.nodes, replace(a_cell().nodes[0], id=19, pool=9)),
        chips=(*wrong.chips, replace(a_cell().chips[0], id=90, node=19)),
        teams=(*wrong.teams, Team(9, "other", 9)),
        jobs=(*wrong.jobs, replace(a_cell().jobs[0], id=90, team=9, organization=9)),
    )
    found = list(contradictions(wrong))
    assert rule in {one.rule for one in found}
    aside = set_aside(found, wrong)
    contained = without(aside, wrong)
    decision = decide(contained, Policy())
    assert not decision.broken
    places = {unit.start.job: unit.start.placements[0].node for unit in decision.units}
    assert 90 in places
    assert not set(places.values()) & aside.nodes
    assert not {one.rule for one in contradictions(contained)} & {"quantity", "window"}


def test_a_node_that_is_set_aside_says_so_to_who_waits_for_it() -> None:
    wrong = held(a_cell(), ChipShare(1, 1001, 0))
    contained = without(set_aside(contradictions(wrong), wrong), wrong)
    (verdict,) = decide(contained, Policy()).verdicts
    assert CONTRADICTED in " ".join(reason.sentence() for reason in verdict.reasons)


def test_nothing_is_set_aside_where_nothing_is_contradicted() -> None:
    snapshot = a_cell()
    aside = set_aside(contradictions(snapshot), snapshot)
    assert aside == SetAside()
    assert without(aside, snapshot) == snapshot


def test_f1_a_team_whose_quota_makes_no_sense_starts_nothing_on_that_type() -> None:
    snapshot = a_cell()
    wrong = replace(
        snapshot, teams=(snapshot.teams[0], replace(snapshot.teams[1], quotas=(Quota("A100", -1),)))
    )
    contained = without(set_aside(contradictions(wrong), wrong), wrong)
    decision = decide(contained, Policy())
    assert not decision.units
    assert decision.verdicts[0].reasons[0].code == "team_limit"


EXCESSES = [
    lambda s: replace(s, nodes=(replace(s.nodes[0], cpu=0, memory=0),)),
    lambda s: replace(s, chips=(replace(s.chips[0], memory=1), s.chips[1])),
    lambda s: replace(s, chips=(replace(s.chips[0], healthy=False), s.chips[1])),
    lambda s: replace(s, nodes=(replace(s.nodes[0], ready=False),)),
    lambda s: replace(s, teams=tuple(replace(team, quotas=(Quota("A100", 0, 0),)) for team in s.teams)),
    lambda s: replace(s, teams=(s.teams[1],)),
]


@pytest.mark.parametrize("change", EXCESSES)
def test_what_can_honestly_come_about_is_accepted_and_decided(change) -> None:
    snapshot = change(a_cell())
    check_snapshot(snapshot)
    decide(snapshot, Policy())


def test_q7_owners_and_guests_are_counted_apart() -> None:
    snapshot = a_cell()
    guest = replace(snapshot.running[0], id=1002, job=1002, kind=AllocationKind.GUEST)
    check_snapshot(replace(snapshot, running=(*snapshot.running, guest)))


def test_a_request_that_means_nothing_is_for_the_job_to_wait_with() -> None:
    case = given(nodes=[a_node(chips=1)], waiting=[a_slice("odd", milli=-5), a_job("fits")])
    check_snapshot(case.snapshot)
    assert case.decision.started == ["fits"]


@settings(max_examples=50, deadline=None, derandomize=True)
@for_all(cells())
def test_a_cell_that_was_run_by_the_engine_is_never_refused(snapshot: Snapshot) -> None:
    """Rings in the team tree aside, which the cells of the other laws contain on purpose."""
    flat = tuple(replace(team, parent=None) for team in snapshot.teams)
    check_snapshot(replace(snapshot, teams=flat))
