"""Order, quota and caps, rule by rule (F1, F3, F4, F6, `%n`, R6's bound)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core import Policy
from scheduler_core.admit import Admission, admit
from scheduler_core.model import Quota, Team
from scheduler_core.reasons import (
    AskedWrongly,
    CycleBound,
    NodesTooSmall,
    NoSuchChips,
    NotEnoughNodes,
    OutsideGuarantee,
    SetCapReached,
    TeamLimit,
)
from tests.support.engine import (
    ATeam,
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


def test_f1_a_limit_is_hard_also_for_preemptible_work() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[a_team("vision", a_quota(limit=4))],
        running=[live(a_job("old", chips=3, preemptible=True), ("n", [0, 1, 2]))],
        waiting=[a_job("two", chips=2, preemptible=True), a_job("one", preemptible=True, submitted=9)],
    )
    assert case.decision.started == ["one"]
    assert case.decision.waits("two", because=TeamLimit("vision", "A100", 2000, 4000, 4000))
    assert case.decision.sentence_of("two") == (
        "Team vision uses 4 of its limit of 4 A100 chips; this job needs 2 more."
    )


def test_f1_a_limit_counts_one_chip_type_only() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("h", chips=2, type="H100")],
        teams=[a_team("vision", a_quota(limit=0))],
        waiting=[a_job("any", chips=2, preemptible=True)],
    )
    assert case.decision.starts("any", on=["h"])


def a_lab(*, limit: int = 4) -> list[ATeam]:
    """Two teams, vision and speech, under a lab with a limit; vision has a larger one of its own."""
    return [
        a_team("lab", a_quota(limit=limit)),
        a_team("vision", a_quota(limit=8), parent="lab"),
        a_team("speech", parent="lab"),
    ]


def test_f1_the_limit_of_the_team_above_bounds_all_teams_below_it_together() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=a_lab(),
        running=[live(a_job("old", chips=3, team="speech"), ("n", [0, 1, 2]))],
        waiting=[a_job("two", chips=2, preemptible=True), a_job("one", preemptible=True, submitted=9)],
    )
    assert case.decision.started == ["one"]
    assert case.decision.waits("two", because=TeamLimit("lab", "A100", 2000, 4000, 4000))
    assert case.decision.sentence_of("two") == (
        "Team lab uses 4 of its limit of 4 A100 chips; this job needs 2 more."
    )
    assert [reason.code for reason in case.decision.reasons_of("two")] == ["team_limit"]


def test_f1_starts_of_one_cycle_count_together_in_the_team_above() -> None:
    waiting = [a_job(f"{team}-{n}", chips=1, team=team, preemptible=True) for team in ("vision", "speech")
               for n in range(3)]  # fmt: skip
    case = given(nodes=[a_node(chips=8)], teams=a_lab(limit=3), waiting=waiting)
    assert len(case.decision.started) == 3
    assert case.decision.waits("speech-2", because=TeamLimit("lab", "A100", 1000, 3000, 3000))


def test_f1_every_limit_in_the_way_is_named_the_nearest_first() -> None:
    teams = [
        a_team("company", a_quota(limit=2)),
        a_team("lab", parent="company"),
        a_team("vision", a_quota(guaranteed=0, limit=1), parent="lab"),
    ]
    case = given(nodes=[a_node(chips=8)], teams=teams, waiting=[a_job("three", chips=3)])
    assert [reason.sentence() for reason in case.decision.reasons_of("three")] == [
        "Needs 3 A100 chips; team vision has a limit of 1 A100 chip.",
        "Needs 3 A100 chips; team company has a limit of 2 A100 chips.",
        "Needs 3 A100 chips inside the guarantee, as it is not preemptible; team vision is guaranteed 0.",
    ]


def test_f1_an_elastic_gang_grows_no_further_than_the_team_above_may() -> None:
    case = given(
        nodes=[a_node(chips=2) for _ in range(4)],
        teams=a_lab(limit=3),
        waiting=[a_gang("wide", replicas=(1, 4), chips=1, preemptible=True)],
    )
    assert len(case.decision.placements_of("wide")) == 3


def test_f4_the_guarantee_is_the_teams_own() -> None:
    """Neither the parent's guarantee nor what sister teams hold of theirs says what a team may start."""
    teams = [
        a_team("lab", a_quota(guaranteed=0)),
        a_team("vision", a_quota(guaranteed=2), parent="lab"),
        a_team("speech", a_quota(guaranteed=2), parent="lab"),
    ]
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=teams,
        running=[live(a_job("old", chips=2, team="speech"), ("n", [0, 1]))],
        waiting=[a_job("firm", chips=2), a_job("of-lab", team="lab")],
    )
    assert case.decision.started == ["firm"]
    assert case.decision.waits("of-lab", because=OutsideGuarantee("lab", "A100", 1000, 0, 0))


