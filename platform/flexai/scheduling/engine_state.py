"""The engine's state that a loop keeps between cycles (law 7): rebuilt from the rows whenever in doubt.

It is kept per process and cell. Losing it costs one slow cycle, never a job.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flexai.common.database import plan_anew
from flexai.scheduling import machine_code
from flexai.scheduling.feed import Feed
from flexai.scheduling.recordings import Recorder
from flexai.scheduling.verdicts import VerdictKeeper
from scheduler_core.compiled import LONG
from scheduler_core.engine import Scheduler
from scheduler_core.policy import Policy

FRESH_SECONDS = 10
"""A doubted state is read anew no more often than this: where engine and rows disagree for good (over a limit
that only the rows know, say), not every cycle shall be a slow one."""
REBUILD_SECONDS = 600
"""At least so often the state is read anew, so that a fault of the feed cannot live long."""
CONTRADICTED_SECONDS = 30
"""And so often while something is set aside because its rows contradict each other: putting them right is enough."""


FIRST_PLANS = 200
"""When so many rows were read the database plans anew, then when they are twice as many, and so on: by then its tables
may be other than those it planned for. A plan for an empty table made a start three times as expensive."""
LARGE_NODES = 1000
"""Nodes from which on a cell's state is kept out of the way of the collector of cycles."""
GC_THRESHOLDS = (100_000, 20, 50)
"""How rarely it looks at new objects then. A decision makes half a million and no cycle; with the defaults of Python
half the time of a full one went to the collector."""


@dataclass(slots=True)
class EngineState:
    """A cell as this process knows it."""

    feed: Feed
    scheduler: Scheduler
    policy: Policy
    verdicts: VerdictKeeper
    recorder: Recorder
    rows_heard: int = 0
    plans_until: int = FIRST_PLANS
    """Rows heard until the database plans anew."""
    built_at: float = field(default_factory=time.monotonic)
    """Seconds of the monotonic clock."""
    due: int | None = None
    """When time alone may change what is right (S6), in ms since the epoch; None where only news can."""
    lacks_code: bool = False
    """It is decided by plain loops until there is machine code, and told of no mix: plain, a value of a node takes a
    hundred times as long."""

    @property
    def wakes_at(self) -> int | None:
        """When there is something to decide though nothing is heard before, in ms since the epoch."""
        return min((at for at in (self.due, self.feed.wakes_at) if at is not None), default=None)

    def heard(self, rows: int) -> None:
        """So many rows were read; sometimes the database plans anew."""
        self.rows_heard += rows
        if self.rows_heard >= self.plans_until:
            self.plans_until = 2 * self.rows_heard
            plan_anew()

    @property
    def is_fresh(self) -> bool:
        """Too young to be doubted: what does not hold now would not hold after a rebuild either."""
        return time.monotonic() - self.built_at < FRESH_SECONDS

    @property
    def is_old(self) -> bool:
        """To be read anew whatever the feed says."""
        if self.lacks_code and machine_code.is_there():
            return True
        lives = CONTRADICTED_SECONDS if self.feed.contradictions else REBUILD_SECONDS
        return time.monotonic() - self.built_at > lives


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The state, now as the rows are."""

    state: EngineState
    news: bool
    """Whether there is something to decide."""
    rebuilt: str = ""
    """Why the state was built anew; empty when the feed carried it on."""


def refresh(cell_id: int, now: int) -> Refreshed:
    """The engine's state of this cell with everything that is committed in it. `now` in ms since the
    epoch."""
    state = _states.get(cell_id)
    if state is None:
        return _rebuild(cell_id, now, "there was none")
    if state.is_old:
        return _rebuild(cell_id, now, "its time had come")
    changes = state.feed.read(now)
    if changes.rebuild:
        return _rebuild(cell_id, now, changes.rebuild)
    state.scheduler.apply(changes.events)
    state.recorder.heard(changes.events)
    state.heard(len(changes.events))
    is_due = state.due is not None and state.due <= now
    news = changes.news or is_due or state.verdicts.due
    return Refreshed(state, news)


def forget(cell_id: int) -> None:
    """The next `refresh` builds the state anew."""
    _states.pop(cell_id, None)
    settle(cell_id)


_states: dict[int, EngineState] = {}
_unsettled: set[int] = set()
"""Large cells whose state was read anew, and the one before it not collected yet."""


def _rebuild(cell_id: int, now: int, why: str) -> Refreshed:
    forget(cell_id)
    feed = Feed(cell_id)
    with _uncollected():
        snapshot, policy = feed.begin(now), feed.policy
        machine_from = machine_code.machine_from(len(snapshot.nodes))
        if machine_from > LONG:
            snapshot = feed.without_mix(now)
        state = EngineState(
            feed=feed,
            scheduler=Scheduler(snapshot, policy, machine_from),
            policy=policy,
            verdicts=VerdictKeeper.of(cell_id),
            recorder=Recorder(cell_id, policy, snapshot),
            lacks_code=machine_from > LONG,
        )
        if len(snapshot.nodes) >= LARGE_NODES:
            _keep_from_collector(cell_id)
    _states[cell_id] = state
    return Refreshed(state, news=True, rebuilt=why)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing is collected inside the block: all that a large cell's rows become is kept, and looking through it again
    and again for garbage finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _keep_from_collector(cell_id: int) -> None:
    """What lives now, lives until a state is read anew: the collector of cycles looks at it no more, and not once if it
    was off until now. What the state before it left is collected when it has been quiet (`settle`), or else before the
    next: one of them is kept at most.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    _unsettled.add(cell_id)


def settle(cell_id: int) -> None:
    """Nothing is left of a state that was read anew. Takes a third of a second and more for 10,000 chips and as many
    attempts: call it where nobody comes meanwhile. A read without news is no such place, there is one between any two
    jobs of a steady stream."""
    if cell_id not in _unsettled:
        return
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _unsettled.clear()
