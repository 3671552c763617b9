"""The figures, on cases small enough to be worked out by hand. 1 hour = 3,600,000 ms."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.simulate.energy import board_watts, energy_kwh
from scheduler_core.simulation.simulate.faults import draw_losses, horizon
from scheduler_core.simulation.simulate.measures import Judged, alone_in, judge, part_of
from scheduler_core.simulation.simulate.options import (
    BadOption,
    Faults,
    TeamQuota,
    cluster_of_groups,
    node_groups,
)
from scheduler_core.simulation.simulate.players import ABOUT, Setting, play
from scheduler_core.simulation.simulate.scenario import Scenario, on_types, shaped_for, with_quotas
from scheduler_core.simulation.workload import Workload, whole_chip_workload

HOUR = 3_600_000


def a_scenario(rows: list[tuple[int, int, int]], nodes: str = "1x4:A100", milli: int = 0) -> Scenario:
    """Jobs from (submitted h, run time h, chips); `milli`: who asks for one chip uses only so much of it."""
    work = whole_chip_workload(
        "small", [(HOUR * at, HOUR * length, chips, "a") for at, length, chips in rows]
    )
    if milli:
        work = replace(work, milli=np.where(work.chips == 1, milli, work.milli))
    cluster, names = cluster_of_groups(node_groups(nodes))
    return Scenario(on_types(work, names)[0], cluster, ())


def judged(scenario: Scenario, policy: str, *losses: NodeLoss) -> Judged:
    tape = play(scenario, policy, Setting(losses), lambda done: None)
    return judge(tape, scenario, Setting(losses), alone_in(scenario))


def test_parts_of_chips_are_useful_only_as_far_as_they_were_asked_for() -> None:
    """Four halves an hour each on one chip: one after the other, or two at a time. The last comes at 2 h."""
    scenario = a_scenario([(0, 1, 1), (0, 1, 1), (0, 1, 1), (2, 1, 1)], "1x1:T4", milli=500)
    whole, shared = judged(scenario, "fifo").measures, judged(scenario, "flexai").measures
    assert (whole.useful, whole.allocation, whole.makespan) == (50, 100, 4)
    assert (whole.mean_wait, whole.p50_wait, whole.mean_completion) == (1, 1, 2)
    assert shared.useful == pytest.approx(75, abs=1)
    assert shared.allocation == pytest.approx(75, abs=1)
    assert shared.makespan == pytest.approx(3, abs=0.02)
    assert shared.fragmentation < 1


def test_chips_free_while_a_gang_waits_are_told() -> None:
    """Three of four chips are busy for 2 h while four are wanted; a last job comes at 4 h. A minute is no wait."""
    figures = judged(a_scenario([(0, 2, 3), (0, 1, 4), (4, 1, 1)]), "fifo").measures
    assert figures.fragmentation == pytest.approx(100 * (2 - 1 / 60) / 16)
    assert figures.useful == 100 * (6 + 4) / 16


@pytest.mark.parametrize("policy", list(ABOUT))
def test_every_policy_survives_the_loss_of_a_node(policy: str) -> None:
    """Both nodes are lost in turn; every job ends, progress is kept, each further start costs 30 s."""
    scenario = a_scenario([(0, 2, 4), (0, 2, 4), (0, 1, 2), (1, 1, 2), (1, 1, 1)], "2x4:A100")
    losses = (NodeLoss(0, HOUR, 2 * HOUR), NodeLoss(1, 3 * HOUR, 3 * HOUR + 600_000))
    one = judged(scenario, policy, *losses)
    figures = one.measures
    assert (figures.done, figures.refused) == (5, 0)
    assert figures.interruptions >= 1
    job, _, useful, ended = one.tape.runs.T
    worked = np.zeros(5, np.int64)
    np.add.at(worked, job, ended - useful)
    assert worked.tolist() == scenario.work.runtime.tolist()
    assert one.series.up.min() == 4000
    assert (one.series.held <= one.series.up).all()
    assert (one.series.waiting >= 0).all()
    assert one.series.waiting[-1] == one.series.held_up[-1] == 0
    assert (one.series.held_up <= one.series.waiting).all()
    assert figures.lost_chip_hours > 0


def test_what_a_policy_held_is_what_its_clock_counted() -> None:
    """The tape, watched from outside, agrees with the replay's own sums."""
    draw = np.random.default_rng(3)
    columns = (draw.integers(0, 30, 60), draw.integers(1, 9, 60), draw.choice([1, 2, 4, 8], 60))
    rows = [(at, length, chips) for at, length, chips in zip(*(c.tolist() for c in columns), strict=True)]
    scenario = a_scenario(rows, "2x4:A100")
    for policy in ("easy", "fgd", "tiresias"):
        one = judged(scenario, policy)
        outcome = one.tape.outcome
        assert one.series.total(one.series.held, 0, 10**12) == 1000 * outcome.allocated
        assert round(one.measures.lost_chip_hours * HOUR) == outcome.lost
    assert outcome.evictions > 0


