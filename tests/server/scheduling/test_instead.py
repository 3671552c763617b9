"""What a dry run says could be asked for instead: tried on a copy of the cell, and true when it is done (X4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from flexai.common import clock
from flexai.jobs import admission
from flexai.jobs.models import Job
from flexai.scheduling import alternatives, engine_state, predictions
from flexai.scheduling.alternatives import merged
from flexai.scheduling.cycle import run_cycle
from flexai.tenancy.models import Price, Quota
from flexai.tenancy.services import DEFAULT_CELL
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant

pytestmark = pytest.mark.django_db(transaction=True)
H100, A100 = "H100-80GB", "A100-80GB"


@pytest.fixture(autouse=True)
def _nothing_learned() -> Iterator[None]:
    predictions.forget()
    engine_state.forget(DEFAULT_CELL)
    yield
    engine_state.forget(DEFAULT_CELL)
    predictions.forget()


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    a_cell()
    return a_tenant()


def started(tenant: Tenant, **fields: Any) -> None:
    """A job that the engine has placed."""
    job = submitted(tenant, **fields)
    engine_state.forget(DEFAULT_CELL)
    run_cycle(DEFAULT_CELL)
    assert Job.objects.get(public_id=job).state == "active"


def submitted(tenant: Tenant, **fields: Any) -> str:
    admission.forget()
    answer = tenant.api.post("/jobs", a_spec(**fields))
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def dry_run(tenant: Tenant, spec: dict[str, Any]) -> Any:
    admission.forget()
    return tenant.api.post("/jobs?dry_run=1", spec).json()


def assert_true(tenant: Tenant, spec: dict[str, Any], patch: dict[str, Any], sentence: str) -> None:
    """The change is among those that are told, to start at once, and so it does; the spec as it was does not."""
    told = {one["sentence"]: one for one in dry_run(tenant, spec)["alternatives"]}
    assert sentence in told, list(told)
    assert told[sentence]["patch"] == patch
    assert datetime.fromisoformat(told[sentence]["starts_by"]) <= clock.now() + timedelta(minutes=1)
    before = submitted(tenant, **spec)
    engine_state.forget(DEFAULT_CELL)
    run_cycle(DEFAULT_CELL)
    assert Job.objects.get(public_id=before).state == "queued", "it was no need to change it"
    tenant.api.post(f"/jobs/{before}/stop")
    started(tenant, **merged(spec, patch))


def test_another_type_that_is_free(tenant: Tenant) -> None:
    a_node(chips=2)
    a_node(chips=2, type=A100)
    asks = {"resources": {"accelerators": "H100:2"}}
    started(tenant, **asks)
    patch = {"resources": {"accelerators": f"{A100}:2"}}
    assert_true(tenant, a_spec(**asks), patch, f"On {A100} it would start at once.")


def test_a_type_that_the_team_may_not_use_is_not_told(tenant: Tenant) -> None:
    a_node(chips=2)
    a_node(chips=2, type=A100)
    asks = {"resources": {"accelerators": "H100:2"}}
    started(tenant, **asks)
    cell, _ = a_cell()
    Quota.objects.create(team=tenant.team, cell=cell, chip_type=A100, guaranteed_milli=0, limit_milli=0)
    assert not [one for one in dry_run(tenant, a_spec(**asks))["alternatives"] if A100 in one["sentence"]]


def test_a_type_that_costs_less(tenant: Tenant) -> None:
    a_node(chips=2)
    a_node(chips=2, type=A100)
    spec = a_spec(resources={"accelerators": "H100:2"})
    assert dry_run(tenant, spec)["alternatives"] == [], "it starts at once, and nothing has a price"
    for kind, micro in ((H100, 6_000_000), (A100, 2_000_000)):
        Price.objects.create(chip_type=kind, from_day=clock.now().date(), micro_per_chip_hour=micro)
    [cheaper] = dry_run(tenant, spec)["alternatives"]
    assert (
        cheaper["sentence"] == f"On {A100} it would start at once, for 4.00 EUR an hour instead of 12.00 EUR."
    )
    assert cheaper["costs"] == [
        {"chip_type": A100, "milli": 2000, "micro_per_chip_hour": 2_000_000, "micro": None}
    ]
    assert dry_run(tenant, a_spec(resources={"accelerators": "A100:2"}))["alternatives"] == []


def test_fewer_replicas_of_an_elastic_gang(tenant: Tenant) -> None:
    a_node(chips=4)
    started(tenant, resources={"accelerators": "H100:1"})
    spec = a_spec(resources={"accelerators": "H100:1"}, nodes={"min": 4, "max": 4 + 2}, spread=False)
    a_node(chips=2, type="H100-80GB")
    patch = {"nodes": {"min": 2, "max": 6}}
    started(tenant, resources={"accelerators": "H100:2"})
    assert_true(tenant, spec, patch, "With 2 to 6 replicas it would start at once, and grow later.")


def test_the_part_of_a_chip_that_its_memory_needs(tenant: Tenant) -> None:
    a_node(chips=1)
    started(tenant, resources={"accelerators": "H100", "fraction": 0.5})
    spec = a_spec(resources={"accelerators": "H100", "fraction": 0.75, "chip_memory": "20GiB"})
    sentence = "With `fraction: 0.3`, which holds its 20480 MiB, it would start at once."
    assert_true(tenant, spec, {"resources": {"fraction": 0.3}}, sentence)


def test_preemptible_beyond_the_guarantee(tenant: Tenant) -> None:
    a_node(chips=4)
    cell, _ = a_cell()
    Quota.objects.create(team=tenant.team, cell=cell, chip_type=H100, guaranteed_milli=2000, limit_milli=4000)
    started(tenant, resources={"accelerators": "H100:2"})
    spec = a_spec(resources={"accelerators": "H100:2"}, checkpoint={"path": "saved"})
    sentence = "If it were preemptible it would start at once; it may be taken back."
    assert_true(tenant, spec, {"preemptible": True}, sentence)


def test_a_shorter_bound_goes_before_what_is_reserved(tenant: Tenant) -> None:
    a_node(chips=4)
    started(tenant, resources={"accelerators": "H100:2"}, max_duration="3h")
    submitted(tenant, name="large", resources={"accelerators": "H100:4"}, max_duration="1h")
    spec = a_spec(resources={"accelerators": "H100:2"}, max_duration="20h")
    sentence = "With `max_duration: 120m` (2 h) it would start at once."
    assert_true(tenant, spec, {"max_duration": "120m"}, sentence)


def test_what_never_fits_is_told_what_would(tenant: Tenant) -> None:
    a_node(chips=2)
    a_node(chips=8, type=A100)
    answer = dry_run(tenant, a_spec(resources={"accelerators": "H100:8"}))
    assert (answer["fits"], answer["outlook"]) == (False, None)
    assert [one["patch"] for one in answer["alternatives"]] == [{"resources": {"accelerators": f"{A100}:8"}}]


def test_nothing_is_tried_for_what_is_held_and_at_most_so_long(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_node(chips=2)
    a_node(chips=2, type=A100)
    asks = {"resources": {"accelerators": "H100:2"}}
    started(tenant, **asks)
    assert dry_run(tenant, a_spec(**asks, hold=True))["alternatives"] == []
    assert dry_run(tenant, a_spec(**asks))["alternatives"] != []
    monkeypatch.setattr(alternatives, "MOST_TRIED", 0)
    assert dry_run(tenant, a_spec(**asks))["alternatives"] == []


def test_a_patch_is_merged_as_the_standard_has_it() -> None:
    spec = {"a": {"b": 1, "c": 2}, "d": [1], "e": "x"}
    assert merged(spec, {"a": {"b": None, "f": {"g": None, "h": 1}}, "d": [2], "e": {"i": 1}}) == {
        "a": {"c": 2, "f": {"h": 1}}, "d": [2], "e": {"i": 1},
    }  # fmt: skip
    assert spec == {"a": {"b": 1, "c": 2}, "d": [1], "e": "x"}
