"""The operator's word on a chip: it holds for the scheduler, stands in history and audit, and ends a drain."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flexai.cluster.chips import cordon_chip, return_chip
from flexai.cluster.models import Chip, ChipHealth, NodeEvent
from flexai.common import clock
from flexai.common.errors import InvalidInput
from flexai.jobs.models import Allocation, Guest, Job, Offer
from flexai.scheduling.snapshot import take_snapshot
from flexai.tenancy.models import AuditEntry
from tests.support.tenants import Tenant, a_cell, a_node, a_spec, a_tenant, started

pytestmark = pytest.mark.django_db


@pytest.fixture
def chip(db: None) -> Chip:
    a_cell()
    return a_node(chips=2).chips.order_by("index")[0]


def takes_work(chip: Chip) -> bool:
    found = take_snapshot(chip.cell_id, clock.now()).chips
    return next(one.healthy for one in found if one.id == chip.pk)


def test_a_cordoned_chip_takes_no_new_work_until_it_is_returned(chip: Chip) -> None:
    assert takes_work(chip)
    cordon_chip("user:ops", chip, "waits for its cooler")
    assert not takes_work(chip)
    cordon_chip("user:ops", chip, "waits for its cooler")
    told = NodeEvent.objects.get(node=chip.node_id, kind="chip.cordoned")
    assert told.sentence == "Chip 0 (H100-80GB) takes no new work: waits for its cooler."
    return_chip("user:ops", chip)
    assert takes_work(chip)
    return_chip("user:ops", chip)
    entries = (
        AuditEntry.objects.filter(object_id=chip.public_id).order_by("id").values_list("action", "actor")
    )
    assert list(entries) == [("chip.cordoned", "ops"), ("chip.returned", "ops")]


def test_it_needs_a_reason(chip: Chip) -> None:
    with pytest.raises(InvalidInput, match="Say why"):
        cordon_chip("user:ops", chip, "  ")
    assert not AuditEntry.objects.exists()


def test_a_return_ends_a_drain_and_forgets_no_counter(chip: Chip) -> None:
    now = clock.now()
    Chip.objects.filter(pk=chip.pk).update(
        healthy=False, health=0, drained_at=now, health_reason="Takes no work"
    )
    ChipHealth.objects.create(
        chip=chip, score=0, rises_at=5, drained_at=clock.to_ms(now), drains=2, uncorrected=7, grave_xids=1
    )
    return_chip("user:ops", chip, "looked at")
    chip.refresh_from_db()
    assert (chip.healthy, chip.health, chip.drained_at, chip.health_reason) == (True, 100, None, "")
    health = ChipHealth.objects.get(chip=chip)
    assert (health.score, health.drained_at, health.drains, health.uncorrected) == (100, None, 2, 7)
    assert takes_work(chip)


def test_a_chip_that_does_not_answer_stays_offline(chip: Chip) -> None:
    Chip.objects.filter(pk=chip.pk).update(healthy=False, answers=False, health=0, cordoned_because="x")
    return_chip("user:ops", chip)
    assert not takes_work(chip)


def test_operators_alone_and_the_chip_says_why(chip: Chip) -> None:
    tenant, operators = a_tenant(), a_tenant(operator=True)
    path = f"/chips/{chip.public_id}/cordon"
    assert tenant.api.post(path, {"reason": "x"}).status_code == 403
    assert operators.api.post(path, {}).status_code == 400
    assert operators.api.post("/chips/chip-none/cordon", {"reason": "x"}).status_code == 404
    shown = operators.api.post(path, {"reason": "too hot"}).json()["chips"][0]
    assert (shown["state"], shown["healthy"], shown["health_note"]) == (
        "cordoned",
        False,
        "Cordoned: too hot",
    )
    back = operators.api.post(f"/chips/{chip.public_id}/return", {}).json()["chips"][0]
    assert (back["state"], back["healthy"]) == ("in_service", True)


def test_who_a_chip_is_lent_to_is_told_with_the_numbers_to_those_who_may_see_it(chip: Chip) -> None:
    tenant, stranger = a_tenant(), a_tenant()
    owner, guest = a_job(tenant, "owner"), a_job(tenant, "guest")
    node = chip.node
    lends, borrows = started(owner, node, chips=[chip]), started(guest, node, chips=[chip])
    idle = clock.now() - timedelta(minutes=9)
    Offer.objects.create(attempt=lends, cell=chip.cell, idle_since=idle, offered_at=idle, use_permille=20)
    Guest.objects.create(attempt=borrows, cell=chip.cell, lenders=[lends.pk], rule={})
    Allocation.objects.filter(attempt=borrows).update(kind="guest", milli=800)
    Chip.objects.filter(pk=chip.pk).update(used_milli=1000, guest_milli=800)
    shown = tenant.api.get("/chips").json()["items"][0]
    (told,) = shown["guests"]
    assert (shown["guest_milli"], told["name"], told["milli"], told["owner_use_permille"]) == (
        800,
        "guest",
        800,
        20,
    )
    assert told["owner_idle_since"].startswith(f"{idle:%Y-%m-%dT%H:%M}")
    assert told["halted_at"] is None
    assert stranger.api.get("/chips").json()["items"][0]["guests"] == []


def a_job(tenant: Tenant, name: str) -> Job:
    made = tenant.api.post("/jobs", a_spec(name=name)).json()
    return Job.objects.get(public_id=made["id"])
