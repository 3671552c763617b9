"""On a live platform: elastic work grows into what nobody waits for, makes room for who comes, and loses nothing
(E1, R3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flexai.client import Client
from flexai.client.types import is_final
from tests.e2e.test_taking_back import set_policy
from tests.support.platform import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

TRAIN = """
import os, time
from pathlib import Path
from flexai.client import preempted, progress

state = Path(os.environ["FLEXAI_CHECKPOINT_DIR"], "step")
step = int(state.read_text()) if state.exists() else 0
first, size = os.environ["RANK"] == "0", os.environ["WORLD_SIZE"]
print("from", step, "on", size, flush=True)
while not preempted():
    time.sleep(0.05)
    step += 1
    if first:
        progress(step, loss=1 / step)
if first:
    progress(checkpoint="saving")
    beside = state.with_suffix(".new")
    beside.write_text(str(step))
    beside.replace(state)
    progress(checkpoint="saved")
    print("saved", step, flush=True)
"""


@pytest.fixture
def resized_at_once(platform: LivePlatform) -> Iterator[None]:
    """However young an attempt is, it may be resized; afterwards the defaults hold again."""
    set_policy(platform, {"min_runtime": 0, "resize_interval": 0})
    yield
    set_policy(platform, {})


def spec(name: str, *commands: str, **more: Any) -> dict[str, Any]:
    resources = {"accelerators": "cpu:1", "memory": "64MB"}
    return {"name": name, "team": "research", "commands": list(commands), "resources": resources, **more}


def steps(client: Client, job: str) -> int:
    """How far its last attempt says it is; 0 until it speaks."""
    return (client.jobs.get(job)["progress"] or {}).get("step") or 0


def replicas(client: Client, job: str) -> int:
    """Of the running attempt; 0 while it does not run."""
    told = client.jobs.get(job)
    return len(told["attempts"][-1]["replicas"]) if told["status"] == "running" else 0


def test_e1_elastic_work_grows_and_shrinks_and_goes_on_where_it_was(
    platform: LivePlatform, resized_at_once: None
) -> None:
    client = platform.client()
    chips = sum(len(node["chips"]) for node in client.nodes.list())
    others = [client.jobs.submit(spec("other", "sleep 600"))["id"] for _ in range(chips - 1)]
    wait_for(lambda: all(replicas(client, job) for job in others), "the other jobs to run", 60)
    elastic = spec(
        "elastic", "exec python train.py", files={"train.py": TRAIN}, nodes={"min": 1, "max": 2}, spread=False,
        preemptible=True, checkpoint={"path": "state", "signal": "USR2", "grace_period": "20s"},
    )  # fmt: skip
    job = client.jobs.submit(elastic)["id"]
    wait_for(lambda: steps(client, job), "its first words", 60)
    assert replicas(client, job) == 1

    client.jobs.stop(others.pop())
    wait_for(lambda: replicas(client, job) == 2 and steps(client, job), "it to grow", 60)
    others.append(client.jobs.submit(spec("newcomer", "sleep 600"))["id"])
    wait_for(lambda: replicas(client, job) == 1 and replicas(client, others[-1]), "it to make room", 60)
    wait_for(lambda: steps(client, job), "it to go on", 60)

    told = client.jobs.get(job)
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["resized", "resized", ""]
    assert (told["chips"]["replicas"], told["chips"]["max_replicas"]) == (1, 2)
    stops = [event for event in client.jobs.events(job) if event["kind"] == "attempt.stopping"]
    assert [event["sentence"] for event in stops] == [
        "It goes on with 2 replicas instead of 1: chips are free that nobody waits for.",
        "It goes on with 1 replica instead of 2: it makes room for newcomer.",
    ]
    logs = ["".join(client.jobs.logs(job, attempt=number)) for number in (1, 2, 3)]
    begun = [(int(step), int(size)) for step, size in re.findall(r"from (\d+) on (\d+)", "".join(logs))]
    saved = [int(step) for step in re.findall(r"saved (\d+)", "".join(logs))]
    assert [size for _, size in begun] == [1, 2, 1]
    assert [step for step, _ in begun] == [0, *saved], "every attempt goes on where the one before was"
    assert told["attempts"][0]["progress"]["saved_step"] == saved[0]
    for one in (job, *others):
        client.jobs.stop(one)
    wait_for(
        lambda: all(is_final(client.jobs.get(one)["status"]) for one in (job, *others)), "all to stop", 60
    )
