"""Reservations, and what may start beside them (B1 to B5).

A reservation keeps the nodes and chips on which a gang is expected to fit first. The part of them that is free
now is held in the trial (its *shade*), and its quota is charged, so that work behind it starts only where it
cannot delay it (B2). Work that is expected to have ended by then may use it, and so may who displaces it:
higher priority in the same team, or a team inside its guarantee (F3). Nodes that close, for a drain or for
another team's window, are kept from work that would still run then (B5).

Reservations are rows: they stand from cycle to cycle until served or infeasible, re-timed by expected ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from scheduler_core.closing import Closing
from scheduler_core.columns import Ints
from scheduler_core.fairness import least_charge, room
from scheduler_core.glance import Glance
from scheduler_core.horizon import Horizon
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Chip, ChipShare, Choose, Id, Job, Placement, Reservation
from scheduler_core.ordering import JobClass, Waiting, inside_guarantee
from scheduler_core.placement import Placer
from scheduler_core.policy import Policy
from scheduler_core.search import Opening, Shade, View, earliest
from scheduler_core.shape import NodeState, Tenant, tenant
from scheduler_core.slices import host_cpu_claim
from scheduler_core.starting import Starting
from scheduler_core.verdicts import bar_to, open_choices

Placements: TypeAlias = tuple[Placement, ...]

T = TypeVar("T")


@dataclass(slots=True)
class Standing:
    """A reservation in this cycle."""

    job: Job
    opening: Opening
    by: Tenant
    held: Placements = ()
    """What of it is free now and kept so."""
    nodes: frozenset[Id] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = frozenset(placement.node for placement in self.opening.placements)

    @property
    def at(self) -> int:
        return self.opening.at

    @property
    def row(self) -> Reservation:
        return Reservation(self.job.id, self.opening.at, self.opening.placements)


@dataclass(frozen=True, slots=True)
class Way:
    """What was cleared for one job, and what stays barred to it."""

    own: Standing | None
    opened: tuple[Id, ...]
    mark: int
    """Of the trial before it."""
    barred: frozenset[Id]
    """Nodes that are kept for others whom the job may not pass."""


class Backfill:
    """The reservations of one cycle after another. All memory between cycles is rows (S1)."""

    def __init__(
        self, ledger: Ledger, policy: Policy, horizon: Horizon, waiting: Waiting, placer: Placer
    ) -> None:
        self._ledger, self._policy, self._placer = ledger, policy, placer
        self._horizon, self._waiting = horizon, waiting
        self._closing = Closing(ledger)
        self.now = 0
        self._searches = 0
        self._starting = Starting(0)
        """What this cycle starts gives back."""
        self.standing: list[Standing] = []
        """Every reservation that stands, the earliest first."""
        self._last_passes: list[int] = []
        """Of who was asked to take back: last instants at which it may still pass what is kept from others."""
        self._glance = Glance(ledger.columns)
        """At the nodes before anything was reserved."""

    def begin(self, now: int, passed_over: Collection[Id]) -> None:
        """Nodes that close are closed; the rows that are still feasible stand, re-timed and held.

        Jobs in `passed_over` keep no reservation.
        """
        self.now, self._searches = now, 0
        self._starting = Starting(now)
        self._last_passes = []
        self.standing = []
        self._glance = Glance(self._ledger.columns)
        self._closing.begin(now)
        self._horizon.begin(now)
        rows = sorted(self._ledger.reservations.values(), key=lambda row: (row.at, row.job))
        for row in rows:
            job = self._waiting.jobs.get(row.job)
            if job is None or row.job in passed_over or len(self.standing) >= self._policy.max_reservations:
                continue
            if bar_to(self._waiting.kind_of(row.job), self._ledger) is not None:
                continue
            opening = self._retimed(row, self._waiting.kind_of(row.job))
            if opening is not None:
                self._hold(self._stand(job, opening))

    @property
    def is_full(self) -> bool:
        """Whether nobody else may reserve in this cycle, and no node closes."""
        return len(self.standing) >= self._policy.max_reservations and not self._closing.closed

    @property
    def foresees(self) -> bool:
        """Whether expected ends decide anything in this cycle."""
        return bool(self.standing or self._searches)

    def turns(self) -> Iterator[int]:
        """Instants ahead at which time alone may change what stands or who may pass it, among them the next (S6)."""
        yield from self._closing.turns()
        yield from (last + 1 for last in self._last_passes if last >= self.now)
        if not self.foresees:
            return
        if (ends := self._horizon.turns(self.now)) is not None:
            yield ends
        for stands in self.standing:
            lasts = self._closing.stays_open_until(stands.opening.kind)
            yield from (last + 1 for last in lasts if last >= self.now)
        if self.standing and len(self.standing) < self._policy.max_reservations:
            age = self._policy.reserve_age
            yield from (submitted + age for submitted in self._waiting.submitted_after(self.now - age))

    def rows(self) -> tuple[Reservation, ...]:
        """Every reservation that stands, by job."""
        return tuple(sorted((stands.row for stands in self.standing), key=lambda row: row.job))

    def place(self, job: Job, kind: JobClass) -> tuple[Placements, bool]:
        """Placements for this job with everything out of the way that it may pass, held in the trial; and
        whether something that was kept from others is free now: they may try again.

        First beside all reservations but the job's own; only if that fails in their shade, where the job
        will have ended by then or displaces them (B2).
        """
        if kind.problem or not self._glance.allows(kind.gang):
            self._placer.note_asked(kind)
            return (), False
        if not self.standing and not self._closing.closed:
            return self._placer.place(kind, valued=True), False
        mark = self._ledger.mark()
        own = next((stands for stands in self.standing if stands.job.id == job.id), None)
        if own is not None:
            self._clear(own)
        placements = self._placer.place(kind, valued=True)
        cleared, opened = [own] if own else [], list[Id]()
        if not placements:
            passing = [
                stands for stands in self.standing if stands is not own and self.may_pass(kind, stands)
            ]
            opened = self._closing.open_to(kind)
            if passing or opened:
                for stands in passing:
                    self._clear(stands)
                cleared += passing
                placements = self._placer.place(kind, valued=True)
        if not placements:
            self._ledger.rewind(mark)
            return (), False
        self._closing.close_again(opened)
        return placements, self._put_back(cleared, own, kind, placements)

    def count_start(self, kind: JobClass, placements: Placements) -> None:
        """This cycle starts work of this class there: some time it ends."""
        if kind.run_time is not None:
            by = tenant(kind.organization, kind.gang.request.isolation)
            self._starting.note(kind.run_time, by, placements)

    def count_starts(
        self, run_times: Ints, nodes: Ints, by: Sequence[Tenant], placements: Sequence[Placements]
    ) -> None:
        """This cycle starts work on these nodes, each on one, that runs so long."""
        self._starting.note_all(run_times, nodes, by, placements)

    def try_in_the_clear(self, job: Job, kind: JobClass) -> Placements:
        """Placements with everything out of the way that the job may pass. The caller rewinds."""
        for stands in self.standing:
            if stands.job.id == job.id or self.may_pass(kind, stands):
                self._clear(stands)
        self._closing.open_to(kind)
        return self._placer.place(kind)

    def clear_way(self, job: Job, kind: JobClass) -> Way:
        """The job's own reservation is out of its way, and so are nodes that close only after it has ended."""
        own = next((stands for stands in self.standing if stands.job.id == job.id), None)
        barred = {
            placement.node
            for stands in self.standing
            if stands is not own and not self.may_pass(kind, stands)
            for placement in stands.opening.placements
        }
        longest = kind.longest
        if longest is not None and self.standing:
            self._last_passes += [stands.at - longest for stands in self.standing if stands is not own]
        self._last_passes += self._closing.stays_open_until(kind)
        mark = self._ledger.mark()
        if own is not None:
            self._clear(own)
        return Way(own, tuple(self._closing.open_to(kind)), mark, frozenset(barred))

    def close_way(self, way: Way, *, served: bool) -> None:
        """All is as before, but that a reservation which was served is gone."""
        if not served:
            self._ledger.rewind(way.mark)
            return
        self._closing.close_again(way.opened)
        if way.own is not None:
            self.standing.remove(way.own)

    def may_pass(self, kind: JobClass, stands: Standing) -> bool:
        """Whether work of this class may use what the reservation keeps (B2, F3)."""
        return self._ends_before(kind, stands) or self._displaces(kind, stands)

    def reserve(self, job: Job, kind: JobClass) -> bool:
        """Whether the job, which does not fit now, has a reservation now (B1, B4).

        The first gang that does not fit gets one, where none stands; older ones than the policy's age get
        one too, while fewer stand than the policy allows. Only work that its quota would let start reserves.
        """
        if any(stands.job.id == job.id for stands in self.standing):
            return True
        aged = self.now - job.submitted >= self._policy.reserve_age
        if len(self.standing) >= self._policy.max_reservations or (self.standing and not aged):
            return False
        opening = self.opening(kind)
        if opening is None:
            return False
        self._hold(self._stand(job, opening))
        return True

    def opening(self, kind: JobClass) -> Opening | None:
        """Where and when work of this class is expected to fit first; of several alternatives the one that
        finishes first, or the first of those that start first (P5). One cycle searches twice as often as it
        may hold reservations, and no more.
        """
        choices = [(choice, name) for choice, name in self._choices(kind) if self._could_fit(choice, name)]
        if not choices or self._searches >= 2 * self._policy.max_reservations:
            return None
        self._searches += 1
        return self._earliest(choices)

    def step_aside(self) -> None:
        """No reservation is held any more: verdicts speak of what the decision's units leave (X1)."""
        for stands in self.standing:
            self._clear(stands)

    def opened_to(self, kind: JobClass, ask: Callable[[JobClass], T]) -> T:
        """What `ask` answers while nodes that close are open to this class where it may use them (B5)."""
        if not self._closing.closed:
            return ask(kind)
        mark = self._ledger.mark()
        self._closing.open_to(kind)
        answer = ask(kind)
        self._ledger.rewind(mark)
        return answer

    def in_the_way(self, kind: JobClass) -> list[Standing]:
        """The reservations that the class would delay where it could start if none stood."""
        found = (self._placer.nodes_for(choice) for choice in open_choices(kind, self._ledger))
        nodes = next(filter(None, found), frozenset[Id]())
        there = [stands for stands in self.standing if not nodes.isdisjoint(stands.nodes)]
        barring = [stands for stands in there if not self.may_pass(kind, stands)]
        return barring or [s for s in self.standing if not self.may_pass(kind, s)] or self.standing

    def clear(self, stands: Standing) -> None:
        """What the reservation keeps is free, until it is held again."""
        self._clear(stands)

    def hold_again(self, stands: Standing) -> None:
        """What of the reservation is free now is kept for it."""
        self._hold(stands)

    # -- what stands --------------------------------------------------------------------------------------

    def _retimed(self, row: Reservation, kind: JobClass) -> Opening | None:
        """The row's nodes, when they are expected to be free now. Where that has become later, another place
        may have become the earlier one.
        """
        nodes = {placement.node for placement in row.placements}
        opening = self._earliest(self._choices(kind), only=nodes)
        if opening is None or opening.at > row.at:
            elsewhere = self.opening(kind)
            if elsewhere is not None and (opening is None or elsewhere.at < opening.at):
                return elsewhere
        return opening

    def _earliest(
        self, choices: Sequence[tuple[JobClass, str]], only: Collection[Id] | None = None
    ) -> Opening | None:
        shades = [self._shade(stands) for stands in self.standing]
        best: tuple[int, Opening] | None = None
        for choice, chip_type in choices:
            closing = self._closing.of(choice)
            view = View(self._ledger, self._horizon, self.now, shades, closing, self._starting)
            fitting = self._placer.ranking(choice, chip_type).nodes() if only is None else ()
            run = self._run_on(choice, chip_type) if choice.choose is Choose.EARLIEST_FINISH else 0
            before = None if best is None else best[0] - run
            opening = earliest(view, choice, chip_type, fitting, only, before)
            if opening is not None and (best is None or opening.at + run < best[0]):
                best = opening.at + run, opening
        return None if best is None else best[1]

    def _choices(self, kind: JobClass) -> list[tuple[JobClass, str]]:
        """The alternatives and chip types on which quota would let the gang start now (F1, F4, F5)."""
        return [
            (choice, chip_type)
            for choice in open_choices(kind, self._ledger)
            for chip_type in self._placer.chip_types(choice.gang.request)
            if self._admits(choice, chip_type)
        ]

    def _could_fit(self, kind: JobClass, chip_type: str) -> bool:
        """Whether there are nodes enough that could take a replica at some time: no search finds others."""
        nodes = self._placer.ranking(kind, chip_type).ever
        return nodes >= (kind.gang.minimum if kind.gang.spread else 1)

    def finish(self, opening: Opening) -> int:
        """When the gang is expected to have ended if it starts there (P5): its run time on a chip of the
        reference's speed, at the speed of these chips.
        """
        return opening.at + self._run_on(opening.kind, opening.chip_type)

    def _run_on(self, kind: JobClass, chip_type: str) -> int:
        run = self._policy.run_time if kind.run_time is None else kind.run_time
        return run * 1000 // max(self._ledger.speed(chip_type), 1)

    def _admits(self, kind: JobClass, chip_type: str) -> bool:
        """Whether quota would let the gang start now (F1, F4, F5)."""
        left = room(self._ledger, kind.team, chip_type, preemptible=kind.preemptible, user=kind.user)
        if left is None or not chip_type:
            return True
        return least_charge(self._ledger, kind.gang.request, chip_type) * kind.gang.minimum <= left

    # -- what is held -------------------------------------------------------------------------------------

    def _stand(self, job: Job, opening: Opening) -> Standing:
        by = tenant(job.organization, opening.kind.gang.request.isolation)
        stands = Standing(job, opening, by)
        self.standing.append(stands)
        self.standing.sort(key=lambda stands: (stands.at, stands.job.id))
        return stands

    def _hold(self, stands: Standing) -> None:
        held = []
        for placement in stands.opening.placements:
            part = free_part(placement, self._ledger.states[placement.node], self._ledger.chips)
            self._ledger.shadow(part, by=stands.by)
            held.append(part)
        stands.held = tuple(held)
        self._bill(stands, 1)

    def _clear(self, stands: Standing) -> None:
        for part in stands.held:
            self._ledger.unshadow(part, by=stands.by)
        self._bill(stands, -1)

    def _bill(self, stands: Standing, sign: int) -> None:
        kind, placements = stands.opening.kind, stands.opening.placements
        self._ledger.bill(
            placements, team=kind.team, preemptible=kind.preemptible, sign=sign, user=kind.user, in_line=False
        )

    def _put_back(
        self, cleared: list[Standing], own: Standing | None, kind: JobClass, placements: Placements
    ) -> bool:
        """What was cleared is held again, but for what is served or displaced. Whether that frees anything."""
        freed = False
        for stands in cleared:
            if stands is own:
                self.standing.remove(stands)
                kept = {placement.node for placement in stands.opening.placements}
                freed |= not kept <= {placement.node for placement in placements}
                continue
            before = stands.held
            self._hold(stands)
            if not self._ends_before(kind, stands) and self._displaced(stands, before):
                self._clear(stands)
                self.standing.remove(stands)
                freed = True
        return freed

    def _displaced(self, stands: Standing, before: Placements) -> bool:
        """Whether somebody has taken of what it held, or of the quota that it needs."""
        kind, chip_type = stands.opening.kind, stands.opening.chip_type
        left = room(self._ledger, kind.team, chip_type, preemptible=kind.preemptible, user=kind.user)
        return stands.held != before or (bool(chip_type) and left is not None and left < 0)

    def _shade(self, stands: Standing) -> Shade:
        """The reservation as another search sees it."""
        run = stands.opening.kind.run_time
        awaited = (
            awaited_part(whole, held)
            for whole, held in zip(stands.opening.placements, stands.held, strict=True)
        )
        return Shade(stands.by, stands.held, tuple(awaited), None if run is None else stands.at + run)

    def _ends_before(self, kind: JobClass, stands: Standing) -> bool:
        return kind.longest is not None and self.now + kind.longest <= stands.at

    def _displaces(self, kind: JobClass, stands: Standing) -> bool:
        """F3: higher priority in the same team and at equal priority a lower service level; between teams, who
        is inside its guarantee or has a lower level, against one beyond its own.
        """
        reserved, chip_type = stands.opening.kind, stands.opening.chip_type
        if kind.team == reserved.team:
            return (-kind.priority, kind.level) < (-reserved.priority, reserved.level)
        if inside_guarantee(reserved, chip_type, self._ledger):
            return False
        return kind.level < reserved.level or inside_guarantee(kind, chip_type, self._ledger)


