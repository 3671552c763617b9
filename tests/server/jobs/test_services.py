"""Submitting and moving jobs, below the API: atomicity, races, what is announced."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from flexai.cluster.models import Node
from flexai.common import clock, events
from flexai.common.errors import Conflict, FlexaiError, Forbidden, InvalidInput, NeverFits
from flexai.jobs import admission, services
from flexai.jobs.models import Event, Job
from flexai.tenancy.models import AuditEntry, Role
from flexai.tenancy.principals import principal_for_user
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant, started

pytestmark = pytest.mark.django_db


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[int], int | None]]:
    """What is published after commits: kinds and ids of hints, nodes, cell."""
    said: list[tuple[list[str], list[int], int | None]] = []

    def note(hints: Any, nodes: Any, cell: Any) -> None:
        said.append(([f"{hint.kind}:{hint.id}" for hint in hints], list(nodes), cell))

    monkeypatch.setattr(events, "_publish", note)
    return said


def submit(tenant: Tenant, **fields: Any) -> Job:
    return services.submit(tenant.principal, a_spec(**fields)).jobs[0]


class TestSubmit:
    def test_the_job_that_is_returned_is_the_row(self, tenant: Tenant) -> None:
        made = submit(
            tenant, labels={"a": "b"}, start_after="2099-01-01T00:00:00Z", resources={"fraction": 0.5}
        )
        row = Job.objects.get(pk=made.pk)
        for column in Job._meta.concrete_fields:
            if column.attname != "changed":
                assert getattr(made, column.attname) == getattr(row, column.attname), column.attname
        assert row.changed > 0, "the feed sees it"

    def test_pages_and_the_scheduler_hear_of_it(
        self, tenant: Tenant, announced: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            job = submit(tenant)
        assert [f"job:{job.public_id}"] in [hints for hints, _, _ in announced]
        assert 1 in [cell for _, _, cell in announced]

    def test_a_large_array_does_not_name_every_job(
        self, tenant: Tenant, announced: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            services.submit(tenant.principal, a_spec(array="0-999"))
        [hints] = [hints for hints, _, _ in announced if hints]
        assert len(hints) == services.HINTS_AT_MOST + 1
        assert hints[-1] == f"team:{tenant.team.public_id}"

    def test_an_unknown_pool_names_the_nearest(self, tenant: Tenant) -> None:
        with pytest.raises(InvalidInput) as caught:
            submit(tenant, node_pools=["defualt"])
        assert "`default`" in caught.value.errors[0].hint
        assert submit(tenant, node_pools=["default"]).effective_spec["node_pools"] == ["default"]

    def test_what_is_registered_decides_and_not_what_is_free_or_in_contact(self, tenant: Tenant) -> None:
        Node.objects.update(reachable=False, state="draining")
        Node.objects.get().chips.update(used_milli=1000, healthy=False)
        submit(tenant, resources={"accelerators": "H100:8"})
        with pytest.raises(NeverFits):
            submit(tenant, resources={"accelerators": "H100:9"})
        with pytest.raises(NeverFits):
            submit(tenant, resources={"cpus": 65})
        with pytest.raises(NeverFits):
            submit(tenant, nodes=2)
        submit(tenant, nodes=2, spread=False)

    def test_a_node_that_just_registered_counts_within_two_seconds(
        self, tenant: Tenant, monkeypatch: Any
    ) -> None:
        with pytest.raises(NeverFits):
            submit(tenant, nodes=2)
        a_node()
        with pytest.raises(NeverFits):
            submit(tenant, nodes=2)
        later = admission.time.monotonic() + admission.KEPT_SECONDS
        monkeypatch.setattr(admission.time, "monotonic", lambda: later)
        submit(tenant, nodes=2)

    def test_a_family_name_means_its_registered_types(self, tenant: Tenant) -> None:
        a_node(chips=1, type="H100-96GB", chip_memory=98_304)
        family = submit(tenant, resources={"accelerators": "h100"})
        assert family.effective_spec["resources"]["chip_types"] == [
            "H100-80GB", "H100-96GB",
        ]  # fmt: skip
        exact = submit(tenant, resources={"accelerators": "h100-96gb"})
        assert exact.effective_spec["resources"]["chip_types"] == ["H100-96GB"]


class TestBatch:
    def test_one_failing_row_leaves_nothing(self, tenant: Tenant) -> None:
        with pytest.raises(InvalidInput), transaction.atomic():
            services.submit_batch(tenant.principal, [a_spec()] * 50 + [{"commands": ""}])
        assert (Job.objects.count(), Event.objects.count(), AuditEntry.objects.count()) == (0, 0, 0)

    def test_jobs_of_several_teams(self, tenant: Tenant) -> None:
        from flexai.tenancy.services import create_team

        create_team(tenant.organization, "serving")
        specs = [a_spec(team=("research", "serving")[n % 2], name=f"j{n}") for n in range(4)]
        ids, _ = services.submit_batch(tenant.principal, specs)
        rows = Job.objects.order_by("id").values_list("public_id", "team__name")
        assert list(rows) == [(ids[n], ("research", "serving")[n % 2]) for n in range(4)]

    def test_ten_thousand_equal_jobs_take_seconds(self, tenant: Tenant) -> None:
        began = clock.now()
        ids, _ = services.submit_batch(tenant.principal, [a_spec()] * 10_000)
        assert len(set(ids)) == Job.objects.count() == Event.objects.count() == 10_000
        assert clock.now() - began < timedelta(seconds=20), "so slow that something scales badly"


class TestMoves:
    def test_who_may_not_act_changes_nothing(self, tenant: Tenant) -> None:
        job = submit(tenant)
        user, _ = tenant.somebody(Role.MEMBER)
        for action in (services.stop_job, services.hold_job, services.resume_job, services.requeue_job):
            with pytest.raises(Forbidden):
                action(principal_for_user(user), job)
        row = Job.objects.get(pk=job.pk)
        assert (row.state, row.version) == ("queued", 1)
        assert Event.objects.count() == 1

    def test_stopping_an_active_job_wakes_its_nodes(
        self, tenant: Tenant, announced: list[Any], django_capture_on_commit_callbacks: Any
    ) -> None:
        job, node = submit(tenant), Node.objects.get()
        started(job, node)
        with django_capture_on_commit_callbacks(execute=True):
            services.stop_job(tenant.principal, job)
        assert ([f"job:{job.public_id}"], [node.pk], 1) in announced

    def test_a_placed_attempt_out_of_contact_stays_until_its_lease_says_so(self, tenant: Tenant) -> None:
        job, node = submit(tenant), Node.objects.get()
        attempt = started(job, node, state="placed")
        attempt.contact_ok = False
        attempt.save()
        assert services.stop_job(tenant.principal, job).status == "cancelling"
        attempt.refresh_from_db()
        assert (attempt.state, attempt.ended_at) == ("stopping", None)

    def test_resuming_before_its_time_leaves_it_held_for_that_alone(self, tenant: Tenant) -> None:
        job = submit(tenant, hold=True, start_after="2099-01-01T00:00:00Z")
        resumed = services.resume_job(tenant.principal, job)
        assert (resumed.state, resumed.reason_code) == ("held", "start_after")

    def test_a_stale_row_in_hand_does_no_harm(self, tenant: Tenant) -> None:
        job = submit(tenant)
        Job.objects.filter(pk=job.pk).update(state="succeeded", status="succeeded")
        with pytest.raises(Conflict):
            services.stop_job(tenant.principal, job)
        assert Job.objects.get(pk=job.pk).state == "succeeded"


class TestRelease:
    def test_what_is_due_is_queued_and_the_rest_stays(self, tenant: Tenant) -> None:
        due = submit(tenant, start_after="2099-01-01T00:00:00Z")
        later = submit(tenant, start_after="2099-01-03T00:00:00Z")
        by_hand = submit(tenant, start_after="2099-01-01T00:00:00Z", hold=True)
        at = due.start_after
        assert at is not None
        assert services.release_due(at - timedelta(seconds=1)) == 0
        assert services.release_due(at) == 1
        assert services.release_due(at) == 0, "releasing twice does nothing"
        states = {job.pk: job.state for job in Job.objects.all()}
        assert states == {due.pk: "queued", later.pk: "held", by_hand.pk: "held"}
        released = Job.objects.get(pk=due.pk)
        assert (released.status, released.version) == ("queued", 2)
        assert Event.objects.get(kind="job.released").job_id == due.pk


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def _together(self, *actions: Callable[[], object]) -> list[str]:
        """Run them at the same time; each one's outcome by name."""
        barrier = threading.Barrier(len(actions))
        outcomes: list[str] = []

        def run(action: Callable[[], object]) -> None:
            barrier.wait()
            try:
                action()
                outcomes.append("done")
            except FlexaiError as error:
                outcomes.append(error.code)
            finally:
                connection.close()

        threads = [threading.Thread(target=run, args=[action]) for action in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(outcomes)

    def test_two_stops_at_once_cancel_once(self) -> None:
        a_cell(), a_node()
        tenant = a_tenant()
        job = submit(tenant)
        principal = tenant.principal
        assert len(principal.teams) == 1
        outcomes = self._together(*[lambda: services.stop_job(principal, job)] * 4)
        assert outcomes == ["conflict"] * 3 + ["done"]
        assert Event.objects.filter(kind="job.stopped").count() == 1
        assert Job.objects.get(pk=job.pk).version == 2

    def test_a_stop_and_a_hold_leave_a_legal_state(self) -> None:
        a_cell(), a_node()
        tenant = a_tenant()
        principal = tenant.principal
        assert len(principal.teams) == 1
        for _ in range(5):
            job = submit(tenant)
            self._together(
                lambda job=job: services.stop_job(principal, job),
                lambda job=job: services.hold_job(principal, job),
            )
            moves = list(Event.objects.filter(job=job).order_by("id").values_list("from_state", "to_state"))
            assert all(before[1] == after[0] for before, after in itertools.pairwise(moves)), moves
            assert Job.objects.get(pk=job.pk).state == "cancelled"

    def test_two_ticks_release_each_job_once(self) -> None:
        a_cell(), a_node()
        tenant = a_tenant()
        services.submit(tenant.principal, a_spec(array="0-199", start_after="2099-01-01T00:00:00Z"))
        at = Job.objects.values_list("start_after", flat=True)[0]
        assert at is not None
        self._together(*[lambda: services.release_due(at)] * 3)
        assert Event.objects.filter(kind="job.released").count() == 200
        assert set(Job.objects.values_list("state", "version")) == {("queued", 2)}