def test_f4_a_guarantee_of_the_team_above_is_not_said_to_be_in_the_way() -> None:
    case = given(
        nodes=[a_node(chips=16)],
        teams=[a_team("lab", a_quota(guaranteed=0, limit=4)), a_team("vision", parent="lab")],
        waiting=[a_job("firm", chips=5), a_job("fits", chips=4, submitted=9)],
    )
    assert case.decision.started == ["fits"]
    assert [reason.code for reason in case.decision.reasons_of("firm")] == ["team_limit"]


def test_f3_a_share_is_of_a_teams_own_work() -> None:
    """A team above is not sorted behind for what teams below it use."""
    teams = [
        a_team("lab", a_quota(guaranteed=4)),
        a_team("vision", a_quota(guaranteed=4), parent="lab"),
        a_team("other", a_quota(guaranteed=4)),
    ]
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=teams,
        running=[
            live(a_job("x", chips=3), ("n", [0, 1, 2])),
            live(a_job("y", team="other"), ("n", [3])),
        ],
        waiting=[a_job("of-other", team="other"), a_job("of-lab", team="lab")],
    )
    assert case.decision.started == ["of-lab", "of-other"]


def test_f1_a_slice_is_charged_its_larger_side() -> None:
    team = a_team("vision", Quota("A100", limit=500))
    small = a_slice("small", milli=100, chip_memory=20_480, preemptible=True, submitted=1)
    next_ = a_slice("next", milli=100, preemptible=True, submitted=2)
    case = given(nodes=[a_node(chips=1, chip_memory=40_960)], teams=[team], waiting=[small, next_])
    assert case.decision.started == ["small"]
    assert case.decision.waits("next", because=TeamLimit("vision", "A100", 100, 500, 500))


def test_f3_the_team_that_uses_the_least_of_its_guarantee_is_next() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[
            a_team("full", a_quota(guaranteed=2)),
            a_team("half", a_quota(guaranteed=4)),
            a_team("none", a_quota(guaranteed=1)),
        ],
        running=[
            live(a_job("x", team="full", preemptible=True), ("n", [0])),
            live(a_job("y", team="half", preemptible=True), ("n", [1])),
        ],
        waiting=[
            a_job("full-job", team="full", preemptible=True, priority=99),
            a_job("half-job", team="half", preemptible=True),
            a_job("none-job", team="none", preemptible=True, priority=1),
        ],
    )
    assert case.decision.started == ["none-job", "half-job", "full-job"]


def test_f3_a_start_counts_at_once_so_teams_take_turns() -> None:
    teams = [a_team("a", a_quota(guaranteed=4)), a_team("b", a_quota(guaranteed=4))]
    waiting = [a_job(f"a{n}", team="a", submitted=n) for n in range(3)]
    waiting += [a_job(f"b{n}", team="b", submitted=10 + n) for n in range(3)]
    case = given(nodes=[a_node(chips=4)], teams=teams, waiting=waiting)
    assert case.decision.started == ["a0", "b0", "a1", "b1"]


def test_f3_use_without_any_fair_share_sorts_last() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[a_team("owner", a_quota(guaranteed=4)), a_team("guest", a_quota(guaranteed=0, weight=0))],
        running=[
            live(a_job("x", chips=3, team="owner"), ("n", [0, 1, 2])),
            live(a_slice("y", milli=10, team="guest", preemptible=True), ("n", [3])),
        ],
        waiting=[
            a_job("guest-job", team="guest", preemptible=True, priority=90),
            a_job("owner-job", team="owner"),
        ],
    )
    assert case.decision.started == ["owner-job", "guest-job"]


