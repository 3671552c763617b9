"""Creating jobs below the API: what is written, in how many statements, and what neighbours share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from flexai.common import events
from flexai.common.errors import Conflict, FlexaiError
from flexai.common.source import asked_from
from flexai.jobs import creation, services
from flexai.jobs.models import Event, Job
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


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each group written; every group is made to take as many as there are."""
    sizes: list[int] = []
    write = creation._write

    def noted(new: Any) -> list[int]:
        sizes.append(len(new))
        return write(new)

    monkeypatch.setattr(creation._group, "_write", noted)
    return sizes


def together(*actions: Callable[[], Any]) -> list[Any]:
    """All are in line before the first is written; what each returned, or the code of its error."""
    results: list[Any] = [None] * len(actions)

    def run(place: int, action: Callable[[], Any]) -> None:
        try:
            with asked_from("test"):
                results[place] = action()
        except FlexaiError as error:
            results[place] = error.code
        except psycopg.Error as error:
            results[place] = type(error).__name__
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(actions)]
    creation._group._busy = True
    for thread in threads:
        thread.start()
    while len(creation._group._line) < len(actions):
        assert any(thread.is_alive() for thread in threads)
    creation._group._hand_over()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return results


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


def test_those_that_come_together_share_one_transaction_and_keep_what_is_their_own(
    lab: Tenant, groups: list[int], cells: list[int | None]
) -> None:
    other = a_tenant()
    tenants = [lab, other, lab, other]
    made = together(
        *[
            lambda tenant=tenant, n=n: services.submit(tenant.principal, a_spec(name=f"job-{n}")).jobs[0]
            for n, tenant in enumerate(tenants)
        ]
    )
    assert groups == [4]
    assert cells == [1], "one announcement"
    for number, (tenant, job) in enumerate(zip(tenants, made, strict=True)):
        row = Job.objects.get(pk=job.pk)
        assert (row.public_id, row.name, row.organization_id, row.user_id) == (
            job.public_id, f"job-{number}", tenant.organization.pk, tenant.owner.pk,
        )  # fmt: skip
        event = Event.objects.get(job=row)
        assert (event.organization_id, event.actor, event.cause) == (
            tenant.organization.pk, f"user:{tenant.owner.username}", "test",
        )  # fmt: skip
        entry = AuditEntry.objects.get(object_id=row.public_id)
        assert (entry.organization_id, entry.actor, entry.action) == (
            tenant.organization.pk, tenant.owner.username, "job.submitted",
        )  # fmt: skip
        assert entry.after == {"name": row.name, "team": tenant.team.pk}
        assert (entry.before, entry.object_kind) == (None, "job")
    transactions = set(Job.objects.values_list("changed", flat=True))
    assert len(transactions) == 1


def test_a_bad_neighbour_fails_alone(lab: Tenant, groups: list[int]) -> None:
    principal = lab.principal
    services.submit(principal, a_spec(), idempotency_key="taken")

    def good() -> str:
        return services.submit(principal, a_spec()).jobs[0].public_id

    def bad() -> Any:
        return services.submit(principal, a_spec(name="else"), idempotency_key="taken")

    results = together(good, bad, good)
    assert groups == [1, 3, 1, 1, 1]
    assert results[1] == Conflict.code
    assert Job.objects.filter(public_id__in=[results[0], results[2]]).count() == 2
    assert Job.objects.count() == Event.objects.count() == 3
    assert AuditEntry.objects.filter(action="job.submitted").count() == 3


def test_one_key_in_one_group_makes_one_job(lab: Tenant, groups: list[int]) -> None:
    principal = lab.principal
    assert len(principal.teams) == 1

    def submit() -> Any:
        return services.submit(principal, a_spec(), idempotency_key="same")

    results = together(submit, submit, submit)
    assert groups == [3, 1, 1, 1]
    assert sorted(made.created for made in results) == [False, False, True]
    assert len({made.jobs[0].public_id for made in results}) == 1
    assert Job.objects.count() == Event.objects.count() == 1


def test_a_team_that_went_meanwhile_refuses_its_own_job_only(lab: Tenant) -> None:
    gone = a_tenant()
    principal, theirs = lab.principal, gone.principal
    assert len(theirs.teams) == 1
    gone.organization.delete()
    results = together(
        lambda: services.submit(principal, a_spec()).created,
        lambda: services.submit(theirs, a_spec()).created,
    )
    assert results == [True, "ForeignKeyViolation"]
    assert Job.objects.count() == 1


def test_a_long_spec_is_written_by_itself(lab: Tenant, groups: list[int]) -> None:
    long = a_spec(files={"data": "x" * creation.ALONE_BYTES})
    assert services.submit(lab.principal, long).created
    assert groups == []
    assert Job.objects.get().spec["files"]["data"].endswith("x")


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
