"""Recordings of the scheduler: operators list and download them, nobody else sees them."""

from __future__ import annotations

import pytest

from flexai.common import clock
from flexai.scheduling.recordings import Recorder, store
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.services import DEFAULT_CELL
from scheduler_core import Policy, decide
from scheduler_core.recording import load, replay
from tests.support.tenants import Tenant, a_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def recorded() -> None:
    snapshot = take_snapshot(DEFAULT_CELL, clock.now())
    recorder = Recorder(DEFAULT_CELL, Policy(), snapshot)
    recorder.decided(snapshot.now, decide(snapshot, Policy()))
    store(DEFAULT_CELL, recorder.cut(snapshot))


def test_an_operator_lists_and_downloads_what_replays(recorded: None) -> None:
    operator = a_tenant("platform", operator=True)
    [listed] = operator.api.get("/recordings").json()["items"]
    assert listed["cycles"] == 1
    answer = operator.api.get(listed["url"].removeprefix("/api/v1"))
    assert answer["Content-Type"] == "application/octet-stream"
    assert len(answer.content) == listed["size"]
    assert [cycle.same for cycle in replay(load(answer.content))] == [True]
    assert operator.api.get("/recordings/999999").status_code == 404


def test_a_tenant_sees_none_of_them(tenant: Tenant, recorded: None) -> None:
    assert tenant.api.get("/recordings").status_code == 403
    assert tenant.api.get("/recordings/1").status_code == 403
