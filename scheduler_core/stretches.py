"""The line of a large cell, served in stretches (F3, P6): the same order and the same starts as `ordering.Line` and
`placement` give turn by turn, with the simple turns between two others done in one loop (`stretch`).

The loop counts in tables of its own. Before it, they are as the ledger is; after it, the ledger is as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from scheduler_core import stretch as s
from scheduler_core.backfill import Backfill
from scheduler_core.columns import Columns, Ints, Saved
from scheduler_core.decision import Start, Unit
from scheduler_core.fairness import Standing, least_charge
from scheduler_core.filters import together
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, ChipShare, Id, Job, Placement
from scheduler_core.ordering import Cohort, JobClass, Turn, Waiting, place_of
from scheduler_core.placement import Placer, is_single
from scheduler_core.ranking import Ranking
from scheduler_core.request import wants_slice
from scheduler_core.seats import BEHIND, SEAT_FIELDS
from scheduler_core.shape import Tenant, tenant
from scheduler_core.verdicts import bar_to

MOST_AT_ONCE: Final = 1 << 14
"""Starts of one stretch at most: a few megabytes."""
FIRST_LOADED: Final = 4
"""Jobs of a class that are in the tables from the start; in a full cell most classes start none."""
LOADED_MORE: Final = 8
"""So many times as many are there when they have started."""
BOUND: Final = 1 << 31
"""Milli-chips below which two shares are compared exactly as a product of 63 bits: of two million chips."""


class _Facts(NamedTuple):
    """What a class's starts have in common."""

    cpu: int
    memory: int
    chips: int
    sliced: bool
    by: Tenant
    run_time: int | None


class _Room:
    """Tables that a stretch fills."""

    def __init__(self, columns: Columns, classes: int) -> None:
        nodes, chips, *_ = columns.arrays
        self.starts = np.empty((MOST_AT_ONCE, s.START_FIELDS), np.int64)
        self.taken = np.empty(MOST_AT_ONCE * chips.shape[1], np.int64)
        self.left = np.empty(max(classes, 1), np.int64)
        self.rows = np.empty(len(nodes), np.int64)
        self.nodes, self.chips = np.empty_like(nodes), np.empty_like(chips)

    def saved(self, count: int) -> Saved:
        """The first so many rows that a stretch saved."""
        return Saved(self.rows[:count].copy(), self.nodes[:count].copy(), self.chips[:count].copy())


