"""Random cells for property tests: small enough to search exhaustively, odd enough to meet every rule."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from scheduler_core import Policy, Scheduler, Snapshot
from scheduler_core.model import (
    Chip,
    Choose,
    FeedEvent,
    Gang,
    Id,
    Isolation,
    Job,
    Node,
    PastUse,
    Pool,
    Prediction,
    Promise,
    Quota,
    Remove,
    Request,
    Reservation,
    Row,
    Running,
    Seen,
    Team,
    Upsert,
    UserCap,
    Window,
)

TYPES = {"A": (100, 0), "B": (60, 0), "core": (40, 1000)}
"""Type: chip memory in MiB, host CPU that a chip claims."""

ORGANIZATION = {1: 1, 2: 1, 3: 2, 5: 1, 6: 2}
"""Team: organization. Teams 1 and 2 are of one, team 3 is a stranger; team 4 has no row."""

PARENTS = {1: (None, 2, 5), 2: (None, 5, 5, 1), 3: (None, None, 6), 5: (None, None, 1), 6: (None,)}
"""Team: whom it may be under. No job is of teams 5 and 6, and rings come up too: they must do no harm."""

QUOTAS = ((), (), ("A",), ("A", "B"), ("B", "core"), ("A", "B", "core"))
"""Chip types that a team has a quota of."""

RUNS = (None, None, (500, 900), (5_000, 60_000), (10_000_000, 50_000_000))
"""Predictions, in milliseconds; the cell's clock starts at 1000."""

DRAINS = (None,) * 16 + (500, 20_000)

BUDGETS = (None,) * 16 + (1, 0)

isolations = st.sampled_from([None, None, Isolation.COOPERATIVE, Isolation.ENFORCED, Isolation.EXCLUSIVE])


@st.composite
def chips(draw: st.DrawFn, chip_id: Id, node: Id) -> Chip:
    name = draw(st.sampled_from(["A", "A", "B", "core"]))
    memory, host_cpu = TYPES[name]
    levels = draw(
        st.sampled_from(
            [
                {Isolation.EXCLUSIVE},
                {Isolation.EXCLUSIVE, Isolation.COOPERATIVE},
                {Isolation.COOPERATIVE, Isolation.ENFORCED},
                {Isolation.HARDWARE},
            ]
        )
    )
    return Chip(
        chip_id,
        node,
        chip_id % 10,
        name,
        memory - draw(st.sampled_from([0, 0, 0, 7])),
        healthy=draw(st.integers(0, 9)) > 0,
        health=draw(st.sampled_from([100, 100, 80])),
        speed=1000 if name == "A" else 500,
        isolation=frozenset(levels),
        host_cpu=host_cpu,
    )


@st.composite
def nodes(draw: st.DrawFn, node_id: Id) -> Node:
    ready = draw(st.integers(0, 7)) > 0
    return Node(
        node_id,
        f"node-{node_id}",
        draw(st.integers(1, 2)),
        draw(st.sampled_from([1000, 3000, 8000])),
        draw(st.sampled_from([64, 256])),
        ready=ready,
        unready_because="" if ready else draw(st.sampled_from(["", "draining", "unreachable"])),
        topology=draw(st.sampled_from([(), ("a",), ("a", "x"), ("a", "y"), ("b", "x")])),
        drain_at=draw(st.sampled_from(DRAINS)),
        images=draw(st.integers(0, 4)) > 0,
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(["whole", "whole", "milli", "milli", "memory", "both", "cpu"]))
    types = draw(st.sampled_from([(), (), ("A",), ("B",), ("core",), ("B", "A"), ("Z",)]))
    made = Request(
        chips=draw(st.integers(1, 3)) if kind == "whole" else 0,
        milli=draw(st.sampled_from([100, 250, 500, 1000])) if kind in ("milli", "both") else 0,
        chip_memory=draw(st.sampled_from([1, 20, 55, 95])) if kind in ("memory", "both") else 0,
        chip_types=types if kind != "cpu" else (),
        cpu=draw(st.sampled_from([0, 0, 50, 1000, 2500])),
        memory=draw(st.sampled_from([0, 0, 16, 60, 100])),
        isolation=draw(isolations),
        image=draw(st.integers(0, 7)) == 0,
    )
    # By no draw of its own: all others would be others.
    return replace(made, in_order=made.memory not in (16, 60))


