"""Tiresias and Optimus as the Pollux authors ran them, to show that our simulator is theirs.

From petuum/adaptdl, branch osdi21-artifact, `tiresias.py` and `optimus.py`. Tiresias: Gu et al., NSDI'19 (two
queues by attained chip-time, fixed sizes). Optimus: Peng et al., EuroSys'18 (marginal gain in remaining time; here
it is told the true remaining work and the true speed).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from scheduler_core.simulation.pollux.application import ONE_CHIP_ONLY
from scheduler_core.simulation.pollux.cluster import CHIPS_A_NODE, NODES, Allocation, Allocations
from scheduler_core.simulation.pollux.goodput import NOTHING
from scheduler_core.simulation.pollux.job import TrainingJob

DEMOTED_AFTER = 16 * 3600
"""Chip-seconds after which Tiresias moves a job to the second queue."""


class Tiresias:
    """Two queues by attained service, fixed chips and batch."""

    fixed_batch = True
    efforts = None

    def __init__(self) -> None:
        self._queues: tuple[list[str], list[str]] = ([], [])
        self._run_since: dict[str, int] = {}
        self._ran: dict[str, int] = defaultdict(int)

    def allocate(self, now: int, jobs: Sequence[TrainingJob], held: Mapping[str, Allocation]) -> Allocations:
        wanted = {job.submission.name: job.submission.replicas for job in jobs}
        self._requeue(now, wanted)
        left = NODES * CHIPS_A_NODE
        runs: dict[str, int] = {}
        for name in self._queues[0] + self._queues[1]:
            if wanted[name] <= left:
                left -= wanted[name]
                runs[name] = wanted[name]
        self._run_since = dict.fromkeys(runs, now)
        return place(runs, list(runs), {name: chips for name, chips in held.items() if name in runs})

    def _requeue(self, now: int, wanted: Mapping[str, int]) -> None:
        """Forget who has ended, queue who is new, demote who has had enough."""
        first, second = ([name for name in queue if name in wanted] for queue in self._queues)
        first += [name for name in wanted if name not in first and name not in second]
        for name, since in self._run_since.items():
            self._ran[name] += now - since
        spent = [name for name in wanted if name in first and self._ran[name] * wanted[name] >= DEMOTED_AFTER]
        self._queues = ([name for name in first if name not in spent], second + spent)


class Optimus:
    """The next chip goes where it shortens the remaining time most; the batch is fixed."""

    fixed_batch = True
    efforts = None

    def allocate(self, now: int, jobs: Sequence[TrainingJob], held: Mapping[str, Allocation]) -> Allocations:
        left = NODES * CHIPS_A_NODE
        sizes: dict[str, int] = {}
        for job in jobs:
            sizes[job.submission.name] = min(1, left)
            left -= sizes[job.submission.name]
        gains = {job.submission.name: _gain(job, sizes[job.submission.name], left) for job in jobs}
        by_name = {job.submission.name: job for job in jobs}
        while left > 0 and (best := max(gains, key=lambda name: gains[name])) and gains[best] > 0:
            sizes[best] += 1
            gains[best] = _gain(by_name[best], sizes[best], left)
            left -= 1
        kept = {name: chips for name, chips in held.items() if len(chips) == sizes[name]}
        return place(sizes, sorted(sizes, key=lambda name: sizes[name]), kept)


def _gain(job: TrainingJob, size: int, left: int) -> float:
    """Seconds that one more chip takes off the job's remaining time."""
    if size == 0 or left < 1 or size + 1 > _most(job):
        return 0.0
    last = job.app.max_epochs - 1
    remaining = 1.0
    if last > job.epoch:
        batch = job.submission.batch
        remaining = job.app.iterations_at(batch, last) - job.app.iterations_at(batch, job.epoch)
    return (_step_seconds(job, size) - _step_seconds(job, size + 1)) * remaining


def _most(job: TrainingJob) -> int:
    if job.app.name in ONE_CHIP_ONLY:
        return 1
    return job.submission.batch // job.app.min_local_batch


def _step_seconds(job: TrainingJob, size: int) -> float:
    full, rest = divmod(size, CHIPS_A_NODE)
    each = math.ceil(job.submission.batch / size - NOTHING)
    accumulations = math.ceil(each / job.app.max_local_batch - NOTHING) - 1
    if size == 1:
        accumulations = max(1, accumulations)
    local = math.ceil(each / (accumulations + 1) - NOTHING)
    local = min(local, job.app.max_batch // (size * (accumulations + 1)))
    placement = (CHIPS_A_NODE,) * full + ((rest,) if rest else ())
    step, sync = job.app.step_time(placement, local)
    return step + (step - sync) * accumulations


def place(sizes: Mapping[str, int], order: Sequence[str], kept: Mapping[str, Allocation]) -> Allocations:
    """Chips for everybody: those who keep theirs do, the others in this order go to the emptiest nodes."""
    free = dict.fromkeys(range(NODES), CHIPS_A_NODE)
    for node in (node for chips in kept.values() for node in chips):
        free[node] -= 1
    given = {name: chips for name, chips in kept.items() if chips}
    for name in order:
        if name in given or not sizes[name]:
            continue
        chips: list[int] = []
        while len(chips) < sizes[name]:
            node = max(free, key=lambda node: free[node])
            taken = min(free[node], sizes[name] - len(chips))
            chips += [node] * taken
            free[node] -= taken
        given[name] = tuple(chips)
    return given
