"""Entity tags: nothing is sent again to who has it, and nothing is changed that was not seen."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from flexai.tenancy.models import AuditEntry
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_spec, a_tenant

BOUNDS = {"defaults": {}, "bounds": {"priority": 60}}
OTHER = {"defaults": {}, "bounds": {"priority": 70}}


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    a_node()
    return a_tenant()


def asking(tenant: Tenant, **headers: str) -> Api:
    """The owner's client, which sends these headers too."""
    return Api(tenant.token, **headers)


def test_what_is_known_is_not_sent_again(tenant: Tenant) -> None:
    job = tenant.api.post("/jobs", a_spec()).json()["id"]
    tenant.api.post(f"/jobs/{job}/stop")
    first = tenant.api.get(f"/jobs/{job}")
    again = asking(tenant, **{"If-None-Match": first.headers["ETag"]}).get(f"/jobs/{job}")
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "X-Request-ID" in again.headers
    tenant.api.post(f"/jobs/{job}/requeue")
    assert asking(tenant, **{"If-None-Match": first.headers["ETag"]}).get(f"/jobs/{job}").status_code == 200


def test_what_somebody_else_may_not_see_is_not_found_whatever_they_know(tenant: Tenant) -> None:
    job = tenant.api.post("/jobs", a_spec()).json()["id"]
    tag = tenant.api.get(f"/jobs/{job}").headers["ETag"]
    stranger = a_tenant("other")
    assert asking(stranger, **{"If-None-Match": tag}).get(f"/jobs/{job}").status_code == 404


def test_what_was_changed_meanwhile_is_not_overwritten(tenant: Tenant) -> None:
    seen = tenant.api.get("/job-policy").headers["ETag"]
    assert asking(tenant, **{"If-Match": seen}).put("/job-policy", BOUNDS).status_code == 200
    audited = AuditEntry.objects.count()
    late = asking(tenant, **{"If-Match": seen}).put("/job-policy", OTHER)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert late.headers["Content-Type"] == "application/problem+json"
    assert asking(tenant, **{"If-Match": seen}).delete("/job-policy").status_code == 412
    now = tenant.api.get("/job-policy")
    assert now.json() == BOUNDS
    assert AuditEntry.objects.count() == audited
    compressed = {"If-Match": f"W/{now.headers['ETag']}"}
    assert asking(tenant, **compressed).put("/job-policy", OTHER).status_code == 200
    assert asking(tenant, **{"If-Match": "*"}).put("/job-policy", BOUNDS).status_code == 200


@pytest.mark.parametrize(
    "tag", ["", "no tag", '"another"', "W/", "\udcff".encode("latin-1", "replace").decode()]
)
def test_another_tag_changes_nothing(tenant: Tenant, tag: str) -> None:
    assert asking(tenant, **{"If-Match": tag}).put("/job-policy", BOUNDS).status_code == 412
    assert tenant.api.get("/job-policy").json()["bounds"] == {}


@pytest.mark.django_db(transaction=True)
def test_of_many_who_saw_the_same_one_changes_it() -> None:
    a_cell()
    tenant = a_tenant()
    seen = tenant.api.get("/job-policy").headers["ETag"]
    barrier, answers = threading.Barrier(6), list[int]()

    def change(most: int) -> None:
        body = {"defaults": {}, "bounds": {"priority": most}}
        barrier.wait()
        answers.append(asking(tenant, **{"If-Match": seen}).put("/job-policy", body).status_code)
        connection.close()

    threads = [threading.Thread(target=change, args=(60 + n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [412] * 5