@st.composite
def mixes(draw: st.DrawFn) -> tuple[Seen, ...]:
    """What the cell sees (P3), in few draws, for they come at the cost of all others; half of the cells do not say."""
    count = draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
    return tuple(Seen(number, draw(requests()), count) for number in range(1, 1 + min(count, 2)))


@st.composite
def jobs(draw: st.DrawFn, job_id: Id) -> Job:
    low = draw(st.sampled_from([1, 1, 1, 2, 3]))
    high = low + draw(st.sampled_from([0, 0, 0, 1]))
    team = draw(st.integers(1, 4))
    set_ = draw(st.sampled_from([None, None, None, 1]))
    runs = draw(st.sampled_from(RUNS))
    request = draw(requests())
    other = replace(draw(requests()), image=request.image)  # an image is the whole job's
    return Job(
        job_id,
        f"job-{job_id}",
        team,
        ORGANIZATION.get(team, 3),
        draw(st.integers(1, 2)),
        Gang(
            request,
            low,
            high,
            draw(st.booleans()),
            within=draw(st.sampled_from([None, None, None, 1, 2])),
            near=draw(st.sampled_from([None, None, None, 1, 2])),
        ),
        priority=draw(st.sampled_from([50, 50, 75])),
        submitted=draw(st.integers(0, 3)),
        pools=draw(st.sampled_from([(), (), (), (1,), (2, 1), (9,)])),
        preemptible=draw(st.booleans()),
        set=set_,
        set_cap=None if set_ is None else draw(st.sampled_from([None, 1, 2])),
        version=draw(st.integers(0, 2)),
        prediction=None if runs is None else Prediction(*runs),
        max_duration=draw(st.sampled_from([None, None, None, 30_000])),
        endless=draw(st.integers(0, 7)) == 0,
        attained=draw(st.sampled_from([0, 0, 5_000])),
        others=() if draw(st.integers(0, 7)) else (Gang(other, low, high),),
        choose=draw(st.sampled_from(list(Choose))),
    )


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, ...]:
    """At most one, as most cells have none."""
    if draw(st.integers(0, 5)):
        return ()
    starts = draw(st.sampled_from([0, 1001, 10_000]))
    nodes_ = tuple(sorted(draw(st.sets(st.integers(1, 5), min_size=1, max_size=3))))
    return (Window(1, nodes_, draw(st.integers(1, 5)), starts, starts + draw(st.sampled_from([1, 100_000]))),)


@st.composite
def teams(draw: st.DrawFn, team_id: Id) -> Team:
    quotas = [
        Quota(
            name,
            draw(st.sampled_from([0, 1000, 2000, 5000])),
            draw(st.sampled_from([None, 1000, 2500, 4000])),
            draw(st.sampled_from([1, 1, 0, 3])),
        )
        for name in draw(st.sampled_from(QUOTAS))
    ]
    parent = draw(st.sampled_from(PARENTS[team_id]))
    caps = draw(st.sampled_from([(), (), (), (), (UserCap("A", 1000), UserCap("core", 500))]))
    past = draw(st.sampled_from([(), (), (PastUse("A", 200_000_000, 0), PastUse("B", 5_000, 900))]))
    budget = draw(st.sampled_from(BUDGETS))
    name = f"team-{team_id}"
    return Team(team_id, name, ORGANIZATION[team_id], parent, tuple(quotas), past, caps, budget)


