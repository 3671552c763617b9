"""Secrets of jobs: named in a spec, checked at submit, given to the node that starts an attempt and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings

from flexai.common import clock
from flexai.jobs.models import Attempt, Job, Replica
from flexai.jobs.reports import take_reports
from flexai.jobs.secrets import give_secrets
from flexai.jobs.spec import parse
from flexai.jobs.wanted import attempts_wanted_on
from flexai.tenancy.models import Role, Secret
from flexai.tenancy.principals import Principal
from flexai.tenancy.services import create_team
from flexai.tenancy.team_secrets import remove_secret, set_secret
from node_agent.protocol import SecretsGiven
from tests.support.placed import PlacedWorld, report
from tests.support.tenants import Tenant, a_spec

pytestmark = pytest.mark.django_db


def keep(world: PlacedWorld, name: str, value: str, team: Any = None) -> None:
    set_secret(Principal(world.user, world.organization, Role.OWNER), team or world.team, name, value)


def asked(*attempts: Attempt) -> list[tuple[str, int, int]]:
    return [(one.public_id, 0, 1) for one in attempts]


# --- in a spec


def test_a_list_and_a_map_say_the_same() -> None:
    commands = {"commands": "true"}
    assert parse({**commands, "secrets": ["A", "B"]}).spec["secrets"] == {"A": "A", "B": "B"}
    assert parse({**commands, "secrets": {"A": "other", "B": "B"}}).spec["secrets"] == {
        "A": "other",
        "B": "B",
    }
    assert parse(commands).spec["secrets"] == {}


@pytest.mark.parametrize(
    ("spec", "field", "told"),
    [
        ({"secrets": "HF_TOKEN"}, "secrets", "must be a list or an object"),
        ({"secrets": [1]}, "secrets.1", "is no name of a variable"),
        ({"secrets": [["A"]]}, "secrets.['A']", "is no name of a variable"),
        ({"secrets": {"A": 1}}, "secrets.A", "no name of a secret"),
        ({"secrets": {"A": "a b"}}, "secrets.A", "no name of a secret"),
        ({"secrets": ["FLEXAI_X"]}, "secrets.FLEXAI_X", "the platform's own"),
        ({"secrets": [f"A{n}" for n in range(33)]}, "secrets", "at most 32"),
        ({"secrets": ["A"], "env": {"A": "1"}}, "secrets.A", "stands in `env` too"),
        ({"secrets": ["lr"], "matrix": {"lr": [1, 2]}}, "secrets.lr", "is a list of `matrix` too"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(
    tenant: Tenant, spec: dict[str, Any], field: str, told: str
) -> None:
    answer = tenant.api.post("/jobs", a_spec(**spec))
    assert answer.status_code == 400, answer.content
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert told in errors[field]


def test_a_name_that_no_team_has_is_refused_with_what_is_near(tenant: Tenant) -> None:
    below = create_team(tenant.organization, "vision", parent=tenant.team)
    create_team(tenant.organization, "speech")
    set_secret(tenant.principal, tenant.team, "HF_TOKEN", "x")
    spec = a_spec(team="vision", secrets={"HF": "HF_TOKN", "WANDB": "WANDB"})
    for answer in (tenant.api.post("/jobs", spec), tenant.api.post("/jobs?dry_run=1", spec)):
        assert answer.status_code == 400
        first, second = answer.json()["errors"]
        assert (first["field"], first["hint"]) == ("secrets.HF", "did you mean HF_TOKEN?")
        assert second["hint"] == "a maintainer sets it: flexai secrets set WANDB --team vision"
    assert not Job.objects.exists()
    assert tenant.api.post("/jobs", a_spec(team="speech", secrets=["HF_TOKEN"])).status_code == 400
    made = tenant.api.post("/jobs", a_spec(team="vision", secrets=["HF_TOKEN"]))
    assert made.status_code == 201, made.content
    assert Job.objects.get().effective_spec["secrets"] == {"HF_TOKEN": "HF_TOKEN"}
    assert below.pk == Job.objects.get().team_id


def test_a_member_uses_by_naming_and_an_array_too(tenant: Tenant) -> None:
    set_secret(tenant.principal, tenant.team, "HF_TOKEN", "x")
    _, member = tenant.somebody(Role.MEMBER)
    answer = member.post("/jobs", a_spec(array="0-2", secrets=["HF_TOKEN"]))
    assert answer.status_code == 201, answer.content
    assert Job.objects.filter(effective_spec__secrets__HF_TOKEN="HF_TOKEN").count() == 3


# --- at the start


def test_the_wanted_state_names_variables_and_nothing_else() -> None:
    world = PlacedWorld()
    keep(world, "wandb", "hidden-value")
    node = world.a_node()
    attempt = world.placed(node, secrets={"WANDB_API_KEY": "wandb"})
    [replica] = attempts_wanted_on([node.pk])[node.pk].replicas
    assert replica.secrets == ["WANDB_API_KEY"]
    assert "hidden" not in repr(replica)
    Attempt.objects.filter(pk=attempt.pk).update(state="stopping", stopping_at=clock.now())
    assert attempts_wanted_on([node.pk])[node.pk].replicas[0].secrets == []


def test_a_node_is_given_what_its_replicas_are_about_to_start_with() -> None:
    world = PlacedWorld()
    keep(world, "HF", "of vision")
    keep(world, "HF", "of research", world.parent)
    keep(world, "W", "of research too", world.parent)
    node = world.a_node()
    attempt = world.placed(node, secrets={"HF": "HF", "WANDB": "W"})
    plain = world.placed(node)
    answer = give_secrets(node.pk, asked(attempt, plain))
    assert answer.foreign == []
    assert answer.given == [
        SecretsGiven(attempt.public_id, 0, 1, {"HF": "of vision", "WANDB": "of research too"}),
        SecretsGiven(plain.public_id, 0, 1),
    ]
    assert Secret.objects.filter(used_at=None).count() == 1, "the one that was hidden by a nearer"
    keep(world, "HF", "rotated")
    assert give_secrets(node.pk, asked(attempt)).given[0].values["HF"] == "rotated"


def test_nobody_else_is_given_anything() -> None:
    world = PlacedWorld()
    keep(world, "HF", "hidden")
    node, other = world.a_node(), world.a_node()
    attempt = world.placed(node, secrets={"HF": "HF"})
    refused = give_secrets(other.pk, asked(attempt))
    assert (refused.given, refused.foreign) == ([], [attempt.public_id])
    wrong = [(attempt.public_id, 1, 1), (attempt.public_id, 0, 2), ("att-none", 0, 1)]
    assert give_secrets(node.pk, wrong).given == give_secrets(node.pk, []).given == []
    gang = world.placed(node, other, secrets={"HF": "HF"})
    assert [one.values for one in give_secrets(other.pk, [(gang.public_id, 1, 1)]).given] == [
        {"HF": "hidden"}
    ]
    assert give_secrets(other.pk, [(gang.public_id, 0, 1)]).foreign == [gang.public_id]


def test_nothing_is_given_once_it_runs_or_is_to_stop() -> None:
    world = PlacedWorld()
    keep(world, "HF", "hidden")
    node = world.a_node()
    attempt = world.placed(node, secrets={"HF": "HF"})
    take_reports(node.pk, [report(attempt, "starting")])
    assert give_secrets(node.pk, asked(attempt)).given, "its agent may have died between the two"
    take_reports(node.pk, [report(attempt, "running")])
    assert give_secrets(node.pk, asked(attempt)).given == []
    stopping = world.placed(node, secrets={"HF": "HF"})
    Attempt.objects.filter(pk=stopping.pk).update(state="stopping", stopping_at=clock.now())
    assert give_secrets(node.pk, asked(stopping)).given == []
    assert Replica.objects.get(attempt=stopping).state == "placed"


def test_a_secret_that_is_gone_or_cannot_be_read_ends_the_attempt_with_a_reason(settings: Any) -> None:
    world = PlacedWorld()
    owner = Principal(world.user, world.organization, Role.OWNER)
    keep(world, "HF", "hidden")
    node = world.a_node()
    attempt = world.placed(node, secrets={"TOKEN": "HF"})
    settings.SECRET_KEY = django_settings.SECRET_KEY + "-another"
    [given] = give_secrets(node.pk, asked(attempt)).given
    assert (given.values, "sealed under another key" in given.refused) == ({}, True)
    remove_secret(owner, world.team, "HF")
    [given] = give_secrets(node.pk, asked(attempt)).given
    assert given.values == {}
    assert given.refused == "The secret HF is gone: neither team vision nor one above it has it any more."
    ended = report(attempt, "ended", outcome="start_failed", sentence=given.refused)
    take_reports(node.pk, [ended])
    job = Job.objects.get(pk=attempt.job_id)
    assert (job.state, job.sentence.startswith(given.refused)) == ("failed", True)


def test_ten_starts_ask_the_database_no_more_than_one(statements: list[str]) -> None:
    world = PlacedWorld()
    keep(world, "HF", "hidden")
    node = world.a_node()
    attempts = [world.placed(node, secrets={"HF": "HF"}) for _ in range(10)]
    counts = []
    for some in (attempts[:1], attempts):
        statements.clear()
        assert len(give_secrets(node.pk, asked(*some)).given) == len(some)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 5
