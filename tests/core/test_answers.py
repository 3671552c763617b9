"""X1 and S5: verdicts, their words and facts, counterfactuals, place in line."""

from __future__ import annotations

import json

import pytest

from scheduler_core import reasons
from scheduler_core.explain import NotWaiting, explain
from scheduler_core.reasons import (
    NodesRejected,
    NotEnoughFreeChips,
    Reason,
)
from scheduler_core.wording import chips, cores, memory, milli, pools
from tests.support.engine import a_cpu_job, a_gang, a_job, a_node, a_quota, a_team, given, live


def test_x1_a_reason_holds_its_facts() -> None:
    reason = NotEnoughFreeChips(needed=8, free=5, where="node of pool a100")
    assert reason.code == "not_enough_free_chips"
    assert reason.facts() == {"needed": 8, "free": 5, "chip_type": "", "where": "node of pool a100"}
    assert reason.sentence() == "Needs 8 chips on one node; the emptiest node of pool a100 has 5 free."


def test_x1_free_chips_beside_a_host_that_is_too_small_are_not_passed_over_in_silence() -> None:
    """On the empty node the job could never run; on the one where it could, everything is taken."""
    case = given(
        nodes=[a_node("small", chips=2, cpu=1000), a_node("large", chips=2, cpu=8000)],
        running=[live(a_job("holds", chips=2), ("large", [0, 1]))],
        waiting=[a_job("job", chips=1, cpu=3000)],
    )
    assert case.decision.waits("job", because=NotEnoughFreeChips(1, 0, "", "node large enough"))


def test_x1_counts_of_nodes_are_facts_by_name() -> None:
    reason = NodesRejected(4, (("busy", 3), ("not_ready", 1)))
    assert reason.facts() == {"nodes": 4, "busy": 3, "not_ready": 1}
    assert reason.sentence() == "Of 4 nodes: 3 with too few free chips, 1 not ready."


def test_x1_every_reason_has_a_code_of_its_own_and_facts_that_are_json() -> None:
    kinds = [kind for kind in vars(reasons).values() if isinstance(kind, type) and issubclass(kind, Reason)]
    codes = [kind.code for kind in kinds if kind is not Reason]
    assert len(codes) == len(set(codes)) >= 20
    assert json.loads(json.dumps(NodesRejected(1, (("busy", 1),)).facts())) == {"nodes": 1, "busy": 1}


def test_x1_quantities_are_said_as_people_say_them() -> None:
    assert [milli(amount) for amount in (8000, 2500, 125, 0)] == ["8", "2.5", "0.125", "0"]
    assert chips(1000) == "1 chip"
    assert chips(500, "A100") == "0.5 A100 chips"
    assert cores(1000) == "1 core"
    assert cores(250) == "0.25 cores"
    assert [memory(mib) for mib in (0, 512, 1024, 1536, 65536)] == [
        "0 MiB",
        "512 MiB",
        "1 GiB",
        "1536 MiB",
        "64 GiB",
    ]
    assert pools(("a", "b", "c")) == "pools a, b and c"


def test_x1_the_reason_speaks_of_what_the_decision_leaves() -> None:
    """Not of the moment at which the job was tried."""
    waiting = [
        a_job("big", chips=8, priority=90),
        a_job("first", chips=2, runs=60_000),
        a_job("second", chips=1, runs=60_000),
    ]
    case = given(nodes=[a_node(chips=7)], waiting=waiting)
    assert case.decision.started == ["first", "second"]
    assert case.decision.sentence_of("big") == "Needs 8 chips on one node; the largest node has 7."
    running = [live(a_job("old"), ("n", [0]))]
    case = given(nodes=[a_node("n", chips=8)], waiting=waiting, running=running)
    assert case.decision.waits("big", because=NotEnoughFreeChips(needed=8, free=4))


def test_x1_team_and_nodes_are_both_named_when_both_block() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision", a_quota(limit=3))],
        running=[live(a_job("old", chips=2, preemptible=True), ("n", [0, 1]))],
        waiting=[a_job("j", chips=3, type="A100", preemptible=True)],
    )
    codes = [reason.code for reason in case.decision.reasons_of("j")]
    assert codes == ["team_limit", "not_enough_free_chips", "nodes_rejected"]


def test_x1_each_named_type_has_its_reason_and_an_unnamed_one_the_nearest() -> None:
    nodes = [a_node("a", chips=4), a_node("h", chips=2, type="H100")]
    busy = [live(a_job("old", chips=1), ("a", [0]))]
    named = given(nodes=nodes, running=busy, waiting=[a_job("j", chips=4, type=("H100", "A100"))])
    codes = [reason.code for reason in named.decision.reasons_of("j")]
    assert codes == ["not_enough_free_chips", "nodes_too_small", "nodes_rejected"]
    unnamed = given(nodes=nodes, running=busy, waiting=[a_job("j", chips=4)])
    codes = [reason.code for reason in unnamed.decision.reasons_of("j")]
    assert codes == ["not_enough_free_chips", "nodes_rejected"]


