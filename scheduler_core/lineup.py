"""What a stretch reads of the classes in line, kept from cycle to cycle (S1).

A class is a row that says whose it is, what it asks for and what that costs at least: of all that only its next job
changes from cycle to cycle, and whoever reads the rows says that. Rows are made when a class is first seen. What is
written in them holds while chip types, their sizes and the pools' steps stay the same; else all are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from scheduler_core import stretch as s
from scheduler_core.columns import Ints
from scheduler_core.fairness import least_charge
from scheduler_core.filters import together
from scheduler_core.ledger import Ledger
from scheduler_core.model import Id
from scheduler_core.ordering import Cohort, JobClass
from scheduler_core.placement import Placer, is_single
from scheduler_core.ranking import Ranking
from scheduler_core.request import types_to_try, wants_slice
from scheduler_core.shape import Tenant, tenant

A_CPU, A_MEMORY, A_CHIPS, A_SLICED, A_RUN_TIME, AMOUNTS = range(6)
"""What the starts of a simple class have in common: of the host; whole chips, and whether instead a part of one; how
long they run, or `stretch.ENDLESS`."""


class Lineup:
    """Rows of classes, and the numbers by which they name teams, chip types and needs."""

    def __init__(self, ledger: Ledger, placer: Placer) -> None:
        self._ledger, self._placer = ledger, placer
        self._terms: Any = None
        self._begin(())

    def _begin(self, names: Iterable[str]) -> None:
        self.types: dict[str, int] = {name: at for at, name in enumerate(names)}
        """A number for each chip type: those of the cell in their order, then others that somebody asks for."""
        self.team_at: dict[Id, int] = {}
        """A number for each team in line and those above it."""
        self.classes = np.zeros((0, s.CLASS_FIELDS), np.int64)
        """See `stretch.CLASS_FIELDS`; the next job is left open."""
        self.owes = np.zeros((0, len(self.types)), np.int64)
        """What one gang of each class would be charged at least, on each chip type."""
        self.amounts = np.zeros((0, AMOUNTS), np.int64)
        """See `AMOUNTS`; of classes that are not simple 0."""
        self.tenants: list[Tenant] = []
        """As whom each class holds chips."""
        self.tries = np.zeros((0, s.TRY_FIELDS), np.int64)
        self.row_of: dict[JobClass, int] = {}
        """Where each class stands in these tables."""
        self._needs: list[Ranking] = []
        self._need_of: dict[int, int] = {}
        self.asked, self.pools = together([])
        """What the needs ask for, and which pools they allow."""

    @property
    def needs(self) -> int:
        """How many needs the tries name."""
        return len(self._needs)

    def rows_of(self, cohorts: Sequence[Cohort]) -> list[int]:
        """The row of each class."""
        terms = self._ledger.sizes(), self._placer.forgotten
        if terms != self._terms or len(self.row_of) > 64 + 2 * len(cohorts):
            self._terms = terms
            self._begin(self._names(cohorts))
        rows = [self.row_of.get(cohort.kind, -1) for cohort in cohorts]
        if -1 not in rows:
            return rows
        self._add([cohort.kind for cohort, row in zip(cohorts, rows, strict=True) if row < 0], cohorts)
        return [self.row_of[cohort.kind] for cohort in cohorts]

    def team(self, team: Id) -> int:
        """The team's number."""
        return self.team_at.setdefault(team, len(self.team_at))

    def _names(self, cohorts: Sequence[Cohort]) -> dict[str, None]:
        names = dict.fromkeys(self._ledger.chip_types())
        for cohort in cohorts:
            names.update(dict.fromkeys(cohort.kind.gang.request.chip_types))
        return names

    def _add(self, kinds: Sequence[JobClass], cohorts: Sequence[Cohort]) -> None:
        """These classes have rows too."""
        if any(name not in self.types for kind in kinds for name in kind.gang.request.chip_types):
            self._begin(self._names(cohorts))
            kinds = [cohort.kind for cohort in cohorts]
        tries: list[tuple[int, int]] = []
        rows = []
        for kind in kinds:
            self.row_of[kind] = len(self.row_of)
            rows.append(self._row(kind, tries))
            self.tenants.append(tenant(kind.organization, kind.gang.request.isolation))
        amounts = np.array(list(map(_amounts_of, kinds)), np.int64)
        self.amounts = np.concatenate((self.amounts, amounts))
        owes = np.array([self._owed_by(kind) for kind in kinds], np.int64).reshape(len(kinds), -1)
        self.classes = np.concatenate((self.classes, np.array(rows, np.int64)))
        self.owes = np.concatenate((self.owes, owes))
        self.tries = _with(self.tries, tries)
        self.asked, self.pools = together([ranking.numbers for ranking in self._needs])

    def _row(self, kind: JobClass, tries: list[tuple[int, int]]) -> tuple[int, ...]:
        """The class in numbers; its tries are added to these, which come behind those that are there."""
        ledger, request, simple = self._ledger, kind.gang.request, is_simple(kind)
        by = tenant(kind.organization, request.isolation)
        first = len(self.tries) + len(tries)
        if simple:
            tries += self._tries_of(kind)
        owed_type, owed = s.NO_TYPE, 0
        if kind.level and (names := types_to_try(request, ledger.chip_types())):
            owed_type = self.types[names[0]]
            owed = least_charge(ledger, request, names[0]) * kind.gang.minimum
        return (
            self.team(kind.team), -kind.priority, kind.level, 0, 0, -1, -1, 0, 0, int(simple), first,
            len(self.tries) + len(tries), by.organization, by.accepts, int(not kind.preemptible), owed_type, owed,
            s.ENDLESS if kind.longest is None else min(kind.longest, s.ENDLESS),
        )  # fmt: skip

    def _owed_by(self, kind: JobClass) -> list[int]:
        ledger, request = self._ledger, kind.gang.request
        if request.chips or not request.chip_memory:
            return [least_charge(ledger, request, "") * kind.gang.minimum] * len(self.types)
        return [least_charge(ledger, request, name) * kind.gang.minimum for name in self.types]

    def _tries_of(self, kind: JobClass) -> list[tuple[int, int]]:
        found = []
        for name, ranking in self._placer.rankings_of(kind):
            if not name or name in self._ledger.chip_types():
                number = self._need_of.get(ranking.number)
                if number is None:
                    number = self._need_of[ranking.number] = len(self._needs)
                    self._needs.append(ranking)
                found.append((number, self.types.get(name, s.NO_TYPE)))
        return found


def _amounts_of(kind: JobClass) -> tuple[int, ...]:
    if not is_simple(kind):
        return (0,) * AMOUNTS
    request = kind.gang.request
    run_time = s.ENDLESS if kind.run_time is None else min(kind.run_time, s.ENDLESS)
    return request.cpu, request.memory, request.chips, int(wants_slice(request)), run_time


def _with(table: Ints, more: Sequence[tuple[int, ...]]) -> Ints:
    return np.concatenate((table, np.array(more, np.int64))) if more else table


def is_simple(kind: JobClass) -> bool:
    """Whether nothing but room and quota decides if a job of this class starts, and where."""
    return (
        is_single(kind.gang)
        and kind.gang.minimum == 1
        and not kind.problem
        and not kind.others
        and kind.set is None
        and kind.user is None
    )
