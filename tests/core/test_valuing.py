"""The engine's nodes in the order of what is lost of their value (P3): by an independent count, by hand, and alike in
plain loops and machine code."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler_core import Policy, Scheduler, Snapshot, decide
from scheduler_core.effort import LEAST_VALUES
from scheduler_core.model import (
    Chip,
    ChipShare,
    Gang,
    Id,
    Isolation,
    Job,
    Node,
    Placement,
    Pool,
    Remove,
    Request,
    Running,
    Seen,
    Team,
    Upsert,
)
from scheduler_core.ranking import Ranking
from scheduler_core.value import Mix, further_use, home_price, homes, least_of, samples_at, streams
from scheduler_core.worth import Worth
from tests.core.test_compiled import a_large_cell

SHARED = frozenset({Isolation.EXCLUSIVE, Isolation.ENFORCED})
CPU_HUNGRY = Request(chips=1, cpu=8_000)
SLICE = Request(milli=300)
PAIR = Request(chips=2, cpu=2_000)


def a_cell(
    left: list[tuple[int, list[int]]],
    waiting: list[Request],
    seen: list[tuple[Request, int]],
    types: tuple[str, ...] = (),
) -> Snapshot:
    """Nodes with so much host CPU and of each chip so many milli-chips left; a job for each request that waits."""
    nodes = tuple(Node(at, f"n{at}", 1, cpu, 1 << 20) for at, (cpu, _) in enumerate(left, start=1))
    chips, running = list[Chip](), list[Running]()
    for node, (_, free) in zip(nodes, left, strict=True):
        for index, milli in enumerate(free):
            chip = Id(100 * node.id + index)
            kind = types[node.id - 1] if types else "A"
            chips.append(Chip(chip, node.id, index, kind, 10_000, isolation=SHARED))
            if milli < 1000:
                share = ChipShare(chip, 1000 - milli, 10 * (1000 - milli))
                held = Placement(0, node.id, 0, 0, (share,))
                running.append(
                    Running(chip, chip, 1, 1, (held,), isolation=Isolation.COOPERATIVE, endless=True)
                )
    jobs = tuple(
        Job(at, f"j{at}", 1, 1, 1, Gang(request), submitted=at, endless=True)
        for at, request in enumerate(waiting, start=1)
    )
    rows = tuple(Seen(at, request, count) for at, (request, count) in enumerate(seen, start=1))
    return Snapshot(
        0, (Pool(1, "one", 10),), nodes, tuple(chips), (Team(1, "t", 1),), jobs, tuple(running), seen=rows
    )


def places(snapshot: Snapshot) -> list[Id]:
    return [unit.start.placements[0].node for unit in decide(snapshot, Policy()).units]


def test_p3_a_request_leaves_a_node_to_those_who_can_use_it() -> None:
    """Best fit puts a chip without CPU on the node left with least, where CPU is plenty. The cell sees requests that
    need CPU: they cannot use the other node's chips at all, which therefore cost nothing.
    """
    left = [(32_000, [1000, 1000]), (1_000, [1000, 1000, 1000])]
    wanted = [Request(chips=1)]
    assert places(a_cell(left, wanted, [])) == [1]
    assert places(a_cell(left, wanted, [(CPU_HUNGRY, 9)])) == [2]


def test_p3_a_slice_takes_the_chip_that_others_can_use_least() -> None:
    """Fullest first leaves 200 of 500, where nothing that the cell sees fits; 400 of 700 are one more slice of 400."""
    seen = [(Request(milli=400), 5), (Request(milli=500), 5)]
    left = [(8_000, [500, 700])]
    (unit,) = decide(a_cell(left, [SLICE], []), Policy()).units
    assert unit.start.placements[0].chips[0].chip == 100
    (unit,) = decide(a_cell(left, [SLICE], seen), Policy()).units
    assert unit.start.placements[0].chips[0].chip == 101


def test_p3_of_types_that_are_equally_fast_the_one_that_is_missed_least_is_taken() -> None:
    cell = a_cell([(8_000, [1000]), (8_000, [1000])], [Request(chips=1)], [], ("A", "B"))
    seen = (Seen(1, Request(chips=1, chip_types=("A",)), 3),)
    assert places(cell) == [1]
    assert places(replace(cell, seen=seen)) == [2]
    faster = tuple(replace(chip, speed=2000) if chip.type == "A" else chip for chip in cell.chips)
    assert places(replace(cell, chips=faster, seen=seen)) == [1], "fastest first"
    asked = replace(cell.jobs[0], gang=Gang(Request(chips=1, chip_types=("A", "B"))))
    assert places(replace(cell, jobs=(asked,), seen=seen)) == [1], "as named"
    either = replace(cell.jobs[0], gang=Gang(Request(chips=1, chip_types=("A", "B"), in_order=False)))
    assert places(replace(cell, jobs=(either,), seen=seen)) == [2], "any of those that are named"
    assert places(replace(cell, jobs=(either,), chips=faster, seen=seen)) == [1], "of them the fastest first"


def test_p3_slower_types_are_not_valued_where_a_faster_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    valued = list[str]()
    least_loss = Ranking.least_loss

    def noted(ranking: Ranking, worth: Worth) -> object:
        valued.append(ranking.need.chip_type)
        return least_loss(ranking, worth)

    monkeypatch.setattr(Ranking, "least_loss", noted)
    left = [(8_000, [1000]), (8_000, [1000]), (8_000, [1000])]
    cell = a_cell(left, [Request(chips=1)], [(Request(chips=1), 3)], ("A", "B", "C"))
    faster = tuple(chip if chip.type == "A" else replace(chip, speed=2000) for chip in cell.chips)
    assert places(replace(cell, chips=faster)) == [2]
    assert valued == ["B", "C"]
    nothing_faster = tuple(
        replace(chip, healthy=chip.type == "A", speed=1000 if chip.type == "A" else 2000)
        for chip in cell.chips
    )
    assert places(replace(cell, chips=nothing_faster)) == [1]


def test_p3_what_fits_is_never_declined() -> None:
    """The last home of a gang is worth much more than a slice: still it is taken where nothing else is left."""
    cell = a_cell([(8_000, [1000, 1000])], [SLICE], [(PAIR, 50), (SLICE, 1)])
    assert places(cell) == [1]


def test_p3_the_last_home_of_gangs_is_left_to_them() -> None:
    """Two nodes with two chips; on one of them a chip is cut already."""
    left = [(8_000, [1000, 1000]), (8_000, [1000, 600])]
    seen = [(PAIR, 9), (Request(chips=1), 1)]
    assert places(a_cell(left, [Request(chips=1)], seen)) == [2]
    assert places(a_cell(left, [Request(chips=1), PAIR], seen)) == [2, 1]


def test_s4_with_too_many_waiting_nothing_is_valued() -> None:
    left = [(32_000, [1000, 1000]), (1_000, [1000, 1000, 1000])]
    seen = [(CPU_HUNGRY, 9)]
    crowd = [Request(chips=1)] + [Request(chips=9)] * 20
    decision = decide(a_cell(left, crowd, seen), Policy())
    assert decision.effort == 0
    assert places(a_cell(left, crowd, seen)) == [1]
    assert decide(a_cell(left, crowd[:1], []), Policy()).effort == 0, "nor where no mix is known"
    assert decide(a_cell(left, crowd[:1], seen), Policy()).effort == 2


FREE = st.lists(st.sampled_from([0, 200, 500, 1000, 1000]), min_size=1, max_size=4)
ASKED = st.sampled_from(
    [CPU_HUNGRY, SLICE, PAIR, Request(milli=500, cpu=500), Request(chips=1), Request(cpu=2_000)]
)


@given(
    st.lists(st.tuples(st.sampled_from([1_000, 9_000, 20_000]), FREE), min_size=1, max_size=4),
    ASKED,
    st.lists(st.tuples(ASKED, st.integers(1, 6)), min_size=1, max_size=4, unique_by=lambda seen: seen[0]),
)
@settings(max_examples=60, deadline=None)
def test_p3_the_engine_takes_the_place_with_the_least_loss(
    left: list[tuple[int, list[int]]], asked: Request, seen: list[tuple[Request, int]]
) -> None:
    """Every place there is, valued one by one with the functions of `value` alone."""
    snapshot = a_cell(left, [asked], seen)
    decision = decide(snapshot, Policy())
    losses = every_loss(left, asked, seen)
    assert bool(decision.units) == bool(losses)
    if losses and decision.effort:
        placement = decision.units[0].start.placements[0]
        chips = tuple(sorted(share.chip % 100 for share in placement.chips))
        at = (placement.node, chips if asked.milli else ())
        assert losses[at] == min(losses.values())


def every_loss(
    left: list[tuple[int, list[int]]], asked: Request, seen: list[tuple[Request, int]]
) -> dict[tuple[int, tuple[int, ...]], int]:
    """By node, and for a slice by chip."""
    rows = sorted((_kind(request), count) for request, count in seen)
    rows.sort(key=lambda row: -row[1])
    mix = Mix(np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int64))
    samples = samples_at(len(left))
    requests, least = streams(mix, 0, samples), least_of(mix)
    demanded = sum(count * kind[2] * kind[3] for kind, count in rows)
    gangs = [(kind, count) for kind, count in rows if kind[2] > 1]
    unused = sum(sum(free) for _, free in left)

    def worth(cpu: int, free: list[int]) -> int:
        chips = np.array(free, np.int64)
        return further_use(cpu, 1 << 20, chips, 0, mix.kinds, requests, least, np.zeros_like(chips))

    def home(cpu: int, free: list[int], kind: tuple[int, ...]) -> int:
        return homes(cpu, 1 << 20, np.array(free, np.int64), 0, np.array(kind, np.int64))

    prices = {
        kind: home_price(
            kind[2] * 1000 * samples,
            count,
            sum(other for alike, other in gangs if alike[2] == kind[2]),
            unused,
            demanded,
            sum(home(cpu, free, kind) for cpu, free in left),
        )
        for kind, count in gangs
    }
    found = {}
    for node, (cpu, free) in enumerate(left, start=1):
        for chips, after in _rests(free, asked):
            if asked.cpu <= cpu:
                loss = worth(cpu, free) - worth(cpu - asked.cpu, after)
                for kind, price in prices.items():
                    loss += price * (home(cpu, free, kind) - home(cpu - asked.cpu, after, kind))
                found[node, chips] = loss
    return found


def _rests(free: list[int], asked: Request) -> list[tuple[tuple[int, ...], list[int]]]:
    if asked.milli:
        return [
            ((at,), [*free[:at], here - asked.milli, *free[at + 1 :]])
            for at, here in enumerate(free)
            if here >= asked.milli
        ]
    whole = [at for at, here in enumerate(free) if here == 1000][: asked.chips]
    if len(whole) < asked.chips:
        return []
    return [((), [0 if at in whole else here for at, here in enumerate(free)])]


def _kind(request: Request) -> tuple[int, ...]:
    if not request.chips and not request.milli:
        return (request.cpu, 0, 0, 0, 0)
    return (request.cpu, 0, max(request.chips, 1), request.milli or 1000, 1)


def a_large_mixed_cell() -> Snapshot:
    """Few jobs wait in a large cell of several kinds of nodes, half full."""
    snapshot = a_large_cell()
    seen = tuple(
        Seen(number, job.gang.request, 1 + number % 7) for number, job in enumerate(snapshot.jobs[:40], 1)
    )
    busy = decide(replace(snapshot, jobs=snapshot.jobs[100:300]), Policy())
    jobs = {job.id: job for job in snapshot.jobs}
    running = tuple(
        Running(
            start.job,
            start.job,
            jobs[start.job].team,
            jobs[start.job].organization,
            start.placements,
            gang=jobs[start.job].gang,
            isolation=jobs[start.job].gang.request.isolation,
        )
        for start in (unit.start for unit in busy.units)
    )
    return replace(snapshot, jobs=snapshot.jobs[:40], running=running, seen=seen)


@pytest.mark.timeout(1200)
def test_p3_a_large_cell_is_valued_alike_in_machine_code_and_in_plain_python() -> None:
    snapshot = a_large_mixed_cell()
    # So many wait that effort is small: plain Python takes its time.
    crowd = tuple(
        replace(snapshot.jobs[0], id=1000 + number, gang=Gang(Request(chips=99))) for number in range(200)
    )
    snapshot = replace(snapshot, jobs=(*snapshot.jobs[:3], *crowd))
    fast = decide(snapshot, Policy())
    plain = Scheduler(snapshot, Policy(), machine_from=1 << 60)
    assert plain.decide(snapshot.now) == fast
    assert fast.effort == 2_000 // len(snapshot.jobs)
    assert fast.units != decide(replace(snapshot, seen=()), Policy()).units


@pytest.mark.timeout(1200)
def test_s1_a_kept_scheduler_values_as_a_fresh_one_does() -> None:
    """Cycle after cycle in a large cell: states remembered, homes counted on, and a mix that changes."""
    chance = Random(5)
    snapshot = a_large_mixed_cell()
    waiting, running = {job.id: job for job in snapshot.jobs}, {row.id: row for row in snapshot.running}
    seen = {row.id: row for row in snapshot.seen}
    kept = Scheduler(replace(snapshot, jobs=()), Policy())
    kept.apply([Upsert(job) for job in snapshot.jobs])
    for cycle in range(4):
        now = snapshot.now + cycle
        rows = replace(
            snapshot,
            now=now,
            jobs=tuple(waiting.values()),
            running=tuple(running.values()),
            seen=tuple(seen.values()),
        )
        decision = kept.decide(now)
        assert decision == decide(rows, Policy())
        assert decision.effort > LEAST_VALUES
        for unit in decision.units:
            job = waiting.pop(unit.start.job)
            row = Running(job.id, job.id, job.team, job.organization, unit.start.placements, gang=job.gang)
            running[row.id] = replace(row, isolation=job.gang.request.isolation)
            kept.apply([Upsert(running[row.id]), Remove(Job, job.id)])
        for gone in chance.sample(sorted(running), 10):
            del running[gone]
            kept.apply([Remove(Running, gone)])
        for number in range(10):
            job = replace(
                chance.choice(snapshot.jobs), id=5_000 + 100 * cycle + number, submitted=now, version=cycle
            )
            waiting[job.id] = job
            kept.apply([Upsert(job)])
        if cycle == 1:
            changed = Seen(1, Request(milli=700), 30)
            seen[1] = changed
            kept.apply([Upsert(changed)])
