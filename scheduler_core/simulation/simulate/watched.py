"""A policy of `replay`, watched: every run that it began, and when it ended or was taken back."""

from __future__ import annotations

from collections.abc import Callable

from scheduler_core.simulation.driven import Run
from scheduler_core.simulation.replay.clock import NOW, Hidden
from scheduler_core.simulation.replay.policies import Policy
from scheduler_core.simulation.replay.state import RUNS, State

INSTANTS_A_LOOK = 64
"""Instants between two words on how far it is."""


class Watched:
    """The same policy, played an instant at a time; afterwards `runs` holds every run, in the order of their ends."""

    def __init__(self, policy: Policy, done: Callable[[int], None]) -> None:
        self.name = policy.name
        self.runs: list[Run] = []
        self._policy, self._tell = policy, done
        self._open: dict[tuple[int, int], tuple[int, int]] = {}

    def begin(self, state: State, hidden: Hidden) -> None:
        self._state, self._hidden = state, hidden
        self._policy.begin(state, hidden)

    def play(self, instants: int) -> bool:
        for instant in range(instants):
            goes_on = self._policy.play(1)
            self._look()
            if instant % INSTANTS_A_LOOK == 0 or not goes_on:
                self._tell(int((self._hidden.job["finished"] >= 0).sum()))
            if not goes_on:
                return False
        return True

    def _look(self) -> None:
        """Note who no longer runs and who began. A run is named by its job and how often that was launched."""
        job, now = self._hidden.job, int(self._hidden.cursor[NOW])
        running = self._state.running[: self._state.counts[RUNS]]
        present = list(zip(running.tolist(), job["launches"][running].tolist(), strict=True))
        for run in sorted(self._open.keys() - set(present)):
            began, overhead = self._open.pop(run)
            self.runs.append(Run(run[0], began, min(began + overhead, now), now))
        for run in present:
            if run not in self._open:
                self._open[run] = int(job["began"][run[0]]), int(job["overhead"][run[0]])
