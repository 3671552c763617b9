"""Jobs that wait for others: what may be named, when they go on, and that no end is missed."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexai.common import clock
from flexai.common.errors import Conflict, InvalidInput
from flexai.jobs import services
from flexai.jobs.dependencies import settle_all
from flexai.jobs.ending import Ending, end_attempts
from flexai.jobs.models import Attempt, Dependency, Event, Job
from flexai.scheduling.queries import explain_job
from scheduler_core.lifecycle import Outcome
from tests.support.tenants import Tenant, a_node, a_spec, a_tenant, started

pytestmark = pytest.mark.django_db
Commits = Any


def submit(tenant: Tenant, *after: Any, **fields: Any) -> Job:
    depends = {"depends_on": list(after)} if after else {}
    return services.submit(tenant.principal, a_spec(**depends, **fields)).jobs[0]


def end(job: Job, outcome: Outcome = Outcome.SUCCEEDED) -> None:
    """The job runs and ends so."""
    attempt = started(Job.objects.get(pk=job.pk), a_node())
    end_attempts([Ending(attempt.pk, outcome, exit_code=1)], actor="agent", at=clock.now())


def now_of(job: Job) -> tuple[str, str]:
    return Job.objects.values_list("state", "reason_code").get(pk=job.pk)


class TestNaming:
    def test_by_id_and_by_name_the_newest_of_those_one_may_see(self, tenant: Tenant) -> None:
        old, new = submit(tenant, name="prepare"), submit(tenant, name="prepare")
        elsewhere = a_tenant()
        a_node()
        submit(elsewhere, name="prepare")
        submit(tenant, "prepare")
        submit(tenant, {"job": old.public_id, "on": "afterany"})
        assert list(Dependency.objects.order_by("id").values_list("on_job", "after")) == [
            (new.pk, "afterok"),
            (old.pk, "afterany"),
        ]

    def test_another_tenants_job_is_not_found_and_nothing_is_written(self, tenant: Tenant) -> None:
        foreign = submit(a_tenant())
        for name in (foreign.public_id, "nothing", "set-nothing"):
            with pytest.raises(InvalidInput, match="was not found") as caught:
                submit(tenant, "x", {"job": name}, name="late")
            assert [error.field for error in caught.value.errors] == ["depends_on.0.job", "depends_on.1.job"]
        assert not Job.objects.filter(name="late").exists()

    def test_what_is_wrong_is_named_by_its_place(self, tenant: Tenant) -> None:
        with pytest.raises(InvalidInput) as caught:
            submit(tenant, {"job": "a", "on": "afterOK"}, {"on": "afterok"}, 3, {"job": "a", "when": "x"})
        said = {error.field: error.message + error.hint for error in caught.value.errors}
        assert set(said) == {"depends_on.0.on", "depends_on.1.job", "depends_on.2", "depends_on.3.when"}
        assert "afterok" in said["depends_on.0.on"]

    def test_a_job_waits_for_older_ones_alone(self, tenant: Tenant) -> None:
        job = submit(tenant)
        with pytest.raises(IntegrityError), transaction.atomic():
            Dependency.objects.create(job=job, on_job=job, after="afterok")


class TestGoingOn:
    def test_it_waits_says_for_what_and_goes_on_at_the_end(
        self, tenant: Tenant, django_capture_on_commit_callbacks: Commits
    ) -> None:
        first = submit(tenant, name="prepare")
        second = submit(tenant, "prepare")
        assert now_of(second) == ("held", "dependency")
        assert second.sentence == f"Waits for prepare ({first.public_id}) to succeed."
        [reason] = explain_job(second)["reasons"]
        assert (reason["code"], reason["facts"]["status"]) == ("dependency_pending", "queued")
        with django_capture_on_commit_callbacks(execute=True):
            end(first)
        assert now_of(second) == ("queued", "released")
        assert Event.objects.filter(job=second).latest("id").kind == "job.released"

    @pytest.mark.parametrize(
        ("word", "outcome", "state"),
        [
            ("afterok", Outcome.EXIT, ("held", "dependency_never")),
            ("afternotok", Outcome.EXIT, ("queued", "released")),
            ("afternotok", Outcome.SUCCEEDED, ("held", "dependency_never")),
            ("afterany", Outcome.EXIT, ("queued", "released")),
        ],
    )
    def test_each_word(self, tenant: Tenant, word: str, outcome: Outcome, state: tuple[str, str]) -> None:
        first = submit(tenant)
        second = submit(tenant, {"job": first.public_id, "on": word})
        end(first, outcome)
        assert settle_all() == 1
        assert now_of(second) == state
        assert settle_all() == 0, "looking again changes nothing"

    def test_what_can_never_come_comes_after_all_when_it_is_requeued(
        self, tenant: Tenant, django_capture_on_commit_callbacks: Commits
    ) -> None:
        first = submit(tenant)
        second = submit(tenant, first.public_id)
        with django_capture_on_commit_callbacks(execute=True):
            end(first, Outcome.OOM)
        assert "Requeue what it waits for" in Job.objects.get(pk=second.pk).sentence
        with django_capture_on_commit_callbacks(execute=True):
            services.requeue_job(tenant.principal, Job.objects.get(pk=first.pk))
        assert now_of(second) == ("held", "dependency")
        Attempt.objects.all().delete()
        with django_capture_on_commit_callbacks(execute=True):
            end(first)
        assert now_of(second) == ("queued", "released")

    def test_cancelled_by_its_option_and_so_on_down_the_line(
        self, tenant: Tenant, django_capture_on_commit_callbacks: Commits
    ) -> None:
        first = submit(tenant)
        second = submit(tenant, {"job": first.public_id, "otherwise": "cancel"})
        third = submit(tenant, {"job": second.public_id, "otherwise": "cancel"})
        clean = submit(tenant, {"job": third.public_id, "on": "afternotok"})
        with django_capture_on_commit_callbacks(execute=True):
            services.stop_job(tenant.principal, first)
        assert [now_of(job)[0] for job in (second, third, clean)] == ["cancelled", "cancelled", "queued"]
        assert Job.objects.get(pk=second.pk).ended_at is not None

    def test_an_array_is_waited_for_as_a_whole(self, tenant: Tenant) -> None:
        tasks = services.submit(tenant.principal, a_spec(name="shard", array="0-2")).jobs
        gather = submit(tenant, "shard")
        single = submit(tenant, tasks[0].public_id)
        end(tasks[0]), end(tasks[1])
        settle_all()
        assert (now_of(gather)[0], now_of(single)[0]) == ("held", "queued")
        end(tasks[2])
        settle_all()
        assert now_of(gather) == ("queued", "released")

    def test_what_has_come_already_holds_nothing(self, tenant: Tenant) -> None:
        first = submit(tenant)
        end(first)
        assert submit(tenant, first.public_id).state == "queued"
        later = submit(tenant, first.public_id, start_after="2099-01-01T00:00:00Z")
        assert now_of(later) == ("held", "start_after")

    def test_a_start_time_holds_it_further(self, tenant: Tenant) -> None:
        first = submit(tenant)
        second = submit(tenant, first.public_id, start_after="2099-01-01T00:00:00Z")
        end(first)
        settle_all()
        assert now_of(second) == ("held", "start_after")

    def test_people_hold_and_resume_it_without_losing_what_it_waits_for(
        self, tenant: Tenant, django_capture_on_commit_callbacks: Commits
    ) -> None:
        first = submit(tenant)
        second = submit(tenant, first.public_id)
        assert services.allowed_actions(tenant.principal, second) == ["stop", "hold"]
        with pytest.raises(Conflict, match="dependencies hold it"):
            services.resume_job(tenant.principal, second)
        services.hold_job(tenant.principal, second)
        assert now_of(second) == ("held", "hold")
        services.resume_job(tenant.principal, second)
        assert now_of(second) == ("held", "dependency")
        services.hold_job(tenant.principal, second)
        end(first)
        settle_all()
        assert now_of(second) == ("held", "hold"), "what a person holds stays held"
        services.resume_job(tenant.principal, second)
        assert now_of(second)[0] == "queued"


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_graph_of_jobs_ends_as_its_rules_say_whatever_order_they_end_in(
    django_db_setup: None, data: st.DataObject
) -> None:
    """No job starts before what it waits for has come, and when nothing moves any more none waits without cause."""
    with transaction.atomic():
        a_node()
        tenant = a_tenant()
        jobs: list[Job] = []
        for _ in range(data.draw(st.integers(2, 6))):
            older = data.draw(st.lists(st.sampled_from(jobs), max_size=2, unique=True)) if jobs else []
            words = [data.draw(st.sampled_from(["afterok", "afterany", "afternotok"])) for _ in older]
            otherwise = data.draw(st.sampled_from(["hold", "cancel"]))
            after = [
                {"job": one.public_id, "on": word, "otherwise": otherwise}
                for one, word in zip(older, words, strict=True)
            ]
            jobs.append(submit(tenant, *after))
        while queued := list(Job.objects.filter(state="queued", organization=tenant.organization)):
            for job in queued:
                _has_come(job)
            end(
                data.draw(st.sampled_from(queued)),
                data.draw(st.sampled_from([Outcome.SUCCEEDED, Outcome.EXIT])),
            )
            settle_all()
        for job in Job.objects.filter(state="held", organization=tenant.organization):
            assert job.reason_code in ("dependency", "dependency_never"), job.sentence
            standing = {reason["code"] for reason in explain_job(job)["reasons"]}
            assert standing, "what holds it is told"
            held = Dependency.objects.filter(job=job, on_job__state="held").exists()
            assert job.reason_code == "dependency_never" or held
        transaction.set_rollback(True)


def _has_come(job: Job) -> None:
    for one in Dependency.objects.filter(job=job).select_related("on_job"):
        assert one.on_job is not None
        needed = {"afterok": ["succeeded"], "afternotok": ["failed", "cancelled"]}
        assert one.on_job.state in needed.get(one.after, ["succeeded", "failed", "cancelled"])


@pytest.mark.django_db(transaction=True)
def test_ends_at_the_same_moment_release_their_dependent_once() -> None:
    from tests.support.tenants import a_cell

    a_cell(), a_node()
    tenant = a_tenant()
    firsts = [submit(tenant, name=f"part-{n}") for n in range(4)]
    last = submit(tenant, *[one.public_id for one in firsts])
    attempts = [started(one, a_node()) for one in firsts]
    barrier = threading.Barrier(len(attempts))

    def finish(attempt: Attempt) -> None:
        barrier.wait()
        end_attempts([Ending(attempt.pk, Outcome.SUCCEEDED)], actor="agent", at=clock.now())
        connection.close()

    threads = [threading.Thread(target=finish, args=[attempt]) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert now_of(last) == ("queued", "released"), "whoever committed last saw all others, without any tick"
    assert Event.objects.filter(job=last, kind="job.released").count() == 1
