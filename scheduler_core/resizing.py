"""Elastic work takes up what the line leaves, and gives way to those who still wait (E1).

`elastic` says how many replicas a job should have; here the jobs get their places. The naive rule is to give
free chips to live attempts one by one. It leaves gangs scattered over nodes, and what is held too well stays
held. Hence:

- *Anew.* A resize costs a restart in any case, so whoever is resized gets all its replicas placed anew,
  together with the others that are resized, on what is free and what they leave: small gangs first, each on one
  node where it can be, larger ones on few.
- *Minimum before more.* Whoever starts in this cycle, and whoever waits only for room, has its minimum before
  anybody of its team and priority has more.
- *Inside a team* chips change hands by the rule. Between teams, and between priorities, only what is free is
  divided by it; what is held changes hands by right alone (R2).

Resized is only work that may be stopped and goes on from a checkpoint, and not within the policy's interval.
Nodes that are reserved, or close, are left alone (B2, B5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from math import isqrt
from typing import Final

from scheduler_core.backfill import Backfill, Standing
from scheduler_core.decision import Resize, Resizing, Start, Unit
from scheduler_core.elastic import MICRO, ElasticJob, targets
from scheduler_core.fairness import FairShares, room
from scheduler_core.ledger import Ledger
from scheduler_core.model import WHOLE_CHIP, Id, Job
from scheduler_core.ordering import Waiting
from scheduler_core.placement import Placer
from scheduler_core.players import Group, Player, Players
from scheduler_core.policy import Policy
from scheduler_core.request import wants_chips
from scheduler_core.rights import Rights
from scheduler_core.takeback import hold_resizing
from scheduler_core.together import Placements, Places

MOST_TRIES: Final = 16
"""Jobs of one group for which no place is found, before none of the group is resized in this cycle."""


@dataclass(frozen=True, slots=True)
class Division:
    """What became of the cycle's elastic work."""

    units: dict[Id, Unit]
    """Starts on what is free now, in place of those that the line gave."""
    resizings: tuple[Resizing, ...]

    @property
    def served(self) -> set[Id]:
        """Jobs that start, or are promised their chips."""
        return self.units.keys() | {job for resizing in self.resizings for job, _ in resizing.promised}


