"""Cells in a few words, for tests that read as we speak. The laws run on every case.

    case = given(nodes=[a_node(chips=4)], waiting=[a_gang("train", replicas=2, chips=4)])
    assert case.decision.waits("train", because=NotEnoughNodes(needed=2, free=1))

Ids are given in the order in which things are named, from 1; chips count through all nodes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import Ground, Rung, Taking
from scheduler_core.model import (
    Chip,
    ChipShare,
    Choose,
    Gang,
    Id,
    Isolation,
    Job,
    Node,
    PastUse,
    Placement,
    Pool,
    Prediction,
    Quota,
    Request,
    Reservation,
    Row,
    Running,
    Team,
    Upsert,
    UserCap,
    Window,
)
from scheduler_core.reasons import Reason
from tests.support.engine_laws import laws_hold

DEFAULT_TEAM = "vision"
SHARED = frozenset({Isolation.EXCLUSIVE, Isolation.ENFORCED, Isolation.COOPERATIVE})


@dataclass(frozen=True)
class ANode:
    """A node and its chips, before ids."""

    name: str
    pool: str
    node: Node
    chips: tuple[Chip, ...]


@dataclass(frozen=True)
class ATeam:
    """A team, before ids."""

    name: str
    organization: str
    quotas: tuple[Quota, ...]
    parent: str | None = None
    past_use: tuple[PastUse, ...] = ()
    user_caps: tuple[UserCap, ...] = ()
    budget_left: int | None = None


@dataclass(frozen=True)
class AJob:
    """A job, before ids."""

    name: str
    job: Job
    team: str
    pools: tuple[str, ...]
    array: str | None


@dataclass(frozen=True)
class ALive:
    """A live attempt of a job: node name and chip positions for each replica."""

    job: AJob
    places: tuple[tuple[str, tuple[int, ...]], ...]
    started: int = 0
    checkpointed: int | None = None
    resting: tuple[tuple[str, object], ...] = ()
    """Further fields of the row, as they are."""


@dataclass(frozen=True)
class AReservation:
    """A reservation of a waiting job: node name and chip positions for each replica."""

    job: str
    at: int
    places: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class AWindow:
    """Nodes that are one team's from one instant to another."""

    team: str
    nodes: tuple[str, ...]
    starts: int
    ends: int


def a_node(
    name: str = "",
    *,
    chips: int = 0,
    type: str = "A100",
    pool: str = "default",
    chip_memory: int = 40960,
    cpu: int = 64_000,
    memory: int = 512_000,
    ready: bool = True,
    because: str = "draining",
    unhealthy: Sequence[int] = (),
    health: Sequence[int] = (),
    isolation: frozenset[Isolation] = SHARED,
    host_cpu: int = 0,
    drain_at: int | None = None,
    topology: tuple[str, ...] = (),
    speed: int = 1000,
    images: bool = False,
) -> ANode:
    """A node; `unhealthy` lists positions of its chips, `health` their scores."""
    why = "" if ready else because
    node = Node(0, name, 0, cpu, memory, ready, why, topology=topology, drain_at=drain_at, images=images)
    made = tuple(
        Chip(
            0,
            0,
            index,
            type,
            chip_memory,
            healthy=index not in unhealthy,
            health=health[index] if index < len(health) else 100,
            isolation=isolation,
            host_cpu=host_cpu,
            speed=speed,
        )
        for index in range(chips)
    )
    return ANode(name, pool, node, made)


def a_cpu_node(name: str = "", *, cores: int, pool: str = "default", memory: int = 8192) -> ANode:
    """A node of the `cpu` driver: each core is a chip that claims itself (Q6)."""
    return a_node(
        name,
        chips=cores,
        type="cpu",
        pool=pool,
        chip_memory=memory,
        cpu=cores * 1000,
        memory=memory,
        host_cpu=1000,
    )


def a_team(
    name: str,
    *quotas: Quota,
    organization: str = "acme",
    parent: str | None = None,
    past_use: Sequence[PastUse] = (),
    user_caps: Sequence[UserCap] = (),
    budget_left: int | None = None,
) -> ATeam:
    """A team; without quotas it is unlimited and unguaranteed. `parent` is the name of another one given."""
    return ATeam(name, organization, quotas, parent, tuple(past_use), tuple(user_caps), budget_left)


def a_quota(
    chip_type: str = "A100", *, guaranteed: int = 0, limit: int | None = None, weight: int = 1
) -> Quota:
    """A quota in whole chips."""
    return Quota(chip_type, guaranteed * 1000, None if limit is None else limit * 1000, weight)


