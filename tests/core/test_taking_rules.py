"""R1 to R7: what is taken from running work, by what right, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core import Policy, Scheduler
from scheduler_core.decision import Ground, Rung
from scheduler_core.model import Isolation, Promise, Remove, Upsert
from scheduler_core.reasons import ChipsPromised
from tests.support.engine import a_gang, a_job, a_node, a_quota, a_slice, a_team, given, live, reserved
from tests.support.engine_laws import laws_hold

OLD = 0
YOUNG = 900_000
"""Starts of attempts; the cases' clock stands at 1,000,000 and the policy's `min_runtime` is 300,000."""


def low(name: str, *, chips: int = 1, **more: object):  # type: ignore[no-untyped-def]
    """Work that may be taken by anything more urgent of its team."""
    return a_job(name, chips=chips, **{"preemptible": True, "priority": 10, **more})


ONE_LEVEL = Policy(service_levels=(500_000,))


def long(name: str = "long", **more: object):  # type: ignore[no-untyped-def]
    """Work that keeps what it has done."""
    return a_job(name, **{"preemptible": True, "checkpoint": True, **more})


def two_teams(guaranteed: int = 2):  # type: ignore[no-untyped-def]
    return [a_team(name, a_quota(guaranteed=guaranteed)) for name in ("vision", "speech")]


# -- R1: rungs, and whom they may touch --------------------------------------------------------------------


def test_r1_free_capacity_comes_before_any_taking() -> None:
    case = given(
        nodes=[a_node("n", chips=2), a_node("free", chips=2)],
        running=[live(low("low", chips=2), ("n", [0, 1]))],
        waiting=[a_job("urgent", chips=2, priority=90)],
    )
    assert case.decision.starts("urgent", on=["free"])
    assert case.decision.takings_for("urgent") == {}


def test_r1_elastic_work_shrinks_before_anything_ends() -> None:
    elastic = a_gang("elastic", replicas=(1, 3), chips=2, preemptible=True, priority=10)
    case = given(
        nodes=[a_node(f"n{n}", chips=2) for n in range(4)],
        running=[
            live(elastic, ("n0", [0, 1]), ("n1", [0, 1]), ("n2", [0, 1])),
            live(low("low", chips=2), ("n3", [0, 1]), started=600_000),
        ],
        waiting=[a_job("urgent", chips=2, priority=90)],
    )
    assert case.decision.takes("elastic", for_="urgent", rung=Rung.SHRINK, ground=Ground.PRIORITY)
    assert len(case.decision.takings_for("urgent")["elastic"].keeps) == 2


def test_r1_who_shrinks_already_gives_more_before_another_one_shrinks() -> None:
    """A restart costs them nothing; one that starts anew once is fewer than two."""
    case = given(
        nodes=[a_node(f"n{n}", chips=1) for n in range(5)],
        running=[
            live(
                a_gang("one", replicas=(1, 3), chips=1, preemptible=True, priority=10),
                *((f"n{n}", [0]) for n in (0, 1, 2)),
            ),
            live(
                a_gang("other", replicas=(1, 2), chips=1, preemptible=True, priority=10),
                *((f"n{n}", [0]) for n in (3, 4)),
            ),
        ],
        waiting=[a_gang("urgent", replicas=2, chips=1, priority=90)],
    )
    (taking,) = case.decision.takings_for("urgent").values()
    assert (taking.rung, len(taking.keeps)) == (Rung.SHRINK, 1)


@pytest.mark.parametrize("isolation", Isolation)
def test_r1_p4_a_slice_that_is_taken_leaves_its_chip_to_nobody(isolation: Isolation) -> None:
    """However it was kept apart from others: the whole chip is free then."""
    part = a_slice("part", milli=500, isolation=isolation, preemptible=True, priority=10)
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(part, ("n", [0]))],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.takes("part", for_="urgent", ground=Ground.PRIORITY)


def test_r1_who_shrank_for_one_replica_is_not_counted_again_for_the_next() -> None:
    """All replicas need the host CPU. Elastic work gives its place on b to the first; for the second it has nothing
    more there, and less is lost with `newer` on b than with `older` on c.
    """
    elastic = a_gang(
        "elastic", replicas=(1, 2), chips=1, cpu=2000, preemptible=True, priority=10, checkpoint=True
    )
    case = given(
        nodes=[
            a_node("a", chips=1, pool="apart"),
            a_node("b", chips=4, cpu=4000),
            a_node("c", chips=2, cpu=2000),
        ],
        running=[
            live(elastic, ("a", [0]), ("b", [0]), checkpointed=900_000),
            live(low("newer", cpu=2000), ("b", [1]), started=600_000),
            live(low("older", cpu=2000), ("c", [0]), started=500_000),
        ],
        waiting=[
            a_gang("urgent", replicas=2, chips=1, cpu=2000, spread=False, pools=("default",), priority=90)
        ],
    )
    assert sorted(case.decision.takings_for("urgent")) == ["elastic", "newer"]


def test_r1_work_moves_before_it_is_suspended() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2)],
        running=[
            live(low("one", checkpoint=True, pools=()), ("a", [0])),
            live(low("two", checkpoint=True), ("b", [0])),
        ],
        waiting=[a_job("urgent", chips=2, priority=90)],
    )
    (taking,) = case.decision.takings_for("urgent").values()
    assert (taking.rung, taking.ground) == (Rung.MOVE, Ground.CONSOLIDATION)


def test_r1_work_with_a_checkpoint_is_suspended_before_other_work_is_evicted() -> None:
    case = given(
        nodes=[a_node("a", chips=1), a_node("b", chips=1)],
        running=[
            live(low("saves", checkpoint=True), ("a", [0]), started=OLD, checkpointed=OLD),
            live(low("loses"), ("b", [0]), started=600_000),
        ],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.takes("saves", for_="urgent", rung=Rung.SUSPEND)


def test_r1_on_one_rung_the_least_loss_is_taken() -> None:
    case = given(
        nodes=[a_node("a", chips=1), a_node("b", chips=1)],
        running=[live(low("old"), ("a", [0])), live(low("newer"), ("b", [0]), started=500_000)],
        waiting=[a_job("urgent", priority=90)],
    )
    assert list(case.decision.takings_for("urgent")) == ["newer"]


@pytest.mark.parametrize(
    ("why", "job", "row"),
    [
        ("not preemptible", {"preemptible": False}, {}),
        ("too young", {}, {"started": YOUNG}),
        ("its own least run time", {}, {"min_runtime": 2_000_000}),
        ("taken too often", {}, {"times_taken": 4}),
        ("leaving", {}, {"leaving": True}),
        ("giving up a replica", {}, {"going": (7,)}),
    ],
)
def test_r1_nothing_is_taken_from_protected_work(why: str, job: dict, row: dict) -> None:  # type: ignore[type-arg]
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(low("low", **job), ("n", [0]), **row)],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.started == [], why


def test_r1_one_cycle_searches_no_more_than_the_policy_says() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(low("low"), ("n", [0]))],
        waiting=[a_job("urgent", priority=90)],
        policy=Policy(max_searches=0),
    )
    assert case.decision.started == []


def test_r1_every_search_of_a_cycle_counts() -> None:
    """Four classes could each be served by one taking; a bound of two serves two, and one whose turn it is."""
    case = given(
        nodes=[a_node(f"n{n}", chips=1) for n in range(4)],
        running=[live(low(f"low{n}"), (f"n{n}", [0])) for n in range(4)],
        waiting=[a_job(f"urgent{n}", priority=90, cpu=n) for n in range(4)],
        policy=Policy(max_searches=2),
    )
    assert case.decision.started[:2] == ["urgent0", "urgent1"]
    assert len(case.decision.started) == 3


# -- R2: by what right --------------------------------------------------------------------------------------


def test_r2_a_guarantee_is_reclaimed_from_who_holds_more_than_its_own() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=two_teams(),
        running=[
            live(a_job("x", chips=2, preemptible=True), ("n", [0, 1])),
            live(a_job("y", chips=2, preemptible=True), ("n", [2, 3]), started=500_000),
        ],
        waiting=[a_job("mine", chips=2, team="speech")],
    )
    assert case.decision.takes("y", for_="mine", ground=Ground.GUARANTEE)


def test_r2_nobody_is_pushed_below_its_guarantee() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=two_teams(),
        running=[live(a_job("x", chips=4, preemptible=True), ("n", range(4)))],
        waiting=[a_job("mine", chips=2, team="speech")],
    )
    assert case.decision.started == []


def test_r2_beyond_its_guarantee_a_team_reclaims_up_to_its_fair_share() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision"), a_team("speech")],
        running=[
            live(a_job("x", chips=2, preemptible=True), ("n", [0, 1])),
            live(a_job("y", chips=2, preemptible=True), ("n", [2, 3])),
        ],
        waiting=[
            a_job("first", chips=2, team="speech", preemptible=True),
            a_job("second", chips=2, team="speech"),
        ],
    )
    assert case.decision.started == ["first"]
    assert case.decision.takes("x", for_="first", ground=Ground.FAIR_SHARE)


def test_r2_fair_shares_are_compared_at_every_level_where_two_teams_differ() -> None:
    """Speech is below its share, but its organization has all that it should."""
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[
            a_team("north"),
            a_team("south", organization="other"),
            a_team("vision", parent="north"),
            a_team("speech", parent="north"),
            a_team("music", parent="south", organization="other"),
        ],
        running=[
            live(a_job("v", chips=1, preemptible=True, team="vision"), ("n", [0])),
            live(a_job("v2", chips=1, preemptible=True, team="vision"), ("n", [1]), started=500_000),
            live(a_job("m", chips=1, preemptible=True, team="music"), ("n", [2]), started=600_000),
            live(a_job("m2", chips=1, preemptible=True, team="music"), ("n", [3]), started=600_000),
        ],
        waiting=[a_job("s", chips=1, team="speech", preemptible=True)],
    )
    assert case.decision.takes("v2", for_="s", ground=Ground.FAIR_SHARE)


def test_r2_higher_priority_takes_inside_its_team_alone() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        teams=two_teams(guaranteed=1),
        running=[
            live(low("ours"), ("n", [0])),
            live(low("theirs", team="speech"), ("n", [1]), started=600_000),
        ],
        waiting=[a_job("urgent", priority=90, preemptible=True)],
    )
    assert list(case.decision.takings_for("urgent")) == ["ours"]


def test_r2_equal_priority_takes_nothing() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(low("low"), ("n", [0]))],
        waiting=[a_job("same", priority=10, preemptible=True)],
    )
    assert case.decision.started == []


def test_f4_work_inside_the_guarantee_takes_back_what_its_own_team_borrowed() -> None:
    """ADR 0002: a team's borrowed work must not keep it from what it was promised."""
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(guaranteed=2))],
        running=[live(a_job("loose", chips=4, preemptible=True), ("n", range(4)))],
        waiting=[a_job("firm", chips=2)],
    )
    assert case.decision.takes("loose", for_="firm", ground=Ground.GUARANTEE)


