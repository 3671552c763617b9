"""On a live platform with a slow chip: a gang that it holds back is told so, and moved once by its own policy (T6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.platform import running_platform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_t6_a_gang_with_a_slow_chip_is_told_moved_once_and_runs_on_at_full_speed() -> None:
    """Of five nodes one is kept out at first, so that the gang of four starts on the slow one too."""
    with running_platform("--no-agent", "--simulate", "5x1:H100-80GB,slow=2/0:60%") as live:
        client = live.client()
        wait_for(lambda: sum(node["contact"] == "ok" for node in client.nodes.list()) == 5, "all nodes", 60)
        spare = next(node["id"] for node in client.nodes.list() if node["name"] == "sim-005")
        client.nodes.cordon(spare)
        train = client.jobs.submit(
            a_job("train", nodes=4, stragglers={"action": "move", "window": "1m", "moves": 2})
        )["id"]
        wait_for(lambda: client.jobs.get(train)["status"] == "running", "the gang to run", 60)
        assert "sim-002" in client.jobs.get(train)["nodes"]

        wait_for(lambda: client.jobs.get(train)["straggler"] is not None, "the notice", 120)
        told = client.jobs.get(train)["straggler"]
        assert told is not None
        assert (told["sign"], told["pace_permille"], told["equals"]) == ("clock", 600, 3)
        assert told["sentence"].startswith(
            "Chip 0 of sim-002 runs at 60 % of the clock of the 3 others, slowed by its"
        )
        wait_for(
            lambda: (client.jobs.get(train)["straggler"] or {}).get("leaving_since"), "its time to go", 120
        )
        assert client.jobs.get(train)["attempt"] == 1, "nowhere to go yet: it goes on where it is"

        client.nodes.restore(spare)
        wait_for(lambda: client.jobs.get(train)["attempt"] == 2, "the move", 60)
        wait_for(lambda: client.jobs.get(train)["status"] == "running", "it to run again", 60)
        moved = client.jobs.get(train)
        assert len(moved["nodes"]) == 4
        assert "sim-002" not in moved["nodes"]
        assert moved["attempts"][0]["outcome"] == "moved"  # type: ignore[typeddict-item]
        history = [(event["kind"], event["sentence"]) for event in client.jobs.events(train)]
        assert sum(kind == "attempt.straggler" for kind, _ in history) == 1
        assert any("by its own policy it goes on elsewhere" in sentence for _, sentence in history)

        slow = next(
            chip for node in client.nodes.list() if node["name"] == "sim-002" for chip in node["chips"]
        )
        assert slow["health"] < 100, "placement prefers others from now on (T4)"
        client.jobs.stop(train)


def a_job(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "team": "research", "commands": ["train"], "preemptible": True,
        "resources": {"accelerators": "H100-80GB:1"}, "checkpoint": {"path": "/shared/run"},
        "env": {"FLEXAI_SIMULATE_SECONDS": "3600", "FLEXAI_SIMULATE_USE": "900"}, **more,
    }  # fmt: skip
