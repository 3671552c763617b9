"""The engine driven over virtual time, on cases small enough to be played by hand. Times in seconds; a restart
costs 30, the engine decides at full minutes.
"""

from __future__ import annotations

import numpy as np
import pytest

from scheduler_core import Policy
from scheduler_core.model import Gang, Remove, Request, Seen, Upsert
from scheduler_core.simulation.driven import Driven, drive, driving
from scheduler_core.simulation.driven.learned import MIX_MS, LearnedMix, LearnedTimes
from scheduler_core.simulation.replay.clock import NodeLoss
from tests.simulation.replay.small import jobs, on_chips, seconds

LEVELS = tuple(60_000 << level for level in range(32))


def test_a_gang_starts_at_the_round_after_its_chips_are_free() -> None:
    driven = drive(jobs([(0, 100, 8), (10, 50, 16)]), on_chips(16), Policy())
    assert seconds(driven.outcome) == [100, 170]
    assert [(run.job, run.began, run.ended) for run in driven.runs] == [
        (0, 0, 100_000),
        (1, 120_000, 170_000),
    ]


def test_a_taking_is_served_at_the_same_instant_and_costs_a_restart() -> None:
    """The runner gives way at 420, comes back at 480 and has 580 s left and 30 s to start."""
    outcome = drive(jobs([(0, 1000, 8), (420, 50, 8)]), on_chips(8), Policy(service_levels=LEVELS)).outcome
    assert seconds(outcome) == [1090, 470]
    assert (outcome.evictions, outcome.moves, outcome.lost) == (1, 0, 30_000 * 8)


def test_work_moves_together_for_a_gang() -> None:
    """At 420 a 5 and a 2 lie on two nodes; one of them moves beside the other and the 8 starts at once."""
    work = jobs([(0, 1000, 5), (0, 390, 3), (0, 380, 5), (0, 1000, 2), (420, 100, 8)])
    outcome = drive(work, on_chips(16), Policy()).outcome
    assert outcome.moves == outcome.evictions == 1
    assert seconds(outcome)[4] == 520


def test_a_gang_no_empty_cluster_could_hold_is_refused() -> None:
    assert seconds(drive(jobs([(0, 10, 64), (1, 10, 8)]), on_chips(16), Policy()).outcome) == [None, 70]


def test_what_runs_on_a_lost_node_waits_and_pays_a_restart() -> None:
    """Lost at 90 s with 90 s done, back at 200 s; at 240 s the job starts again, 30 s of restart and 910 s to go."""
    loss = NodeLoss(0, 90_000, 200_000)
    driven = drive(jobs([(0, 1000, 8)]), on_chips(8), Policy(), losses=(loss,))
    assert seconds(driven.outcome) == [1180]
    assert (driven.outcome.interrupted, driven.outcome.evictions, driven.outcome.lost) == (1, 0, 30_000 * 8)
    assert [(run.began, run.useful, run.ended) for run in driven.runs] == [
        (0, 0, 90_000),
        (240_000, 270_000, 1_180_000),
    ]


def test_a_gang_waits_for_a_lost_node_and_others_go_on() -> None:
    loss = NodeLoss(1, 0, 600_000)
    outcome = drive(jobs([(10, 50, 16), (20, 100, 8)]), on_chips(16), Policy(), losses=(loss,)).outcome
    assert seconds(outcome) == [650, 160]


def test_quiet_rounds_skip_decisions_and_no_news() -> None:
    """While the runner holds all chips nothing changes: fewer decisions, and the same starts and ends."""
    work = jobs([(0, 3000, 8), (10, 50, 8)])
    policy = Policy(service_levels=(), min_runtime=60_000)
    every = drive(work, on_chips(8), policy).outcome
    quiet = drive(work, on_chips(8), policy, quiet_rounds=10).outcome
    assert seconds(every) == seconds(quiet) == [3000, 3050]
    assert quiet.decisions <= every.decisions


