"""Who may be told now, so that nobody is kept waiting by somebody else's receiver. Pure.

The naive form takes messages in their order with so many threads; one receiver that hangs then holds them all. Here
each webhook and each organization has a bound of its own, and webhooks that failed at their last try share a lane: a
receiver that hangs delays others once, by one try.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

AT_ONCE = 12
"""Messages to webhooks that took their last one, at once."""
FAILING_AT_ONCE = 4
"""To those that did not."""
OF_ONE_HOOK = 3
OF_ONE_FAILING_HOOK = 1
OF_ONE_ORGANIZATION = 6
A_MINUTE = 600
"""Tries of one organization within `MINUTE_SECONDS`; what is more waits."""
MINUTE_SECONDS = 60.0


@dataclass
class Turns:
    """What is being told at this moment, by webhook, organization and lane, and how much was within the minute."""

    by_hook: Counter[int] = field(default_factory=Counter)
    by_organization: Counter[int] = field(default_factory=Counter)
    by_lane: Counter[bool] = field(default_factory=Counter)
    """Whether the webhook is failing → how many."""
    began: dict[int, deque[float]] = field(default_factory=dict)

    def room(self, hook: int, organization: int, *, is_failing: bool, now: float) -> int:
        """How many messages of this webhook may begin now."""
        lane = FAILING_AT_ONCE if is_failing else AT_ONCE
        of_hook = OF_ONE_FAILING_HOOK if is_failing else OF_ONE_HOOK
        return max(
            0,
            min(
                lane - self.by_lane[is_failing],
                of_hook - self.by_hook[hook],
                OF_ONE_ORGANIZATION - self.by_organization[organization],
                A_MINUTE - self._recent(organization, now),
            ),
        )

    def begin(self, hook: int, organization: int, *, is_failing: bool, now: float) -> None:
        """One is being told."""
        self.by_hook[hook] += 1
        self.by_organization[organization] += 1
        self.by_lane[is_failing] += 1
        self.began.setdefault(organization, deque()).append(now)

    def end(self, hook: int, organization: int, *, is_failing: bool) -> None:
        """It has been told, or not."""
        for counts, key in ((self.by_hook, hook), (self.by_organization, organization)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
        self.by_lane[is_failing] -= 1

    def _recent(self, organization: int, now: float) -> int:
        began = self.began.get(organization)
        while began and began[0] <= now - MINUTE_SECONDS:
            began.popleft()
        if not began:
            self.began.pop(organization, None)
        return len(began or ())
