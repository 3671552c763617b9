"""What to do so that the node has what is wanted: a pure function of both. It starts nothing that was ever started.

Found replicas are the truth of the disk: a replica that ended stays found until the server has acknowledged its end
*and* no longer wants it, so a late or doubled wanted state cannot start it again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from node_agent.protocol import WantedReplica

Key: TypeAlias = tuple[str, int, int]
"""(attempt, replica, generation): what fences a start."""

FENCED = "cancelled"
"""Outcome of a live replica that the server does not know of any more."""


class Phase(enum.Enum):
    """How far a found replica is."""

    LIVE = "live"
    STOPPING = "stopping"
    ENDED = "ended"
    ACKNOWLEDGED = "acknowledged"
    """Ended, and the server has all of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One replica on this node."""

    key: Key
    phase: Phase


@dataclass(frozen=True, slots=True)
class Start:
    """Give the replica a shim."""

    wanted: WantedReplica


@dataclass(frozen=True, slots=True)
class NeverStart:
    """The replica was stopped before it was ever started: report it ended."""

    wanted: WantedReplica


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the replica's shim to end it."""

    key: Key
    outcome: str
    grace_ms: int | None
    """None: the grace that the shim was started with."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what the disk still holds of the replica."""

    key: Key


Action: TypeAlias = Start | NeverStart | Stop | Forget


def plan(wanted: Iterable[WantedReplica], found: Iterable[Found]) -> list[Action]:
    """Stops first, then starts in the order wanted, then removals."""
    by_key = {replica.key: replica.phase for replica in found}
    newest: dict[tuple[str, int], int] = {}
    for attempt, replica, generation in by_key:
        newest[attempt, replica] = max(generation, newest.get((attempt, replica), 0))
    stops: list[Action] = []
    starts: list[Action] = []
    listed: set[Key] = set()
    for replica_wanted in wanted:
        key = (replica_wanted.attempt, replica_wanted.replica, replica_wanted.generation)
        listed.add(key)
        phase = by_key.get(key)
        if phase is None:
            if _may_begin(key, newest, by_key):
                starts.append(_begin(replica_wanted))
        elif phase is Phase.LIVE and replica_wanted.desired == "stop":
            stops.append(Stop(key, replica_wanted.stop_outcome, replica_wanted.grace_ms))
    for key, phase in by_key.items():
        if key not in listed and phase is Phase.LIVE:
            stops.append(Stop(key, FENCED, None))
    forgets: list[Action] = [
        Forget(key) for key, phase in by_key.items() if key not in listed and phase is Phase.ACKNOWLEDGED
    ]
    return stops + starts + forgets


def _begin(wanted: WantedReplica) -> Action:
    return Start(wanted) if wanted.desired == "run" else NeverStart(wanted)


def _may_begin(key: Key, newest: dict[tuple[str, int], int], by_key: dict[Key, Phase]) -> bool:
    """A generation begins only after the one before it has ended, and never after a newer one."""
    attempt, replica, generation = key
    last = newest.get((attempt, replica))
    if last is None:
        return True
    return generation > last and by_key[attempt, replica, last] in (Phase.ENDED, Phase.ACKNOWLEDGED)
