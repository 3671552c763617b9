"""How much everybody has had, in levels (ADR 0004): who has had little goes before who has had much.

A job that waits stands on a level that does not change. Work that runs rises as time passes: when it will reach
its next threshold is known, so a cycle looks only at those that have reached one since the last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Id, Job, Running
from scheduler_core.policy import Policy
from scheduler_core.request import wants_chips


def level_of(job: Job | Running, policy: Policy, live: int = 0) -> int:
    """The service level: how many of the policy's thresholds it has attained, with `live` chip-milliseconds of
    its present attempt. Work that is not preemptible stays on level 0.
    """
    if not policy.service_levels or not job.preemptible:
        return 0
    return bisect_right(policy.service_levels, job.attained + live)


def next_level_in(job: Job, policy: Policy) -> int | None:
    """For how long a job that starts now stays on its level at least; None where it stays for good."""
    level = level_of(job, policy)
    request = job.gang.request
    milli = job.gang.maximum * (request.chips * WHOLE_CHIP or WHOLE_CHIP)
    if not job.preemptible or level >= len(policy.service_levels) or not wants_chips(request):
        return None
    return max(1000 * (policy.service_levels[level] - job.attained) // milli, 1)


class ServiceLevels:
    """Keeps `Ledger.levels` true from cycle to cycle, at a cost in proportion to the thresholds reached."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger, self._policy = ledger, policy
        self._now = 0
        self._due: dict[Id, int] = {}
        """When each attempt is looked at next."""
        self._next: list[tuple[int, Id]] = []
        """The same as a heap; rows that no longer hold are passed over."""
        for attempt in ledger.running.values():
            self.note(attempt)

    def note(self, attempt: Running) -> None:
        """This attempt is live, and is now so."""
        if self._policy.service_levels and attempt.preemptible:
            self._rise(attempt)
        else:
            self.forget([attempt.id])

    def forget(self, attempts: Iterable[Id]) -> None:
        """They have ended."""
        due, levels = self._due, self._ledger.levels
        for attempt in attempts:
            due.pop(attempt, None)
            levels.pop(attempt, None)

    def go_to(self, now: int) -> None:
        """`Ledger.levels` says the level that every live attempt has reached by now."""
        if now < self._now or len(self._next) > 64 + 2 * len(self._due):
            self._due = dict.fromkeys(self._due, now)
            self._next = [(now, attempt) for attempt in self._due]
            heapify(self._next)
        self._now = now
        while self._next and self._next[0][0] <= now:
            at, attempt = heappop(self._next)
            if self._due.get(attempt) == at:
                self._rise(self._ledger.running[attempt])

    def turns(self) -> int | None:
        """When the next live attempt reaches its next level, at the latest `go_to`'s state (S6)."""
        while self._next and self._due.get(self._next[0][1]) != self._next[0][0]:
            heappop(self._next)
        return self._next[0][0] if self._next else None

    def _rise(self, attempt: Running) -> None:
        """It stands on its level of now, and is looked at again when it reaches the next."""
        milli = sum(share.milli for place in attempt.placements for share in place.chips)
        level = level_of(attempt, self._policy, milli * max(self._now - attempt.started, 0) // 1000)
        self._ledger.stand(attempt.id, level)
        thresholds = self._policy.service_levels
        if milli and level < len(thresholds):
            missing = 1000 * (thresholds[level] - attempt.attained)
            self._look(attempt.id, max(attempt.started - (-missing // milli), self._now + 1))
        else:
            self._due[attempt.id] = -1

    def _look(self, attempt: Id, at: int) -> None:
        self._due[attempt] = at
        heappush(self._next, (at, attempt))
