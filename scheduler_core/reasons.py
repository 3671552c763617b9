"""Reasons: every "no" is a value that holds its facts and can say itself (X1).

A reason is true of the state that its decision leaves behind: the snapshot with the decision's units in
place. Order in this file: the request itself, the team, the nodes, the cycle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

from scheduler_core.model import Id
from scheduler_core.slices import percent
from scheduler_core.wording import REJECTED, capital, chips, clock, cores, counted, have, memory, milli, pools

Fact: TypeAlias = "int | str | list[int] | list[str]"


@dataclass(frozen=True, slots=True)
class Reason(ABC):
    """Why something waits or is refused. Subclasses add facts as fields and say them in one sentence."""

    code: ClassVar[str]
    """Stable across releases: stored, filtered by, translated."""

    @abstractmethod
    def sentence(self) -> str:
        """The reason as one English sentence with its numbers."""

    def facts(self) -> dict[str, Fact]:
        """The fields by name, ready for JSON."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


# -- the request itself ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskedWrongly(Reason):
    """The request says something that means nothing (Q2)."""

    code: ClassVar[str] = "asked_wrongly"
    problem: str

    def sentence(self) -> str:
        return f"The request cannot be met as written: {self.problem}."


@dataclass(frozen=True, slots=True)
class EarlierAttemptLives(Reason):
    """Law 5: at most one live attempt of a job."""

    code: ClassVar[str] = "earlier_attempt_lives"

    def sentence(self) -> str:
        return "Its earlier attempt has not ended yet."


@dataclass(frozen=True, slots=True)
class ChipsPromised(Reason):
    """R6: its chips were taken back for it, and those who hold them are leaving."""

    code: ClassVar[str] = "chips_promised"
    leaving: int

    def sentence(self) -> str:
        return (
            f"Its chips are promised: it starts when {counted(self.leaving, 'attempt')} before it has left."
        )


@dataclass(frozen=True, slots=True)
class SetCapReached(Reason):
    """The array's own cap (`%n`)."""

    code: ClassVar[str] = "set_cap_reached"
    cap: int
    live: int

    def sentence(self) -> str:
        return f"Its array runs at most {counted(self.cap, 'task')} at a time, and {self.live} are live."


# -- the team --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TeamLimit(Reason):
    """F1: a limit is hard, and those of the teams above count too. Amounts in milli-chips."""

    code: ClassVar[str] = "team_limit"
    team: str
    """Whose limit it is: the job's team or one above it."""
    chip_type: str
    needed: int
    used: int
    """What that team and all teams below it hold."""
    limit: int

    def sentence(self) -> str:
        if not self.used:
            return (
                f"Needs {chips(self.needed, self.chip_type)}; "
                f"team {self.team} has a limit of {chips(self.limit, self.chip_type)}."
            )
        return (
            f"Team {self.team} uses {milli(self.used)} of its limit of {chips(self.limit, self.chip_type)}; "
            f"this job needs {milli(self.needed)} more."
        )


@dataclass(frozen=True, slots=True)
class OutsideGuarantee(Reason):
    """F4: work that is not preemptible starts only inside the guarantee. Amounts in milli-chips."""

    code: ClassVar[str] = "outside_guarantee"
    team: str
    chip_type: str
    needed: int
    used: int
    """What the team's work that is not preemptible holds."""
    guaranteed: int

    def sentence(self) -> str:
        verb = "is" if self.used == 1000 else "are"
        held = f", of which {milli(self.used)} {verb} taken" if self.used else ""
        needs = f"Needs {chips(self.needed, self.chip_type)} inside the guarantee, as it is not preemptible"
        return f"{needs}; team {self.team} is guaranteed {milli(self.guaranteed)}{held}."


@dataclass(frozen=True, slots=True)
class UserCapReached(Reason):
    """F5: a team may cap what each of its users holds. Amounts in milli-chips."""

    code: ClassVar[str] = "user_cap_reached"
    team: str
    chip_type: str
    needed: int
    used: int
    """What the user holds in that team."""
    cap: int

    def sentence(self) -> str:
        held = f", of which this one uses {milli(self.used)}" if self.used else ""
        return (
            f"Needs {chips(self.needed, self.chip_type)}; "
            f"team {self.team} allows each user {milli(self.cap)}{held}."
        )


@dataclass(frozen=True, slots=True)
class BudgetSpent(Reason):
    """F5: nothing with chips starts for a team whose budget, or that of a team above it, is spent."""

    code: ClassVar[str] = "budget_spent"
    team: str

    def sentence(self) -> str:
        return f"The budget of team {self.team} is spent."


# -- the nodes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoNodes(Reason):
    """There is nowhere to look."""

    code: ClassVar[str] = "no_nodes"
    pools: tuple[str, ...] = ()

    def sentence(self) -> str:
        if not self.pools:
            return "The cell has no nodes yet."
        return f"{capital(pools(self.pools))} {'have' if len(self.pools) > 1 else 'has'} no nodes."


@dataclass(frozen=True, slots=True)
class NoImages(Reason):
    """P7: the job runs in an image, and no node in reach runs any."""

    code: ClassVar[str] = "no_images"
    where: str = "node"

    def sentence(self) -> str:
        return f"Runs in an image; no {self.where} runs images."