def test_f3_inside_a_team_priority_then_submit_time_then_id() -> None:
    waiting = [
        a_job("late", submitted=2),
        a_job("early", submitted=1),
        a_job("high", submitted=3, priority=75),
        a_job("early-too", submitted=1),
    ]
    case = given(nodes=[a_node(chips=4)], waiting=waiting)
    assert case.decision.started == ["high", "early", "early-too", "late"]


def test_f4_work_that_is_not_preemptible_starts_only_inside_the_guarantee() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[a_team("vision", a_quota(guaranteed=2, limit=8))],
        running=[live(a_job("old", chips=1), ("n", [0]))],
        waiting=[a_job("firm", chips=2), a_job("loose", chips=2, preemptible=True)],
    )
    assert case.decision.started == ["loose"]
    assert case.decision.waits("firm", because=OutsideGuarantee("vision", "A100", 2000, 1000, 2000))
    assert case.decision.sentence_of("firm") == (
        "Needs 2 A100 chips inside the guarantee, as it is not preemptible; "
        "team vision is guaranteed 2, of which 1 is taken."
    )


def test_f4_a_teams_own_preemptible_work_takes_nothing_from_its_guarantee() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[a_team("vision", a_quota(guaranteed=2))],
        running=[live(a_job("loose", chips=4, preemptible=True), ("n", [0, 1, 2, 3]))],
        waiting=[a_job("firm", chips=2)],
    )
    assert case.decision.starts("firm")


def test_f4_a_lowered_guarantee_leaves_running_work_and_stops_new_starts() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[a_team("vision", a_quota(guaranteed=0))],
        running=[live(a_job("old", chips=4), ("n", [0, 1, 2, 3]))],
        waiting=[a_job("new")],
    )
    assert case.decision.waits("new", because=OutsideGuarantee("vision", "A100", 1000, 4000, 0))
    assert case.decision.raw.excesses == ()


def test_adr2_without_a_quota_row_a_team_is_unlimited_and_unguaranteed() -> None:
    case = given(nodes=[a_node(chips=8)], waiting=[a_job("firm", chips=8)])
    assert case.decision.starts("firm")


def test_f2_host_cpu_is_no_share_of_any_quota() -> None:
    case = given(nodes=[a_node()], teams=[a_team("vision", a_quota(limit=0))], waiting=[a_cpu_job("cpu")])
    assert case.decision.starts("cpu")


def test_cap_at_most_n_tasks_of_an_array_live_at_once() -> None:
    tasks = [a_job(f"t{n}", array="sweep", cap=3, submitted=n) for n in range(4)]
    case = given(
        nodes=[a_node("n", chips=8)],
        running=[live(a_job("t", array="sweep", cap=3), ("n", [0]))],
        waiting=tasks,
    )
    assert case.decision.started == ["t0", "t1"]
    assert case.decision.waits("t2", because=SetCapReached(cap=3, live=3))
    assert case.decision.sentence_of("t3") == "Its array runs at most 3 tasks at a time, and 3 are live."


def test_cap_of_one_array_does_not_hold_another() -> None:
    waiting = [a_job("a", array="one", cap=1), a_job("b", array="two", cap=1), a_job("c", array="one", cap=1)]
    case = given(nodes=[a_node(chips=8)], waiting=waiting)
    assert case.decision.started == ["a", "b"]


def test_r6_a_cycle_stops_at_its_bound_and_says_so() -> None:
    waiting = [a_job(f"j{n}", submitted=n) for n in range(4)]
    case = given(nodes=[a_node(chips=8)], waiting=waiting, policy=Policy(max_starts=3))
    assert case.decision.started == ["j0", "j1", "j2"]
    assert case.decision.waits("j3", because=CycleBound(3))


# -- F6: admit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "because"),
    [
        (a_job("j", chips=10_000), NodesTooSmall(needed=10_000, largest=8, chip_type="", where="node")),
        (a_job("j", chips=-1), AskedWrongly("chips cannot be -1")),
        (a_job("j", type="H200"), NoSuchChips("H200", "node")),
        (a_gang("j", replicas=3, chips=8), NotEnoughNodes(3, 2, "8 chips")),
        (a_job("j", chips=8, preemptible=True), TeamLimit("vision", "A100", 8000, 0, 6000)),
        (a_job("j", chips=5), OutsideGuarantee("vision", "A100", 5000, 0, 4000)),
    ],
)
def test_f6_what_can_never_fit_is_refused_with_its_reason(job, because) -> None:
    case = given(
        nodes=[a_node(chips=8), a_node(chips=8)],
        teams=[a_team("vision", a_quota(guaranteed=4, limit=6))],
        waiting=[job],
    )
    assert because in admit(case.snapshot.jobs[0], case.snapshot)


