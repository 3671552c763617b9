"""A large decision in parts: all of it, each part by itself, and no limit exceeded by two at once (law 8)."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from flexai.common import clock
from flexai.jobs.models import Attempt
from flexai.scheduling.apply import apply
from flexai.scheduling.parts import by_two, parts_of
from flexai.scheduling.records import CycleNotes
from flexai.scheduling.snapshot import take_snapshot
from scheduler_core import Policy, decide
from scheduler_core.decision import Start, Unit
from scheduler_core.model import Placement
from tests.server.scheduling.world import World, counters_agree

WAIT_SECONDS = 30


def a_start(job: int, nodes: list[int]) -> Unit:
    places = tuple(Placement(index, node, 0, 0) for index, node in enumerate(nodes))
    return Unit(Start(job, 1, places))


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=2), max_size=40), st.integers(1, 9))
def test_parts_are_all_starts_in_their_order_and_share_no_node_that_one_part_could_have(nodes, most):
    starts = [a_start(job, on) for job, on in enumerate(nodes)]
    parts = parts_of(starts, most)
    assert sorted(unit.start.job for part in parts for unit in part) == list(range(len(starts)))
    assert all(len(part) <= most for part in parts)
    for part in parts:
        jobs = [unit.start.job for unit in part]
        assert jobs == sorted(jobs)
    first = [unit.start.placements[0].node for unit in starts]
    for node in set(first):
        within = [part for part in parts if any(unit.start.placements[0].node == node for unit in part)]
        assert len(within) == 1 or first.count(node) > most


@pytest.mark.django_db(transaction=True)
def test_two_parts_are_done_at_once_by_two_connections():
    both = threading.Barrier(2)

    def do(part: int) -> tuple[int, int]:
        if part < 2:
            both.wait(WAIT_SECONDS)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return part, cursor.fetchone()[0]

    done = by_two(do, range(5))
    assert [part for part, _ in done] == list(range(5))
    assert len({backend for _, backend in done[:2]}) == 2


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_all_is_done_on_its_own_connection():
    with transaction.atomic():
        assert set(by_two(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails_elsewhere", [False, True])
def test_what_one_part_raises_is_raised_and_the_others_are_not_begun(fails_elsewhere):
    both, here, begun = threading.Barrier(2), threading.get_ident(), []

    def do(part: int) -> None:
        begun.append(part)
        both.wait(WAIT_SECONDS)
        if (threading.get_ident() != here) == fails_elsewhere:
            raise ArithmeticError("no")
        failed.wait(WAIT_SECONDS)

    failed = threading.Event()
    threading.Timer(0.2, failed.set).start()
    with pytest.raises(ArithmeticError):
        by_two(do, range(6))
    assert sorted(begun) == [0, 1]


@pytest.mark.django_db(transaction=True)
def test_two_parts_at_once_do_not_exceed_a_limit_that_each_alone_keeps():
    world = World()
    limit = world.a_quota(world.team, limit=8000)
    for _ in range(2):
        world.a_node(chips=4)
    world.jobs(8, chips=1)
    now = clock.now()
    units = decide(take_snapshot(world.cell.pk, now), Policy()).units
    parts = parts_of(units, 4)
    assert [len(part) for part in parts] == [4, 4]
    type(limit).objects.filter(pk=limit.pk).update(limit_milli=5000)

    both = threading.Barrier(2)

    def do(part: list[Unit]) -> int:
        both.wait(WAIT_SECONDS)
        return len(apply(world.cell.pk, part, now=now, notes=CycleNotes(started_at=now, units=4)).units)

    assert sorted(by_two(do, parts)) == [1, 4]
    assert Attempt.objects.count() == 5
    counters_agree(world.cell)
