"""The line of a large cell, served in stretches (F3, P6): the same order and the same starts as `ordering.Line` and
`placement` give turn by turn, with the simple turns between two others done in one loop (`stretch`).

The loop counts in tables of its own. Before it, they are as the ledger is; after it, the ledger is as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Final

import numpy as np

from scheduler_core import stretch as s
from scheduler_core.backfill import Backfill
from scheduler_core.bulk import lengths, made
from scheduler_core.columns import CHIP_MEMORY, ID, Columns, Ints, Saved
from scheduler_core.compiled import readable
from scheduler_core.decision import Start, Unit
from scheduler_core.fairness import Standing, budget_spent, least_charge
from scheduler_core.ledger import Ledger
from scheduler_core.lineup import A_CHIPS, A_CPU, A_MEMORY, A_RUN_TIME, A_SLICED, Lineup
from scheduler_core.model import WHOLE_CHIP, ChipShare, Id, Job, Placement
from scheduler_core.ordering import FIRST, Cohort, Turn, Waiting, place_of
from scheduler_core.request import wants_chips
from scheduler_core.seats import BEHIND, SEAT_FIELDS
from scheduler_core.shape import Tenant

MOST_AT_ONCE: Final = 1 << 14
"""Starts of one stretch at most: a few megabytes."""
LOADED_MORE: Final = 4
"""So many times as many jobs of a class are in the tables when the first of them have started."""
BOUND: Final = 1 << 31
"""Milli-chips below which two shares are compared exactly as a product of 63 bits: of two million chips."""

_VERSION = attrgetter("version")


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
        lineup: Lineup,
        backfill: Backfill,
        passed_over: Collection[Id],
        apart: Sequence[Id],
    ) -> None:
        """Jobs in `passed_over` are in no line; each of those `apart` is a class of its own."""
        self._waiting, self._ledger, self._lineup, self._backfill = waiting, ledger, lineup, backfill
        self._passed_over = frozenset(passed_over) | frozenset(apart)
        self._left: list[int] = []
        """Classes that left the line."""
        self._turn = -1
        """The class whose turn it is."""
        self._cohorts = list(waiting.cohorts())
        self._row_of = np.array(lineup.rows_of(self._cohorts), np.int64)
        """Of each class its row in the lineup."""
        self._types = lineup.types
        self._by_machine = ledger.columns.by_machine
        self._list_teams(standing)
        self._list_classes(sorted(set(apart) - frozenset(passed_over)))
        columns = ledger.columns
        self._touched = np.zeros(columns.size, np.int64)
        self._head = np.zeros(s.HEAD_FIELDS, np.int64)
        self._full_as_of = ledger.stamps.now
        """The state of the nodes as of which the needs marked in `_full` have no place."""
        self._seats = np.zeros((1 + BEHIND, SEAT_FIELDS), np.int64)
        self._full = np.zeros(max(lineup.needs, 1), np.int64)
        self._room = _Room(columns, len(self._classes))
        self._kept = np.zeros((0, s.KEPT_FIELDS), np.int64)
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
        columns, lineup, head, room = self._ledger.columns, self._lineup, self._head, self._room
        head[: s.STAMP], head[s.MOST] = (columns.changes, 0, 0, 0, 0), most
        head[s.STAMP] += 1
        if not self._ledger.stamps.only_less_room_since(self._full_as_of):
            head[s.FULL_SINCE] = head[s.STAMP]
        before = self._sums[:, :, : s.LIMIT].copy()
        while True:
            why = self._ask(
                s.serve_stretch, *columns.arrays, *self._ledger.shelves.arrays, lineup.asked, lineup.pools,
                self._seats, self._classes, self._jobs, lineup.tries, self._full, self._teams, self._sums,
                self._payers, self._kept, self._owes, *self._kept_rows, room.starts, room.taken, room.left, room.rows,
                room.nodes, room.chips, self._touched, head,
            )  # fmt: skip
            if why != s.MORE_JOBS:
                break
            self._stay(int(head[s.CLASS]))
        self._left += room.left[: head[s.LEFT]].tolist()
        if head[s.STARTS]:
            saved = room.saved(int(head[s.SAVED]))
            started, chips, tenants = self._units(room.starts[: head[s.STARTS]], units)
            columns.note_stretch(int(head[s.CHANGES]), saved, chips, tenants)
            self._ledger.shelves.follow()
            self._ledger.note_stretch(saved, started, self._charged(before))
        self._full_as_of = self._ledger.stamps.now
        return int(why)

    def _units(self, starts: Ints, units: dict[Id, Unit]) -> tuple[list[Job], list[Id], list[Tenant]]:
        """The starts as units: the jobs, and each chip of which they hold a part, with who holds it."""
        columns = self._ledger.columns
        nodes, chips, *_ = columns.arrays
        rows = self._row_of[starts[:, s.START_CLASS]]
        amounts, row = self._lineup.amounts[rows], starts[:, s.START_ROW]
        ids = self._jobs[starts[:, s.START_JOB], s.JOB_ID].tolist()
        jobs = list(map(self._waiting.jobs.__getitem__, ids))
        counts = np.maximum(amounts[:, A_CHIPS], amounts[:, A_SLICED])
        of = np.repeat(np.arange(len(starts)), counts)
        """Of each share its start."""
        begins = np.cumsum(counts) - counts
        sliced = amounts[of, A_SLICED] == 1
        offset = np.where(sliced, 0, starts[of, s.START_CHIPS] + np.arange(len(of)) - begins[of])
        place = np.where(sliced, starts[of, s.START_AT], self._room.taken[offset])
        chip = columns.ids_of_chips[row[of], place]
        if int(counts.max(initial=0)) > 1:
            order = np.lexsort((chip, of))
            chip, place = chip[order], place[order]
        milli = np.where(sliced, starts[of, s.START_MILLI], WHOLE_CHIP)
        memory = np.where(sliced, starts[of, s.START_MEMORY], chips[row[of], place, CHIP_MEMORY])
        held = chip.tolist()
        shares = tuple(made(ChipShare, len(of), held, milli.tolist(), memory.tolist()))
        parts = [
            shares[begin:end] for begin, end in zip(begins.tolist(), (begins + counts).tolist(), strict=True)
        ]
        on, cpu, host = nodes[row, ID].tolist(), amounts[:, A_CPU].tolist(), amounts[:, A_MEMORY].tolist()
        places = list(zip(made(Placement, len(starts), repeat(0), on, cpu, host, parts), strict=True))
        begun = made(Start, len(starts), ids, map(_VERSION, jobs), places)
        units.update(zip(ids, made(Unit, len(starts), begun, repeat(())), strict=True))
        tenants = list(map(self._lineup.tenants.__getitem__, rows.tolist()))
        self._backfill.count_starts(amounts[:, A_RUN_TIME], nodes[row, ID], tenants, places)
        return jobs, held, list(map(tenants.__getitem__, of.tolist()))

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

    def _stay(self, which: int) -> None:
        """The class has its next job in line, if there is one."""
        if self._classes[which, s.NEXT] == self._classes[which, s.LOADED]:
            self._load(which)
        self._ask(s.go_on, self._classes, self._jobs, self._teams, self._sums, which)

    def _job(self, which: int) -> tuple[Any, Cohort, int]:
        _, job, index = self._jobs[self._classes[which, s.NEXT]].tolist()
        return self._waiting.jobs[job], self._cohorts[which], index

    def _ask(self, loop: Any, *tables: Any) -> Any:
        if self._by_machine:
            return loop.machine(*tables)
        return loop.plain(*map(readable, tables))

    # -- tables -------------------------------------------------------------------------------------------

    def _list_teams(self, standing: Standing) -> None:
        ledger, lineup = self._ledger, self._lineup
        busy = {cohort.kind.team for cohort in self._cohorts}
        for payer in sorted({payer for team in busy for payer in ledger.payers(team)}):
            lineup.team(payer)
        self._team_at = teams = lineup.team_at
        self._teams = np.full((len(teams), s.TEAM_FIELDS), s.NOBODY_IN_LINE, np.int64)
        self._teams[:, s.TEAM_ID] = list(teams)
        depth = max([1, *(len(ledger.payers(team)) for team in busy)])
        self._payers = np.full((len(teams), depth), -1, np.int64)
        self._sums = np.zeros((len(teams), len(self._types), s.SUM_FIELDS), np.int64)
        there = len(ledger.chip_types())
        self._quotas_of_nothing = any((team, "") in ledger.quotas for team in teams)
        for team, at in teams.items():
            if team in busy:
                payers = ledger.payers(team)
                self._payers[at, : len(payers)] = [teams[payer] for payer in payers]
            for name, of_type in self._types.items():
                quota = ledger.quotas.get((team, name))
                limit = s.NO_BOUND if quota is None or quota.limit is None else quota.limit
                guaranteed = s.NO_BOUND if quota is None else quota.guaranteed
                counted = [sums.get((team, name), 0) for sums in ledger.sums]
                places = standing.numbers(team, name) if of_type < there else (0, 0, 0)
                self._sums[at, of_type] = (*counted, limit, guaranteed, *places)

    def _list_classes(self, apart: Sequence[Id]) -> None:
        waiting, lineup = self._waiting, self._lineup
        simple = len(self._cohorts)
        for job in apart:
            if job in waiting.jobs:
                kind = waiting.kind_of(job)
                self._cohorts.append(Cohort(kind, [place_of(waiting.jobs[job], kind)], [job], apart=True))
        rows = [lineup.row_of[cohort.kind] for cohort in self._cohorts[simple:]]
        self._row_of = np.append(self._row_of, np.array(rows, np.int64))
        self._classes = lineup.classes[self._row_of]
        self._owes = lineup.owes[self._row_of]
        self._classes[simple:, s.SIMPLE] = 0
        for team in {cohort.kind.team for cohort in self._cohorts}:
            if budget_spent(self._ledger, team) is not None:
                self._bar(team)
        self._load_first()
        self._ask(s.enter_all, self._classes, self._jobs, self._teams, self._sums)

    def _bar(self, team: Id) -> None:
        """The team starts nothing with chips: whoever reads on says why (F5)."""
        for which, cohort in enumerate(self._cohorts):
            if cohort.kind.team == team and wants_chips(cohort.kind.gang.request):
                self._classes[which, s.SIMPLE] = 0

    def _list_apart(self, cohort: Cohort) -> int:
        """One class more, which is not in line."""
        which, row = len(self._classes), self._lineup.row_of[cohort.kind]
        self._cohorts.append(cohort)
        self._row_of = np.append(self._row_of, row)
        self._loaded.append((0, FIRST))
        self._classes = np.concatenate((self._classes, self._lineup.classes[[row]]))
        self._owes = np.concatenate((self._owes, self._lineup.owes[[row]]))
        self._classes[which, s.SIMPLE] = 0
        self._load(which)
        return which

    def _load_first(self) -> None:
        """Every class has its first jobs in the tables."""
        first = [cohort.first() for cohort in self._cohorts]
        counts = lengths(first) // 2
        rows = np.fromiter(chain.from_iterable(first), np.int64, 2 * int(counts.sum())).reshape(-1, 2)
        of_class = np.repeat(np.arange(len(first)), counts)
        index = np.arange(len(rows)) - (np.cumsum(counts) - counts)[of_class]
        rows = np.column_stack((rows, index))
        if self._passed_over:
            by_itself = np.array([cohort.apart for cohort in self._cohorts], bool)
            stays = by_itself[of_class] | ~np.isin(rows[:, s.JOB_ID], list(self._passed_over))
            rows, of_class = rows[stays], of_class[stays]
        ends = np.cumsum(np.bincount(of_class, minlength=len(first)))
        self._jobs = np.zeros((max(1024, 2 * len(rows)), s.JOB_FIELDS), np.int64)
        self._jobs[: len(rows)] = rows
        self._filled = len(rows)
        self._classes[:, s.NEXT], self._classes[:, s.LOADED] = np.append(0, ends[:-1]), ends
        self._loaded = [(FIRST, FIRST * LOADED_MORE)] * len(self._cohorts)
        for which in np.flatnonzero(self._classes[:, s.NEXT] == self._classes[:, s.LOADED]).tolist():
            self._load(which)

    def _load(self, which: int) -> None:
        """The class has more jobs in the tables, as far as there are."""
        cohort = self._cohorts[which]
        at, wanted = self._loaded[which]
        places = cohort.places[at : at + wanted]
        numbers = np.fromiter(chain.from_iterable(places), np.int64, 4 * len(places)).reshape(-1, 4)
        rows = np.column_stack((numbers[:, 2:], np.arange(at, at + len(places))))
        if self._passed_over and not cohort.apart:
            rows = rows[~np.isin(rows[:, s.JOB_ID], list(self._passed_over))]
        self._loaded[which] = at + wanted, wanted * LOADED_MORE
        if not len(rows) and at + wanted < len(cohort.places):
            self._load(which)
            return
        while self._filled + len(rows) > len(self._jobs):
            self._jobs = np.concatenate((self._jobs, np.zeros_like(self._jobs)))
        if len(rows):
            self._jobs[self._filled : self._filled + len(rows)] = rows
        self._classes[which, s.NEXT] = self._filled
        self._filled += len(rows)
        self._classes[which, s.LOADED] = self._filled
