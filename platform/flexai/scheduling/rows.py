"""Rows as the feed reads them, one JSON array each, and what they are to the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import msgspec

from flexai.jobs.requests import gangs_from, request_from
from scheduler_core.curves import curve_of
from scheduler_core.model import (
    AllocationKind,
    Chip,
    ChipShare,
    Choose,
    Curve,
    Gang,
    Isolation,
    Job,
    Lend,
    Node,
    PastUse,
    Placement,
    Pool,
    Promise,
    Quota,
    Request,
    Reservation,
    Running,
    Seen,
    Team,
    UserCap,
)
from scheduler_core.predict import Predictions

NO_SUCH_POOL = 0
"""Stands for a pool that a job names and the cell does not have (any more): no node is in it."""


class Mark(msgspec.Struct, array_like=True, gc=False):
    """A row of which only this matters: it changed, and does not count any more."""

    id: int
    changed: int


class RemovalRow(msgspec.Struct, array_like=True, gc=False):
    kind: str
    row: int
    changed: int


class PoolRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    name: str
    slice_step: int

    def as_engine(self) -> Pool:
        return Pool(id=self.id, name=self.name, slice_step=self.slice_step)


class NodeRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    name: str
    pool: int
    cpu: int
    memory: int
    state: str
    reachable: bool
    topology: list[str]
    images: bool

    def as_engine(self) -> Node:
        because = self.state if self.state != "ready" else "" if self.reachable else "unreachable"
        return Node(
            id=self.id,
            name=self.name,
            pool=self.pool,
            cpu=self.cpu,
            memory=self.memory,
            ready=not because,
            unready_because=because,
            topology=tuple(self.topology),
            images=self.images,
        )


class ChipRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    node: int
    index: int
    type: str
    memory: int
    present: bool
    healthy: bool
    health: int
    speed: int
    isolation: list[str]
    host_cpu: int
    in_use: bool

    @property
    def counts(self) -> bool:
        """False once the agent no longer reports it and nothing holds it."""
        return self.present or self.in_use

    def as_engine(self) -> Chip:
        return Chip(
            id=self.id,
            node=self.node,
            index=self.index,
            type=self.type,
            memory=self.memory,
            healthy=self.present and self.healthy,
            health=self.health,
            speed=self.speed,
            isolation=_classes(tuple(self.isolation)),
            host_cpu=self.host_cpu,
        )


class QuotaRow(msgspec.Struct, array_like=True, gc=False):
    chip_type: str
    guaranteed: int
    limit: int | None
    over_quota_weight: int


class TeamRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    name: str
    organization: int
    parent: int | None
    quotas: list[QuotaRow] | None
    past_use: list[tuple[str, int, int]] | None
    """Chip type, chip-milliseconds, as of."""
    user_caps: list[tuple[str, int]] | None
    """Chip type, milli-chips."""
    is_spent: bool
    """A hard budget of the team itself is spent; how much of it is left is no matter before that."""

    def as_engine(self) -> Team:
        quotas = tuple(
            Quota(quota.chip_type, quota.guaranteed, quota.limit, quota.over_quota_weight)
            for quota in self.quotas or ()
        )
        past_use = tuple(PastUse(*use) for use in self.past_use or ())
        caps = tuple(UserCap(*cap) for cap in self.user_caps or ())
        left = 0 if self.is_spent else None
        return Team(self.id, self.name, self.organization, self.parent, quotas, past_use, caps, left)


class JobRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    name: str
    team: int
    organization: int
    user: int
    priority: int
    preemptible: bool
    submitted: int
    start_after: int | None
    version: int
    set: int | None
    set_cap: int | None
    min_runtime: int | None
    max_duration: int | None
    node_pools: list[str] | None
    resources: msgspec.Raw
    replicas: msgspec.Raw
    attained: int
    times_taken: int
    checkpoint: bool
    endless: bool
    alternatives: msgspec.Raw
    choose: str | None
    speeds: dict[str, dict[str, int]] | None
    restart_cost: int
    image: str

    def is_due(self, now: int) -> bool:
        """Whether its `start_after` has come; `now` in milliseconds since the epoch."""
        return self.start_after is None or self.start_after <= now

    def as_engine(self, pools: dict[str, int], predictions: Predictions) -> Job:
        """`pools` are the cell's pools by name; `predictions` what was learned of ended runs."""
        gang, *others = _gangs(
            bytes(self.resources), bytes(self.alternatives), bytes(self.replicas), self.image
        )
        return Job(
            id=self.id,
            name=self.name,
            team=self.team,
            organization=self.organization,
            user=self.user,
            gang=gang,
            others=tuple(others),
            choose=Choose(self.choose) if self.choose else Choose.EARLIEST_FINISH,
            priority=self.priority,
            submitted=self.submitted,
            pools=_pools(self.node_pools, pools),
            preemptible=self.preemptible,
            min_runtime=self.min_runtime or 0,
            max_duration=self.max_duration,
            set=self.set,
            set_cap=self.set_cap,
            version=self.version,
            prediction=predictions.of(self.user, self.team, self.name, self.image),
            attained=self.attained,
            times_taken=self.times_taken,
            checkpoint=self.checkpoint,
            endless=self.endless,
            restart_cost=self.restart_cost,
            curves=_curves(self.speeds, gang.maximum),
        )


class PlacementRow(msgspec.Struct, array_like=True, gc=False):
    replica: int
    node: int
    cpu: int
    memory: int
    shares: list[tuple[int, int, int]] | None

    def as_engine(self) -> Placement:
        shares = tuple([ChipShare(*share) for share in self.shares or ()])
        return Placement(self.replica, self.node, self.cpu, self.memory, shares)


