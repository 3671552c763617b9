"""Creating jobs: in how many statements, and what they ask of the scheduler. Those that come together: `test_lane`."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from flexai.common import events
from flexai.jobs import services
from flexai.jobs.models import Job
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
