"""Every write of the API is in the audit log: most are seen to be by the matrix; here are those that need more than it
has, and those that are not, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Browser

from flexai.tenancy.models import AuditEntry
from tests.support.tenants import PASSWORD, Tenant, a_cell, a_node, a_spec, a_tenant, give_password

pytestmark = pytest.mark.django_db
Write = tuple[str, str]
"""Method and path, with a star for each id, as the matrix has them."""

UNRECORDED: dict[Write, str] = {
    ("post", "agents/outputs/*"): "files that a job left: the job's events have them",
    ("put", "agents/outputs/*/*"): "a piece of such a file",
    ("post", "agents/outputs/*/end"): "the last of them",
    ("put", "me/organization"): "what one browser looks at; nothing of the platform is another",
    ("post", "me/second-factor"): "nothing holds before it is confirmed, which is recorded",
    ("post", "sign-ins"): "anybody may ask, and nothing is given before somebody confirms",
    ("post", "sign-ins/look"): "nothing is changed: a code is no part of an address, so it is sent",
}
ELSEWHERE: dict[Write, str] = {
    ("post", "auth/exchange"): "token.exchanged",
    ("post", "me/second-factor/confirm"): "second_factor.set",
    ("post", "me/second-factor/remove"): "second_factor.removed",
    ("post", "sign-ins/decide"): "sign_in.confirmed",
    ("post", "sign-ins/token"): "token.created",
    ("delete", "jobs/*/outputs"): "job.outputs_removed",
}
"""Tests of their own demand this entry."""


def _session_open(tenant: Tenant) -> Any:
    give_password(tenant.owner)
    body = {"username": tenant.owner.username, "password": PASSWORD}
    return Browser().post("/api/v1/session", body, content_type="application/json")


def _session_close(tenant: Tenant) -> Any:
    browser = Browser()
    browser.force_login(tenant.owner)
    return browser.delete("/api/v1/session")


def _enrol(tenant: Tenant) -> Any:
    token = tenant.api.post("/enrolment-tokens").json()["token"]
    return tenant.api.post("/agents/enrol", {"token": token, "name": "n", "credential": "flxa_" + "x" * 43})


def _node_return(tenant: Tenant) -> Any:
    path = f"/nodes/{a_node().public_id}"
    tenant.api.post(f"{path}/cordon")
    return tenant.api.post(f"{path}/return")


def _chip_return(tenant: Tenant) -> Any:
    path = f"/chips/{a_node(chips=1).chips.get().public_id}"
    tenant.api.post(f"{path}/cordon", {"reason": "it smells"})
    return tenant.api.post(f"{path}/return")


def _schedule_resume(tenant: Tenant) -> Any:
    made = tenant.api.post("/schedules", a_spec(schedule={"cron": "0 3 * * *"})).json()["id"]
    tenant.api.post(f"/schedules/{made}/pause")
    return tenant.api.post(f"/schedules/{made}/resume")


PREPARED: dict[Write, tuple[str, Callable[[Tenant], Any]]] = {
    ("post", "session"): ("session.began", _session_open),
    ("delete", "session"): ("session.ended", _session_close),
    ("post", "agents/enrol"): ("node.enrolled", _enrol),
    ("post", "nodes/*/return"): ("node.returned", _node_return),
    ("post", "chips/*/return"): ("chip.returned", _chip_return),
    ("post", "schedules/*/resume"): ("schedule.resumed", _schedule_resume),
}


@pytest.mark.parametrize("write", PREPARED, ids=" ".join)
def test_a_write_that_changes_something_is_recorded(write: Write) -> None:
    a_cell()
    a_node(chips=1)
    action, does = PREPARED[write]
    answer = does(a_tenant(operator=True))
    assert answer.status_code < 300, answer.content
    assert AuditEntry.objects.latest("id").action == action


def test_what_other_tests_demand_is_demanded() -> None:
    texts = [
        file.read_text()
        for file in Path(__file__).parents[1].rglob("test_*.py")
        if file.name != "test_recorded.py"
    ]
    for action in ELSEWHERE.values():
        assert any(f'"{action}"' in text for text in texts), action
