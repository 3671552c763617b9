"""Reservations and what may start beside them, rule by rule (B1 to B5)."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Snapshot, decide
from scheduler_core.backfill import awaited_part, free_part
from scheduler_core.horizon import expected_end
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    WHOLE_CHIP,
    ChipShare,
    Placement,
    Prediction,
    Running,
)
from scheduler_core.policy import HOUR, MINUTE
from scheduler_core.reasons import NodesNotReady, NotEnoughNodes, TeamLimit, WouldDelay
from scheduler_core.shape import tenant
from tests.core.cells import attempt_of, cells, troubled_cells
from tests.support.engine import (
    AWindow,
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
    reserved,
)

NOW = 10 * HOUR


def an_attempt(**more: object) -> Running:
    return Running(1, 1, 1, 1, (), started=NOW, **more)  # type: ignore[arg-type]


# -- B1: when what runs ends, and what reserves -----------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "elapsed", "left"),
    [
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR)), 0, HOUR),
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR)), HOUR, HOUR),
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR)), 2 * HOUR, 2 * HOUR),
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR)), 5 * HOUR, 3 * HOUR),
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR), max_duration=30 * MINUTE), 0, 30 * MINUTE),
        (an_attempt(prediction=Prediction(HOUR, 2 * HOUR), max_duration=3 * HOUR), 2 * HOUR, HOUR),
        (an_attempt(max_duration=3 * HOUR), HOUR, 2 * HOUR),
        (an_attempt(max_duration=3 * HOUR), 3 * HOUR, MINUTE),
        (an_attempt(), HOUR, 3 * HOUR),
        (an_attempt(), 4 * HOUR, 4 * HOUR),
        (an_attempt(prediction=Prediction(1, 1)), 2, MINUTE - 2),
        (an_attempt(prediction=Prediction(HOUR, HOUR), leaving=True), 0, MINUTE),
        (an_attempt(endless=True), HOUR, None),
        (an_attempt(endless=True, max_duration=2 * HOUR), HOUR, HOUR),
    ],
)
def test_b1_when_an_attempt_is_expected_to_end(attempt: Running, elapsed: int, left: int | None) -> None:
    """Median, then ninth decile, then as long again as it was given, doubled; always within its bound."""
    now = NOW + elapsed
    assert expected_end(attempt, Policy(), now) == (None if left is None else now + left)


def easy(*waiting: object, **more: object) -> Case:
    """The textbook case: of 4 nodes with one chip, two are busy for 1 h and 2 h; the head needs 3."""
    return given(
        nodes=[a_node(name, chips=1) for name in ("a", "b", "c", "d")],
        running=[
            live(a_job("short", runs=HOUR), ("a", [0]), started=NOW),
            live(a_job("long", runs=2 * HOUR), ("b", [0]), started=NOW),
        ],
        waiting=[a_gang("head", replicas=3, chips=1, runs=HOUR, submitted=NOW), *waiting],  # type: ignore[list-item]
        now=NOW,
        **more,  # type: ignore[arg-type]
    )


def test_b1_the_first_gang_that_does_not_fit_reserves_the_earliest_instant_at_which_it_does() -> None:
    case = easy()
    row = case.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + HOUR
    assert sorted(placement.node for placement in row.placements) == [1, 3, 4]
    assert case.decision.waits("head", because=NotEnoughNodes(needed=3, free=2))


def test_b2_work_that_ends_before_the_reservation_starts_on_what_it_keeps() -> None:
    case = easy(a_job("fits", runs=HOUR, submitted=NOW + 1))
    assert case.decision.started == ["fits"]
    row = case.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + HOUR


def test_b2_work_that_would_still_run_then_does_not_start() -> None:
    case = easy(a_job("delays", runs=HOUR + 1, submitted=NOW + 1))
    assert case.decision.started == []
    assert case.decision.waits("delays", because=WouldDelay(1, "head", NOW + HOUR))
    assert case.decision.sentence_of("delays") == (
        "It would delay job head, for which chips are reserved until 11:00 UTC, and may still run then."
    )


def test_b2_the_ninth_decile_decides_whether_it_would_still_run() -> None:
    case = easy(a_job("likely-shorter", runs=(MINUTE, HOUR + 1), submitted=NOW + 1))
    assert case.decision.started == []
    case = easy(a_job("unknown", submitted=NOW + 1), a_job("bounded", max_duration=HOUR, submitted=NOW + 2))
    assert case.decision.started == ["bounded"]


def test_b2_endless_work_starts_beside_a_reservation_and_never_in_it() -> None:
    case = easy(a_job("service", endless=True, submitted=NOW + 1))
    assert case.decision.started == []
    spare = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=1)],
        running=[live(a_job("old", runs=HOUR), ("a", [0]), started=NOW)],
        waiting=[
            a_job("head", chips=2, runs=HOUR, submitted=NOW),
            a_job("service", endless=True, submitted=NOW + 1),
        ],
        now=NOW,
    )
    assert spare.decision.starts("service", on=["b"])


def test_b2_what_the_reservation_does_not_need_is_free_to_all() -> None:
    """At 11:00 three of the four chips are free and the head needs two: one of the two that are free now is
    to spare.
    """
    case = given(
        nodes=[a_node("n", chips=4)],
        running=[
            live(a_job("x", runs=HOUR), ("n", [0]), started=NOW),
            live(a_job("y", runs=9 * HOUR), ("n", [1]), started=NOW),
        ],
        waiting=[
            a_job("head", chips=3, runs=HOUR, submitted=NOW),
            *(a_job(f"long-{n}", runs=9 * HOUR, submitted=NOW + n) for n in (1, 2)),
        ],
        now=NOW,
    )
    assert case.decision.started == [], "the head needs all three"
    fewer = given(
        nodes=[a_node("n", chips=5)],
        running=[
            live(a_job("x", chips=2, runs=HOUR), ("n", [3, 4]), started=NOW),
            live(a_job("y", runs=9 * HOUR), ("n", [2]), started=NOW),
        ],
        waiting=[
            a_job("head", chips=3, runs=HOUR, submitted=NOW),
            *(a_job(f"long-{n}", runs=9 * HOUR, submitted=NOW + n) for n in (1, 2)),
        ],
        now=NOW,
    )
    assert fewer.decision.started == ["long-1"]


def test_b2_quota_is_kept_too() -> None:
    """There are chips for `more`, but its team may use 4 and the head needs what is left of that."""
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=8, type="H100"), a_node("c", chips=2)],
        teams=[a_team("vision", a_quota(limit=4, guaranteed=4))],
        running=[
            live(a_job("x", chips=1, team="speech", runs=HOUR), ("a", [0]), started=NOW),
            live(a_job("y", chips=2, runs=9 * HOUR), ("c", [0, 1]), started=NOW),
        ],
        waiting=[
            a_job("head", chips=2, type="A100", runs=HOUR, submitted=NOW),
            a_job("more", chips=1, type="A100", runs=9 * HOUR, submitted=NOW + 1),
        ],
        now=NOW,
    )
    assert case.decision.waits("more", because=WouldDelay(1, "head", NOW + HOUR))
    spare = case.but(nodes=(*case.snapshot.nodes, replace(case.snapshot.nodes[0], id=9, name="e")))
    chip = replace(case.snapshot.chips[0], id=99, node=9)
    spare = spare.but(chips=(*case.snapshot.chips, chip))
    assert spare.decision.waits("more", because=WouldDelay(1, "head", NOW + HOUR))
    other = spare.but(jobs=tuple(replace(job, team=job.id) for job in spare.snapshot.jobs))
    assert other.decision.started == ["more"]


def test_b2_q6_what_a_kept_chip_claims_of_the_host_is_not_kept_twice() -> None:
    """Of 6 cores 2 are taken. Two of three chips are free, and each claims a core; what is asked beside them is kept
    as far as the rest goes.
    """
    case = given(
        nodes=[a_node("n", chips=3, cpu=6_000, host_cpu=1000)],
        running=[live(a_job("old", cpu=1000), ("n", [0]))],
    )
    ledger = Ledger(case.snapshot)

    def kept(cpu: int) -> tuple[int, int]:
        shares = tuple(ChipShare(chip, WHOLE_CHIP, 40960) for chip in (1, 2, 3))
        part = free_part(Placement(0, 1, cpu, 0, shares), ledger.states[1], ledger.chips)
        return len(part.chips), part.cpu

    assert kept(500) == (2, 500)
    assert kept(3_000) == (2, 2_000)
    ledger.shadow(Placement(0, 1, 3_000, 0, ()), by=tenant(1, None))
    assert kept(500) == (2, 0), "a core is left for two chips: they are kept, and nothing beside them"


def test_b2_of_a_slice_each_side_that_is_missing_is_awaited() -> None:
    whole = Placement(0, 1, 0, 0, (ChipShare(7, 500, 8_000),))

    def awaited(milli: int, memory: int) -> tuple[ChipShare, ...]:
        return awaited_part(whole, replace(whole, chips=(ChipShare(7, milli, memory),))).chips

    assert awaited(500, 8_000) == ()
    assert awaited(500, 3_000) == (ChipShare(7, 0, 5_000),)
    assert awaited(200, 8_000) == (ChipShare(7, 300, 0),)


def test_b2_a_chip_is_kept_whose_host_cpu_is_still_in_use() -> None:
    """A part of it would find host CPU enough, and delay the head. Who asks for none is not kept out."""
    case = given(
        nodes=[a_node("n", chips=1, cpu=1100, host_cpu=1000, memory=100)],
        running=[live(a_cpu_job("old", cpu=1000, runs=HOUR), ("n", []), started=NOW)],
        waiting=[
            a_job("head", runs=HOUR, submitted=NOW),
            a_cpu_job("idle", cpu=0, memory=50, endless=True, submitted=NOW + 1),
            a_slice("part", milli=100, endless=True, submitted=NOW + 2),
        ],
        now=NOW,
    )
    row = case.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + HOUR
    assert case.decision.started == ["idle"]
    assert case.decision.waits("part", because=WouldDelay(1, "head", NOW + HOUR))
    assert case.but(jobs=case.snapshot.jobs[1:]).decision.started == ["idle", "part"]


def test_f3_b2_what_is_reserved_does_not_put_a_team_back_in_line() -> None:
    """Speech holds a chip, and vision none: what is kept for the head is no use of vision's yet."""
    short = {"runs": MINUTE, "preemptible": True, "submitted": NOW + 1}
    case = given(
        nodes=[a_node("n", chips=3)],
        running=[
            live(a_job("old", team="music", runs=HOUR), ("n", [0]), started=NOW),
            live(a_job("held", team="speech", runs=9 * HOUR), ("n", [1]), started=NOW),
        ],
        waiting=[
            a_job("head", chips=2, priority=90, runs=HOUR, submitted=NOW),
            a_job("theirs", team="speech", **short),
            a_job("ours", **short),
        ],
        reservations=[reserved("head", NOW + HOUR, ("n", [0, 2]))],
        now=NOW,
    )
    assert case.decision.started == ["ours"]


