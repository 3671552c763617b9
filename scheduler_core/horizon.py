"""When what runs now is expected to end (B1), and what is given back then.

Expected ends are beliefs: what is wrong with them costs time, never correctness (B3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Placement, Running
from scheduler_core.ordered import Ordered
from scheduler_core.ordering import longest_run
from scheduler_core.policy import MINUTE, Policy, last_beat, next_beat
from scheduler_core.shape import Tenant, tenant


class Release(NamedTuple):
    """At this instant these placements on one node are given back."""

    at: int
    node: Id
    by: Tenant
    placements: tuple[Placement, ...]


def instant_and_node(release: Release) -> tuple[int, Id]:
    """The order in which things come free."""
    return release.at, release.node


def releases_of(at: int, by: Tenant, placements: Iterable[Placement]) -> list[Release]:
    """What is given back at this instant, node by node."""
    placements = tuple(placements)
    if len(placements) == 1:
        return [Release(at, placements[0].node, by, placements)]
    on: dict[Id, tuple[Placement, ...]] = {}
    for placement in placements:
        on[placement.node] = (*on.get(placement.node, ()), placement)
    return [Release(at, node, by, on[node]) for node in sorted(on)]


def expected_end(attempt: Running, policy: Policy, now: int) -> int | None:
    """When this attempt is expected to end (B1): after now; None where it never does.

    The median of what was learned, once that is past the ninth decile, always within `max_duration`; without
    anything learned `max_duration`, else the policy's `run_time`. Overdue work is expected to need as long
    again as it had been given, doubled until that lies ahead, and at least a minute. Who is leaving has a
    minute from the last beat on (S6).
    """
    if attempt.leaving:
        return last_beat(now) + MINUTE
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
    return min(end, bound) if bound > now else last_beat(now) + MINUTE


End: TypeAlias = tuple[int, Id, Id]
"""An instant, a node, and an attempt that is expected to end there and then."""


class Horizon:
    """The expected ends of everything that runs, kept in order: by instant, then by node."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self._ledger = ledger
        self._policy = policy
        self._now = 0
        self._ends_of: dict[Id, list[End]] = {}
        """Of each attempt, as it is in order."""
        self._moving: set[Id] = set()
        """Attempts whose expected end moves on with time: told to go, or past their bound."""
        for attempt in ledger.running.values():
            self._ends_of[attempt.id] = self._expected(attempt)
        self._ends = Ordered(end for ends in self._ends_of.values() for end in ends)

    def begin(self, now: int) -> None:
        """Every expected end lies after this instant. What is overdue, or told to go, is expected anew."""
        before, self._now = self._now, now
        overdue = list(self._ends) if now < before else self._ends.before((now + 1,))
        for attempt in sorted({attempt for _, _, attempt in overdue} | self._moving):
            self.note(self._ledger.running[attempt])

    def note(self, attempt: Running) -> None:
        """This attempt lives, and is now so."""
        self._moving.discard(attempt.id)
        ends = self._expected(attempt)
        if self._ends_of.get(attempt.id) == ends:
            return
        moves_on = attempt.id in self._moving
        self.forget([attempt.id])
        if moves_on:
            self._moving.add(attempt.id)
        self._ends_of[attempt.id] = ends
        for end in ends:
            self._ends.add(end)

    def forget(self, attempts: Collection[Id]) -> None:
        """These attempts have ended; those that never lived are left alone."""
        for attempt in attempts:
            for end in self._ends_of.pop(attempt, ()):
                self._ends.remove(end)
        self._moving.difference_update(attempts)

    def turns(self, now: int) -> int | None:
        """The next instant at which an expected end is another, with nothing heard of its attempt (S6)."""
        return next_beat(now) if self._moving else next((end[0] for end in self._ends), None)

    def releases(
        self, matters: Callable[[Id], bool], only: Collection[Id] | None = None
    ) -> Iterator[Release]:
        """What running work gives back on the nodes that matter, in order; `only`: on these nodes. What is promised
        to somebody stays held.
        """
        running = self._ledger.running
        promised = {attempt for promise in self._ledger.promises.values() for attempt in promise.attempts}
        for at, node, attempt_id in self._ends if only is None else self._ends_on(only):
            if matters(node) and attempt_id not in promised:
                attempt = running[attempt_id]
                places = attempt.placements
                if len(places) > 1:
                    places = tuple([place for place in places if place.node == node])
                yield Release(at, node, tenant(attempt.organization, attempt.isolation), places)

    def _ends_on(self, nodes: Collection[Id]) -> list[End]:
        here = {attempt.id for node in nodes for attempt in self._ledger.running_on(node)}
        return sorted(end for attempt in here for end in self._ends_of.get(attempt, ()) if end[1] in nodes)

    def _expected(self, attempt: Running) -> list[End]:
        """As far as this instant tells; kept until the first of them is past."""
        if attempt.leaving or _past_bound(attempt, self._now):
            self._moving.add(attempt.id)
        end = expected_end(attempt, self._policy, self._now)
        if end is None:
            return []
        return [(end, node, attempt.id) for node in sorted({place.node for place in attempt.placements})]


def _past_bound(attempt: Running, now: int) -> bool:
    return attempt.max_duration is not None and attempt.started + attempt.max_duration <= now