def test_a_team_is_held_against_its_own_part_of_the_cluster() -> None:
    """Two equal teams: under strict FIFO one is held up by the other's long jobs."""
    rows = [(HOUR * n, 4 * HOUR, 4, "long") for n in range(12)] + [
        (HOUR * n, HOUR, 4, "short") for n in range(48)
    ]
    cluster, names = cluster_of_groups(node_groups("2x4:A100"))
    scenario = Scenario(on_types(whole_chip_workload("two", rows), names)[0], cluster, ())
    teams = {team.team: team for team in judged(scenario, "fifo").teams}
    assert [team.guarantee for team in teams.values()] == [4, 4]
    assert teams["short"].violated
    assert judged(scenario, "fifo").measures.finish_time_fairness == max(
        team.shared / team.alone for team in teams.values()
    )


def test_a_guarantee_is_kept_and_a_limit_holds() -> None:
    """`hog` fills the cell for a day; `late` comes an hour later for six of the eight chips."""
    rows = [(0, 24 * HOUR, 1, "hog")] * 8 + [(HOUR, HOUR, 6, "late")]
    cluster, names = cluster_of_groups(node_groups("1x8:A100"))
    free = Scenario(on_types(whole_chip_workload("two", rows), names)[0], cluster, ())

    def waits(*quotas: TeamQuota) -> float:
        tape = judged(with_quotas(free, quotas), "flexai").tape
        return float(tape.outcome.first_start[8] - HOUR) / HOUR

    promise = TeamQuota("hog", "A100", 8, None)
    assert waits() <= 0.1
    assert waits(promise) > 1
    assert waits(promise, TeamQuota("hog", "A100", 0, None)) <= 0.1, "the later quota stands"
    assert waits(promise, TeamQuota("hog", "A100", 0, 2)) == 0


def test_a_quota_that_cannot_be_meant_is_refused() -> None:
    scenario = a_scenario([(0, 1, 4)])
    for quota, because in [
        (TeamQuota("b", "A100", 1, None), r"No team is called 'b'\."),
        (TeamQuota("a", "A10", 1, None), r"No chip type is called 'A10'\. Did you mean A100\?"),
        (TeamQuota("a", "A100", 1, 3), "1 jobs are larger than their team's limit"),
    ]:
        with pytest.raises(BadOption, match=because):
            with_quotas(scenario, (quota,))


def test_a_part_of_a_cluster_has_the_same_part_of_every_kind_of_node() -> None:
    cluster, _ = cluster_of_groups(node_groups("4x8:A100,2x4:T4"))
    part = part_of(cluster, 0.375)
    assert sorted(zip(part.capacity[:, 0].tolist(), part.types.tolist(), strict=True)) == [
        (3, 2),
        (4, 1),
        (8, 1),
    ]


def test_energy_is_idle_power_and_work() -> None:
    """Two A100 of 400 W: 60 W each idle for 10 h, and 340 W for 5 chip-hours of work."""
    scenario = a_scenario([(0, 1, 1)], "1x2:A100-80GB")
    assert energy_kwh(scenario, worked=1000 * 5 * HOUR, makespan_ms=10 * HOUR) == pytest.approx(1.2 + 1.7)
    assert [board_watts(name) for name in ("L40S-48GB", "l4", "A10G", "G2")] == [350, 72, 150, 300]


def test_faults_are_the_same_for_the_same_seed_and_never_overlap() -> None:
    scenario = a_scenario([(0, 100, 4), (50, 100, 4)], "4x4:A100")
    faults = Faults(20 * HOUR, 2 * HOUR)
    losses = draw_losses(scenario, faults, 1)
    assert losses == draw_losses(scenario, faults, 1) != draw_losses(scenario, faults, 2)
    assert 4 * horizon(scenario) / (20 * HOUR) * 0.5 < len(losses) < 4 * horizon(scenario) / (20 * HOUR) * 1.5
    for node in range(4):
        mine = [loss for loss in losses if loss.node == node]
        assert all(before.until < after.at for before, after in pairwise(mine))


def test_gangs_are_cut_for_the_nodes_and_types_that_are_not_there_become_any() -> None:
    cluster, _ = cluster_of_groups(node_groups("4x4:A100"))
    work: Workload = shaped_for(whole_chip_workload("gangs", [(0, 1, 16, "a"), (1, 1, 6, "a")]), cluster)
    assert work.replicas.tolist() == [4, 2]
    assert work.chips.tolist() == [4, 3]
    typed = replace(work, types=np.array([1, 2]), type_names=("A100", "T4"))
    moved, homeless = on_types(typed, ("H100", "A100"))
    assert (moved.types.tolist(), homeless) == ([2, 3], 1)