def test_b1_who_has_no_quota_for_it_reserves_nothing() -> None:
    case = easy(a_job("long-run", runs=9 * HOUR), teams=[a_team("vision", a_quota(guaranteed=9, limit=4))])
    assert case.decision.reservation_of("head") is None
    assert case.decision.started == ["long-run"]
    assert case.decision.waits("head", because=TeamLimit("vision", "A100", 3000, 3000, 4000))


def test_b1_a_gang_that_waits_for_endless_work_reserves_nothing() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[live(a_job("service", endless=True), ("n", [0]))],
        waiting=[a_job("head", chips=2), a_job("next", endless=True)],
        now=NOW,
    )
    assert case.decision.raw.reservations == ()
    assert case.decision.started == ["next"]


def test_b1_what_ends_on_a_node_out_of_service_makes_no_room() -> None:
    case = given(
        nodes=[a_node("away", chips=1, ready=False), a_node("n", chips=1)],
        running=[
            live(a_job("first", runs=HOUR), ("away", [0]), started=NOW),
            live(a_job("second", runs=2 * HOUR), ("n", [0]), started=NOW),
        ],
        waiting=[a_job("head", runs=HOUR)],
        now=NOW,
    )
    row = case.decision.reservation_of("head")
    assert row is not None
    assert (row.at, [placement.node for placement in row.placements]) == (NOW + 2 * HOUR, [2])


