"""Whether a request can ever fit (F6, S5): at submit, against registered capacity and current limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scheduler_core.ledger import Ledger
from scheduler_core.model import Job, Snapshot
from scheduler_core.ordering import JobClass
from scheduler_core.placement import Placer
from scheduler_core.reasons import Reason
from scheduler_core.verdicts import reasons_to_wait

MAX_KNOWN: Final = 10_000
"""Classes of jobs whose answer an `Admission` remembers: a full array or batch of different tasks."""


def admit(job: Job, snapshot: Snapshot) -> tuple[Reason, ...]:
    """Why this job can never start under registered capacity and current limits; empty when it can (F6).

    What runs, what is drained and what is unhealthy does not count: those are reasons to wait.
    """
    return Admission(snapshot).reasons(job)


class Admission:
    """The same answer for many jobs: prepared once, good for as long as the registered rows stay the same.

    For one thread at a time: it keeps what it has worked out.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._ledger = Ledger(_as_registered(snapshot))
        self._placer = Placer(self._ledger)
        self._known: dict[JobClass, tuple[Reason, ...]] = {}

    def reasons(self, job: Job) -> tuple[Reason, ...]:
        """Why this job can never start; empty when it can (F6)."""
        kind = JobClass.of(job)
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._placer.begin_cycle()
            known = self._known[kind] = reasons_to_wait(kind, self._ledger, self._placer)
        return known


def _as_registered(snapshot: Snapshot) -> Snapshot:
    """The same cell with nothing running, every node ready and every chip healthy."""
    return replace(
        snapshot,
        nodes=tuple(replace(node, ready=True) for node in snapshot.nodes),
        chips=tuple(replace(chip, healthy=True) for chip in snapshot.chips),
        jobs=(),
        running=(),
    )
