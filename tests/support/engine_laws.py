"""The laws of `docs/scheduling.md`, counted the slow and plain way from a snapshot and a decision.

Nothing here uses the engine's ledger, rankings or placements: only rows, whole-number arithmetic written out
again, and an exhaustive search for small cells.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from scheduler_core import Decision, Policy, Snapshot
from scheduler_core import reasons as why
from scheduler_core.model import (
    WHOLE_CHIP,
    Chip,
    ChipShare,
    Id,
    Isolation,
    Job,
    Node,
    Placement,
    Quota,
    Reservation,
)
from tests.support import taking_laws

RANK = {"cooperative": 0, "enforced": 1, "hardware": 2, "exclusive": 3}
STRANGERS_DEFAULT = 1


@dataclass
class Books:
    """Who holds what, by adding up placements."""

    snapshot: Snapshot
    cpu: Counter[Id] = field(default_factory=Counter)
    memory: Counter[Id] = field(default_factory=Counter)
    milli: Counter[Id] = field(default_factory=Counter)
    chip_memory: Counter[Id] = field(default_factory=Counter)
    holders: defaultdict[Id, list[tuple[Id, int]]] = field(default_factory=lambda: defaultdict(list))
    used: Counter[tuple[Id, str]] = field(default_factory=Counter)
    """By whoever pays: the team and each one above it."""
    firm: Counter[tuple[Id, str]] = field(default_factory=Counter)
    of_user: Counter[tuple[Id, Id, str]] = field(default_factory=Counter)
    live_of_set: Counter[Id] = field(default_factory=Counter)
    live_jobs: set[Id] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.nodes = {node.id: node for node in self.snapshot.nodes}
        self.chips = {chip.id: chip for chip in self.snapshot.chips}
        self.steps = {pool.id: pool.slice_step for pool in self.snapshot.pools}
        self.teams = {team.id: team for team in self.snapshot.teams}
        for attempt in self.snapshot.running:
            self.live_jobs.add(attempt.job)
            if attempt.set is not None:
                self.live_of_set[attempt.set] += 1
            for placement in attempt.placements:
                charged = not attempt.leaving and placement.replica not in attempt.going
                self.hold(
                    placement,
                    attempt.team,
                    attempt.organization,
                    attempt.preemptible,
                    attempt.isolation,
                    charged=charged,
                )
                if charged:
                    self.count_user(placement, attempt.team, attempt.user)

    def hold(
        self,
        placement: Placement,
        team: Id,
        organization: Id,
        preemptible: bool,
        asked: Isolation | None,
        *,
        charged: bool = True,
    ) -> None:
        if charged:
            self.charge(placement, team, preemptible, 1)
        self.cpu[placement.node] += placement.cpu
        self.memory[placement.node] += placement.memory
        for share in placement.chips:
            chip = self.chips.get(share.chip)
            if chip is None or chip.node != placement.node:
                continue
            self.cpu[placement.node] += claim(chip, share.milli)
            self.milli[chip.id] += share.milli
            self.chip_memory[chip.id] += share.memory
            accepts = STRANGERS_DEFAULT if asked is None else RANK[asked.value]
            self.holders[chip.id].append((organization, accepts))

    def charge(self, placement: Placement, team: Id, preemptible: bool, sign: int) -> None:
        """Whoever pays has this much more, or with -1 less."""
        for share in placement.chips:
            chip = self.chips.get(share.chip)
            if chip is None or chip.node != placement.node:
                continue
            for payer in self.payers(team):
                self.used[payer, chip.type] += sign * charged(chip, share)
            if not preemptible:
                self.firm[team, chip.type] += sign * charged(chip, share)

    def release(self, placement: Placement, organization: Id, asked: Isolation | None) -> None:
        """What holds this placement is gone from the node; its charge is another matter."""
        self.cpu[placement.node] -= placement.cpu
        self.memory[placement.node] -= placement.memory
        for share in placement.chips:
            chip = self.chips.get(share.chip)
            if chip is None or chip.node != placement.node:
                continue
            self.cpu[placement.node] -= claim(chip, share.milli)
            self.milli[chip.id] -= share.milli
            self.chip_memory[chip.id] -= share.memory
            accepts = STRANGERS_DEFAULT if asked is None else RANK[asked.value]
            self.holders[chip.id].remove((organization, accepts))

    def count_user(self, placement: Placement, team: Id, user: Id, sign: int = 1) -> None:
        for share in placement.chips:
            chip = self.chips.get(share.chip)
            if chip is not None and chip.node == placement.node:
                self.of_user[team, user, chip.type] += sign * charged(chip, share)

    def payers(self, team: Id) -> list[Id]:
        line = [team]
        while (row := self.teams.get(line[-1])) and row.parent is not None and row.parent not in line:
            line.append(row.parent)
        return line

    def quota(self, team: Id, chip_type: str) -> Quota | None:
        row = self.teams.get(team)
        return next((q for q in row.quotas if q.chip_type == chip_type), None) if row else None

    def start(self, job: Job, placements: tuple[Placement, ...]) -> None:
        self.live_jobs.add(job.id)
        if job.set is not None:
            self.live_of_set[job.set] += 1
        for placement in placements:
            self.hold(placement, job.team, job.organization, job.preemptible, job.gang.request.isolation)
            self.count_user(placement, job.team, job.user)

    def excesses(self) -> dict[object, int]:
        """How far each thing is over, where it is."""
        over: dict[object, int] = {}
        for node in self.nodes.values():
            over["cpu", node.id] = self.cpu[node.id] - node.cpu
            over["memory", node.id] = self.memory[node.id] - node.memory
        for chip in self.chips.values():
            over["milli", chip.id] = self.milli[chip.id] - 1000
            over["chip memory", chip.id] = self.chip_memory[chip.id] - chip.memory
        for team in self.teams.values():
            for quota in team.quotas:
                if quota.limit is not None:
                    over["limit", team.id, quota.chip_type] = (
                        self.used[team.id, quota.chip_type] - quota.limit
                    )
        return {what: by for what, by in over.items() if by > 0}

    def room(self, job: Job, chip_type: str) -> int | None:
        rooms = [
            quota.limit - self.used[payer, chip_type]
            for payer in self.payers(job.team)
            if (quota := self.quota(payer, chip_type)) and quota.limit is not None
        ]
        if (own := self.quota(job.team, chip_type)) and not job.preemptible:
            rooms.append(own.guaranteed - self.firm[job.team, chip_type])
        team = self.teams.get(job.team)
        for cap in team.user_caps if team else ():
            if cap.chip_type == chip_type:
                rooms.append(cap.limit - self.of_user[job.team, job.user, chip_type])
        return min(rooms) if rooms else None

    def budget_spent(self, job: Job) -> list[str]:
        request = job.gang.request
        if not (request.chips or request.milli or request.chip_memory):
            return []
        rows = [self.teams[payer] for payer in self.payers(job.team) if payer in self.teams]
        return [row.name for row in rows if row.budget_left is not None and row.budget_left <= 0]

    def closed(self, job: Job, node: Node) -> bool:
        """B5: whether the job would still run when the node closes to it."""
        run = longest(job)
        end = None if run is None else self.snapshot.now + run
        if node.drain_at is not None and (end is None or end > node.drain_at):
            return True
        for window in self.snapshot.windows:
            foreign = node.id in window.nodes and window.team not in self.payers(job.team)
            if (
                foreign
                and window.ends > self.snapshot.now
                and (end is None or window.starts <= self.snapshot.now or end > window.starts)
            ):
                return True
        return False

    def reserve(self, job: Job, reservation: Reservation) -> None:
        """What of the reservation is free is held, and all of it is charged (B2)."""
        for placement in reservation.placements:
            shares = []
            for share in placement.chips:
                chip = self.chips[share.chip]
                milli = min(share.milli, 1000 - self.milli[chip.id])
                memory = min(share.memory, chip.memory - self.chip_memory[chip.id])
                for payer in self.payers(job.team):
                    self.used[payer, chip.type] += charged(chip, share)
                if not job.preemptible:
                    self.firm[job.team, chip.type] += charged(chip, share)
                self.of_user[job.team, job.user, chip.type] += charged(chip, share)
                if milli > 0 and not (share.milli == 1000 and self.holders[chip.id]):
                    shares.append(ChipShare(chip.id, milli, max(memory, 0)))
            node = self.nodes[placement.node]
            for share in shares:
                chip = self.chips[share.chip]
                self.cpu[node.id] += claim(chip, share.milli)
                self.milli[chip.id] += share.milli
                self.chip_memory[chip.id] += share.memory
                asked = job.gang.request.isolation
                self.holders[chip.id].append(
                    (job.organization, STRANGERS_DEFAULT if asked is None else RANK[asked.value])
                )
            self.cpu[node.id] += max(min(placement.cpu, node.cpu - self.cpu[node.id]), 0)
            self.memory[node.id] += max(min(placement.memory, node.memory - self.memory[node.id]), 0)

    def capped(self, job: Job) -> bool:
        return job.set is not None and job.set_cap is not None and self.live_of_set[job.set] >= job.set_cap


def longest(job: Job) -> int | None:
    """How long the job may well run, by the default policy; None never ends."""
    if job.endless:
        return job.max_duration
    learned = job.prediction.p90 if job.prediction else None
    known = [time for time in (learned, job.max_duration) if time is not None]
    return min(known) if known else Policy().run_time


def claim(chip: Chip, milli: int) -> int:
    return (milli * chip.host_cpu + 999) // 1000


def charged(chip: Chip, share: ChipShare) -> int:
    by_memory = (share.memory * 1000 + chip.memory - 1) // chip.memory if chip.memory else 0
    return max(share.milli, by_memory)


def in_reach(job: Job, node: Node) -> bool:
    return in_pools(job, node) and (node.images or not job.gang.request.image)


def in_pools(job: Job, node: Node) -> bool:
    return not job.pools or node.pool in job.pools


def sensible(job: Job) -> bool:
    request, gang = job.gang.request, job.gang
    amounts = (request.chips, request.milli, request.chip_memory, request.cpu, request.memory)
    both = request.chips and (request.milli or request.chip_memory)
    return min(amounts) >= 0 and not both and request.milli <= 1000 and 1 <= gang.minimum <= gang.maximum


def types_of(books: Books, job: Job) -> list[str]:
    request = job.gang.request
    if not (request.chips or request.milli or request.chip_memory):
        return [""]
    return list(request.chip_types) or sorted({chip.type for chip in books.chips.values()})


def options(books: Books, job: Job, node: Node, chip_type: str) -> list[Placement]:
    """Every way in which one replica could sit on this node now."""
    request = job.gang.request
    if not node.ready or not in_reach(job, node) or books.closed(job, node):
        return []
    found = []
    for shares in _shares(books, job, node, chip_type):
        cpu = request.cpu + sum(claim(books.chips[share.chip], share.milli) for share in shares)
        cpu_fits = cpu == 0 or books.cpu[node.id] + cpu <= node.cpu
        memory_fits = request.memory == 0 or books.memory[node.id] + request.memory <= node.memory
        if cpu_fits and memory_fits:
            found.append(Placement(0, node.id, request.cpu, request.memory, shares))
    return found


def _shares(books: Books, job: Job, node: Node, chip_type: str) -> list[tuple[ChipShare, ...]]:
    request = job.gang.request
    mine = [c for c in books.snapshot.chips if c.node == node.id and c.type == chip_type and c.healthy]
    if request.chips:
        free = [ChipShare(chip.id, 1000, chip.memory) for chip in mine if not books.holders[chip.id]]
        return list(itertools.combinations(free, request.chips))
    if not (request.milli or request.chip_memory):
        return [()]
    found = []
    for chip in mine:
        if request.chip_memory > chip.memory:
            continue
        step = books.steps.get(node.pool, 100)
        exact = (request.chip_memory * 1000 + chip.memory - 1) // chip.memory if chip.memory else 0
        milli = request.milli or min(1000, (exact + step - 1) // step * step)
        memory = request.chip_memory or milli * chip.memory // 1000
        fits = books.milli[chip.id] + milli <= 1000 and books.chip_memory[chip.id] + memory <= chip.memory
        if fits and may_slice(books, job, chip):
            found.append((ChipShare(chip.id, milli, memory),))
    return found


def may_slice(books: Books, job: Job, chip: Chip) -> bool:
    asked = job.gang.request.isolation
    slicing = max((RANK[level.value] for level in chip.isolation if level.value != "exclusive"), default=-1)
    if asked is Isolation.EXCLUSIVE:
        return not books.holders[chip.id]
    if slicing < (0 if asked is None else RANK[asked.value]):
        return False
    accepts = STRANGERS_DEFAULT if asked is None else RANK[asked.value]
    for organization, theirs in books.holders[chip.id]:
        if theirs == RANK["exclusive"]:
            return False
        if organization != job.organization and slicing < max(accepts, theirs):
            return False
    return True


def placement_exists(books: Books, job: Job, chip_type: str, replicas: int, left: int | None) -> bool:
    """Exhaustive: some way for all replicas at once on this type, within the team's room."""
    nodes = sorted((node for node in books.nodes.values()), key=lambda node: node.id)
    return _extend(books, job, chip_type, replicas, left, nodes)