@st.composite
def cells(draw: st.DrawFn, *, most_nodes: int = 4, most_jobs: int = 7) -> Snapshot:
    """A cell with waiting jobs, and with work that really was started by an earlier cycle of it."""
    count = draw(st.integers(0, most_nodes))
    made = [draw(nodes(node_id)) for node_id in range(1, count + 1)]
    return_chips = [
        draw(chips(node.id * 10 + index, node.id))
        for node in made
        for index in range(draw(st.integers(0, 3)))
    ]
    snapshot = Snapshot(
        1000,
        pools=(Pool(1, "one", draw(st.sampled_from([100, 10]))), Pool(2, "two", 300)),
        nodes=tuple(made),
        chips=tuple(return_chips),
        teams=tuple(draw(teams(team_id)) for team_id in draw(st.sampled_from([(1, 2, 3, 5, 6), (1, 2, 3)]))),
        seen=draw(mixes()),
    )
    before = [draw(jobs(job_id)) for job_id in range(101, 101 + draw(st.integers(0, 4)))]
    running = started(replace(snapshot, jobs=tuple(before)))
    after = tuple(draw(jobs(job_id)) for job_id in range(1, 1 + draw(st.integers(0, most_jobs))))
    return replace(snapshot, jobs=after, running=running, windows=draw(windows()))


@st.composite
def crowded_cells(draw: st.DrawFn) -> Snapshot:
    """Plain nodes of one type, most of it taken for different times, and more waiting than there is: here
    reservations are made, stand and are served.
    """
    made = tuple(
        Node(node_id, f"node-{node_id}", 1, 8000, 256) for node_id in range(1, draw(st.integers(2, 4)))
    )
    all_chips = tuple(Chip(node.id * 10 + n, node.id, n, "A", 100) for node in made for n in range(2))
    snapshot = Snapshot(
        1000, (Pool(1, "one"),), made, all_chips, (Team(1, "team-1", 1), Team(2, "team-2", 1))
    )
    before = [draw(crowding_jobs(job_id, most=1)) for job_id in range(101, 104)]
    running = started(replace(snapshot, jobs=tuple(before)))
    after = tuple(draw(crowding_jobs(job_id, most=2)) for job_id in range(1, draw(st.integers(3, 6))))
    return replace(snapshot, jobs=after, running=running)


@st.composite
def crowding_jobs(draw: st.DrawFn, job_id: Id, *, most: int) -> Job:
    chips_, replicas = draw(st.integers(1, most)), draw(st.integers(1, most))
    run = draw(st.sampled_from([2, 3, 500, 60_000]))
    return Job(
        job_id,
        f"job-{job_id}",
        draw(st.integers(1, 2)),
        1,
        1,
        Gang(Request(chips=chips_), replicas, replicas),
        submitted=draw(st.integers(0, 3)),
        prediction=Prediction(run, run * draw(st.integers(1, 2))),
    )


