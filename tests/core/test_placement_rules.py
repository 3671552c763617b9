"""Quantities and placement, rule by rule (Q2-Q8, P1-P6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler_core.model import Isolation, Pool, Quota
from scheduler_core.ordering import Waiting
from scheduler_core.reasons import (
    AskedWrongly,
    ChipsUnhealthy,
    HeldByStrangers,
    HostTooSmall,
    IsolationNotEnforced,
    NodesNotReady,
    NodesRejected,
    NodesTooSmall,
    NoImages,
    NoNodes,
    NoRoomForSlice,
    NoSuchChips,
    NotEnoughFreeChips,
    NotEnoughHostCpu,
    NotEnoughHostMemory,
    NotEnoughNodes,
    NotEnoughRoom,
)
from tests.support.engine import (
    a_cpu_job,
    a_cpu_node,
    a_gang,
    a_job,
    a_node,
    a_quota,
    a_slice,
    a_team,
    given,
    live,
)

HARDWARE = frozenset({Isolation.EXCLUSIVE, Isolation.HARDWARE})
COOPERATIVE = frozenset({Isolation.EXCLUSIVE, Isolation.COOPERATIVE})
ONLY_WHOLE = frozenset({Isolation.EXCLUSIVE})


# -- Q2: gangs whole or not at all --------------------------------------------------------------------


def test_q2_a_gang_waits_rather_than_start_in_part() -> None:
    case = given(nodes=[a_node(chips=4)], waiting=[a_gang("train", replicas=2, chips=4)])
    assert case.decision.waits("train", because=NotEnoughNodes(needed=2, free=1))
    assert case.decision.sentence_of("train") == (
        "Needs 2 nodes with 4 chips each at the same time; 1 has that free."
    )


def test_q2_a_gang_that_failed_leaves_its_chips_to_the_next() -> None:
    case = given(
        nodes=[a_node(chips=4)],
        waiting=[a_gang("train", replicas=2, chips=4, submitted=1), a_job("small", chips=4, submitted=2)],
    )
    assert case.decision.started == ["small"]


def test_q2_an_elastic_gang_starts_with_what_fits_between_its_bounds() -> None:
    nodes = [a_node(chips=2) for _ in range(3)]
    case = given(nodes=nodes, waiting=[a_gang("train", replicas=(2, 8), chips=2)])
    assert len(case.decision.placements_of("train")) == 3


def test_q2_an_elastic_gang_stays_within_its_teams_limit() -> None:
    nodes = [a_node(chips=2) for _ in range(4)]
    job = a_gang("train", replicas=(1, 4), chips=2, preemptible=True)
    case = given(nodes=nodes, waiting=[job], teams=[a_team("vision", a_quota(limit=5))])
    assert len(case.decision.placements_of("train")) == 2


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (a_job("odd", chips=-1), "chips cannot be -1"),
        (a_gang("odd", chips=1, milli=200), "a replica takes whole chips or one slice, not both"),
        (a_slice("odd", milli=1500), "a slice of 1500 milli-chips is more than one chip"),
        (a_cpu_job("odd", cpu=-1), "host CPU cannot be -1"),
        (a_gang("odd", replicas=0, chips=1), "0 to 0 replicas is no range"),
        (a_gang("odd", replicas=(3, 2), chips=1), "3 to 2 replicas is no range"),
    ],
)
def test_q2_a_request_that_means_nothing_waits_with_its_problem_named(job, problem) -> None:
    case = given(nodes=[a_node(chips=4)], waiting=[job])
    assert case.decision.waits("odd", because=AskedWrongly(problem))


# -- Q3: slices ---------------------------------------------------------------------------------------


def test_q3_a_fraction_gets_its_share_of_memory_rounded_down() -> None:
    case = given(nodes=[a_node(chips=1, chip_memory=1001)], waiting=[a_slice("half", milli=300)])
    share = case.decision.placements_of("half")[0].chips[0]
    assert (share.milli, share.memory) == (300, 300)


@pytest.mark.parametrize(("step", "milli"), [(100, 200), (50, 150), (10, 130)])
def test_q3_memory_alone_is_rounded_up_to_the_pools_step(step: int, milli: int) -> None:
    case = given(
        nodes=[a_node(chips=1, chip_memory=1000)],
        pools=[Pool(0, "default", step)],
        waiting=[a_slice("some", chip_memory=121)],
    )
    share = case.decision.placements_of("some")[0].chips[0]
    assert (share.milli, share.memory) == (milli, 121)


def test_q3_both_sides_are_taken_as_given() -> None:
    case = given(nodes=[a_node(chips=1, chip_memory=1000)], waiting=[a_slice("x", milli=70, chip_memory=501)])
    share = case.decision.placements_of("x")[0].chips[0]
    assert (share.milli, share.memory) == (70, 501)


def test_q3_a_slice_waits_when_memory_is_short_even_if_the_chip_has_time_left() -> None:
    case = given(
        nodes=[a_node("n", chips=1, chip_memory=1000)],
        running=[live(a_slice("old", milli=100, chip_memory=900), ("n", [0]))],
        waiting=[a_slice("new", milli=100, chip_memory=200)],
    )
    assert case.decision.waits("new", because=NoRoomForSlice(100, 200, free_milli=900, free_memory=100))
    assert case.decision.sentence_of("new") == (
        "Needs 10 % and 200 MiB of one chip; the emptiest chip in reach has 90 % and 100 MiB free."
    )


def test_q3_ten_slices_of_a_tenth_fill_a_chip_exactly() -> None:
    waiting = [a_slice(f"s{n}", milli=100) for n in range(11)]
    case = given(nodes=[a_node(chips=1)], waiting=waiting)
    assert len(case.decision.started) == 10


# -- Q4 and P4: isolation -----------------------------------------------------------------------------


def test_q4_a_whole_chip_needs_nobody_else_on_it() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(a_slice("old", milli=100), ("n", [0]))],
        waiting=[a_job("whole")],
    )
    assert case.decision.waits("whole", because=NotEnoughFreeChips(needed=1, free=0))


def test_q4_a_slice_waits_for_a_chip_that_enforces_its_class() -> None:
    case = given(
        nodes=[a_node(chips=1, isolation=COOPERATIVE)],
        waiting=[a_slice("strict", milli=300, isolation=Isolation.ENFORCED), a_slice("any", milli=300)],
    )
    assert case.decision.started == ["any"]
    assert case.decision.waits("strict", because=IsolationNotEnforced(wanted="enforced"))


def test_q4_a_stronger_class_serves_a_weaker_request() -> None:
    case = given(
        nodes=[a_node(chips=1, isolation=HARDWARE)],
        waiting=[a_slice("enforced", milli=300, isolation=Isolation.ENFORCED)],
    )
    assert case.decision.starts("enforced")


def test_q4_a_chip_that_enforces_no_slice_class_is_not_sliced() -> None:
    case = given(nodes=[a_node(chips=1, isolation=ONLY_WHOLE)], waiting=[a_slice("s", milli=300)])
    assert case.decision.waits("s", because=IsolationNotEnforced())


def test_q4_an_exclusive_slice_shares_with_nobody() -> None:
    alone = a_slice("alone", milli=300, isolation=Isolation.EXCLUSIVE, submitted=1)
    case = given(nodes=[a_node(chips=1)], waiting=[alone, a_slice("late", milli=300, submitted=2)])
    assert case.decision.started == ["alone"]
    assert case.decision.waits("late", because=HeldByStrangers())


TWO_ORGANIZATIONS = [a_team("vision", organization="acme"), a_team("speech", organization="globex")]


@pytest.mark.parametrize(
    ("enforced", "first", "second", "shared"),
    [
        (HARDWARE, None, None, True),
        (COOPERATIVE, None, None, False),
        (COOPERATIVE, Isolation.COOPERATIVE, None, False),
        (COOPERATIVE, None, Isolation.COOPERATIVE, False),
        (COOPERATIVE, Isolation.COOPERATIVE, Isolation.COOPERATIVE, True),
        (HARDWARE, Isolation.HARDWARE, Isolation.COOPERATIVE, True),
        (HARDWARE, Isolation.EXCLUSIVE, None, False),
    ],
)
def test_p4_organizations_share_a_chip_only_at_what_both_accept(enforced, first, second, shared) -> None:
    case = given(
        nodes=[a_node("n", chips=1, isolation=enforced)],
        teams=TWO_ORGANIZATIONS,
        running=[live(a_slice("theirs", milli=300, isolation=first), ("n", [0]))],
        waiting=[a_slice("ours", milli=300, isolation=second, team="speech")],
    )
    assert case.decision.starts("ours") == shared
    if not shared:
        assert case.decision.waits("ours", because=HeldByStrangers())


def test_p4_slices_fill_chips_that_are_already_sliced() -> None:
    case = given(
        nodes=[a_node("fresh", chips=1), a_node("sliced", chips=2)],
        running=[live(a_slice("old", milli=300), ("sliced", [1]))],
        waiting=[a_slice("new", milli=500)],
    )
    assert case.decision.starts("new", on=["sliced"])
    assert case.decision.placements_of("new")[0].chips[0].chip == 3


def test_p4_filling_a_sliced_chip_comes_before_health() -> None:
    case = given(
        nodes=[a_node("fresh", chips=1, health=[100]), a_node("sliced", chips=1, health=[70])],
        running=[live(a_slice("old", milli=300), ("sliced", [0]))],
        waiting=[a_slice("new", milli=300)],
    )
    assert case.decision.starts("new", on=["sliced"])


def test_p2_a_slice_lands_where_it_costs_its_team_least() -> None:
    """Else a tight limit would keep a job from starting that has a placement."""
    case = given(
        nodes=[a_node("dear", chips=1, chip_memory=1000), a_node("cheap", chips=1, chip_memory=2000)],
        teams=[a_team("vision", Quota("A100", guaranteed=0, limit=300))],
        waiting=[a_slice("s", chip_memory=550, preemptible=True)],
    )
    assert case.decision.starts("s", on=["cheap"])


# -- Q6: a core is a chip -----------------------------------------------------------------------------


def test_q6_a_core_that_is_taken_as_a_chip_is_not_counted_twice() -> None:
    case = given(
        nodes=[a_cpu_node("n", cores=2)],
        running=[live(a_job("held", chips=1), ("n", [0]))],
        waiting=[a_cpu_job("fits", cpu=1000, submitted=1), a_cpu_job("waits", cpu=50, submitted=2)],
    )
    assert case.decision.started == ["fits"]
    assert case.decision.waits("waits", because=NotEnoughHostCpu(needed=50, free=0))


def test_q6_cpu_only_work_leaves_a_core_without_its_chip() -> None:
    case = given(
        nodes=[a_cpu_node("n", cores=2)],
        running=[live(a_cpu_job("small", cpu=100), ("n", []))],
        waiting=[a_job("both", chips=2)],
    )
    assert case.decision.waits("both", because=NotEnoughHostCpu(needed=2000, free=1900))


def test_q6_a_slice_of_a_core_claims_its_share_rounded_up() -> None:
    case = given(
        nodes=[a_node(chips=1, host_cpu=999, cpu=334)],
        waiting=[a_slice("third", milli=334, submitted=1), a_cpu_job("rest", cpu=1, submitted=2)],
    )
    assert case.decision.started == ["third"]


# -- Q8: spread ---------------------------------------------------------------------------------------


def test_q8_replicas_take_distinct_nodes_unless_told_otherwise() -> None:
    apart = given(nodes=[a_node(chips=4)], waiting=[a_gang("apart", replicas=2, chips=1)])
    assert apart.decision.waits("apart", because=NotEnoughNodes(needed=2, free=1))
    together = given(
        nodes=[a_node("n", chips=4)], waiting=[a_gang("together", replicas=2, chips=1, spread=False)]
    )
    assert together.decision.starts("together", on=["n", "n"])


def test_q8_without_spread_the_room_for_all_replicas_is_counted() -> None:
    case = given(
        nodes=[a_node(chips=3), a_node(chips=2)],
        waiting=[a_gang("five", replicas=4, chips=2, spread=False)],
    )
    assert case.decision.waits("five", because=NotEnoughRoom(needed=4, free=2))


# -- P1: why nodes are rejected -----------------------------------------------------------------------


def test_p1_every_node_is_counted_by_why_it_was_rejected() -> None:
    case = given(
        nodes=[
            a_node("busy", chips=8, pool="a100"),
            a_node("other", chips=8, pool="h100"),
            a_node("small", chips=2, pool="a100"),
            a_node("off", chips=8, pool="a100", ready=False),
            a_node("plain", pool="a100"),
        ],
        running=[live(a_job("old", chips=3), ("busy", [0, 1, 2]))],
        waiting=[a_job("big", chips=8, pools=("a100",))],
    )
    counts = (("busy", 1), ("no_such_chips", 1), ("not_ready", 1), ("other_pool", 1), ("too_few_chips", 1))
    assert case.decision.waits("big", because=NodesRejected(5, counts))
    assert case.decision.waits("big", because=NotEnoughFreeChips(needed=8, free=5))
    assert case.decision.waits("big", because=NodesNotReady(1, ("draining",)))


def test_p1_the_sentence_names_the_emptiest_node_of_the_pool() -> None:
    case = given(
        nodes=[a_node("n1", chips=8, pool="a100"), a_node("n2", chips=8, pool="a100")],
        running=[
            live(a_job("x", chips=3), ("n1", [0, 1, 2])),
            live(a_job("y", chips=4), ("n2", [0, 1, 2, 3])),
        ],
        waiting=[a_job("big", chips=8, pools=("a100",))],
    )
    assert case.decision.sentence_of("big") == (
        "Needs 8 chips on one node; the emptiest node of pool a100 has 5 free."
    )


@pytest.mark.parametrize(
    ("node", "job", "because", "sentence"),
    [
        (
            a_node(chips=4),
            a_job("j", chips=8),
            NodesTooSmall(needed=8, largest=4),
            "Needs 8 chips on one node; the largest node has 4.",
        ),
        (
            a_node(chips=4),
            a_job("j", type="H100"),
            NoSuchChips("H100"),
            "No node has H100 chips.",
        ),
        (
            a_node(chips=2, unhealthy=[0]),
            a_job("j", chips=2, type="A100"),
            ChipsUnhealthy(needed=2, healthy=1),
            "Needs 2 A100 chips on one node; the best node has 1 healthy.",
        ),
        (
            a_node(cpu=4000),
            a_cpu_job("j", cpu=4500),
            HostTooSmall("cpu", 4500, 4000),
            "Needs 4.5 cores of host CPU on one node; the largest node has 4 cores.",
        ),
        (
            a_node(chips=1, memory=1024),
            a_job("j", memory=65536),
            HostTooSmall("memory", 65536, 1024),
            "Needs 64 GiB of host memory on one node; the largest node with the chips for it has 1 GiB.",
        ),
        (
            a_node(chips=1, ready=False, because="unreachable"),
            a_job("j"),
            NodesNotReady(1, ("unreachable",)),
            "One node that is large enough is not ready: unreachable.",
        ),
        (
            a_node(chips=1),
            a_job("j", pools=("empty",)),
            NoNodes(("empty",)),
            "Pool empty has no nodes.",
        ),
        (
            a_node(chips=1),
            a_job("j", image=True),
            NoImages(),
            "Runs in an image; no node runs images.",
        ),
    ],
)
def test_p1_each_filter_says_itself(node, job, because, sentence) -> None:
    case = given(nodes=[node], waiting=[job])
    assert case.decision.waits("j", because=because)
    assert case.decision.sentence_of("j") == sentence


def test_p7_work_in_an_image_goes_to_nodes_that_run_images_and_other_work_anywhere() -> None:
    nodes = [a_node("bare", chips=1), a_node("able", chips=1, images=True), a_node("full", images=True)]
    case = given(nodes=nodes, waiting=[a_job("boxed", image=True), a_job("plain"), a_job("late", image=True)])
    assert case.decision.starts("boxed", on=["able"])
    assert case.decision.starts("plain", on=["bare"])
    assert case.decision.waits(
        "late", because=NodesRejected(3, (("busy", 1), ("no_images", 1), ("no_such_chips", 1)))
    )
    said = case.decision.reasons_of("late")[-1].sentence()
    assert said == "Of 3 nodes: 1 with too few free chips, 1 that run no images, 1 without such chips."


def test_p7_a_gang_in_an_image_counts_nodes_that_run_images_alone() -> None:
    nodes = [a_node(chips=1), a_node(chips=1, images=True)]
    case = given(nodes=nodes, waiting=[a_gang("g", replicas=2, chips=1, image=True)])
    assert case.decision.waits("g", because=NotEnoughNodes(2, 1))


def test_p1_a_cell_without_nodes_says_so() -> None:
    case = given(waiting=[a_cpu_job("j"), a_job("chips")])
    assert case.decision.waits("j", because=NoNodes())
    assert case.decision.sentence_of("j") == "The cell has no nodes yet."


def test_p1_host_memory_is_named_when_it_is_what_lacks() -> None:
    case = given(
        nodes=[a_node("n", chips=2, memory=1000)],
        running=[live(a_job("old", memory=600), ("n", [0]))],
        waiting=[a_job("new", memory=500)],
    )
    assert case.decision.waits("new", because=NotEnoughHostMemory(needed=500, free=400))


# -- P2: the score ------------------------------------------------------------------------------------


def test_p2_whole_chips_go_where_the_fewest_remain() -> None:
    case = given(
        nodes=[a_node("empty", chips=8), a_node("tight", chips=4), a_node("roomy", chips=6)],
        waiting=[a_job("four", chips=4)],
    )
    assert case.decision.starts("four", on=["tight"])


def test_p2_pools_are_taken_in_the_order_they_are_named() -> None:
    nodes = [a_node("a", chips=1, pool="a"), a_node("b", chips=1, pool="b")]
    case = given(nodes=nodes, waiting=[a_job("j", pools=("b", "a"))])
    assert case.decision.starts("j", on=["b"])


def test_p2_chip_types_are_taken_in_the_order_they_are_named() -> None:
    nodes = [a_node("a", chips=1, type="A100"), a_node("h", chips=1, type="H100")]
    case = given(nodes=nodes, waiting=[a_job("j", type=("H100", "A100"))])
    assert case.decision.starts("j", on=["h"])


def test_p2_a_gang_sits_on_chips_of_one_type() -> None:
    nodes = [a_node(chips=1, type="A100"), a_node(chips=1, type="H100")]
    case = given(nodes=nodes, waiting=[a_gang("pair", replicas=2, chips=1)])
    assert case.decision.waits("pair", because=NotEnoughNodes(needed=2, free=1))


def test_p2_healthier_chips_are_taken_first() -> None:
    nodes = [a_node("weak", chips=2, health=[60, 60]), a_node("well", chips=4, health=[100, 70, 100, 100])]
    case = given(nodes=nodes, waiting=[a_job("two", chips=2)])
    assert case.decision.starts("two", on=["well"])
    assert [share.chip for share in case.decision.placements_of("two")[0].chips] == [3, 5]


def test_p2_a_placement_lists_its_chips_by_id_whatever_their_health() -> None:
    case = given(nodes=[a_node(chips=2, health=[70, 100])], waiting=[a_job("two", chips=2)])
    assert [share.chip for share in case.decision.placements_of("two")[0].chips] == [1, 2]


def test_p2_work_without_chips_goes_where_no_chip_lies_idle() -> None:
    nodes = [a_node("chips", chips=8, cpu=2000), a_node("plain", cpu=64_000)]
    case = given(nodes=nodes, waiting=[a_cpu_job("cpu")])
    assert case.decision.starts("cpu", on=["plain"])


def test_p2_equal_nodes_are_told_apart_by_id_alone() -> None:
    case = given(nodes=[a_node(f"n{n}", chips=1) for n in range(3)], waiting=[a_job("j")])
    assert case.decision.starts("j", on=["n0"])


# -- P6: equal jobs -----------------------------------------------------------------------------------


def test_p6_equal_jobs_share_one_verdict() -> None:
    waiting = [a_job(f"j{n}", chips=2, submitted=n) for n in range(5)]
    case = given(nodes=[a_node(chips=4)], waiting=waiting)
    assert case.decision.started == ["j0", "j1"]
    assert [verdict.jobs for verdict in case.decision.raw.verdicts] == [(3, 4, 5)]


def test_p6_a_class_that_all_have_left_is_known_again_for_a_while() -> None:
    case = given(nodes=[a_node()], waiting=[a_job(f"j{n}", cpu=1000 * n + 1000) for n in range(200)])
    first, *others = case.snapshot.jobs
    waiting = Waiting([first])
    kind = waiting.kind_of(first.id)
    waiting.forget(first.id)
    waiting.note(replace(first, id=1000))
    assert waiting.kind_of(1000) is kind
    waiting.forget(1000)
    for job in others:
        waiting.note(job)
        waiting.forget(job.id)
    waiting.note(first)
    assert waiting.kind_of(first.id) == kind
    assert waiting.kind_of(first.id) is not kind, "it is kept for good"


def test_p6_a_class_that_does_not_fit_never_blocks_another() -> None:
    waiting = [a_job("big", chips=8, priority=90), a_job("small", chips=1, priority=10)]
    case = given(nodes=[a_node(chips=4)], waiting=waiting)
    assert case.decision.started == ["small"]
