"""Submitting by HTTP: what is accepted, what is refused and how that is said."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from flexai.jobs.models import Event, Job, JobSet
from flexai.tenancy.models import AuditEntry, Role
from tests.support.tenants import Api, Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db


def test_a_job_is_accepted_with_its_history_and_audit(tenant: Tenant) -> None:
    spec = a_spec(
        resources={"accelerators": "H100:4", "memory": "16GB"}, labels={"run": "a"}, priority="high"
    )
    answer = tenant.api.post("/jobs", spec)
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["status"], told["priority"], told["team"]["name"], told["labels"]) == (
        "queued", 75, "research", {"run": "a"},
    )  # fmt: skip
    assert told["chips"] == {
        "type": "H100-80GB",
        "milli_per_replica": 4000,
        "replicas": 1,
        "min_replicas": 1,
        "max_replicas": 1,
        "total_milli": 4000,
    }
    job = Job.objects.get(public_id=told["id"])
    assert job.spec == spec, "what was submitted stays untouched"
    assert job.effective_spec["resources"]["chip_types"] == ["H100-80GB"]
    event = Event.objects.get(job=job)
    assert (event.kind, event.to_state, event.actor) == (
        "job.submitted",
        "queued",
        f"user:{tenant.owner.username}",
    )
    entry = AuditEntry.objects.get(action="job.submitted")
    assert (entry.object_id, entry.actor_kind, entry.request_id, entry.address) == (
        told["id"],
        "token",
        answer["X-Request-ID"],
        "127.0.0.1",
    )
    assert event.cause == answer["X-Request-ID"]


def test_every_wrong_field_is_told_at_once_and_nothing_is_written(tenant: Tenant) -> None:
    answer = tenant.api.post("/jobs", {"comands": "x", "resources": {"memory": "12q"}, "ports": [1]})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid"
    told = {error["field"]: error["message"] + error.get("hint", "") for error in problem["errors"]}
    assert set(told) == {"comands", "commands", "resources.memory", "ports"}
    assert "did you mean `commands`?" in told["comands"]
    assert "16GB" in told["resources.memory"]
    assert told["ports"] == "`ports` is not built yet"
    assert not Job.objects.exists()


@pytest.mark.parametrize("count", [-1, 0, 10**30, 1.5, True, "eight"])
def test_impossible_chip_counts_are_refused(tenant: Tenant, count: Any) -> None:
    answer = tenant.api.post("/jobs", a_spec(resources={"accelerators": {"H100": count}}))
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["field"] == "resources.accelerators"


def test_ten_thousand_chips_can_never_fit(tenant: Tenant) -> None:
    answer = tenant.api.post("/jobs", a_spec(resources={"accelerators": "H100:10000"}))
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "never_fits"
    assert "10000" in problem["detail"].replace(",", ""), problem["detail"]
    assert not Job.objects.exists()


def test_a_chip_type_that_is_not_registered_names_the_nearest(tenant: Tenant) -> None:
    answer = tenant.api.post("/jobs", a_spec(resources={"accelerators": "H10-80GB:1"}))
    assert answer.status_code == 422
    assert "H100-80GB" in answer.json()["errors"][0]["hint"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_not_json_is_a_clear_problem(tenant: Tenant, body: bytes) -> None:
    answer = tenant.api._client.post(
        "/api/v1/jobs", body, content_type="application/json", headers=tenant.api._headers
    )
    assert answer.status_code == 400
    assert "not valid JSON" in answer.json()["detail"]


def test_a_twenty_megabyte_spec_is_too_large(tenant: Tenant) -> None:
    answer = tenant.api.post("/jobs", a_spec(env={"A": "x" * 20_000_000}))
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "1024 KiB" in answer.json()["detail"]


def test_a_form_is_told_to_be_json(tenant: Tenant) -> None:
    answer = tenant.api._client.post("/api/v1/jobs", {"name": "x"}, headers=tenant.api._headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_yaml_is_accepted_and_its_tricks_are_not(tenant: Tenant) -> None:
    def send(text: str) -> Any:
        return tenant.api._client.post(
            "/api/v1/jobs", text, content_type="application/yaml", headers=tenant.api._headers
        )

    assert (
        send("name: train\ncommands:\n  - python train.py\nstart_after: 2030-01-01T00:00:00Z\n").status_code
        == 201
    )
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\ncommands: [*b]\n"
    assert "aliases" in send(bomb).json()["detail"]
    assert send("commands: !!python/object/apply:os.system ['true']").status_code == 400


def test_a_dry_run_says_what_would_become_of_it_and_writes_nothing(tenant: Tenant) -> None:
    fits = tenant.api.post(
        "/jobs?dry_run=1", a_spec(resources={"accelerators": "H100", "chip_memory": "10GB"})
    ).json()
    assert fits["fits"] is True
    assert fits["spec"]["team"] == "research"
    assert any("H100-80GB" in line for line in fits["roundings"])
    assert any("10240 MiB" in line for line in fits["roundings"]), (
        "memory to milli-chips is rounded up to the step"
    )
    never = tenant.api.post("/jobs?dry_run=1", a_spec(nodes=5)).json()
    assert never["fits"] is False
    assert never["sentence"]
    assert not Job.objects.exists()
    assert not AuditEntry.objects.exists()


def test_the_same_key_is_the_same_job(tenant: Tenant) -> None:
    first = tenant.api.post("/jobs", a_spec(), **{"Idempotency-Key": "k1"})
    again = tenant.api.post("/jobs", dict(reversed(a_spec().items())), **{"Idempotency-Key": "k1"})
    other_body = tenant.api.post("/jobs", a_spec(name="else"), **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code, other_body.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    assert Job.objects.count() == 1


def test_a_key_belongs_to_its_user(tenant: Tenant) -> None:
    _, colleague = tenant.somebody(Role.MEMBER)
    tenant.api.post("/jobs", a_spec(), **{"Idempotency-Key": "k1"})
    assert colleague.post("/jobs", a_spec(name="mine"), **{"Idempotency-Key": "k1"}).status_code == 201


def test_an_array_is_a_set_of_jobs_once_for_its_key(tenant: Tenant) -> None:
    spec = a_spec(array="0-99:2%10")
    first = tenant.api.post("/jobs", spec, **{"Idempotency-Key": "k"})
    again = tenant.api.post("/jobs", spec, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["count"] == again.json()["count"] == 50
    assert [job["index"] for job in first.json()["jobs"]] == list(range(0, 20, 2))
    assert first.json()["set"] == again.json()["set"]
    assert [job["id"] for job in first.json()["jobs"]] == [job["id"] for job in again.json()["jobs"]]
    made = JobSet.objects.get()
    assert (made.size, made.cap) == (50, 10)
    indices = list(Job.objects.filter(set=made).order_by("id").values_list("index", flat=True))
    assert indices == list(range(0, 100, 2)), "primary keys grow with the index"
    assert Event.objects.filter(kind="job.submitted").count() == 50
    assert tenant.api.post("/jobs", a_spec(array="0-9"), **{"Idempotency-Key": "k"}).status_code == 409


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "body", "told", "made"),
    [("/jobs", a_spec(), "id", 1), ("/jobs/batch", {"jobs": [a_spec()] * 5}, "ids", 5)],
    ids=["one", "batch"],
)
def test_concurrent_submits_with_one_key_are_one(path: str, body: Any, told: str, made: int) -> None:
    a_cell()
    a_node()
    tenant = a_tenant()
    answers: list[tuple[int, str]] = []
    barrier = threading.Barrier(6)

    def submit() -> None:
        api = Api(tenant.token)
        barrier.wait()
        answer = api.post(path, body, **{"Idempotency-Key": "same"})
        answers.append((answer.status_code, str(answer.json().get(told, ""))))
        connection.close()

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    assert len({ids for _, ids in answers}) == 1
    assert Job.objects.count() == made


def test_a_held_job_and_one_with_a_time_are_held(tenant: Tenant) -> None:
    held = tenant.api.post("/jobs", a_spec(hold=True)).json()
    later = tenant.api.post("/jobs", a_spec(start_after="2099-01-01T00:00:00+02:00")).json()
    past = tenant.api.post("/jobs", a_spec(start_after="2001-01-01T00:00:00Z")).json()
    assert [job["status"] for job in (held, later, past)] == ["held", "held", "queued"]
    assert "2098-12-31T22:00:00Z" in later["sentence"]


def test_who_may_submit_for_several_teams_names_one(tenant: Tenant) -> None:
    from flexai.tenancy.services import create_team

    create_team(tenant.organization, "serving")
    missing = tenant.api.post("/jobs", a_spec())
    assert missing.status_code == 400
    assert missing.json()["errors"][0] == {
        "field": "team",
        "message": "is missing, and you may submit for several teams",
        "hint": "name one of research, serving",
    }
    assert tenant.api.post("/jobs", a_spec(team="serving")).json()["team"]["name"] == "serving"
    assert tenant.api.post("/jobs", a_spec(team="secret")).status_code == 400


def test_a_viewer_may_not_submit(tenant: Tenant) -> None:
    _, viewer = tenant.somebody(Role.VIEWER)
    answer = viewer.post("/jobs", a_spec())
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_single_create_sends_few_statements(tenant: Tenant, statements: list[str]) -> None:
    tenant.api.post("/jobs", a_spec())
    statements.clear()
    assert tenant.api.post("/jobs", a_spec()).status_code == 201
    sent = [text for text in statements if not text.startswith(("SAVEPOINT", "RELEASE"))]
    assert len(sent) <= 4, "\n".join(sent)


class TestBatch:
    def test_all_are_made_in_order(self, tenant: Tenant) -> None:
        answer = tenant.api.post("/jobs/batch", {"jobs": [a_spec(name=f"job-{n}") for n in range(300)]})
        assert answer.status_code == 201, answer.content
        ids = answer.json()["ids"]
        rows = list(Job.objects.order_by("id").values_list("public_id", "name"))
        assert rows == [(public_id, f"job-{n}") for n, public_id in enumerate(ids)]
        assert Event.objects.filter(kind="job.submitted").count() == 300
        assert AuditEntry.objects.get(action="jobs.submitted").after["count"] == 300

    def test_one_wrong_spec_refuses_all(self, tenant: Tenant) -> None:
        specs = [a_spec(), a_spec(nodes=0), a_spec(), a_spec(memory="1GB")]
        answer = tenant.api.post("/jobs/batch", {"jobs": specs})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["jobs.1.nodes", "jobs.3.memory"]
        assert not Job.objects.exists()

    def test_specs_that_differ_in_their_names_keep_them(self, tenant: Tenant) -> None:
        specs = [a_spec(name="a"), a_spec(name=" b "), {"commands": ["true"]}, a_spec(name="a")]
        assert tenant.api.post("/jobs/batch", {"jobs": specs}).status_code == 201
        rows = Job.objects.order_by("id")
        assert [(row.name, row.effective_spec["name"]) for row in rows] == [
            ("a", "a"), ("b", "b"), ("job", "job"), ("a", "a"),
        ]  # fmt: skip
        assert [row.spec for row in rows] == specs, "what was submitted stays untouched"

    def test_a_wrong_name_among_equal_specs_refuses_all(self, tenant: Tenant) -> None:
        answer = tenant.api.post("/jobs/batch", {"jobs": [a_spec(), a_spec(name="x\0"), a_spec(name=7)]})
        assert [error["field"] for error in answer.json()["errors"]] == ["jobs.1.name", "jobs.2.name"]
        assert not Job.objects.exists()

    def test_one_that_never_fits_refuses_all(self, tenant: Tenant) -> None:
        answer = tenant.api.post("/jobs/batch", {"jobs": [a_spec(), a_spec(nodes=50)]})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].startswith("jobs.1")
        assert not Job.objects.exists()

    @pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": "x"}, {"jobs": [a_spec()], "more": 1}, []])
    def test_other_shapes_are_refused(self, tenant: Tenant, body: Any) -> None:
        assert tenant.api.post("/jobs/batch", body).status_code == 400

    def test_more_than_the_bound_is_refused(self, tenant: Tenant) -> None:
        answer = tenant.api.post("/jobs/batch", {"jobs": [a_spec()] * 10_001})
        assert (answer.status_code, Job.objects.count()) == (400, 0)
        assert "10000" in answer.json()["detail"]

    def test_an_array_is_not_for_batches(self, tenant: Tenant) -> None:
        array = tenant.api.post("/jobs/batch", {"jobs": [a_spec(array="0-9")]})
        assert array.json()["errors"][0]["field"] == "jobs.0.array"
        assert not Job.objects.exists()

    def test_the_same_key_with_the_same_specs_makes_nothing_twice(self, tenant: Tenant) -> None:
        specs = [a_spec(name=f"job-{n}") for n in range(30)]
        first = tenant.api.post("/jobs/batch", {"jobs": specs}, **{"Idempotency-Key": "k"})
        again = tenant.api.post("/jobs/batch", {"jobs": specs}, **{"Idempotency-Key": "k"})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["ids"] == again.json()["ids"]
        assert Job.objects.count() == 30
        fewer = tenant.api.post("/jobs/batch", {"jobs": specs[:-1]}, **{"Idempotency-Key": "k"})
        single = tenant.api.post("/jobs", specs[0], **{"Idempotency-Key": "k"})
        assert (fewer.status_code, single.status_code) == (409, 409)
        _, colleague = tenant.somebody(Role.MEMBER)
        own = colleague.post("/jobs/batch", {"jobs": specs}, **{"Idempotency-Key": "k"})
        assert own.status_code == 201

    def test_a_key_bounds_the_specs_and_not_the_batch(self, tenant: Tenant) -> None:
        long = a_spec(files={"data": "x" * 500_000})
        made = tenant.api.post("/jobs/batch", {"jobs": [long] * 3}, **{"Idempotency-Key": "k"})
        assert made.status_code == 201
        longer = a_spec(files=dict.fromkeys("abc", "x" * 500000))
        refused = tenant.api.post("/jobs/batch", {"jobs": [longer]}, **{"Idempotency-Key": "l"})
        assert refused.status_code == 413
        assert "1024 KiB" in refused.json()["detail"]
        assert Job.objects.count() == 3

    def test_a_key_of_one_job_is_none_for_a_batch(self, tenant: Tenant) -> None:
        assert tenant.api.post("/jobs", a_spec(), **{"Idempotency-Key": "k"}).status_code == 201
        batch = tenant.api.post("/jobs/batch", {"jobs": [a_spec()]}, **{"Idempotency-Key": "k"})
        assert (batch.status_code, Job.objects.count()) == (409, 1)