def test_f6_what_is_above_the_limit_of_a_team_above_is_refused() -> None:
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=a_lab(),
        running=[live(a_job("old", chips=4, team="speech"), ("n", [0, 1, 2, 3]))],
        waiting=[a_job("fits", chips=4, preemptible=True), a_job("never", chips=5, preemptible=True)],
    )
    fits, never = case.snapshot.jobs
    assert admit(fits, case.snapshot) == ()
    assert admit(never, case.snapshot) == (TeamLimit("lab", "A100", 5000, 0, 4000),)


def test_f6_what_could_fit_another_time_is_admitted() -> None:
    """Busy, drained, unhealthy: registered capacity counts, and running work does not."""
    case = given(
        nodes=[a_node("busy", chips=4), a_node("off", chips=8, ready=False, unhealthy=[0, 1])],
        teams=[a_team("vision", a_quota(limit=8))],
        running=[live(a_job("old", chips=4, preemptible=True), ("busy", [0, 1, 2, 3]))],
        waiting=[a_job("j", chips=8, preemptible=True)],
    )
    assert admit(case.snapshot.jobs[0], case.snapshot) == ()
    assert not case.decision.started


def test_f6_one_admission_answers_many_jobs_alike_and_keeps_nothing() -> None:
    case = given(nodes=[a_node(chips=2)], waiting=[a_job("fits", chips=2), a_job("never", chips=3)])
    admission = Admission(case.snapshot)
    fits, never = case.snapshot.jobs
    for _ in range(3):
        assert admission.reasons(fits) == ()
        assert admission.reasons(never) == admit(never, case.snapshot) != ()


def test_f6_after_acceptance_the_same_is_a_reason_to_wait() -> None:
    case = given(nodes=[a_node(chips=2)], waiting=[a_job("never", chips=3), a_job("fits", submitted=9)])
    assert case.decision.started == ["fits"]
    assert case.decision.waits("never", because=NodesTooSmall(needed=3, largest=2))


# -- what already stands ------------------------------------------------------------------------------


def test_an_excess_that_stands_is_reported_and_nothing_is_added_to_it() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(limit=4)), a_team("speech")],
        running=[live(a_job("old", chips=2, preemptible=True), ("n", [0, 1]), started=900_000)],
        waiting=[a_job("more", preemptible=True), a_job("other", team="speech")],
    )
    lowered = Team(1, "vision", 1, None, (Quota("A100", 0, 1000),))
    lowered_case = case.but(teams=(lowered, case.snapshot.teams[1]))
    assert lowered_case.decision.started == ["other"]
    (excess,) = lowered_case.decision.raw.excesses
    assert (excess.what, excess.id, excess.used, excess.capacity) == ("limit of A100", 1, 2000, 1000)


def test_an_excess_of_a_team_above_is_reported_once_as_its_own() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=a_lab(limit=1),
        running=[live(a_job("old", chips=2, preemptible=True), ("n", [0, 1]), started=900_000)],
        waiting=[a_job("more", preemptible=True, team="speech")],
    )
    assert case.decision.started == []
    (excess,) = case.decision.raw.excesses
    assert (excess.what, excess.id, excess.used, excess.capacity) == ("limit of A100", 1, 2000, 1000)


def test_an_excess_on_a_node_names_what_is_over() -> None:
    case = given(
        nodes=[a_node("n", chips=1, chip_memory=1000, cpu=4000, memory=100)],
        running=[
            live(a_slice("a", milli=600, cpu=3000, memory=60), ("n", [0])),
            live(a_slice("b", milli=400, cpu=1000, memory=40), ("n", [0])),
        ],
    )
    shrunk = case.but(
        nodes=tuple(replace(node, cpu=3500, memory=90) for node in case.snapshot.nodes),
        chips=tuple(replace(chip, memory=900) for chip in case.snapshot.chips),
    )
    told = {excess.what: (excess.used, excess.capacity) for excess in shrunk.decision.raw.excesses}
    assert told == {"node cpu": (4000, 3500), "node memory": (100, 90), "chip memory": (1000, 900)}
