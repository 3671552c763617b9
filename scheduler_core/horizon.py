"""When what runs now is expected to end (B1), and what is given back then.

Expected ends are beliefs: what is wrong with them costs time, never correctness (B3).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from heapq import merge
from typing import NamedTuple

from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Placement, Running
from scheduler_core.ordering import longest_run
from scheduler_core.policy import MINUTE, Policy
from scheduler_core.shape import Tenant, tenant


class Release(NamedTuple):
    """At this instant these placements are given back."""

    at: int
    by: Tenant
    placements: tuple[Placement, ...]


def expected_end(attempt: Running, policy: Policy, now: int) -> int | None:
    """When this attempt is expected to end (B1): after now; None where it never does.

    The median of what was learned, once that is past the ninth decile, always within `max_duration`; without
    anything learned `max_duration`, else the policy's `run_time`. Overdue work is expected to need as long
    again as it had been given, doubled until that lies ahead, and at least a minute. Who is leaving has a
    minute.
    """
    if attempt.leaving:
        return now + MINUTE
    bound = None if attempt.max_duration is None else attempt.started + attempt.max_duration
    if attempt.endless and bound is None:
        return None
    longest = longest_run(attempt, policy)
    last = policy.run_time if longest is None else longest
    for run in (attempt.prediction.p50, last) if attempt.prediction else (last,):
        end = attempt.started + run
        if end > now:
            return end if bound is None or bound <= now else min(end, bound)
    span = max(last, MINUTE)
    end = attempt.started + (span << ((now - attempt.started) // span).bit_length())
    if bound is None:
        return end
    return min(end, bound) if bound > now else now + MINUTE


class Horizon:
    """The expected ends of everything that runs, kept in order."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy
        self._first: dict[Id, int] = {}
        """For each attempt the instant at which it is first expected to end."""
        self._ends: list[tuple[int, Id]] = []
        for attempt in ledger.running.values():
            if (first := expected_end(attempt, policy, attempt.started)) is not None:
                self._first[attempt.id] = first
        self._ends = sorted((first, attempt_id) for attempt_id, first in self._first.items())

    def note(self, attempt: Running) -> None:
        """This attempt lives, and is now so."""
        first = expected_end(attempt, self._policy, attempt.started)
        if self._first.get(attempt.id) == first:
            return
        self.forget(attempt.id)
        if first is not None:
            self._first[attempt.id] = first
            insort(self._ends, (first, attempt.id))

    def forget(self, attempt_id: Id) -> None:
        """This attempt has ended; one that never lived is left alone."""
        first = self._first.pop(attempt_id, None)
        if first is not None:
            del self._ends[bisect_left(self._ends, (first, attempt_id))]

    def releases(self, now: int, only: Collection[Id] | None = None) -> Iterator[Release]:
        """What running work gives back from now on, in order; `only`: on these nodes. What is promised to
        somebody stays held.
        """
        promised = {attempt for promise in self._ledger.promises.values() for attempt in promise.attempts}
        for end, attempt_id in self._in_order(now, only):
            if attempt_id not in promised:
                attempt = self._ledger.running[attempt_id]
                by = tenant(attempt.organization, attempt.isolation)
                yield Release(end, by, attempt.placements)

    def _in_order(self, now: int, only: Collection[Id] | None) -> Iterable[tuple[int, Id]]:
        if only is not None:
            here = {attempt.id for node in only for attempt in self._ledger.running_on(node)}
            return self._as_of(now, here & self._first.keys())
        overdue = bisect_right(self._ends, now, key=lambda end: end[0])
        late = [attempt_id for _, attempt_id in self._ends[:overdue]]
        return merge(self._as_of(now, late), self._ends[overdue:])

    def _as_of(self, now: int, attempts: Iterable[Id]) -> list[tuple[int, Id]]:
        running, policy = self._ledger.running, self._policy
        ends = [(expected_end(running[attempt_id], policy, now), attempt_id) for attempt_id in attempts]
        return sorted((end, attempt_id) for end, attempt_id in ends if end is not None)
