"""Policies for jobs: defaults fill in what a spec leaves out, bounds refuse and name the policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexai.cluster.models import Node
from flexai.common import clock
from flexai.common.errors import InvalidInput
from flexai.jobs import admission, policies, spec
from flexai.jobs.models import Job
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import AuditEntry, JobPolicy
from flexai.tenancy.services import create_team
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    a_node(chips=4)
    return a_tenant("acme")


def set_policy(tenant: Tenant, where: str = "/job-policy", **policy: Any) -> None:
    answer = tenant.api.put(where, policy)
    assert answer.status_code == 200, answer.content
    policies.forget()


def submitted(tenant: Tenant, **fields: Any) -> Job:
    answer = tenant.api.post("/jobs", a_spec(**fields))
    assert answer.status_code == 201, answer.content
    return Job.objects.get(public_id=answer.json()["id"])


def refused(tenant: Tenant, **fields: Any) -> dict[str, str]:
    answer = tenant.api.post("/jobs", a_spec(**fields))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.content
    assert not Job.objects.exists()
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


def test_defaults_fill_in_what_is_left_out_and_the_spec_stays_as_sent(tenant: Tenant) -> None:
    set_policy(tenant, defaults={"max_duration": "4h", "priority": "low", "idle_timeout": "30m"})
    job = submitted(tenant)
    assert (job.effective_spec["max_duration_ms"], job.priority) == (4 * 3_600_000, 25)
    assert job.effective_spec["idle"] is None, "it has no chips that could be idle"
    assert "max_duration" not in job.spec
    job = submitted(tenant, max_duration="1h", priority=60, resources={"accelerators": "H100"})
    assert (job.effective_spec["max_duration_ms"], job.priority) == (3_600_000, 60)
    assert job.effective_spec["idle"]["window_ms"] > 0


def test_the_nearer_default_goes_first_and_dry_run_tells_whose_it_is(tenant: Tenant) -> None:
    below = create_team(tenant.organization, "below", parent=tenant.team)
    set_policy(tenant, defaults={"priority": 30, "lend": "never"})
    set_policy(tenant, f"/teams/{tenant.team.public_id}/job-policy", defaults={"priority": 40})
    told = tenant.api.post("/jobs?dry_run=1", a_spec(team=below.name)).json()
    assert (told["spec"]["priority"], told["spec"]["lend"]) == (40, "never")
    assert told["roundings"] == [
        "`priority` is set by the policy of team research.", "`lend` is set by the policy of organization acme."
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "fields", "field", "message"),
    [
        ({"max_duration": "2h"}, {}, "max_duration", "must be given, and at most 2 h"),
        ({"max_duration": "2h"}, {"max_duration": "3h"}, "max_duration", "must be given, and at most 2 h"),
        ({"priority": 50}, {"priority": "high"}, "priority", "must be at most 50"),
        ({"chips": 2}, {"resources": {"accelerators": "H100:3"}}, "resources.accelerators",
         "asks for more than 2 chips"),
        ({"retries": 1}, {"retry": {"limit": 2}}, "retry.limit", "must be at most 1"),
        ({"isolation": "enforced"},
         {"resources": {"accelerators": "H100", "fraction": 0.5, "isolation": "cooperative"}},
         "resources.isolation", "must be enforced or stricter"),
        ({"node_pools": ["a", "b"]}, {}, "node_pools", "must be of a, b"),
        ({"labels": ["project"]}, {"labels": {"other": "x"}}, "labels", "must have project"),
        ({"nodes": 2}, {"nodes": 3}, "nodes", "must be at most 2"),
        ({"nodes": 2}, {"nodes": "1..3"}, "nodes", "must be at most 2"),
        ({"cpus": 2.5}, {"resources": {"cpus": 3}}, "resources.cpus", "must be at most 2.5"),
        ({"memory": "1GiB"}, {}, "resources.memory", "must be given, and at most 1024 MiB"),
        ({"memory": "1GiB"}, {"resources": {"memory": "2GiB"}}, "resources.memory",
         "must be given, and at most 1024 MiB"),
        ({"memory": "1GiB"}, {"resources": {"any_of": [{"memory": "1GiB"}, {"memory": "2GiB"}]}}, "resources.memory",
         "must be given, and at most 1024 MiB"),
        ({"shm_size": "1GiB"}, {"image": "ghcr.io/acme/x", "resources": {"memory": "2GiB"}}, "resources.shm_size",
         "must be given, and at most 1024 MiB"),
        ({"lend": "team"}, {"lend": "any"}, "lend", "must be never or team"),
        ({"utilization_policy": {"window": "1h", "action": "suspend", "min_utilization": 10}},
         {"resources": {"accelerators": "H100"}, "utilization_policy": {"window": "2h"}}, "utilization_policy",
         "must have `min_utilization` at least 10% and a window of at most 1 h and the action suspend or stop"),
        ({"utilization_policy": {"window": "1h"}}, {"resources": {"accelerators": "H100"}, "idle_timeout": "2h"},
         "utilization_policy", "must have a window of at most 1 h"),
        ({"allowed_images": ["ghcr.io/acme/*"]}, {"image": "ghcr.io/acme-evil/x"}, "image",
         "must be of ghcr.io/acme/*"),
        ({"allowed_images": ["docker.io/python"]}, {"image": "docker.io/evil/python"}, "image",
         "must be of docker.io/python"),
        ({"require_digest": True}, {"image": "ghcr.io/acme/x:1"}, "image",
         "must end with a digest, @sha256: and 64 digits"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_policy(
    tenant: Tenant, bounds: Any, fields: Any, field: str, message: str
) -> None:
    set_policy(tenant, bounds=bounds)
    assert refused(tenant, **fields) == {field: f"{message}, by the policy of organization acme"}


def test_what_keeps_within_the_bounds_is_accepted(tenant: Tenant) -> None:
    set_policy(
        tenant,
        bounds={"max_duration": "2h", "priority": 50, "chips": 2, "retries": 1, "labels": ["project"],
                "node_pools": ["default"]},
    )  # fmt: skip
    submitted(
        tenant, max_duration="2h", priority=50, resources={"accelerators": "H100:2"}, retry=1,
        labels={"project": "x"}, node_pools=["default"],
    )  # fmt: skip


def test_host_resources_are_filled_in_for_each_alternative_that_leaves_them_out(tenant: Tenant) -> None:
    set_policy(tenant, defaults={"cpus": 2, "memory": "4GiB"})

    def asked(**resources: Any) -> list[tuple[int, int]]:
        told = tenant.api.post("/jobs?dry_run=1", a_spec(resources=resources)).json()
        both = (told["spec"]["resources"], *told["spec"]["alternatives"])
        return [(one["cpu_milli"], one["memory_mib"]) for one in both]

    assert asked() == [(2000, 4096)]
    assert asked(cpus=1) == [(1000, 4096)]
    assert asked(any_of=[{"cpus": 1}, {"memory": "1GiB"}]) == [(1000, 4096), (2000, 1024)]
    assert asked(any_of=[{"cpus": 1, "memory": "1GiB"}]) == [(1000, 1024)]


def test_what_is_milder_than_a_bound_is_refused_and_what_says_nothing_gets_the_bound(tenant: Tenant) -> None:
    set_policy(
        tenant,
        bounds={"lend": "never", "utilization_policy": {"window": "2h", "action": "suspend"}},
    )
    set_policy(
        tenant,
        f"/teams/{tenant.team.public_id}/job-policy",
        bounds={"utilization_policy": {"window": "1h", "min_utilization": "20%"}},
    )
    with_chips = a_spec(resources={"accelerators": "H100"})
    told = tenant.api.post("/jobs?dry_run=1", with_chips).json()
    assert told["spec"]["idle"] == {"below_permille": 200, "window_ms": 3_600_000, "action": "suspend"}
    assert told["spec"]["lend"] == "never"
    assert told["roundings"][:2] == [
        "`lend` is set by the policy of organization acme.",
        "`utilization_policy` is set by the policy of team research.",
    ]
    assert tenant.api.post("/jobs", with_chips).status_code == 201, "of what it was given nothing is refused"
    assert submitted(tenant).effective_spec["idle"] is None, "it has no chips that could be idle"
    strict = {"window": "30m", "action": "stop", "min_utilization": "50%"}
    job = submitted(tenant, resources={"accelerators": "H100"}, utilization_policy=strict)
    assert job.effective_spec["idle"]["window_ms"] == 1_800_000


def test_the_two_ways_to_say_when_chips_are_idle_never_meet(tenant: Tenant) -> None:
    """One of the policies, or of policy and spec, goes first; a default makes no spec wrong."""
    set_policy(tenant, defaults={"utilization_policy": {"window": "1h"}})
    set_policy(tenant, f"/teams/{tenant.team.public_id}/job-policy", defaults={"idle_timeout": "30m"})
    job = submitted(tenant, resources={"accelerators": "H100"})
    assert (job.effective_spec["idle"]["window_ms"], job.effective_spec["idle"]["action"]) == (
        1_800_000,
        "stop",
    )
    job = submitted(tenant, resources={"accelerators": "H100"}, utilization_policy={"window": "2h"})
    assert job.effective_spec["idle"]["window_ms"] == 7_200_000


GIVEN = {
    "priority": ["low", 70], "preemptible": [True], "max_duration": ["8h"], "min_runtime": ["30m"],
    "idle_timeout": ["1h"], "utilization_policy": [{"window": "1h"}, {"action": "stop"}],
    "lend": ["any", {"to": "any"}], "lease": ["never", "10m"],
    "retry": [2, {"limit": 1}], "node_pools": [["a"]], "stragglers": ["move"],
    "cpus": [2, "0.5"], "memory": ["4GiB"],
}  # fmt: skip
SENT = {
    **{key: values for key, values in GIVEN.items() if key not in policies.OF_RESOURCES},
    "image": ["ghcr.io/acme/x"], "nodes": [2, "1..4"], "array": ["0-3"],
    "resources": [
        {}, {"accelerators": "H100"}, {"accelerators": "H100", "fraction": 0.5}, {"cpus": 4}, {"memory": "1GiB"},
        {"accelerators": ["H100", "A100"]}, {"any_of": [{"cpus": 1}, {"accelerators": "H100", "memory": "1GiB"}]},
        {"shm_size": "8GiB"}, {"memory": "1GiB", "shm_size": "1GiB"},
    ],
}  # fmt: skip


def some_of(fields: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(values) for key, values in fields.items()}
    )


@given(defaults=st.lists(some_of(GIVEN), min_size=1, max_size=3), sent=some_of(SENT))
@settings(max_examples=150, deadline=None)
def test_a_default_makes_no_spec_wrong(defaults: list[dict[str, Any]], sent: dict[str, Any]) -> None:
    assert set(GIVEN) == set(policies.DEFAULTS)
    raw = a_spec(**sent)
    try:
        read = spec.parse(raw)
    except InvalidInput:
        return
    rows = [policies.Policy("x", policies._checked_defaults(_one_idle(one)), {}) for one in defaults]
    made = policies._with_defaults(rows, raw, read)
    for key in set(sent) & set(made.spec) - {"resources"}:
        assert made.spec[key] == read.spec[key], "what was sent stays"


def _one_idle(defaults: dict[str, Any]) -> dict[str, Any]:
    """Of one policy both ways at once are refused."""
    return {
        key: value
        for key, value in defaults.items()
        if key != "idle_timeout" or "utilization_policy" not in defaults
    }


def test_an_image_that_is_allowed_is_refused_by_no_policy_but_no_node_runs_it(tenant: Tenant) -> None:
    set_policy(
        tenant, bounds={"allowed_images": ["docker.io/python", "ghcr.io/acme/**"], "require_digest": True}
    )
    for name in ("docker.io/library/python", "ghcr.io/acme/a/b", "GHCR.io/acme/a"):
        answer = tenant.api.post("/jobs", a_spec(image=f"{name}@sha256:{'0' * 64}"))
        assert (answer.status_code, answer.json()["code"]) == (422, "never_fits"), answer.content
        assert answer.json()["detail"] == "Runs in an image; no node runs images."
        assert [error["field"] for error in answer.json()["errors"]] == ["image"]
    assert not Job.objects.exists()
    submitted(tenant)  # a job without an image runs none


def test_an_image_is_accepted_where_a_node_runs_images(tenant: Tenant) -> None:
    Node.objects.update(images=True)
    admission.forget()
    spec = a_spec(image="ghcr.io/acme/x:1")
    told = tenant.api.post("/jobs?dry_run=1", spec).json()
    assert told["fits"], told
    assert tenant.api.post("/jobs", spec).status_code == 201
    snapshot = take_snapshot(a_cell()[0].pk, clock.now())
    assert all(node.images for node in snapshot.nodes)
    assert [job.gang.request.image for job in snapshot.jobs] == [True]


def test_a_slice_gets_the_floor_of_isolation(tenant: Tenant) -> None:
    set_policy(tenant, bounds={"isolation": "enforced"})
    told = tenant.api.post(
        "/jobs?dry_run=1", a_spec(resources={"accelerators": "H100", "fraction": 0.5})
    ).json()
    assert not told["fits"], "no chip here enforces slices"
    assert (
        submitted(tenant, resources={"accelerators": "H100"}).effective_spec["resources"]["isolation"] is None
    )


def test_a_whole_batch_is_held_to_it(tenant: Tenant) -> None:
    set_policy(tenant, bounds={"priority": 50})
    answer = tenant.api.post("/jobs/batch", {"jobs": [a_spec(), a_spec(priority=90)]})
    assert answer.json()["errors"][0]["field"] == "jobs.1.priority"
    assert not Job.objects.exists()


def test_another_organization_is_not_bound_by_it(tenant: Tenant) -> None:
    set_policy(tenant, bounds={"priority": 10})
    other = a_tenant("globex")
    assert other.api.post("/jobs", a_spec(priority=90)).status_code == 201
    assert other.api.get("/job-policy").json() == {"defaults": {}, "bounds": {}}


@pytest.mark.parametrize(
    "policy",
    [
        {"defaults": []}, {"defaults": {"commands": ["x"]}}, {"defaults": {"priority": "urgent"}},
        {"bounds": {"color": 1}}, {"bounds": {"priority": 101}}, {"bounds": {"max_duration": "soon"}},
        {"bounds": {"isolation": "some"}}, {"bounds": {"labels": []}}, {"bounds": {"node_pools": [1]}}, {"x": {}},
        {"bounds": {"isolation": []}}, {"bounds": {"chips": True}}, {"bounds": {"nodes": 0}},
        {"bounds": {"cpus": 0}}, {"bounds": {"memory": "much"}}, {"bounds": {"shm_size": -1}},
        {"bounds": {"lend": "everybody"}}, {"bounds": {"lend": []}}, {"bounds": {"utilization_policy": {}}},
        {"bounds": {"utilization_policy": "1h"}}, {"bounds": {"utilization_policy": {"color": 1}}},
        {"bounds": {"utilization_policy": {"window": "soon"}}}, {"defaults": {"memory": "much"}},
        {"defaults": {"idle_timeout": "1h", "utilization_policy": {"window": "1h"}}},
        {"bounds": {"allowed_images": ["acme/*"]}}, {"bounds": {"allowed_images": []}},
        {"bounds": {"allowed_images": "ghcr.io/acme/*"}}, {"bounds": {"require_digest": "yes"}},
    ],
)  # fmt: skip
def test_other_policies_are_refused(tenant: Tenant, policy: Any) -> None:
    assert tenant.api.put("/job-policy", policy).status_code == 400
    assert not JobPolicy.objects.exists()


def test_it_is_removed_and_recorded(tenant: Tenant) -> None:
    set_policy(tenant, bounds={"priority": 10})
    assert tenant.api.delete("/job-policy").status_code == 204
    policies.forget()
    submitted(tenant)
    assert tenant.api.delete("/job-policy").status_code == 404
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions)[:2] == ["job_policy.set", "job_policy.removed"]
