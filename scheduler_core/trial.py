"""What is tried on a ledger and taken back: every change says how it is undone.

A change of a sum keeps what was there before; a move over columns is undone by its opposite; of a loop over many rows
they are kept as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from scheduler_core.columns import Columns, Saved
from scheduler_core.model import Id, Job, Placement
from scheduler_core.shape import Tenant
from scheduler_core.stamps import Stamps

MOVED, TURNED, STRETCH = "moved", "turned", "stretch"
"""What a trial did to a node: held or gave back; closed or opened. And to many of them in one loop."""

Use = tuple[Id, str]
"""A team and a chip type."""


class Trial:
    """The part of a ledger's sums and rows that a decision changes and gives back."""

    columns: Columns
    stamps: Stamps
    used: dict[Use, int]
    own: dict[Use, int]
    firm: dict[Use, int]
    live_of_job: dict[Id, int]
    live_of_set: dict[Id, int]
    overdrawn: set[Id]
    _undo: list[tuple[Any, Any, Any]]

    def mark(self) -> int:
        """A point of the trial to which `rewind` can return."""
        return len(self._undo)

    @property
    def sums(self) -> tuple[dict[Use, int], dict[Use, int], dict[Use, int]]:
        """What teams are charged: `own`, `used` and `firm`."""
        return self.own, self.used, self.firm

    def charged_since(self, mark: int) -> set[Use]:
        """Of which teams and chip types a sum has changed in the trial since."""
        sums = self.sums
        return {key for what, key, _ in self._undo[mark:] if any(what is each for each in sums)}

    def note_stretch(
        self, saved: Saved, started: Sequence[Job], charged: Iterable[tuple[int, Use, int]]
    ) -> None:
        """A loop has changed the columns: these jobs have started, and of `sums` these are so now. Until rewound."""
        jobs = [job.id for job in started]
        self._undo.append((STRETCH, saved, jobs))
        self.stamps.go_on(makes_room=False)
        self.live_of_job.update(dict.fromkeys(jobs, 1))
        for job in started:
            if job.set is not None:
                self._put(self.live_of_set, job.set, self.live_of_set.get(job.set, 0) + 1)
        for which, use, milli in charged:
            self._put(self.sums[which], use, milli)

    def rewind(self, mark: int = 0) -> None:
        """Everything held since the mark is free again, exactly as it was."""
        undo = self._undo
        while len(undo) > mark:
            what, key, old = undo.pop()
            if what is MOVED:
                self.stamps.go_back()
                placement, by = key
                self._moved(placement, by, -old)
            elif what is TURNED:
                self.stamps.go_back()
                self.columns.close(key, old)
            elif what is STRETCH:
                self.stamps.go_back()
                self.columns.restore(key)
                for job in old:
                    del self.live_of_job[job]
            elif old is None:
                what.pop(key, None)
            else:
                what[key] = old

    def _moved(self, placement: Placement, by: Tenant, sign: int) -> None:
        if self.columns.move(placement, by, sign):
            self.overdrawn.add(placement.node)
        elif self.overdrawn:
            self.overdrawn.discard(placement.node)

    def _add(self, sums: dict[Any, int], key: Any, amount: int) -> None:
        old = sums.get(key)
        self._undo.append((sums, key, old))
        new = amount if old is None else old + amount
        if new:
            sums[key] = new
        else:
            sums.pop(key, None)

    def _count_live(self, job: Id, set_: Id | None, by: int) -> None:
        self._put(self.live_of_job, job, self.live_of_job.get(job, 0) + by)
        if set_ is not None:
            self._put(self.live_of_set, set_, self.live_of_set.get(set_, 0) + by)

    def _put(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((mapping, key, mapping.get(key)))
        if value == 0:
            mapping.pop(key, None)
        else:
            mapping[key] = value