def _extend(
    books: Books, job: Job, chip_type: str, replicas: int, left: int | None, nodes: list[Node]
) -> bool:
    if replicas == 0:
        return True
    for position, node in enumerate(nodes):
        for option in options(books, job, node, chip_type):
            cost = sum(charged(books.chips[share.chip], share) for share in option.chips)
            if left is not None and cost and cost > left:
                continue
            further = Books(books.snapshot)
            _copy(books, further)
            further.hold(option, job.team, job.organization, job.preemptible, job.gang.request.isolation)
            rest = nodes[position + 1 :] if job.gang.spread else nodes[position:]
            rest = [other for other in rest if close(node, other, job.gang.within)]
            if _extend(further, job, chip_type, replicas - 1, None if left is None else left - cost, rest):
                return True
    return False


def close(one: Node, other: Node, parts: int | None) -> bool:
    """P2: the two share the first so many parts of the topology, as a node always does with itself."""
    if not parts or one.id == other.id:
        return True
    told = min(len(one.topology), len(other.topology)) >= parts
    return told and one.topology[:parts] == other.topology[:parts]


def _copy(books: Books, into: Books) -> None:
    into.cpu, into.memory = books.cpu.copy(), books.memory.copy()
    into.milli, into.chip_memory = books.milli.copy(), books.chip_memory.copy()
    into.holders = defaultdict(list, {chip: list(who) for chip, who in books.holders.items()})
    into.used, into.firm, into.of_user = books.used.copy(), books.firm.copy(), books.of_user.copy()


