"""What is asked of a simulated cluster: jobs as columns of whole numbers, in the order of their submission."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

NODE_CHIPS = 8
"""Chips a node in the replays in time (the protocol of the figures)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs, one position each, sorted by submission (then by the order of the trace). Times in ms.

    `runtime` is known to the simulator alone; no policy is shown it, unless it is labelled an oracle.
    A job is `replicas` equal replicas, each on one node.
    """

    name: str
    submit: Whole
    runtime: Whole
    replicas: Whole
    chips: Whole
    """Whole chips a replica holds: a slice holds a whole chip where the cluster cannot share one."""
    milli: Whole
    """Milli-chips that a replica really asked for: what useful utilisation counts."""
    cpu: Whole
    """Millicores a replica."""
    memory: Whole
    """MiB of host memory a replica."""
    team: Whole
    types: Whole
    """Bit mask of the chip types accepted."""
    teams: tuple[str, ...]
    type_names: tuple[str, ...] = ("chip",)

    def __len__(self) -> int:
        return len(self.submit)

    @property
    def gang_chips(self) -> Whole:
        """Whole chips of the gang."""
        return self.replicas * self.chips

    @property
    def chip_time(self) -> int:
        """Chip-milliseconds of work in all."""
        return int((self.gang_chips * self.runtime).sum())

    @property
    def span(self) -> int:
        """Milliseconds from the first submission to the last."""
        return int(self.submit[-1] - self.submit[0]) if len(self) else 0

    def only(self, chosen: NDArray[np.bool_]) -> Workload:
        """The chosen jobs alone, in the same order."""
        columns = ("submit", "runtime", "replicas", "chips", "milli", "cpu", "memory", "team", "types")
        return replace(self, **{column: getattr(self, column)[chosen] for column in columns})


def gang_of(chips: int, node_chips: int = NODE_CHIPS) -> tuple[int, int]:
    """Replicas and chips a replica of a gang of so many chips: whole nodes where it is larger than a node,
    otherwise one replica. On nodes of eight, 12 chips are two replicas of 6.
    """
    if chips <= node_chips:
        return 1, chips
    widest = max(width for width in range(1, node_chips + 1) if chips % width == 0)
    return chips // widest, widest


def whole_chip_workload(name: str, jobs: list[tuple[int, int, int, str]]) -> Workload:
    """A workload of whole-chip gangs from (submit ms, run time ms, chips, team); teams are sorted by name.
    A job of no run time is left out: it holds nothing for any time.
    """
    kept = sorted((job for job in jobs if job[1] > 0), key=lambda job: job[0])
    teams = tuple(sorted({team for *_, team in kept}))
    number = {team: index for index, team in enumerate(teams)}
    gangs = [gang_of(chips) for _, _, chips, _ in kept]
    zero = np.zeros(len(kept), np.int64)
    return Workload(
        name,
        submit=whole(submit for submit, *_ in kept),
        runtime=whole(runtime for _, runtime, *_ in kept),
        replicas=whole(replicas for replicas, _ in gangs),
        chips=whole(chips for _, chips in gangs),
        milli=whole(1000 * chips for _, chips in gangs),
        cpu=zero,
        memory=zero,
        team=whole(number[team] for *_, team in kept),
        types=zero + 1,
        teams=teams,
    )


def whole(values: object) -> Whole:
    """The values as a column of whole numbers."""
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]