@st.composite
def troubled_cells(draw: st.DrawFn) -> Snapshot:
    """The same after something went wrong under the running work: limits lowered, chips and memory lost."""
    snapshot = draw(cells())
    return replace(
        snapshot,
        chips=tuple(
            replace(chip, memory=chip.memory // 2) if draw(st.integers(0, 5)) == 0 else chip
            for chip in snapshot.chips
            if draw(st.integers(0, 8)) > 0
        ),
        nodes=tuple(
            replace(node, cpu=node.cpu // 4, memory=node.memory // 4) if draw(st.booleans()) else node
            for node in snapshot.nodes
        ),
        teams=tuple(draw(teams(team.id)) for team in snapshot.teams),
    )


policies = st.sampled_from(
    [
        Policy(),
        Policy(),
        Policy(max_starts=2),
        Policy(max_starts=1),
        Policy(max_reservations=0),
        Policy(reserve_age=0, max_reservations=3),
        Policy(service_levels=(1000, 10_000)),
    ]
)


def started(snapshot: Snapshot) -> tuple[Running, ...]:
    """Attempts for everything that one cycle on this snapshot starts."""
    jobs_by_id = {job.id: job for job in snapshot.jobs}
    decision = Scheduler(snapshot, Policy()).decide(snapshot.now)
    return tuple(
        attempt_of(jobs_by_id[unit.start.job], unit.start.job, unit.start.placements)
        for unit in decision.units
    )


def attempt_of(job: Job, attempt_id: Id, placements: tuple) -> Running:  # type: ignore[type-arg]
    """The live attempt that apply writes for a start."""
    return Running(
        attempt_id,
        job.id,
        job.team,
        job.organization,
        placements,
        priority=job.priority,
        preemptible=job.preemptible,
        set=job.set,
        isolation=job.gang.request.isolation,
        user=job.user,
        gang=job.gang,
        max_duration=job.max_duration,
        endless=job.endless,
        prediction=job.prediction,
        attained=job.attained,
        submitted=job.submitted,
        pools=job.pools,
        checkpoint=job.checkpoint,
        restart_cost=job.restart_cost,
        times_taken=job.times_taken,
    )


class Mirror:
    """The rows as a database would hold them, changed by the same events as a scheduler."""

    def __init__(self, snapshot: Snapshot) -> None:
        parts = (
            snapshot.pools,
            snapshot.nodes,
            snapshot.chips,
            snapshot.teams,
            snapshot.jobs,
            snapshot.running,
            snapshot.promises,
            snapshot.reservations,
            snapshot.windows,
            snapshot.seen,
        )
        self.rows: dict[tuple[type[Row], Id], Row] = {
            (type(row), row.id): row for part in parts for row in part
        }

    def apply(self, event: FeedEvent) -> None:
        if isinstance(event, Upsert):
            self.rows[type(event.row), event.row.id] = event.row
        else:
            self.rows.pop((event.kind, event.id), None)

    def of(self, kind: type[Row]) -> tuple:  # type: ignore[type-arg]
        return tuple(row for (row_kind, _), row in self.rows.items() if row_kind is kind)

    def snapshot(self, now: int) -> Snapshot:
        kinds = (Pool, Node, Chip, Team, Job, Running, Promise, Reservation, Window, Seen)
        return Snapshot(now, *(self.of(kind) for kind in kinds))


@st.composite
def events(draw: st.DrawFn, mirror: Mirror, serial: int) -> FeedEvent:
    """Something that can happen to this cell next; rows of other kinds may refer to what is gone."""
    kind = draw(st.sampled_from([Job, Job, Job, Running, Chip, Chip, Node, Team, Team, Pool, Seen]))
    rows = mirror.of(kind)
    if kind is Job and (not rows or draw(st.booleans())):
        return Upsert(draw(jobs(1000 + serial)))
    if kind is Node and draw(st.booleans()):
        return Upsert(draw(nodes(draw(st.integers(1, 5)))))
    if kind is Chip and draw(st.booleans()):
        return Upsert(draw(chips(draw(st.integers(10, 53)), draw(st.integers(1, 5)))))
    if kind is Team:
        if rows and draw(st.integers(0, 4)) == 0:
            return Remove(Team, draw(st.sampled_from(rows)).id)
        return Upsert(draw(teams(draw(st.sampled_from([1, 2, 3, 5, 6])))))
    if kind is Seen and draw(st.booleans()):
        return Upsert(Seen(draw(st.integers(1, 3)), draw(requests()), draw(st.integers(0, 9))))
    if kind is Pool:
        return Upsert(Pool(draw(st.integers(1, 2)), "pool", draw(st.sampled_from([100, 50, 10]))))
    if not rows:
        return Remove(kind, serial)
    row = draw(st.sampled_from(rows))
    if draw(st.integers(0, 3)) == 0:
        return Upsert(row)
    if kind is Job and draw(st.booleans()):
        return Upsert(replace(draw(jobs(row.id)), version=serial))
    return Remove(kind, row.id)
