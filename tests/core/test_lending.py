"""T3, Q7 and the lend rung of T2: idle chips lent to guests, and guests called back."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from scheduler_core import Decision, Policy, Scheduler, Snapshot, decide
from scheduler_core.decision import Loan, Recall, RecallGround
from scheduler_core.fairness import Standing, fair_shares
from scheduler_core.guests import guest_use
from scheduler_core.invariants import check
from scheduler_core.ledger import Ledger
from scheduler_core.model import (
    AllocationKind,
    Chip,
    ChipShare,
    FeedEvent,
    Gang,
    Id,
    Isolation,
    Job,
    Lend,
    Node,
    Placement,
    Pool,
    Promise,
    Remove,
    Request,
    Running,
    Team,
    Upsert,
)
from scheduler_core.offers import Move, Offering, OfferStep, offer_steps, offers_after
from scheduler_core.policy import HOUR, SECOND
from scheduler_core.recording import load, record, replay
from tests.core.cells import Mirror
from tests.support.engine import (
    AJob,
    a_cpu_node,
    a_job,
    a_node,
    a_quota,
    a_slice,
    a_team,
    given,
    live,
    order_does_not_matter,
)
from tests.support.lending_laws import guest_of, guests_of, lending_holds

MIB = 40960
"""Of an A100 as `a_node` makes it."""


def lends(*waiting: AJob, owner: AJob | None = None, node=None, teams=(), policy=None, **row):  # type: ignore[no-untyped-def]
    """A cell of one node with one chip, whose owner offers it, and the decision with its laws checked."""
    owner = owner or a_slice("owner", milli=1000, chip_memory=MIB // 2, team="vision")
    case = given(
        nodes=[node or a_node("n", chips=1)],
        running=[live(owner, ("n", [0]), **{"offered": 900_000, **row})],
        waiting=list(waiting),
        teams=list(teams) or [a_team("vision", a_quota(limit=1)), a_team("speech", organization="other")],
        policy=policy,
    )
    owned = replace(case.snapshot.running[0], placements=case.snapshot.running[0].placements)
    (place,) = owned.placements
    if owner.job.gang.request.chip_memory:
        share = place.chips[0]
        place = replace(
            place, chips=(ChipShare(share.chip, share.milli, owner.job.gang.request.chip_memory),)
        )
    owned = replace(owned, placements=(place,))
    return decided(replace(case.snapshot, running=(owned,)), policy or Policy())


def decided(snapshot: Snapshot, policy: Policy) -> Decision:
    decision = decide(snapshot, policy)
    lending_holds(snapshot, policy, decision)
    order_does_not_matter(snapshot, policy, decision)
    assert check(snapshot, decision) == ()
    return decision


def a_guest(name: str = "guest", **more: object) -> AJob:
    return a_slice(name, **{"milli": 500, "preemptible": True, **more})  # type: ignore[arg-type]


def test_t3_idle_chips_are_lent_with_their_rule() -> None:
    decision = lends(a_guest())
    (loan,) = decision.loans
    assert loan.start.placements[0].chips == (ChipShare(1, 500, MIB // 2),)
    assert loan.lenders == (1001,)
    assert (loan.rule.above, loan.rule.pause_after, loan.rule.stop_after) == (100, 1000, 30_000)
    assert decision.verdicts == ()
    assert decision.units == ()


@pytest.mark.parametrize(
    "row", [{"offered": None}, {"busy": 999_000}, {"leaving": True}, {"lend": Lend.NEVER}], ids=str
)
def test_t3_what_is_not_on_offer_is_not_lent(row: dict[str, object]) -> None:
    assert lends(a_guest(), **row).loans == ()


@pytest.mark.parametrize(
    ("lend", "team", "lent"),
    [
        (Lend.TEAM, "vision", True),
        (Lend.TEAM, "audio", False),
        (Lend.ORGANIZATION, "audio", True),
        (Lend.ORGANIZATION, "speech", False),
        (Lend.ANY, "speech", True),
    ],
)
def test_t3_the_owner_says_who_may_come(lend: Lend, team: str, lent: bool) -> None:
    teams = [a_team("vision"), a_team("audio"), a_team("speech", organization="other")]
    teams = [replace(one, quotas=(a_quota(limit=0 if one.name != "vision" else 1),)) for one in teams]
    assert bool(lends(a_guest(team=team), teams=teams, lend=lend).loans) is lent


@pytest.mark.parametrize(
    "job",
    [
        a_guest(preemptible=False),
        a_guest(isolation=Isolation.EXCLUSIVE),
        a_guest(isolation=Isolation.HARDWARE),
        a_guest(chip_memory=MIB),
        a_guest(replicas=3, spread=False),
        a_guest(replicas=2),
        a_job("whole", preemptible=True),
    ],
    ids=[
        "not preemptible",
        "exclusive",
        "stronger than enforced",
        "too much memory",
        "more replicas than have room",
        "replicas on nodes of their own",
        "a whole chip",
    ],
)
def test_t3_who_cannot_be_a_guest(job: AJob) -> None:
    assert lends(job).loans == ()


def cores(*owners: str, gang: AJob, **row: object) -> Snapshot:
    """A node of one core for each owner, who offers it unless `row` says otherwise, and a gang that waits."""
    return given(
        nodes=[a_cpu_node(f"n-{owner}", cores=1) for owner in owners],
        running=[live(a_job(owner), (f"n-{owner}", [0]), **{"offered": 1, **row}) for owner in owners],
        waiting=[gang],
        teams=[a_team("vision", a_quota("cpu", limit=len(owners)))],
    ).snapshot


def a_gang_of(replicas: int, **more: object) -> AJob:
    return a_job("gang", replicas=replicas, memory=512, preemptible=True, **more)  # type: ignore[arg-type]


def test_t3_a_gang_is_a_guest_whole_or_not_at_all() -> None:
    (loan,) = decided(cores("a", "b", "c", gang=a_gang_of(2)), Policy()).loans
    assert [place.replica for place in loan.start.placements] == [0, 1]
    assert len({place.node for place in loan.start.placements}) == 2
    assert len(loan.lenders) == 2
    assert decided(cores("a", "b", gang=a_gang_of(3)), Policy()).loans == ()
    assert decided(cores("a", "b", gang=a_gang_of(2, within=1)), Policy()).loans == ()


def test_t3_the_owner_of_one_chip_who_is_back_ends_the_whole_gang() -> None:
    snapshot = cores("a", "b", gang=a_gang_of(2))
    decision = decided(snapshot, Policy())
    (job,) = snapshot.jobs
    guest = guest_of(job, 5000, decision)
    first, second = snapshot.running
    back = replace(second, busy=snapshot.now - Policy().yield_stop)
    here = replace(snapshot, jobs=(), running=(first, back, guest))
    (recall,) = decided(here, Policy()).recalls
    assert (recall.attempt, recall.ground) == (5000, RecallGround.OWNER_BACK)


def test_t3_replicas_of_one_gang_share_what_a_chip_lends_where_they_may() -> None:
    (loan,) = lends(a_guest(replicas=2, spread=False, chip_memory=MIB // 4)).loans
    assert [place.chips[0].milli for place in loan.start.placements] == [500, 500]


def test_p7_a_guest_with_an_image_goes_only_where_images_run() -> None:
    job = a_guest()
    request = replace(job.job.gang.request, image=True)
    job = replace(job, job=replace(job.job, gang=replace(job.job.gang, request=request)))
    assert lends(job).loans == ()
    assert len(lends(job, node=a_node("n", chips=1, images=True)).loans) == 1


def test_t3_a_job_with_a_min_runtime_is_no_guest() -> None:
    job = a_guest()
    assert lends(replace(job, job=replace(job.job, min_runtime=1))).loans == ()


def test_t3_an_exclusive_owner_and_a_chip_without_limits_never_lend() -> None:
    alone = a_slice("owner", milli=1000, chip_memory=MIB // 2, isolation=Isolation.EXCLUSIVE)
    assert lends(a_guest(), owner=alone).loans == ()
    loose = a_node("n", chips=1, isolation=frozenset({Isolation.EXCLUSIVE, Isolation.COOPERATIVE}))
    assert lends(a_guest(), node=loose).loans == ()


def test_q7_guests_hold_at_most_what_the_owners_hold_and_their_memory_fits_beside() -> None:
    decision = lends(a_guest("a"), a_guest("b", chip_memory=MIB // 4), a_guest("c", milli=100))
    assert len(decision.loans) == 1, "a has taken all of the memory that the owner left"
    decision = lends(*(a_guest(name, chip_memory=1000) for name in "abc"))
    assert [loan.start.placements[0].chips[0].milli for loan in decision.loans] == [500, 500]


def test_q7_an_owner_that_is_held_to_less_leaves_more() -> None:
    whole = a_job("owner")
    assert lends(a_guest(), owner=whole).loans == ()
    assert len(lends(a_guest(), owner=whole, chip_memory_cap=MIB // 4).loans) == 1


def test_q6_where_a_core_is_the_chip_the_guests_memory_is_the_hosts_and_has_a_limit() -> None:
    core = a_cpu_node("n", cores=1)
    teams = [a_team("vision", a_quota("cpu", limit=1))]
    core = replace(core, chips=tuple(replace(chip, memory=8192) for chip in core.chips))
    assert lends(a_job("g", preemptible=True), owner=a_job("o"), node=core, teams=teams).loans == ()
    decision = lends(a_job("g", preemptible=True, memory=512), owner=a_job("o"), node=core, teams=teams)
    assert decision.loans[0].start.placements[0].chips == (ChipShare(1, 1000, 0),)
    assert (
        lends(a_job("g", preemptible=True, memory=9000), owner=a_job("o"), node=core, teams=teams).loans == ()
    ), "the host has not so much"


def test_t3_the_team_with_the_fewest_guests_is_next() -> None:
    teams = [a_team("vision", a_quota(limit=1)), a_team("audio", a_quota(limit=0))]
    waiting = [
        a_guest("v1", milli=200, chip_memory=100),
        a_guest("v2", milli=200, chip_memory=100),
        a_guest("a1", milli=200, chip_memory=100, team="audio", submitted=9),
    ]
    decision = lends(*waiting, teams=teams, lend=Lend.ORGANIZATION)
    assert [loan.start.job for loan in decision.loans] == [1, 3, 2]


def test_t3_an_array_keeps_its_cap_and_a_spent_budget_lends_nothing() -> None:
    tasks = [a_guest(f"t{n}", milli=100, chip_memory=100, array="sweep", cap=2) for n in range(4)]
    assert len(lends(*tasks).loans) == 2
    assert lends(a_guest(), teams=[a_team("vision", a_quota(limit=1), budget_left=0)]).loans == ()


def test_t3_max_loans_bounds_a_cycle() -> None:
    jobs = [a_guest(f"g{n}", milli=100, chip_memory=100) for n in range(4)]
    assert len(lends(*jobs, policy=Policy(max_loans=3)).loans) == 3


def with_a_guest(**owner: object) -> tuple[Snapshot, Running]:
    """An owner on one chip and a guest beside it, as a loan made them."""
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(a_slice("owner", milli=1000), ("n", [0]), offered=1)],
        waiting=[a_guest()],
        teams=[a_team("vision", a_quota(limit=1))],
    )
    place = case.snapshot.running[0].placements[0]
    share = ChipShare(1, 1000, MIB // 2)
    first = replace(case.snapshot.running[0], placements=(replace(place, chips=(share,)),))
    before = replace(case.snapshot, running=(first,))
    decision = decided(before, Policy())
    guest = guest_of(before.jobs[0], 5000, decision)
    return replace(before, jobs=(), running=(replace(first, **owner), guest)), guest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("owner", "ground"),
    [
        ({}, None),
        ({"busy": 975_000}, None),
        ({"busy": 970_000}, RecallGround.OWNER_BACK),
        ({"offered": None}, RecallGround.OWNER_KEEPS),
        ({"lend": Lend.NEVER}, RecallGround.OWNER_KEEPS),
        ({"leaving": True}, RecallGround.OWNER_GONE),
    ],
    ids=str,
)
def test_t3_a_guest_is_recalled_when_its_owner_wants_it(
    owner: dict[str, object], ground: RecallGround | None
) -> None:
    snapshot, guest = with_a_guest(**owner)
    recalls = decided(snapshot, Policy()).recalls
    assert [(recall.attempt, recall.ground) for recall in recalls] == ([(guest.id, ground)] if ground else [])


def test_t3_a_guest_lives_by_its_owner_and_whoever_is_next_waits_for_it_to_go() -> None:
    snapshot, guest = with_a_guest()
    waiting = (replace(given(waiting=[a_job("next", preemptible=True)]).snapshot.jobs[0], id=7),)
    snapshot = replace(snapshot, running=(guest,), jobs=waiting)
    decision = decided(snapshot, Policy())
    assert [(recall.attempt, recall.ground) for recall in decision.recalls] == [
        (guest.id, RecallGround.OWNER_GONE)
    ]
    assert decision.units == ()
    assert decision.verdicts[0].reasons[0].sentence() == (
        "Its place is lent out: it starts when 1 guest has left."
    )
    leaving = replace(snapshot, running=(replace(guest, leaving=True),))
    assert decided(leaving, Policy()).recalls == ()
    assert decided(leaving, Policy()).units == ()
    assert len(decided(replace(snapshot, running=()), Policy()).units) == 1


def test_t3_r6_a_promise_stands_while_guests_go_and_a_lapsed_one_does_not() -> None:
    """Who waits for guests to go keeps the promise of just that place, not one that can no longer hold."""
    snapshot, guest = with_a_guest()
    waiting = (replace(given(waiting=[a_job("next", preemptible=True)]).snapshot.jobs[0], id=7),)
    free = replace(snapshot, running=(), jobs=waiting)
    (unit,) = decided(free, Policy()).units
    for places, stands in ((unit.start.placements, (7,)), ((), ())):
        promise = Promise(7, places, ())
        decision = decided(replace(free, running=(guest,), promises=(promise,)), Policy())
        assert decision.verdicts[0].reasons[0].code == "chips_lent"
        assert decision.promises == stands


def test_t3_guests_never_keep_host_memory_from_who_starts_by_right() -> None:
    core = a_cpu_node("n", cores=2)
    case = given(
        nodes=[core],
        running=[live(a_job("owner"), ("n", [0]), offered=1)],
        waiting=[a_job("g", preemptible=True, memory=8000)],
        teams=[a_team("vision", a_quota("cpu", limit=1)), a_team("audio")],
    )
    guest = guest_of(case.snapshot.jobs[0], 5000, decided(case.snapshot, Policy()))
    by_right = replace(given(waiting=[a_job("r", memory=1000)]).snapshot.jobs[0], id=7, team=2)
    snapshot = replace(case.snapshot, jobs=(by_right,), running=(*case.snapshot.running, guest))
    decision = decided(snapshot, Policy())
    assert decision.units == ()
    assert [recall.ground for recall in decision.recalls] == [RecallGround.CHIPS_NEEDED]


def test_f3_guests_count_in_the_line_by_the_policys_weight() -> None:
    snapshot, _ = with_a_guest()
    ledger = Ledger(snapshot)
    assert guest_use(ledger, 0) == {}
    assert guest_use(ledger, 500) == {(1, "A100"): 250}
    shares = fair_shares(ledger, {(1, "A100"): 1000})
    plain, weighed = (Standing(ledger, shares, 0, HOUR, guest_use(ledger, weight))(1) for weight in (0, 500))
    assert plain < weighed
    assert ledger.used == {(1, "A100"): 1000}, "guests use no quota"


def test_a_loan_that_breaks_a_law_is_dropped_and_named() -> None:
    snapshot, guest = with_a_guest()
    honest = decided(replace(snapshot, running=snapshot.running[:1], jobs=_twins(guest)), Policy())
    twice = replace(honest, loans=(*honest.loans, *honest.loans))
    on_the_cell = replace(snapshot, running=snapshot.running[:1], jobs=_twins(guest))
    assert check(on_the_cell, honest) == ()
    assert [fault.law for fault in check(on_the_cell, twice)] == ["one_live_attempt"]
    awake = replace(snapshot.running[0], busy=1)
    assert [fault.law for fault in check(replace(on_the_cell, running=(awake,)), honest)] == ["lent_by_owner"]
    with_another = replace(
        snapshot, running=(snapshot.running[0], replace(guest, job=99)), jobs=on_the_cell.jobs
    )
    assert [fault.law for fault in check(with_another, honest)] == ["guest_memory"]
    stranger = replace(honest, recalls=(Recall(77, 1, RecallGround.OWNER_GONE, 0),))
    assert [fault.law for fault in check(on_the_cell, stranger)] == ["recalled_alive"]


def _twins(guest: Running) -> tuple[Job, ...]:
    job = given(waiting=[a_guest()], teams=[a_team("vision")]).snapshot.jobs[0]
    return (replace(job, id=guest.job),)


def test_x3_a_cycle_that_lends_is_replayed_bit_for_bit() -> None:
    snapshot, _ = with_a_guest(busy=1)
    decision = decided(snapshot, Policy())
    assert decision.recalls
    (played,) = replay(load(record(snapshot, Policy(), decision)))
    assert played.same
    assert played.decision == decision


# -- random cells -------------------------------------------------------------------------------------------

seen: Counter[str] = Counter()
SEEDS = int(os.environ.get("FLEXAI_TEST_EXAMPLES", "40"))
ENFORCED = frozenset({Isolation.EXCLUSIVE, Isolation.ENFORCED, Isolation.COOPERATIVE})
LOOSE = frozenset({Isolation.EXCLUSIVE, Isolation.COOPERATIVE})
TEAMS = {1: 1, 2: 1, 3: 2}
"""Team: organization."""
REQUESTS = (
    Request(milli=500, chip_types=("A",)),
    Request(milli=200, chip_memory=5),
    Request(chip_memory=20, memory=4),
    Request(chips=1, chip_types=("core",), memory=16),
    Request(chips=2, chip_types=("core",), memory=20, cpu=1000),
    Request(chips=1, memory=4),
    Request(milli=100, memory=4, isolation=Isolation.ENFORCED),
)


def a_cell(random: Random) -> Snapshot:
    """Nodes whose chips are nearly all taken, mostly idle and on offer, and much that waits and may be a guest."""
    nodes = tuple(Node(node, f"node-{node}", 1, 8000, random.choice([80, 256])) for node in (7, 8))
    kinds = {"A": (100, 0), "core": (40, 1000)}
    chips = tuple(
        Chip(
            node.id * 10 + index,
            node.id,
            index,
            name,
            kinds[name][0],
            healthy=random.random() > 0.05,
            isolation=random.choice([ENFORCED, ENFORCED, ENFORCED, LOOSE]),
            host_cpu=kinds[name][1],
        )
        for node in nodes
        for index, name in enumerate(random.choice([("A", "A", "core"), ("core", "core", "A")]))
    )
    return Snapshot(
        1000,
        pools=(Pool(1, "one"),),
        nodes=nodes,
        chips=chips,
        teams=tuple(Team(team, f"team-{team}", TEAMS[team]) for team in TEAMS),
        jobs=tuple(a_waiting_one(random, job) for job in range(20, 20 + random.randint(5, 10))),
        running=tuple(owner for chip in chips for owner in owners_of(random, chip)),
    )


def owners_of(random: Random, chip: Chip) -> list[Running]:
    """One owner of the whole chip, or one of each half; sometimes only of a half."""
    made = []
    for number, milli in enumerate(random.choice([(1000,), (1000,), (500, 500), (500,), ()])):
        job, team = 300 + 2 * chip.id + number, random.choice([1, 1, 2, 3])
        share = ChipShare(chip.id, milli, milli * chip.memory // 1000)
        place = Placement(0, chip.node, 0, random.choice([0, 12]), (share,))
        isolation = random.choice([None, None, None, Isolation.COOPERATIVE])
        owner = Running(job, job, team, TEAMS[team], (place,), isolation=isolation)
        made.append(an_idler(random, owner))
    return made


def an_idler(random: Random, owner: Running) -> Running:
    offered = random.choice([1, 500, 500, 500, 500, None])
    return replace(
        owner,
        lend=random.choice([Lend.TEAM, Lend.ORGANIZATION, Lend.ANY, Lend.ANY, Lend.NEVER]),
        offered=offered,
        busy=random.choice([None, None, None, None, None, 990]) if offered is not None else None,
        chip_memory_cap=random.choice([None, 10, 10]),
        leaving=random.random() < 0.05,
    )


def a_waiting_one(random: Random, job: Id) -> Job:
    """Nearly always one that may be a guest."""
    team = random.choice([1, 2, 3])
    least = random.choice([1, 1, 1, 2])
    most = least + random.choice([0, 0, 1])
    gang = Gang(random.choice(REQUESTS), least, most, spread=random.random() < 0.3)
    return Job(
        job,
        f"job-{job}",
        team,
        TEAMS[team],
        1,
        gang,
        priority=random.choice([50, 75]),
        submitted=random.randint(0, 3),
        preemptible=random.random() < 0.9,
        min_runtime=random.choice([0, 0, 0, 0, 1]),
        version=random.randint(0, 2),
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_laws_of_guests_hold_cycle_after_cycle(seed: int) -> None:
    """Loans are applied as guests; owners come and go; a kept scheduler agrees with a fresh one throughout."""
    random = Random(seed)
    snapshot = a_cell(random)
    policy = random.choice(
        [Policy(), Policy(yield_stop=5), Policy(yield_stop=5), Policy(max_loans=1, guest_weight=500)]
    )
    mirror, kept = Mirror(snapshot), Scheduler(snapshot, policy)
    for cycle in range(1, 6):
        here = mirror.snapshot(snapshot.now + cycle)
        fresh = decide(here, policy)
        assert kept.decide(here.now) == fresh
        lending_holds(here, policy, fresh)
        if cycle == 2:
            order_does_not_matter(here, policy, fresh)
        assert check(here, fresh) == ()
        remember(here, fresh)
        told = lent_and_recalled(random, mirror, fresh)
        for attempt in mirror.of(Running):
            told += what_happens_to(random, attempt)
        if random.random() < 0.3:
            told += by_right(900 + cycle, here)
        for happening in told:
            mirror.apply(happening)
        kept.apply(told)


def what_happens_to(random: Random, attempt: Running) -> list[FeedEvent]:
    """Mostly nothing; owners come back, keep their chips, or go, and everybody ends some time."""
    what = random.choice(["nothing"] * 4 + ["back", "back", "anything", "end"])
    if what == "end":
        return [Remove(Running, attempt.id)]
    if attempt.kind is AllocationKind.GUEST or what == "nothing":
        return []
    if what == "back":
        return [Upsert(replace(attempt, busy=990 if attempt.offered is not None else None))]
    return [Upsert(an_idler(random, attempt))]


def by_right(job: Id, here: Snapshot) -> list[FeedEvent]:
    """Somebody who needs all that owners have left of the host on which a guest is; nobody without guests."""
    for guest in guests_of(here):
        node = next(node for node in here.nodes if node.id == guest.placements[0].node)
        held = sum(
            place.memory
            for attempt in here.running
            if attempt.kind is AllocationKind.OWNED
            for place in attempt.placements
            if place.node == node.id
        )
        gang = Gang(Request(memory=node.memory - held))
        return [Upsert(Job(job, f"job-{job}", 1, 1, 1, gang, preemptible=True, min_runtime=1, priority=90))]
    return []


def lent_and_recalled(random: Random, mirror: Mirror, decision: Decision) -> list[FeedEvent]:
    """What the feed says of loans and recalls that were applied."""
    waiting = {job.id: job for job in mirror.of(Job)}
    guests = {attempt.id: attempt for attempt in mirror.of(Running)}
    told: list[FeedEvent] = []
    for loan in decision.loans[:: random.choice([1, 1, 2])]:
        job = waiting[loan.start.job]
        told += [Upsert(guest_of(job, 6000 + job.id, decision)), Remove(Job, job.id)]
    for recall in decision.recalls:
        told.append(Upsert(replace(guests[recall.attempt], leaving=True)))
    return told


def remember(snapshot: Snapshot, decision: Decision) -> None:
    seen.update(
        {
            "lent": len(decision.loans),
            "lent to strangers": sum(_to_strangers(snapshot, loan) for loan in decision.loans),
            "lent a core": sum(not loan.start.placements[0].chips[0].memory for loan in decision.loans),
            "lent several chips": sum(len(loan.start.placements[0].chips) > 1 for loan in decision.loans),
            "lent to a gang": sum(len(loan.start.placements) > 1 for loan in decision.loans),
            "recalled a gang": sum(
                len(guest.placements) > 1 and guest.id in {recall.attempt for recall in decision.recalls}
                for guest in snapshot.running
            ),
            "start withheld": sum(v.reasons[0].code == "chips_lent" for v in decision.verdicts),
        }
    )
    seen.update(recall.ground.value for recall in decision.recalls)


def _to_strangers(snapshot: Snapshot, loan: Loan) -> bool:
    owners = {one.organization for one in snapshot.running if one.id in loan.lenders}
    return owners != {next(job.organization for job in snapshot.jobs if job.id == loan.start.job)}


def test_each_interesting_thing_sometimes_happened() -> None:
    wanted = {"lent", "lent to strangers", "lent a core", "start withheld", *(g.value for g in RecallGround)}
    wanted |= {"lent to a gang", "recalled a gang"}
    assert {what for what in wanted if not seen[what]} == set()


# -- the lend rung -------------------------------------------------------------------------------------------

IDLE = Offering(1, use=0, below=50, after=5 * SECOND, idle_since=0)


def rung(offering: Offering, now: int, policy: Policy | None = None) -> OfferStep | None:
    return next(iter(offer_steps([offering], policy or Policy(), now)), None)


def test_t2_chips_are_offered_when_idle_for_long_enough_and_not_kept() -> None:
    assert rung(IDLE, 4999) is None
    assert rung(IDLE, 5000) == OfferStep(1, Move.OFFER, 0, 5000)
    assert rung(replace(IDLE, idle_since=None), 10**9) is None
    assert rung(replace(IDLE, kept_until=5001), 5000) is None
    assert rung(replace(IDLE, kept_until=5000), 5000) is not None


def test_t2_a_short_return_halts_the_offer_and_a_long_one_ends_it() -> None:
    offered = replace(IDLE, offered=5000)
    assert rung(replace(offered, use=99), 6000) is None, "less than what counts as being back"
    assert rung(replace(offered, use=100), 6000) == OfferStep(1, Move.HALT, 100, 0)
    back = replace(offered, use=900, busy=6000)
    assert rung(back, 35_999) is None
    assert rung(back, 36_000) == OfferStep(1, Move.END, 900, 30_000)
    assert rung(replace(back, use=99), 9000) == OfferStep(1, Move.GO_ON, 99, 3000)
    assert rung(replace(back, use=None), 10**9) is None, "what was not measured says nothing"
    assert rung(replace(offered, kept_until=10**9), 6000) == OfferStep(1, Move.END, 0, 0, by_owner=True)


def test_t2_a_job_that_calls_more_than_the_policy_idle_is_back_only_above_that() -> None:
    offered = replace(IDLE, offered=5000, below=300)
    assert rung(replace(offered, use=299), 6000) is None
    assert rung(replace(offered, use=300), 6000) is not None


def test_t2_after_each_offer_that_ended_chips_must_be_idle_for_twice_as_long() -> None:
    assert [offers_after(5000, ended) for ended in range(4)] == [5000, 10_000, 20_000, 40_000]
    assert offers_after(5000, 99) == 5000 << 6
    assert offers_after(HOUR, 99) == 24 * HOUR
    assert offers_after(48 * HOUR, 3) == 48 * HOUR
    assert rung(replace(IDLE, ended=1), 9999) is None
    assert rung(replace(IDLE, ended=1), 10_000) is not None


def test_t2_a_chip_has_an_owner_for_each_part_and_all_of_them_must_offer() -> None:
    halves = [a_slice(name, milli=500) for name in ("one", "two")]
    case = given(
        nodes=[a_node("n", chips=1)],
        running=[live(half, ("n", [0]), offered=1) for half in halves],
        waiting=[a_guest(chip_memory=1)],
        teams=[a_team("vision", a_quota(limit=1))],
    )
    half = ChipShare(1, 500, MIB // 4)
    both = tuple(
        replace(attempt, placements=(replace(attempt.placements[0], chips=(half,)),))
        for attempt in case.snapshot.running
    )
    snapshot = replace(case.snapshot, running=both)
    assert len(decided(snapshot, Policy()).loans) == 1
    awake = replace(snapshot, running=(both[0], replace(both[1], offered=None)))
    assert decided(awake, Policy()).loans == ()
