"""Fair shares (F2), the order that follows from them (F3), caps and budgets (F5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from scheduler_core import Policy, Snapshot
from scheduler_core.division import Claim, Part, divide
from scheduler_core.fairness import average_use, decayed, fair_shares
from scheduler_core.ledger import Ledger
from scheduler_core.model import PastUse, Quota, Team, UserCap
from scheduler_core.ordering import Waiting
from scheduler_core.policy import HOUR
from scheduler_core.reasons import BudgetSpent, UserCapReached
from tests.core.cells import cells
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

DAY = 24 * HOUR


def claims(*rows: tuple[int, int, int]) -> list[Claim]:
    """Guaranteed, weight, wanted; ids from 1."""
    return [
        Claim(n, guaranteed, weight, wanted, None) for n, (guaranteed, weight, wanted) in enumerate(rows, 1)
    ]


def fair(amount: int, *rows: tuple[int, int, int]) -> list[int]:
    return [part.fair for part in divide(amount, claims(*rows))]


# -- one level -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "rows", "expected"),
    [
        (10, [(4, 1, 10), (0, 1, 10)], [7, 3]),
        (10, [(4, 1, 10), (0, 2, 10)], [6, 4]),
        (10, [(4, 1, 2), (0, 1, 10)], [2, 8]),
        (12, [(8, 1, 12), (16, 1, 16)], [4, 8]),
        (12, [(8, 1, 12), (16, 1, 3)], [9, 3]),
        (12, [(0, 1, 2), (0, 1, 20), (0, 2, 20)], [2, 3, 7]),
        (10, [(0, 1, 10), (0, 1, 10), (0, 1, 10)], [4, 3, 3]),
        (10, [(0, 0, 10), (0, 1, 4)], [0, 4]),
        (10, [(3, 0, 10), (0, 1, 4)], [3, 4]),
        (0, [(3, 1, 10), (0, 1, 4)], [0, 0]),
        (10, [], []),
    ],
)
def test_f2_one_level_by_hand(amount: int, rows: list[tuple[int, int, int]], expected: list[int]) -> None:
    """Guarantees as far as they are wanted, shrunk in proportion where they are too many; what is left by
    weight; remainders to the largest, then to the lowest id.
    """
    assert fair(amount, *rows) == expected


def test_f2_what_a_claim_would_get_if_it_asked_for_more() -> None:
    """Of 12, one asks for 2 and gets it; it is entitled to as much as the other, who gets the rest."""
    assert divide(12, claims((0, 1, 2), (0, 1, 20))) == [Part(2, 10), Part(10, 10)]
    assert divide(12, claims((4, 1, 0), (0, 1, 2))) == [Part(0, 11), Part(2, 7)]
    bounded = [Claim(1, 0, 1, 2, 3), Claim(2, 0, 1, 20, None)]
    assert divide(12, bounded)[0] == Part(2, 3), "never above the limit"


levels = st.lists(
    st.tuples(st.integers(0, 9000), st.integers(0, 4), st.integers(0, 9000)), min_size=1, max_size=6
)


@settings(max_examples=300, derandomize=True)
@for_all(st.integers(0, 20_000), levels)
def test_f2_nothing_is_lost_and_nobody_gets_more_than_it_wants(
    amount: int, rows: list[tuple[int, int, int]]
) -> None:
    parts = divide(amount, claims(*rows))
    total = sum(part.fair for part in parts)
    wanted_at_all = sum(wanted if weight else min(wanted, g) for g, weight, wanted in rows)
    assert total == min(amount, wanted_at_all)
    promised = sum(guaranteed for guaranteed, _, _ in rows)
    for part, (guaranteed, _, wanted) in zip(parts, rows, strict=True):
        shrunk = guaranteed * amount // promised if promised > amount else guaranteed
        assert min(shrunk, wanted) <= part.fair <= wanted
        assert part.fair <= part.entitled


@settings(max_examples=300, derandomize=True)
@for_all(st.integers(0, 20_000), levels, st.integers(0, 5))
def test_f2_more_weight_never_means_less(amount: int, rows: list[tuple[int, int, int]], who: int) -> None:
    who %= len(rows)
    heavier = [(g, w + (n == who), d) for n, (g, w, d) in enumerate(rows)]
    assert fair(amount, *heavier)[who] >= fair(amount, *rows)[who]


@settings(max_examples=200, derandomize=True)
@for_all(st.integers(0, 20_000), levels)
def test_f2_equal_weights_leave_nobody_envious(amount: int, rows: list[tuple[int, int, int]]) -> None:
    """Max-min: who has less than another of equal weight and no guarantee has all it wants."""
    plain = [(0, 1, wanted) for _, _, wanted in rows]
    got = fair(amount, *plain)
    for mine, (_, _, wanted) in zip(got, plain, strict=True):
        assert mine == wanted or mine >= max(got) - 1


# -- the tree ------------------------------------------------------------------------------------------


def shares_of(case: Case) -> dict[str, int]:
    ledger = Ledger(case.snapshot)
    shares = fair_shares(ledger, Waiting(case.snapshot.jobs).demand(ledger))
    names = {team.id: team.name for team in case.snapshot.teams}
    return {names[team]: milli for (team, chip_type), milli in shares.fair.items() if chip_type == "A100"}


def a_forest() -> list[object]:
    """Organizations acme (guaranteed 4) and bell (weight 2); under acme a (guaranteed 2) and b (weight 3)."""
    return [
        a_team("acme", a_quota(guaranteed=4)),
        a_team("bell", a_quota(weight=2), organization="bell"),
        a_team("a", a_quota(guaranteed=2), parent="acme"),
        a_team("b", a_quota(weight=3), parent="acme"),
        a_team("b1", a_quota(limit=1), parent="b"),
        a_team("b2", parent="b"),
    ]


def test_f2_three_levels_by_hand() -> None:
    """Of 12 chips acme has 4 guaranteed; 8 are left, 1 : 2, so acme has 6.667 and bell 5.333. Inside acme a
    has 2 guaranteed and a quarter of what is left, b three quarters; inside b, b1 stops at its limit.
    """
    case = given(
        nodes=[a_node(chips=12)],
        teams=a_forest(),  # type: ignore[arg-type]
        waiting=[
            a_gang("1", chips=6, team="a"),
            a_gang("2", chips=8, team="b1"),
            a_gang("3", chips=8, team="b2"),
            a_gang("4", chips=20, team="bell"),
        ],
    )
    assert shares_of(case) == {
        "acme": 6667,
        "bell": 5333,
        "a": 3167,
        "b": 3500,
        "b1": 1000,
        "b2": 2500,
    }


def test_f2_what_a_sub_team_does_not_want_stays_in_its_organization_first() -> None:
    case = given(
        nodes=[a_node(chips=12)],
        teams=a_forest(),  # type: ignore[arg-type]
        waiting=[a_gang("1", chips=6, team="a"), a_gang("4", chips=20, team="bell")],
    )
    assert shares_of(case) | {"b": 0} == {"acme": 6000, "bell": 6000, "a": 6000, "b": 0, "b1": 0, "b2": 0}


def test_f2_guarantees_beyond_healthy_capacity_shrink_in_proportion() -> None:
    """8 and 4 are promised; of 8 chips 2 are ill, so that 4 and 2 are left of it."""
    case = given(
        nodes=[a_node(chips=8, unhealthy=[0, 1]), a_node(chips=8, ready=False)],
        teams=[a_team("a", a_quota(guaranteed=8)), a_team("b", a_quota(guaranteed=4))],
        waiting=[a_gang("1", chips=8, team="a"), a_gang("2", chips=8, team="b")],
    )
    assert shares_of(case) == {"a": 4000, "b": 2000}


def test_f1_a_team_counts_as_promised_what_its_sub_teams_are() -> None:
    case = given(
        nodes=[a_node(chips=8)],
        teams=[a_team("lab"), a_team("x", a_quota(guaranteed=4), parent="lab"), a_team("other")],
        waiting=[a_job("1", chips=8, team="x"), a_job("2", chips=8, team="other")],
    )
    assert shares_of(case) == {"lab": 6000, "x": 6000, "other": 2000}


def test_f2_a_teams_own_work_stands_beside_its_sub_teams() -> None:
    case = given(
        nodes=[a_node(chips=9)],
        teams=[a_team("lab"), a_team("x", parent="lab"), a_team("y", parent="lab")],
        waiting=[a_job(name, chips=9, team=name) for name in ("lab", "x", "y")],
    )
    ledger = Ledger(case.snapshot)
    shares = fair_shares(ledger, Waiting(case.snapshot.jobs).demand(ledger))
    assert (shares.fair[1, "A100"], shares.own[1, "A100"]) == (9000, 3000)
    assert (shares.fair[2, "A100"], shares.fair[3, "A100"]) == (3000, 3000)


def test_f2_a_teams_own_work_is_guaranteed_what_its_sub_teams_are_not() -> None:
    """Of the lab's 4, x is guaranteed 3: 1 is left for the lab's own work."""
    case = given(
        nodes=[a_node(chips=4)],
        teams=[a_team("lab", a_quota(guaranteed=4)), a_team("x", a_quota(guaranteed=3), parent="lab")],
        waiting=[a_job(name, chips=4, team=name) for name in ("lab", "x")],
    )
    ledger = Ledger(case.snapshot)
    shares = fair_shares(ledger, Waiting(case.snapshot.jobs).demand(ledger))
    assert (shares.own[1, "A100"], shares.fair[2, "A100"]) == (1000, 3000)


def test_f2_running_work_counts_on_the_type_it_got_and_waiting_work_on_its_first_alone() -> None:
    case = given(
        nodes=[a_node("a", chips=4), a_node("h", chips=4, type="H100")],
        running=[live(a_job("r", chips=2, type=("A100", "H100")), ("h", [0, 1]))],
        waiting=[a_gang("w", chips=1, type=("A100", "H100"), replicas=(2, 4)), a_slice("s", milli=300)],
    )
    ledger = Ledger(case.snapshot)
    waiting = Waiting(case.snapshot.jobs).demand(ledger)
    assert waiting == {(1, "A100"): 2300}
    shares = fair_shares(ledger, waiting)
    assert shares.fair == {(1, "A100"): 2300, (1, "H100"): 2000}


@settings(max_examples=150, derandomize=True, deadline=None)
@for_all(cells())
def test_f2_shares_fit_the_cell_on_any_tree(snapshot: Snapshot) -> None:
    """Rings, missing parents and missing teams among them."""
    ledger = Ledger(snapshot)
    asked = Waiting(snapshot.jobs).demand(ledger)
    shares = fair_shares(ledger, asked)
    for chip_type in {chip.type for chip in snapshot.chips}:
        own = sum(milli for (_, name), milli in shares.own.items() if name == chip_type)
        assert own <= ledger.capacity.get(chip_type, 0)
    for use, milli in shares.own.items():
        quota = ledger.quotas.get(use, Quota(""))
        wanted = asked.get(use, 0) + ledger.own.get(use, 0)
        assert 0 <= milli <= (wanted if quota.limit is None else min(wanted, quota.limit))
        assert milli <= shares.entitled[use]
        assert milli <= shares.fair[use]


# -- F3: past use --------------------------------------------------------------------------------------


def test_q1_half_life_by_a_fixed_table() -> None:
    assert [decayed(1_000_000, hours * HOUR, DAY) for hours in (0, 24, 48, 12, 6)] == [
        1_000_000,
        500_000,
        250_000,
        707_106,
        840_896,
    ]
    assert decayed(1_000_000, 1000 * DAY, DAY) == 0
    assert decayed(1_000_000, -HOUR, DAY) == 1_000_000


@settings(max_examples=200, derandomize=True)
@for_all(st.integers(0, 10**15), st.integers(0, 40 * DAY), st.integers(0, DAY))
def test_q1_decay_never_grows_and_is_true_to_a_thousandth(service: int, elapsed: int, more: int) -> None:
    assert decayed(service, elapsed + more, DAY) <= decayed(service, elapsed, DAY)
    exact = service * 2 ** (-elapsed / DAY)
    assert abs(decayed(service, elapsed, DAY) - exact) <= exact / 1000 + 1


def test_f3_past_use_is_measured_as_the_chips_that_a_constant_use_would_hold() -> None:
    """Four chips for ever leave 4 × half-life / ln 2 chip-milliseconds behind: 4 chips of past use."""
    service = sum(decayed(4 * HOUR, hour * HOUR, DAY) for hour in range(24 * 60))
    assert average_use(PastUse("A100", service, 0), 0, DAY) == pytest.approx(4000, rel=0.02)


def test_f3_who_has_had_more_lately_is_behind() -> None:
    heavy = PastUse("A100", 8 * DAY, 0)
    waiting = [a_job("greedy-job", team="greedy", priority=90), a_job("modest-job", team="modest")]
    teams = [a_team("greedy", past_use=[heavy]), a_team("modest")]
    case = given(nodes=[a_node(chips=1)], teams=teams, waiting=waiting, now=DAY)
    assert case.decision.started == ["modest-job"]
    long_ago = given(nodes=[a_node(chips=1)], teams=teams, waiting=waiting, now=400 * DAY)
    assert long_ago.decision.started == ["greedy-job"]


def test_f3_the_level_of_service_comes_after_the_priority() -> None:
    policy = Policy(service_levels=(1000, 100_000))
    waiting = [
        a_job("much", preemptible=True, attained=100_000, submitted=1),
        a_job("some", preemptible=True, attained=1000, submitted=2),
        a_job("none", preemptible=True, attained=999, submitted=3),
        a_job("firm", attained=100_000, submitted=4),
        a_job("urgent", preemptible=True, attained=100_000, priority=60, submitted=5),
    ]
    case = given(nodes=[a_node(chips=8)], waiting=waiting, policy=policy)
    assert case.decision.started == ["urgent", "none", "firm", "some", "much"]


def test_f3_levels_come_before_the_shares_of_teams_and_guarantees_before_levels() -> None:
    """Vision has the lower share by far. What is owed to it counts as if it had had nothing."""
    case = given(
        nodes=[a_node("n", chips=4)],
        teams=[a_team("vision"), a_team("speech")],
        running=[live(a_job("old", chips=3, team="speech"), ("n", [0, 1, 2]))],
        waiting=[
            a_job("much", team="vision", preemptible=True, attained=100_000, submitted=1),
            a_job("none", team="speech", preemptible=True, submitted=2),
        ],
        policy=Policy(service_levels=(1000,)),
    )
    assert case.decision.started == ["none"]
    vision = replace(case.snapshot.teams[0], quotas=(a_quota(guaranteed=1),))
    assert case.but(teams=(vision, case.snapshot.teams[1])).decision.started == ["much"]


# -- F5 ------------------------------------------------------------------------------------------------


def test_f5_a_user_holds_at_most_what_the_team_allows_each() -> None:
    team = a_team("vision", user_caps=[UserCap("A100", 2000)])
    case = given(
        nodes=[a_node("n", chips=8)],
        teams=[team],
        running=[live(a_job("old", user=1), ("n", [0]))],
        waiting=[
            a_job("mine", chips=2, user=1, submitted=1),
            a_job("small", chips=1, user=1, submitted=2),
            a_job("yours", chips=2, user=2, submitted=3),
            a_job("too", chips=1, user=2, submitted=4),
        ],
    )
    assert case.decision.started == ["small", "yours"]
    assert case.decision.waits("mine", because=UserCapReached("vision", "A100", 2000, 2000, 2000))
    assert case.decision.sentence_of("mine") == (
        "Needs 2 A100 chips; team vision allows each user 2, of which this one uses 2."
    )


def test_f5_an_elastic_gang_grows_no_further_than_its_user_may() -> None:
    case = given(
        nodes=[a_node(chips=2) for _ in range(4)],
        teams=[a_team("vision", user_caps=[UserCap("A100", 3000)])],
        waiting=[a_gang("wide", replicas=(1, 4), chips=1)],
    )
    assert len(case.decision.placements_of("wide")) == 3


def test_f5_gangs_of_one_cycle_count_together() -> None:
    case = given(
        nodes=[a_node(chips=2) for _ in range(2)],
        teams=[a_team("vision", user_caps=[UserCap("A100", 3000)])],
        waiting=[a_gang(name, replicas=2, chips=1) for name in ("first", "second")],
    )
    assert case.decision.started == ["first"]


def test_f5_what_a_user_gives_up_is_no_longer_counted() -> None:
    case = given(
        nodes=[a_node("n", chips=1)],
        teams=[a_team("vision", user_caps=[UserCap("A100", 1000)])],
        running=[live(a_job("low", preemptible=True, priority=10), ("n", [0]))],
        waiting=[a_job("urgent", priority=90)],
    )
    assert case.decision.takes("low", for_="urgent")


def test_f5_a_cap_is_of_one_team_and_one_type() -> None:
    case = given(
        nodes=[a_node("a", chips=2), a_node("h", chips=2, type="H100")],
        teams=[a_team("vision", user_caps=[UserCap("A100", 0)]), a_team("speech")],
        waiting=[a_job("other-type", type="H100"), a_job("other-team", type="A100", team="speech")],
    )
    assert sorted(case.decision.started) == ["other-team", "other-type"]


def test_f5_users_are_told_apart_as_soon_as_the_team_caps_them() -> None:
    waiting = [a_job("mine", user=1, chips=2), a_job("yours", user=2)]
    plain = given(nodes=[a_node(chips=1)], teams=[a_team("vision")], waiting=waiting)
    capped = plain.but(
        teams=tuple(replace(team, user_caps=(UserCap("A100", 1000),)) for team in plain.snapshot.teams)
    )
    assert capped.decision.started == ["yours"]


@pytest.mark.parametrize("budget", [0, -1])
def test_f5_with_its_budget_spent_a_team_starts_nothing_with_chips(budget: int) -> None:
    teams = [a_team("lab", budget_left=budget), a_team("vision", parent="lab")]
    case = given(nodes=[a_node(chips=8)], teams=teams, waiting=[a_job("j"), a_cpu_job("cpu")])
    assert case.decision.started == ["cpu"]
    assert case.decision.waits("j", because=BudgetSpent("lab"))
    assert case.decision.sentence_of("j") == "The budget of team lab is spent."
    left = case.but(teams=tuple(replace(team, budget_left=1) for team in case.snapshot.teams))
    assert left.decision.starts("j")


def test_f1_a_ring_of_teams_does_no_harm() -> None:
    snapshot = Snapshot(0, teams=(Team(1, "a", 1, 2), Team(2, "b", 1, 1), Team(3, "c", 1, 1)))
    assert fair_shares(Ledger(snapshot), {(3, "A"): 1}).fair == {(1, "A"): 0, (2, "A"): 0, (3, "A"): 0}
