"""The compiler is loaded where there is much to loop over, and nowhere else; compiled or not, the numbers are the
same."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from scheduler_core import (
    Policy,
    Scheduler,
    Snapshot,
    census,
    columns,
    decide,
    returned,
    seats,
    shelves,
    stretch,
    value,
    valuing,
)
from scheduler_core.ahead import make_machine_code
from scheduler_core.columns import Ints
from scheduler_core.compiled import LONG, Loop, compiled, inlined
from scheduler_core.decision import Decision
from scheduler_core.model import (
    Chip,
    FeedEvent,
    Gang,
    Isolation,
    Job,
    Node,
    Pool,
    Remove,
    Request,
    Running,
    Seen,
    Team,
    Upsert,
)


@inlined
def _square(value: int) -> int:
    return value * value


@compiled
def _sum_of_squares(values: Ints) -> int:
    total = 0
    for at in range(len(values)):
        total += _square(values[at])
    return total


def test_a_loop_gives_the_same_before_and_after_it_is_compiled() -> None:
    short, long = np.arange(LONG - 1), np.arange(LONG)
    plain = _sum_of_squares(short)
    assert _sum_of_squares(long) == sum(n * n for n in range(LONG))
    assert _sum_of_squares(short) == plain == sum(n * n for n in range(LONG - 1))


@compiled
def _larger(one: int, other: int) -> int:
    return max(one, other)


@compiled
def _largest(values: Ints) -> int:
    most = -1
    for at in range(len(values)):
        most = _larger(most, values[at])
    return most


def test_a_loop_that_begins_with_a_constant_is_compiled_once() -> None:
    """Numba takes a constant for a type of its own, until it has seen the whole of the caller."""
    assert _largest(np.arange(LONG)) == LONG - 1
    assert len(_largest.machine.signatures) == 1
    assert len(_larger.machine.signatures) <= 1  # none where the caller was kept from before


def test_a_small_cell_is_decided_without_the_compiler() -> None:
    """It takes more than a second and 70 MiB that no laptop with a few nodes should pay."""
    program = """
import sys
from scheduler_core import Policy, decide
from tests.support.engine import a_gang, a_node, given
case = given(nodes=[a_node(chips=8) for _ in range(16)], waiting=[a_gang("a", chips=8), a_gang("b", chips=9)])
assert case.decision.starts("a") and not case.decision.starts("b")
assert "numba" not in sys.modules, "the compiler was loaded"
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.timeout(1200)  # it compiles everything, unless that is kept from another run
def test_machine_code_made_ahead_is_all_that_a_large_cell_needs() -> None:
    make_machine_code()
    made = _machine_code()
    assert {
        "serve_stretch",
        "best_on_shelves",
        "best_seat",
        "count_nodes",
        "sum_up",
        "put_all",
        "value_seats",
    } <= made.keys()
    snapshot = a_large_cell()
    scheduler = Scheduler(snapshot, Policy(max_starts=500))
    attempts = attempts_of(snapshot, scheduler.decide(snapshot.now))
    scheduler.apply(Upsert(attempt) for attempt in attempts)
    scheduler.apply(Remove(Running, attempt.id) for attempt in attempts)
    seen = tuple(Seen(job.id, job.gang.request, 1) for job in snapshot.jobs[:20])
    assert decide(replace(snapshot, jobs=snapshot.jobs[:100], seen=seen), Policy(max_starts=500)).effort
    assert _machine_code() == made


def _machine_code() -> dict[str, int]:
    """Every loop that is called as machine code, and for how many kinds of arguments it was compiled."""
    loops = {
        loop.__qualname__: loop
        for module in (census, columns, returned, seats, shelves, stretch, value, valuing)
        for loop in vars(module).values()
        if isinstance(loop, Loop)
    }
    counts = {name: len(loop.machine.signatures) for name, loop in loops.items() if "machine" in vars(loop)}
    return {name: count for name, count in counts.items() if count}


@pytest.mark.timeout(1200)
def test_a_large_cell_is_decided_alike_in_machine_code_and_in_plain_python() -> None:
    snapshot = a_large_cell()
    fast = decide(snapshot, Policy(max_starts=500))
    assert "numba" in sys.modules
    plain = Scheduler(snapshot, Policy(max_starts=500), machine_from=1 << 60)
    assert plain.decide(snapshot.now) == fast
    assert len(fast.units) > 200
    assert any(len(unit.start.placements) > 1 for unit in fast.units)
    assert fast.verdicts


