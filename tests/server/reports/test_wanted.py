"""The wanted state: complete, from the rows alone."""

from __future__ import annotations

import pytest

from flexai.common import clock
from flexai.jobs.models import Attempt
from flexai.jobs.reports import take_reports
from flexai.jobs.wanted import attempts_wanted_on
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db


def test_a_replica_is_described_completely():
    world = PlacedWorld()
    node = world.a_node(chips=2)
    attempt = world.placed(node, milli=500, cpu=250, memory=64, commands=["echo hi"], files={"a.txt": "x"})
    [replica] = attempts_wanted_on([node.pk])[node.pk].replicas
    assert (replica.attempt, replica.replica, replica.desired) == (attempt.public_id, 0, "run")
    assert (replica.job, replica.number) == (attempt.job.public_id, 1)
    assert replica.organization == world.organization.public_id
    assert [(chip.index, chip.milli, chip.memory_mib) for chip in replica.chips] == [(0, 500, 1000)]
    assert (replica.cpu_milli, replica.memory_mib, replica.lease_ms) == (250, 64, 600_000)
    assert (replica.commands, replica.files) == (["echo hi"], {"a.txt": "x"})
    assert replica.env["MINE"] == "1"
    assert replica.env["FLEXAI_JOB_ID"] == attempt.job.public_id


def test_the_environment_of_a_gang():
    world = PlacedWorld()
    one, two = world.a_node(chips=1), world.a_node(chips=1)
    attempt = world.placed(one, two, milli=1000, env={"RANK": "99"})
    wanted = attempts_wanted_on([one.pk, two.pk])
    first, second = wanted[one.pk].replicas[0].env, wanted[two.pk].replicas[0].env
    assert first["MASTER_ADDR"] == second["MASTER_ADDR"] == "10.0.0.1"
    assert first["MASTER_PORT"] == second["MASTER_PORT"] == str(20_000 + attempt.pk % 10_000)
    assert (first["WORLD_SIZE"], first["NNODES"], first["NPROC_PER_NODE"]) == ("2", "2", "1")
    assert (first["RANK"], second["RANK"]) == ("0", "1")
    assert (second["NODE_RANK"], second["LOCAL_RANK"], second["FLEXAI_REPLICA"]) == ("1", "0", "1")


def test_a_stopping_attempt_is_to_be_stopped_with_its_outcome():
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node)
    assert attempts_wanted_on([node.pk])[node.pk].replicas[0].desired == "run"
    Attempt.objects.filter(pk=attempt.pk).update(
        state="stopping", stop_outcome="preempted", stopping_at=clock.now()
    )
    [replica] = attempts_wanted_on([node.pk])[node.pk].replicas
    assert (replica.desired, replica.stop_outcome) == ("stop", "preempted")


def test_what_has_ended_is_not_wanted():
    world = PlacedWorld()
    node = world.a_node()
    attempt = world.placed(node)
    attempts_wanted_on([node.pk])
    take_reports(node.pk, [report(attempt, "running"), report(attempt, "ended")])
    assert attempts_wanted_on([node.pk])[node.pk].replicas == []


def test_nodes_get_their_own_and_no_others():
    world = PlacedWorld()
    one, two = world.a_node(), world.a_node()
    first, second = world.placed(one), world.placed(two)
    wanted = attempts_wanted_on([one.pk, two.pk])
    assert [r.attempt for r in wanted[one.pk].replicas] == [first.public_id]
    assert [r.attempt for r in wanted[two.pk].replicas] == [second.public_id]
    assert attempts_wanted_on([]) == {}
