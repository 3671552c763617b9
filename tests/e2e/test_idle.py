"""On a live platform: a job that holds chips and does not use them makes room, by its own policy, for one that does
(T1, T2)."""

from __future__ import annotations

import pytest

from flexai.client.types import is_final
from tests.support.platform import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_t2_idle_chips_go_to_who_waits_and_the_job_says_why(platform: LivePlatform) -> None:
    client = platform.client()
    chips = sum(len(node["chips"]) for node in client.nodes.list())
    spec = {
        "name": "notebook", "team": "research", "commands": ["sleep 600"],
        "resources": {"accelerators": f"cpu:{chips}", "memory": "32MB"},
        "utilization_policy": {"min_utilization": "5%", "window": "30s", "action": "suspend"},
    }  # fmt: skip
    idle = client.jobs.submit(spec)["id"]
    wait_for(lambda: client.jobs.get(idle)["status"] == "running", "the idle job to run", 60)
    waits = client.jobs.submit(
        {"name": "works", "team": "research", "commands": ["echo at last"],
         "resources": {"accelerators": "cpu:1", "memory": "32MB"}}
    )["id"]  # fmt: skip
    wait_for(lambda: client.jobs.get(idle)["idle"] is not None, "the notice", 90)
    assert client.jobs.get(idle)["idle"]["action"] == "suspend"  # type: ignore[index]
    wait_for(lambda: is_final(client.jobs.get(waits)["status"]), "the waiting job to end", 120)
    assert client.jobs.get(waits)["status"] == "succeeded"

    paused = client.jobs.get(idle)
    assert paused["status"] == "queued"
    assert paused["attempts"][0]["outcome"] == "idle_suspended"  # type: ignore[typeddict-item]
    sentences = [event["sentence"] for event in client.jobs.events(idle)]
    assert any("unless that changes or somebody keeps it" in sentence for sentence in sentences)
    assert any("suspended by its own policy" in sentence for sentence in sentences)
    client.jobs.resume(idle)
    wait_for(lambda: client.jobs.get(idle)["status"] == "running", "the resumed job to run again", 60)
    client.jobs.keep(idle, seconds=3600)
    client.jobs.stop(idle)
    wait_for(lambda: is_final(client.jobs.get(idle)["status"]), "the job to stop", 60)