def test_b1_a_reservation_is_sticky() -> None:
    """Another gang is first in line now; the one that stands stands."""
    case = easy(
        a_gang("urgent", replicas=4, chips=1, priority=90, runs=HOUR, submitted=NOW + 1),
        reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))],
    )
    assert [row.job for row in case.decision.raw.reservations] == [1]


def test_b1_a_reservation_that_became_infeasible_is_gone() -> None:
    case = easy(reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))])
    lost = case.but(nodes=tuple(replace(node, ready=node.name not in "cd") for node in case.snapshot.nodes))
    assert lost.decision.raw.reservations == ()


def test_b1_a_reserved_gang_starts_as_soon_as_it_fits_wherever_that_is() -> None:
    case = easy(
        a_job("behind", runs=9 * HOUR, submitted=NOW + 1),
        reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))],
    )
    early = case.but(running=case.snapshot.running[:1])
    assert early.decision.started == ["head"]
    assert early.decision.nodes_of("head") == ["b", "c", "d"]
    assert early.decision.reservation_of("head") is None


def test_b1_chips_that_a_served_reservation_leaves_go_to_whoever_was_kept_from_them() -> None:
    """`first` is before the head in line and was turned away from node a; the head starts on b."""
    case = given(
        nodes=[a_node("a", chips=2, pool="one"), a_node("b", chips=2, pool="two")],
        running=[live(a_job("old", chips=1, runs=HOUR), ("a", [0]), started=NOW)],
        waiting=[
            a_job("head", chips=2, runs=HOUR, submitted=NOW + 1),
            a_job("first", chips=1, runs=9 * HOUR, submitted=NOW, team="speech", pools=("one",)),
        ],
        teams=[a_team("vision"), a_team("speech")],
        reservations=[reserved("head", NOW + HOUR, ("a", [0, 1]))],
        now=NOW,
    )
    assert case.decision.started == ["head", "first"]
    assert case.but(reservations=()).decision.started == ["first", "head"]


