"""Which of several alternatives a job takes (P5)."""

from __future__ import annotations

from scheduler_core.backfill import Backfill
from scheduler_core.ledger import Ledger
from scheduler_core.model import Choose, Job
from scheduler_core.ordering import JobClass
from scheduler_core.policy import Policy
from scheduler_core.reasons import BetterSoon, Reason
from scheduler_core.search import Opening
from scheduler_core.verdicts import open_choices


class Alternatives:
    """The choice among the gangs of one job."""

    def __init__(self, ledger: Ledger, policy: Policy, backfill: Backfill) -> None:
        self._ledger, self._policy, self._backfill = ledger, policy, backfill
        self.declined: dict[JobClass, Reason] = {}
        """Classes that could start in this cycle and did not, for a better alternative is near."""
        self.until: list[int] = []
        """When the patience of those who declined ends."""

    def begin(self) -> None:
        """A new cycle: nothing has been declined."""
        self.declined.clear()
        self.until.clear()

    def chosen(self, job: Job, kind: JobClass, now: int) -> list[JobClass]:
        """The alternatives that the job may start with now, the one it takes first; none when it declines.

        `ordered`: as named. `earliest_finish`: by run time over the chips' speed. It declines one that could
        start now where another is expected to finish earlier by the policy's margin, for the policy's
        patience after its submission.
        """
        choices = open_choices(kind, self._ledger)
        if kind.choose is Choose.ORDERED or len(choices) < 2:
            return choices
        ready = self._ready(job, choices, now)
        if not ready:
            return choices
        if now - job.submitted < self._policy.patience and (better := self._better(ready[0], choices, now)):
            chip_type = better.chip_type
            self.declined[kind] = BetterSoon(ready[0].chip_type, chip_type, better.at)
            self.until.append(job.submitted + self._policy.patience)
            return []
        self.declined.pop(kind, None)
        return [opening.kind for opening in ready]

    def _ready(self, job: Job, choices: list[JobClass], now: int) -> list[Opening]:
        """Those that could start now, the earliest to finish first."""
        found = []
        for rank, choice in enumerate(choices):
            mark = self._ledger.mark()
            placements = self._backfill.try_in_the_clear(job, choice)
            charged = [name for place in placements for name, _ in self._ledger.charges(place)]
            self._ledger.rewind(mark)
            if placements:
                opening = Opening(now, choice, charged[0] if charged else "", placements)
                found.append((self._backfill.finish(opening), rank, opening))
        return [opening for _, _, opening in sorted(found, key=lambda option: option[:2])]

    def _better(self, ready: Opening, choices: list[JobClass], now: int) -> Opening | None:
        """Another alternative that finishes earlier than this one by the margin."""
        finish = self._backfill.finish(ready) - now
        for choice in choices:
            opening = None if choice is ready.kind else self._backfill.opening(choice)
            if opening is not None and finish * 1000 >= self._policy.margin * (
                self._backfill.finish(opening) - now
            ):
                return opening
        return None