def test_adr4_who_has_had_less_takes_from_who_has_had_more() -> None:
    """Inside one team and priority, preemptible both; the one that leaves keeps what it has done."""
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(long(), ("n", [0]))],
        waiting=[a_job("fresh", preemptible=True)],
        policy=ONE_LEVEL,
    )
    assert case.decision.takes("long", for_="fresh", ground=Ground.SERVICE_LEVEL)
    equal = replace(case.snapshot.jobs[0], attained=600_000)
    assert case.but(jobs=(equal,)).decision.started == []
    (attempt,) = case.snapshot.running
    loses = replace(attempt, checkpoint=False)
    assert case.but(running=(loses,)).decision.started == []


def test_adr4_levels_reach_over_teams_and_end_at_a_guarantee() -> None:
    """Whose chips are borrowed gives way to who has had less, whatever the teams have; guarantees stand."""
    case = given(
        nodes=[a_node("n", chips=1)],
        teams=[a_team("vision"), a_team("speech")],
        running=[live(long(), ("n", [0]))],
        waiting=[a_job("fresh", team="speech", preemptible=True)],
        policy=ONE_LEVEL,
    )
    assert case.decision.takes("long", for_="fresh", ground=Ground.SERVICE_LEVEL)
    vision = replace(case.snapshot.teams[0], quotas=(a_quota(guaranteed=1),))
    assert case.but(teams=(vision, *case.snapshot.teams[1:])).decision.started == []