def could_start(books: Books, job: Job) -> bool:
    """Whether a waiting job has a placement on what is left: the test of work conservation."""
    if not sensible(job) or books.capped(job) or job.id in books.live_jobs:
        return False
    return any(
        placement_exists(books, choice, chip_type, choice.gang.minimum, books.room(choice, chip_type))
        for choice in alternatives(job)
        if not books.budget_spent(choice)
        for chip_type in types_of(books, choice)
    )


def alternatives(job: Job) -> list[Job]:
    """The job with each of its gangs alone (P5)."""
    return [replace(job, gang=gang, others=()) for gang in (job.gang, *job.others)]


def as_started(books: Books, job: Job, placements: tuple[Placement, ...]) -> Job:
    """The job with the first alternative that has so many replicas of so many chips, and as much of each."""
    for choice in alternatives(job):
        gang = choice.gang
        chips = {len(placement.chips) for placement in placements}
        types = {books.chips[share.chip].type for placement in placements for share in placement.chips}
        asked = set(gang.request.chip_types) or types
        whole = gang.request.chips or bool(gang.request.milli or gang.request.chip_memory)
        milli = {WHOLE_CHIP} if gang.request.chips else {gang.request.milli} - {0}
        held = {share.milli for placement in placements for share in placement.chips}
        host = {(placement.cpu, placement.memory) for placement in placements}
        if (
            gang.minimum <= len(placements) <= gang.maximum
            and chips == {int(whole)}
            and types <= asked
            and host == {(gang.request.cpu, gang.request.memory)}
            and (not whole or not milli or held == milli)
        ):
            return choice
    return job