class Stretches:
    """The waiting jobs in the order of one cycle, as `Line` has them; `serve` does simple turns."""

    def __init__(
        self,
        waiting: Waiting,
        standing: Standing,
        ledger: Ledger,
        placer: Placer,
        backfill: Backfill,
        passed_over: Collection[Id],
        apart: Sequence[Id],
    ) -> None:
        """Jobs in `passed_over` are in no line; each of those `apart` is a class of its own."""
        self._waiting, self._ledger, self._placer, self._backfill = waiting, ledger, placer, backfill
        self._passed_over = frozenset(passed_over) | frozenset(apart)
        self._left: list[int] = []
        """Classes that left the line."""
        self._turn = -1
        """The class whose turn it is."""
        self._facts: list[_Facts] = []
        self._cohorts: list[Cohort] = []
        self._loaded: list[tuple[int, int]] = []
        """Of each class, which of its jobs is the next to be loaded, and how many that will be."""
        self._rankings: dict[int, int] = {}
        self._needs: list[Ranking] = []
        self._types = _types_named(waiting.cohorts(), ledger)
        self._list_teams(waiting, standing)
        self._list_classes(waiting.cohorts(), sorted(set(apart) - frozenset(passed_over)))
        columns = ledger.columns
        self._touched = np.zeros(columns.size, np.int64)
        self._head = np.zeros(s.HEAD_FIELDS, np.int64)
        self._seats = np.zeros((1 + BEHIND, SEAT_FIELDS), np.int64)
        self._asked, self._pools = together([ranking.numbers for ranking in self._needs])
        self._full = np.zeros(max(len(self._needs), 1), np.int64)
        self._room = _Room(columns, len(self._classes))
        self._kept = np.zeros((0, s.KEPT_FIELDS), np.int64)
        self._owes = np.zeros((0, 0), np.int64)
        nodes, chips, *_ = columns.arrays
        self._kept_rows = nodes[:0].copy(), chips[:0].copy()
        """The nodes that reservations keep, as they are without them."""
        self._mark = ledger.mark()

    @property
    def exact(self) -> bool:
        """Whether every share is small enough to be compared exactly here."""
        most = sum(self._ledger.capacity.values())
        used = self._sums[:, :, (s.OWN, s.PAST, s.GUESTS)].sum(axis=2)
        return (
            int(used.max(initial=0)) + most < BOUND
            and int(self._sums[:, :, s.ENTITLED].max(initial=0)) < BOUND
        )

    # -- the line, turn by turn ---------------------------------------------------------------------------

    def next(self) -> Turn | None:
        """Whose turn it is; None when the line is empty."""
        team = self._ask(s.next_team, self._teams, self._classes)
        if team < 0:
            return None
        self._turn = int(self._teams[team, s.TOP])
        return Turn(*self._job(self._turn))

    def go_on(self, turn: Turn) -> None:
        """The class stays in line with its next job; its team's share is taken anew."""
        self._note_sums()
        self._classes[self._turn, s.NEXT] += 1
        self._stay(self._turn)

    def leave_out(self, turn: Turn) -> None:
        """The rest of the class has left the line (P6); its team stays in it with its other classes."""
        self._note_sums()
        self._left.append(self._turn)
        team = int(self._classes[self._turn, s.TEAM])
        self._ask(s.leave, self._classes, self._teams, self._sums, team)

    def stand_aside(self, turn: Turn) -> None:
        """The job has left the line, for it holds a reservation; its class stays in line with the next."""
        if turn.cohort.apart:
            self.leave_out(turn)
            return
        place = turn.cohort.places[turn.index]
        self._left.append(self._list_apart(Cohort(turn.kind, [place], [place[-1]], apart=True)))
        self.go_on(turn)

    def readmit(self) -> None:
        """Whoever left the line is in it again: something that was kept from them has become free."""
        self._note_sums()
        left, self._left = self._left, []
        for which in left:
            self._ask(s.enter, self._classes, self._jobs, self._teams, which)
        for team in range(len(self._teams)):
            self._ask(s.take_place, self._classes, self._teams, self._sums, team)

    # -- simple turns -------------------------------------------------------------------------------------

    def serve(self, most: int, *, final: bool = False) -> dict[Id, Unit]:
        """The units of all simple turns until one is not, or finds no place; no more than `most`. `final`: who finds
        no place has nothing else to try than to pass a reservation.
        """
        units: dict[Id, Unit] = {}
        self._note_sums()
        self._head[s.FINAL] = int(final and self._note_reservations())
        while len(units) < most and self._ledger.shelves.serve():
            if self._run(min(most - len(units), MOST_AT_ONCE), units) != s.FULL:
                break
        self._mark = self._ledger.mark()
        return units

    def _run(self, most: int, units: dict[Id, Unit]) -> int:
        """One stretch; the ledger is then as it leaves the tables. Why it ended."""
        columns, head, room = self._ledger.columns, self._head, self._room
        head[: s.STAMP], head[s.MOST] = (columns.changes, 0, 0, 0, 0), most
        head[s.STAMP] += 1
        before = self._sums[:, :, : s.LIMIT].copy()
        while True:
            why = self._ask(
                s.serve_stretch, *columns.arrays, *self._ledger.shelves.arrays, self._asked, self._pools,
                self._seats, self._classes, self._jobs, self._tries, self._full, self._teams, self._sums,
                self._payers, self._kept, self._owes, *self._kept_rows, room.starts, room.taken, room.left, room.rows,
                room.nodes, room.chips, self._touched, head,
            )  # fmt: skip
            if why != s.MORE_JOBS:
                break
            self._stay(int(head[s.CLASS]))
        self._left += room.left[: head[s.LEFT]].tolist()
        if head[s.STARTS]:
            saved = room.saved(int(head[s.SAVED]))
            started, parts = self._units(room.starts[: head[s.STARTS]], units)
            columns.note_stretch(int(head[s.CHANGES]), saved, parts)
            self._ledger.shelves.follow()
            self._ledger.note_stretch(saved, started, self._charged(before))
        return int(why)

    def _units(self, starts: Ints, units: dict[Id, Unit]) -> tuple[list[Job], list[tuple[Id, Tenant]]]:
        """The starts as units: the jobs, and each part of a chip that they hold, with who holds it."""
        columns, facts = self._ledger.columns, self._facts
        ids, chip_ids, memories = columns.ids, columns.chip_ids, columns.chip_memories
        taken = self._room.taken[: self._head[s.TAKEN]].tolist()
        waiting = self._waiting.jobs
        jobs = [waiting[job] for job in self._jobs[starts[:, s.START_JOB], s.JOB_ID].tolist()]
        parts: list[tuple[Id, Tenant]] = []
        ends: list[tuple[int, Tenant, tuple[Placement, ...]]] = []
        for job, (which, _, row, at, milli, memory, begin) in zip(jobs, starts.tolist(), strict=True):
            cpu, host, chips, sliced, by, run_time = facts[which]
            here = chip_ids[row]
            if sliced:
                chip = here[at]
                shares: tuple[ChipShare, ...] = (ChipShare(chip, milli, memory),)
                parts.append((chip, by))
            elif chips == 1:
                at = taken[begin]
                shares = (ChipShare(here[at], WHOLE_CHIP, memories[row][at]),)
                parts.append((here[at], by))
            else:
                sizes = memories[row]
                places = sorted([(here[at], sizes[at]) for at in taken[begin : begin + chips]])
                shares = tuple([ChipShare(chip, WHOLE_CHIP, size) for chip, size in places])
                parts += [(chip, by) for chip, _ in places]
            placements = (Placement(0, ids[row], cpu, host, shares),)
            units[job.id] = Unit(Start(job.id, job.version, placements))
            if run_time is not None:
                ends.append((run_time, by, placements))
        self._backfill.count_starts(ends)
        return jobs, parts

    def _charged(self, before: Any) -> list[tuple[int, tuple[Id, str], int]]:
        """What the stretch charged: of a team and a chip type, which sum is how much now."""
        names = list(self._types)
        now = self._sums[:, :, : s.LIMIT]
        return [
            (which, (int(self._teams[team, s.TEAM_ID]), names[chip_type]), int(now[team, chip_type, which]))
            for team, chip_type, which in np.argwhere(now != before).tolist()
        ]

    def _note_sums(self) -> None:
        """The tables are as the ledger is, after turns that were not served in a stretch."""
        ledger = self._ledger
        for team, chip_type in ledger.charged_since(self._mark):
            at, of_type = self._team_at.get(team), self._types.get(chip_type)
            if at is not None and of_type is not None:
                for which, sums in enumerate(ledger.sums):
                    self._sums[at, of_type, which] = sums.get((team, chip_type), 0)
        self._mark = ledger.mark()

    def _note_reservations(self) -> bool:
        """The tables know the reservations that stand; false where they cannot."""
        standing, now = self._backfill.standing, self._backfill.now
        kept = []
        for stands in standing:
            kind, chip_type = stands.opening.kind, stands.opening.chip_type
            if chip_type not in self._types and (chip_type or self._quotas_of_nothing):
                return False
            owed = least_charge(self._ledger, kind.gang.request, chip_type) * kind.gang.minimum
            team, of_type = self._team_at[kind.team], self._types.get(chip_type, s.NO_TYPE)
            kept.append((team, -kind.priority, kind.level, of_type, owed, stands.at - now))
        self._kept = np.array(kept, np.int64).reshape(len(kept), s.KEPT_FIELDS)
        self._kept_rows = self._without_reservations()
        if len(self._owes) < len(self._classes):
            self._owes = np.array([self._owes_of(cohort.kind) for cohort in self._cohorts], np.int64)
        return True

    def _without_reservations(self) -> tuple[Ints, Ints]:
        """The rows of what reservations keep, as they are without: all room that passing one can give."""
        ledger, standing = self._ledger, self._backfill.standing
        mark = ledger.mark()
        for stands in standing:
            self._backfill.clear(stands)
        places = {part.node for stands in standing for part in stands.held}
        rows = np.array([ledger.columns.rows[node] for node in sorted(places)], np.int64)
        nodes, chips, *_ = ledger.columns.arrays
        without = nodes[rows], chips[rows]
        ledger.rewind(mark)
        return without

    def _owes_of(self, kind: JobClass) -> list[int]:
        """What one gang of the class would be charged at least, on each chip type."""
        request = kind.gang.request
        if request.chips or not request.chip_memory:
            return [least_charge(self._ledger, request, "") * kind.gang.minimum] * len(self._types)
        return [least_charge(self._ledger, request, name) * kind.gang.minimum for name in self._types]

    def _stay(self, which: int) -> None:
        """The class has its next job in line, if there is one."""
        if self._classes[which, s.NEXT] == self._classes[which, s.LOADED]:
            self._load(which)
        self._ask(s.go_on, self._classes, self._jobs, self._teams, self._sums, which)

    def _job(self, which: int) -> tuple[Any, Cohort, int]:
        _, job, index = self._jobs[self._classes[which, s.NEXT]].tolist()
        return self._waiting.jobs[job], self._cohorts[which], index

    def _ask(self, loop: Any, *tables: Any) -> Any:
        columns = self._ledger.columns
        return columns.over(loop)(
            *(columns.readable(table) if isinstance(table, np.ndarray) else table for table in tables)
        )

    # -- tables -------------------------------------------------------------------------------------------

    def _list_teams(self, waiting: Waiting, standing: Standing) -> None:
        ledger = self._ledger
        busy = {cohort.kind.team for cohort in waiting.cohorts()}
        teams = sorted({payer for team in busy for payer in ledger.payers(team)})
        self._team_at = {team: at for at, team in enumerate(teams)}
        self._teams = np.full((len(teams), s.TEAM_FIELDS), s.NOBODY_IN_LINE, np.int64)
        self._teams[:, s.TEAM_ID] = teams
        depth = max([1, *(len(ledger.payers(team)) for team in teams)])
        self._payers = np.full((len(teams), depth), -1, np.int64)
        self._sums = np.zeros((len(teams), len(self._types), s.SUM_FIELDS), np.int64)
        there = len(ledger.chip_types())
        self._quotas_of_nothing = any((team, "") in ledger.quotas for team in teams)
        for at, team in enumerate(teams):
            payers = ledger.payers(team)
            self._payers[at, : len(payers)] = [self._team_at[payer] for payer in payers]
            for name, of_type in self._types.items():
                quota = ledger.quotas.get((team, name))
                limit = s.NO_BOUND if quota is None or quota.limit is None else quota.limit
                guaranteed = s.NO_BOUND if quota is None else quota.guaranteed
                counted = [sums.get((team, name), 0) for sums in ledger.sums]
                places = standing.numbers(team, name) if of_type < there else (0, 0, 0)
                self._sums[at, of_type] = (*counted, limit, guaranteed, *places)

    def _list_classes(self, cohorts: Sequence[Cohort], apart: Sequence[Id]) -> None:
        self._tries_made: list[tuple[int, int]] = []
        self._jobs = np.zeros((max(1024, 2 * FIRST_LOADED * len(cohorts)), s.JOB_FIELDS), np.int64)
        self._filled = 0
        waiting = self._waiting
        alone = [(waiting.kind_of(job), waiting.jobs[job]) for job in apart if job in waiting.jobs]
        listed = [
            *cohorts,
            *(Cohort(kind, [place_of(job, kind)], [job.id], apart=True) for kind, job in alone),
        ]
        rows = [self._row(cohort) for cohort in listed]
        self._classes = np.array(rows, np.int64).reshape(len(rows), s.CLASS_FIELDS)
        self._tries = np.array(self._tries_made or [(0, 0)], np.int64)
        for which in range(len(rows)):
            self._load(which)
            if self._classes[which, s.NEXT] < self._classes[which, s.LOADED]:
                self._ask(s.enter, self._classes, self._jobs, self._teams, which)
        for team in range(len(self._teams)):
            self._ask(s.take_place, self._classes, self._teams, self._sums, team)

    def _list_apart(self, cohort: Cohort) -> int:
        """One class more, which is not in line."""
        which = len(self._classes)
        row = np.array([self._row(cohort)], np.int64)
        self._classes = np.concatenate((self._classes, row))
        self._load(which)
        return which

    def _row(self, cohort: Cohort) -> tuple[int, ...]:
        """What the tables say of a class: see `stretch.CLASS_FIELDS`."""
        kind, ledger = cohort.kind, self._ledger
        request = kind.gang.request
        by = tenant(kind.organization, request.isolation)
        chips = request.chips
        self._cohorts.append(cohort)
        self._facts.append(
            _Facts(request.cpu, request.memory, chips, wants_slice(request), by, kind.run_time)
        )
        self._loaded.append((0, FIRST_LOADED))
        simple = not cohort.apart and is_simple(kind) and bar_to(kind, ledger) is None
        first = len(self._tries_made)
        if simple:
            self._tries_made += self._tries_of(kind)
        owed_type, owed = s.NO_TYPE, 0
        if kind.level and (names := request.chip_types or ledger.chip_types()):
            owed_type = self._types[names[0]]
            owed = least_charge(ledger, request, names[0]) * kind.gang.minimum
        return (
            self._team_at[kind.team], -kind.priority, kind.level, 0, 0, -1, -1, 0, 0, int(simple), first,
            len(self._tries_made), by.organization, by.accepts, int(not kind.preemptible), owed_type, owed,
            s.ENDLESS if kind.longest is None else min(kind.longest, s.ENDLESS),
        )  # fmt: skip

    def _tries_of(self, kind: JobClass) -> list[tuple[int, int]]:
        found = []
        for name, ranking in self._placer.rankings_of(kind):
            if not name or name in self._ledger.chip_types():
                number = self._rankings.get(ranking.number)
                if number is None:
                    number = self._rankings[ranking.number] = len(self._needs)
                    self._needs.append(ranking)
                found.append((number, self._types.get(name, s.NO_TYPE)))
        return found

    def _load(self, which: int) -> None:
        """The class has more jobs in the tables, as far as there are."""
        cohort = self._cohorts[which]
        at, wanted = self._loaded[which]
        rows = [
            (place[2], place[3], index)
            for index, place in enumerate(cohort.places[at : at + wanted], at)
            if cohort.apart or place[3] not in self._passed_over
        ]
        self._loaded[which] = at + wanted, wanted * LOADED_MORE
        if not rows and at + wanted < len(cohort.places):
            self._load(which)
            return
        while self._filled + len(rows) > len(self._jobs):
            self._jobs = np.concatenate((self._jobs, np.zeros_like(self._jobs)))
        if rows:
            self._jobs[self._filled : self._filled + len(rows)] = rows
        self._classes[which, s.NEXT] = self._filled
        self._filled += len(rows)
        self._classes[which, s.LOADED] = self._filled


def _types_named(cohorts: Sequence[Cohort], ledger: Ledger) -> dict[str, int]:
    """A number for each chip type: those of the cell in their order, then others that somebody asks for."""
    names = dict.fromkeys(ledger.chip_types())
    for cohort in cohorts:
        names.update(dict.fromkeys(cohort.kind.gang.request.chip_types))
    return {name: at for at, name in enumerate(names)}


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
