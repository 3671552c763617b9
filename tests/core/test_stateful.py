"""A cell over many cycles, step by step in any order: work comes, ends and is taken, nodes are lost, quotas change,
some of what was decided is not applied.

In every cycle, whatever came before: all safety laws, every verdict true, kept and fresh schedulers alike (S1), no
needless victim (R5), and between two changes of the world nothing taken back (R6). How often each interesting thing
came up is counted, so that no law is true for want of a case.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.model import (
    FeedEvent,
    Id,
    Job,
    Node,
    Prediction,
    Promise,
    Quota,
    Remove,
    Running,
    Team,
    Upsert,
)
from tests.core.taking_cells import POLICIES, Platform, contended_cells, jobs
from tests.support.engine_laws import Books, laws_hold

EXAMPLES = int(os.environ.get("FLEXAI_TEST_EXAMPLES", "25"))
STEPS = 20
SEARCHED = 6
"""With more that waits, placements are not searched exhaustively; safety and truth are checked all the same."""
RUNS = (None, 2_000, 60_000, 5_000_000)

OFTEN = {"preemption", "backfill", "borrowing", "reclaim", "node loss", "rejected apply"}
RARE = {"shrink", "consolidation", "resizing"}
"""Asked of the long run alone; in short ones `test_taking_properties` and `test_resizing` meet them."""

seen: Counter[str] = Counter()


class Cell(RuleBasedStateMachine):
    """One cell; the platform's side of it is `Platform`, and `kept` is told what a feed would tell."""

    @initialize(snapshot=contended_cells(most_waiting=3), policy=POLICIES)
    def begin(self, snapshot: Snapshot, policy: Policy) -> None:
        self.policy, self.now = policy, snapshot.now
        self.platform = Platform(snapshot)
        self.kept = Scheduler(snapshot, policy)
        self.serial = 500
        self.decision: Decision
        self.took_from: set[tuple[Id, Id]] = set()
        """(victim's job, job it was taken for), as long as nothing else has changed."""

    # --- cycles

    @invariant()
    def a_cycle_keeps_every_law(self) -> None:
        """Whatever was the last thing to happen, a cycle follows it; whether it is applied is another step."""
        snapshot = self.platform.mirror.snapshot(self.now)
        self.decision = decide(snapshot, self.policy)
        assert self.kept.decide(self.now) == self.decision, "S1"
        laws_hold(snapshot, self.policy, self.decision, search=len(snapshot.jobs) <= SEARCHED)
        for unit in self.decision.units:
            for taking in unit.takings:
                assert (unit.start.job, taking.job) not in self.took_from, "R6: taken back"
        self._remember(snapshot, self.decision)

    @rule(every=st.sampled_from([1, 1, 1, 2, 3]))
    @precondition(lambda self: self.decision.units or self.decision.relief or self.decision.resizings)
    def it_is_applied(self, every: int) -> None:
        """All of it, or every second unit, or every third; the others are rejected whole."""
        decision = self.decision
        part = replace(
            decision,
            units=decision.units[::every],
            relief=decision.relief[::every],
            resizings=decision.resizings[::every],
        )
        whole = (part.units, part.relief, part.resizings) == (
            decision.units,
            decision.relief,
            decision.resizings,
        )
        if whole:
            self.took_from |= {(t.job, unit.start.job) for unit in decision.units for t in unit.takings}
        else:
            seen["rejected apply"] += 1
            self.took_from.clear()
        self.platform.now = self.now
        self._tell(self.platform.take(part), changes_the_world=False)

    @rule(data=st.data())
    @precondition(lambda self: any(row.departing for row in self.platform.mirror.of(Running)))
    def victims_leave(self, data: st.DataObject) -> None:
        """Some of those who were told to go have gone."""
        going = sorted(row.id for row in self.platform.mirror.of(Running) if row.departing)
        gone = data.draw(st.sets(st.sampled_from(going), min_size=1))
        self._tell(self.platform.leave(self.now, gone), changes_the_world=False)

    # --- what happens to a cell

    @rule(data=st.data(), runs=st.sampled_from(RUNS))
    @precondition(lambda self: len(self.platform.mirror.of(Job)) < 8)
    def somebody_submits(self, data: st.DataObject, runs: int | None) -> None:
        self.serial += 1
        job = data.draw(jobs(self.serial, runs=data.draw(st.booleans())))
        prediction = None if runs is None else Prediction(runs, runs * 2)
        self._tell([Upsert(replace(job, submitted=self.now, prediction=prediction))])

    @rule(data=st.data())
    @precondition(lambda self: self.platform.mirror.of(Running))
    def an_attempt_ends(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.platform.mirror.of(Running), key=lambda row: row.id)))
        self._tell([Remove(Running, row.id), Remove(Promise, row.job)])

    @rule(data=st.data())
    @precondition(lambda self: any(row.ready for row in self.platform.mirror.of(Node)))
    def a_node_is_lost(self, data: st.DataObject) -> None:
        """With everything on it; who ran there waits again."""
        ready = sorted((row for row in self.platform.mirror.of(Node) if row.ready), key=lambda row: row.id)
        node = data.draw(st.sampled_from(ready))
        hit = [
            row
            for row in self.platform.mirror.of(Running)
            if any(place.node == node.id for place in row.placements)
        ]
        told: list[FeedEvent] = [Upsert(replace(node, ready=False, unready_because="unreachable"))]
        for row in sorted(hit, key=lambda row: row.id):
            told += [Remove(Running, row.id), Upsert(self.platform.back_in_line(row, self.now))]
        seen["node loss"] += bool(hit)
        self._tell(told)

    @rule()
    @precondition(lambda self: any(not row.ready for row in self.platform.mirror.of(Node)))
    def nodes_come_back(self) -> None:
        lost = [row for row in self.platform.mirror.of(Node) if not row.ready]
        self._tell([Upsert(replace(row, ready=True, unready_because="")) for row in lost])

    @rule(
        data=st.data(), guaranteed=st.sampled_from([0, 1000, 3000]), limit=st.sampled_from([None, 1000, 4000])
    )
    def a_quota_is_edited(self, data: st.DataObject, guaranteed: int, limit: int | None) -> None:
        team = data.draw(st.sampled_from(sorted(self.platform.mirror.of(Team), key=lambda row: row.id)))
        self._tell([Upsert(replace(team, quotas=(Quota("A", guaranteed, limit),)))])

    @rule(passes=st.sampled_from([1, 1_000, 70_000, 400_000]))
    def time_passes(self, passes: int) -> None:
        self.now += passes
        self.took_from.clear()

    # --- what always holds

    @invariant()
    def nobody_is_live_twice(self) -> None:
        """Nor live and waiting at once: the platform's rows, after whatever was applied."""
        live = [row.job for row in self.platform.mirror.of(Running)]
        assert len(set(live)) == len(live)
        assert not set(live) & {row.id for row in self.platform.mirror.of(Job)}

    def _tell(self, told: list[FeedEvent], *, changes_the_world: bool = True) -> None:
        self.platform.tell(told)
        self.kept.apply(told)
        if changes_the_world:
            self.took_from.clear()

    def _remember(self, snapshot: Snapshot, decision: Decision) -> None:
        of_team = {row.id: row.team for row in snapshot.running}
        team_of = {job.id: job.team for job in snapshot.jobs}
        for unit in decision.units:
            for taking in unit.takings:
                self._remember_taking(taking, team_of[unit.start.job] != of_team[taking.attempt])
        seen["shrink"] += any(taking.rung is Rung.SHRINK for taking in decision.relief)
        seen["resizing"] += bool(decision.resizings)
        starts = [unit for unit in decision.units if not unit.takings]
        seen["backfill"] += bool(decision.reservations and starts)
        books = Books(snapshot)
        jobs_by_id = {job.id: job for job in snapshot.jobs}
        for unit in starts:
            job = jobs_by_id[unit.start.job]
            books.start(job, unit.start.placements)
            quota = books.quota(job.team, "A")
            seen["borrowing"] += quota is not None and 0 < quota.guaranteed < books.used[job.team, "A"]

    @staticmethod
    def _remember_taking(taking: Taking, between_teams: bool) -> None:
        seen["preemption"] += taking.rung in (Rung.SUSPEND, Rung.EVICT)
        seen["shrink"] += taking.rung is Rung.SHRINK
        seen["consolidation"] += taking.rung is Rung.MOVE
        seen["reclaim"] += between_teams and taking.ground in (Ground.GUARANTEE, Ground.FAIR_SHARE)


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def test_every_law_holds_through_whatever_happens() -> None:
    run_state_machine_as_test(Cell, settings=SETTINGS)


@pytest.mark.long
def test_every_law_holds_through_many_more_histories() -> None:
    run_state_machine_as_test(Cell, settings=settings(SETTINGS, max_examples=600, stateful_step_count=40))
    assert RARE - set(+seen) == set(), dict(seen)


def test_each_interesting_thing_sometimes_happens() -> None:
    """Counts what the tests above met, so it runs after them and not by itself."""
    if not seen:
        pytest.skip("the tests that meet these things were not run")
    assert OFTEN - set(+seen) == set(), dict(seen)