def a_gang(
    name: str,
    *,
    replicas: int | tuple[int, int] = 1,
    chips: int = 0,
    type: str | tuple[str, ...] = (),
    milli: int = 0,
    chip_memory: int = 0,
    cpu: int = 0,
    memory: int = 0,
    isolation: Isolation | None = None,
    spread: bool = True,
    team: str = DEFAULT_TEAM,
    pools: tuple[str, ...] = (),
    priority: int = 50,
    submitted: int = 0,
    preemptible: bool = False,
    array: str | None = None,
    cap: int | None = None,
    version: int = 0,
    user: int = 1,
    runs: int | tuple[int, int] | None = None,
    max_duration: int | None = None,
    endless: bool = False,
    attained: int = 0,
    others: tuple[Gang, ...] = (),
    choose: Choose = Choose.EARLIEST_FINISH,
    within: int | None = None,
    checkpoint: bool = False,
    restart_cost: int = 0,
    image: bool = False,
) -> AJob:
    """A waiting gang; `replicas=(2, 4)` is elastic, `array` and `cap` make it a task of a set, `runs` is how
    long it is predicted to run: always so long, or median and ninth decile.
    """
    low, high = replicas if isinstance(replicas, tuple) else (replicas, replicas)
    types = (type,) if isinstance(type, str) else type
    request = Request(chips, milli, chip_memory, types, cpu, memory, isolation, image)
    job = Job(
        0,
        name,
        0,
        0,
        user,
        Gang(request, low, high, spread, within),
        priority=priority,
        submitted=submitted,
        preemptible=preemptible,
        set_cap=cap,
        version=version,
        max_duration=max_duration,
        endless=endless,
        attained=attained,
        others=others,
        choose=choose,
        checkpoint=checkpoint,
        restart_cost=restart_cost,
        prediction=None if runs is None else Prediction(*((runs, runs) if isinstance(runs, int) else runs)),
    )
    return AJob(name, job, team, pools, array)


def a_job(name: str, *, chips: int = 1, **more: object) -> AJob:
    """A job of one replica with whole chips."""
    return a_gang(name, chips=chips, **more)  # type: ignore[arg-type]


def a_slice(name: str, *, milli: int = 0, chip_memory: int = 0, **more: object) -> AJob:
    """A job of one replica with a part of one chip."""
    return a_gang(name, milli=milli, chip_memory=chip_memory, **more)  # type: ignore[arg-type]


def a_cpu_job(name: str, *, cpu: int = 1000, **more: object) -> AJob:
    """A job of one replica without any chip."""
    return a_gang(name, cpu=cpu, **more)  # type: ignore[arg-type]


def live(
    job: AJob,
    *places: tuple[str, Sequence[int]],
    started: int = 0,
    checkpointed: int | None = None,
    **row: object,
) -> ALive:
    """A live attempt: for each replica the node's name and the positions of its chips there; `row` are
    further fields of its row.
    """
    at = tuple((node, tuple(chips)) for node, chips in places)
    return ALive(job, at, started, checkpointed, tuple(row.items()))


def reserved(job: str, at: int, *places: tuple[str, Sequence[int]]) -> AReservation:
    """A reservation that stands: for each replica the node's name and the positions of its chips there."""
    return AReservation(job, at, tuple((node, tuple(chips)) for node, chips in places))


def given(
    *,
    nodes: Sequence[ANode] = (),
    waiting: Sequence[AJob] = (),
    running: Sequence[ALive] = (),
    teams: Sequence[ATeam] = (),
    pools: Sequence[Pool] = (),
    reservations: Sequence[AReservation] = (),
    windows: Sequence[AWindow] = (),
    policy: Policy | None = None,
    now: int = 1_000_000,
) -> Case:
    """The case with all ids filled in. Pools and teams that are only named are made."""
    ids = _Ids(nodes, waiting, running, teams, pools)
    snapshot = replace(
        ids.snapshot(now),
        reservations=tuple(ids.reservation(row) for row in reservations),
        windows=tuple(ids.window(n, window) for n, window in enumerate(windows, 1)),
    )
    return Case(snapshot, policy or Policy(), tuple(attempt.job.name for attempt in running))