def laws_hold(snapshot: Snapshot, policy: Policy, decision: Decision, *, search: bool = True) -> Books:
    """Every law that can be told from one decision. Returns the books with the units in place."""
    jobs = {job.id: job for job in snapshot.jobs}
    books = Books(snapshot)
    before = books.excesses()
    assert not decision.broken, decision.broken
    taking_laws.hold_promises(books, jobs, decision)
    taken = taking_laws.relief_holds(books, policy, decision)
    for unit in decision.units:
        start = unit.start
        job = jobs[start.job]
        assert start.version == job.version
        assert job.id not in books.live_jobs, "one live attempt"
        assert not books.capped(job), "the array's cap"
        job = as_started(books, job, start.placements)
        if unit.takings:
            reserved = (
                decision.reservations or snapshot.reservations
            )  # what one holds is not free to the others (B2)
            taking_laws.takings_hold(books, policy, job, unit, taken, search=search and not reserved)
            continue
        _whole_and_as_asked(books, job, start.placements)
        books.start(job, start.placements)
    taking_laws.resizings_hold(books, jobs, policy, decision, taken)
    after = books.excesses()
    assert all(after[what] <= before.get(what, 0) for what in after), (before, after)
    assert {(excess.id, excess.used - excess.capacity) for excess in decision.excesses} == {
        (what[1], by) for what, by in before.items()
    }
    _everybody_is_answered(snapshot, decision)
    for verdict in decision.verdicts:
        for reason in verdict.reasons:
            true(reason, books, jobs[verdict.jobs[0]], decision, policy)
        if search and not isinstance(verdict.reasons[0], why.CycleBound | why.BetterSoon):
            left = books
            if isinstance(verdict.reasons[0], why.WouldDelay):
                left = _with_reservations(books, jobs, jobs[verdict.jobs[0]], decision)
            assert not could_start(left, jobs[verdict.jobs[0]]), ("work conservation", verdict)
    return books


