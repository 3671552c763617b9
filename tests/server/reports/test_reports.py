"""What reports do to attempts, jobs and counters."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.cluster.models import NodeEvent
from flexai.common import clock
from flexai.common.errors import InvalidInput
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, Event, Job
from flexai.jobs.reports import take_reports
from scheduler_core.lifecycle import Outcome
from tests.support.placed import PlacedWorld, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def world():
    world = PlacedWorld()
    yield world
    world.assert_counters_agree()


def test_a_replica_that_starts_runs_and_succeeds_ends_its_job(world):
    node = world.a_node(chips=1, host_cpu=1000)
    attempt = world.placed(node, milli=500)
    take_reports(node.pk, [report(attempt, "starting"), report(attempt, "running")])
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.status) == ("active", "running")
    assert job.started_at is not None
    take_reports(
        node.pk, [report(attempt, "ended", cpu_time_ms=70, memory_peak_mib=9, use_permille=800, log_size=3)]
    )
    attempt.refresh_from_db()
    job.refresh_from_db()
    assert (attempt.state, attempt.outcome, attempt.exit_code) == ("ended", "succeeded", 0)
    assert (attempt.cpu_time_ms, attempt.memory_peak_mib, attempt.use_permille) == (70, 9, 800)
    assert (job.state, job.status, job.exit_code, job.outcome) == ("succeeded", "succeeded", 0, "succeeded")
    assert job.ended_at is not None
    assert list(Event.objects.filter(job=job).order_by("id").values_list("kind", flat=True)) == [
        "attempt.starting",
        "attempt.running",
        "attempt.ended",
        "job.succeeded",
    ]
    assert not attempt.allocations.filter(active=True).exists()
    assert attempt.replicas.get().log_size == 3


def test_doubled_and_late_reports_change_nothing(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    items = [report(attempt, "starting"), report(attempt, "running"), report(attempt, "ended", exit_code=0)]
    take_reports(node.pk, items)
    after = (Job.objects.get(pk=attempt.job_id).version, Event.objects.count())
    taken = take_reports(node.pk, items)
    assert (taken.moved, taken.ignored) == (0, 3)
    assert (Job.objects.get(pk=attempt.job_id).version, Event.objects.count()) == after


def test_a_replica_never_moves_back(world):
    node = world.a_node()
    attempt = world.placed(node)
    take_reports(node.pk, [report(attempt, "running")])
    take_reports(node.pk, [report(attempt, "starting")])
    assert attempt.replicas.get().state == "running"
    assert Attempt.objects.get(pk=attempt.pk).state == "running"


def test_an_outdated_attempt_is_fenced_while_a_newer_one_lives(world):
    node = world.a_node()
    old = world.placed(node)
    end_attempts([Ending(old.pk, Outcome.NODE_LOST)], actor="platform", at=clock.now())
    job = Job.objects.get(pk=old.job_id)
    assert job.state == "queued"
    Job.objects.filter(pk=job.pk).update(state="active", status="starting")
    new = world.placed(node, job=job, number=2)
    taken = take_reports(node.pk, [report(old, "running"), report(old, "ended", outcome="exit", exit_code=1)])
    assert taken.ignored == 2
    assert Attempt.objects.get(pk=new.pk).state == "placed"
    assert Job.objects.get(pk=job.pk).status == "starting"


def test_reports_about_another_nodes_replica_are_refused_and_recorded(world):
    mine, other = world.a_node(), world.a_node()
    attempt = world.placed(other)
    taken = take_reports(mine.pk, [report(attempt, "ended")])
    assert taken.foreign == {mine.pk: [attempt.public_id]}
    assert Attempt.objects.get(pk=attempt.pk).state == "placed"
    event = NodeEvent.objects.get(node=mine)
    assert (event.kind, event.reason_code) == ("agent.refused", "foreign")


@pytest.mark.parametrize(
    ("outcome", "code", "state", "failures"),
    [("exit", 3, "failed", 1), ("oom", 137, "failed", 1), ("timed_out", 143, "timed_out", 1),
     ("start_failed", None, "failed", 1), ("node_lost", None, "queued", 0), ("platform_stopped", None, "queued", 0)],
)  # fmt: skip
def test_what_follows_each_outcome(world, outcome, code, state, failures):
    node = world.a_node()
    attempt = world.placed(node)
    take_reports(
        node.pk, [report(attempt, "running"), report(attempt, "ended", outcome=outcome, exit_code=code)]
    )
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.failures, job.exit_code) == (state, failures, code)
    assert (job.ended_at is None) is (state == "queued")
    assert job.sentence


def test_a_failure_within_its_retries_waits_again_with_its_first_submit_time(world):
    node = world.a_node()
    attempt = world.placed(node, retry={"limit": 1, "on": ["exit"], "exit_codes": []})
    submitted = Job.objects.get(pk=attempt.job_id).submitted_at
    take_reports(node.pk, [report(attempt, "running"), report(attempt, "ended", outcome="exit", exit_code=1)])
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.failures, job.submitted_at) == ("queued", 1, submitted)
    Job.objects.filter(pk=job.pk).update(state="active")
    second = world.placed(node, job=job, number=2)
    take_reports(node.pk, [report(second, "ended", outcome="exit", exit_code=1)])
    assert Job.objects.get(pk=job.pk).state == "failed"


def test_a_gang_runs_when_all_run(world):
    one, two = world.a_node(), world.a_node()
    attempt = world.placed(one, two)
    take_reports(one.pk, [report(attempt, "running", 0)])
    assert Attempt.objects.get(pk=attempt.pk).state == "starting"
    take_reports(two.pk, [report(attempt, "running", 1)])
    assert Attempt.objects.get(pk=attempt.pk).state == "running"
    assert Job.objects.get(pk=attempt.job_id).status == "running"


def test_a_gang_ends_when_all_have_ended(world):
    one, two = world.a_node(chips=1), world.a_node(chips=1)
    attempt = world.placed(one, two, milli=1000)
    take_reports(one.pk, [report(attempt, "running", 0), report(attempt, "ended", 0)])
    assert Attempt.objects.get(pk=attempt.pk).state != "ended"
    take_reports(two.pk, [report(attempt, "running", 1), report(attempt, "ended", 1)])
    assert Attempt.objects.get(pk=attempt.pk).outcome == "succeeded"


@pytest.mark.parametrize(
    ("told", "known"), [((70, 30), 100), ((0, 5), 5), ((70, None), None), ((None, 30), None)]
)
def test_what_a_gang_drew_is_known_when_it_is_of_all(world, told, known):
    one, two = world.a_node(chips=1), world.a_node(chips=1)
    attempt = world.placed(one, two, milli=1000)
    for index, (node, energy) in enumerate(zip((one, two), told, strict=True)):
        take_reports(
            node.pk, [report(attempt, "running", index), report(attempt, "ended", index, energy_mj=energy)]
        )
    attempt.refresh_from_db()
    assert (attempt.state, attempt.energy_mj) == ("ended", known)


def test_a_gang_that_loses_a_replica_stops_the_others_and_keeps_the_failure(world):
    one, two = world.a_node(chips=1), world.a_node(chips=1)
    attempt = world.placed(one, two, milli=1000)
    take_reports(one.pk, [report(attempt, "running", 0)])
    take_reports(two.pk, [report(attempt, "running", 1)])
    take_reports(two.pk, [report(attempt, "ended", 1, outcome="exit", exit_code=7, sentence="Boom.")])
    attempt.refresh_from_db()
    assert (attempt.state, attempt.stop_outcome, attempt.exit_code) == ("stopping", "exit", 7)
    assert Job.objects.get(pk=attempt.job_id).status == "stopping"
    take_reports(one.pk, [report(attempt, "ended", 0, outcome="cancelled", exit_code=143)])
    attempt.refresh_from_db()
    job = Job.objects.get(pk=attempt.job_id)
    assert (attempt.outcome, attempt.exit_code) == ("exit", 7)
    assert "Boom." in attempt.sentence
    assert "Replica 1" in attempt.sentence
    assert (job.state, job.exit_code) == ("failed", 7)


def test_a_requested_stop_that_is_confirmed_cancels(world):
    node = world.a_node()
    attempt = world.placed(node, state="stopping")
    Attempt.objects.filter(pk=attempt.pk).update(stop_outcome="cancelled")
    Job.objects.filter(pk=attempt.job_id).update(cancel_requested_at=clock.now(), status="cancelling")
    take_reports(node.pk, [report(attempt, "ended", outcome="cancelled", exit_code=143)])
    assert Job.objects.get(pk=attempt.job_id).state == "cancelled"


def test_a_job_that_an_agent_stopped_unasked_waits_again(world):
    node = world.a_node()
    attempt = world.placed(node)
    take_reports(node.pk, [report(attempt, "running"), report(attempt, "ended", outcome="cancelled")])
    assert Attempt.objects.get(pk=attempt.pk).outcome == "platform_stopped"
    assert Job.objects.get(pk=attempt.job_id).state == "queued"


def test_what_was_over_is_not_ended_again(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node, milli=1000)
    ending = Ending(attempt.pk, Outcome.NODE_LOST)
    assert end_attempts([ending], actor="platform", at=clock.now()) == 1
    assert end_attempts([ending], actor="platform", at=clock.now()) == 0


def test_times_are_the_nodes_but_never_in_the_future_nor_before_placement(world):
    node = world.a_node()
    attempt = world.placed(node)
    far = clock.to_ms(clock.now() + timedelta(days=2))
    long_ago = clock.to_ms(clock.now() - timedelta(days=2))
    take_reports(node.pk, [report(attempt, "running", at=long_ago), report(attempt, "ended", at=far)])
    attempt.refresh_from_db()
    assert attempt.placed_at <= attempt.running_at <= attempt.ended_at <= clock.now()


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "exploded"},
        {"exit_code": 2**40},
        {"log_size": -1},
        {"cpu_time_ms": 2**70},
        {"memory_peak_mib": -5},
    ],
)
def test_reports_that_break_the_protocol_are_refused_whole(world, wrong):
    node = world.a_node()
    attempt = world.placed(node)
    with pytest.raises(InvalidInput):
        take_reports(node.pk, [report(attempt, "running"), report(attempt, "ended", **wrong)])
    assert Attempt.objects.get(pk=attempt.pk).state == "placed"


def test_a_sentence_with_nul_or_of_a_megabyte_is_cut(world):
    node = world.a_node()
    attempt = world.placed(node)
    sentence = "\x00" + "x" * 1_000_000
    take_reports(node.pk, [report(attempt, "ended", outcome="exit", exit_code=1, sentence=sentence)])
    assert len(Attempt.objects.get(pk=attempt.pk).sentence) == 2000


def test_guests_free_guest_counters_and_no_quota(world):
    node = world.a_node(chips=1)
    attempt = world.placed(node)
    chip = node.chips.get()
    replica = attempt.replicas.get()
    attempt.allocations.create(replica=replica, chip=chip, kind="guest", milli=300, memory_mib=500)
    node.chips.update(guest_milli=300, guest_memory_mib=500)
    take_reports(node.pk, [report(attempt, "running"), report(attempt, "ended")])
    chip.refresh_from_db()
    assert (chip.guest_milli, chip.guest_memory_mib, chip.used_milli) == (0, 0, 0)
