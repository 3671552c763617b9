"""What a guest is, and the room there is for guests (T3, Q7).

Leaves to `lending` who is let in, and who must go.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    ISOLATION_STRENGTH,
    WHOLE_CHIP,
    Chip,
    ChipShare,
    Id,
    Isolation,
    Job,
    Lend,
    Placement,
    Request,
    Running,
)
from scheduler_core.request import problem_with, wants_chips
from scheduler_core.shape import EXCLUSIVE, Tenant, tenant
from scheduler_core.slices import host_cpu_claim, slice_memory, slice_milli
from scheduler_core.trial import Use

LEAST_SLICING: Final = ISOLATION_STRENGTH[Isolation.ENFORCED]
"""A chip below it holds nobody to a limit, so it is not lent."""


MOST_REPLICAS: Final = 64
"""Of a gang that may be a guest: the search for its chips goes through all that are on offer once for each."""


def guest_use(ledger: Ledger, weight: int) -> dict[Use, int]:
    """Milli-chips that each team's guests count for in the line, at this permille (F3)."""
    used: Counter[Use] = Counter()
    for guest in ledger.guests.values() if weight else ():
        for place in guest.placements:
            for chip_type, milli in ledger.charges(place):
                used[guest.team, chip_type] += milli
    return {use: milli * weight // 1000 for use, milli in used.items()}


def may_lend(owner: Running, job: Job | Running) -> bool:
    """Whether the owner's `lend` lets this job in; never where it asked for the chip alone."""
    if owner.isolation is Isolation.EXCLUSIVE or owner.lend is Lend.NEVER:
        return False
    if owner.lend is Lend.TEAM:
        return owner.team == job.team
    return owner.lend is Lend.ANY or owner.organization == job.organization


def may_be_guest(job: Job) -> bool:
    """Whether the job can go at any moment, and fits beside others at all. A gang is one as it is started: whole, with
    its least number of replicas.
    """
    gang = job.gang
    return (
        job.preemptible
        and not job.min_runtime
        and gang.minimum <= MOST_REPLICAS
        and gang.within is None
        and wants_chips(gang.request)
        and gang.request.isolation is not Isolation.EXCLUSIVE
        and not problem_with(gang)
    )


def guest_share(request: Request, chip: Chip, step: int) -> ChipShare | None:
    """What a guest with this request holds of the chip (Q3); None where its memory has no limit there.

    Where a core is the chip (Q6) memory is the host's: there its limit is the one it asks of the host.
    """
    is_core = bool(chip.host_cpu)
    if is_core and not request.memory:
        return None
    if request.chips:
        return ChipShare(chip.id, WHOLE_CHIP, 0 if is_core else chip.memory)
    milli = request.milli or slice_milli(request.chip_memory, chip.memory, step)
    memory = request.chip_memory or slice_memory(request.milli, chip.memory)
    return ChipShare(chip.id, milli, 0 if is_core else memory)


def reserved_memory(owner: Running, share: ChipShare, chip: Chip) -> int:
    """MiB of the chip that its owner may really use: its cap where that is lower (Q7)."""
    if chip.host_cpu:
        return 0
    return share.memory if owner.chip_memory_cap is None else min(share.memory, owner.chip_memory_cap)


def shares_of(attempt: Running) -> Iterator[ChipShare]:
    return (share for place in attempt.placements for share in place.chips)


def slicing_of(chip: Chip) -> int:
    """Strength of the strongest slice class that the chip enforces; -1 for none."""
    ranks = [ISOLATION_STRENGTH[one] for one in chip.isolation if one is not Isolation.EXCLUSIVE]
    return max(ranks, default=-1)


class Room:
    """What guests hold, and what is left for more of them, beside what this cycle's starts will take."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cpu: Counter[Id] = Counter()
        """Of each node, millicores held by guests; and MiB:"""
        self._memory: Counter[Id] = Counter()
        self._planned_cpu: Counter[Id] = Counter()
        self._planned_memory: Counter[Id] = Counter()
        self._milli: Counter[Id] = Counter()
        self._chip_memory: Counter[Id] = Counter()
        self._guests_on_chip: defaultdict[Id, list[Running]] = defaultdict(list)
        self._guests_on_node: defaultdict[Id, list[Running]] = defaultdict(list)
        self._newcomers: defaultdict[Id, list[Tenant]] = defaultdict(list)
        self._planned_chips: set[Id] = set()
        self._owners: dict[Id, dict[Id, list[tuple[Running, ChipShare]]]] = {}
        for guest in ledger.guests.values():
            for place in guest.placements:
                self._guests_on_node[place.node].append(guest)
                self._count(place)
                for share in place.chips:
                    self._guests_on_chip[share.chip].append(guest)

    def staying(self) -> list[Running]:
        """Guests that have not been told to go, by id."""
        guests = self._ledger.guests
        return [guests[guest] for guest in sorted(guests) if not guests[guest].leaving]

    def owners_of(self, chip: Chip) -> list[tuple[Running, ChipShare]]:
        """Who holds a part of this chip by right, and which, by id."""
        of_node = self._owners.get(chip.node)
        if of_node is None:
            of_node = self._owners[chip.node] = {}
            for attempt in self._ledger.running_on(chip.node):
                for share in shares_of(attempt):
                    of_node.setdefault(share.chip, []).append((attempt, share))
        return of_node.get(chip.id, [])

    def plan(self, places: Iterable[Placement]) -> None:
        """Somebody starts there by right, now or as soon as guests have gone."""
        for place in places:
            self._planned_cpu[place.node] += place.cpu + self._claims(place)
            self._planned_memory[place.node] += place.memory
            self._planned_chips |= {share.chip for share in place.chips}

    def in_the_way(self, places: Iterable[Placement], going: Collection[Id]) -> set[Id]:
        """Guests that hold what these placements, which are planned, need: on their chips all; of a node as many
        as make room for it, those first that go anyway, then the latest come.
        """
        found: set[Id] = set()
        for place in places:
            found |= {guest.id for share in place.chips for guest in self._guests_on_chip[share.chip]}
            short_cpu, short_memory = self._short(place.node)
            for guest in sorted(
                self._guests_on_node[place.node],
                key=lambda guest: (guest.id not in going and not guest.leaving, -guest.started, guest.id),
            ):
                if short_cpu <= 0 and short_memory <= 0:
                    break
                found.add(guest.id)
                for held in guest.placements:
                    if held.node == place.node:
                        short_cpu -= held.cpu
                        short_memory -= held.memory
        return found

    def host_has(self, node: Id, request: Request) -> bool:
        """Whether the node has so much host CPU and memory left for one more guest."""
        short_cpu, short_memory = self._short(node)
        return (not request.cpu or short_cpu + request.cpu <= 0) and (
            not request.memory or short_memory + request.memory <= 0
        )

    def chip_has(self, chip: Chip, share: ChipShare) -> bool:
        """Whether so much of the chip is left for one more guest (Q7); nothing where somebody starts on it."""
        owners = self.owners_of(chip)
        lent = min(WHOLE_CHIP, sum(held.milli for _, held in owners))
        reserved = sum(reserved_memory(owner, held, chip) for owner, held in owners)
        return (
            chip.id not in self._planned_chips
            and self._milli[chip.id] + share.milli <= lent
            and reserved + self._chip_memory[chip.id] + share.memory <= chip.memory
        )

    def accepts(self, chip: Chip, newcomer: Tenant) -> bool:
        """P4, among owners and guests: strangers only at or above what both accept."""
        beside = [tenant(owner.organization, owner.isolation) for owner, _ in self.owners_of(chip)]
        beside += [
            tenant(guest.organization, guest.isolation) for guest in self._guests_on_chip[chip.id]
        ] + self._newcomers[chip.id]
        for other in beside:
            strongest = max(other.accepts, newcomer.accepts)
            stranger = other.organization != newcomer.organization
            if strongest == EXCLUSIVE or (stranger and slicing_of(chip) < strongest):
                return False
        return True

    def let_in(self, job: Job, place: Placement) -> None:
        """The job is a guest there."""
        self._count(place)
        for share in place.chips:
            self._newcomers[share.chip].append(tenant(job.organization, job.gang.request.isolation))

    def let_out(self, job: Job, place: Placement) -> None:
        """It is not: what `let_in` did is undone."""
        self._count(place, -1)
        for share in place.chips:
            self._newcomers[share.chip].remove(tenant(job.organization, job.gang.request.isolation))

    def _count(self, place: Placement, times: int = 1) -> None:
        self._cpu[place.node] += times * place.cpu
        self._memory[place.node] += times * place.memory
        for share in place.chips:
            self._milli[share.chip] += times * share.milli
            self._chip_memory[share.chip] += times * share.memory

    def _claims(self, place: Placement) -> int:
        chips = self._ledger.chips
        return sum(host_cpu_claim(share.milli, chips[share.chip].host_cpu) for share in place.chips)

    def _short(self, node: Id) -> tuple[int, int]:
        """Millicores and MiB by which the node lacks what is held and planned; below 0: what is left."""
        state = self._ledger.states[node]
        return (
            self._cpu[node] + self._planned_cpu[node] - state.free_cpu,
            self._memory[node] + self._planned_memory[node] - state.free_memory,
        )