@dataclass(frozen=True, slots=True)
class NoSuchChips(Reason):
    """No node in reach has a chip of this type."""

    code: ClassVar[str] = "no_such_chips"
    chip_type: str = ""
    where: str = "node"

    def sentence(self) -> str:
        return f"No {self.where} has {f'{self.chip_type} ' if self.chip_type else ''}chips."


@dataclass(frozen=True, slots=True)
class NodesTooSmall(Reason):
    """No node has so many chips of the type, even when it is empty."""

    code: ClassVar[str] = "nodes_too_small"
    needed: int
    largest: int
    chip_type: str = ""
    where: str = "node"

    def sentence(self) -> str:
        needs = f"Needs {chips(self.needed * 1000, self.chip_type)} on one node"
        return f"{needs}; the largest {self.where} has {self.largest}."


@dataclass(frozen=True, slots=True)
class ChipsTooSmall(Reason):
    """No chip of the type has so much memory. MiB."""

    code: ClassVar[str] = "chips_too_small"
    needed: int
    largest: int
    chip_type: str = ""

    def sentence(self) -> str:
        name = f"{self.chip_type} chip" if self.chip_type else "chip"
        needs = f"Needs {memory(self.needed)} of one chip's memory"
        return f"{needs}; the largest {name} has {memory(self.largest)}."


@dataclass(frozen=True, slots=True)
class HostTooSmall(Reason):
    """No node has so much host CPU (millicores) or host memory (MiB), even when it is empty."""

    code: ClassVar[str] = "host_too_small"
    resource: str
    """`cpu` or `memory`."""
    needed: int
    largest: int
    where: str = "node"

    def sentence(self) -> str:
        say = cores if self.resource == "cpu" else memory
        kind = "host CPU" if self.resource == "cpu" else "host memory"
        needs = f"Needs {say(self.needed)} of {kind} on one node"
        return f"{needs}; the largest {self.where} has {say(self.largest)}."


@dataclass(frozen=True, slots=True)
class IsolationNotEnforced(Reason):
    """No chip in reach enforces the class that the slice asks for (Q4)."""

    code: ClassVar[str] = "isolation_not_enforced"
    wanted: str = ""
    chip_type: str = ""

    def sentence(self) -> str:
        name = f"{self.chip_type} chip" if self.chip_type else "chip"
        if not self.wanted:
            return f"Needs a slice; no {name} in reach can be sliced."
        return f"Needs a slice with isolation {self.wanted}; no {name} in reach enforces it."


@dataclass(frozen=True, slots=True)
class NodesNotReady(Reason):
    """Nodes that are large enough take nothing new now."""

    code: ClassVar[str] = "nodes_not_ready"
    nodes: int
    because: tuple[str, ...] = ()

    def sentence(self) -> str:
        why = f": {', '.join(self.because)}" if self.because else ""
        if self.nodes == 1:
            return f"One node that is large enough is not ready{why}."
        return f"{self.nodes} nodes that are large enough are not ready{why}."


@dataclass(frozen=True, slots=True)
class ChipsUnhealthy(Reason):
    """There are enough chips on a node, but not enough healthy ones."""

    code: ClassVar[str] = "chips_unhealthy"
    needed: int
    healthy: int
    chip_type: str = ""
    where: str = "node"

    def sentence(self) -> str:
        needs = f"Needs {chips(self.needed * 1000, self.chip_type)} on one node"
        return f"{needs}; the best {self.where} has {self.healthy} healthy."


@dataclass(frozen=True, slots=True)
class NotEnoughFreeChips(Reason):
    """Enough chips, but others hold them."""

    code: ClassVar[str] = "not_enough_free_chips"
    needed: int
    free: int
    chip_type: str = ""
    where: str = "node"

    def sentence(self) -> str:
        needs = f"Needs {chips(self.needed * 1000, self.chip_type)} on one node"
        return f"{needs}; the emptiest {self.where} has {self.free} free."


@dataclass(frozen=True, slots=True)
class NoRoomForSlice(Reason):
    """No chip has so large a part left. Milli-chips and MiB; 0 asks for nothing on that side."""

    code: ClassVar[str] = "no_room_for_slice"
    milli: int
    memory: int
    free_milli: int
    free_memory: int
    chip_type: str = ""

    def sentence(self) -> str:
        asked = " and ".join(
            [percent(self.milli)] * bool(self.milli) + [memory(self.memory)] * bool(self.memory),
        )
        name = f"{self.chip_type} chip" if self.chip_type else "chip"
        left = f"{percent(max(self.free_milli, 0))} and {memory(max(self.free_memory, 0))}"
        return f"Needs {asked} of one chip; the emptiest {name} in reach has {left} free."


@dataclass(frozen=True, slots=True)
class HeldByStrangers(Reason):
    """P4: the chips with room are held by work that may not share with this job."""

    code: ClassVar[str] = "held_by_strangers"
    chip_type: str = ""

    def sentence(self) -> str:
        name = f"{self.chip_type} chips" if self.chip_type else "chips"
        return f"The {name} with room are held by work that does not share a chip with this job (isolation)."