class MixRow(msgspec.Struct, array_like=True, gc=False):
    changed: int
    requests: list[tuple[msgspec.Raw, int]]

    def as_engine(self) -> tuple[Seen, ...]:
        """Its requests, numbered in their order."""
        return tuple(
            Seen(number, _request(bytes(resources)), count)
            for number, (resources, count) in enumerate(self.requests, start=1)
        )


def as_rows_of(placements: Iterable[Placement]) -> list[object]:
    """Placements as they are stored, and read again by `PlacementRow`."""
    return [
        [place.replica, place.node, place.cpu, place.memory, [list(share_of(share)) for share in place.chips]]
        for place in placements
    ]


def share_of(share: ChipShare) -> tuple[int, int, int]:
    """Chip, milli-chips, MiB."""
    return share.chip, share.milli, share.memory


class PromiseRow(msgspec.Struct, array_like=True, gc=False):
    job: int
    changed: int
    attempts: list[int]
    placements: list[PlacementRow]

    def as_engine(self) -> Promise:
        placements = tuple(place.as_engine() for place in self.placements)
        return Promise(self.job, placements, tuple(self.attempts))


class ReservationRow(msgspec.Struct, array_like=True, gc=False):
    job: int
    changed: int
    at: int
    placements: list[PlacementRow]

    def as_engine(self) -> Reservation:
        return Reservation(self.job, self.at, tuple(place.as_engine() for place in self.placements))


class AttemptRow(msgspec.Struct, array_like=True, gc=False):
    id: int
    changed: int
    job: int
    team: int
    organization: int
    priority: int
    preemptible: bool
    started: int
    set: int | None
    min_runtime: int | None
    max_duration: int | None
    isolation: str | None
    placements: list[PlacementRow] | None
    user: int
    submitted: int
    attained: int
    times_taken: int
    checkpoint: bool
    endless: bool
    leaving: bool
    name: str
    """The job's."""
    resources: msgspec.Raw
    alternatives: msgspec.Raw
    replicas: msgspec.Raw
    node_pools: list[str] | None
    speeds: dict[str, dict[str, int]] | None
    restart_cost: int
    saved: int | None
    is_guest: bool
    lend: str | None
    offered: int | None
    busy: int | None
    image: str
    unwanted: list[int] | None

    def as_engine(self, pools: dict[str, int], predictions: Predictions) -> Running:
        """`pools` are the cell's pools by name; `predictions` what was learned of ended runs."""
        gang = self._gang()
        return Running(
            id=self.id,
            job=self.job,
            team=self.team,
            organization=self.organization,
            placements=tuple([place.as_engine() for place in self.placements or ()]),
            priority=self.priority,
            preemptible=self.preemptible,
            started=self.started,
            set=self.set,
            min_runtime=self.min_runtime or 0,
            max_duration=self.max_duration,
            isolation=Isolation(self.isolation) if self.isolation else None,
            user=self.user,
            submitted=self.submitted,
            attained=self.attained,
            prediction=predictions.of(self.user, self.team, self.name, self.image),
            times_taken=self.times_taken,
            checkpoint=self.checkpoint,
            endless=self.endless,
            leaving=self.leaving,
            gang=gang,
            pools=_pools(self.node_pools, pools),
            curves=_curves(self.speeds, gang.maximum) if gang is not None else (),
            restart_cost=self.restart_cost,
            checkpointed=self.saved,
            kind=AllocationKind.GUEST if self.is_guest else AllocationKind.OWNED,
            lend=Lend(self.lend) if self.lend else Lend.NEVER,
            offered=self.offered,
            busy=self.busy,
            unwanted=tuple(self.unwanted or ()),
        )

    def _gang(self) -> Gang | None:
        """What it asked for; None where it had alternatives, and so may not be placed anew as it is. Without a
        checkpoint it keeps its size: a resize ends the attempt, and all that it did would be lost.
        """
        asked = bytes(self.resources), bytes(self.alternatives), bytes(self.replicas), self.image
        return _sized(asked, 0 if self.checkpoint else len(self.placements or ()))


def _curves(speeds: dict[str, dict[str, int]] | None, maximum: int) -> tuple[Curve, ...]:
    """What was measured of the job, up to the most replicas that it may have (E1)."""
    if not speeds:
        return ()
    return tuple(
        Curve(kind, curve_of({int(size): speed for size, speed in sizes.items()}, maximum))
        for kind, sizes in sorted(speeds.items())
    )


def _pools(names: list[str] | None, pools: dict[str, int]) -> tuple[int, ...]:
    return tuple([pools.get(name, NO_SUCH_POOL) for name in names]) if names else ()


@lru_cache(maxsize=4096)
def _sized(asked: tuple[bytes, bytes, bytes, str], size: int) -> Gang | None:
    """The one gang that was asked for, of this size unless it is 0; None where there were alternatives."""
    gang, *others = _gangs(*asked)
    if others:
        return None
    return replace(gang, minimum=size, maximum=size) if size else gang


@lru_cache(maxsize=4096)
def _gangs(resources: bytes, alternatives: bytes, replicas: bytes, image: str) -> tuple[Gang, ...]:
    """Equal requests become one value; ten thousand tasks of an array share it."""
    return gangs_from(
        {
            "resources": msgspec.json.decode(resources),
            "alternatives": msgspec.json.decode(alternatives) or (),
            "replicas": msgspec.json.decode(replicas),
            "image": image,
        }
    )


@lru_cache(maxsize=4096)
def _request(resources: bytes) -> Request:
    return request_from(msgspec.json.decode(resources), in_image=False)


@lru_cache(maxsize=256)
def _classes(names: tuple[str, ...]) -> frozenset[Isolation]:
    return frozenset(Isolation(name) for name in names)
