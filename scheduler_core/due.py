"""When time alone may change the answer (S6).

A decision follows from rows and an instant. The naive way to honour the instant is to decide again every second. Here
each rule that looks at the clock says when it next says something else, and the earliest of these is when to ask again
if nothing is heard before. Two things make that possible: what changes with every millisecond (losses, past use,
elastic sizes, the ends of who is leaving) is taken as of the last beat, and everything else has an instant of its own.

Earlier than needed costs one decision that changes nothing; later would be a fault. So a rule is asked only whether it
may matter to somebody at all, not whether it will.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from scheduler_core.alternatives import Alternatives
from scheduler_core.backfill import Backfill
from scheduler_core.bulk import Sorts, chunks
from scheduler_core.decision import Unit
from scheduler_core.fairness import last_fading
from scheduler_core.ledger import Ledger
from scheduler_core.lending import Lending
from scheduler_core.model import AllocationKind, Id, Job, Running
from scheduler_core.ordering import Waiting, expected_run
from scheduler_core.policy import MINUTE, Policy, next_beat
from scheduler_core.rights import protection
from scheduler_core.service import ServiceLevels, next_level_in
from scheduler_core.takeback import TakeBack

_WHAT_TIME_LOOKS_AT: Final = (
    "preemptible", "attained", "min_runtime", "times_taken", "restart_cost", "max_duration", "prediction", "endless",
)  # fmt: skip
"""Of a job that starts, beside its gang: all that this module, and the rules that it asks, read."""


class Due:
    """The next instant at which a cycle's answer may be another, cycle after cycle."""

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        waiting: Waiting,
        levels: ServiceLevels,
        backfill: Backfill,
        alternatives: Alternatives,
        take_back: TakeBack,
        lending: Lending,
    ) -> None:
        self._ledger, self._policy, self._waiting = ledger, policy, waiting
        self._levels, self._backfill, self._alternatives = levels, backfill, alternatives
        self._take_back, self._lending = take_back, lending
        self._protected = Protected(policy, ledger.running.values())

    def note(self, attempt: Running) -> None:
        """This attempt is live, and is now so."""
        self._protected.note(attempt)

    def forget(self, attempts: Collection[Id]) -> None:
        """They have ended."""
        self._protected.forget(attempts)

    def after(self, now: int, units: Mapping[Id, Unit], *, relieves: bool, over: bool) -> int | None:
        """Before this instant, and with nothing heard but that these units were carried out, a decision would change
        nothing. None where only news can. To be asked while the cycle's reservations still stand.
        """
        count, sorts = 0, Sorts(*_WHAT_TIME_LOOKS_AT)
        starting = list(units)
        if self._take_back.promised:
            starting = [job for job, unit in units.items() if not unit.takings]
        for some in chunks(starting):
            jobs = list(filter(None, map(self._waiting.jobs.get, some)))
            sorts.of(jobs)
            count += len(jobs)
        started: list[Job] = sorts.examples
        somebody_waits = len(self._waiting.jobs) > count
        sources = [*self._elastic(now, started), *self._lending.turns(now)]
        if somebody_waits:
            sources += self._of_who_waits(now, started, relieves=relieves)
        elif self._ledger.restless:
            sources += self._backfill.turns()
        if over or somebody_waits:
            sources += self._rights(now, started)
        return min(sources, default=None)

    def _elastic(self, now: int, started: Iterable[Job]) -> Iterator[int]:
        """E1: worth changes all the time."""
        if self._ledger.elastic or any(job.gang.minimum < job.gang.maximum for job in started):
            yield next_beat(now)

    def _of_who_waits(self, now: int, started: Iterable[Job], *, relieves: bool) -> Iterator[int]:
        """F3, F5: past use fades. B1, B4, B5: ends that pass, ages reached, nodes that open. P5: patience."""
        if self._past_use_matters():
            yield last_fading(now) + MINUTE
        yield from self._alternatives.until
        foresees = self._backfill.foresees
        yield from self._backfill.turns()
        if foresees and relieves:
            yield next_beat(now)
        for run in (expected_run(job, self._policy) for job in started if foresees):
            if run is not None:
                yield now + max(run, 1)

    def _past_use_matters(self) -> bool:
        """Whether it orders anybody: two teams wait, and one of those has some."""
        if not any(team.past_use for team in self._ledger.teams.values()):
            return False
        teams = {cohort.kind.team for cohort in self._waiting.cohorts()}
        return len(teams) > 1 and any(
            row.past_use for team in teams if (row := self._ledger.teams.get(team)) is not None
        )

    def _rights(self, now: int, started: Iterable[Job]) -> Iterator[int]:
        """R1: protection ends. R2, F3: levels are reached. R3: losses compare otherwise. R6: bounds of the cycle."""
        if (until := self._protected.next(now)) is not None:
            yield until
        if (rises := self._levels.turns()) is not None:
            yield rises
        for job in started:
            if job.preemptible:
                yield now + protection(job, self._policy)
                if (rises := next_level_in(job, self._policy)) is not None:
                    yield now + rises
        yield from self._take_back.turns(now)


class Protected:
    """Until when nothing may be taken from each live attempt (R1)."""

    def __init__(self, policy: Policy, running: Iterable[Running]) -> None:
        self._policy = policy
        self._now = 0
        self._until = {row.id: self._end(row) for row in running if _may_ever_be_taken(row)}
        self._next: list[tuple[int, Id]] = []
        """The same as a heap, without what is past; rows that no longer hold are passed over."""
        self._list()

    def note(self, attempt: Running) -> None:
        """This attempt is live, and is now so."""
        if not _may_ever_be_taken(attempt):
            self.forget([attempt.id])
        elif self._until.get(attempt.id) != (end := self._end(attempt)):
            self._until[attempt.id] = end
            heappush(self._next, (end, attempt.id))

    def forget(self, attempts: Iterable[Id]) -> None:
        """They have ended."""
        for attempt in attempts:
            self._until.pop(attempt, None)

    def next(self, now: int) -> int | None:
        """The first end after this instant."""
        if now < self._now or len(self._next) > 64 + 2 * len(self._until):
            self._list()
        self._now = now
        while self._next and (
            self._next[0][0] <= now or self._until.get(self._next[0][1]) != self._next[0][0]
        ):
            heappop(self._next)
        return self._next[0][0] if self._next else None

    def _list(self) -> None:
        self._next = [(end, attempt) for attempt, end in self._until.items()]
        heapify(self._next)

    def _end(self, attempt: Running) -> int:
        return attempt.started + protection(attempt, self._policy)


def _may_ever_be_taken(attempt: Running) -> bool:
    return attempt.preemptible and attempt.kind is AllocationKind.OWNED and not attempt.departing