@dataclass(frozen=True, slots=True)
class NotEnoughHostCpu(Reason):
    """A node has the chips, but too little host CPU is free. Millicores, with what its chips claim (Q6)."""

    code: ClassVar[str] = "not_enough_host_cpu"
    needed: int
    free: int
    where: str = "node"

    def sentence(self) -> str:
        needs = f"Needs {cores(self.needed)} of host CPU on one node"
        return f"{needs}; the {self.where} that comes nearest has {cores(max(self.free, 0))} free."


@dataclass(frozen=True, slots=True)
class NotEnoughHostMemory(Reason):
    """A node has the chips and the CPU, but too little host memory is free. MiB."""

    code: ClassVar[str] = "not_enough_host_memory"
    needed: int
    free: int
    where: str = "node"

    def sentence(self) -> str:
        needs = f"Needs {memory(self.needed)} of host memory on one node"
        return f"{needs}; the {self.where} that comes nearest has {memory(max(self.free, 0))} free."


@dataclass(frozen=True, slots=True)
class NotEnoughNodes(Reason):
    """Q8: the gang needs so many nodes at once; `free` of them could take a replica."""

    code: ClassVar[str] = "not_enough_nodes"
    needed: int
    free: int
    each: str = ""
    """What every replica needs, in words."""

    def sentence(self) -> str:
        each = f" with {self.each} each" if self.each else ""
        return f"Needs {self.needed} nodes{each} at the same time; {have(self.free)} that free."


@dataclass(frozen=True, slots=True)
class NotEnoughRoom(Reason):
    """Q8 with `spread: false`: room for so many replicas at once is needed."""

    code: ClassVar[str] = "not_enough_room"
    needed: int
    free: int
    each: str = ""

    def sentence(self) -> str:
        each = f" with {self.each} each" if self.each else ""
        return f"Needs room for {self.needed} replicas{each} at the same time; there is room for {self.free}."


@dataclass(frozen=True, slots=True)
class NotEnoughTogether(Reason):
    """P2: all replicas are to share so many first parts of the topology; no domain has room for more."""

    code: ClassVar[str] = "not_enough_together"
    needed: int
    free: int
    parts: int
    each: str = ""

    def sentence(self) -> str:
        needs = f"Needs {self.needed} replicas{f' with {self.each} each' if self.each else ''} on nodes that share"
        first = counted(self.parts, "part")
        return f"{needs} the first {first} of the topology; there is room for {self.free}."


@dataclass(frozen=True, slots=True)
class NodesRejected(Reason):
    """P1: every node that was looked at, counted by why it was rejected."""

    code: ClassVar[str] = "nodes_rejected"
    nodes: int
    counts: tuple[tuple[str, int], ...] = ()
    """Why (a word of `fit.Why`) and how many nodes, most first."""

    def sentence(self) -> str:
        told = ", ".join(f"{count} {REJECTED.get(why, why)}" for why, count in self.counts)
        return f"Of {counted(self.nodes, 'node')}: {told}."

    def facts(self) -> dict[str, Fact]:
        return {"nodes": self.nodes, **dict(self.counts)}


# -- the cycle -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WouldDelay(Reason):
    """B2: it would fit now, but a gang before it needs those chips while it would still run."""

    code: ClassVar[str] = "would_delay"
    reserved: Id
    """The job that holds the reservation."""
    name: str
    until: int
    """When that job is expected to start, in milliseconds since the epoch."""

    def sentence(self) -> str:
        return (
            f"It would delay job {self.name}, for which chips are reserved until {clock(self.until)}, "
            "and may still run then."
        )


@dataclass(frozen=True, slots=True)
class BetterSoon(Reason):
    """P5: another of its alternatives is expected to finish earlier, though it starts later."""

    code: ClassVar[str] = "better_soon"
    declined: str
    """The chip type on which it could start now."""
    chip_type: str
    at: int
    """When the better one is expected to start, in milliseconds since the epoch."""

    def sentence(self) -> str:
        return (
            f"It could start on {self.declined or 'host CPU'} now, but is expected to finish earlier on "
            f"{self.chip_type or 'host CPU'} from {clock(self.at)} on."
        )


@dataclass(frozen=True, slots=True)
class CycleBound(Reason):
    """R6: a cycle starts at most so many; the next one goes on."""

    code: ClassVar[str] = "cycle_bound"
    starts: int

    def sentence(self) -> str:
        return (
            f"This cycle started {counted(self.starts, 'job')}, its bound; the next cycle goes on from there."
        )


@dataclass(frozen=True, slots=True)
class LawBroken(Reason):
    """The engine's own placement broke a safety law; it was dropped and the job is quarantined."""

    code: ClassVar[str] = "law_broken"
    law: str
    what: str

    def sentence(self) -> str:
        return f"Its start was withheld, because it would have broken the law {self.law}: {self.what}"


def _plain(value: object) -> Fact:
    assert isinstance(value, int | str | tuple), f"{value!r} is no whole number, text, or tuple of them"
    return list(value) if isinstance(value, tuple) else value