def test_adr4_r2_a_fair_share_takes_nothing_from_who_has_had_less() -> None:
    """Speech has nothing and vision all, yet its job has had more than theirs; a guarantee asks no level."""
    case = given(
        nodes=[a_node("n", chips=2)],
        teams=[a_team("vision"), a_team("speech")],
        running=[live(a_job("two", chips=1, preemptible=True), ("n", [n]), started=600_000) for n in (0, 1)],
        waiting=[a_job("mine", team="speech", preemptible=True, attained=600_000)],
        policy=ONE_LEVEL,
    )
    assert case.decision.started == []
    (mine,) = case.snapshot.jobs
    equal = case.but(jobs=(replace(mine, attained=0),))
    assert equal.decision.takes("two", for_="mine", ground=Ground.FAIR_SHARE)
    speech = replace(case.snapshot.teams[1], quotas=(a_quota(guaranteed=1),))
    owed = case.but(teams=(case.snapshot.teams[0], speech))
    assert owed.decision.takes("two", for_="mine", ground=Ground.GUARANTEE)


def test_adr4_r1_who_has_had_most_is_taken_first() -> None:
    """Before the loss is compared, among work that keeps what it has done."""
    case = given(
        nodes=[a_node("a", chips=1), a_node("b", chips=1)],
        running=[
            live(long("some", attained=600_000), ("a", [0]), started=600_000),
            live(long("most", attained=9_000_000), ("b", [0]), started=500_000),
        ],
        waiting=[a_job("fresh", preemptible=True)],
        policy=Policy(service_levels=(500_000, 5_000_000)),
    )
    assert list(case.decision.takings_for("fresh")) == ["most"]


