"""What is played: a workload on a cluster, and what has to be known to read the figures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scheduler_core.simulation.replay.running import fits_empty
from scheduler_core.simulation.replay.state import CHIPS, WIDEST_GANG_NODES, Cluster, fresh_state
from scheduler_core.simulation.simulate.options import BadOption, TeamQuota, unknown
from scheduler_core.simulation.workload import Workload, gang_of, whole


@dataclass(frozen=True, slots=True)
class Scenario:
    """Jobs and nodes. `about`: sentences on where they come from and what was done to them."""

    work: Workload
    cluster: Cluster
    about: tuple[str, ...]
    quotas: tuple[TeamQuota, ...] = ()
    """Only the engine heeds them."""

    @property
    def nodes(self) -> str:
        """The cluster in words: `16 x 8 H100-80GB, 4 x 4 T4`."""
        kinds: dict[tuple[int, str], int] = {}
        for chips, bit in zip(
            self.cluster.capacity[:, CHIPS].tolist(), self.cluster.types.tolist(), strict=True
        ):
            kind = (chips, self.work.type_names[bit.bit_length() - 1])
            kinds[kind] = kinds.get(kind, 0) + 1
        return ", ".join(f"{count} × {chips} {name}" for (chips, name), count in kinds.items())

    @property
    def offered(self) -> float:
        """Percent: the chip-time asked for over what there is until the last submission."""
        asked = int((self.work.replicas * self.work.milli * self.work.runtime).sum())
        return 100 * asked / (1000 * self.cluster.chips * max(1, self.work.span))

    @property
    def refused(self) -> int:
        """Jobs that the empty cluster could not hold (F6)."""
        return int((~fits_empty(fresh_state(self.cluster, self.work))).sum())


def checked(scenario: Scenario) -> Scenario:
    """The scenario itself, where at least one job fits its cluster and no gang needs more nodes than can be
    simulated. Raises `BadOption`.
    """
    work, widest = scenario.work, int(scenario.cluster.capacity[:, CHIPS].max())
    largest = int(work.gang_chips.max())
    if largest > WIDEST_GANG_NODES * widest:
        raise BadOption(
            f"{work.name} has a job of {largest} chips: more than {WIDEST_GANG_NODES} nodes of {widest}, the most "
            "that one job can have here. Give wider nodes with --nodes."
        )
    if scenario.refused < len(work):
        return scenario
    least = int(np.argmin(work.gang_chips))
    raise BadOption(
        f"No job of {work.name} fits this cluster ({scenario.nodes}): the smallest asks for "
        f"{int(work.replicas[least])} x {int(work.chips[least])} chips, and the widest node has {widest}. "
        "Give larger nodes with --nodes."
    )


def with_quotas(scenario: Scenario, quotas: tuple[TeamQuota, ...]) -> Scenario:
    """The scenario with these quotas too, each in place of one of the same team and type. Raises `BadOption`."""
    work = scenario.work
    for quota in quotas:
        if quota.team not in work.teams:
            raise BadOption(f"--quota: {unknown('team', quota.team, work.teams)}")
        if quota.chip_type not in work.type_names:
            raise BadOption(f"--quota: {unknown('chip type', quota.chip_type, work.type_names)}")
    by_key = {(quota.team, quota.chip_type): quota for quota in (*scenario.quotas, *quotas)}
    _check_limits(work, tuple(by_key.values()))
    return replace(scenario, quotas=tuple(by_key.values()))


def _check_limits(work: Workload, quotas: tuple[TeamQuota, ...]) -> None:
    """Every job is within its team's limit of some type that it may have; otherwise it would wait for ever (F6)."""
    most = np.full((len(work.teams), len(work.type_names)), np.iinfo(np.int64).max)
    for quota in quotas:
        if quota.limit is not None:
            most[work.teams.index(quota.team), work.type_names.index(quota.chip_type)] = 1000 * quota.limit
    allowed = work.types[:, None] >> np.arange(len(work.type_names)) & 1
    beyond = work.replicas * work.milli > np.where(allowed, most[work.team], 0).max(axis=1)
    if beyond.any():
        job = int(np.flatnonzero(beyond)[0])
        raise BadOption(
            f"--quota: {int(beyond.sum())} jobs are larger than their team's limit and could never start; one of "
            f"{work.teams[int(work.team[job])]} asks for {int(work.gang_chips[job])} chips."
        )


def first_jobs(work: Workload, jobs: int) -> Workload:
    """The first so many jobs, by submission; 0 is all of them."""
    return work if not jobs or jobs >= len(work) else work.only(np.arange(len(work)) < jobs)


def shaped_for(work: Workload, cluster: Cluster) -> Workload:
    """A workload of whole chips, its gangs cut so that they fill the widest nodes of the cluster."""
    widest = int(cluster.capacity[:, CHIPS].max())
    gangs = [gang_of(chips, widest) for chips in work.gang_chips.tolist()]
    replicas, chips = whole(gang[0] for gang in gangs), whole(gang[1] for gang in gangs)
    return replace(work, replicas=replicas, chips=chips, milli=1000 * chips)


def on_types(work: Workload, type_names: tuple[str, ...]) -> tuple[Workload, int]:
    """The workload on a cluster of these chip types. Who names types of which the cluster has none may have any;
    how many jobs that are.
    """
    every = (1 << len(type_names)) - 1
    own_every = (1 << len(work.type_names)) - 1
    masks = np.zeros(len(work), np.int64)
    for bit, name in enumerate(work.type_names):
        if name in type_names:
            masks |= np.where(work.types >> bit & 1, 1 << type_names.index(name), 0)
    unbound = (work.types & own_every) == own_every
    homeless = (masks == 0) & ~unbound
    types = np.where(unbound | homeless, every, masks).astype(np.int64)
    return replace(work, types=types, type_names=type_names), int(homeless.sum())
