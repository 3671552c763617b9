"""Nodes, chips, the cluster, teams and quotas, enrolment, health, pages and the OpenAPI document."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.validation import validate_schema

from flexai.api.schema import document
from flexai.cluster.models import EnrolmentToken, Node
from flexai.tenancy.models import AuditEntry, Quota, Role, TeamUse
from flexai.tenancy.services import DEFAULT_CELL
from tests.support.tenants import Api, Tenant, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(tenant: Tenant) -> Tenant:
    return a_tenant("platform", operator=True)


class TestNodes:
    def test_a_node_is_shown_with_its_chips(self, tenant: Tenant) -> None:
        [node] = tenant.api.get("/nodes").json()["items"]
        assert (node["status"], node["contact"], node["pool"], len(node["chips"])) == (
            "ready",
            "ok",
            "default",
            8,
        )
        assert node["use"] is None
        assert node["chips"][0]["use_permille"] is None
        assert "pk" not in node
        assert tenant.api.get(f"/nodes/{node['id']}").json()["name"] == node["name"]
        assert tenant.api.get("/nodes/node-x").status_code == 404

    def test_pages_of_nodes_and_chips(self, tenant: Tenant) -> None:
        a_node(chips=2), a_node(chips=2)
        first = tenant.api.get("/nodes", limit=2).json()
        rest = tenant.api.get("/nodes", limit=2, cursor=first["next_cursor"]).json()
        assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)
        chips = tenant.api.get("/chips").json()["items"]
        assert len(chips) == 12
        assert chips[0]["node"] == first["items"][0]["name"]

    def test_an_operator_cordons_drains_and_returns(self, operator: Tenant) -> None:
        node = Node.objects.get()
        for action, state in (("cordon", "cordoned"), ("drain", "draining"), ("return", "ready")):
            answer = operator.api.post(f"/nodes/{node.public_id}/{action}", {"reason": "fans"})
            assert (answer.status_code, answer.json()["state"]) == (200, state)
        entries = AuditEntry.objects.filter(object_id=node.public_id)
        assert entries.count() == 3
        assert set(entries.values_list("reason", flat=True)) == {"fans"}

    def test_the_cluster_adds_up(self, tenant: Tenant) -> None:
        Node.objects.update(reachable=True)
        told = tenant.api.get("/cluster").json()
        assert told["nodes"] == {"ready": 1, "connected": 1, "total": 1}
        assert (told["chips"]["total"], told["chips"]["idle"]) == (8, 8)
        assert told["types"] == [{"type": "H100-80GB", "total": 8, "allocated_milli": 0}]
        assert told["cycle"] == {"last_at": None, "ok": True, "error": None, "duration_ms": None}
        assert tenant.api.get("/cycles").json() == {"items": [], "next_cursor": None}

    def test_a_cordoned_node_is_connected_though_not_ready(self, tenant: Tenant) -> None:
        Node.objects.update(reachable=True, state="cordoned")
        a_node(chips=1)
        Node.objects.filter(state="ready").update(reachable=False)
        assert tenant.api.get("/cluster").json()["nodes"] == {"ready": 0, "connected": 1, "total": 2}

    def test_a_failed_cycle_is_told_and_its_traceback_only_to_operators(
        self, operator: Tenant, tenant: Tenant
    ) -> None:
        from flexai.common import clock
        from flexai.scheduling.models import Cycle

        Cycle.objects.create(
            cell_id=DEFAULT_CELL, started_at=clock.now(), error="Traceback\n  secret\nKeyError: 7"
        )
        assert operator.api.get("/cluster").json()["cycle"]["error"] == "KeyError: 7"
        assert "secret" in operator.api.get("/cycles").json()["items"][0]["error"]
        shown = tenant.api.get("/cluster").json()["cycle"]
        assert (shown["ok"], "KeyError" in shown["error"]) == (False, False)
        assert b"secret" not in tenant.api.get("/cycles").content

    def test_an_agent_enrols_with_a_token_once(self, operator: Tenant) -> None:
        made = operator.api.post("/enrolment-tokens", {})
        assert made.status_code == 201
        token = made.json()["token"]
        asks = {"token": token, "name": "gpu-1", "credential": "flxa_" + "x" * 43}
        enrolled = Api().post("/agents/enrol", asks)
        assert enrolled.status_code == 201, enrolled.content
        assert set(enrolled.json()) == {"node_id"}
        assert Api().post("/agents/enrol", asks).json() == enrolled.json()
        another = {**asks, "name": "gpu-2", "credential": "flxa_" + "y" * 43}
        assert Api().post("/agents/enrol", another).status_code == 401
        assert Api().post("/agents/enrol", {**another, "token": "flxe_nothing"}).status_code == 401
        assert Api().post("/agents/enrol", {"token": token}).status_code == 400
        assert AuditEntry.objects.filter(action="enrolment_token.created").count() == 1

    @pytest.mark.parametrize(
        "body", [{"pool": "nowhere"}, {"uses": 0}, {"uses": True}, {"expires_in_minutes": 10**9}, {"x": 1}]
    )
    def test_enrolment_tokens_have_bounds(self, operator: Tenant, body: Any) -> None:
        assert operator.api.post("/enrolment-tokens", body).status_code == 400
        assert not EnrolmentToken.objects.exists()


class TestTeams:
    def test_a_team_shows_quotas_use_and_members(self, tenant: Tenant, operator: Tenant) -> None:
        TeamUse.objects.create(cell_id=DEFAULT_CELL, team=tenant.team, chip_type="H100-80GB", used_milli=2500)
        TeamUse.objects.create(cell_id=DEFAULT_CELL, team=tenant.team, chip_type="cpu", used_milli=500)
        line = {"chip_type": "H100-80GB", "guaranteed_milli": 4000, "limit_milli": 8000}
        answer = operator.api.put(f"/teams/{tenant.team.public_id}/quotas", {"quotas": [line]})
        assert answer.status_code == 200, answer.content
        assert answer.json()["quotas"] == [
            {**line, "over_quota_weight": 1, "used_milli": 2500},
            {
                "chip_type": "cpu",
                "guaranteed_milli": 0,
                "limit_milli": None,
                "over_quota_weight": 1,
                "used_milli": 500,
            },
        ]
        entry = AuditEntry.objects.get(action="team.quotas_set")
        assert entry.before == {}
        assert entry.after["H100-80GB"]["limit_milli"] == 8000
        seen = tenant.api.get(f"/teams/{tenant.team.public_id}").json()
        assert {**seen, "role": "operator"} == answer.json()

    def test_a_limit_refuses_what_can_never_fit_under_it(self, tenant: Tenant, operator: Tenant) -> None:
        from flexai.jobs import admission

        line = {"chip_type": "H100-80GB", "guaranteed_milli": 0, "limit_milli": 2000}
        operator.api.put(f"/teams/{tenant.team.public_id}/quotas", {"quotas": [line]})
        admission.forget()
        refused = tenant.api.post("/jobs", a_spec(preemptible=True, resources={"accelerators": "H100:4"}))
        assert (refused.status_code, refused.json()["code"]) == (422, "never_fits")
        assert "2" in refused.json()["detail"]

    @pytest.mark.parametrize(
        "quotas",
        [
            None, "x", [1], [{}], [{"chip_type": "H100", "guaranteed_milli": -1}],
            [{"chip_type": "H100", "guaranteed_milli": 2000, "limit_milli": 1000}],
            [{"chip_type": "H100", "guaranteed_milli": 1.5}], [{"chip_type": "H100",
            "guaranteed_milli": 10**18}],
            [{"chip_type": "H100"}, {"chip_type": "H100"}], [{"chip_type": "H100", "garanteed": 1}],
            [{"chip_type": "a\0"}], [{"chip_type": "H100", "guaranteed_milli": None}],
        ],
    )  # fmt: skip
    def test_wrong_quotas_change_nothing(self, tenant: Tenant, operator: Tenant, quotas: Any) -> None:
        Quota.objects.create(team=tenant.team, cell_id=DEFAULT_CELL, chip_type="kept", guaranteed_milli=1000)
        answer = operator.api.put(f"/teams/{tenant.team.public_id}/quotas", {"quotas": quotas})
        assert answer.status_code == 400, answer.content
        assert list(Quota.objects.values_list("chip_type", flat=True)) == ["kept"]

    def test_what_an_organization_gets_only_operators_say(self, tenant: Tenant, operator: Tenant) -> None:
        _, maintainer = tenant.somebody(Role.MAINTAINER)
        path = f"/teams/{tenant.team.public_id}/quotas"
        body = {"quotas": [{"chip_type": "H100-80GB", "guaranteed_milli": 1000}]}
        assert maintainer.put(path, body).status_code == 403
        refused = tenant.api.put(path, body)
        assert (refused.status_code, "Only an operator" in refused.json()["detail"]) == (403, True)
        assert not Quota.objects.exists()
        answer = operator.api.put(path, body)
        assert (answer.status_code, answer.json()["role"]) == (200, "operator")


class TestHealthAndPages:
    def test_health_is_open(self, db: None) -> None:
        answer = Client().get("/api/v1/health")
        assert (answer.status_code, answer.json()) == (
            200, {"ok": True, "database": True, "broker": True, "worker": False},
        )  # fmt: skip

    def test_a_path_that_is_not_there_is_a_problem(self, db: None) -> None:
        answer = Client().get("/api/v1/nothing")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert answer.json()["code"] == "not_found"

    def test_a_method_that_is_not_there_is_a_problem(self, tenant: Tenant) -> None:
        answer = tenant.api.delete("/jobs")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")

    def test_what_nobody_foresaw_is_a_problem_with_the_request_id(
        self, tenant: Tenant, monkeypatch: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("a secret of the inside")

        monkeypatch.setattr("flexai.jobs.queries.counts_by_status", broken)
        with caplog.at_level(logging.ERROR):
            answer = Api(tenant.token, **{"X-Request-ID": "req-7"}).get("/jobs/counts")
        assert (answer.status_code, answer.json()["code"], answer.json()["request_id"]) == (
            500,
            "internal_error",
            "req-7",
        )
        assert b"secret" not in answer.content
        assert "req-7" in caplog.text

    def test_a_request_id_that_is_not_plain_is_replaced(self, db: None) -> None:
        answer = Client().get("/api/v1/health", headers={"X-Request-ID": "a\nb<script>"})
        assert "<" not in answer["X-Request-ID"]

    def test_client_routes_get_the_page_with_its_cookie_and_policy(
        self, db: None, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "index.html").write_text("<!doctype html><title>Flexai</title>")
        settings.FRONTEND_DIST = tmp_path
        for path in ("/", "/jobs", "/jobs/job-1", "/login"):
            answer = Client().get(path)
            assert (answer.status_code, b"<title>Flexai" in answer.content) == (200, True)
            assert "flexai_csrf" in answer.cookies
            policy = answer["Content-Security-Policy"]
            assert "script-src 'self';" in policy
            assert "ws://testserver" in policy
        assert Client().get("/robots.txt").status_code == 404
        assert Client().get("/console/")["Content-Security-Policy"] == policy

    def test_without_a_built_page_it_says_how_to_build_it(
        self, db: None, settings: Any, tmp_path: Path
    ) -> None:
        settings.FRONTEND_DIST = tmp_path
        answer = Client().get("/")
        assert answer.status_code == 503
        assert b"make setup" in answer.content


class TestSchema:
    def test_it_is_made_without_warnings_and_is_valid(self, capsys: pytest.CaptureFixture[str]) -> None:
        from drf_spectacular.drainage import GENERATOR_STATS, reset_generator_stats

        reset_generator_stats()
        made = document()
        assert not GENERATOR_STATS, capsys.readouterr().err
        validate_schema(made)
        assert made["openapi"].startswith("3.1")

    def test_the_words_of_the_page_are_there(self) -> None:
        names = set(document()["components"]["schemas"])
        assert {
            "Job", "JobDetail", "JobList", "Attempt", "Event", "Node", "Chip", "Team", "Token", "Cluster",
            "Explanation",
            "LogSlice", "Problem", "Status", "Me", "Usage", "Quota", "DryRun", "JobSetCreated",
        } <= names  # fmt: skip

    def test_answers_have_the_shape_they_promise(self, tenant: Tenant) -> None:
        import jsonschema

        made = document()

        def check(name: str, value: Any) -> None:
            schema = {"$ref": f"#/components/schemas/{name}", "components": made["components"]}
            jsonschema.Draft202012Validator(schema).validate(value)

        job = tenant.api.post("/jobs", a_spec(resources={"fraction": 0.5})).json()
        check("Job", job)
        check("JobList", tenant.api.get("/jobs").json())
        check("JobDetail", tenant.api.get(f"/jobs/{job['id']}").json())
        check("EventList", tenant.api.get(f"/jobs/{job['id']}/events").json())
        check("LogSlice", tenant.api.get(f"/jobs/{job['id']}/logs").json())
        check("Explanation", tenant.api.get(f"/jobs/{job['id']}/explain").json())
        check("Usage", tenant.api.get(f"/jobs/{job['id']}/usage").json())
        check("NodeList", tenant.api.get("/nodes").json())
        check("ChipList", tenant.api.get("/chips").json())
        check("Cluster", tenant.api.get("/cluster").json())
        check("CycleList", tenant.api.get("/cycles").json())
        check("TeamList", tenant.api.get("/teams").json())
        check("TokenList", tenant.api.get("/tokens").json())
        check("Me", tenant.api.get("/me").json())
        check("Problem", tenant.api.get("/jobs/job-x").json())
        check("DryRun", tenant.api.post("/jobs?dry_run=1", a_spec()).json())
        check("JobSetCreated", tenant.api.post("/jobs", a_spec(array="0-2")).json())