def test_r1_who_was_taken_too_often_first_runs_ten_times_what_a_restart_costs() -> None:
    """Work without a checkpoint keeps its chips for good; see the protections above."""
    often = long("often", restart_cost=50_000)
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(often, ("n", [0]), started=500_001, times_taken=4)],
        waiting=[a_job("fresh", preemptible=True)],
        policy=Policy(service_levels=(100_000,)),
    )
    assert case.decision.started == []
    (attempt,) = case.snapshot.running
    later = case.but(running=(replace(attempt, started=500_000),))
    assert later.decision.takes("often", for_="fresh", rung=Rung.SUSPEND)


def test_adr4_s1_levels_rise_as_work_runs() -> None:
    """A kept scheduler knows them at any instant as a fresh one does, also when asked of the past again."""
    case = given(
        nodes=[a_node("n", chips=4)],
        running=[live(long(f"long-{n}", attained=n * 90_000), ("n", [n])) for n in range(4)],
        waiting=[a_job("fresh", chips=4, preemptible=True)],
        policy=Policy(min_runtime=0, service_levels=(200_000, 400_000, 800_000)),
    )
    kept = Scheduler(case.snapshot, case.policy)
    started = set()
    for now in (0, 130_000, 199_999, 200_000, 410_000, 150_000, 0, 2_000_000):
        decision = kept.decide(now)
        assert decision == Scheduler(replace(case.snapshot, now=now), case.policy).decide(now)
        started.add(len(decision.units))
    assert started == {0, 1}