def _with_reservations(books: Books, jobs: dict[Id, Job], job: Job, decision: Decision) -> Books:
    """The books with every reservation in place that this job would still run into."""
    further = Books(books.snapshot)
    _copy(books, further)
    further.live_jobs, further.live_of_set = books.live_jobs, books.live_of_set
    run = longest(job)
    for reservation in decision.reservations:
        if run is None or decision.now + run > reservation.at:
            further.reserve(jobs[reservation.job], reservation)
    return further


def _whole_and_as_asked(books: Books, job: Job, placements: tuple[Placement, ...]) -> None:
    gang = job.gang
    assert gang.minimum <= len(placements) <= gang.maximum, "gangs whole"
    assert [placement.replica for placement in placements] == list(range(len(placements)))
    if gang.spread:
        assert len({placement.node for placement in placements}) == len(placements)
    first = books.nodes[placements[0].node]
    for placement in placements:
        assert close(first, books.nodes[placement.node], gang.within), "required topology"
    types = {books.chips[share.chip].type for placement in placements for share in placement.chips}
    assert len(types) <= 1
    assert types <= set(gang.request.chip_types or types), "a type that the job named"
    further = Books(books.snapshot)
    _copy(books, further)
    for placement in placements:
        possible = options(further, job, books.nodes[placement.node], next(iter(types), ""))
        assert Placement(0, placement.node, placement.cpu, placement.memory, placement.chips) in [
            Placement(0, o.node, o.cpu, o.memory, tuple(sorted(o.chips, key=lambda s: s.chip)))
            for o in possible
        ], "a replica gets what it asked for, where it may sit"
        further.hold(placement, job.team, job.organization, job.preemptible, gang.request.isolation)
    for chip_type in types:
        cost = further.used[job.team, chip_type] - books.used[job.team, chip_type]
        room = books.room(job, chip_type)
        assert room is None or cost <= room, "limit and guarantee"


def _everybody_is_answered(snapshot: Snapshot, decision: Decision) -> None:
    started = [unit.start.job for unit in decision.units]
    told = [job for verdict in decision.verdicts for job in verdict.jobs]
    assert sorted(started + told) == sorted(job.id for job in snapshot.jobs), (
        "each waiting job is answered once"
    )
    for verdict in decision.verdicts:
        assert verdict.reasons, "every waiting job has a reason"
        for reason in verdict.reasons:
            sentence = reason.sentence()
            assert sentence[0].isupper() or sentence[0].isdigit(), sentence
            assert sentence.endswith("."), sentence
            assert "  " not in sentence, sentence
            assert reason.code
            for fact in reason.facts().values():
                assert isinstance(fact, int | str | list), fact


def true(reason: why.Reason, books: Books, job: Job, decision: Decision, policy: Policy) -> None:
    """The reason's facts, counted again on what the decision leaves."""
    check = _TRUTHS.get(type(reason))
    assert check is not None, f"no way to check {type(reason).__name__}"
    if isinstance(reason, why.WouldDelay):
        row = next(row for row in decision.reservations if row.job == reason.reserved)
        run = longest(job)
        assert row.at == reason.until
        assert run is None or decision.now + run > row.at
        return
    just_promised = [
        resizing for resizing in decision.resizings if job.id in (start.job for start in resizing.starts)
    ]
    if isinstance(reason, why.ChipsPromised) and just_promised:
        assert reason.leaving == len(just_promised[0].resizes)
        return
    if isinstance(reason, why.CycleBound):
        assert reason.starts == len(decision.units) == policy.max_starts
        return
    assert any(
        check(reason, books, choice, chip_type)
        for choice in alternatives(job)
        for chip_type in _types_said(reason, books, choice)
    ), (reason, job)


