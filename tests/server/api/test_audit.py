"""Owners read what was decided in their organization: by whom, from where and why. Nobody reads another's."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from flexai.common.source import asked_from
from flexai.tenancy import audit
from tests.support.tenants import Tenant, a_spec

pytestmark = pytest.mark.django_db


def listed(tenant: Tenant, **wanted: Any) -> list[dict[str, Any]]:
    answer = tenant.api.get("/audit", **wanted)
    assert answer.status_code == 200, answer.content
    return answer.json()["items"]


def test_a_decision_is_told_with_who_what_why_and_from_where(tenant: Tenant) -> None:
    job = tenant.api.post("/jobs", a_spec()).json()["id"]
    tenant.api.post(f"/jobs/{job}/stop", {"reason": "no need"})
    cancelled, submitted = listed(tenant, object=job)
    assert (submitted["action"], submitted["address"], submitted["actor_kind"]) == (
        "job.submitted", "127.0.0.1", "token",
    )  # fmt: skip
    assert submitted["actor"].startswith(f"{tenant.owner.username} by tok-")
    assert (cancelled["action"], cancelled["reason"]) == ("job.stopped", "no need")
    assert (cancelled["before"], cancelled["after"]) == ({"state": "queued"}, {"state": "cancelled"})
    assert len({submitted["request_id"], cancelled["request_id"]}) == 2


def test_entries_are_found_by_actor_action_and_day(tenant: Tenant) -> None:
    tenant.api.post("/jobs", a_spec())
    audit.record(tenant.principal, "team.renamed", tenant.team)
    audit.record(tenant.principal, "teammate.renamed", tenant.team)
    assert [one["action"] for one in listed(tenant, action="team")] == ["team.renamed"]
    assert [one["action"] for one in listed(tenant, action="job.submitted")] == ["job.submitted"]
    assert len(listed(tenant, actor=tenant.owner.username)) == 3
    assert listed(tenant, actor=tenant.owner.username[:-1]) == []
    assert listed(tenant, to="2001-01-01") == listed(tenant, **{"from": "9000-01-01"}) == []
    first = tenant.api.get("/audit", limit=2).json()
    second = tenant.api.get("/audit", limit=2, cursor=first["next_cursor"]).json()
    assert [one["action"] for one in first["items"] + second["items"]] == [
        "teammate.renamed", "team.renamed", "job.submitted",
    ]  # fmt: skip
    assert second["next_cursor"] is None


@pytest.mark.parametrize("wrong", [{"from": "yesterday"}, {"actor": "a\0b"}, {"action": "x" * 201}])
def test_a_question_that_cannot_be_is_refused_by_name(tenant: Tenant, wrong: dict[str, str]) -> None:
    answer = tenant.api.get("/audit", **wrong)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == next(iter(wrong))


def test_another_organization_sees_none_of_it(tenant: Tenant, other: Tenant) -> None:
    job = tenant.api.post("/jobs", a_spec()).json()["id"]
    assert listed(other) == listed(other, object=job) == []


def test_as_a_file_no_text_is_a_formula(tenant: Tenant) -> None:
    with asked_from("asked-1", "192.0.2.7"):
        audit.record(tenant.principal, "thing.done", tenant.team, after={"a": 1}, reason='=HYPERLINK("x")')
    answer = tenant.api.get("/audit.csv")
    assert answer["Content-Disposition"] == 'attachment; filename="audit.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
    assert (row["reason"], row["after"], row["address"]) == ('\'=HYPERLINK("x")', '{"a": 1}', "192.0.2.7")
    assert row["organization"] == "acme"