def test_b1_what_this_cycle_starts_ends_too() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        waiting=[
            a_job("long", runs=9 * HOUR, submitted=1),
            a_job("short", runs=HOUR, submitted=2),
            a_job("head", runs=HOUR, submitted=3),
        ],
        now=NOW,
    )
    row = case.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + HOUR


def test_b1_a_gang_that_must_sit_together_reserves_in_one_domain() -> None:
    """Two chips are free in an hour, one in each rack; two of the same rack only in two hours."""
    case = given(
        nodes=[a_node(f"{rack}{n}", chips=1, topology=(rack,)) for rack in "ab" for n in (1, 2)],
        running=[
            live(a_job("x", runs=2 * HOUR), ("a1", [0]), started=NOW),
            live(a_job("y", runs=3 * HOUR), ("b1", [0]), started=NOW),
        ],
        waiting=[a_gang("head", replicas=2, chips=1, within=1, runs=HOUR)],
        now=NOW,
    )
    row = case.decision.reservation_of("head")
    assert row is not None
    assert (row.at, [placement.node for placement in row.placements]) == (NOW + 2 * HOUR, [1, 2])


def test_b1_slices_and_work_without_chips_reserve_too() -> None:
    case = given(
        nodes=[a_node("n", chips=1, cpu=4000)],
        running=[
            live(a_slice("x", milli=600, runs=HOUR), ("n", [0]), started=NOW),
            live(a_cpu_job("y", cpu=3000, runs=2 * HOUR), ("n", []), started=NOW),
        ],
        waiting=[a_slice("part", milli=500, submitted=1), a_cpu_job("cpu", cpu=2000, submitted=2)],
        policy=Policy(reserve_age=0),
        now=NOW,
    )
    part, cpu = case.decision.reservation_of("part"), case.decision.reservation_of("cpu")
    assert part is not None
    assert cpu is not None
    assert (part.at, cpu.at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert case.decision.started == []


@pytest.mark.parametrize("budget", [0, 1])
def test_f5_a_reservation_falls_with_the_budget(budget: int) -> None:
    case = easy(
        reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))],
        teams=[a_team("vision", budget_left=budget)],
    )
    assert len(case.decision.raw.reservations) == budget


# -- B3: wrong predictions ---------------------------------------------------------------------------------


def test_b3_a_wrong_prediction_moves_the_reservation() -> None:
    """What was to end at 11:00 still runs at 11:30: it is given another hour."""
    case = easy(reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))])
    late = Case(replace(case.snapshot, now=NOW + HOUR + 30 * MINUTE), Policy())
    row = late.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + 2 * HOUR


# -- B4: who waits long enough reserves --------------------------------------------------------------------