def test_b2_nothing_is_taken_on_nodes_that_are_kept_for_who_comes_before() -> None:
    """The least would be lost on node a, which is reserved: it is taken elsewhere, or not at all."""
    case = given(
        nodes=[a_node(name, chips=1) for name in "abc"],
        running=[
            live(low("least", runs=1_400_000), ("a", [0]), started=600_000),
            live(a_job("firm", team="speech", runs=2_000_000), ("b", [0])),
            live(low("more", endless=True), ("c", [0])),
        ],
        waiting=[
            a_gang("head", replicas=2, chips=1, team="speech", preemptible=True),
            a_job("urgent", priority=90, endless=True),
        ],
        reservations=[reserved("head", 2_000_000, ("a", [0]), ("b", [0]))],
        policy=Policy(service_levels=()),
    )
    assert case.decision.reservation_of("head") is not None
    assert list(case.decision.takings_for("urgent")) == ["more"]
    without = case.but(
        running=case.snapshot.running[:2], nodes=case.snapshot.nodes[:2], chips=case.snapshot.chips[:2]
    )
    assert without.decision.started == []


def test_adr4_what_elastic_work_has_beyond_its_minimum_it_gives_by_e1_alone() -> None:
    elastic = a_gang(
        "elastic", replicas=(1, 2), chips=1, spread=False, preemptible=True, checkpoint=True, attained=600_000
    )
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[live(elastic, ("n", [0]), ("n", [1]))],
        waiting=[a_job("fresh", preemptible=True)],
        policy=ONE_LEVEL,
    )
    assert case.decision.started == []
    (resizing,) = case.decision.raw.resizings
    assert [start.job for start in resizing.starts] == [1]
    least = replace(case.snapshot.running[0], placements=case.snapshot.running[0].placements[:1])
    alone = case.but(running=(least,), chips=case.snapshot.chips[:1])
    assert alone.decision.takes("elastic", for_="fresh", ground=Ground.SERVICE_LEVEL)


def test_r2_a_team_above_is_measured_with_all_that_is_below_it() -> None:
    """North has its share in speech alone, and of its own work nothing."""
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[
            a_team("north"),
            a_team("speech", parent="north"),
            a_team("south", organization="other"),
            a_team("music", parent="south", organization="other"),
        ],
        running=[live(a_job(f"m{n}", preemptible=True, team="music"), ("n", [n])) for n in range(4)],
        waiting=[a_job(f"s{n}", team="speech", preemptible=True) for n in range(3)],
    )
    assert case.decision.started == ["s0", "s1"]
    assert all(case.decision.takings_for(name) for name in ("s0", "s1"))


def test_r2_a_sub_team_reclaims_from_its_parents_own_work() -> None:
    """Of the two it is the lab's own work that has more than its share; with vision's the lab has just its own."""
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("lab"), a_team("vision", parent="lab")],
        running=[live(a_job(f"own{n}", preemptible=True, team="lab"), ("n", [n])) for n in range(4)],
        waiting=[a_job(f"v{n}", preemptible=True) for n in range(3)],
    )
    assert case.decision.started == ["v0", "v1"]
    assert all(case.decision.takings_for(name) for name in ("v0", "v1"))


# -- R3, R4, R5 ---------------------------------------------------------------------------------------------


def test_r3_the_loss_counts_from_the_last_observed_checkpoint() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[
            live(low("low", chips=2, checkpoint=True, restart_cost=1000), ("n", [0, 1]), checkpointed=990_000)
        ],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.takings_for("urgent")["low"].loss == 2 * (10_000 + 1000)