class Elasticity:
    """Divides what the line left, cycle after cycle."""

    def __init__(
        self, ledger: Ledger, placer: Placer, policy: Policy, waiting: Waiting, backfill: Backfill
    ) -> None:
        self._ledger, self._placer = ledger, placer
        self._waiting, self._backfill = waiting, backfill
        self._players = Players(ledger, placer, policy, waiting)
        self._places = Places(ledger, placer)
        self._shares = FairShares()
        self._rights: Rights

    def divide(
        self, now: int, shares: FairShares, rights: Rights, units: Mapping[Id, Unit], passed_over: Set[Id]
    ) -> Division:
        """Sizes and places by the rule, held in the ledger's trial; `units` are those of the line so far. A
        waiting job with a reservation takes part only if it is served.
        """
        self._shares, self._rights = shares, rights
        self._players.begin(now, rights)
        if not self._players.any(units):
            return Division({}, ())
        reserved: frozenset[Id] = frozenset()
        while True:
            mark = self._ledger.mark()
            own, barred = self._clear_reservations(reserved)
            groups = self._players.groups(units, passed_over | reserved, barred)
            if not groups:
                self._ledger.rewind(mark)
                return Division({}, ())
            division = self._divide(groups)
            unserved = {stands.job.id for stands in own} - division.served
            if not unserved:
                break
            self._ledger.rewind(mark)
            reserved |= unserved
        self._reserve_again(own, barred, division)
        for resizing in division.resizings:
            rights.taken.update(resizing.attempts)
        return division

    # -- reservations -------------------------------------------------------------------------------------

    def _clear_reservations(self, keep: frozenset[Id]) -> tuple[list[Standing], dict[Id, str]]:
        """Those of waiting jobs that may take part are out of the way; the nodes of the others, which are
        closed now.
        """
        own = [stands for stands in self._backfill.standing if self._may_play(stands.job, keep)]
        for stands in own:
            self._backfill.clear(stands)
        others = [stands for stands in self._backfill.standing if stands not in own]
        barred = {
            place.node: "reserved"
            for stands in others
            for place in stands.opening.placements
            if self._ledger.states[place.node].frame.build.unready is None
        }
        for node, why in barred.items():
            self._ledger.close(node, why)
        return own, barred

    def _may_play(self, job: Job, keep: frozenset[Id]) -> bool:
        return job.id not in keep and not job.others and wants_chips(job.gang.request)

    def _reserve_again(self, own: Sequence[Standing], barred: Iterable[Id], division: Division) -> None:
        for node in barred:
            self._ledger.open(node)
        for stands in own:
            if stands.job.id in division.served:
                self._backfill.standing.remove(stands)
            else:
                self._backfill.hold_again(stands)

    # -- sizes --------------------------------------------------------------------------------------------

    def _divide(self, groups: Sequence[Group]) -> Division:
        units: dict[Id, Unit] = {}
        resizings: list[Resizing] = []
        for chip_type in dict.fromkeys(group.chip_type for group in groups):
            some = [group for group in groups if group.chip_type == chip_type]
            sliced = any(not player.kind.gang.request.chips for group in some for player in group.players)
            free, widest = self._free(chip_type, sliced=sliced)
            for group, amount in zip(some, self._amounts(some, free), strict=True):
                new = self._sizes_and_places(group, amount, widest)
                if new:
                    started, resizing = self._carry_out(group, new)
                    units |= started
                    resizings += [resizing] if resizing is not None else []
        return Division(units, tuple(resizings))

    def _free(self, chip_type: str, *, sliced: bool) -> tuple[int, int]:
        """Milli-chips of this type that are free on nodes in service, parts of chips only with `sliced`; and the
        most chips on one node.
        """
        free = widest = 0
        for state in self._ledger.states.values():
            if state.frame.build.unready is not None:
                continue
            chips = [chip for chip in state.frame.chips if chip.type == chip_type and chip.healthy]
            free += sum(max(chip.free_milli, 0) for chip in chips if sliced or not chip.tenants)
            widest = max(widest, len(chips))
        return free, widest

    def _amounts(self, groups: Sequence[Group], free: int) -> list[int]:
        """How much of what is free each group may have: all of it for a single one, among several by the rule,
        with everybody as large as it is.
        """
        if len(groups) == 1:
            return [self._bounded(groups[0], free)]
        jobs = [self._as_it_is(group, player) for group in groups for player in group.players]
        answer = iter(targets(jobs, free, self._players.interval))
        gains = [
            sum((next(answer).replicas - player.has) * player.rule.width for player in group.players)
            for group in groups
        ]
        return [self._bounded(group, gain) for group, gain in zip(groups, gains, strict=True)]

    def _as_it_is(self, group: Group, player: Player) -> ElasticJob:
        """It keeps what it has; weighed by its part of its team's share."""
        share = self._shares.entitled.get((group.team, group.chip_type), 0)
        weight = isqrt(MICRO * share // len(group.players))
        least = max(player.has, player.rule.minimum)
        most = max(least, player.rule.maximum)
        return replace(
            player.rule,
            minimum=least,
            maximum=most,
            size=player.has,
            weight=max(weight, 1),
            due=player.has > 0,
        )

    def _bounded(self, group: Group, amount: int) -> int:
        left = room(self._ledger, group.team, group.chip_type, preemptible=True)
        return amount if left is None else max(min(amount, left), 0)

    def _sizes_and_places(self, group: Group, amount: int, widest: int) -> dict[Id, Placements]:
        """New places of everybody whose size changes. Who finds none keeps what it has."""
        pinned: set[Id] = set()
        for _ in range(MOST_TRIES):
            free = [player for player in group.players if player.id not in pinned]
            spare = amount + sum(
                (player.has - player.rule.minimum) * player.rule.width for player in free if player.has
            )
            players = [player for player in free if player.has]
            for player in (player for player in free if not player.has):
                if player.rule.minimum * player.rule.width <= spare and len(players) < len(free):
                    spare -= player.rule.minimum * player.rule.width
                    players.append(player)
            held = sum(player.has * player.rule.width for player in players if player.start)
            answer = targets([player.rule for player in players], amount + held, self._players.interval)
            sizes = {target.job: target.replicas for target in answer}
            changed = [player for player in players if sizes[player.id] != player.has]
            if not changed:
                return {}
            placed, stuck = self._places.of(changed, sizes, widest)
            if stuck is None:
                return placed
            pinned.add(stuck)
        return {}

    # -- units --------------------------------------------------------------------------------------------

    def _carry_out(
        self, group: Group, new: Mapping[Id, Placements]
    ) -> tuple[dict[Id, Unit], Resizing | None]:
        """Starts on what is free now, and one unit of all the rest; held in the trial."""
        ledger = self._ledger
        players = [player for player in group.players if player.id in new]
        for player in players:
            if player.start is not None:
                self._places.take_off(player)
        starting = [player for player in players if player.job is not None]
        started = [player for player in starting if self._starts_now(player, new[player.id])]
        units = {player.id: Unit(_start(player, new[player.id])) for player in started}
        leaving = [player.attempt for player in players if player.attempt is not None]
        if not leaving:
            return units, None
        later = [player for player in starting if player not in started]
        for player in later:
            if player.start is not None and player.job is not None:
                ledger.count_start(player.job, -1)
        resizes = (Resize(a.id, a.job, new[a.job], self._rights.loss(a)) for a in leaving)
        resizing = Resizing(tuple(resizes), tuple(_start(player, new[player.id]) for player in later))
        hold_resizing(ledger, self._waiting.jobs, resizing)
        return units, resizing

    def _starts_now(self, player: Player, placements: Placements) -> bool:
        """Whether it needs nothing that somebody else still holds; then it holds it."""
        ledger, mark = self._ledger, self._ledger.mark()
        for place in placements:
            state = ledger.states[place.node]
            free = {which[1]: chip for which, chip in zip(state.chips, state.frame.chips, strict=True)}
            whole = [share for share in place.chips if share.milli == WHOLE_CHIP]
            self._placer.hold(player.kind, place)
            if ledger.states[place.node].overdrawn or any(free[share.chip].tenants for share in whole):
                ledger.rewind(mark)
                return False
        if player.start is None and player.job is not None:
            ledger.count_start(player.job)
        return True


def _start(player: Player, placements: Placements) -> Start:
    assert player.job is not None
    return Start(player.job.id, player.job.version, placements)
