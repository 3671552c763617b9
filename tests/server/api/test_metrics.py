"""Prometheus' metrics, and the dashboard that reads them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

import flexai.realtime.hub  # noqa: F401 - its own metrics are in every web process
from flexai.api.metrics import Exposition
from flexai.api.views import metrics as view
from flexai.cluster.telemetry import keep_frames
from flexai.common import clock
from flexai.scheduling.models import Cycle
from node_agent import protocol
from tests.support.placed import PlacedWorld
from tests.support.tenants import a_tenant

pytestmark = pytest.mark.django_db
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "flexai.json"


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch):
    monkeypatch.setattr(view, "EXPOSITION", Exposition())


def scraped(token: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels."""
    answer = Client().get("/metrics", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert answer.status_code == 200, answer.content
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def a_world():
    """A node with a busy, a hot idle and a drained chip; a running and a waiting job; a cycle."""
    world = PlacedWorld()
    node = world.a_node(chips=3)
    world.placed(node, milli=500)
    waits = world.placed(node, number=1)
    waits.delete()
    waits.job.state = waits.job.status = "queued"
    waits.job.submitted_at = clock.now() - timedelta(minutes=5)
    waits.job.save()
    node.chips.filter(index=2).update(healthy=False, health=0, drained_at=clock.now())
    frame = protocol.Telemetry(
        1,
        250,
        1024,
        [protocol.ChipSample(0, 870, 4096, 61, 300_000, 0, 900, 400), protocol.ChipSample(1, 0, 0)],
    )
    keep_frames({node.pk: protocol.pack_telemetry(frame)}, at_ms=clock.to_ms(clock.now()))
    Cycle.objects.create(cell=world.cell, started_at=clock.now(), decide_ms=40, waiting=7, error="boom")
    return world, node


def test_the_cluster_is_told_as_it_is():
    world, node = a_world()
    found = scraped(a_tenant("platform", operator=True).token)
    chip = (("chip", "0"), ("node", node.name), ("type", "H100"))
    assert found["flexai_chip_use_ratio"][chip] == 0.87
    assert found["flexai_chip_memory_used_bytes"][chip] == 4096 << 20
    assert found["flexai_chip_power_watts"][chip] == 300
    assert found["flexai_chip_allocated_ratio"][chip] == 0.5
    states = {labels[0][1]: value for labels, value in found["flexai_chips"].items()}
    assert states == {"busy": 1, "idle": 1, "drained": 1}
    cell = world.cell.name
    jobs = {dict(labels)["status"]: value for labels, value in found["flexai_jobs"].items()}
    assert jobs == {"queued": 1, "starting": 1}
    assert 299 < found["flexai_oldest_waiting_job_seconds"][(("cell", cell),)] < 400
    assert found["flexai_scheduler_cycle_seconds"][(("cell", cell), ("part", "decide"))] == 0.04
    assert found["flexai_scheduler_failed"][(("cell", cell),)] == 1
    assert found["flexai_node_up"][(("node", node.name), ("state", "ready"))] == 1
    assert found["flexai_node_cpu_use_ratio"][(("node", node.name),)] == 0.25
    assert len(found["flexai_chip_temperature_celsius"]) == 1, "0 means that a chip does not tell"


def test_only_operators_read_it():
    assert Client().get("/metrics").status_code == 401
    answer = Client().get("/metrics", HTTP_AUTHORIZATION=f"Bearer {a_tenant('acme').token}")
    assert answer.status_code == 403
    assert b"flexai_" not in answer.content


def test_many_scrapes_are_one_reading(monkeypatch):
    exposition = Exposition()
    first = exposition.text()
    PlacedWorld().a_node()
    assert exposition.text() is first
    monkeypatch.setattr("flexai.api.metrics.KEPT_SECONDS", 0)
    assert exposition.text() is not first


def test_the_dashboard_names_only_metrics_and_labels_that_exist():
    a_world()
    found = scraped(a_tenant("platform", operator=True).token)
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    named = {name for text in expressions for name in re.findall(r"flexai_[a-z_]+", text)}
    assert named <= found.keys(), named - found.keys()
    told = {name for name in found if name.startswith("flexai_") and not name.endswith("_created")}
    assert told - named == set(), "what is told is shown"
    for text in expressions:
        for name, matchers in re.findall(r"(flexai_[a-z_]+)\{([^}]*)\}", text):
            labels = {label for sample in found[name] for label, _ in sample}
            assert set(re.findall(r"(\w+)=~?\"", matchers)) <= labels


def test_the_dashboard_is_laid_out():
    dashboard = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
