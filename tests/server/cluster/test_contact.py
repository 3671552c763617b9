"""Contact lost and found, boots, leases, dead nodes: no job lost, none run twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flexai.cluster.leases import Watch
from flexai.cluster.models import Chip, Node, NodeContact
from flexai.cluster.services import Comer, change_inventory, declare_dead, renew
from flexai.common import clock
from flexai.common.errors import InvalidInput, Unauthenticated
from flexai.jobs.contact import (
    arrive,
    arrive_together,
    expire_leases,
    lose_contact,
    regain_contact,
    sweep_silent_nodes,
)
from flexai.jobs.models import Attempt, Event, Job
from flexai.jobs.reports import take_reports
from flexai.jobs.wanted import attempts_wanted_on
from node_agent import protocol
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db

CHIP = protocol.ChipInfo(index=0, type="H100", memory_mib=80_000, isolation=["exclusive"])
ONE_MORE = protocol.ChipInfo(index=1, type="H100", memory_mib=80_000, isolation=["exclusive"])


def hello(boot_id="boot-1", live=(), chips=(), **inventory):
    return protocol.Hello(
        version=1,
        boot_id=boot_id,
        agent_version="1",
        live=list(live),
        inventory=protocol.Inventory(cpu_milli=64_000, memory_mib=64_000, chips=list(chips), **inventory),
    )


@pytest.fixture
def world():
    world = PlacedWorld()
    yield world
    world.assert_counters_agree()


def steady(after_ms=0):
    """A watch that has run steadily for ages, looked at so long from now."""
    return Watch(clock.to_ms(clock.now()) + after_ms, 10**10, 0)


def test_contact_lost_is_not_failure(world):
    node = world.a_node()
    attempt = world.placed(node)
    take_reports(node.pk, [report(attempt, "running")])
    assert lose_contact([node.pk], silent_since=clock.now()) == [node.pk]
    attempt.refresh_from_db()
    assert (attempt.state, attempt.contact_ok) == ("running", False)
    assert Job.objects.get(pk=attempt.job_id).status == "unreachable"
    regain_contact([node.pk])
    assert Job.objects.get(pk=attempt.job_id).status == "running"
    kinds = list(Event.objects.filter(job=attempt.job).order_by("id").values_list("kind", flat=True))
    assert kinds[-2:] == ["attempt.unreachable", "attempt.reachable"]


def test_a_node_heard_since_is_not_lost(world):
    node = world.a_node()
    assert lose_contact([node.pk], silent_since=clock.now() - timedelta(seconds=10)) == []
    assert Node.objects.get(pk=node.pk).reachable


def test_nodes_that_nobody_hears_are_swept(world):
    silent, heard = world.a_node(), world.a_node()
    NodeContact.objects.filter(node=silent).update(seen_at=clock.now() - timedelta(seconds=31))
    assert sweep_silent_nodes() == [silent.pk]
    assert Node.objects.get(pk=heard.pk).reachable


def test_a_lease_that_is_over_ends_and_requeues(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000, lease_ms=60_000)
    take_reports(node.pk, [report(attempt, "running")])
    lose_contact([node.pk], silent_since=clock.now())
    assert expire_leases(steady(60_000)) == 0
    assert Attempt.objects.get(pk=attempt.pk).state == "running"
    assert expire_leases(steady(60_000 + 1200 + 5000 + 1000)) == 1
    attempt.refresh_from_db()
    assert (attempt.state, attempt.outcome, attempt.reason_code) == ("ended", "node_lost", "lease_over")
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.failures) == ("queued", 0)


def test_a_lease_of_never_waits_for_an_operator(world):
    node = world.a_node()
    attempt = world.placed(node, lease_ms=None)
    lose_contact([node.pk], silent_since=clock.now())
    assert expire_leases(steady(10**12)) == 0
    declare_dead("user:ana", node, "it burnt")
    assert expire_leases(steady()) == 1
    assert Attempt.objects.get(pk=attempt.pk).outcome == "node_lost"
    assert attempt.replicas.get().log_size is None  # its node may come back, with more of its log


def test_nothing_expires_on_a_reachable_node(world):
    node = world.a_node()
    attempt = world.placed(node)
    assert expire_leases(steady(10**9)) == 0
    assert Attempt.objects.get(pk=attempt.pk).state == "placed"


def test_a_gang_with_one_lost_node_stops_the_others_first(world):
    near, far = world.a_node(chips=1), world.a_node(chips=1)
    attempt = world.placed(near, far, milli=1000, lease_ms=60_000)
    take_reports(near.pk, [report(attempt, "running", 0)])
    take_reports(far.pk, [report(attempt, "running", 1)])
    lose_contact([far.pk], silent_since=clock.now())
    assert expire_leases(steady(10**6)) == 1
    attempt.refresh_from_db()
    assert attempt.state == "stopping"
    wanted = attempts_wanted_on([near.pk, far.pk])
    assert [(r.desired, r.stop_outcome) for r in wanted[near.pk].replicas] == [("stop", "cancelled")]
    assert wanted[far.pk].replicas == []
    take_reports(near.pk, [report(attempt, "ended", 0, outcome="cancelled", exit_code=143)])
    attempt.refresh_from_db()
    assert (attempt.state, attempt.outcome) == ("ended", "node_lost")
    assert Job.objects.get(pk=attempt.job_id).state == "queued"


def test_a_new_boot_ends_what_was_before_it_at_once(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000, lease_ms=None)
    take_reports(node.pk, [report(attempt, "running")])
    arrive(node.pk, hello("boot-2", chips=[CHIP]), "10.0.0.9")
    assert Attempt.objects.get(pk=attempt.pk).outcome == "node_lost"
    assert Job.objects.get(pk=attempt.job_id).state == "queued"
    assert NodeContact.objects.get(node=node).boot_id == "boot-2"


def test_the_same_boot_keeps_everything(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    take_reports(node.pk, [report(attempt, "running")])
    arrival = arrive(node.pk, hello(live=[(attempt.public_id, 0)], chips=[CHIP]), "")
    assert arrival.missing == frozenset()
    assert Attempt.objects.get(pk=attempt.pk).state == "running"


def test_what_the_node_does_not_have_is_missing_only_if_it_had_started(world):
    node = world.a_node()
    started, fresh = world.placed(node), world.placed(node)
    take_reports(node.pk, [report(started, "running")])
    arrival = arrive(node.pk, hello(), "")
    assert arrival.missing == {(started.public_id, 0)}
    assert fresh.public_id not in {name for name, _ in arrival.missing}


def test_arriving_renews_and_is_reachable(world):
    node = world.a_node(reachable=False)
    NodeContact.objects.filter(node=node).update(renewed_at=clock.now() - timedelta(hours=1))
    arrive(node.pk, hello(), "")
    node.refresh_from_db()
    assert node.reachable
    assert node.contact.renewed_at > clock.now() - timedelta(seconds=5)


def test_renewing_is_committed_with_the_instant_given(world):
    node = world.a_node()
    at = clock.now() - timedelta(seconds=3)
    assert renew([node.pk], at=at) == {node.pk: (True, False)}
    assert NodeContact.objects.get(node=node).renewed_at == at


def test_the_inventory_is_laid_down_and_changes_are_followed(world):
    node = world.a_node(cpu=0)
    arrive(
        node.pk, hello(chips=[CHIP, protocol.ChipInfo(index=1, type="H100", memory_mib=80_000)]), "10.1.1.1"
    )
    node.refresh_from_db()
    assert (node.cpu_milli, node.cpu_ceiling_milli, node.address) == (64_000, 64_000, "10.1.1.1")
    assert node.chips.filter(present=True).count() == 2
    ids = set(node.chips.values_list("public_id", flat=True))
    change_inventory(node.pk, protocol.Inventory(cpu_milli=32_000, memory_mib=64_000, chips=[CHIP]), "")
    assert node.chips.filter(present=True).count() == 1
    assert set(node.chips.values_list("public_id", flat=True)) == ids
    node.refresh_from_db()
    assert node.cpu_ceiling_milli == 32_000


def test_an_unchanged_inventory_writes_nothing(world):
    node = world.a_node()
    arrive(node.pk, hello(chips=[CHIP]), "")
    before = (Node.objects.get(pk=node.pk).version, Chip.objects.get(node=node).changed)
    arrive(node.pk, hello(chips=[CHIP]), "")
    assert (Node.objects.get(pk=node.pk).version, Chip.objects.get(node=node).changed) == before


def test_a_chip_in_use_keeps_what_it_is_charged_as(world):
    node = world.a_node(chips=1, host_cpu=1000)
    attempt = world.placed(node, milli=1000)
    take_reports(node.pk, [report(attempt, "running")])
    other = protocol.ChipInfo(index=0, type="A100", memory_mib=40_000, host_cpu_milli=500)
    arrive(node.pk, hello(chips=[other], live=[(attempt.public_id, 0)]), "")
    chip = node.chips.get()
    assert (chip.type, chip.host_cpu_milli, chip.healthy) == ("H100", 1000, False)
    take_reports(node.pk, [report(attempt, "ended")])
    arrive(node.pk, hello(chips=[other]), "")
    chip.refresh_from_db()
    assert (chip.type, chip.host_cpu_milli, chip.healthy, chip.memory_mib) == ("A100", 500, True, 40_000)


def test_a_shrunken_node_keeps_its_standing_excess_and_works_it_off(world):
    node = world.a_node(cpu=8000)
    attempt = world.placed(node, cpu=6000)
    take_reports(node.pk, [report(attempt, "running")])
    small = protocol.Inventory(cpu_milli=4000, memory_mib=64_000)
    change_inventory(node.pk, small, "")
    node.refresh_from_db()
    assert (node.cpu_milli, node.cpu_ceiling_milli) == (4000, 6000)
    take_reports(node.pk, [report(attempt, "ended")])
    node.refresh_from_db()
    assert (node.used_cpu_milli, node.cpu_ceiling_milli) == (0, 4000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"chips": [CHIP, CHIP]},
        {"chips": [protocol.ChipInfo(index=5000, type="H100", memory_mib=1)]},
        {"chips": [protocol.ChipInfo(index=0, type="", memory_mib=1)]},
        {"chips": [protocol.ChipInfo(index=0, type="H100", memory_mib=-1)]},
        {"chips": [protocol.ChipInfo(index=0, type="H100", memory_mib=1, isolation=["hoped"])]},
        {"chips": [protocol.ChipInfo(index=i, type="H100", memory_mib=1) for i in range(257)]},
        {"notes": ["\x00"]},
        {"topology": ["x"] * 9},
        {"address": "a b"},
        {"boot_id": "x" * 65},
    ],
)
def test_a_hello_that_breaks_a_bound_changes_nothing(world, wrong):
    node = world.a_node(reachable=False)
    before = Node.objects.filter(pk=node.pk).values().get()
    with pytest.raises(InvalidInput):
        arrive(node.pk, hello(**wrong), "")
    assert Node.objects.filter(pk=node.pk).values().get() == before
    assert not node.chips.exists()


def test_a_crowd_arrives_together_each_with_its_own_and_a_bad_one_alone_is_refused(world):
    nodes = [world.a_node(reachable=False) for _ in range(4)]
    attempt = world.placed(nodes[0])
    take_reports(nodes[0].pk, [report(attempt, "running")])
    gone = max(node.pk for node in nodes) + 1000
    comers = [
        Comer(nodes[0].pk, hello(chips=[CHIP]), "10.0.0.1"),
        Comer(nodes[1].pk, hello(boot_id="x" * 65), ""),
        Comer(nodes[2].pk, hello(), "10.0.0.3"),
        Comer(gone, hello(), ""),
        Comer(nodes[2].pk, hello("boot-9", chips=[CHIP, ONE_MORE]), "10.0.0.4"),
    ]
    first, bad, early, unknown, late = arrive_together(comers)
    assert first.missing == {(attempt.public_id, 0)}
    assert isinstance(bad, InvalidInput)
    assert isinstance(unknown, Unauthenticated)
    assert early == late
    assert [Node.objects.get(pk=node.pk).reachable for node in nodes] == [True, False, True, False]
    assert [node.chips.count() for node in nodes] == [1, 0, 2, 0]
    assert Node.objects.get(pk=nodes[2].pk).address == "10.0.0.4"
    assert NodeContact.objects.get(node=nodes[2]).boot_id == "boot-9"
    assert NodeContact.objects.get(node=nodes[1]).boot_id != "x" * 65


def test_a_crowd_costs_no_more_statements_than_one(world, django_assert_num_queries):
    nodes = [world.a_node() for _ in range(30)]
    comers = [Comer(node.pk, hello(chips=[CHIP]), "") for node in nodes]
    arrive_together(comers)
    with CaptureQueriesContext(connection) as one:
        arrive_together(comers[:1])
    with django_assert_num_queries(len(one)):
        arrive_together(comers)
