"""On a live platform: an idle chip is lent to who waits, called back when its owner computes, lent again (T2, T3)."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import Any

import pytest

from flexai.client import Client
from flexai.client.types import is_final
from flexai.embedded import examples
from tests.support.platform import COMMAND, LivePlatform, new_data_dir, own_environment
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_the_demo_shows_an_idle_chip_change_hands() -> None:
    folder = new_data_dir()
    process = subprocess.Popen(
        [*COMMAND, "demo", "--data-dir", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=own_environment(),
    )  # fmt: skip
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Both have ended" in line or "broken off" in line:
                break
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
    told = "".join(lines)
    assert "Both have ended: succeeded and succeeded." in told
    assert "borrower   Placed as a guest on" in told
    assert "borrower   Halted by its node: the owner of its chips is back for" in told


def kinds(client: Client, job: str) -> list[str]:
    return [event["kind"].removeprefix("attempt.") for event in client.jobs.events(job)]


def test_t3_the_examples_share_a_chip_and_both_say_so(platform: LivePlatform) -> None:
    client = platform.client()
    chips = sum(len(node["chips"]) for node in client.nodes.list())
    notebook, borrower = (
        {**spec, "team": "research"}
        for spec in examples.load(["lending/notebook.yaml", "lending/borrower.yaml"])
    )
    rest: dict[str, Any] = {
        "name": "rest", "team": "research", "commands": ["sleep 600"], "lend": "never",
        "resources": {"accelerators": f"cpu:{chips - 1}", "memory": "32MB"},
    }  # fmt: skip
    others = [client.jobs.submit(rest)["id"]] if chips > 1 else []
    owner = client.jobs.submit(notebook)["id"]
    wait_for(lambda: client.jobs.get(owner)["status"] == "running", "the notebook to run", 60)
    guest = client.jobs.submit(borrower)["id"]
    wait_for(lambda: client.jobs.get(guest)["status"] == "running", "the borrower to be lent a chip", 60)
    lending = client.jobs.get(guest)["lending"]
    assert lending is not None
    assert lending["role"] == "guest"
    assert (client.jobs.get(owner)["lending"] or {})["role"] == "owner"
    wait_for(lambda: "paused" in kinds(client, guest), "the guest to make way", 60)
    for job, last in ((owner, "the notebook is done"), (guest, "the borrower is done")):
        wait_for(lambda job=job: is_final(client.jobs.get(job)["status"]), f"{job} to end", 180)
        assert client.jobs.get(job)["status"] == "succeeded"
        assert last in "".join(client.jobs.logs(job))
    assert kinds(client, owner).count("lent") >= 1
    assert {"offered", "offer_halted"} <= set(kinds(client, owner))
    halted = next(event for event in client.jobs.events(guest) if event["kind"] == "attempt.paused")
    assert "the owner of its chips is back for" in halted["sentence"]
    for job in others:
        client.jobs.stop(job)
        wait_for(lambda job=job: is_final(client.jobs.get(job)["status"]), "the rest to stop", 60)