def _types_said(reason: why.Reason, books: Books, job: Job) -> list[str]:
    said = getattr(reason, "chip_type", "")
    return [said] if said else types_of(books, job) or [""]


def _ready(books: Books, job: Job) -> list[Node]:
    nodes = (node for node in books.nodes.values() if node.ready and not books.closed(job, node))
    return [node for node in nodes if in_reach(job, node)]


def _of_pools(books: Books, job: Job) -> list[Node]:
    return [node for node in books.nodes.values() if in_pools(job, node)]


def _reach(books: Books, job: Job) -> list[Node]:
    return [node for node in books.nodes.values() if in_reach(job, node)]


def _of(books: Books, node: Node, chip_type: str) -> list[Chip]:
    return [chip for chip in books.chips.values() if chip.node == node.id and chip.type == chip_type]


def _emptiest(books: Books, job: Job, chip_type: str, where: str) -> int:
    """The most free chips of a node; where it is said so, of those that could ever take a replica."""
    counts = [
        sum(1 for chip in _of(books, node, chip_type) if chip.healthy and not books.holders[chip.id])
        for node in _ready(books, job)
        if "large enough" not in where or _large_enough(books, job, node, chip_type)
    ]
    return max(counts, default=0)


def _large_enough(books: Books, job: Job, node: Node, chip_type: str) -> bool:
    request = job.gang.request
    claims = sorted(claim(chip, 1000) for chip in _of(books, node, chip_type))
    cpu = request.cpu + sum(claims[: request.chips])
    return len(claims) >= request.chips and node.cpu >= cpu and node.memory >= request.memory


def _one_replica(books: Books, job: Job, chip_type: str) -> int:
    return sum(1 for node in books.nodes.values() if options(books, job, node, chip_type))


def _not_enough_room(reason: why.NotEnoughRoom, books: Books, job: Job, chip_type: str) -> bool:
    fits = [n for n in range(reason.needed + 1) if placement_exists(books, job, chip_type, n, None)]
    return reason.needed == job.gang.minimum and max(fits) == reason.free < reason.needed


def _limit(reason: why.TeamLimit, books: Books, job: Job, chip_type: str) -> bool:
    """The one named is a team that pays, and the limit is its own."""
    payer = next(team for team in books.payers(job.team) if books.teams[team].name == reason.team)
    quota = books.quota(payer, chip_type)
    same = quota and reason.limit == quota.limit and reason.used == books.used[payer, chip_type]
    return bool(same) and reason.used + reason.needed > reason.limit and reason.needed > 0


def _guarantee(reason: why.OutsideGuarantee, books: Books, job: Job, chip_type: str) -> bool:
    quota = books.quota(job.team, chip_type)
    assert books.teams[job.team].name == reason.team
    assert quota is not None
    assert reason.guaranteed == quota.guaranteed
    same = reason.used == books.firm[job.team, chip_type] and not job.preemptible
    return same and reason.used + reason.needed > reason.guaranteed and reason.needed > 0


def _largest(reason: why.NodesTooSmall, books: Books, job: Job, chip_type: str) -> bool:
    sizes = [len(_of(books, node, chip_type)) for node in _reach(books, job)]
    return reason.largest == max(sizes) < reason.needed == job.gang.request.chips


def _host(reason: why.HostTooSmall, books: Books, job: Job, chip_type: str) -> bool:
    sizes = [getattr(node, reason.resource) for node in _reach(books, job)]
    return reason.largest in sizes and reason.largest < reason.needed


def _free_host(resource: str):
    def check(reason, books: Books, job: Job, chip_type: str) -> bool:
        held = books.cpu if resource == "cpu" else books.memory
        free = [getattr(node, resource) - held[node.id] for node in _ready(books, job)]
        return reason.free in free and reason.free < reason.needed

    return check


def _slice_room(reason: why.NoRoomForSlice, books: Books, job: Job, chip_type: str) -> bool:
    chips = [c for node in _ready(books, job) for c in _of(books, node, chip_type) if c.healthy]
    left = [(1000 - books.milli[c.id], c.memory - books.chip_memory[c.id]) for c in chips]
    return (reason.free_milli, reason.free_memory) in left


