"""Secrets of teams: sealed, for one place, written and never read."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from flexai.common.errors import InvalidInput
from flexai.common.sealing import NotReadable, seal, unseal
from flexai.tenancy import team_secrets
from flexai.tenancy.models import AuditEntry, Role, Secret
from flexai.tenancy.services import create_team
from flexai.tenancy.team_secrets import checked, set_secret, unsealed, usable_by
from tests.support.tenants import Tenant

pytestmark = pytest.mark.django_db
VALUE = "hf_correct-horse\n\tbattery ✓\n"


def put(tenant: Tenant, name: str, value: Any, *, api: Any = None) -> Any:
    return (api or tenant.api).put(f"/teams/{tenant.team.public_id}/secrets/{name}", {"value": value})


def test_a_value_goes_in_and_comes_out_for_a_job_alone(tenant: Tenant) -> None:
    _, maintainer = tenant.somebody(Role.MAINTAINER, name="mia")
    made = put(tenant, "HF_TOKEN", VALUE, api=maintainer)
    assert made.status_code == 200, made.content
    shown = made.json()
    assert (shown["name"], shown["team"], shown["used_at"]) == ("HF_TOKEN", "research", None)
    assert shown["set_by"] == "mia"
    place = f"/teams/{tenant.team.public_id}/secrets"
    assert maintainer.get(f"{place}/HF_TOKEN").json() == shown
    assert maintainer.get(place).json() == {"items": [shown], "next_cursor": None}
    secret = Secret.objects.get()
    assert unsealed([secret.pk]) == {secret.pk: VALUE}
    assert maintainer.get(place).json()["items"][0]["used_at"] is not None
    assert maintainer.delete(f"{place}/HF_TOKEN").status_code == 204
    assert maintainer.delete(f"{place}/HF_TOKEN").status_code == 404
    assert not Secret.objects.exists()


def test_to_set_it_again_replaces_it(tenant: Tenant) -> None:
    first = put(tenant, "HF_TOKEN", "old").json()
    assert put(tenant, "HF_TOKEN", "new").json()["id"] == first["id"]
    secret = Secret.objects.get()
    assert unsealed([secret.pk]) == {secret.pk: "new"}


def test_no_table_of_the_database_holds_a_value(tenant: Tenant) -> None:
    for value in ("correct-horse-1", "correct-horse-2"):
        put(tenant, "HF_TOKEN", value)
    tenant.api.delete(f"/teams/{tenant.team.public_id}/secrets/HF_TOKEN")
    put(tenant, "OTHER", "correct-horse-3")
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', ["%correct-horse%"])
            assert cursor.fetchone() == (0,), table
    assert "tenancy_secret" in tables
    told = list(AuditEntry.objects.order_by("id").values_list("action", "before", "after"))
    assert told == [
        ("secret.set", None, {"team": "research", "name": "HF_TOKEN", "replaced": False}),
        ("secret.set", None, {"team": "research", "name": "HF_TOKEN", "replaced": True}),
        ("secret.removed", {"team": "research", "name": "HF_TOKEN"}, None),
        ("secret.set", None, {"team": "research", "name": "OTHER", "replaced": False}),
    ]


def test_what_is_copied_to_another_row_stays_shut(tenant: Tenant) -> None:
    put(tenant, "ONE", "of-one")
    put(tenant, "TWO", "of-two")
    one, two = Secret.objects.get(name="ONE"), Secret.objects.get(name="TWO")
    Secret.objects.filter(pk=two.pk).update(sealed=one.sealed)
    assert unsealed([one.pk, two.pk]) == {one.pk: "of-one", two.pk: None}
    assert unseal(seal("x", bound_to="a"), bound_to="a") == "x"
    for sealed, place in ((seal("x"), "a"), (seal("x", bound_to="a"), ""), (seal("x", bound_to="a"), "b")):
        with pytest.raises(NotReadable):
            unseal(sealed, bound_to=place)


def test_jobs_may_name_those_of_the_teams_above_and_the_nearer_holds(tenant: Tenant) -> None:
    below = create_team(tenant.organization, "vision", parent=tenant.team)
    beside = create_team(tenant.organization, "speech")
    for team, names in {tenant.team: "ABOVE BOTH", below: "BOTH BELOW", beside: "BESIDE"}.items():
        for name in names.split():
            set_secret(tenant.principal, team, name, f"{name} of {team.name}")
    usable = usable_by(below.pk)
    values = unsealed(usable.values())
    assert {name: values[pk] for name, pk in usable.items()} == {
        "ABOVE": "ABOVE of research", "BELOW": "BELOW of vision", "BOTH": "BOTH of vision",
    }  # fmt: skip
    assert set(usable_by(tenant.team.pk)) == {"ABOVE", "BOTH"}
    listed = tenant.api.get(f"/teams/{below.public_id}/secrets").json()["items"]
    assert {one["name"]: one["team"] for one in listed} == {
        "ABOVE": "research", "BELOW": "vision", "BOTH": "vision",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("1TOKEN", "x", "is no name"),
        ("A-B", "x", "is no name"),
        ("A" * 129, "x", "is no name"),
        ("HF_TOKEN", "", "not empty"),
        ("HF_TOKEN", None, "not empty"),
        ("HF_TOKEN", ["hunter2"], "must be text"),
        ("HF_TOKEN", "hunter2\0", "NUL"),
        ("HF_TOKEN", "hunter2" + "é" * 32768, "64 KiB"),
    ],
)
def test_what_is_wrong_is_told_without_the_value(tenant: Tenant, name: str, value: Any, told: str) -> None:
    answer = put(tenant, name, value)
    assert answer.status_code == 400
    assert told in answer.content.decode()
    assert "hunter2" not in answer.content.decode()
    assert not Secret.objects.exists()
    assert not AuditEntry.objects.exists()


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        checked("HF_TOKEN", "x\ud800")


def test_the_most_there_can_be(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert put(tenant, "LONG", "x" * team_secrets.MAX_VALUE_BYTES).status_code == 200
    monkeypatch.setattr(team_secrets, "MAX_SECRETS", 2)
    assert put(tenant, "SECOND", "x").status_code == 200
    assert put(tenant, "THIRD", "x").status_code == 409
    assert put(tenant, "LONG", "y").status_code == 200, "to replace one makes none more"
    assert Secret.objects.count() == 2


def test_a_change_under_a_condition(tenant: Tenant) -> None:
    put(tenant, "HF_TOKEN", "one")
    path = f"/teams/{tenant.team.public_id}/secrets/HF_TOKEN"
    tag = tenant.api.get(path)["ETag"]
    put(tenant, "HF_TOKEN", "two")
    conditional = type(tenant.api)(tenant.token, **{"If-Match": tag})
    assert conditional.put(path, {"value": "three"}).status_code == 412
    secret = Secret.objects.get()
    assert unsealed([secret.pk]) == {secret.pk: "two"}
