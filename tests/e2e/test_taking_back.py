"""On a live platform: work of a higher priority takes chips back from preemptible work, which then goes on (R1, R6)."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from flexai.cli.specfiles import read_specs
from flexai.client import Client
from flexai.client.types import is_final
from tests.support.platform import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples/checkpoint/pi.yaml"


@pytest.fixture
def no_quarantine_for_the_young(platform: LivePlatform) -> Any:
    """Attempts may be taken back however young they are; afterwards the defaults hold again."""
    set_policy(platform, {"min_runtime": 0})
    yield
    set_policy(platform, {})


def set_policy(platform: LivePlatform, values: dict[str, int]) -> None:
    request = urllib.request.Request(
        f"{platform.url}/api/v1/policy",
        data=json.dumps({"values": values}).encode(),
        method="PUT",
        headers={"Authorization": f"Bearer {platform.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def spec(name: str, command: str, *, chips: int, priority: int, preemptible: bool) -> dict[str, Any]:
    return {
        "name": name,
        "team": "research",
        "commands": [command],
        "priority": priority,
        "preemptible": preemptible,
        "resources": {"accelerators": f"cpu:{chips}", "memory": "32MB"},
        "retry": {"limit": 0},
    }


def darts(chips: int) -> dict[str, Any]:
    """The example of a job with a checkpoint, on all these chips and without an end of its own."""
    ((_, spec),) = read_specs(str(EXAMPLE))
    resources = {**spec["resources"], "accelerators": f"cpu:{chips}"}
    return {**spec, "team": "research", "priority": 10, "resources": resources, "env": {"ROUNDS": 1_000_000}}


def read(client: Client, job: str) -> dict[str, Any]:
    return client.jobs.get(job)


def test_r1_urgent_work_takes_chips_back_and_the_victim_goes_on(
    platform: LivePlatform, no_quarantine_for_the_young: None
) -> None:
    client = platform.client()
    chips = sum(len(node["chips"]) for node in client.nodes.list())
    low = client.jobs.submit(darts(chips))["id"]
    wait_for(lambda: (read(client, low)["progress"] or {}).get("step"), "the patient job to run", 60)
    urgent = client.jobs.submit(
        spec("urgent", "echo on time; sleep 2", chips=1, priority=90, preemptible=False)
    )["id"]
    wait_for(lambda: is_final(read(client, urgent)["status"]), "the urgent job to end", 90)
    assert read(client, urgent)["status"] == "succeeded"
    wait_for(lambda: read(client, low)["status"] == "running", "the patient job to run again", 60)
    job = read(client, low)
    assert job["attempt"] == 2
    events = client.jobs.events(low)
    taken = [event for event in events if event["reason_code"] == "preempted"]
    assert "Its chips go to urgent: it has a higher priority." in {event["sentence"] for event in taken}
    promised = [event["kind"] for event in client.jobs.events(urgent)]
    assert promised.index("job.promised") < promised.index("attempt.placed")
    first = "".join(client.jobs.logs(low, attempt=1))
    saved = re.search(r"until (round \d+, \d+ hits)", first)
    assert saved, first
    wait_for(
        lambda: "from round" in "".join(client.jobs.logs(low, attempt=2)), "it to say where it goes on", 60
    )
    assert f"from {saved[1]}" in "".join(client.jobs.logs(low, attempt=2))
    assert job["attempts"][0]["progress"]["saved_step"] == int(saved[1].split()[1].rstrip(","))
    client.jobs.stop(low)
    wait_for(lambda: is_final(read(client, low)["status"]), "the patient job to stop", 60)
