"""One run: a workload on a cell under the engine, round by round over virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from scheduler_core import Policy
from scheduler_core.compiled import LONG
from scheduler_core.model import Running, Snapshot
from scheduler_core.simulation.driven.cell import Cell, Hooks
from scheduler_core.simulation.driven.keeping import Keeping
from scheduler_core.simulation.driven.learned import LearnedMix, LearnedTimes
from scheduler_core.simulation.driven.rows import Quotas, empty_cell, gang_of, job_row, milli_of
from scheduler_core.simulation.replay.clock import NodeLoss
from scheduler_core.simulation.replay.running import RESTART_MS, Outcome, fits_empty
from scheduler_core.simulation.replay.state import CHIPS, Cluster, fresh_state
from scheduler_core.simulation.workload import Workload

MANY_JOBS = 10_000
"""In a run of so many jobs machine code pays in any cell: to make or load it costs less than it spares."""
ROUND_MS = 60_000
"""The engine decides at most once a minute, on all that has come and ended until then."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine as a policy of the replay tables."""

    name: str
    policy: Policy
    keep_in: Path | None = None
    """A folder for what a cut run goes on from."""
    tells_mix: bool = False
    """Whether it learns what is asked for, as it does in the platform (P3)."""


@dataclass(frozen=True, slots=True)
class Run:
    """A job held its chips from `began` to `ended` (ms) and did useful work from `useful` on."""

    job: int
    began: int
    useful: int
    ended: int


@dataclass(frozen=True, slots=True)
class Driven:
    """What became of a run under the engine, and every run in it."""

    outcome: Outcome
    runs: list[Run]
    efforts: tuple[int, int]
    """The least and the most effort of its decisions (S4)."""