def crowd(policy: Policy, *, waited: int) -> Case:
    return given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2), a_node("c", chips=2)],
        running=[live(a_job(f"on-{n}", chips=1, runs=HOUR), (n, [0]), started=NOW) for n in "abc"],
        waiting=[a_job(f"big-{n}", chips=2, runs=HOUR, submitted=NOW - waited + n) for n in range(3)]
        + [a_job("small", chips=1, runs=2 * HOUR, submitted=NOW)],
        policy=policy,
        now=NOW,
    )


def test_b4_only_the_first_reserves_while_all_are_young() -> None:
    case = crowd(Policy(), waited=HOUR)
    assert [row.job for row in case.decision.raw.reservations] == [1]
    assert case.decision.started == ["small"]


def test_b4_every_gang_past_the_age_reserves_in_the_order_of_the_line() -> None:
    case = crowd(Policy(), waited=2 * HOUR + 3)
    assert [row.job for row in case.decision.raw.reservations] == [1, 2, 3]
    assert case.decision.started == []
    assert case.decision.waits("small", because=WouldDelay(1, "big-0", NOW + HOUR))


def test_b4_at_most_so_many_reserve() -> None:
    case = crowd(Policy(max_reservations=2), waited=3 * HOUR)
    assert [row.job for row in case.decision.raw.reservations] == [1, 2]
    assert case.decision.started == ["small"]
    assert crowd(Policy(max_reservations=0), waited=3 * HOUR).decision.raw.reservations == ()


# -- F3: who displaces a reservation -----------------------------------------------------------------------


def test_f3_higher_priority_in_the_same_team_displaces_a_reservation() -> None:
    rows = [reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))]
    urgent = a_job("urgent", priority=90, runs=9 * HOUR, submitted=NOW + 1)
    case = easy(urgent, reservations=rows)
    assert case.decision.started == ["urgent"]
    row = case.decision.reservation_of("head")
    assert row is not None
    assert row.at == NOW + 2 * HOUR, "it reserves anew"
    other = easy(replace(urgent, team="speech"), reservations=rows)
    assert other.decision.started == []


def test_f3_chips_that_a_displaced_reservation_leaves_go_to_whoever_was_kept_from_them() -> None:
    """Small asks first and is kept from a and b; urgent displaces the reservation and needs one of the two."""
    case = given(
        nodes=[a_node(name, chips=1) for name in "abc"],
        teams=[a_team(name) for name in ("vision", "speech", "music")],
        running=[live(a_job("firm", team="speech", runs=HOUR), ("c", [0]), started=NOW)],
        waiting=[
            a_gang("head", replicas=3, chips=1, submitted=NOW),
            a_job("urgent", priority=90, endless=True, submitted=NOW),
            a_job("small", priority=95, team="music", endless=True, submitted=NOW),
        ],
        reservations=[reserved("head", NOW + HOUR, ("a", [0]), ("b", [0]), ("c", [0]))],
        now=NOW,
    )
    assert case.decision.started == ["urgent", "small"]
    assert case.decision.reservation_of("head") is None


def test_f3_a_team_inside_its_guarantee_displaces_a_reservation_beyond_one() -> None:
    rows = [reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))]
    owner = a_job("owner", runs=9 * HOUR, submitted=NOW + 1, team="speech")
    for guaranteed, started in ((1, ["owner"]), (0, [])):
        teams = [
            a_team("vision", a_quota(guaranteed=2)),
            a_team("speech", a_quota(guaranteed=guaranteed)),
        ]
        case = easy(replace(owner, job=replace(owner.job, preemptible=True)), teams=teams, reservations=rows)
        jobs = tuple(replace(job, preemptible=True) for job in case.snapshot.jobs)
        assert case.but(jobs=jobs).decision.started == started


def test_f3_a_lower_service_level_displaces_a_reservation_unless_it_is_owed() -> None:
    rows = [reserved("head", NOW + HOUR, ("a", [0]), ("c", [0]), ("d", [0]))]
    fresh = a_job("fresh", runs=9 * HOUR, submitted=NOW + 1, team="speech", preemptible=True)
    for attained, guaranteed, started in ((0, 0, []), (9 * HOUR, 0, ["fresh"]), (9 * HOUR, 8, [])):
        teams = [a_team("vision", a_quota(guaranteed=guaranteed)), a_team("speech")]
        case = easy(fresh, teams=teams, reservations=rows)
        head = next(job for job in case.snapshot.jobs if job.name == "head")
        had = replace(head, preemptible=True, attained=attained)
        others = tuple(job for job in case.snapshot.jobs if job is not head)
        assert case.but(jobs=(had, *others)).decision.started == started


