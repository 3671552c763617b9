"""The prototype of service levels and moves, on cases small enough to be played by hand. Times in seconds; a
restart costs 30, nobody is taken before 300.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from scheduler_core.simulation.__main__ import main
from scheduler_core.simulation.replay.clock import NOW, NodeLoss, hidden_of
from scheduler_core.simulation.replay.levels import Levels, doubling_thresholds
from scheduler_core.simulation.replay.running import RESTART_MS, fits_empty
from scheduler_core.simulation.replay.state import CHIPS, DONE, RUNNING, WAITING, State, fresh_state
from tests.simulation.replay.small import ended, jobs, on_chips, played, seconds


def levels() -> Levels:
    """Thresholds after 60, 120, 240, … chip-seconds."""
    return Levels("levels")


def test_thresholds_double() -> None:
    assert doubling_thresholds(60_000)[:4] == (60_000, 120_000, 240_000, 480_000)


def test_a_newcomer_takes_from_a_higher_level() -> None:
    """At 400 the runner has had 3,200 chip-seconds; it goes on at 450 with 600 s left and 30 s to start."""
    outcome = played(jobs([(0, 1000, 8), (400, 50, 8)]), on_chips(8), levels())
    assert seconds(outcome) == [1080, 450]
    assert (outcome.evictions, outcome.moves) == (1, 0)
    assert outcome.lost == 30_000 * 8


def test_nobody_is_taken_before_ten_restarts_have_passed() -> None:
    """The runner is ripe at 300; the newcomer then takes its place though nothing came or ended."""
    assert ended(jobs([(0, 1000, 8), (100, 50, 8)]), on_chips(8), levels()) == [1080, 350]


def test_nothing_is_taken_from_the_own_level() -> None:
    """With one threshold far above, both are on level 0: the second waits for the first."""
    policy = Levels("levels", thresholds=(10**12,))
    assert ended(jobs([(0, 1000, 8), (400, 50, 8)]), on_chips(8), policy) == [1000, 1050]


def test_the_highest_level_goes_first() -> None:
    """6 chips for 400 s are on level 6, 2 chips for 400 s on level 4. The newcomer of 2 chips would fit on
    either; it takes the six.
    """
    outcome = played(jobs([(0, 1000, 6), (0, 1000, 2), (400, 50, 2)]), on_chips(8), levels())
    assert seconds(outcome) == [1080, 1000, 450]
    assert outcome.evictions == 1


def test_no_more_is_taken_than_is_needed() -> None:
    """Two runners of 4 on one level; a newcomer of 4 takes the one that came last."""
    outcome = played(jobs([(0, 1000, 4), (0, 1000, 4), (500, 100, 4)]), on_chips(8), levels())
    assert seconds(outcome) == [1000, 1130, 600]
    assert outcome.evictions == 1


def test_nothing_is_taken_for_a_gang_that_would_still_not_fit() -> None:
    """The gang of 16 needs both nodes; at 500 one of them holds a job that is not ripe before 690. Only then
    both go, and they come back at 740.
    """
    work = jobs([(0, 1000, 8), (390, 1000, 8), (500, 50, 16)])
    outcome = played(work, on_chips(16), levels())
    assert seconds(outcome) == [1080, 1470, 740]
    assert outcome.evictions == 2


def test_a_small_job_moves_to_free_a_whole_node() -> None:
    """Best fit puts 5 and 3 on one node, 5 and 2 on the other; at 400 the 3 and the second 5 have ended, so
    the 5 and the 2 lie apart. The 2 moves beside the 5 and pays a restart; the 8 waits for nothing.
    """
    work = jobs([(0, 1000, 5), (0, 390, 3), (0, 380, 5), (0, 1000, 2), (400, 100, 8)])
    outcome = played(work, on_chips(16), levels())
    assert seconds(outcome) == [1000, 390, 380, 1030, 500]
    assert (outcome.evictions, outcome.moves) == (1, 1)
    assert outcome.lost == 30_000 * 2


def test_a_move_needs_a_place_for_everybody() -> None:
    """6 and 4 lie on two nodes, 6 chips are free: neither fits beside the other, so the newcomer of 8 takes
    the place of the four, which is the lower in rank on its level, and the six keeps what it has.
    """
    work = jobs([(0, 1000, 6), (0, 1000, 4), (400, 100, 8)])
    outcome = played(work, on_chips(16), levels())
    assert outcome.moves == 0
    assert outcome.evictions == 1
    assert seconds(outcome)[2] == 500


def test_a_move_waits_until_its_job_is_ripe() -> None:
    """At 400 the 5 and the 2 lie on two nodes and nobody is ripe; the 5, started at 120, is at 420, and moves
    beside the 2 with 700 s left and 30 s to start.
    """
    work = jobs([(0, 150, 8), (120, 1000, 5), (120, 270, 3), (150, 1000, 2), (400, 100, 8)])
    policy = Levels("levels", thresholds=(10**12,))
    assert ended(work, on_chips(16), policy) == [150, 1150, 390, 1150, 520]


@pytest.mark.parametrize("seed", range(4))
def test_at_every_event_chips_and_jobs_are_conserved(seed: int) -> None:
    """Nothing is held twice, nobody is lost or doubled, and chip-time adds up to the millisecond: what was
    held is what was asked for and what restarts took.
    """
    draw = np.random.default_rng(seed)
    rows = [
        (int(at), int(length), int(chips))
        for at, length, chips in zip(
            np.sort(draw.integers(0, 6000, 60)),
            draw.integers(1, 2500, 60),
            draw.choice([1, 1, 2, 3, 4, 8, 8, 16], 60),
            strict=True,
        )
    ]
    work, cluster, policy = jobs(rows), on_chips(24), levels()
    losses = (NodeLoss(1, 900_000, 2_000_000), NodeLoss(0, 3_000_000, 3_100_000))
    state = fresh_state(cluster, work)
    hidden = hidden_of(work, fits_empty(state), RESTART_MS, losses, (5, 9))
    policy.begin(state, hidden)
    while policy.play(1):
        _check(state, int(hidden.cursor[NOW]))
    assert set(state.job["status"].tolist()) == {DONE}
    outcome = played(work, cluster, levels(), *losses)
    assert outcome.allocated == work.chip_time + outcome.lost
    assert min(outcome.finished - work.submit - work.runtime) >= 0


def _check(state: State, now: int) -> None:
    waiting, running = state.queue[: state.counts[0]].tolist(), state.running[: state.counts[1]].tolist()
    assert len({*waiting, *running}) == len(waiting) + len(running)
    assert sorted(np.flatnonzero(state.job["status"] == WAITING).tolist()) == waiting
    assert sorted(np.flatnonzero(state.job["status"] == RUNNING).tolist()) == sorted(running)
    held = np.zeros_like(state.free)
    for job in running:
        for node, replicas in state.alloc[job, : state.job["alloc_nodes"][job]].tolist():
            held[node] += replicas * state.need[job]
        assert state.job["started"][job] <= now
    assert (state.free + held == state.capacity).all()
    assert (state.free[:, CHIPS] >= 0).all()


def test_the_engine_stands_in_the_same_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One node, three jobs: the engine's row is beside the prototype's, each under its own name."""
    (tmp_path / "philly").mkdir()
    rows = [f"2017-10-09 07:0{n}:00,600,8,4800,a" for n in range(3)]
    with gzip.open(tmp_path / "philly" / "philly.csv.gz", "wt") as stream:
        stream.write("\n".join(["timestamp,duration,num_gpus,gpu_time,cluster", *rows]) + "\n")
    arguments = ["philly", "--traces", str(tmp_path), "--load", "90", "--policies", "levels,flexai", "--json"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    rows_of_table = json.loads(out.splitlines()[-1])["tables"][0]["rows"]
    assert [row["policy"] for row in rows_of_table] == ["no-queue floor", "levels", "flexai"]
    assert all(row["mean_completion"] >= 600 / 3600 for row in rows_of_table)
    assert "levels is the prototype of a rule" in out