def test_r3_without_a_checkpoint_all_since_the_start_is_lost() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[live(low("low", chips=2), ("n", [0, 1]), started=400_000)],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.takings_for("urgent")["low"].loss == 2 * 600_000


def test_r4_a_gang_is_taken_whole() -> None:
    gang = a_gang("gang", replicas=2, chips=1, preemptible=True, priority=10)
    case = given(
        nodes=[a_node("a", chips=1), a_node("b", chips=1)],
        running=[live(gang, ("a", [0]), ("b", [0]))],
        waiting=[a_job("urgent", priority=90)],
    )
    (taking,) = case.decision.takings_for("urgent").values()
    assert (taking.rung, taking.keeps) == (Rung.EVICT, ())


def test_r4_elastic_work_keeps_its_minimum_or_ends() -> None:
    elastic = a_gang("elastic", replicas=(2, 3), chips=1, preemptible=True, priority=10)
    nodes = [a_node(name, chips=1) for name in "abc"]
    running = [live(elastic, ("a", [0]), ("b", [0]), ("c", [0]))]
    one = given(nodes=nodes, running=running, waiting=[a_job("urgent", priority=90)])
    assert one.decision.takings_for("urgent")["elastic"].rung is Rung.SHRINK
    two = given(nodes=nodes, running=running, waiting=[a_gang("two", chips=1, replicas=2, priority=90)])
    assert two.decision.takings_for("two")["elastic"].rung is Rung.EVICT


def test_r4_elastic_work_keeps_its_minimum_or_ends_also_where_a_limit_binds() -> None:
    """The node takes one of its replicas, and the limit one more, which it does not have to spare."""
    case = given(
        nodes=[a_node("n0", chips=2, pool="two"), *(a_node(f"n{n}", chips=1, pool="one") for n in (1, 2, 3))],
        teams=[a_team("vision", a_quota(limit=4))],
        running=[
            live(
                a_gang("elastic", replicas=(3, 4), chips=1, preemptible=True, priority=10),
                *((f"n{n}", [0]) for n in range(4)),
            )
        ],
        waiting=[a_job("urgent", chips=2, priority=90, preemptible=True, pools=("two",))],
    )
    assert case.decision.takes("elastic", for_="urgent", rung=Rung.EVICT)


def test_r5_nobody_is_taken_without_need() -> None:
    """The small ones alone would do for nothing; the one that suffices is taken, and no other."""
    case = given(
        nodes=[a_node("a", chips=4), a_node("b", chips=4)],
        running=[
            live(low("a1"), ("a", [0]), started=600_000),
            live(low("a2", chips=3), ("a", [1, 2, 3])),
            live(low("b1", chips=2), ("b", [0, 1]), started=500_000),
            live(low("b2", chips=2), ("b", [2, 3])),
        ],
        waiting=[a_job("urgent", chips=2, priority=90)],
    )
    assert list(case.decision.takings_for("urgent")) == ["b1"]


def test_r5_a_limit_is_made_room_in_where_nodes_are_free() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2)],
        teams=[a_team("vision", a_quota(limit=2))],
        running=[live(low("one"), ("a", [0])), live(low("two"), ("a", [1]), started=500_000)],
        waiting=[a_job("urgent", priority=90, preemptible=True)],
    )
    assert list(case.decision.takings_for("urgent")) == ["two"]


# -- R6: promises -------------------------------------------------------------------------------------------


def test_r6_promised_chips_are_kept_and_the_job_starts_on_them() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        running=[live(low("low", chips=3), ("n", [0, 1, 2]))],
        waiting=[a_job("urgent", chips=4, priority=90), low("small")],
    )
    decision = case.decision
    assert decision.started == ["urgent"]
    assert decision.raw.promises == (1,)
    (attempt,) = case.snapshot.running
    leaving = replace(attempt, leaving=True)
    promise = Promise(1, decision.raw.units[0].start.placements, (attempt.id,))
    waits = case.but(running=(leaving,), promises=(promise,))
    assert waits.decision.waits("urgent", because=ChipsPromised(1))
    assert waits.decision.started == []
    assert waits.decision.raw.promises == (1,)
    served = case.but(running=(), promises=(promise,))
    assert served.decision.started == ["urgent"]
    assert served.decision.raw.units[0].takings == ()
    assert served.decision.placements_of("urgent") == promise.placements


