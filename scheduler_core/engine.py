"""The engine: from what a cell is to what it should do next (S1, S2).

`decide` touches nothing and reads no clock. A `Scheduler` is the same answer kept warm: it holds the cell's
books between cycles and learns what changed from a feed. It never assumes that its units were applied; it is
told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from scheduler_core.alternatives import Alternatives
from scheduler_core.backfill import Backfill
from scheduler_core.compiled import LONG
from scheduler_core.decision import Decision, Excess, Resizing, Start, Taking, Unit, Verdict
from scheduler_core.due import Due
from scheduler_core.effort import effort
from scheduler_core.fairness import FairShares, Sharing, Standing
from scheduler_core.guests import guest_use
from scheduler_core.horizon import Horizon
from scheduler_core.invariants import enforce, excesses
from scheduler_core.ledger import Ledger
from scheduler_core.lending import Lending
from scheduler_core.lending_laws import enforce_lending
from scheduler_core.lineup import Lineup
from scheduler_core.model import AllocationKind, FeedEvent, Id, Job, Remove, Running, Snapshot, Team, Upsert
from scheduler_core.ordering import Cohort, JobClass, Line, Turn, Waiting
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.promises import keep_promises
from scheduler_core.reasons import ChipsPromised, CycleBound, EarlierAttemptLives, Reason, WouldDelay
from scheduler_core.relief import relieve
from scheduler_core.relocation import Relocation
from scheduler_core.request import wants_chips
from scheduler_core.resizing import Elasticity
from scheduler_core.service import ServiceLevels
from scheduler_core.stretches import Stretches
from scheduler_core.takeback import TakeBack
from scheduler_core.verdicts import bar_to, open_choices, reasons_to_wait
from scheduler_core.worth import Worth


def decide(snapshot: Snapshot, policy: Policy) -> Decision:
    """What to start now, and why everybody else waits (S1). The same input, the same answer, everywhere."""
    return Scheduler(snapshot, policy).decide(snapshot.now)


class Scheduler:
    """A cell's decisions, cycle after cycle, at a cost in proportion to what changed (S1)."""

    def __init__(self, snapshot: Snapshot, policy: Policy, machine_from: int = LONG) -> None:
        """`machine_from`: nodes from which on loops run as machine code (`compiled`); that decides nothing else."""
        self._policy = policy
        self._now, self._started = snapshot.now, 0
        self._ledger = Ledger(snapshot, machine_from)
        self._waiting = Waiting(snapshot.jobs, policy, snapshot.teams)
        self._sharing = Sharing(self._ledger)
        self._worth = Worth(self._ledger, policy.seed)
        self._placer = Placer(self._ledger, self._worth)
        self._lineup = Lineup(self._ledger, self._placer)
        self._horizon = Horizon(self._ledger, policy)
        self._backfill = Backfill(self._ledger, policy, self._horizon, self._waiting, self._placer)
        self._alternatives = Alternatives(self._ledger, policy, self._backfill)
        self._take_back = TakeBack(self._ledger, self._placer, policy)
        self._levels = ServiceLevels(self._ledger, policy)
        self._elasticity = Elasticity(self._ledger, self._placer, policy, self._waiting, self._backfill)
        self._relocation = Relocation(self._ledger, self._placer, policy)
        self._lending = Lending(self._ledger, policy)
        self._due = Due(
            self._ledger,
            policy,
            self._waiting,
            self._levels,
            self._backfill,
            self._alternatives,
            self._take_back,
            self._lending,
        )
        self._living = self._waiting.jobs.keys() & self._ledger.live_of_job.keys()
        """Waiting jobs whose earlier attempt still lives."""

    def apply(self, events: Iterable[FeedEvent]) -> None:
        """Know what these events say, as if in their order. An event told twice changes nothing.

        Ends are noted together, when something else is heard of than jobs: these two do not touch each other.
        """
        ended: dict[Id, None] = {}
        for event in events:
            if isinstance(event, Upsert) and isinstance(event.row, Job):
                self._waiting.note(event.row)
                self._note_living(event.row.id)
            elif isinstance(event, Remove) and event.kind is Job:
                self._waiting.forget(event.id)
                self._living.discard(event.id)
            elif isinstance(event, Remove) and event.kind is Running:
                ended[event.id] = None
            else:
                self._note_ends(ended)
                ended = {}
                self._note_other(event)
        self._note_ends(ended)

    def _note_ends(self, attempts: Collection[Id]) -> None:
        """These attempts live no longer, nor for that do the jobs that they were of."""
        ended = self._ledger.note_ends(attempts)
        for keeper in (self._lending, self._horizon, self._levels, self._due):
            keeper.forget(attempts)
        self._note_all_living(live.job for live in ended)

    def _note_other(self, event: FeedEvent) -> None:
        jobs: list[Id] = []
        if isinstance(event, Upsert) and isinstance(event.row, Running):
            before = self._ledger.live(event.row.id)
            jobs = [event.row.job] if before is None else [event.row.job, before.job]
        self._ledger.note(event)
        self._note_for_the_line(event)
        self._note_all_living(jobs)

    def _note_all_living(self, jobs: Iterable[Id]) -> None:
        for job in jobs:
            if job in self._waiting.jobs:
                self._note_living(job)

    def _note_living(self, job: Id) -> None:
        if job in self._ledger.live_of_job:
            self._living.add(job)
        else:
            self._living.discard(job)

    def decide(self, now: int) -> Decision:
        """What to start now, and why everybody else waits (S2, X1).

        Units stack: each is decided on what the ones before it leave. Verdicts speak of what all of them
        leave. Afterwards nothing is held: the next cycle starts from what the feed said.
        """
        self._now = now
        self._worth.begin_cycle(effort(len(self._waiting.jobs), len(self._ledger.states)))
        self._placer.begin_cycle()
        self._levels.go_to(now)
        shares = self._sharing.shares(self._waiting.demand(self._ledger))
        guests = guest_use(self._ledger, self._policy.guest_weight)
        standing = Standing(self._ledger, shares, now, self._policy.half_life, guests)
        living = set(self._living)
        over = excesses(self._ledger)
        self._alternatives.begin()
        self._take_back.begin_cycle(now, shares)
        try:
            kept = keep_promises(self._ledger, self._waiting.jobs)
            relief = relieve(self._ledger, self._take_back.rights)
            units = {start.job: Unit(start) for start in kept.starts}
            self._backfill.begin(now, living | units.keys() | kept.pending.keys())
            pending, settled = dict(kept.pending), living | units.keys() | kept.pending.keys()
            served = self._serve_the_line(units, standing, living | pending.keys())
            resizings = self._share_out_the_rest(units, shares, pending, settled) if served else ()
            verdicts = self._tell_the_others_why(units, living, pending)
            due = self._when_due(units, relief, over)
        finally:
            self._ledger.rewind()
        decision = Decision(
            now,
            tuple(units.values()),
            verdicts,
            over,
            reservations=self._backfill.rows(),
            promises=(*pending, *self._take_back.promised),
            resizings=resizings,
            relief=relief,
            effort=self._worth.effort,
            due=due,
        )
        lawful = enforce(self._ledger, self._waiting.jobs, decision)[0]
        lent = self._lending.lend(lawful, self._waiting.jobs, now)
        return enforce_lending(self._ledger, self._waiting.jobs, lent)[0]

    def _note_for_the_line(self, event: FeedEvent) -> None:
        """Expected ends, and which users are told apart, follow what the ledger was told."""
        if isinstance(event, Upsert):
            if isinstance(event.row, Running):
                self._lending.note(event.row)
                self._due.note(event.row)
                if event.row.kind is AllocationKind.OWNED:
                    self._horizon.note(event.row)
                    self._levels.note(event.row)
            elif isinstance(event.row, Team):
                self._waiting.note_team(event.row.id, caps_users=bool(event.row.user_caps))
        elif event.kind is Team:
            self._waiting.note_team(event.id, caps_users=False)

    def _serve_the_line(self, units: dict[Id, Unit], standing: Standing, passed_over: Set[Id]) -> bool:
        """Take the line in order; whoever fits starts; where one of a class does not, all of it waits (P6).
        False where the cycle's bound on starts left somebody unasked.

        Passed over are waiting jobs whose earlier attempt still lives (law 5), or whose chips are promised (R6).
        Who does not fit takes back what lets it start (R1). The first for whom nothing can be taken reserves,
        and so do the oldest (B1, B4); a job with a reservation stands by itself.
        """
        reserved = [stands.job.id for stands in self._backfill.standing]
        line = self._line(standing, passed_over | units.keys(), reserved)
        went_round = False
        while len(units) < self._policy.max_starts:
            if isinstance(line, Stretches):
                final = self._take_back.is_done and self._backfill.is_full
                units |= line.serve(self._policy.max_starts - len(units), final=final)
                if len(units) >= self._policy.max_starts:
                    break
            if (turn := line.next()) is None:
                if went_round or not self._go_round(units, passed_over):
                    break
                went_round = True
                line.readmit()
                continue
            if turn.job.id in passed_over or turn.job.id in units:
                line.go_on(turn)
                continue
            unit, freed = self._serve(turn)
            if unit is not None:
                units[turn.job.id] = unit
                line.go_on(turn)
            elif self._may_reserve(turn) and self._backfill.reserve(turn.job, turn.kind):
                line.stand_aside(turn)
            else:
                line.leave_out(turn)
            if freed:
                line.readmit()
        return len(units) < self._policy.max_starts

    def _go_round(self, units: dict[Id, Unit], passed_over: Set[Id]) -> bool:
        """Classes behind those whose searches the cycle's bound allowed take back what lets one of each start (R1);
        whether a reservation left what was kept for it.
        """
        if not self._take_back.leaves_out:
            return False
        asked, freed = self._take_back.asked, False
        first_of = (
            (
                next((job for job in cohort.jobs if job not in units and job not in passed_over), None),
                cohort.kind,
            )
            for cohort in self._waiting.cohorts()
            if cohort.kind not in asked and not cohort.kind.problem
        )
        left = [
            (job, kind) for job, kind in first_of if job is not None and bar_to(kind, self._ledger) is None
        ]
        for job, kind in self._take_back.whose_turn(left):
            unit, leaves = self._search(self._waiting.jobs[job], kind)
            if unit is not None:
                units[job] = unit
                freed |= leaves
        return freed

    def _line(self, standing: Standing, passed_over: Set[Id], reserved: Sequence[Id]) -> Line | Stretches:
        """Who waits, in the order of this cycle; in a large cell, where no nodes are valued, served in stretches."""
        if not self._worth.effort and self._ledger.shelves.serve():
            line = Stretches(
                self._waiting, standing, self._ledger, self._lineup, self._backfill, passed_over, reserved
            )
            if line.exact:
                return line
        return self._waiting.line(standing, self._ledger, apart=reserved)

    def _when_due(
        self, units: Mapping[Id, Unit], relief: Sequence[Taking], over: Sequence[Excess]
    ) -> int | None:
        """S6: at once where the cycle stopped at its bound on starts, or on moves."""
        if len(units) >= self._policy.max_starts or self._relocation.cut_short:
            return self._now
        return self._due.after(self._now, units, relieves=bool(relief), over=bool(over))

    def _share_out_the_rest(
        self, units: dict[Id, Unit], shares: FairShares, pending: dict[Id, int], settled: Set[Id]
    ) -> tuple[Resizing, ...]:
        """What the line left goes to work that is held back where it is (R8), then to elastic work (E1): starts
        become larger, live work is resized, and who waits may have what others can spare. `units` and `pending` are
        then so. Jobs that are `settled`, and those that were promised chips in this cycle, take no part.
        """
        reserved = {place.node for stands in self._backfill.standing for place in stands.opening.placements}
        relocated = self._relocation.relocate(self._take_back.rights, reserved)
        pending.update((job, 1) for one in relocated for job, _ in one.promised)
        passed_over = settled | set(self._take_back.promised)
        division = self._elasticity.divide(self._now, shares, self._take_back.rights, units, passed_over)
        for resizing in division.resizings:
            for job, _ in resizing.promised:
                units.pop(job, None)
                pending[job] = len(resizing.resizes)
        units |= division.units
        return (*relocated, *division.resizings)

    def _serve(self, turn: Turn) -> tuple[Unit | None, bool]:
        """The job's unit, with the whole gang placed and held in the trial, or nothing at all; and whether
        chips that a reservation kept from others are free now.
        """
        job, kind = turn.job, turn.kind
        if bar_to(kind, self._ledger) is not None:
            return None, False
        for choice in (kind,) if not kind.others else self._alternatives.chosen(job, kind, self._now):
            placements, freed = self._backfill.place(job, _to_start_with(choice))
            if placements:
                self._ledger.count_start(job)
                self._backfill.count_start(choice, placements)
                return Unit(Start(job.id, job.version, placements)), freed
        return self._take(job, kind)

    def _take(self, job: Job, kind: JobClass) -> tuple[Unit | None, bool]:
        """The job's unit with all that it takes back, or nothing at all (R1); and whether it leaves a
        reservation. Where others have reserved nothing is taken, unless the job may pass them (B2).
        """
        if not self._take_back.may_search(kind):
            return None, False
        return self._search(job, kind)

    def _search(self, job: Job, kind: JobClass) -> tuple[Unit | None, bool]:
        if kind in self._alternatives.declined:
            return None, False
        self._take_back.asked.add(kind)
        way = self._backfill.clear_way(job, kind)
        choices = open_choices(kind, self._ledger)
        taken = (self._take_back.take_for(job, choice, way.barred) for choice in choices)
        unit = next((unit for unit in taken if unit is not None), None)
        self._backfill.close_way(way, served=unit is not None)
        return unit, unit is not None and way.own is not None

    def _may_reserve(self, turn: Turn) -> bool:
        """Whether only room keeps it from starting."""
        return turn.kind not in self._alternatives.declined and bar_to(turn.kind, self._ledger) is None

    def _tell_the_others_why(
        self, units: dict[Id, Unit], living: Set[Id], pending: Mapping[Id, int]
    ) -> tuple[Verdict, ...]:
        """A verdict for every class with somebody left, the earliest first (X1)."""
        self._started = len(units)
        self._backfill.step_aside()
        verdicts: list[Verdict] = []
        settled = units.keys() | pending.keys() | living if pending or living else units.keys()
        others = settled - units.keys() if pending or living else frozenset[Id]()
        of_class = self._waiting.count_by_class(settled)
        if sum(of_class.values()) < len(self._waiting.jobs):
            self._placer.count_nodes(cohort.kind for cohort in self._waiting.cohorts())
        for cohort in self._waiting.cohorts():
            if not (count := of_class.get(cohort.kind, 0)):
                left = tuple(cohort.jobs)
            else:
                left = cohort.without(settled, count)
                verdicts += _of_who_is_settled(cohort, others, pending)
            if left:
                verdicts.append(Verdict(left, self._backfill.opened_to(cohort.kind, self._why)))
        return tuple(verdicts)

    def _why(self, kind: JobClass) -> tuple[Reason, ...]:
        """What keeps the class from starting; only the cycle's own bound, when nothing else does."""
        if reasons := reasons_to_wait(kind, self._ledger, self._placer):
            return reasons
        if (declined := self._alternatives.declined.get(kind)) is not None:
            return (declined,)
        barring = self._backfill.in_the_way(kind) if self._started < self._policy.max_starts else []
        return tuple(WouldDelay(stands.job.id, stands.job.name, stands.at) for stands in barring) or (
            CycleBound(self._started),
        )


def _to_start_with(kind: JobClass) -> JobClass:
    """An elastic gang starts with its minimum; what the line leaves makes it larger (E1)."""
    gang = kind.gang
    if gang.minimum == gang.maximum or kind.others or not wants_chips(gang.request):
        return kind
    return replace(kind, gang=replace(gang, maximum=gang.minimum))


def _of_who_is_settled(cohort: Cohort, jobs: Set[Id], pending: Mapping[Id, int]) -> Iterator[Verdict]:
    """Why these jobs of the class wait: their chips are promised, or an attempt of theirs still lives."""
    in_order = [job for job in cohort.jobs if job in jobs] if jobs else []
    yield from (Verdict((job,), (ChipsPromised(pending[job]),)) for job in in_order if job in pending)
    if held_back := tuple([job for job in in_order if job not in pending]):
        yield Verdict(held_back, (EarlierAttemptLives(),))
