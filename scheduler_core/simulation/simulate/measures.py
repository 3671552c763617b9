"""What a tape is judged by. Times in hours, shares in percent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler_core.simulation.replay.metrics import HOUR_MS, summary
from scheduler_core.simulation.replay.sharing import Alone, Incentive, incentives, teams_alone
from scheduler_core.simulation.replay.state import CHIPS, CPU, MEMORY, Cluster
from scheduler_core.simulation.replay.study import own_easy
from scheduler_core.simulation.simulate.energy import energy_kwh
from scheduler_core.simulation.simulate.players import Setting, Tape
from scheduler_core.simulation.simulate.scenario import Scenario
from scheduler_core.simulation.simulate.series import Series, series_of

FEWEST_JOBS = 10
"""A team with fewer jobs is in no finish-time fairness."""


@dataclass(frozen=True, slots=True)
class Measures:
    """One policy's figures."""

    policy: str
    done: int
    """Jobs that ended."""
    refused: int
    """Jobs that the empty cluster could not hold: in no figure."""
    useful: float
    """Chip-time asked for and worked on, of all there was until the last submission."""
    allocation: float
    """Chip-time held by jobs, of the same."""
    fragmentation: float
    """Chip-time free while somebody had waited longer than a round, of the same."""
    mean_wait: float
    """From the submission to the first start."""
    p50_wait: float
    p99_wait: float
    mean_completion: float
    """From the submission to the end."""
    p50_completion: float
    p99_completion: float
    makespan: float
    """From the first submission to the last end."""
    jain: float
    """Jain's index over the teams' run time / completion time: 1 is equal."""
    finish_time_fairness: float | None
    """The worst team's mean completion over that in its own part of the cluster under EASY: above 1 it would do
    better alone (after Mahajan et al., NSDI'20). None where no team has jobs enough.
    """
    preemptions: int
    """Runs taken back, moves not counted."""
    moves: int
    interruptions: int
    """Runs ended by the loss of a node."""
    lost_chip_hours: float
    """Chip-time spent on starting again."""
    energy_kwh: float
    effort: str
    """Of the engine's decisions (S4): the least to the most; empty for others."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy with all that is shown of it."""

    measures: Measures
    tape: Tape
    series: Series
    teams: list[Incentive]


def window_of(scenario: Scenario) -> tuple[int, int]:
    """From the first submission to the last (ms): while jobs still come, utilisation says how well the policy packs
    rather than how long the last job was. Where all come at once, to the end of the longest alone.
    """
    work = scenario.work
    start = int(work.submit[0])
    return start, start + (work.span or int(work.runtime.max()))


def judge(tape: Tape, scenario: Scenario, setting: Setting, alone: list[Alone]) -> Judged:
    """The figures of a tape. At least one job must have ended."""
    series = series_of(tape, scenario, setting)
    start, end = window_of(scenario)
    there_was = 1000 * scenario.cluster.chips * (end - start)
    idle = np.where(series.held_up > 0, series.up - series.held, 0)
    outcome, plain = tape.outcome, summary(tape.outcome)
    wait = (outcome.first_start - scenario.work.submit)[outcome.finished >= 0] / HOUR_MS
    job, began, useful, ended = tape.runs.T
    restarting = int((tape.held[job] * (useful - began)).sum())
    asked = (scenario.work.milli * scenario.work.replicas)[job]
    makespan_ms = int(outcome.finished.max() - start)
    teams = incentives(outcome, alone)
    measures = Measures(
        policy=tape.policy,
        done=int((outcome.finished >= 0).sum()),
        refused=int((outcome.finished < 0).sum()),
        useful=100 * series.total(series.useful, start, end) / there_was,
        allocation=100 * series.total(series.held, start, end) / there_was,
        fragmentation=100 * series.total(idle, start, end) / there_was,
        mean_wait=plain.mean_wait,
        p50_wait=float(np.percentile(wait, 50)),
        p99_wait=plain.p99_wait,
        mean_completion=plain.mean_completion,
        p50_completion=plain.p50_completion,
        p99_completion=plain.p99_completion,
        makespan=plain.makespan,
        jain=plain.jain,
        finish_time_fairness=max((team.shared / team.alone for team in teams), default=None),
        preemptions=outcome.evictions - outcome.moves,
        moves=outcome.moves,
        interruptions=outcome.interrupted,
        lost_chip_hours=restarting / 1000 / HOUR_MS,
        energy_kwh=energy_kwh(scenario, worked=int((asked * (ended - began)).sum()), makespan_ms=makespan_ms),
        effort="" if tape.efforts is None else f"{tape.efforts[0]}–{tape.efforts[1]}",
    )
    return Judged(measures, tape, series, teams)


def alone_in(scenario: Scenario) -> list[Alone]:
    """Every team with jobs enough, in its own part of the cluster, by its share of the chip-time, under EASY."""
    cluster = scenario.cluster
    if not scenario.work.chip_time:
        return []
    return teams_alone(
        scenario.work,
        cluster.chips,
        own_easy,
        own_cluster=lambda guarantee: part_of(cluster, guarantee / cluster.chips),
        fewest_jobs=FEWEST_JOBS,
    )


def part_of(cluster: Cluster, share: float) -> Cluster:
    """The same share of every kind of node: whole nodes, and the rest as part of one."""
    kinds, counts = np.unique(np.column_stack([cluster.capacity, cluster.types]), axis=0, return_counts=True)
    rows = []
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        full, rest = divmod(round(share * count * kind[CHIPS]), kind[CHIPS])
        part = [rest, kind[CPU] * rest // kind[CHIPS], kind[MEMORY] * rest // kind[CHIPS], kind[-1]]
        rows += [kind] * full + [part] * (rest > 0)
    table = np.array(rows or [[0, 0, 0, 1]], np.int64)
    return Cluster(table[:, :3].copy(), table[:, 3].copy())
