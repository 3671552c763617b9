"""Creating jobs: in how many statements, and what they ask of the scheduler. Those that come together: `test_lane`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from flexai.common import clock, events
from flexai.jobs import services
from flexai.jobs.models import Batch, Event, Job, JobName, Schedule
from flexai.tenancy.models import AuditEntry
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Tenant:
    a_cell()
    a_node(chips=8)
    return a_tenant()


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The cell of each announcement."""
    asked: list[int | None] = []
    monkeypatch.setattr(events, "_publish", lambda hints, nodes, cell: asked.append(cell))
    return asked


def test_a_create_costs_two_statements_and_no_transaction_around_them(
    lab: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lab.api.post("/jobs", a_spec()).status_code == 201
    sent: list[str] = []
    for kind in (psycopg.Cursor, psycopg.ClientCursor):
        execute = kind.execute

        def noted(self: Any, query: Any, *rest: Any, execute: Any = execute, **options: Any) -> Any:
            sent.append(str(query).split()[0])
            return execute(self, query, *rest, **options)

        monkeypatch.setattr(kind, "execute", noted)
    assert lab.api.post("/jobs", a_spec(), **{"Idempotency-Key": "k"}).status_code == 201
    assert sent == ["SELECT", "WITH"]


def test_each_name_is_known_once_however_its_jobs_were_made(lab: Tenant) -> None:
    services.submit(lab.principal, a_spec(name="one"))
    services.submit_batch(lab.principal, [a_spec(name=name) for name in ("two", "one", "two", "three")])
    services.submit(lab.principal, a_spec(name="array", array="0-3"))
    services.submit(lab.principal, a_spec(name="one"))
    elsewhere = a_tenant("elsewhere")
    services.submit(elsewhere.principal, a_spec(name="one"))
    known = sorted(JobName.objects.values_list("organization_id", "name"))
    assert known == sorted(set(Job.objects.values_list("organization_id", "name")))
    assert len(known) == 5


def test_a_batch_keeps_its_order_and_its_names_and_its_first_job_has_the_key(lab: Tenant) -> None:
    specs = [
        a_spec(name=name, priority=n % 3) for n, name in enumerate(["one", "two", "two", "three", "one"])
    ]
    specs[3].pop("name")
    ids, _ = services.submit_batch(lab.principal, specs, idempotency_key="k")
    jobs = list(Job.objects.order_by("id"))
    assert [job.public_id for job in jobs] == ids
    assert [job.name for job in jobs] == ["one", "two", "two", "job", "one"]
    assert [job.spec for job in jobs] == specs
    assert [job.effective_spec["name"] for job in jobs] == [job.name for job in jobs]
    assert [job.priority for job in jobs] == [0, 1, 2, 0, 1]
    assert [job.idempotency_key is not None for job in jobs] == [True, False, False, False, False]
    assert Batch.objects.get().ids == ids
    assert services.submit_batch(lab.principal, specs, idempotency_key="k") == (ids, False)
    assert list(Event.objects.order_by("id").values_list("job_id", flat=True)) == [job.pk for job in jobs]


def test_a_batch_of_a_platform_before_is_known_again(lab: Tenant) -> None:
    """Its jobs had a key each, of which the migration makes what is remembered now."""
    ids, _ = services.submit_batch(lab.principal, [a_spec()] * 3, idempotency_key="k")
    one = services.submit_batch(lab.principal, [a_spec()], idempotency_key="one")[0]
    Batch.objects.all().delete()
    jobs = list(Job.objects.order_by("id"))
    for place, job in enumerate(jobs[1:3], 1):
        key = f"{jobs[0].idempotency_key}\n{place}"
        Job.objects.filter(pk=job.pk).update(idempotency_key=key, idempotency_hash=jobs[0].idempotency_hash)
    with connection.cursor() as cursor:
        cursor.execute(import_module("flexai.jobs.migrations.0027_batches").KNOWN)
    assert services.submit_batch(lab.principal, [a_spec()] * 3, idempotency_key="k") == (ids, False)
    assert services.submit_batch(lab.principal, [a_spec()], idempotency_key="one") == (one, False)
    assert Job.objects.count() == 4


def test_what_begins_held_asks_for_no_cycle(lab: Tenant, cells: list[int | None]) -> None:
    services.submit(lab.principal, a_spec(hold=True))
    services.submit_batch(lab.principal, [a_spec(hold=True)] * 2)
    services.submit(lab.principal, a_spec(hold=True, array="0-2"))
    services.submit(lab.principal, a_spec(start_after="2099-01-01T00:00:00Z"))
    assert cells == [None] * 4
    services.submit(lab.principal, a_spec())
    assert cells[4:] == [1]


def test_a_revoked_token_is_refused_from_the_next_request_on(lab: Tenant) -> None:
    [token] = Api(lab.token).get("/tokens").json()["items"]
    assert lab.api.post("/jobs", a_spec()).status_code == 201
    assert lab.api.delete(f"/tokens/{token['id']}").status_code == 204
    assert lab.api.post("/jobs", a_spec()).status_code == 401
    assert Job.objects.count() == 1


def test_whose_team_and_user_have_gone_meanwhile_submits_nothing(lab: Tenant) -> None:
    principal = lab.principal
    assert len(principal.teams) == 1
    lab.organization.delete()
    with pytest.raises(psycopg.IntegrityError):
        services.submit(principal, a_spec())
    with pytest.raises(psycopg.IntegrityError):
        services.submit_batch(principal, [a_spec()] * 2)
    assert not Job.objects.exists()
    assert not Event.objects.exists()
    assert not AuditEntry.objects.filter(action__in=("job.submitted", "jobs.submitted")).exists()


def test_what_a_job_names_does_not_go(lab: Tenant) -> None:
    made = services.submit(lab.principal, a_spec(array="0-1")).jobs[0]
    schedule = Schedule.objects.create(
        organization=lab.organization, team=lab.team, user=lab.owner, name="nightly", cron="0 1 * * *",
        timezone="UTC", catch_up="skip", overlap="allow", spec={}, next_at=clock.now(),
    )  # fmt: skip
    Job.objects.update(schedule=schedule)
    named = {
        "tenancy_team": made.team_id, "tenancy_user": made.user_id, "jobs_jobset": made.set_id,
        "jobs_schedule": schedule.pk,
    }  # fmt: skip
    for table, pk in named.items():
        with pytest.raises(IntegrityError, match=f"of {table} is still named by rows of jobs_job"):
            remove(table, pk)
    Job.objects.update(schedule=None)
    remove("jobs_schedule", schedule.pk)


def remove(table: str, pk: int | None) -> None:
    """The row goes, if this one check lets it: the others are not what is asked."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(f"DELETE FROM {table} WHERE id = %s", [pk])
        cursor.execute("SET CONSTRAINTS named_by_jobs_job IMMEDIATE")


def test_who_deletes_a_team_or_a_user_waits_for_what_is_being_submitted(lab: Tenant) -> None:
    other = connection.copy()
    try:
        with transaction.atomic():
            services.submit(lab.principal, a_spec())
            for table, pk in (("tenancy_team", lab.team.pk), ("tenancy_user", lab.owner.pk)):
                with other.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '100ms'")
                    with pytest.raises(OperationalError, match="lock timeout"):
                        cursor.execute(f"DELETE FROM {table} WHERE id = %s", [pk])
                    cursor.execute("RESET lock_timeout")  # the connection goes back to the pool
    finally:
        other.close()
