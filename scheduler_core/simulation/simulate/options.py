"""What people write after `flexai simulate`, read into values; every refusal says what would do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from scheduler_core.simulation.replay.state import Cluster

MOST_NODES = 10_000
"""Of a simulated cluster, all groups together."""
MOST_CHIPS = 64
"""On one node."""
ENDLESS = 2**40
"""Millicores and MiB of a host that nobody fills."""
SHORTEST_MS, LONGEST_MS = 1_000, 10 * 366 * 24 * 3_600_000
"""Bounds of a time between failures and of a repair: a second and ten years."""

_GROUP = re.compile(r"(\d{1,6})x(\d{1,6}):([A-Za-z0-9][A-Za-z0-9._/-]{0,62})")
_QUOTA = re.compile(r"(.+):([A-Za-z0-9][A-Za-z0-9._/-]{0,62})=(\d{1,6})(?::(\d{1,6}))?")
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 24 * 3_600_000}


class BadOption(ValueError):  # noqa: N818 - it says what is true of the option
    """An option that cannot be meant so; says which and what would do."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that are all alike. Host CPU in millicores and memory in MiB; None never limits."""

    nodes: int
    chips: int
    chip_type: str
    cpu: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a node is lost, and how long until it is back: means, in ms."""

    between: int
    repair: int


@dataclass(frozen=True, slots=True)
class TeamQuota:
    """What a team is promised of a chip type, in chips, and the most that it may have; None is no limit."""

    team: str
    chip_type: str
    guaranteed: int
    limit: int | None


def node_groups(text: str) -> tuple[NodeGroup, ...]:
    """`16x8:H100-80GB,4x4:T4` as groups. Raises `BadOption`."""
    groups = []
    for part in text.split(","):
        match = _GROUP.fullmatch(part.strip())
        if match is None:
            raise BadOption(
                f"--nodes {text}: {part!r} is not NODESxCHIPS:TYPE. 16x8:H100-80GB is 16 nodes of 8 chips; "
                "join several with commas."
            )
        groups.append(NodeGroup(int(match[1]), int(match[2]), match[3]))
    if any(not (group.nodes and 1 <= group.chips <= MOST_CHIPS) for group in groups):
        raise BadOption(f"--nodes {text}: a group has 1 node or more, and a node 1 to {MOST_CHIPS} chips.")
    if sum(group.nodes for group in groups) > MOST_NODES:
        raise BadOption(f"--nodes {text}: at most {MOST_NODES:,} nodes can be simulated.")
    return tuple(groups)


def cluster_of_groups(groups: tuple[NodeGroup, ...]) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster, and the names of its chip types by bit."""
    names = tuple(dict.fromkeys(group.chip_type for group in groups))
    rows = [
        [group.chips, ENDLESS if group.cpu is None else group.cpu,
         ENDLESS if group.memory is None else group.memory]
        for group in groups for _ in range(group.nodes)
    ]  # fmt: skip
    types = [1 << names.index(group.chip_type) for group in groups for _ in range(group.nodes)]
    return Cluster(np.array(rows, np.int64), np.array(types, np.int64)), names


def quotas_of(texts: list[str]) -> tuple[TeamQuota, ...]:
    """`vision:H100-80GB=4:8` each: 4 chips are guaranteed to the team and 8 are its limit. Raises `BadOption`."""
    quotas = []
    for text in texts:
        match = _QUOTA.fullmatch(text.strip())
        if match is None or (match[4] and int(match[4]) < int(match[3])):
            raise BadOption(
                f"--quota {text}: expected TEAM:TYPE=GUARANTEED or TEAM:TYPE=GUARANTEED:LIMIT in chips, the limit not "
                "below what is guaranteed, such as vision:H100-80GB=4:8."
            )
        quotas.append(TeamQuota(match[1], match[2], int(match[3]), int(match[4]) if match[4] else None))
    return tuple(quotas)


def faults_of(text: str) -> Faults | None:
    """`30d:4h`: a node is lost every 30 days on average and back after 4 hours; the empty text is None.
    Raises `BadOption`.
    """
    if not text:
        return None
    between, colon, repair = text.partition(":")
    if not colon:
        raise BadOption(
            f"--faults {text}: expected FAILURES:REPAIR, such as 30d:4h (a node is lost every 30 days on "
            "average and back after 4 hours)."
        )
    return Faults(_duration(text, between), _duration(text, repair))


def names_of(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Names joined by commas, each known, none twice. Raises `BadOption` with the nearest known name."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise BadOption(unknown(what, name, known))
    return names


def unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    """The sentence for a name that nothing has."""
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"No {what} is called {name!r}.{hint} There are {', '.join(known)}."


def _duration(text: str, part: str) -> int:
    match = _DURATION.fullmatch(part.strip())
    found = int(match[1]) * _UNIT_MS[match[2]] if match else 0
    if not SHORTEST_MS <= found <= LONGEST_MS:
        raise BadOption(
            f"--faults {text}: {part!r} is not a time. Write a whole number and s, m, h or d, such as 12h; "
            "a second at least, ten years at most."
        )
    return found