def test_r6_f4_what_preemptible_work_is_promised_takes_nothing_from_the_guarantee() -> None:
    case = given(
        nodes=[a_node("n", chips=1), a_node("m", chips=2)],
        teams=[a_team("vision", a_quota(guaranteed=2))],
        running=[live(low("low"), ("n", [0]), leaving=True)],
        waiting=[low("loose", priority=80, pools=("default",)), a_job("firm", chips=2)],
    )
    place = case.snapshot.running[0].placements
    told = case.but(promises=(Promise(1, place, (1001,)),))
    assert told.decision.started == ["firm"]
    assert told.decision.raw.promises == (1,)


def test_r6_a_promise_that_can_no_longer_hold_lapses() -> None:
    case = given(
        nodes=[a_node("n", chips=1), a_node("other", chips=1)],
        waiting=[a_job("urgent", priority=90)],
    )
    chip = case.snapshot.chips[0]
    first = case.decision.placements_of("urgent")
    assert first[0].node == chip.node
    lost = case.but(
        chips=(replace(chip, healthy=False), *case.snapshot.chips[1:]), promises=(Promise(1, first, ()),)
    )
    assert lost.decision.starts("urgent", on=["other"])
    assert lost.decision.raw.promises == ()


def test_r6_whose_promise_has_lapsed_may_be_promised_others_in_its_place() -> None:
    """A limit is lowered while a victim leaves: the team may not have both that one's chip and the one it has left."""
    wide, narrow = a_quota(guaranteed=1, limit=2), a_quota(guaranteed=1, limit=1)
    case = given(
        nodes=[a_node("n", chips=2)],
        teams=[a_team("vision", wide)],
        running=[live(low("one"), ("n", [0])), live(low("other"), ("n", [1]))],
        waiting=[a_job("urgent", priority=90)],
    )
    first = case.decision
    (victim,) = first.takings_for("urgent").values()
    promise = Promise(1, first.placements_of("urgent"), (victim.attempt,))
    running = [replace(row, leaving=row.id == victim.attempt) for row in case.snapshot.running]
    stands = case.but(running=tuple(running), promises=(promise,))
    assert stands.decision.waits("urgent", because=ChipsPromised(1))
    assert stands.decision.raw.newly_promised == set()
    (team,) = case.snapshot.teams
    lapsed = stands.but(teams=(replace(team, quotas=(narrow,)),))
    assert lapsed.decision.started == ["urgent"]
    (second,) = lapsed.decision.takings_for("urgent").values()
    assert second.attempt != victim.attempt
    assert lapsed.decision.raw.promises == (1,)
    assert lapsed.decision.raw.newly_promised == {1}
    with pytest.raises(AssertionError, match="beside a promise that holds"):
        laws_hold(stands.snapshot, stands.policy, lapsed.decision.raw)


def test_r6_the_victim_does_not_take_back() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision"), a_team("speech")],
        running=[
            live(a_job("x", chips=2, preemptible=True), ("n", [0, 1])),
            live(a_job("y", chips=2, preemptible=True), ("n", [2, 3])),
        ],
        waiting=[a_job("theirs", chips=2, team="speech", preemptible=True)],
        policy=Policy(min_runtime=0),
    )
    decision = case.decision
    (victim,) = decision.raw.units[0].takings
    gone = next(attempt for attempt in case.snapshot.running if attempt.id == victim.attempt)
    stays = tuple(attempt for attempt in case.snapshot.running if attempt is not gone)
    theirs = case.snapshot.jobs[0]
    back = replace(theirs, id=gone.job, team=gone.team, name="back", submitted=0, times_taken=1)
    new = replace(
        gone,
        id=7,
        job=theirs.id,
        team=theirs.team,
        placements=decision.placements_of("theirs"),
        started=999_999,
    )
    after = case.but(running=(*stays, new), jobs=(back,))
    assert after.decision.started == []


