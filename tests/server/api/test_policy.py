"""The scheduler's policy: everybody reads it, operators set it (S4)."""

from __future__ import annotations

import pytest

from flexai.scheduling.policies import policy_of
from flexai.tenancy.models import AuditEntry
from flexai.tenancy.services import DEFAULT_CELL
from scheduler_core import Policy
from tests.support.tenants import Tenant, a_tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Tenant:
    return a_tenant("platform", operator=True)


def test_the_defaults_are_shown_with_their_bounds(tenant: Tenant) -> None:
    numbers = {number["name"]: number for number in tenant.api.get("/policy").json()["numbers"]}
    assert numbers["max_starts"] == {
        "name": "max_starts",
        "value": Policy().max_starts,
        "default": Policy().max_starts,
        "least": 1,
        "most": 1_000_000,
    }


def test_an_operator_sets_it_and_it_is_on_record(operator: Tenant) -> None:
    answer = operator.api.put("/policy", {"values": {"max_starts": 7, "service_levels": [10, 20]}})
    assert answer.status_code == 200, answer.content
    assert policy_of(DEFAULT_CELL) == Policy(max_starts=7, service_levels=(10, 20))
    entry = AuditEntry.objects.get(action="policy.set")
    assert entry.after == {"max_starts": 7, "service_levels": [10, 20]}
    assert operator.api.put("/policy", {"values": {}}).status_code == 200
    assert policy_of(DEFAULT_CELL) == Policy()


@pytest.mark.parametrize(
    ("values", "field", "told"),
    [
        ({"max_start": 7}, "max_start", "Did you mean max_starts?"),
        ({"max_starts": 0}, "max_starts", "from 1 to 1000000"),
        ({"max_starts": "many"}, "max_starts", "whole number"),
        ({"max_starts": True}, "max_starts", "whole number"),
        ({"service_levels": [20, 10]}, "service_levels", "must lie"),
        ({"service_levels": 5}, "service_levels", "list of whole numbers"),
    ],
)
def test_a_wrong_value_is_named_with_its_bounds(
    operator: Tenant, values: dict[str, object], field: str, told: str
) -> None:
    answer = operator.api.put("/policy", {"values": values})
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert told in error["message"] + error.get("hint", "")
    assert policy_of(DEFAULT_CELL) == Policy()


def test_a_tenant_may_not_set_it(tenant: Tenant) -> None:
    assert tenant.api.put("/policy", {"values": {"max_starts": 7}}).status_code == 403
