"""Whether a request can ever fit (F6, S5): at submit, against registered capacity and current limits."""

from __future__ import annotations

from dataclasses import replace

from scheduler_core.ledger import Ledger
from scheduler_core.model import Job, Snapshot
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.reasons import Reason
from scheduler_core.verdicts import reasons_to_wait


def admit(job: Job, snapshot: Snapshot) -> tuple[Reason, ...]:
    """Why this job can never start under registered capacity and current limits; empty when it can (F6).

    What runs, what is drained and what is unhealthy does not count: those are reasons to wait.
    """
    return Admission(snapshot).reasons(job)


class Admission:
    """The same answer for many jobs: prepared once, good for as long as the registered rows stay the same."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._ledger = Ledger(_as_registered(snapshot))
        self._placer = Placer(self._ledger)

    def reasons(self, job: Job) -> tuple[Reason, ...]:
        """Why this job can never start; empty when it can (F6)."""
        kind = JobClass.of(job)
        return reasons_to_wait(kind, self._ledger, self._placer)


def _as_registered(snapshot: Snapshot) -> Snapshot:
    """The same cell with nothing running, every node ready and every chip healthy."""
    return replace(
        snapshot,
        nodes=tuple(replace(node, ready=True) for node in snapshot.nodes),
        chips=tuple(replace(chip, healthy=True) for chip in snapshot.chips),
        jobs=(),
        running=(),
    )
