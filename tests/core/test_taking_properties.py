"""The laws of takings on random full cells: R1 to R5 and S1 cycle after cycle, R2 by shares, R6, F4."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import Ground, Taking
from scheduler_core.fairness import FairShares, fair_shares
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Promise, Running
from scheduler_core.ordering import Waiting
from scheduler_core.takeback import hold_unit
from tests.core.taking_cells import NOW, POLICIES, Platform, contended_cells, overfull_cells, two_must_go
from tests.support.engine import order_does_not_matter
from tests.support.engine_laws import Books, laws_hold

POLICY = Policy(min_runtime=0)

BETWEEN_TEAMS = (Ground.GUARANTEE, Ground.SERVICE_LEVEL, Ground.FAIR_SHARE)

bounded = settings(
    max_examples=int(os.environ.get("FLEXAI_TEST_EXAMPLES", "100")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

seen: Counter[str] = Counter()
"""What happened at all in the runs of this module; see the last test."""


@bounded
@given(contended_cells(), POLICIES)
def test_every_law_holds_where_work_is_taken(snapshot: Snapshot, policy: Policy) -> None:
    decision = decide(snapshot, policy)
    laws_hold(snapshot, policy, decision)
    order_does_not_matter(snapshot, policy, decision)
    remember(decision)


@bounded
@given(overfull_cells(), POLICIES)
def test_every_law_holds_where_an_excess_is_worked_off(snapshot: Snapshot, policy: Policy) -> None:
    decision = decide(snapshot, policy)
    laws_hold(snapshot, policy, decision)
    order_does_not_matter(snapshot, policy, decision)
    remember(decision)


@bounded
@given(overfull_cells(), POLICIES)
def test_relief_only_helps_and_takes_nobody_without_need(snapshot: Snapshot, policy: Policy) -> None:
    """R5 for relief: no single victim can be kept without more being over."""
    relief = decide(snapshot, policy).relief
    done = over_without(snapshot, relief)
    for kept in relief:
        rest = [taking for taking in relief if taking is not kept]
        assert over_without(snapshot, rest) > done


@bounded
@given(contended_cells(), POLICIES)
def test_r2_who_gains_ends_within_and_who_loses_ends_at_its_measure_or_above(
    snapshot: Snapshot, policy: Policy
) -> None:
    ledger = Ledger(snapshot)
    waiting = Waiting(snapshot.jobs, policy, snapshot.teams)
    shares = fair_shares(ledger, waiting.demand(ledger))
    rows = {attempt.id: attempt for attempt in snapshot.running}
    decision = decide(snapshot, policy)
    remember(decision)
    for taking in decision.relief:
        attempt = rows[taking.attempt]
        gone = [place for place in attempt.placements if place.replica not in taking.keeps]
        ledger.bill(gone, team=attempt.team, preemptible=True, sign=-1, user=attempt.user)
    for unit in decision.units:
        job = waiting.jobs[unit.start.job]
        hold_unit(ledger, job, unit)
        gained = {name for place in unit.start.placements for name, _ in ledger.charges(place)}
        for taking in unit.takings:
            attempt = rows[taking.attempt]
            if attempt.team == job.team or taking.ground not in BETWEEN_TEAMS:
                continue
            lost = {name for place in attempt.placements for name, _ in ledger.charges(place)}
            seen["a level between teams"] += taking.ground is Ground.SERVICE_LEVEL
            for used, due in measures(ledger, shares, job.team, attempt.team, gained, taking.ground):
                assert used <= due or taking.ground is Ground.SERVICE_LEVEL
            for used, due in measures(ledger, shares, attempt.team, job.team, lost, taking.ground):
                assert used >= due


@bounded
@given(contended_cells(), POLICIES)
@example(two_must_go(), POLICY)
def test_r6_what_was_taken_is_not_taken_back(snapshot: Snapshot, policy: Policy) -> None:
    """In the state after all victims have gone, at the same instant: every promise is served where it was
    made, and nobody takes from, or sits on the chips of, those who took from it.
    """
    decision = decide(snapshot, policy)
    remember(decision)
    platform = Platform(snapshot)
    platform.take(decision)
    platform.leave(snapshot.now)
    after = platform.mirror.snapshot(snapshot.now)
    again = decide(after, policy)
    assert not again.broken
    starts = {unit.start.job: unit for unit in again.units}
    rows = {attempt.id: attempt for attempt in after.running}
    took_from = {(taking.job, unit.start.job) for unit in decision.units for taking in unit.takings}
    for unit in decision.units:
        if unit.takings:
            served = starts[unit.start.job]
            assert served.start.placements == unit.start.placements, "promised chips are there"
            assert served.takings == ()
    for unit in again.units:
        for taking in unit.takings:
            assert (unit.start.job, taking.job) not in took_from, "taken back"
            if policy.min_runtime:
                assert rows[taking.attempt].started < snapshot.now, "taken from who has just started"
    promised = {
        share.chip: unit.start.job
        for unit in decision.units
        if unit.takings
        for place in unit.start.placements
        for share in place.chips
        if share.milli == 1000
    }
    for unit in again.units:
        for share in (share for place in unit.start.placements for share in place.chips):
            assert promised.get(share.chip, unit.start.job) == unit.start.job


@bounded
@given(contended_cells(), POLICIES)
def test_f4_r1_what_is_protected_is_never_taken(snapshot: Snapshot, policy: Policy) -> None:
    """With everything protected in one of the ways there are, nothing is taken and nothing is told to go."""
    guards = [
        replace(snapshot, running=tuple(replace(a, preemptible=False) for a in snapshot.running)),
        replace(snapshot, running=tuple(replace(a, min_runtime=10 * NOW) for a in snapshot.running)),
        replace(
            snapshot,
            running=tuple(replace(a, times_taken=99, checkpoint=False) for a in snapshot.running),
        ),
        replace(
            snapshot,
            running=tuple(replace(a, times_taken=99, restart_cost=NOW) for a in snapshot.running),
        ),
    ]
    for guarded in guards:
        decision = decide(guarded, policy)
        assert decision.relief == ()
        assert not any(unit.takings for unit in decision.units)


@settings(bounded, max_examples=max(20, bounded.max_examples // 2))
@given(st.data())
def test_s1_r6_kept_and_fresh_agree_while_victims_leave(data: st.DataObject) -> None:
    """Cycle after cycle, through promises, leaving victims, requeued jobs and losses of chips."""
    snapshot = data.draw(contended_cells(most_waiting=4))
    policy = data.draw(POLICIES)
    platform, kept = Platform(snapshot), Scheduler(snapshot, policy)
    for cycle in range(4):
        now = snapshot.now + cycle * 400_000
        fresh = decide(platform.mirror.snapshot(now), policy)
        assert kept.decide(now) == fresh
        laws_hold(platform.mirror.snapshot(now), policy, fresh, search=cycle == 0)
        remember(fresh)
        if platform.mirror.of(Promise) and any(not unit.takings for unit in fresh.units):
            seen["a start beside a promise"] += 1
        told = platform.take(fresh)
        on_the_way = [a.id for a in platform.mirror.of(Running) if a.departing]
        gone = data.draw(st.sets(st.sampled_from(on_the_way))) if on_the_way else set()
        told += platform.leave(now, gone if data.draw(st.booleans()) else None)
        kept.apply(told)


def measures(
    ledger: Ledger, shares: FairShares, team: Id, other: Id, types: set[str], ground: Ground
) -> Iterator[tuple[int, int]]:
    """What the team uses and what it is due, at each level where it differs from the other and is due any."""
    levels = [level for level in ledger.payers(team) if level not in ledger.payers(other)]
    for name in types:
        if ground is Ground.FAIR_SHARE:
            yield ledger.own.get((team, name), 0), shares.own.get((team, name), 0)
            for level in levels:
                yield ledger.used.get((level, name), 0), shares.fair.get((level, name), 0)
            continue
        for level in levels:
            if (quota := ledger.quotas.get((level, name))) is not None:
                yield ledger.used.get((level, name), 0), quota.guaranteed


def over_without(snapshot: Snapshot, takings: list[Taking] | tuple[Taking, ...]) -> int:
    """How much is over in all once these have gone, counted from rows."""
    gives = {taking.attempt: taking for taking in takings}
    left: list[Running] = []
    for attempt in snapshot.running:
        taking = gives.get(attempt.id)
        stays = attempt.placements if taking is None else tuple(
            place for place in attempt.placements if place.replica in taking.keeps
        )  # fmt: skip
        left.append(replace(attempt, placements=stays))
    return sum(Books(replace(snapshot, running=tuple(left))).excesses().values())


def takings_of(decision: Decision) -> list[Taking]:
    return [*(taking for unit in decision.units for taking in unit.takings), *decision.relief]


def remember(decision: Decision) -> None:
    """Note what this run met, so that no law is true for want of a case."""
    met = {f"{taking.ground.value}" for taking in takings_of(decision)}
    met |= {f"{taking.rung.name.lower()}" for taking in takings_of(decision)}
    if decision.relief:
        met.add("relief")
    if any(len(unit.takings) > 1 for unit in decision.units):
        met.add("several victims")
    if any(reason.code == "chips_promised" for verdict in decision.verdicts for reason in verdict.reasons):
        met.add("a promise waits")
    promised = {unit.start.job for unit in decision.units if unit.takings}
    if set(decision.promises) - promised:
        met.add("a promise stands")
    for name in met:
        event(name)
        seen[name] += 1


def test_each_interesting_thing_sometimes_happens() -> None:
    """Counts what the tests above met, so it runs after them and not by itself."""
    if not seen:
        pytest.skip("the tests that meet these things were not run")
    expected = {
        "guarantee",
        "fair_share",
        "priority",
        "service_level",
        "a level between teams",
        "consolidation",
        "excess",
        "shrink",
        "move",
        "suspend",
        "evict",
        "relief",
        "several victims",
        "a promise waits",
        "a promise stands",
        "a start beside a promise",
    }
    assert expected - set(seen) == set(), dict(seen)