# -- B5: what closes ---------------------------------------------------------------------------------------


def test_b5_work_is_not_placed_where_it_would_run_into_a_drain() -> None:
    nodes = [a_node("soon", chips=2, drain_at=NOW + HOUR)]
    waiting = [a_job("short", runs=HOUR), a_job("long", runs=HOUR + 1), a_job("endless", endless=True)]
    case = given(nodes=nodes, waiting=waiting, now=NOW)
    assert case.decision.started == ["short"]
    for name in ("long", "endless"):
        assert case.decision.waits(name, because=NodesNotReady(1, ("drained",)))


def test_b5_a_node_that_stays_is_taken_before_one_that_closes() -> None:
    nodes = [a_node("soon", chips=1, drain_at=NOW + HOUR), a_node("stays", chips=1)]
    case = given(nodes=nodes, waiting=[a_job("short", runs=MINUTE)], now=NOW)
    assert case.decision.starts("short", on=["stays"])


@pytest.mark.parametrize(
    ("starts", "theirs"), [(NOW + HOUR, ["short"]), (NOW, []), (NOW + 3 * HOUR, ["short", "long"])]
)
def test_b5_a_window_keeps_other_teams_work_out(starts: int, theirs: list[str]) -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("lab"), a_team("speech", parent="lab"), a_team("vision")],
        windows=[AWindow("lab", ("n",), starts, starts + HOUR)],
        waiting=[
            a_job("short", runs=HOUR, submitted=1),
            a_job("long", runs=2 * HOUR, submitted=2),
            a_job("own", runs=9 * HOUR, team="speech"),
        ],
        now=NOW,
    )
    assert sorted(case.decision.started) == sorted([*theirs, "own"])


def test_b5_a_window_that_is_over_keeps_nobody_out() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        teams=[a_team("lab"), a_team("vision")],
        windows=[AWindow("lab", ("n",), 0, NOW)],
        waiting=[a_job("any", endless=True)],
        now=NOW,
    )
    assert case.decision.starts("any")


def test_b5_a_reservation_is_not_made_where_the_gang_would_run_into_a_drain() -> None:
    case = given(
        nodes=[a_node("soon", chips=1, drain_at=NOW + 90 * MINUTE), a_node("stays", chips=1)],
        running=[
            live(a_job("x", runs=HOUR), ("soon", [0]), started=NOW),
            live(a_job("y", runs=2 * HOUR), ("stays", [0]), started=NOW),
        ],
        waiting=[a_job("head", runs=HOUR)],
        now=NOW,
    )
    row = case.decision.reservation_of("head")
    assert row is not None
    assert (row.at, [placement.node for placement in row.placements]) == (NOW + 2 * HOUR, [2])


# -- laws --------------------------------------------------------------------------------------------------