def hold_reservation(ledger: Ledger, job: Job, row: Reservation) -> None:
    """What of the reservation is free is held in the trial, and its quota charged."""
    by = tenant(job.organization, job.gang.request.isolation)
    for placement in row.placements:
        ledger.shadow(free_part(placement, ledger.states[placement.node], ledger.chips), by=by)
    ledger.bill(
        row.placements, team=job.team, preemptible=job.preemptible, sign=1, user=job.user, in_line=False
    )


def free_part(placement: Placement, state: NodeState, chips: Mapping[Id, Chip]) -> Placement:
    """What of the placement is free on the node now."""
    shares = []
    cpu = max(state.free_cpu, 0)
    left = {which[1]: chip for which, chip in zip(state.chips, state.frame.chips, strict=True)}
    for share in placement.chips:
        chip = left.get(share.chip)
        if chip is None or (share.milli == WHOLE_CHIP and chip.tenants):
            continue
        milli, memory = min(share.milli, chip.free_milli), min(share.memory, chip.free_memory)
        if milli > 0 and memory >= 0:
            shares.append(ChipShare(share.chip, milli, memory))
            cpu -= host_cpu_claim(milli, chips[share.chip].host_cpu)
    memory = min(placement.memory, max(state.free_memory, 0))
    return Placement(
        placement.replica, placement.node, min(placement.cpu, max(cpu, 0)), memory, tuple(shares)
    )


def awaited_part(whole: Placement, held: Placement) -> Placement:
    """What of the placement is not held yet."""
    free = {share.chip: share for share in held.chips}
    shares = []
    for share in whole.chips:
        got = free.get(share.chip, ChipShare(share.chip, 0, 0))
        if got.milli < share.milli or got.memory < share.memory:
            shares.append(ChipShare(share.chip, share.milli - got.milli, share.memory - got.memory))
    return Placement(
        whole.replica, whole.node, whole.cpu - held.cpu, whole.memory - held.memory, tuple(shares)
    )
