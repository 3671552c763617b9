"""Whatever the API is sent, right or wrong, it answers as its schema says (status, kind and body, of refusals too), and
never with 5xx.

Requests are made from the schema itself, right ones and wrong ones. Each is undone; ids in paths are now and then those
of objects that exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flexai.api import throttling
from flexai.cluster.models import Chip, Node
from flexai.scheduling import alternatives
from flexai.tenancy.models import Token
from tests.support.tenants import a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 4
"""Requests of each operation in `make test`."""
LONG_EXAMPLES = 400


@cache
def _schema() -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/schema/", get_wsgi_application())


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Somebody who may do everything, and one of each kind of object. Requests leave the test's transaction open."""
    monkeypatch.setattr(throttling, "REQUESTS_PER_WINDOW", 10**9)
    monkeypatch.setattr(throttling, "OPEN_PER_WINDOW", 10**9)
    monkeypatch.setattr(throttling, "TERMINALS_PER_WINDOW", 10**9)
    monkeypatch.setattr(alternatives, "MOST_SECONDS", 0.1)
    a_cell()
    a_node(chips=1)
    tenant = a_tenant("acme", operator=True)
    job = tenant.api.post("/jobs", a_spec()).json()["id"]
    account = tenant.api.post("/service-accounts", {"name": "ci", "role": "member"}).json()["id"]
    rule = {
        "account": "ci",
        "name": "x",
        "issuer": "https://gitlab.com",
        "scopes": ["read"],
        "claims": {"sub": "x"},
    }
    trust = tenant.api.post("/trust-rules", rule).json()["id"]
    hook = tenant.api.post("/webhooks", {"name": "ci", "url": "https://ci.example", "events": []}).json()[
        "id"
    ]
    schedule = tenant.api.post("/schedules", a_spec(schedule={"cron": "0 3 * * *"})).json()["id"]
    asked = {"team": tenant.team.name, "chip_type": "H100", "guaranteed_milli": 1000, "reason": "more"}
    request = tenant.api.post("/quota-requests", asked).json()["id"]
    ids = {
        "jobs": job, "nodes": Node.objects.get().public_id, "teams": tenant.team.public_id,
        "tokens": Token.objects.get().public_id, "service-accounts": account, "recordings": "1",
        "trust-rules": trust, "webhooks": hook, "schedules": schedule, "quota-requests": request,
        "chips": Chip.objects.get().public_id,
    }  # fmt: skip
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield {"token": tenant.token, "ids": ids}
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


def _check_all(world: dict[str, Any], examples: int) -> None:
    operations = [found.ok() for found in _schema().get_all_operations()]
    assert len(operations) > 40, "the whole schema is there"
    assert not [one.label for one in operations if "default" in one.responses.status_codes], (
        "nothing stands for any"
    )
    wrong = []
    for operation in operations:
        try:
            _check(operation, world, examples)
        except (Exception, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n\n".join(wrong)


def _check(operation: Any, world: dict[str, Any], examples: int) -> None:
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    kinds = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    @given(case=kinds, is_real=st.booleans())
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def tried(case: Any, is_real: bool) -> None:
        kind = operation.path.removeprefix("/api/v1").strip("/").split("/")[0]
        if is_real and kind in world["ids"] and "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = world["ids"][kind]
        headers = {**(case.headers or {}), "Authorization": f"Bearer {world['token']}"}
        with transaction.atomic():
            answer = case.call(headers=headers)
            transaction.set_rollback(True)
        case.validate_response(answer, checks=CHECKS)

    tried()


def test_every_operation_answers_as_its_schema_says(world: dict[str, Any]) -> None:
    _check_all(world, EXAMPLES)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_operation_answers_as_its_schema_says_for_long(world: dict[str, Any]) -> None:
    _check_all(world, int(os.environ.get("FLEXAI_FUZZ_EXAMPLES", LONG_EXAMPLES)))