laws = settings(
    max_examples=int(os.environ.get("FLEXAI_TEST_EXAMPLES", "40")),
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
reserving = st.sampled_from([Policy(), Policy(reserve_age=0, max_reservations=4)])
met: Counter[str] = Counter()


@st.composite
def busy_cells(draw: st.DrawFn) -> Snapshot:
    """A few nodes, much of them held by work that ends at different times, and gangs that wait."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    nodes = [a_node(f"n{n}", chips=size) for n, size in enumerate(sizes)]
    lasting = st.sampled_from([None, MINUTE, HOUR, 2 * HOUR, (HOUR, 3 * HOUR)])
    running = [
        live(
            a_job(f"r{n}-{chip}", runs=draw(lasting), endless=draw(st.integers(0, 9)) == 0),
            (f"n{n}", [chip]),
            started=NOW - draw(st.sampled_from([0, MINUTE, 90 * MINUTE])),
        )
        for n, size in enumerate(sizes)
        for chip in range(size)
        if draw(st.integers(0, 2))
    ]
    waiting = [
        a_gang(
            f"w{n}",
            chips=draw(st.integers(1, 4)),
            replicas=draw(st.sampled_from([1, 1, 2, 3])),
            spread=draw(st.booleans()),
            runs=draw(lasting),
            team=draw(st.sampled_from(["vision", "speech"])),
            priority=draw(st.sampled_from([50, 50, 60])),
            submitted=NOW - draw(st.sampled_from([0, HOUR, 3 * HOUR])),
        )
        for n in range(draw(st.integers(1, 6)))
    ]
    return given(nodes=nodes, running=running, waiting=waiting, now=NOW).snapshot


@laws
@for_all(busy_cells(), reserving)
def test_b2_no_unit_delays_a_reservation(snapshot: Snapshot, policy: Policy) -> None:
    """With what started taken as running, and ending as predicted, every reservation is as early as it was."""
    decision = decide(snapshot, policy)
    if any(unit.takings for unit in decision.units):
        return
    after = happened(snapshot, decision)
    again = {row.job: row.at for row in decide(after, replace(policy, max_starts=1)).reservations}
    for row in decision.reservations:
        met["a reservation beside starts"] += bool(decision.units)
        met["several reservations"] += len(decision.reservations) > 1
        at = again.get(row.job)
        assert at is not None, (row, decision)
        assert at <= row.at, (row, at, decision)


@laws
@for_all(busy_cells(), reserving)
def test_b1_a_reserved_gang_starts_when_it_was_told_if_all_ends_as_predicted(
    snapshot: Snapshot, policy: Policy
) -> None:
    decision = decide(snapshot, policy)
    rows = sorted(decision.reservations, key=lambda row: (row.at, row.job))
    if not rows or any(unit.takings for unit in decision.units):
        return
    first, after = rows[0], happened(snapshot, decision)
    ends = {run.id: expected_end(run, policy, snapshot.now) for run in after.running}
    still = tuple(run for run in after.running if (end := ends[run.id]) is None or end > first.at)
    alone = tuple(job for job in after.jobs if job.id == first.job)
    then = decide(replace(after, now=first.at, running=still, jobs=alone, reservations=(first,)), policy)
    met["a reservation is served in time"] += 1
    assert [unit.start.job for unit in then.units] == [first.job], (first, then)


@laws
@for_all(st.one_of(cells(), troubled_cells()))
def test_b2_what_is_kept_of_a_reservation_is_free_and_the_rest_is_awaited(snapshot: Snapshot) -> None:
    """Of any placement: holding what is kept takes no more than there is, and both parts are the whole."""
    ledger = Ledger(snapshot)
    for attempt in snapshot.running:
        by = tenant(attempt.organization, attempt.isolation)
        for whole in (place for place in attempt.placements if place.node in ledger.states):
            before, mark = ledger.states[whole.node], ledger.mark()
            kept = free_part(whole, before, ledger.chips)
            ledger.shadow(kept, by=by)
            after = ledger.states[whole.node]
            assert after.free_cpu >= min(before.free_cpu, 0)
            assert after.free_memory >= min(before.free_memory, 0)
            for old, new in zip(before.frame.chips, after.frame.chips, strict=True):
                assert new.free_milli >= min(old.free_milli, 0)
                assert new.free_memory >= min(old.free_memory, 0)
            ledger.rewind(mark)
            awaited = awaited_part(whole, kept)
            assert (kept.cpu + awaited.cpu, kept.memory + awaited.memory) == (whole.cpu, whole.memory)
            held = {share.chip: (share.milli, share.memory) for share in whole.chips}
            for share in (*kept.chips, *awaited.chips):
                milli, memory = held[share.chip]
                held[share.chip] = milli - share.milli, memory - share.memory
            assert set(held.values()) <= {(0, 0)}


def test_the_laws_of_reservations_sometimes_speak() -> None:
    if met:
        assert met["a reservation beside starts"] > 3
        assert met["several reservations"] > 3
        assert met["a reservation is served in time"] > 3


def happened(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The cell once every unit was applied, at the same instant."""
    jobs = {job.id: job for job in snapshot.jobs}
    started = {unit.start.job for unit in decision.units}
    runs = (
        replace(
            attempt_of(jobs[unit.start.job], 5000 + unit.start.job, unit.start.placements),
            started=snapshot.now,
        )
        for unit in decision.units
    )
    return replace(
        snapshot,
        jobs=tuple(job for job in snapshot.jobs if job.id not in started),
        running=(*snapshot.running, *runs),
        reservations=decision.reservations,
    )