def _isolation(reason: why.IsolationNotEnforced, books: Books, job: Job, chip_type: str) -> bool:
    big = [
        chip
        for node in _reach(books, job)
        for chip in _of(books, node, chip_type)
        if chip.memory >= job.gang.request.chip_memory
    ]
    bare = Books(Snapshot(0, chips=books.snapshot.chips))
    return bool(big) and not any(may_slice(bare, job, chip) for chip in big)


_TRUTHS = {
    why.AskedWrongly: lambda reason, books, job, chip_type: not sensible(job),
    why.EarlierAttemptLives: lambda reason, books, job, chip_type: job.id in books.live_jobs,
    why.ChipsPromised: lambda r, books, job, chip_type: (
        r.leaving
        == sum(
            attempt.id in promise.attempts and bool(taking_laws.departing(attempt))
            for promise in books.snapshot.promises
            if promise.job == job.id
            for attempt in books.snapshot.running
        )
        > 0
    ),
    why.SetCapReached: lambda r, books, job, t: books.live_of_set[job.set] == r.live >= r.cap == job.set_cap,
    why.TeamLimit: _limit,
    why.UserCapReached: lambda r, books, job, t: (
        r.used == books.of_user[job.team, job.user, t] and r.used + r.needed > r.cap
    ),
    why.BudgetSpent: lambda r, books, job, t: any(
        r.team in books.budget_spent(choice) for choice in alternatives(job)
    ),
    why.WouldDelay: lambda reason, books, job, chip_type: True,
    why.BetterSoon: lambda reason, books, job, chip_type: True,
    why.OutsideGuarantee: _guarantee,
    why.NoNodes: lambda reason, books, job, chip_type: not _of_pools(books, job),
    why.NoImages: lambda reason, books, job, chip_type: (
        job.gang.request.image and bool(_of_pools(books, job)) and not _reach(books, job)
    ),
    why.NoSuchChips: lambda r, books, job, t: not any(_of(books, node, t) for node in _reach(books, job)),
    why.NodesTooSmall: _largest,
    why.ChipsTooSmall: lambda r, books, job, t: (
        r.largest
        == max((chip.memory for node in _reach(books, job) for chip in _of(books, node, t)), default=-1)
        < r.needed
        == job.gang.request.chip_memory
    ),
    why.HostTooSmall: _host,
    why.IsolationNotEnforced: _isolation,
    why.NodesNotReady: lambda r, books, job, t: (
        0 < r.nodes <= sum(1 for node in _reach(books, job) if not node.ready or books.closed(job, node))
    ),
    why.ChipsUnhealthy: lambda r, books, job, t: (
        r.healthy < r.needed
        and any(not chip.healthy for node in _ready(books, job) for chip in _of(books, node, t))
    ),
    why.NotEnoughFreeChips: lambda r, books, job, t: (
        r.free == _emptiest(books, job, t, r.where) < r.needed == job.gang.request.chips
    ),
    why.NoRoomForSlice: _slice_room,
    why.HeldByStrangers: lambda r, books, job, t: any(
        books.holders[chip.id] and not may_slice(books, job, chip)
        for node in _ready(books, job)
        for chip in _of(books, node, t)
    ),
    why.NotEnoughHostCpu: _free_host("cpu"),
    why.NotEnoughHostMemory: _free_host("memory"),
    why.NotEnoughNodes: lambda r, books, job, t: (
        r.needed == job.gang.minimum and r.free == _one_replica(books, job, t) < r.needed
    ),
    why.NotEnoughRoom: _not_enough_room,
    why.NotEnoughTogether: lambda reason, books, job, chip_type: (
        reason.parts == job.gang.within and _not_enough_room(reason, books, job, chip_type)
    ),
    why.NodesRejected: lambda r, books, job, t: (
        r.nodes == sum(count for _, count in r.counts) == len(books.nodes)
        and dict(r.counts).get("fits", 0) == _one_replica(books, job, t)
        and dict(r.counts).get("other_pool", 0) == len(books.nodes) - len(_of_pools(books, job))
        and dict(r.counts).get("no_images", 0) == len(_of_pools(books, job)) - len(_reach(books, job))
    ),
    why.CycleBound: lambda reason, books, job, chip_type: True,
}