def test_s5_explain_gives_the_smallest_changes_that_would_start_it() -> None:
    case = given(
        nodes=[a_node("n", chips=8), a_node("h", chips=8, type="H100")],
        running=[live(a_job("old", chips=3), ("n", [0, 1, 2]))],
        waiting=[a_gang("big", replicas=1, chips=8, type="A100")],
    )
    told = explain(case.snapshot, case.policy, 1)
    assert told.reasons == case.decision.reasons_of("big")
    assert [(change.change, change.value) for change in told.would_start] == [("chips", 5), ("chip_types", 1)]
    assert told.would_start[0].sentence == "It would start now with 5 instead of 8 chips on each node."


def test_s5_explain_offers_preemptible_where_the_guarantee_blocks() -> None:
    case = given(
        nodes=[a_node(chips=8)],
        teams=[a_team("vision", a_quota(guaranteed=1))],
        waiting=[a_job("firm", chips=4)],
    )
    changes = [change.change for change in explain(case.snapshot, case.policy, 1).would_start]
    assert changes == ["preemptible", "chips"]


def test_s5_what_explain_offers_counts_what_this_cycle_starts() -> None:
    waiting = [a_job("big", chips=8, submitted=1), a_job("other", chips=4, submitted=2, runs=60_000)]
    nodes = [a_node("n", chips=8)]
    case = given(nodes=nodes, waiting=waiting, running=[live(a_job("old", chips=2), ("n", [0, 1]))])
    told = explain(case.snapshot, case.policy, 1)
    assert case.decision.started == ["other"]
    assert [(change.change, change.value) for change in told.would_start] == [("chips", 2)]


def test_s5_explain_tells_the_place_in_line_and_who_is_ahead() -> None:
    waiting = [a_job(f"j{n}", chips=8, submitted=9 - n) for n in range(3)]
    case = given(nodes=[a_node(chips=4)], waiting=waiting)
    told = explain(case.snapshot, case.policy, 1)
    assert (told.position, told.ahead) == (3, (3, 2))
    first = explain(case.snapshot, case.policy, 3)
    assert (first.position, first.ahead) == (1, ())


def test_s5_explain_of_a_job_that_starts_has_no_reasons() -> None:
    case = given(nodes=[a_node()], waiting=[a_cpu_job("j")])
    told = explain(case.snapshot, case.policy, 1)
    assert (told.reasons, told.would_start, told.position) == ((), (), 1)


def test_s5_explain_refuses_a_job_that_does_not_wait() -> None:
    with pytest.raises(NotWaiting, match="Job 7 does not wait"):
        explain(given().snapshot, given().policy, 7)


def test_x1_the_emptiest_node_may_be_one_that_is_too_small() -> None:
    case = given(
        nodes=[a_node("large", chips=8), a_node("small", chips=4)],
        running=[
            live(a_job("x", chips=7), ("large", range(7))),
            live(a_job("y", chips=2), ("small", [0, 1])),
        ],
        waiting=[a_job("big", chips=8)],
    )
    assert case.decision.waits("big", because=NotEnoughFreeChips(needed=8, free=2))


def test_x1_a_node_out_of_service_is_not_the_emptiest_ready_one() -> None:
    """Nobody may have the free chip of a node that is away, be it large enough or not."""
    case = given(
        nodes=[a_node("full", chips=2), a_node("away", chips=1, ready=False)],
        running=[live(a_job("x", chips=2), ("full", [0, 1]))],
        waiting=[a_job("big", chips=2)],
    )
    assert case.decision.waits("big", because=NotEnoughFreeChips(needed=2, free=0))


def test_x1_borrowed_use_is_not_blamed_on_the_guarantee() -> None:
    case = given(
        nodes=[a_node("n", chips=5)],
        teams=[a_team("vision", a_quota(guaranteed=2))],
        running=[live(a_job("loose", chips=4, preemptible=True), ("n", range(4)), started=900_000)],
        waiting=[a_job("firm", chips=2)],
    )
    codes = [reason.code for reason in case.decision.reasons_of("firm")]
    assert codes == ["not_enough_free_chips", "nodes_rejected"]


def test_s5_explain_offers_nothing_that_would_delay_a_reservation() -> None:
    """With 2 of its 3 chips it would fit beside what runs, but the chips are kept for `big`."""
    waiting = [
        a_job("big", chips=4, submitted=1, runs=3_600_000),
        a_job("long", chips=3, submitted=2, runs=360_000_000),
        a_job("short", chips=3, submitted=3, runs=60_000),
    ]
    running = [live(a_job("old", chips=2, runs=4_000_000), ("n", [0, 1]))]
    case = given(nodes=[a_node("n", chips=4)], waiting=waiting, running=running)
    assert case.decision.started == []
    assert explain(case.snapshot, case.policy, 2).would_start == ()
    assert [told.value for told in explain(case.snapshot, case.policy, 3).would_start] == [2]