def test_ends_that_come_together_are_noted_as_if_one_by_one() -> None:
    snapshot = a_large_cell()
    together, alone = (Scheduler(snapshot, Policy(max_starts=500)) for _ in range(2))
    attempts = attempts_of(snapshot, together.decide(snapshot.now))
    events: list[FeedEvent] = []
    for attempt in attempts:
        events += [Upsert(attempt), Remove(Job, attempt.job)]
    jobs = {job.id: job for job in snapshot.jobs}
    for attempt in attempts[::2]:
        events += [Upsert(jobs[attempt.job]), Remove(Running, attempt.id), Remove(Running, attempt.id)]
    together.apply(events)
    for event in events:
        alone.apply([event])
    decision = together.decide(snapshot.now + 1000)
    assert decision == alone.decide(snapshot.now + 1000)
    left = Snapshot(
        snapshot.now + 1000, snapshot.pools, snapshot.nodes, snapshot.chips, snapshot.teams,
        tuple(job for job in snapshot.jobs if job.id not in {attempt.job for attempt in attempts[1::2]}),
        tuple(attempts[1::2]),
    )  # fmt: skip
    assert decision == decide(left, Policy(max_starts=500))
    assert len(decision.units) > 50


def attempts_of(snapshot: Snapshot, decision: Decision) -> list[Running]:
    """What the decision starts, running."""
    jobs = {job.id: job for job in snapshot.jobs}
    started = [(jobs[unit.start.job], unit.start) for unit in decision.units]
    return [
        Running(job.id, job.id, job.team, job.organization, start.placements, preemptible=job.preemptible)
        for job, start in started
    ]


def a_large_cell() -> Snapshot:
    """More nodes than `LONG`, of four kinds, some closed, some with an ill chip; every kind of request."""
    chance = Random(7)
    kinds = [("A100", 8, 64_000), ("L4", 4, 32_000), ("A100", 4, 24_000), ("H100", 2, 16_000)]
    nodes, chips = [], []
    for number in range(1, LONG + 21):
        chip_type, count, cpu = kinds[number % len(kinds)]
        nodes.append(Node(number, f"n{number}", 1 + number % 2, cpu, 4 * cpu, ready=number % 37 != 0))
        for index in range(count):
            levels = frozenset(
                {Isolation.EXCLUSIVE, Isolation.ENFORCED if index % 2 else Isolation.COOPERATIVE}
            )
            ill = chance.random() < 0.02
            chips.append(
                Chip(
                    len(chips) + 1,
                    number,
                    index,
                    chip_type,
                    16_000,
                    not ill,
                    100 - index % 3,
                    isolation=levels,
                )
            )
    requests = [
        Request(chips=1, cpu=4_000, memory=8_000),
        Request(chips=4, cpu=8_000, memory=8_000, chip_types=("A100",)),
        Request(milli=300, cpu=1_000, memory=1_000),
        Request(milli=650, cpu=2_000, memory=1_000, isolation=Isolation.ENFORCED),
        Request(chip_memory=5_000, cpu=500, memory=500),
        Request(milli=500, isolation=Isolation.EXCLUSIVE),
        Request(cpu=12_000, memory=2_000),
        Request(chips=8, cpu=60_000, memory=1_000),
    ]
    jobs = []
    for number in range(1, 321):
        gang = Gang(
            chance.choice(requests), replicas := chance.choice([1, 1, 1, 1, 3]), replicas, bool(number % 2)
        )
        team = 1 + number % 3
        pools = chance.choice([(), (), (2, 1)])
        jobs.append(
            Job(number, f"j{number}", team, team, 1, gang, submitted=number, pools=pools, preemptible=True)
        )
    teams = tuple(Team(team, f"t{team}", team) for team in (1, 2, 3))
    pools = (Pool(1, "one", 100), Pool(2, "two", 50))
    return Snapshot(1_000, pools, tuple(nodes), tuple(chips), teams, tuple(jobs))


def test_code_kept_from_before_a_called_loop_was_changed_is_not_run(tmp_path: Path) -> None:
    """The compiler looks at the file of the kept function alone; an upgrade changes others."""
    caller = "from called import grown\nfrom scheduler_core.compiled import compiled\n\n"
    caller += "@compiled\ndef total(values):\n    return grown(values[0])\n"
    called = "from scheduler_core.compiled import {kind}\n\nBY = {by}\n\n"
    called += "@{kind}\ndef grown(value):\n    return value + BY\n"
    (tmp_path / "caller.py").write_text(caller)
    program = "import numpy, caller; print(caller.total(numpy.arange(1000)))"
    for kind, by in (("inlined", 1), ("inlined", 2), ("compiled", 2), ("compiled", 3)):
        (tmp_path / "called.py").write_text(called.format(kind=kind, by=by))
        ran = subprocess.run(
            [sys.executable, "-B", "-c", program],
            capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
                 "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])},
        )  # fmt: skip
        assert (ran.stdout, ran.stderr) == (f"{by}\n", "")
    kept = [path.name for path in tmp_path.rglob("*.nbi")]
    assert len([name for name in kept if name.startswith("caller.total")]) == 4
