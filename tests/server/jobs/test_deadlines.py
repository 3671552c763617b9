"""Deadlines: what is refused at submit, and jobs that end at theirs wherever they are."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from flexai.common import clock
from flexai.common.errors import Conflict, InvalidInput
from flexai.jobs import schedules, services
from flexai.jobs.deadlines import time_out_due
from flexai.jobs.models import Attempt, Event, Job
from flexai.jobs.reports import end_replicas, take_reports
from flexai.scheduling import tasks
from scheduler_core.lifecycle import Outcome
from tests.support.placed import PlacedWorld, report
from tests.support.tenants import Api, Tenant, a_spec

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def submit(tenant: Tenant, **fields: object) -> Job:
    return services.submit(tenant.principal, a_spec(**fields)).jobs[0]


def an_instant(*, after: timedelta) -> str:
    return (timezone.now() + after).isoformat()


class TestSubmit:
    def test_a_duration_counts_from_the_submit_and_an_instant_stands(self, tenant: Tenant) -> None:
        job = submit(tenant, deadline="4h")
        assert job.deadline == job.submitted_at + 4 * HOUR
        assert submit(tenant, deadline="2099-01-01T02:00:00+02:00").deadline == datetime.fromisoformat(
            "2099-01-01T00:00:00Z"
        )
        assert submit(tenant).deadline is None

    def test_every_job_of_a_set_has_it(self, tenant: Tenant) -> None:
        services.submit(tenant.principal, a_spec(array="0-3", deadline="1h"))
        assert Job.objects.filter(deadline__isnull=False).count() == 4

    def test_one_that_has_passed_or_comes_before_the_start_is_refused(self, tenant: Tenant) -> None:
        for deadline, start_after, because in (
            (an_instant(after=-HOUR), None, "has passed"),
            ("30m", an_instant(after=HOUR), "no later than its `start_after`"),
        ):
            with pytest.raises(InvalidInput) as caught:
                submit(tenant, deadline=deadline, start_after=start_after)
            assert [error.field for error in caught.value.errors] == ["deadline"]
            assert because in caught.value.detail
        assert not Job.objects.exists()

    def test_a_schedule_takes_a_duration_alone(self, tenant: Tenant) -> None:
        cron = {"cron": "0 3 * * *"}
        with pytest.raises(InvalidInput, match="jobs of a schedule have many"):
            schedules.create_schedule(
                tenant.principal, a_spec(schedule=cron, deadline="2099-01-01T00:00:00Z")
            )
        schedules.create_schedule(tenant.principal, a_spec(schedule=cron, deadline="2h"))


class TestWaiting:
    @pytest.mark.parametrize("state", ["held", "queued", "suspended"])
    def test_whoever_waits_past_it_has_timed_out(self, tenant: Tenant, state: str) -> None:
        job, other = submit(tenant, deadline="1h"), submit(tenant, deadline="3h")
        Job.objects.filter(pk=job.pk).update(state=state, status=state)
        assert time_out_due(timezone.now()) == 0
        at = timezone.now() + 2 * HOUR
        assert time_out_due(at) == 1
        job.refresh_from_db()
        other.refresh_from_db()
        assert (job.state, job.status, job.outcome, job.reason_code) == (*["timed_out"] * 3, "deadline")
        assert (job.sentence, job.ended_at) == ("Its deadline passed before it could start.", at)
        told = Event.objects.filter(job=job).last()
        assert told is not None
        assert (told.kind, told.from_state, told.to_state) == ("job.timed_out", state, "timed_out")
        assert other.state == "queued"
        assert time_out_due(at) == 0, "once is enough"

    def test_who_depends_on_it_hears_of_it(
        self, tenant: Tenant, django_capture_on_commit_callbacks: object
    ) -> None:
        first = submit(tenant, deadline="1h", hold=True)
        after = submit(tenant, depends_on=[{"job": first.public_id, "on": "afternotok"}])
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            time_out_due(timezone.now() + 2 * HOUR)
        after.refresh_from_db()
        assert after.state == "queued"

    def test_the_tick_looks(self, tenant: Tenant) -> None:
        job = submit(tenant, deadline="1h")
        Job.objects.filter(pk=job.pk).update(deadline=timezone.now())
        tasks.tick()
        job.refresh_from_db()
        assert job.state == "timed_out"

    def test_a_requeue_counts_a_duration_anew_and_refuses_what_has_passed(self, tenant: Tenant) -> None:
        lasting, fixed = submit(tenant, deadline="1h"), submit(tenant, deadline=an_instant(after=HOUR))
        for job in (lasting, fixed):
            Job.objects.filter(pk=job.pk).update(state="timed_out", status="timed_out")
        Job.objects.filter(pk=lasting.pk).update(deadline=timezone.now() - HOUR)
        again = services.requeue_job(tenant.principal, lasting)
        assert again.state == "queued"
        assert again.deadline is not None
        assert again.deadline > timezone.now() + 0.9 * HOUR
        passed = fixed.effective_spec | {"deadline": "2020-01-01T00:00:00Z"}
        Job.objects.filter(pk=fixed.pk).update(effective_spec=passed)
        fixed.refresh_from_db()
        assert "requeue" not in services.allowed_actions(tenant.principal, fixed)
        with pytest.raises(Conflict, match="has passed"):
            services.requeue_job(tenant.principal, fixed)


class TestRunning:
    @pytest.fixture
    def world(self):
        world = PlacedWorld()
        yield world
        world.assert_counters_agree()

    def a_running(self, world: PlacedWorld, **retry: object) -> Attempt:
        node = world.a_node(chips=1)
        attempt = world.placed(node, milli=1000)
        take_reports(node.pk, [report(attempt, "running")])
        job = attempt.job
        Job.objects.filter(pk=job.pk).update(
            deadline=clock.now(), effective_spec=job.effective_spec | {"retry": retry}
        )
        return attempt

    def test_a_running_one_is_stopped_and_times_out_without_a_retry(self, world: PlacedWorld) -> None:
        attempt = self.a_running(world, limit=3, on=["timed_out", "exit"])
        assert time_out_due(clock.now()) == 1
        attempt.refresh_from_db()
        assert (attempt.state, attempt.stop_outcome, attempt.reason_code) == (
            "stopping",
            "timed_out",
            "deadline",
        )
        job = Job.objects.get(pk=attempt.job_id)
        assert (job.state, job.status, job.sentence) == ("active", "stopping", "Stopped at its deadline.")
        assert time_out_due(clock.now()) == 0, "it is being stopped"
        node_pk = attempt.replicas.get().node_id
        take_reports(node_pk, [report(attempt, "ended", outcome="cancelled", exit_code=143)])
        job.refresh_from_db()
        attempt.refresh_from_db()
        assert (attempt.state, attempt.outcome) == ("ended", "timed_out")
        assert (job.state, job.outcome, job.reason_code) == ("timed_out", "timed_out", "deadline")
        assert job.sentence == "Stopped at its deadline. Its deadline has passed, and no attempt follows."

    def test_what_finishes_all_the_same_has_succeeded(self, world: PlacedWorld) -> None:
        attempt = self.a_running(world)
        time_out_due(clock.now())
        take_reports(attempt.replicas.get().node_id, [report(attempt, "ended", exit_code=0)])
        assert Job.objects.get(pk=attempt.job_id).state == "succeeded"

    def test_a_node_that_is_lost_past_it_takes_the_job_with_it(self, world: PlacedWorld) -> None:
        attempt = self.a_running(world)
        end_replicas(
            {attempt.pk: [0]}, outcome=Outcome.NODE_LOST, reason_code="", sentence="", actor="platform",
            at=clock.now(),
        )  # fmt: skip
        job = Job.objects.get(pk=attempt.job_id)
        assert (job.state, job.reason_code) == ("timed_out", "deadline")
        assert "node was lost" in job.sentence


def test_x4_a_dry_run_says_that_a_deadline_would_be_missed(tenant: Tenant) -> None:
    client = Api(tenant.token)
    cases = (
        ({"deadline": "1h", "max_duration": "2h"}, ["is expected to miss"]),
        ({"deadline": "3h", "max_duration": "2h"}, []),
        (
            {"deadline": "1h", "start_after": an_instant(after=HOUR / 2), "max_duration": "45m"},
            ["is expected to"],
        ),
        ({"max_duration": "2h"}, []),
    )
    for fields, said in cases:
        answer = client.post("/jobs?dry_run=1", a_spec(resources={"accelerators": "H100:1"}, **fields)).json()
        assert answer["fits"]
        assert [word in warning for word, warning in zip(said, answer["warnings"], strict=True)] == [
            True
        ] * len(said), (fields, answer["warnings"])
    assert not Job.objects.exists()