@dataclass(frozen=True)
class Case:
    """A snapshot and, once asked for, its decision with the laws checked."""

    snapshot: Snapshot
    policy: Policy
    live: tuple[str, ...] = ()
    """The names of what runs, in order."""

    @cached_property
    def decision(self) -> Decided:
        """What the engine decides; every law has been checked on it."""
        decision = decide(self.snapshot, self.policy)
        laws_hold(self.snapshot, self.policy, decision)
        order_does_not_matter(self.snapshot, self.policy, decision)
        return Decided(self.snapshot, decision, self.live)

    def but(self, **changes: object) -> Case:
        """The same case with rows of the snapshot replaced."""
        return Case(replace(self.snapshot, **changes), self.policy, self.live)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Decided:
    """A decision, asked by name."""

    snapshot: Snapshot
    raw: Decision
    live: tuple[str, ...] = ()
    _names: dict[Id, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", {job.id: job.name for job in self.snapshot.jobs})

    @property
    def started(self) -> list[str]:
        """Names of what starts, in order."""
        return [self._names[unit.start.job] for unit in self.raw.units]

    def takes(self, name: str, *, for_: str, rung: Rung | None = None, ground: Ground | None = None) -> bool:
        """Whether the unit that starts `for_` takes from the job of this name, so and by this right."""
        takings = self.takings_for(for_)
        assert name in takings, f"takes from {sorted(takings)}"
        taking = takings[name]
        return rung in (None, taking.rung) and ground in (None, taking.ground)

    def takings_for(self, name: str) -> dict[str, Taking]:
        """Whom the start of this job takes from, by name."""
        unit = next(unit for unit in self.raw.units if self._names[unit.start.job] == name)
        return {self.of_attempt[taking.attempt]: taking for taking in unit.takings}

    def starts(self, name: str, *, on: Sequence[str] | None = None) -> bool:
        """Whether the job starts; `on` also asks for the nodes of its replicas, in any order."""
        if name not in self.started:
            return False
        return on is None or sorted(self.nodes_of(name)) == sorted(on)

    def placements_of(self, name: str) -> tuple[Placement, ...]:
        """Where its replicas sit."""
        return next(u.start.placements for u in self.raw.units if self._names[u.start.job] == name)

    def nodes_of(self, name: str) -> list[str]:
        """The names of its replicas' nodes."""
        names = {node.id: node.name for node in self.snapshot.nodes}
        return [names[placement.node] for placement in self.placements_of(name)]

    def reasons_of(self, name: str) -> tuple[Reason, ...]:
        """Why it waits."""
        for verdict in self.raw.verdicts:
            if name in (self._names[job] for job in verdict.jobs):
                return verdict.reasons
        raise AssertionError(f"{name} does not wait; started: {self.started}")

    def waits(self, name: str, *, because: Reason) -> bool:
        """Whether it waits for this reason. Fields of `because` left at their default are not compared."""
        reasons = self.reasons_of(name)
        told = "\n  ".join(repr(reason) for reason in reasons)
        assert any(_says(reason, because) for reason in reasons), f"{name} waits because\n  {told}"
        return True

    def reservation_of(self, name: str) -> Reservation | None:
        """Where and when it is expected to start."""
        return next((row for row in self.raw.reservations if self._names[row.job] == name), None)

    @property
    def of_attempt(self) -> dict[Id, str]:
        """The names of what runs, by attempt."""
        return dict(enumerate(self.live, 1001))

    @property
    def relieved(self) -> dict[str, Taking]:
        """Whom relief takes from, by name."""
        return {self.of_attempt[taking.attempt]: taking for taking in self.raw.relief}

    def sentence_of(self, name: str) -> str:
        """The first reason, said."""
        return self.reasons_of(name)[0].sentence()


def order_does_not_matter(snapshot: Snapshot, policy: Policy, decision: Decision) -> None:
    """Symmetry and S1: shuffled rows, and the same rows told as events, give the same decision."""
    shuffle = random.Random(len(snapshot.jobs) * 1000 + len(snapshot.nodes)).sample
    parts = {
        name: tuple(shuffle(list(getattr(snapshot, name)), len(getattr(snapshot, name))))
        for name in (
            "pools",
            "nodes",
            "chips",
            "teams",
            "jobs",
            "running",
            "promises",
            "reservations",
            "windows",
            "seen",
        )
    }
    assert decide(replace(snapshot, **parts), policy) == decision
    told = Scheduler(Snapshot(0), policy)
    rows: list[Row] = [row for part in parts.values() for row in part]
    told.apply(Upsert(row) for row in shuffle(rows, len(rows)))
    assert told.decide(snapshot.now) == decision
    assert told.decide(snapshot.now) == decision


def _says(reason: Reason, because: Reason) -> bool:
    if type(reason) is not type(because):
        return False
    asked = [item for item in fields(because) if getattr(because, item.name) != item.default]
    return all(getattr(reason, item.name) == getattr(because, item.name) for item in asked)


class _Ids:
    """Gives ids by name."""

    def __init__(
        self,
        nodes: Sequence[ANode],
        waiting: Sequence[AJob],
        running: Sequence[ALive],
        teams: Sequence[ATeam],
        pools: Sequence[Pool],
    ) -> None:
        self.nodes = [replace(node, name=node.name or f"node-{n}") for n, node in enumerate(nodes, 1)]
        self.waiting, self.running = waiting, running
        jobs = [*waiting, *(attempt.job for attempt in running)]
        pool_names = [pool.name for pool in pools]
        pool_names += [name for node in self.nodes for name in (node.pool,)]
        pool_names += [name for job in jobs for name in job.pools]
        self.pools = {name: Pool(n, name) for n, name in enumerate(dict.fromkeys(pool_names), 1)}
        self.pools |= {pool.name: replace(pool, id=self.pools[pool.name].id) for pool in pools}
        known = {team.name: team for team in teams}
        names = list(dict.fromkeys([*known, *(job.team for job in jobs)]))
        all_teams = [known.get(name) or ATeam(name, "acme", ()) for name in names]
        organizations = {
            name: n for n, name in enumerate(dict.fromkeys(t.organization for t in all_teams), 1)
        }
        team_ids = {team.name: n for n, team in enumerate(all_teams, 1)}
        self.teams = {
            team.name: Team(
                team_ids[team.name],
                team.name,
                organizations[team.organization],
                None if team.parent is None else team_ids[team.parent],
                team.quotas,
                team.past_use,
                team.user_caps,
                team.budget_left,
            )
            for team in all_teams
        }
        arrays = dict.fromkeys(job.array for job in jobs if job.array is not None)
        self.arrays = {name: n for n, name in enumerate(arrays, 1)}
        self.chips: dict[str, list[Chip]] = {}
        for n, node in enumerate(self.nodes, 1):
            first = 1 + sum(len(chips) for chips in self.chips.values())
            self.chips[node.name] = [replace(chip, id=first + chip.index, node=n) for chip in node.chips]

    def snapshot(self, now: int) -> Snapshot:
        return Snapshot(
            now,
            pools=tuple(self.pools.values()),
            nodes=tuple(
                replace(node.node, id=n, name=node.name, pool=self.pools[node.pool].id)
                for n, node in enumerate(self.nodes, 1)
            ),
            chips=tuple(chip for chips in self.chips.values() for chip in chips),
            teams=tuple(self.teams.values()),
            jobs=tuple(self._job(n, job) for n, job in enumerate(self.waiting, 1)),
            running=tuple(self._running(n, attempt) for n, attempt in enumerate(self.running, 1001)),
        )

    def _job(self, id_: Id, named: AJob) -> Job:
        team = self.teams[named.team]
        return replace(
            named.job,
            id=id_,
            team=team.id,
            organization=team.organization,
            pools=tuple(self.pools[name].id for name in named.pools),
            set=None if named.array is None else self.arrays[named.array],
        )

    def _running(self, id_: Id, attempt: ALive) -> Running:
        job = self._job(id_, attempt.job)
        placements = tuple(
            self._placement(replica, job.gang.request, *place) for replica, place in enumerate(attempt.places)
        )
        row = Running(
            id_,
            job.id,
            job.team,
            job.organization,
            placements,
            priority=job.priority,
            preemptible=job.preemptible,
            set=job.set,
            isolation=job.gang.request.isolation,
            started=attempt.started,
            user=job.user,
            gang=job.gang,
            max_duration=job.max_duration,
            endless=job.endless,
            prediction=job.prediction,
            attained=job.attained,
            pools=job.pools,
            submitted=job.submitted,
            checkpoint=job.checkpoint,
            restart_cost=job.restart_cost,
            checkpointed=attempt.checkpointed,
        )
        return replace(row, **dict(attempt.resting))  # type: ignore[arg-type]

    def reservation(self, row: AReservation) -> Reservation:
        number, job = next((n, job) for n, job in enumerate(self.waiting, 1) if job.name == row.job)
        places = (
            self._placement(replica, job.job.gang.request, *place) for replica, place in enumerate(row.places)
        )
        return Reservation(number, row.at, tuple(places))

    def window(self, id_: Id, window: AWindow) -> Window:
        nodes = tuple(n for n, node in enumerate(self.nodes, 1) if node.name in window.nodes)
        return Window(id_, nodes, self.teams[window.team].id, window.starts, window.ends)

    def _placement(self, replica: int, request: Request, name: str, positions: tuple[int, ...]) -> Placement:
        node = next(n for n, node in enumerate(self.nodes, 1) if node.name == name)
        shares = []
        for position in positions:
            chip = self.chips[name][position]
            if request.chips:
                shares.append(ChipShare(chip.id, 1000, chip.memory))
            else:
                shares.append(
                    ChipShare(
                        chip.id, request.milli, request.chip_memory or request.milli * chip.memory // 1000
                    )
                )
        return Placement(replica, node, request.cpu, request.memory, tuple(shares))