def test_r2_what_both_have_above_them_bars_nobody() -> None:
    """The lab as a whole is beyond its guarantee and its share; between its two teams that is no level."""
    case = given(
        nodes=[a_node("n", chips=2)],
        teams=[
            a_team("lab", a_quota(guaranteed=1)),
            a_team("vision", a_quota(guaranteed=1), parent="lab"),
            a_team("speech", parent="lab"),
        ],
        running=[live(low(f"low{n}", team="speech"), ("n", [n])) for n in range(2)],
        waiting=[a_job("firm")],
    )
    assert case.decision.started == ["firm"]


def test_r4_relief_leaves_elastic_work_its_minimum_or_nothing() -> None:
    """Two of three replicas must go for the limit; the third alone would be less than the gang's minimum."""
    elastic = a_gang("elastic", replicas=(2, 3), chips=1, preemptible=True)
    case = given(
        nodes=[a_node(name, chips=1) for name in "abc"],
        teams=[a_team("vision", a_quota(limit=1))],
        running=[live(elastic, ("a", [0]), ("b", [0]), ("c", [0]))],
    )
    (taking,) = case.decision.raw.relief
    assert (taking.rung, taking.keeps) == (Rung.EVICT, ())


# -- relief -------------------------------------------------------------------------------------------------


def test_r1_an_excess_is_worked_off_by_the_least_that_does_it() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(limit=2))],
        running=[
            live(low("big", chips=3), ("n", [0, 1, 2])),
            live(low("small"), ("n", [3]), started=500_000),
        ],
    )
    assert list(case.decision.relieved) == ["big"]
    assert case.decision.relieved["big"].ground is Ground.EXCESS


def test_r1_elastic_work_shrinks_to_work_off_an_excess() -> None:
    elastic = a_gang("elastic", replicas=(1, 3), chips=1, preemptible=True)
    case = given(
        nodes=[a_node(name, chips=1) for name in "abc"],
        teams=[a_team("vision", a_quota(limit=2))],
        running=[live(elastic, ("a", [0]), ("b", [0]), ("c", [0]))],
    )
    assert case.decision.relieved["elastic"].rung is Rung.SHRINK
    assert len(case.decision.relieved["elastic"].keeps) == 2


def test_f4_an_excess_is_not_worked_off_with_work_that_is_not_preemptible() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(guaranteed=4, limit=2))],
        running=[live(a_job("firm", chips=3), ("n", [0, 1, 2]))],
    )
    assert case.decision.relieved == {}
    assert len(case.decision.raw.excesses) == 1


def test_what_is_leaving_already_works_off_an_excess() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(limit=2))],
        running=[
            live(low("going", chips=2), ("n", [0, 1]), leaving=True),
            live(low("stays", chips=2), ("n", [2, 3])),
        ],
    )
    assert case.decision.relieved == {}
    assert case.decision.raw.excesses == ()


def test_events_of_a_promise_are_learned_like_any_other() -> None:
    """S1: promise rows come and go by the feed."""
    case = given(nodes=[a_node("n", chips=1)], waiting=[a_job("urgent")])
    placements = case.decision.placements_of("urgent")
    kept = Scheduler(case.snapshot, case.policy)
    kept.apply([Upsert(Promise(1, placements, ()))])
    assert kept.decide(case.snapshot.now).units[0].start.placements == placements
    kept.apply([Remove(Promise, 1)])
    assert kept.decide(case.snapshot.now) == case.decision.raw
