"""Work that something holds back goes on elsewhere (R8): its chips clock low, or its node makes it slow (T6).

The naive rule ends it and lets it wait for other nodes. It then stands in line behind everybody, with nothing, and may
land where it was. Hence:

- *A place first.* It leaves only when all its replicas have a place on what is free, and on what it holds itself off
  the nodes that hold it back. Until then it goes on as it is: slow is better than not at all.
- *What the line leaves.* Whoever waits has been served, and nodes that are reserved, or close, are left alone (B2, B5).
- *Promised.* Nobody takes its place while it leaves (R6).

Who is to go on elsewhere, and how often, is the caller's to say: nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from scheduler_core.decision import Resize, Resizing
from scheduler_core.fairness import budget_spent
from scheduler_core.invariants_takings import job_of
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id, Placement, Running
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.rights import Rights
from scheduler_core.takeback import hold_resizing


class Relocation:
    """Finds the places, cycle after cycle."""

    def __init__(self, ledger: Ledger, placer: Placer, policy: Policy) -> None:
        self._ledger, self._placer, self._policy = ledger, placer, policy
        self.cut_short = False
        """Whether the bound on moves left somebody unasked in this cycle."""

    def relocate(self, rights: Rights, reserved: Collection[Id]) -> tuple[Resizing, ...]:
        """Units of who goes on elsewhere now, held in the ledger's trial; `reserved` nodes take no part."""
        self.cut_short = False
        found: list[Resizing] = []
        for attempt_id in sorted(self._ledger.restless):
            attempt = self._ledger.running[attempt_id]
            if rights.is_planned(attempt) or budget_spent(self._ledger, attempt.team) is not None:
                continue
            if len(found) >= self._policy.max_moves:
                self.cut_short = True
                break
            placements = self._place(attempt, reserved)
            if placements:
                resize = Resize(attempt.id, attempt.job, placements, rights.loss(attempt))
                found.append(Resizing((resize,)))
                hold_resizing(self._ledger, {}, found[-1])
                rights.taken.add(attempt.id)
        return tuple(found)

    def _place(self, attempt: Running, reserved: Collection[Id]) -> tuple[Placement, ...]:
        """All its replicas on chips of the type that it has; none where there is no such place. Nothing is held."""
        ledger, mark = self._ledger, self._ledger.mark()
        ledger.lift(attempt)
        for node in sorted({*attempt.unwanted, *reserved} & ledger.states.keys()):
            if ledger.states[node].frame.build.unready is None:
                ledger.close(node, "unwanted")
        placements = self._placer.place(self._kind(attempt))
        ledger.rewind(mark)
        return placements

    def _kind(self, attempt: Running) -> JobClass:
        job = job_of(attempt)
        assert job is not None, "only work whose request is known is restless"
        team = self._ledger.teams.get(job.team)
        kind = JobClass.of(job, self._policy, per_user=bool(team and team.user_caps))
        request = replace(job.gang.request, chip_types=self._ledger.types_of(attempt))
        return replace(kind, gang=replace(job.gang, request=request), others=())