def drive(
    work: Workload,
    cluster: Cluster,
    policy: Policy,
    *,
    sliced: bool = False,
    until: int | None = None,
    round_ms: int = ROUND_MS,
    quiet_rounds: int = 1,
    restart_ms: int = RESTART_MS,
    losses: tuple[NodeLoss, ...] = (),
    quotas: Quotas = MappingProxyType({}),
    tells_mix: bool = False,
    keeping: Keeping | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Driven:
    """Play the workload to its last end, or to `until` ms; nodes are lost and back as `losses` say. Chips are
    free from the instant a run ends, and given away at the next round. The engine decides in every round in which
    something has happened or time alone may have changed the answer (S6); after a decision that changed nothing, for
    time alone only every `quiet_rounds`. Raises `RuntimeError` where the engine breaks a law or leaves jobs waiting for
    ever. `tells_mix`: the engine learns what is asked for, as it does in the platform (P3). `keeping`: where the run is
    kept from time to time, and goes on from if it was cut; the same is decided then.
    """
    kept = None if keeping is None else keeping.found()
    if kept is None:
        empty, mix = empty_cell(work, cluster, quotas), LearnedMix() if tells_mix else None
        begun = _Driving(work, cluster, policy, empty, losses, sliced=sliced, restart_ms=restart_ms, mix=mix)
        kept = begun, 0, 0
    driving, now, rounds = kept
    while (then := driving.next_event()) is not None:
        if keeping is not None and rounds and rounds % keeping.every == 0:
            keeping.keep((driving, now, rounds))
        rounds += 1
        due = -(-then // round_ms) * round_ms
        if (wakes_at := _wakes_at(driving.cell, now, round_ms, quiet_rounds)) is not None:
            due = min(due, wakes_at)
        if until is not None and due > until:
            break
        now = due
        progress(driving.go_to(now))
    if until is None and driving.cell.waiting:
        raise RuntimeError(f"the engine leaves {len(driving.cell.waiting)} jobs waiting for ever")
    if keeping is not None:
        keeping.end()
    return driving.result(until)


def _wakes_at(cell: Cell, now: int, round_ms: int, quiet_rounds: int) -> int | None:
    """The next round in which to decide although nothing happens; None where there is no such."""
    if cell.due is None:
        return None
    soonest = now + round_ms * (quiet_rounds if cell.quiet else 1)
    return max(soonest, -(-cell.due // round_ms) * round_ms)


class _Driving:
    """The virtual clock; only this class knows how long jobs run."""

    def __init__(
        self,
        work: Workload,
        cluster: Cluster,
        policy: Policy,
        empty: Snapshot,
        losses: tuple[NodeLoss, ...],
        *,
        sliced: bool,
        restart_ms: int,
        mix: LearnedMix | None,
    ) -> None:
        self.work, self.chips, self.restart_ms = work, cluster.chips, restart_ms
        self._chips_of = cluster.capacity[:, CHIPS].tolist()
        self._chips_up = self.chips
        machine_from = 1 if len(work) >= MANY_JOBS else LONG
        self.cell = Cell(empty, policy, Hooks(self._began, self._taken), machine_from)
        self._gangs = [gang_of(work, index, sliced=sliced) for index in range(len(work))]
        self._fits = fits_empty(fresh_state(cluster, work))
        self._learned, self._mix = LearnedTimes(), mix
        self._left = work.runtime.tolist()
        self._finished, self._first = np.full(len(work), -1), np.full(len(work), -1)
        self._runs_of = np.zeros(len(work), np.int64)
        self._ends: list[tuple[int, int]] = []
        self._changes = sorted(
            [(loss.at, loss.node, False) for loss in losses]
            + [(loss.until, loss.node, True) for loss in losses]
        )
        self._runs: list[Run] = []
        self._came = self._evicted = self._moved = self._lost = self._held = self._stranded = 0
        self._at = self._done = self._interrupted = 0

    def next_event(self) -> int | None:
        """When the next job comes, the next run ends or a node changes; None where nothing is left to happen."""
        while self._ends and self._ends[0][1] not in self.cell.running:
            heapq.heappop(self._ends)
        coming = [int(self.work.submit[self._came])] if self._came < len(self.work) else []
        events = [*coming, *(end for end, _ in self._ends[:1])]
        if events or self.cell.waiting:
            events += [at for at, *_ in self._changes[:1]]
        return min(events, default=None)

    def go_to(self, now: int) -> int:
        """Let everything happen until now, and let the engine decide; how many jobs are done."""
        while self._changes and self._changes[0][0] <= now:
            at, node, up = self._changes.pop(0)
            self._end_until(at)
            self._change(node, at, up=up)
        self._end_until(now)
        while self._came < len(self.work) and self.work.submit[self._came] <= now:
            index = self._came
            self._came += 1
            if self._mix is not None:
                self._mix.note(self._gangs[index])
            if self._fits[index]:
                prediction = self._learned.predict(self._groups(index))
                self.cell.come(job_row(self.work, index, self._gangs[index], prediction, self.restart_ms))
        if self._mix is not None:
            self.cell.see(self._mix.news(now))
        self.cell.decide(now)
        return self._done

    def result(self, until: int | None) -> Driven:
        """The run as it stands; what still runs is a run until `until`."""
        if until is not None:
            for attempt in self.cell.running.values():
                self._note_run(attempt, until)
        outcome = Outcome(
            "flexai", self.work, self.chips, self._finished, self._first, self._runs_of,
            allocated=self._held // 1000, stranded=self._stranded // 1000, lost=self._lost // 1000,
            evictions=self._evicted, moves=self._moved, interrupted=self._interrupted, rejected=0,
            decisions=self.cell.decisions,
        )  # fmt: skip
        return Driven(outcome, self._runs, self.cell.efforts)

    def _groups(self, index: int) -> tuple[tuple[int, ...], ...]:
        """The narrowest first: team and size, size, all."""
        size = int(self.work.milli[index] * self.work.replicas[index])
        return (int(self.work.team[index]), size), (size,), ()

    def _began(self, attempt: Running) -> None:
        index = attempt.job - 1
        if self._first[index] < 0:
            self._first[index] = attempt.started
        overhead = self._overhead(index)
        self._runs_of[index] += 1
        heapq.heappush(self._ends, (attempt.started + overhead + self._left[index], attempt.id))

    def _overhead(self, index: int) -> int:
        return self.restart_ms if self._runs_of[index] else 0

    def _taken(self, attempt: Running, moves: bool) -> None:
        """What the job did since it began is kept; what it spent on starting again is lost."""
        run = self._note_run(attempt, self._at)
        self._left[run.job] -= run.ended - run.useful
        self._evicted += 1
        self._moved += moves

    def _end_until(self, now: int) -> None:
        """Every run that ends until now has ended."""
        while self._ends and self._ends[0][0] <= now:
            end, attempt = heapq.heappop(self._ends)
            if attempt in self.cell.running:
                self._pass_time(end)
                self._end(self.cell.running[attempt], end)
        self._pass_time(now)

    def _change(self, node: int, at: int, *, up: bool) -> None:
        """The node is back, or lost: what ran on it waits again, keeps its progress and pays a restart."""
        self._chips_up += self._chips_of[node] * (1 if up else -1)
        if up:
            self.cell.restore(node + 1)
            return
        for attempt in self.cell.lose(node + 1):
            run = self._note_run(attempt, at)
            self._left[run.job] -= run.ended - run.useful
            self._interrupted += 1
            self.cell.come_back(attempt, at, taken=False)

    def _end(self, attempt: Running, end: int) -> None:
        index = self._note_run(attempt, end).job
        self._finished[index] = end
        self._done += 1
        self._learned.note_end(self._groups(index), int(self.work.runtime[index]))
        self.cell.end(attempt)

    def _note_run(self, attempt: Running, end: int) -> Run:
        index = attempt.job - 1
        overhead = self.restart_ms if self._runs_of[index] > 1 else 0
        useful = min(attempt.started + overhead, end)
        self._lost += milli_of(attempt.placements) * (useful - attempt.started)
        run = Run(index, attempt.started, useful, end)
        self._runs.append(run)
        return run

    def _pass_time(self, now: int) -> None:
        passed, self._at = now - self._at, now
        self._held += self.cell.milli_held * passed
        if self.cell.waiting:
            self._stranded += (1000 * self._chips_up - self.cell.milli_held) * passed
