"""When a job that is not there yet would start: the engine is asked on a copy of its cell (X4)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from flexai.common import clock
from flexai.jobs.creation import Prepared
from flexai.scheduling.policies import policy_of
from flexai.scheduling.predictions import learned
from flexai.scheduling.rows import JobRow
from flexai.scheduling.snapshot import take_snapshot, too_many_wait
from flexai.tenancy.principals import Principal
from scheduler_core.forecast import forecast
from scheduler_core.model import Snapshot
from scheduler_core.policy import Policy

Starts = tuple[datetime, datetime]
"""When a job is expected to start, in one case of two and in nine of ten."""
_NEW: Final = 2**62
"""The id of a job that is not there yet: it comes after all others."""
_turns = threading.BoundedSemaphore(2)
"""So many copies are asked at once by one process; who comes then is told nothing of starts."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A copy of a cell as it is now."""

    cell: int
    now: datetime
    snapshot: Snapshot
    policy: Policy

    def starts_of(self, principal: Principal, prepared: Prepared) -> Starts | None:
        """When the job would be expected to start, were it submitted now; None where somebody else says when, or it is
        not in sight."""
        if prepared.effective["hold"] or prepared.waits_for or prepared.cell != self.cell:
            return None
        pools = {pool.name: pool.id for pool in self.snapshot.pools}
        job = _row_of(principal, prepared, self.now).as_engine(pools, learned(self.cell))
        copy = replace(self.snapshot, jobs=(*self.snapshot.jobs, job))
        found = next((one for one in forecast(copy, self.policy) if one.job == _NEW), None)
        if found is None:
            return None
        first = prepared.effective["start_after"]
        first = self.now if first is None else max(self.now, datetime.fromisoformat(first))
        return max(clock.from_ms(found.p50), first), max(clock.from_ms(found.p90), first)


@contextmanager
def trial_of(cell: int, now: datetime) -> Iterator[Trial | None]:
    """The cell's, for as long as the block; None where too much waits there, or others are asking."""
    if not _turns.acquire(blocking=False):
        yield None
        return
    try:
        yield None if too_many_wait(cell) else Trial(cell, now, take_snapshot(cell, now), policy_of(cell))
    finally:
        _turns.release()


def _row_of(principal: Principal, prepared: Prepared, now: datetime) -> JobRow:
    """The row that a submit would write, as the feed would read it."""
    effective = prepared.effective
    raw = {
        key: msgspec.Raw(msgspec.json.encode(effective[key]))
        for key in ("resources", "replicas", "alternatives")
    }
    return JobRow(
        id=_NEW, changed=0, name=effective["name"], team=prepared.team.pk, organization=principal.organization.pk,
        user=principal.user.pk, priority=effective["priority"], preemptible=effective["preemptible"],
        submitted=clock.to_ms(now), start_after=None, version=1, set=None, set_cap=None,
        min_runtime=effective["min_runtime_ms"], max_duration=effective["max_duration_ms"],
        node_pools=effective["node_pools"], attained=0, times_taken=0,
        checkpoint=bool(effective["checkpoint_path"]), endless=effective["type"] != "task",
        choose=effective["choose"], speeds=None, restart_cost=0,
        image=effective["image"] or "", **raw,
    )  # fmt: skip
