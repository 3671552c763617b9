"""The policies by name, and a scenario played under one of them: a tape of all that it ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler_core import Policy as EnginePolicy
from scheduler_core.model import WHOLE_CHIP, Quota
from scheduler_core.simulation.driven import Run, drive
from scheduler_core.simulation.driven.driving import ROUND_MS
from scheduler_core.simulation.driven.rows import Quotas
from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.replay.policies import baselines
from scheduler_core.simulation.replay.running import RESTART_MS, Outcome, replay
from scheduler_core.simulation.simulate.scenario import Scenario
from scheduler_core.simulation.simulate.watched import Watched
from scheduler_core.simulation.workload import Whole

ENGINES = {"flexai": True, "flexai-whole": False}
"""The engine by name, and whether it gives parts of chips."""

ABOUT = {
    "flexai": "the engine of Flexai itself, with its default policy, giving parts of chips",
    "flexai-whole": "the same engine, giving whole chips only",
    "fifo": "static whole chips, strictly first come, first served: what most clusters do",
    "easy": "first come, first served, with EASY backfill by run times learned from ended jobs (Lifka, 1995)",
    "easy-oracle": "the same, told the true run times",
    "best-fit": "whoever fits starts, on the fullest node that takes it",
    "fgd": "whoever fits starts, where it fragments least (Weng et al., ATC'23)",
    "tiresias": "least attained service in the two queues of the paper (Gu et al., NSDI'19); takes back",
    "tiresias-released": "the same with the three queues of the released simulator",
}
"""Every policy that can be named, in a clause."""
QUIET_ROUNDS = 10
"""Where nothing changes the engine decides only every so many rounds: nothing but the passing of time is new to it."""
DEFAULT = "flexai,fifo,easy,best-fit,fgd,tiresias"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for every policy."""

    losses: tuple[NodeLoss, ...] = ()
    round_ms: int = ROUND_MS
    quiet_rounds: int = QUIET_ROUNDS
    restart_ms: int = RESTART_MS


@dataclass(frozen=True, slots=True)
class Tape:
    """What a policy did with a scenario. `runs`: rows of job, beginning, beginning of the useful part, end (ms)."""

    policy: str
    outcome: Outcome
    runs: Whole
    held: Whole
    """Milli-chips that every job holds while it runs."""
    efforts: tuple[int, int] | None
    """Of the engine: the least and the most effort of its decisions (S4)."""


def play(scenario: Scenario, name: str, setting: Setting, done: Callable[[int], None]) -> Tape:
    """The scenario under the policy, to the last end; `done` is told how many jobs are done. Raises
    `RuntimeError` where the policy breaks a law or leaves jobs waiting for ever.
    """
    if name in ENGINES:
        return _play_engine(scenario, name, setting, done)
    policy = Watched(next(policy for policy in baselines() if policy.name == name), done)
    outcome = replay(
        scenario.work, scenario.cluster, policy, restart_ms=setting.restart_ms, losses=setting.losses
    )
    return Tape(name, outcome, _rows(policy.runs), _held(scenario, sliced=False), None)


def _play_engine(scenario: Scenario, name: str, setting: Setting, done: Callable[[int], None]) -> Tape:
    driven = drive(
        scenario.work,
        scenario.cluster,
        EnginePolicy(),
        sliced=ENGINES[name],
        round_ms=setting.round_ms,
        quiet_rounds=setting.quiet_rounds,
        restart_ms=setting.restart_ms,
        losses=setting.losses,
        quotas=_quotas(scenario),
        progress=done,
    )
    held = _held(scenario, sliced=ENGINES[name])
    return Tape(name, driven.outcome, _rows(driven.runs), held, driven.efforts)


def _quotas(scenario: Scenario) -> Quotas:
    """By team, in milli-chips."""
    found: dict[str, tuple[Quota, ...]] = {}
    for quota in scenario.quotas:
        limit = None if quota.limit is None else WHOLE_CHIP * quota.limit
        row = Quota(quota.chip_type, WHOLE_CHIP * quota.guaranteed, limit)
        found[quota.team] = (*found.get(quota.team, ()), row)
    return found


def _held(scenario: Scenario, *, sliced: bool) -> Whole:
    """Who asks for part of a chip gets that part, or a whole chip where chips are not shared."""
    work = scenario.work
    each = np.where((work.chips == 1) & sliced, work.milli, 1000 * work.chips)
    return (each * work.replicas).astype(np.int64)


def _rows(runs: list[Run]) -> Whole:
    return np.array([(run.job, run.began, run.useful, run.ended) for run in runs], np.int64).reshape(-1, 4)
