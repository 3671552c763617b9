"""Who may take chips from whom, by what right, and what it costs (R1, R2, R3).

Only what a team holds now decides here; past use orders the line and nothing else. Two teams are compared at
every level of the tree at which they differ: their common ancestors neither win nor lose.

Promises: what one team takes from another by these rules, the other cannot take back by them (R6). Before a
taking the victims' side holds more than its measure at some level and ends at it or above at all of them, so
the victim's return would lift that level over it; and the beneficiary's side ends at its measure or below, so
taking anything from it again would leave it under it. Who took by its service level stands lower than its
victim, and fair shares give no right against who stands lower (ADR 0006). Inside a team the right is a strict
order: priority, then service level; and work that is not preemptible over work that is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple, TypeAlias

from scheduler_core.decision import Ground, Rung
from scheduler_core.fairness import FairShares
from scheduler_core.ledger import Ledger
from scheduler_core.live import Listed
from scheduler_core.model import AllocationKind, Id, Job, Placement, Running
from scheduler_core.policy import Policy, last_beat
from scheduler_core.service import level_of

BETWEEN_TEAMS: Final = (Ground.GUARANTEE, Ground.SERVICE_LEVEL, Ground.FAIR_SHARE)
"""The rights of one team over what another one holds, the first that applies (R2)."""

RUN_PER_RESTART: Final = 10
"""Who was taken too often runs so many times what a restart costs: at most an eleventh of its time is lost (R1)."""

Sort: TypeAlias = int
"""A number that attempts share which are alike to the rights of a cycle."""

Level: TypeAlias = tuple[Id, bool]
"""A team with all teams below it, or (true) its own work alone, which stands beside its sub-teams (F2)."""


def protection(job: Job | Running, policy: Policy) -> int:
    """For how long after its start nothing is taken from it (R1). Work that was taken too often and goes on from a
    checkpoint first runs so long that a restart is a small part of it.
    """
    least = max(policy.min_runtime, job.min_runtime)
    if job.times_taken < policy.max_times_taken:
        return least
    return max(least, RUN_PER_RESTART * job.restart_cost)


class ToLookAt(NamedTuple):
    """Live attempts of one team and priority, in the order in which to look at them."""

    entries: list[Listed]
    examples: list[Running]
    """One of each sort among them."""


class Rights:
    """The rules of one cycle. `taken` grows as its units are decided: nobody is taken from twice."""

    def __init__(self, ledger: Ledger, policy: Policy, now: int, shares: FairShares) -> None:
        self.now = now
        self.taken: set[Id] = set()
        """Attempts that gave up something in this cycle."""
        self.swayed = False
        """Whether a search that found nothing might have, had it taken in another order (S6)."""
        self.barred: frozenset[Id] = frozenset()
        """Nodes on which nothing may be taken now."""
        self._ledger = ledger
        self._policy = policy
        self._shares = shares
        self._listed: dict[tuple[Id, int, int], ToLookAt] = {}
        self._allowed: dict[Id, bool] = {}
        self._anything: dict[int, bool] = {}
        self._reckoned: dict[Id, int] = {}
        self._sort_of: dict[Id, Sort] = {}
        self._sorts: dict[Hashable, Sort] = {}
        self._levels_of: dict[tuple[Id, Id], list[Level]] = {}
        self._promised = {attempt for promise in ledger.promises.values() for attempt in promise.attempts}

    # -- R1: whose chips may be taken at all --------------------------------------------------------------

    def may_be_taken(self, attempt: Running) -> bool:
        """R1: preemptible, old enough, not taken too often, and not already on its way out."""
        return (
            attempt.id not in self.taken
            and self._allows(attempt)
            and not (self.barred and any(place.node in self.barred for place in attempt.placements))
        )

    def listed(self, team: Id, priority: int, looks: int) -> ToLookAt:
        """Of the team's work of this priority the first to look at, as many as `looks` looks find among those
        that the cycle may take. What it has taken since is still among them.
        """
        key = (team, priority, looks)
        known = self._listed.get(key)
        if known is None:
            first, running = self._ledger.preemptible_of[team][priority].first(looks), self._ledger.running
            entries = [entry for entry in first if self._allows(running[entry[-1]])]
            of_sort = {self.sort_of(running[entry[-1]]): running[entry[-1]] for entry in reversed(entries)}
            known = self._listed[key] = ToLookAt(entries, list(of_sort.values()))
        return known

    def allow_anything(self, looks: int) -> bool:
        """Whether so many looks find any work that this cycle may take; where not, no search finds any."""
        known = self._anything.get(looks)
        if known is None:
            lists = (
                (team, priority) for team, some in self._ledger.preemptible_of.items() for priority in some
            )
            known = self._anything[looks] = any(self.listed(*whose, looks).entries for whose in lists)
        return known

    def _allows(self, attempt: Running) -> bool:
        """What R1 says of it for the whole cycle."""
        if self.now - attempt.started < self._policy.min_runtime:
            return False
        known = self._allowed.get(attempt.id)
        if known is None:
            known = self._allowed[attempt.id] = self._says_r1(attempt)
        return known

    def _says_r1(self, attempt: Running) -> bool:
        policy = self._policy
        return (
            attempt.preemptible
            and attempt.kind is AllocationKind.OWNED
            and not attempt.leaving
            and not attempt.going
            and attempt.id not in self._promised
            and self.now - attempt.started >= protection(attempt, self._policy)
            and (attempt.checkpoint or attempt.times_taken < policy.max_times_taken)
        )

    def height(self, attempt: Running) -> int:
        """Less for who has had more: of work that keeps what it has done, minus its service level."""
        return -self.level(attempt) if attempt.checkpoint else 0

    def level(self, attempt: Running) -> int:
        """The service level that a live attempt's job has reached."""
        return self._ledger.levels.get(attempt.id, 0)

    def is_planned(self, attempt: Running) -> bool:
        """Whether this cycle or an earlier one has plans for it."""
        return attempt.id in self.taken or attempt.id in self._promised

    def may_be_resized(self, attempt: Running, now: int) -> bool:
        """E1: no cycle has plans for it, and it is as old as it asked to be."""
        return not self.is_planned(attempt) and now - attempt.started >= attempt.min_runtime

    def worst_rung(self, attempt: Running) -> Rung:
        """How it ends when all of it is taken."""
        return Rung.SUSPEND if attempt.checkpoint else Rung.EVICT

    # -- R2: by what right --------------------------------------------------------------------------------

    def ground(self, job: Job, chip_type: str, charge: int, attempt: Running) -> Ground | None:
        """By what right the job, charged so much more of the type, takes from this attempt; None for none.

        Asked before anything of the attempt is lifted. `spares` says whether its team can spare it.
        """
        if job.team == attempt.team:
            return self._inside_a_team(job, attempt)
        for ground in BETWEEN_TEAMS if charge else ():
            if (
                self._level_allows(job, attempt, ground)
                and self.ends_within(job.team, chip_type, charge, attempt.team, ground)
                and self._holds_more(attempt, job.team, ground)
            ):
                return ground
        return None

    def sort_of(self, attempt: Running) -> Sort:
        """What two attempts must have in common for `ground` to answer the same for both, and to be in reach of
        the same rung, as a number.
        """
        known = self._sort_of.get(attempt.id)
        if known is None:
            spare = attempt.gang is not None and len(attempt.placements) > attempt.gang.minimum
            elastic = attempt.id in self._ledger.elastic
            who = attempt.team, attempt.priority, attempt.checkpoint, spare, elastic
            facts = (*who, self.level(attempt), self._ledger.types_of(attempt))
            known = self._sort_of[attempt.id] = self._sorts.setdefault(facts, len(self._sorts))
        return known

    def may_take_from(self, job: Job, chip_type: str, charge: int, other: Id) -> bool:
        """Whether the job, charged so much of the type, may take from another team at all: a cheap no."""
        if not charge:
            return False
        if job.preemptible and level_of(job, self._policy) < len(self._policy.service_levels):
            return True
        grounds = (Ground.GUARANTEE, Ground.FAIR_SHARE)
        return any(self.ends_within(job.team, chip_type, charge, other, ground) for ground in grounds)

    def _level_allows(self, job: Job, attempt: Running, ground: Ground) -> bool:
        """Between teams, who has had less takes from who has had more, and fair shares decide among equals."""
        if ground is Ground.SERVICE_LEVEL:
            return self._has_had_less(job, attempt)
        return ground is Ground.GUARANTEE or level_of(job, self._policy) <= self.level(attempt)

    def _has_had_less(self, job: Job, attempt: Running) -> bool:
        """Whether the service levels give it a right: against work that keeps what it has done, and no other."""
        below = job.preemptible and attempt.checkpoint
        return below and level_of(job, self._policy) < self.level(attempt)

    def ends_within(self, team: Id, chip_type: str, charge: int, other: Id, ground: Ground) -> bool:
        """Whether the team, charged so much more, ends within its measure where it differs from the other. Who
        takes by its service level needs no measure.
        """
        if ground is Ground.SERVICE_LEVEL:
            return True
        quota = self._ledger.quotas.get((team, chip_type))
        if ground is Ground.GUARANTEE and (quota is None or not quota.guaranteed):
            return False
        return all(
            measure is None or self._used(level, chip_type) + charge <= measure
            for level in self._levels(team, other)
            for measure in (self._measure(level, chip_type, ground),)
        )

    def spares(self, attempt: Running, beneficiary: Id, ground: Ground, lifted: Iterable[Placement]) -> bool:
        """Whether the attempt's side, without what was lifted, is still at its measure or above (R2)."""
        if ground not in BETWEEN_TEAMS or attempt.team == beneficiary:
            return True
        ledger = self._ledger
        types = {chip_type for placement in lifted for chip_type, _ in ledger.charges(placement)}
        return bool(types) and all(
            self._used(level, chip_type) >= (self._measure(level, chip_type, ground) or 0)
            for level in self._levels(attempt.team, beneficiary)
            for chip_type in types
        )

    def _inside_a_team(self, job: Job, attempt: Running) -> Ground | None:
        if attempt.priority != job.priority:
            return Ground.PRIORITY if attempt.priority < job.priority else None
        if not job.preemptible:
            guarded = any((job.team, name) in self._ledger.quotas for name in self._ledger.types_of(attempt))
            return Ground.GUARANTEE if guarded else None
        spare = attempt.gang is not None and len(attempt.placements) > attempt.gang.minimum
        if spare and attempt.id in self._ledger.elastic:
            return None  # what it has beyond its minimum it gives by E1
        return Ground.SERVICE_LEVEL if self._has_had_less(job, attempt) else None

    def _holds_more(self, attempt: Running, beneficiary: Id, ground: Ground) -> bool:
        """Whether the attempt's side holds more than its measure of what the attempt holds: a cheap no."""
        return all(
            self._used(level, chip_type) > (self._measure(level, chip_type, ground) or 0)
            for level in self._levels(attempt.team, beneficiary)
            for chip_type in self._ledger.types_of(attempt)
        )

    def _measure(self, level: Level, chip_type: str, ground: Ground) -> int | None:
        """What the level is due: its fair share, or for any other ground its guarantee where it has one."""
        team, own = level
        if ground is Ground.FAIR_SHARE:
            return (self._shares.own if own else self._shares.fair).get((team, chip_type), 0)
        quota = self._ledger.quotas.get((team, chip_type))
        return None if quota is None else quota.guaranteed

    def _used(self, level: Level, chip_type: str) -> int:
        team, own = level
        return (self._ledger.own if own else self._ledger.used).get((team, chip_type), 0)

    def _levels(self, team: Id, other: Id) -> list[Level]:
        """The team's own work, the team and those above it, up to where the other team's line joins."""
        known = self._levels_of.get((team, other))
        if known is None:
            shared = self._ledger.payers(other)
            above = [(level, False) for level in self._ledger.payers(team) if level not in shared]
            known = self._levels_of[team, other] = [(team, True), *above]
        return known

    # -- R3: what it costs --------------------------------------------------------------------------------

    def loss(self, attempt: Running) -> int:
        """Chip-milliseconds lost when all of the attempt is taken: since its last observed checkpoint, or
        since its start, and what the new start costs.
        """
        return self._milli(attempt) * (self.now - attempt.saved + attempt.restart_cost) // 1000

    def reckoned(self, attempt: Running) -> int:
        """The same as of the last beat: what is compared, so that it is known when the answer may change (S6)."""
        known = self._reckoned.get(attempt.id)
        if known is None:
            since = max(last_beat(self.now) - attempt.saved, 0)
            known = self._milli(attempt) * (since + attempt.restart_cost) // 1000
            self._reckoned[attempt.id] = known
        return known

    def loss_of_shrinking(self, attempt: Running) -> int:
        """Chip-milliseconds lost when it goes on smaller: all its replicas form anew."""
        return self._milli(attempt) * attempt.restart_cost // 1000

    def _milli(self, attempt: Running) -> int:
        return sum(share.milli for placement in attempt.placements for share in placement.chips)
