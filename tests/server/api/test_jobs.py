"""Lists, details and actions of jobs by HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import QuerySet

from flexai.cluster.models import Node
from flexai.common import clock
from flexai.common.database import prepared_cursor
from flexai.jobs import queries, usage
from flexai.jobs.models import Attempt, AttemptMinute, Event, Job, LogPiece, Replica
from flexai.scheduling import engine_state
from flexai.scheduling.cycle import run_cycle
from flexai.tenancy.models import AuditEntry, Role
from tests.support.tenants import Tenant, a_spec, started

pytestmark = pytest.mark.django_db


def submit(tenant: Tenant, **fields: Any) -> Job:
    answer = tenant.api.post("/jobs", a_spec(**fields))
    assert answer.status_code == 201, answer.content
    return Job.objects.get(public_id=answer.json()["id"])


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [job["name"] for job in answer.json()["items"]]


def test_a_waiting_job_says_in_lists_and_by_itself_why_it_waits(tenant: Tenant) -> None:
    first, second = (submit(tenant, name=name, resources={"accelerators": "H100-80GB:8"}) for name in "ab")
    assert {job["sentence"] for job in tenant.api.get("/jobs").json()["items"]} == {
        "Waits for the scheduler's next cycle."
    }
    engine_state.forget(first.cell_id)
    run_cycle(first.cell_id)
    engine_state.forget(first.cell_id)
    told = {job["name"]: job["sentence"] for job in tenant.api.get("/jobs").json()["items"]}
    assert told["a"].startswith("Placed on ")
    assert told["b"] == "Needs 8 H100-80GB chips on one node; the emptiest node has 0 free."
    assert tenant.api.get(f"/jobs/{second.public_id}").json()["sentence"] == told["b"]
    assert tenant.api.post(f"/jobs/{second.public_id}/stop").json()["sentence"] != told["b"]
    assert tenant.api.get(f"/jobs/{second.public_id}").json()["sentence"] != told["b"]


class TestList:
    def test_pages_follow_each_other_while_jobs_are_added(self, tenant: Tenant) -> None:
        for n in range(5):
            submit(tenant, name=f"job-{n}")
        first = tenant.api.get("/jobs", limit=2)
        assert names(first) == ["job-4", "job-3"]
        submit(tenant, name="job-new")
        second = tenant.api.get("/jobs", limit=2, cursor=first.json()["next_cursor"])
        third = tenant.api.get("/jobs", limit=2, cursor=second.json()["next_cursor"])
        assert (names(second), names(third)) == (["job-2", "job-1"], ["job-0"])
        assert third.json()["next_cursor"] is None

    @pytest.mark.parametrize(
        "sort",
        [
            "submitted_at",
            "-submitted_at",
            "name",
            "-name",
            "priority",
            "-priority",
            "status",
            "started_at",
            "-started_at",
            "ended_at",
        ],
    )
    def test_every_order_pages_through_all(self, tenant: Tenant, sort: str) -> None:
        for n in range(7):
            submit(tenant, name=f"job-{n % 3}", priority=n % 2)
        for n, job in enumerate(Job.objects.order_by("id")[:3]):
            Job.objects.filter(pk=job.pk).update(
                started_at=clock.now() - timedelta(minutes=n), status="failed"
            )
        everything = tenant.api.get("/jobs", sort=sort).json()["items"]
        paged: list[str] = []
        cursor = ""
        while cursor is not None:
            page = tenant.api.get("/jobs", sort=sort, limit=2, cursor=cursor).json()
            paged += [job["id"] for job in page["items"]]
            cursor = page["next_cursor"]
        assert paged == [job["id"] for job in everything]
        assert len(set(paged)) == 7
        column = sort.lstrip("-")
        values = [job[column] for job in everything if job[column] is not None]
        assert values == sorted(values, reverse=sort.startswith("-"))

    @pytest.mark.parametrize("status", ["queued", "queued,held", "held,running,failed", "failed,timed_out"])
    @pytest.mark.parametrize("sort", ["submitted_at", "-submitted_at", "-priority", "name", "-ended_at"])
    def test_every_order_pages_through_some(self, tenant: Tenant, sort: str, status: str) -> None:
        for n in range(9):
            submit(tenant, name=f"job-{n % 3}", priority=n % 2, hold=n % 3 == 0)
        for n, job in enumerate(Job.objects.order_by("id")[:4]):
            status_of = ("failed", "timed_out", "running", "failed")[n]
            Job.objects.filter(pk=job.pk).update(
                ended_at=clock.now() - timedelta(minutes=n), status=status_of
            )
        everything = tenant.api.get("/jobs", sort=sort).json()["items"]
        paged: list[str] = []
        cursor = ""
        while cursor is not None:
            page = tenant.api.get("/jobs", sort=sort, status=status, limit=1, cursor=cursor).json()
            paged += [job["id"] for job in page["items"]]
            cursor = page["next_cursor"]
        assert paged == [job["id"] for job in everything if job["status"] in status.split(",")]
        assert paged

    def test_a_job_that_moves_while_a_page_is_read_is_still_on_it(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [submit(tenant, hold=True).public_id for _ in range(3)]
        read = QuerySet.in_bulk

        def moved(rows: QuerySet[Job], *arguments: object) -> dict[int, Job]:
            Job.objects.update(status="queued")
            return read(rows, *arguments)

        monkeypatch.setattr(QuerySet, "in_bulk", moved)
        page = tenant.api.get("/jobs", status="held", sort="status", limit=2).json()
        assert [job["id"] for job in page["items"]] == ids[:2]
        assert page["next_cursor"] is not None

    def test_filters_narrow(self, tenant: Tenant) -> None:
        _, api = tenant.somebody(Role.MEMBER, name="bo")
        submit(tenant, name="train-a", labels={"lr": "1", "kind": "x"})
        submit(tenant, name="train-b", labels={"lr": "2"})
        submit(tenant, name="eval", hold=True)
        api.post("/jobs", a_spec(name="bo-job"))
        assert names(tenant.api.get("/jobs", status="held")) == ["eval"]
        assert len(names(tenant.api.get("/jobs", status="held,queued"))) == 4
        assert names(tenant.api.get("/jobs", user="bo")) == ["bo-job"]
        assert names(tenant.api.get("/jobs", name="eval")) == ["eval"]
        assert names(tenant.api.get("/jobs", q="TRAIN")) == ["train-b", "train-a"]
        assert names(tenant.api.get("/jobs", label="lr:1")) == ["train-a"]
        assert names(tenant.api.get("/jobs", label="lr")) == ["train-b", "train-a"]
        assert names(tenant.api.get("/jobs", label=["lr:1", "kind:y"])) == []
        assert names(tenant.api.get("/jobs", team="research", status="held")) == ["eval"]
        assert tenant.api.get("/jobs/counts").json() == {"queued": 3, "held": 1}
        assert tenant.api.get("/jobs/counts", user="bo").json() == {"queued": 1}

    def test_a_search_is_for_part_of_a_name_or_the_beginning_of_an_id(self, tenant: Tenant) -> None:
        for name in ("ml", "html-page", "train"):
            submit(tenant, name=name)
        by_name = {job["name"]: job["id"] for job in tenant.api.get("/jobs").json()["items"]}
        assert names(tenant.api.get("/jobs", q="TML")) == ["html-page"]
        assert names(tenant.api.get("/jobs", q="ml")) == ["ml"], "two characters are a whole name"
        assert names(tenant.api.get("/jobs", q=by_name["train"])) == ["train"]
        assert len(names(tenant.api.get("/jobs", q=by_name["train"][:8]))) == 3
        assert names(tenant.api.get("/jobs", q="%_n")) == []

    def test_a_part_that_many_names_have_is_found_too(self, tenant: Tenant, monkeypatch: Any) -> None:
        for name in ("train-a", "eval", "train-b", "train-a"):
            submit(tenant, name=name)
        few = names(tenant.api.get("/jobs", q="RAIN")), names(tenant.api.get("/jobs", q="RAIN", sort="name"))
        monkeypatch.setattr(queries, "MANY_NAMES", 1)
        many = names(tenant.api.get("/jobs", q="RAIN")), names(tenant.api.get("/jobs", q="RAIN", sort="name"))
        assert few == many == (["train-a", "train-b", "train-a"], ["train-a", "train-a", "train-b"])

    def test_a_set_is_a_filter(self, tenant: Tenant) -> None:
        made = tenant.api.post("/jobs", a_spec(array="0-4")).json()
        submit(tenant, name="apart")
        items = tenant.api.get("/jobs", set=made["set"], sort="submitted_at").json()["items"]
        assert [job["index"] for job in items] == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        "query",
        [
            {"status": "runing"}, {"sort": "user"}, {"sort": "--name"}, {"limit": 0}, {"limit": 201},
            {"limit": "x"},
            {"cursor": "abc"}, {"cursor": "!!!"}, {"cursor": "WyJpZCIsdHJ1ZSxudWxsLC0xXQ"},
            {"limit": "9" * 30},
            {"q": "a\0"}, {"label": "a\0:b"},
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_refused(self, tenant: Tenant, query: dict[str, Any]) -> None:
        answer = tenant.api.get("/jobs", **query)
        assert answer.status_code == 400, answer.content

    def test_a_cursor_of_another_order_is_refused(self, tenant: Tenant) -> None:
        submit(tenant), submit(tenant)
        cursor = tenant.api.get("/jobs", limit=1, sort="name").json()["next_cursor"]
        assert tenant.api.get("/jobs", limit=1, sort="priority", cursor=cursor).status_code == 400
        assert tenant.api.get("/jobs", limit=1, sort="name", cursor=cursor).status_code == 200

    def test_fifty_jobs_cost_few_statements(self, tenant: Tenant, statements: list[str]) -> None:
        node = Node.objects.get()
        tenant.api.post("/jobs/batch", {"jobs": [a_spec(name=f"job-{n}") for n in range(60)]})
        for n, job in enumerate(Job.objects.order_by("-id")[:50]):
            started(job, node, chips=[node.chips.all()[n % 8]])
        Job.objects.filter(name="job-30").update(attempts_count=2)
        job = Job.objects.get(name="job-30")
        Attempt.objects.filter(job=job).update(state="ended")
        Attempt.objects.create(
            organization=job.organization,
            cell=job.cell,
            job=job,
            number=2,
            state="running",
            placed_at=clock.now(),
        )
        statements.clear()
        items = tenant.api.get("/jobs", limit=50).json()["items"]
        assert len(items) == 50
        assert items[0]["nodes"] == [node.name]
        assert len(statements) <= 8, "\n".join(statements)


class TestDetail:
    def test_it_holds_specs_attempts_and_what_one_may_do(self, tenant: Tenant) -> None:
        job = submit(tenant, resources={"accelerators": "H100:2"}, env={"A": "b"})
        node = Node.objects.get()
        started(job, node, chips=list(node.chips.order_by("index")[:2]))
        told = tenant.api.get(f"/jobs/{job.public_id}").json()
        assert told["spec"]["resources"] == {"accelerators": "H100:2"}
        assert told["effective_spec"]["env"] == {"A": "b"}
        assert told["allowed_actions"] == ["stop", "keep"]
        assert told["chips"] == {
            "type": "H100-80GB",
            "milli_per_replica": 2000,
            "replicas": 1,
            "min_replicas": 1,
            "max_replicas": 1,
            "total_milli": 2000,
        }
        [attempt] = told["attempts"]
        assert (attempt["number"], attempt["state"], attempt["contact"]) == (1, "running", "ok")
        assert [chip["index"] for chip in attempt["replicas"][0]["chips"]] == [0, 1]
        assert told["run_ms"] >= 0
        assert told["wait_ms"] >= 0

    def test_a_job_that_is_not_there(self, tenant: Tenant) -> None:
        assert tenant.api.get("/jobs/job-nothing").json()["code"] == "not_found"

    def test_events_are_paged_oldest_first(self, tenant: Tenant) -> None:
        job = submit(tenant)
        tenant.api.post(f"/jobs/{job.public_id}/hold")
        tenant.api.post(f"/jobs/{job.public_id}/resume")
        first = tenant.api.get(f"/jobs/{job.public_id}/events", limit=2).json()
        rest = tenant.api.get(f"/jobs/{job.public_id}/events", cursor=first["next_cursor"]).json()
        kinds = [event["kind"] for event in first["items"] + rest["items"]]
        assert kinds == ["job.submitted", "job.held", "job.resumed"]
        assert rest["next_cursor"] is None

    def test_explain_answers_for_a_waiting_and_a_held_job(self, tenant: Tenant) -> None:
        waiting, held = submit(tenant), submit(tenant, hold=True)
        told = tenant.api.get(f"/jobs/{waiting.public_id}/explain").json()
        assert told["status"] == "queued"
        assert told["queue_position"] == 1
        assert told["since"].endswith("Z")
        told = tenant.api.get(f"/jobs/{held.public_id}/explain").json()
        assert (told["status"], told["queue_position"]) == ("held", None)
        assert "Held" in told["sentence"]

    def test_usage_without_telemetry_is_null(self, tenant: Tenant) -> None:
        job = submit(tenant, resources={"accelerators": "H100:1"})
        assert tenant.api.get(f"/jobs/{job.public_id}/usage").json()["replicas"] == []
        node = Node.objects.get()
        started(job, node, chips=[node.chips.order_by("index")[0]])
        [replica] = tenant.api.get(f"/jobs/{job.public_id}/usage").json()["replicas"]
        assert replica["node"] == node.name
        assert replica["chips"][0]["use_permille"] is None

    def test_metrics_are_means_of_the_attempt_by_the_minute(self, tenant: Tenant) -> None:
        job = submit(tenant)
        nothing = {"attempt": None, "step_seconds": 60, "points": []}
        assert tenant.api.get(f"/jobs/{job.public_id}/metrics").json() == nothing
        attempt = started(job, Node.objects.get())
        minute = attempt.placed_at.replace(second=0, microsecond=0)
        with prepared_cursor() as cursor:
            usage.ATTEMPT_MINUTES.make(cursor, minute)
        AttemptMinute.objects.create(
            attempt=attempt, at=minute, samples=4, use_total=None, cpu_total=2000, memory_total=400, wait_total=100,
            memory_peak_mib=150,
        )  # fmt: skip
        told = tenant.api.get(f"/jobs/{job.public_id}/metrics", attempt=1).json()
        assert (told["attempt"], told["step_seconds"]) == (1, 60)
        [point] = told["points"]
        assert (point["use_permille"], point["cpu_permille"], point["memory_mib"]) == (None, 500, 100)
        assert (point["wait_permille"], point["memory_peak_mib"]) == (25, 150)
        assert tenant.api.get(f"/jobs/{job.public_id}/metrics", attempt=2).status_code == 404


class TestLogs:
    @pytest.fixture
    def logged(self, tenant: Tenant) -> Job:
        job = submit(tenant)
        attempt = started(job, Node.objects.get())
        replica = Replica.objects.get(attempt=attempt)
        data = "loss 1.0 ✓\n".encode() + b"\xff\x00binary\n"
        LogPiece.objects.create(replica=replica, offset=0, data=data)
        Replica.objects.filter(pk=replica.pk).update(log_offset=len(data))
        return job

    def test_a_slice_has_offsets_in_bytes_and_ends_between_characters(
        self, tenant: Tenant, logged: Job
    ) -> None:
        path = f"/jobs/{logged.public_id}/logs"
        whole = tenant.api.get(path).json()
        assert whole["text"] == "loss 1.0 ✓\n�\0binary\n"
        assert (whole["offset"], whole["next_offset"], whole["size"], whole["ended"]) == (0, 22, 22, False)
        assert whole["replicas"] == [{"attempt": 1, "replica": 0, "size": 22}]
        tail = tenant.api.get(path, tail_bytes=7).json()
        assert tail["text"] == "binary\n"
        LogPiece.objects.update(data="ab✓"[:3].encode()[:4])
        Replica.objects.update(log_offset=4)
        cut = tenant.api.get(path).json()
        assert (cut["text"], cut["next_offset"], cut["size"]) == ("ab", 2, 4), (
            "half a character waits for its rest"
        )

    def test_a_job_that_never_started_has_an_empty_log(self, tenant: Tenant) -> None:
        told = tenant.api.get(f"/jobs/{submit(tenant).public_id}/logs").json()
        assert (told["text"], told["size"], told["replicas"]) == ("", 0, [])

    @pytest.mark.parametrize(
        "query", [{"offset": -1}, {"limit_bytes": 2_000_000}, {"replica": "x"}, {"tail_bytes": -5}]
    )
    def test_offsets_out_of_bounds_are_refused(
        self, tenant: Tenant, logged: Job, query: dict[str, Any]
    ) -> None:
        assert tenant.api.get(f"/jobs/{logged.public_id}/logs", **query).status_code == 400

    def test_an_attempt_that_never_was_is_not_found(self, tenant: Tenant, logged: Job) -> None:
        assert tenant.api.get(f"/jobs/{logged.public_id}/logs", attempt=7).status_code == 404
        assert tenant.api.get(f"/jobs/{logged.public_id}/logs", replica=3).status_code == 404


class TestActions:
    def test_a_waiting_job_is_cancelled_at_once(self, tenant: Tenant) -> None:
        job = submit(tenant)
        told = tenant.api.post(f"/jobs/{job.public_id}/stop", {"reason": "wrong data"}).json()
        assert (told["status"], told["outcome"]) == ("cancelled", "cancelled")
        assert "wrong data" in told["sentence"]
        assert told["ended_at"] is not None
        event = Event.objects.get(job=job, kind="job.stopped")
        assert (event.from_state, event.to_state) == ("queued", "cancelled")
        entry = AuditEntry.objects.get(action="job.stopped")
        assert (entry.reason, entry.after) == ("wrong data", {"state": "cancelled"})
        again = tenant.api.post(f"/jobs/{job.public_id}/stop")
        assert (again.status_code, again.json()["code"]) == (409, "conflict")

    def test_an_active_job_is_cancelling_until_its_node_confirms(self, tenant: Tenant) -> None:
        job = submit(tenant)
        attempt = started(job, Node.objects.get())
        told = tenant.api.post(f"/jobs/{job.public_id}/stop").json()
        assert told["status"] == "cancelling"
        assert told["ended_at"] is None
        attempt.refresh_from_db()
        assert (attempt.state, attempt.stop_outcome) == ("stopping", "cancelled")
        assert attempt.stopping_at is not None
        version = Job.objects.get(pk=job.pk).version
        again = tenant.api.post(f"/jobs/{job.public_id}/stop")
        assert again.status_code == 200
        assert Job.objects.get(pk=job.pk).version == version, "stopping twice changes nothing"
        assert Event.objects.filter(job=job, kind="job.stopped").count() == 1
        assert tenant.api.get(f"/jobs/{job.public_id}").json()["allowed_actions"] == []

    def test_hold_resume_and_requeue(self, tenant: Tenant) -> None:
        job = submit(tenant)
        path = f"/jobs/{job.public_id}"
        assert tenant.api.post(f"{path}/resume").status_code == 409
        assert tenant.api.post(f"{path}/requeue").status_code == 409
        assert tenant.api.post(f"{path}/hold").json()["status"] == "held"
        assert tenant.api.get(path).json()["allowed_actions"] == ["stop", "resume"]
        assert tenant.api.post(f"{path}/resume").json()["status"] == "queued"
        tenant.api.post(f"{path}/stop")
        assert tenant.api.get(path).json()["allowed_actions"] == ["requeue"]
        told = tenant.api.post(f"{path}/requeue").json()
        assert (told["status"], told["outcome"], told["ended_at"]) == ("queued", "", None)
        row = Job.objects.get(pk=job.pk)
        assert (row.cancel_requested_at, row.failures) == (None, 0)

    def test_members_act_on_their_own_jobs_and_maintainers_on_all(self, tenant: Tenant) -> None:
        job = submit(tenant)
        _, member = tenant.somebody(Role.MEMBER)
        _, viewer = tenant.somebody(Role.VIEWER)
        _, maintainer = tenant.somebody(Role.MAINTAINER)
        for api in (member, viewer):
            assert api.post(f"/jobs/{job.public_id}/stop").status_code == 403
            assert api.get(f"/jobs/{job.public_id}").json()["allowed_actions"] == []
        job.refresh_from_db()
        assert job.state == "queued"
        own = member.post("/jobs", a_spec()).json()["id"]
        assert member.post(f"/jobs/{own}/stop").status_code == 200
        assert maintainer.post(f"/jobs/{job.public_id}/stop").status_code == 200

    @pytest.mark.parametrize("body", [{"reason": 1}, {"reason": "x" * 501}, {"why": "x"}, []])
    def test_other_bodies_are_refused(self, tenant: Tenant, body: Any) -> None:
        job = submit(tenant)
        assert tenant.api.post(f"/jobs/{job.public_id}/stop", body).status_code == 400
        job.refresh_from_db()
        assert job.state == "queued"
