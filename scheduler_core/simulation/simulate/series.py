"""A tape over time: what was held, useful, up and waited for, as steps; and their sums over a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler_core.simulation.replay.state import CHIPS
from scheduler_core.simulation.simulate.players import Setting, Tape
from scheduler_core.simulation.simulate.scenario import Scenario
from scheduler_core.simulation.workload import Whole


@dataclass(frozen=True, slots=True)
class Series:
    """Values from one instant (ms) to the next; the last holds for ever. Milli-chips, and jobs that wait."""

    at: Whole
    held: Whole
    """By jobs, whether they do useful work or start again."""
    useful: Whole
    """Asked for and worked on: of a whole chip given for a part, only the part."""
    up: Whole
    """On nodes that are not lost."""
    waiting: Whole
    held_up: Whole
    """Of those who wait, those who have waited longer than a round."""

    def total(self, values: Whole, start: int, end: int) -> int:
        """The integral of the values from start to end."""
        edges = np.clip(np.append(self.at, max(end, int(self.at[-1]))), start, end)
        return int((values * np.diff(edges)).sum())

    def means(self, values: Whole, edges: Whole) -> NDArray[np.float64]:
        """The mean of the values between every two edges (ms), for plots."""
        reach = np.append(self.at, max(int(edges[-1]), int(self.at[-1])))
        sums = np.concatenate([[0.0], np.cumsum(values.astype(np.float64) * np.diff(reach))])
        between = np.interp(edges, reach, sums)
        return np.asarray(np.diff(between) / np.diff(edges), np.float64)


def series_of(tape: Tape, scenario: Scenario, setting: Setting) -> Series:
    """What the tape holds, as steps from instant 0 on."""
    work, runs = scenario.work, tape.runs
    job, began, useful, ended = runs.T
    asked = (work.milli * work.replicas)[job]
    held = tape.held[job]
    since, until = _waits(tape, scenario)
    late = until - since > setting.round_ms
    chips = 1000 * scenario.cluster.capacity[:, CHIPS]
    lost = np.array([(loss.at, loss.until, chips[loss.node]) for loss in setting.losses], np.int64).reshape(
        -1, 3
    )
    columns = {
        "held": [(began, held), (ended, -held)],
        "useful": [(useful, asked), (ended, -asked)],
        "up": [(lost[:, 0], -lost[:, 2]), (lost[:, 1], lost[:, 2])],
        "waiting": [(since, 1), (until, -1)],
        "held_up": [(since[late] + setting.round_ms, 1), (until[late], -1)],
    }
    instants = [times for changes in columns.values() for times, _ in changes]
    at = np.unique(np.concatenate([np.zeros(1, np.int64), *instants]))
    steps = {name: _steps(at, changes) for name, changes in columns.items()}
    steps["up"] = steps["up"] + int(chips.sum())
    return Series(at, **steps)


def _waits(tape: Tape, scenario: Scenario) -> tuple[Whole, Whole]:
    """Every wait of a job: from its submission, or from a run that was not its last, to the next beginning."""
    job, began, _, ended = tape.runs.T
    cut = ended < tape.outcome.finished[job]
    fits = np.flatnonzero(tape.outcome.finished >= 0)
    whose = np.concatenate([fits, job[cut]])
    since = np.concatenate([scenario.work.submit[fits], ended[cut]])
    return since[np.lexsort((since, whose))], began[np.lexsort((began, job))]


def _steps(at: Whole, changes: list[tuple[Whole, Whole | int]]) -> Whole:
    """The sum of all changes until every instant."""
    moved = np.zeros(len(at), np.int64)
    for times, amounts in changes:
        np.add.at(moved, np.searchsorted(at, times), amounts)
    return np.cumsum(moved)
