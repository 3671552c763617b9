"""S6: a decision says when to ask again. Before that, with nothing heard, there is nothing new; each source of it is
met by a case in which something is decided at that very instant and not a moment before.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import RecallGround
from scheduler_core.fairness import FairShares
from scheduler_core.ledger import Ledger
from scheduler_core.model import Choose, Curve, Gang, PastUse, Request, Window
from scheduler_core.placement import Placer
from scheduler_core.policy import BEAT, HOUR, MINUTE, SECOND
from scheduler_core.takeback import TURN, TakeBack
from tests.core.cells import cells
from tests.core.taking_cells import POLICIES, Platform, contended_cells, overfull_cells
from tests.support.engine import (
    Case,
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
from tests.support.engine_laws import laws_hold
from tests.support.lending_laws import guest_of

NOW = 10 * HOUR
NEVER = 400 * 24 * HOUR
MOST_TURNS = 12
"""Decisions at one instant until one changes nothing; victims leave between them."""

bounded = settings(
    max_examples=int(os.environ.get("FLEXAI_TEST_EXAMPLES", "30")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

seen: Counter[str] = Counter()


def low(name: str, **more: object):  # type: ignore[no-untyped-def]
    """Work that more urgent work of its team takes from."""
    return a_job(name, **{"preemptible": True, "priority": 10, **more})


def due_of(case: Case) -> int:
    """When the case is to be decided again; the laws have been checked, and nothing is decided now."""
    assert is_quiet(case.decision.raw)
    assert case.decision.raw.due is not None
    return case.decision.raw.due


def is_quiet(decision: Decision) -> bool:
    return not (decision.units or decision.relief or decision.resizings or decision.loans or decision.recalls)


def at(case: Case, now: int) -> Decision:
    return case.but(now=now).decision.raw


def first_change(case: Case, *, within: int = 20 * HOUR) -> int:
    """The instant at which waiting from one `due` to the next first decides something; a moment earlier, nothing is."""
    now = case.snapshot.now
    while now < case.snapshot.now + within:
        due = due_of(case.but(now=now))
        assert now < due
        if not is_quiet(at(case, due)):
            assert is_quiet(at(case, due - 1)), "decided before it was due"
            return due
        now = due
    raise AssertionError(f"nothing is decided within {within} ms")


# -- each source -------------------------------------------------------------------------------------------


def test_s6_r1_the_end_of_the_policys_protection() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(low("low"), ("n", [0]), started=NOW - 1)],
        waiting=[a_job("urgent", priority=90)],
        now=NOW,
    )
    assert first_change(case) == NOW - 1 + Policy().min_runtime


def test_s6_r1_the_end_of_its_own_protection() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(low("low"), ("n", [0]), started=NOW, min_runtime=2 * HOUR)],
        waiting=[a_job("urgent", priority=90)],
        now=NOW,
    )
    assert first_change(case) == NOW + 2 * HOUR


def test_s6_r1_who_was_taken_too_often_has_run_long_enough() -> None:
    row = low("low", checkpoint=True, restart_cost=HOUR)
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(row, ("n", [0]), started=NOW, times_taken=4)],
        waiting=[a_job("urgent", priority=90)],
        now=NOW,
    )
    assert first_change(case) == NOW + 10 * HOUR


def test_s6_r1_what_starts_now_is_protected_from_now_on() -> None:
    """The decision that starts it already says when it may be taken."""
    case = given(
        nodes=[a_node("n", chips=1)],
        waiting=[low("low"), a_job("closed", priority=90, pools=("other",))],
        now=NOW,
    )
    assert case.decision.started == ["low"]
    assert case.decision.raw.due == NOW + Policy().min_runtime


def test_s6_relief_waits_for_the_end_of_protection_though_nobody_waits() -> None:
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[live(low("low", chips=2), ("n", [0, 1]), started=NOW)],
        teams=[a_team("vision", a_quota(limit=1))],
        now=NOW,
    )
    assert first_change(case) == NOW + Policy().min_runtime


def test_s6_r2_a_service_level_is_reached() -> None:
    """Two teams within their shares: only who has had less may take."""
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[
            live(low("long", checkpoint=True), ("n", [0]), started=NOW - HOUR, checkpointed=NOW - SECOND)
        ],
        waiting=[a_job("new", preemptible=True, priority=10)],
        policy=Policy(service_levels=(2 * HOUR,)),
        now=NOW,
    )
    assert first_change(case) == NOW + HOUR


def test_s6_b1_b2_an_end_that_passes_makes_way_for_who_stands_behind() -> None:
    """The reservation is put off, and what is short enough fits before it."""
    case = given(
        nodes=[a_node("n", chips=2)],
        running=[live(a_job("old", runs=(HOUR, 4 * HOUR)), ("n", [0]), started=NOW)],
        waiting=[
            a_job("head", chips=2, submitted=1),
            a_job("short", runs=2 * HOUR, submitted=2),
        ],
        now=NOW,
    )
    assert first_change(case) == NOW + HOUR


def test_s6_b4_who_has_waited_long_enough_reserves() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("b", chips=2)],
        running=[
            live(a_job("x", chips=2, runs=9 * HOUR), ("a", [0, 1]), started=NOW),
            live(a_job("y", chips=2, runs=9 * HOUR), ("b", [0, 1]), started=NOW),
        ],
        waiting=[
            a_job("head", chips=2, submitted=NOW - HOUR),
            a_job("second", chips=2, priority=10, submitted=NOW - HOUR),
        ],
        now=NOW,
    )
    assert due_of(case) == NOW - HOUR + Policy().reserve_age
    assert [row.job for row in case.decision.raw.reservations] == [1]
    assert [row.job for row in at(case, due_of(case) - 1).reservations] == [1]
    assert [row.job for row in at(case, due_of(case)).reservations] == [1, 2]


def test_s6_b5_a_window_ends() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        waiting=[a_job("waits", endless=True)],
        teams=[a_team("vision"), a_team("speech")],
        now=NOW,
    )
    case = case.but(windows=(Window(1, (1,), 2, NOW - HOUR, NOW + HOUR),))
    assert first_change(case) == NOW + HOUR


def test_s6_p5_patience_ends() -> None:
    slow, fast = (Gang(Request(chips=2, chip_types=(name,))) for name in ("A100", "H100"))
    choice = a_job("choice", chips=2, type="A100", others=(fast,), runs=10 * HOUR, submitted=NOW - 1)
    case = given(
        nodes=[a_node("fast", chips=2, type="H100", speed=2000), a_node("slow", chips=4)],
        running=[live(a_job("old", chips=2, runs=HOUR), ("fast", [0, 1]), started=NOW)],
        waiting=[choice],
        now=NOW,
    )
    assert slow != fast
    assert case.snapshot.jobs[0].choose is Choose.EARLIEST_FINISH
    assert first_change(case) == NOW - 1 + Policy().patience


def test_s6_b5_p5_a_reserved_place_closes_to_who_declines_it() -> None:
    """It keeps the four A100 while it waits for something better, until it would run into the drain there."""
    last = NOW + MINUTE
    fast = Gang(Request(chips=2, chip_types=("H100",)))
    case = given(
        nodes=[
            a_node("slow", chips=4, drain_at=last + 10 * HOUR),
            a_node("fast", chips=2, type="H100", speed=2000),
        ],
        running=[live(a_job("old", chips=2, runs=HOUR), ("fast", [0, 1]), started=NOW)],
        waiting=[a_job("choice", chips=4, type="A100", others=(fast,), runs=10 * HOUR, submitted=NOW)],
        reservations=[reserved("choice", NOW, ("slow", range(4)))],
        now=NOW,
    )
    assert due_of(case) == last + 1
    assert [row.placements[0].node for row in at(case, last).reservations] == [1]
    assert [row.placements[0].node for row in at(case, last + 1).reservations] == [2]


def test_s6_e1_elastic_work_has_kept_its_size_long_enough() -> None:
    elastic = a_gang("job", replicas=(1, 4), chips=1, preemptible=True, checkpoint=True, spread=False)
    row = {"checkpointed": NOW, "resized": NOW - 5, "curves": (Curve("A100", (1, 2, 3, 4)),)}
    case = given(nodes=[a_node("n", chips=4)], running=[live(elastic, ("n", [0]), **row)], now=NOW)  # type: ignore[arg-type]
    assert case.decision.raw.due == NOW + BEAT
    assert first_change(case) == NOW + MINUTE


def test_s6_t3_an_owner_has_been_back_for_as_long_as_guests_may_stay() -> None:
    owner = live(a_slice("owner", milli=1000), ("n", [0]), offered=NOW - HOUR)
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[owner],
        waiting=[a_slice("guest", milli=500, preemptible=True)],
        now=NOW - MINUTE,
    )
    (job,), (held,) = case.snapshot.jobs, case.snapshot.running
    (place,) = held.placements
    held = replace(held, placements=(replace(place, chips=(replace(place.chips[0], memory=10_000),)),))
    guest = guest_of(job, 2000, decide(replace(case.snapshot, running=(held,)), Policy()))
    running = (replace(held, busy=NOW - SECOND), guest)
    snapshot = replace(case.snapshot, now=NOW, jobs=(), running=running)
    decision = decide(snapshot, Policy())
    assert decision.recalls == ()
    assert decision.due == NOW - SECOND + Policy().yield_stop
    (recall,) = decide(replace(snapshot, now=decision.due), Policy()).recalls
    assert recall.ground is RecallGround.OWNER_BACK
    assert decide(replace(snapshot, now=decision.due - 1), Policy()).recalls == ()


def test_s6_f3_past_use_fades_by_the_minute_where_it_orders_anybody() -> None:
    """It is the same all through a minute, and then less; with one team alone nobody asks."""
    past = [PastUse("A100", 10**12, NOW - HOUR)]
    teams = [a_team("vision", past_use=past), a_team("speech")]
    waiting = [a_job("one", chips=2), a_job("two", chips=2, team="speech")]
    running = [live(a_job("old", endless=True), ("n", [0]))]
    case = given(nodes=[a_node("n", chips=2)], running=running, waiting=waiting, teams=teams, now=NOW + 7)
    assert due_of(case) == NOW + MINUTE
    assert case.but(jobs=case.snapshot.jobs[:1]).decision.raw.due is None


def test_s6_a_cycle_that_stopped_at_its_bound_is_due_at_once() -> None:
    case = given(
        nodes=[a_node("n", chips=4)],
        waiting=[a_job(f"job-{n}") for n in range(3)],
        policy=Policy(max_starts=2),
        now=NOW,
    )
    assert case.decision.raw.due == NOW
    assert given(nodes=[a_node("n", chips=4)], waiting=[a_job("one")], now=NOW).decision.raw.due is None


def test_s6_where_only_news_can_help_nothing_is_due() -> None:
    """Nobody waits; or whoever waits has nothing to hope for from time."""
    idle = given(nodes=[a_node("n", chips=1)], running=[live(low("low"), ("n", [0]), started=NOW)], now=NOW)
    assert idle.decision.raw.due is None
    firm = given(
        nodes=[a_node("n", chips=1)],
        running=[live(a_job("firm", endless=True), ("n", [0]), started=NOW)],
        waiting=[a_job("waits")],
        now=NOW,
    )
    assert firm.decision.raw.due is None


# -- whose turn it is where a cycle cannot search for everybody --------------------------------------------


def behind(count: int) -> Case:
    """So many classes that wait in vain, and behind them one that may take from lower work of its team."""
    vain = [a_job(f"vain-{n}", type="H100", chips=n + 1, priority=90) for n in range(count)]
    return given(
        nodes=[a_node("full", chips=8, type="H100"), a_node("n", chips=1)],
        running=[live(a_job("firm", chips=8), ("full", range(8))), live(low("low"), ("n", [0]))],
        waiting=[*vain, a_job("behind", type="A100", priority=80)],
        policy=Policy(max_searches=4),
        now=NOW,
    )


def test_r1_nobody_is_kept_from_what_is_due_to_it_by_those_before_it_for_whom_there_is_nothing() -> None:
    """The searches of a cycle are bounded; behind the first in line everybody has its turn, by time alone."""
    case, turns = behind(8), 0
    while not case.decision.started:
        assert case.decision.raw.due is not None, "somebody has not been searched for"
        case, turns = case.but(now=case.decision.raw.due), turns + 1
        assert turns < 20
    assert turns
    assert case.decision.takes("low", for_="behind")


def test_r1_whoever_comes_first_is_searched_for_in_every_cycle() -> None:
    case = behind(3)
    assert case.decision.takes("low", for_="behind")


@pytest.mark.parametrize("step", [1, 7, 30])
@pytest.mark.parametrize("left", [2, 7, 60, 97])
def test_r1_every_class_behind_the_first_has_its_turn_soon(left: int, step: int) -> None:
    """Each of n within some 3 n turns, at whichever distances a cell is decided."""
    take_back = a_take_back(searches=4)
    met: set[int] = set()
    for turn in range(0, (3 * left + 5) * step, step):
        take_back.begin_cycle(turn * TURN, FairShares())
        met.update(take_back.whose_turn(range(left)))
    assert met == set(range(left))


def test_r1_a_quarter_of_the_searches_is_for_those_behind_the_first() -> None:
    """One at least, and whole ones."""
    shares = {searches: len(a_take_back(searches).whose_turn(range(9))) for searches in (1, 7, 8, 11, 400)}
    assert shares == {1: 1, 7: 1, 8: 2, 11: 2, 400: 9}


def a_take_back(searches: int) -> TakeBack:
    ledger = Ledger(behind(1).snapshot)
    return TakeBack(ledger, Placer(ledger), Policy(max_searches=searches))


# -- before it is due, nothing is new ----------------------------------------------------------------------

BOUNDED = POLICIES | st.sampled_from(
    [Policy(min_runtime=0, max_searches=1), Policy(min_runtime=0, max_moves=1)]
)
"""Some of them search for less than everybody."""
EARLIER = st.sampled_from([0, 1, 7, 499, 500, 900, 999, 1000])
"""Instants before it is due, in permille of the way."""


def nothing_new_before(snapshot: Snapshot, policy: Policy, decision: Decision, part: int) -> None:
    """The decision has been carried out in `snapshot`."""
    due = decision.due if decision.due is not None else snapshot.now + NEVER
    assert due >= snapshot.now
    last = due - 1
    if last < snapshot.now:
        return
    now = snapshot.now + (last - snapshot.now) * part // 1000
    again = decide(replace(snapshot, now=now), policy)
    assert is_quiet(again), f"{now - snapshot.now} ms later, {due - now} ms before it is due"
    if is_quiet(decision):
        placed = {row.job: row.placements for row in decision.reservations}
        assert {row.job: row.placements for row in again.reservations} == placed
        assert again.promises == decision.promises
    seen["asked"] += 1
    seen["asked where somebody waits"] += bool(again.verdicts)
    seen["due by time"] += decision.due is not None and bool(again.verdicts)


def until_quiet(snapshot: Snapshot, policy: Policy) -> tuple[Snapshot, Decision] | None:
    """The cell once everything decided at this instant is carried out and whoever was told to go has gone."""
    platform, now = Platform(snapshot), snapshot.now
    platform.now = now
    for _ in range(MOST_TURNS):
        before = platform.mirror.snapshot(now)
        decision = decide(before, policy)
        platform.take(decision)
        platform.leave(now)
        if is_quiet(decision) and platform.mirror.snapshot(now) == before:
            return before, decision
    return None


@bounded
@drawn(contended_cells(), BOUNDED, EARLIER)
def test_s6_nothing_is_new_before_it_is_due_where_work_is_taken(
    snapshot: Snapshot, policy: Policy, part: int
) -> None:
    quiet = until_quiet(snapshot, policy)
    if quiet is not None:
        nothing_new_before(quiet[0], policy, quiet[1], part)


@bounded
@drawn(contended_cells(), BOUNDED, EARLIER)
def test_s6_what_is_carried_out_makes_nothing_new_before_it_is_due(
    snapshot: Snapshot, policy: Policy, part: int
) -> None:
    """The same right after a decision, while victims still leave: that they have gone is news. What stands reserved on
    chips that were promised may fall until then.
    """
    decision = decide(snapshot, policy)
    platform = Platform(snapshot)
    platform.now = snapshot.now
    platform.take(decision)
    nothing_new_before(platform.mirror.snapshot(snapshot.now), policy, decision, part)


@bounded
@drawn(overfull_cells(), POLICIES, EARLIER)
def test_s6_nothing_is_new_before_it_is_due_where_an_excess_stands(
    snapshot: Snapshot, policy: Policy, part: int
) -> None:
    quiet = until_quiet(snapshot, policy)
    if quiet is not None:
        nothing_new_before(quiet[0], policy, quiet[1], part)


@bounded
@drawn(
    cells(),
    st.sampled_from([Policy(), Policy(reserve_age=0, max_reservations=2), Policy(min_runtime=0)]),
    EARLIER,
)
def test_s6_nothing_is_new_before_it_is_due_in_any_cell(
    snapshot: Snapshot, policy: Policy, part: int
) -> None:
    quiet = until_quiet(snapshot, policy)
    if quiet is not None:
        nothing_new_before(quiet[0], policy, quiet[1], part)


@bounded
@drawn(contended_cells(), BOUNDED)
def test_s6_a_kept_scheduler_is_due_when_a_fresh_one_is(snapshot: Snapshot, policy: Policy) -> None:
    """From one `due` to the next, with nothing heard (S1)."""
    kept, now = Scheduler(snapshot, policy), snapshot.now
    for _ in range(6):
        decision = kept.decide(now)
        fresh = replace(snapshot, now=now)
        assert decision == decide(fresh, policy)
        laws_hold(fresh, policy, decision, search=False)
        if decision.due is None:
            return
        now = max(decision.due, now + 1)


def test_s6_each_interesting_thing_sometimes_happens() -> None:
    if not seen:
        pytest.skip("the runs above were not made")
    assert seen["asked where somebody waits"] > 40
    assert seen["due by time"] > 40
