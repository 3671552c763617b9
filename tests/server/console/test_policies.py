"""Policies for jobs in the console: set and removed by the API's own service, and told in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client as Browser

from flexai.console.policies import PolicyForm
from flexai.jobs import policies, policy_bounds
from flexai.jobs.policy_words import words_of
from flexai.tenancy.models import AuditEntry, JobPolicy, User
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db
ADD = "/console/tenancy/jobpolicy/add/"


@pytest.fixture
def browser(db: None) -> Browser:
    made = Browser(HTTP_HOST="localhost")
    made.force_login(User.objects.create_user("olga", is_staff=True))
    return made


@pytest.fixture
def tenant(db: None) -> Tenant:
    a_cell()
    a_node(chips=4)
    return a_tenant("acme")


def saved(browser: Browser, path: str, **fields: Any) -> str:
    answer = browser.post(path, fields, follow=True)
    assert answer.redirect_chain, answer.context["errors"]
    return str(answer.content.decode())


def test_what_is_set_by_the_form_holds_and_is_said_in_words(browser: Browser, tenant: Tenant) -> None:
    page = saved(
        browser, ADD, organization=tenant.organization.pk, defaults_priority="low", defaults_preemptible="false",
        defaults_retry='{"limit": 1}', defaults_node_pools=" default, ", bounds_max_duration="2d", bounds_priority="60",
        bounds_labels="project, owner", bounds_allowed_images="ghcr.io/acme/*", bounds_require_digest="true",
    )  # fmt: skip
    row = JobPolicy.objects.get()
    assert (row.organization, row.team) == (tenant.organization, None)
    assert row.defaults == {
        "priority": "low", "preemptible": False, "retry": {"limit": 1}, "node_pools": ["default"],
    }  # fmt: skip
    assert row.bounds == {
        "max_duration": "2d", "priority": 60, "labels": ["project", "owner"], "allowed_images": ["ghcr.io/acme/*"],
        "require_digest": True,
    }  # fmt: skip
    said = [
        "Jobs that leave `priority` out get low.", "Jobs that leave `preemptible` out get false.",
        "A job must give `max_duration`, 2d at most.", "A priority above 60 is refused.",
        "A job without the labels project, owner is refused.", "An image that is not of ghcr.io/acme/* is refused.",
        "An image without a digest is refused.",
    ]  # fmt: skip
    shown = browser.get(f"/console/tenancy/jobpolicy/{row.pk}/change/").content.decode()
    for sentence in said:
        assert sentence in page
        assert sentence in shown
    assert 'value="default"' in shown, "the form shows what is kept"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.after) == (
        "job_policy.set", "olga", {"defaults": row.defaults, "bounds": row.bounds},
    )  # fmt: skip
    policies.forget()
    refused = tenant.api.post(
        "/jobs", a_spec(max_duration="3d", labels={"project": "x", "owner": "y"})
    ).json()
    assert refused["errors"][0]["message"].endswith("by the policy of organization acme")


def test_it_is_changed_as_a_whole_and_removed(browser: Browser, tenant: Tenant) -> None:
    tenant.api.put(
        f"/teams/{tenant.team.public_id}/job-policy",
        {"defaults": {"lend": {"to": "any"}}, "bounds": {"chips": 8, "retries": 0}},
    )
    row = JobPolicy.objects.get()
    form = browser.get(f"/console/tenancy/jobpolicy/{row.pk}/change/").context["adminform"].form
    assert (form["defaults_lend"].value(), form["bounds_chips"].value(), form["bounds_retries"].value()) == (
        '{"to": "any"}', 8, 0,
    )  # fmt: skip
    saved(browser, f"/console/tenancy/jobpolicy/{row.pk}/change/", bounds_chips="4", bounds_retries="0")
    row.refresh_from_db()
    assert (row.team, row.defaults, row.bounds) == (tenant.team, {}, {"chips": 4, "retries": 0})
    saved(browser, f"/console/tenancy/jobpolicy/{row.pk}/delete/", post="yes")
    assert not JobPolicy.objects.exists()
    actions = AuditEntry.objects.filter(actor="olga").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["job_policy.set", "job_policy.removed"]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"defaults_priority": "urgent"}, "defaults_priority", "is no priority"),
        ({"defaults_retry": "{"}, "defaults_retry", "whole number"),
        ({"defaults_retry": '{"limit": 1, "colour": 2}'}, "defaults_retry", "unknown key"),
        (
            {"defaults_utilization_policy": '{"action": "burn"}'},
            "defaults_utilization_policy",
            "is not one of",
        ),
        ({"bounds_max_duration": "soon"}, "bounds_max_duration", ""),
        ({"bounds_priority": "101"}, "bounds_priority", "100"),
        ({"bounds_chips": "-1"}, "bounds_chips", "greater than or equal to 0"),
        ({"bounds_allowed_images": "acme/*"}, "bounds_allowed_images", "is no pattern"),
        ({"bounds_labels": ","}, "bounds_labels", "must be a list of 1"),
        ({"bounds_memory": "much"}, "bounds_memory", "memory"),
        ({"bounds_utilization_policy": '{"window": "soon"}'}, "bounds_utilization_policy", ""),
        ({"defaults_cpus": "lots"}, "defaults_cpus", ""),
        ({"bounds_isolation": "some"}, "bounds_isolation", "not one of the available choices"),
    ],
)
def test_what_the_service_refuses_is_said_at_the_field(
    browser: Browser, tenant: Tenant, fields: dict[str, str], field: str, said: str
) -> None:
    answer = browser.post(ADD, {"organization": tenant.organization.pk, **fields})
    assert answer.status_code == 200
    assert said in str(answer.context["adminform"].form.errors[field])
    assert not JobPolicy.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_team_has_one_policy_and_belongs_to_its_organization(browser: Browser, tenant: Tenant) -> None:
    other = a_tenant("globex")
    answer = browser.post(ADD, {"organization": tenant.organization.pk, "team": other.team.pk})
    assert "belongs to another organization" in str(answer.context["adminform"].form.errors["team"])
    saved(browser, ADD, organization=tenant.organization.pk, team=tenant.team.pk)
    saved(browser, ADD, organization=tenant.organization.pk)
    for again in ({"team": tenant.team.pk}, {}):
        answer = browser.post(ADD, {"organization": tenant.organization.pk, **again})
        assert answer.context["adminform"].form.errors, again
    assert JobPolicy.objects.count() == 2


def test_every_default_and_bound_has_its_words_and_its_field() -> None:
    names = {f"defaults_{key}" for key in policies.DEFAULTS} | {
        f"bounds_{key}" for key in policy_bounds.BOUNDS
    }
    assert {name for name in PolicyForm.base_fields if "_" in name} == names
    samples = {"node_pools": ["a"], "labels": ["a"], "allowed_images": ["ghcr.io/**"], "require_digest": True,
               "lend": "team", "utilization_policy": {"window": "1h"}}  # fmt: skip
    for key in policy_bounds.BOUNDS:
        assert words_of({}, {key: samples.get(key, 1)}), key