@pytest.mark.parametrize("policy", [Policy(), Policy(service_levels=LEVELS, min_runtime=60_000)])
def test_s6_rounds_in_which_nothing_is_due_are_left_out_and_change_nothing(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, due = crowd(policy)
    monkeypatch.setattr(
        driving,
        "_wakes_at",
        lambda cell, now, round_ms, quiet_rounds: now + round_ms if cell.waiting else None,
    )
    _, every = crowd(policy)
    assert due.runs == every.runs
    assert due.outcome.decisions < every.outcome.decisions


def test_until_cuts_what_still_runs() -> None:
    driven = drive(jobs([(0, 1000, 8)]), on_chips(8), Policy(), until=300_000)
    assert seconds(driven.outcome) == [None]
    assert [(run.began, run.ended) for run in driven.runs] in ([(0, 300_000)], [(0, 0)])


@pytest.mark.parametrize("policy", [Policy(), Policy(service_levels=LEVELS, min_runtime=60_000)])
def test_chip_time_adds_up(policy: Policy) -> None:
    """What was held is what was asked for and what restarts took; no chip is held twice at any time."""
    work, driven = crowd(policy)
    outcome = driven.outcome
    assert (outcome.finished >= 0).all()
    assert outcome.allocated == work.chip_time + outcome.lost
    worked = np.zeros(len(work), np.int64)
    for run in driven.runs:
        worked[run.job] += run.ended - run.useful
    assert worked.tolist() == work.runtime.tolist()
    changes = [(run.began, 1, run.job) for run in driven.runs] + [
        (run.ended, 0, run.job) for run in driven.runs
    ]
    held = 0
    for _, begins, job in sorted(changes):
        held += int(work.gang_chips[job]) * (1 if begins else -1)
        assert 0 <= held <= 32
    assert held == 0


def test_the_prediction_is_the_median_of_the_narrowest_group() -> None:
    learned = LearnedTimes()
    for runtime in range(1_000, 21_000, 1_000):
        learned.note_end(((0, 1), (1,), ()), runtime)
    known = learned.predict(((0, 1), (1,), ()))
    assert known is not None
    assert known == learned.predict(((5, 5), (1,)))
    assert 10_000 <= known.p50 <= 12_500
    assert 18_000 <= known.p90 <= 22_500
    assert learned.predict(((9, 9),)) is None


def crowd(policy: Policy) -> tuple[object, Driven]:
    """60 random jobs on 32 chips."""
    draw = np.random.default_rng(7)
    rows = zip(
        np.sort(draw.integers(0, 5000, 60)).tolist(),
        draw.integers(1, 1500, 60).tolist(),
        draw.choice([1, 1, 2, 3, 4, 8, 16], 60).tolist(),
        strict=True,
    )
    work = jobs(list(rows))
    return work, drive(work, on_chips(32), policy)


def test_the_mix_is_told_when_a_tenth_of_it_has_moved_and_what_is_in_it_no_more_is_withdrawn() -> None:
    mix, one, two = LearnedMix(), Request(chips=1), Request(chips=2)
    assert mix.news(0) == []
    for _ in range(20):
        mix.note(Gang(one))
    assert mix.news(MIX_MS) == [Upsert(Seen(1, one, 20))]
    mix.note(Gang(two))
    assert mix.news(2 * MIX_MS) == [], "2 of 22 chips"
    mix.note(Gang(two))
    assert mix.news(2 * MIX_MS + 1) == [], "not yet"
    assert mix.news(3 * MIX_MS) == [Upsert(Seen(1, one, 20)), Upsert(Seen(2, two, 2))]
    for _ in range(2_000):
        mix.note(Gang(two))
    assert mix.news(4 * MIX_MS) == [Remove(Seen, 2), Upsert(Seen(1, two, 2_000))]


def test_p3_a_cell_that_tells_its_mix_values_nodes() -> None:
    work = jobs([(60 * at, 3_000, 1) for at in range(40)])
    assert drive(work, on_chips(16), Policy()).efforts == (0, 0)
    assert drive(work, on_chips(16), Policy(), tells_mix=True).efforts[1] > 0
