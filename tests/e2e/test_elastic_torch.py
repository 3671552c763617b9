"""On a live platform with two agents: data-parallel training in PyTorch grows from one replica to two, on another
node, and shrinks again, and its loss is that of a run which nobody disturbed (E1)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexai.cli.specfiles import read_specs
from flexai.client import Client
from flexai.client.types import is_final
from tests.e2e.test_elastic import replicas, resized_at_once, steps
from tests.support.platform import LivePlatform, own_environment, running_platform
from tests.support.waiting import wait_for

__all__ = ["resized_at_once"]

EXAMPLE = Path(__file__).parents[2] / "examples/elastic/elastic.yaml"
SYSTEM_PYTHON = "/usr/bin/python3"
FIND_TORCH = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
TORCH = (
    Path(SYSTEM_PYTHON).exists()
    and not subprocess.run([SYSTEM_PYTHON, "-c", FIND_TORCH], check=False).returncode
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TORCH, reason=f"{SYSTEM_PYTHON} has no torch: apt-get install python3-torch"),
]


@pytest.fixture
def platform() -> Iterator[LivePlatform]:
    """Of its own: a node that was there once stays known, and other tests count the chips of all nodes."""
    with running_platform() as live:
        yield live


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that the nodes share."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-shared-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def second_node(platform: LivePlatform) -> Iterator[str]:
    """Another agent on this machine, taken away again afterwards; the name of its node."""
    client, name = platform.client(), "second"
    folder = Path(tempfile.mkdtemp(prefix="flexai-second-"))
    folder.chmod(0o755)
    token = enrolment_token(platform)
    command = [
        sys.executable, "-m", "node_agent", "--server", platform.url, "--name", name, "--enrol-token", token,
        "--data-dir", str(folder / "agent"), "--cpu-chips",
    ]  # fmt: skip
    with open(folder / "log", "w") as log:
        agent = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdout=log, stderr=log, env=own_environment()
        )
    try:
        wait_for(lambda: name in [node["name"] for node in client.nodes.list()], "the second node", 60)
        yield name
    finally:
        agent.terminate()
        agent.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def enrolment_token(platform: LivePlatform) -> str:
    request = urllib.request.Request(
        f"{platform.url}/api/v1/enrolment-tokens",
        data=b"{}",
        headers={"Authorization": f"Bearer {platform.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["token"])


def undisturbed(shared: Path, count: int) -> list[float]:
    """The losses of so many steps in one process."""
    folder = shared / "undisturbed"
    folder.mkdir()
    environment = {
        **os.environ, "STEPS": str(count), "FLEXAI_CHECKPOINT_DIR": str(folder), "GLOO_SOCKET_IFNAME": "lo",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29871",
    }  # fmt: skip
    script = EXAMPLE.with_name("train.py")
    subprocess.run([SYSTEM_PYTHON, str(script)], check=True, env=environment, capture_output=True)
    return kept_losses(folder / "training.pt")


def kept_losses(checkpoint: Path) -> list[float]:
    read = "import json, sys, torch; print(json.dumps(torch.load(sys.argv[1])['losses']))"
    found = subprocess.run(
        [SYSTEM_PYTHON, "-c", read, str(checkpoint)], check=True, capture_output=True, text=True
    )
    return [float(loss) for loss in found.stdout.strip("[]\n ").split(",")]


def test_e1_training_grows_onto_another_node_and_shrinks_and_its_loss_does_not_notice(
    platform: LivePlatform, resized_at_once: None, second_node: str, shared: Path
) -> None:
    client = platform.client()
    chips = sum(len(node["chips"]) for node in client.nodes.list())
    ((_, example),) = read_specs(str(EXAMPLE))
    del example["spread"]  # each replica on a node of its own
    training = {
        **example, "team": "research", "nodes": {"min": 1, "max": 2},
        "checkpoint": {**example["checkpoint"], "path": str(shared)},
        "env": {"GLOO_SOCKET_IFNAME": "lo", "STEPS": "100000", "PAUSE": "0.01"},
    }  # fmt: skip
    others = fill(client, chips - 1)
    job = client.jobs.submit(training)["id"]
    wait_for(lambda: steps(client, job) > 20, "the training to learn", 120)
    assert replicas(client, job) == 1
    for other in others:
        client.jobs.stop(other)
    wait_for(lambda: replicas(client, job) == 2 and steps(client, job), "it to grow", 120)
    assert len(set(client.jobs.get(job)["nodes"])) == 2
    wait_for(lambda: _moves_on(client, job, 20), "it to learn on two nodes", 120)
    others = fill(client, chips - 1)
    wait_for(lambda: replicas(client, job) == 1 and steps(client, job), "it to make room", 120)
    wait_for(lambda: _moves_on(client, job, 20), "it to learn on one node", 120)
    client.jobs.stop(job)
    for other in others:
        client.jobs.stop(other)
    wait_for(lambda: all(is_final(client.jobs.get(one)["status"]) for one in (job, *others)), "the end", 120)

    told = client.jobs.get(job)
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["resized", "resized", "cancelled"]
    logs = "".join("".join(client.jobs.logs(job, attempt=number)) for number in (1, 2, 3))
    begun = [(int(step), int(size)) for step, size in re.findall(r"from step (\d+) on (\d+) replicas", logs)]
    ended = [int(step) for step in re.findall(r"until step (\d+)", logs)]
    assert [size for _, size in begun] == [1, 2, 1]
    assert [step for step, _ in begun] == [0, *ended[:2]]
    curve = kept_losses(shared / "training.pt")
    assert len(curve) >= ended[1]
    assert curve == pytest.approx(undisturbed(shared, len(curve)), rel=1e-3)
    assert sum(curve[-10:]) < sum(curve[:10]) / 2, "it has learned something"


def _moves_on(client: Client, job: str, by: int) -> bool:
    attempt: Any = client.jobs.get(job)["attempts"][-1]
    begun = _first_steps.setdefault(attempt["number"], steps(client, job))
    return steps(client, job) >= begun + by


_first_steps: dict[int, int] = {}


def fill(client: Client, chips: int) -> list[str]:
    """So many jobs of a chip each, which wait or run."""
    spec = {
        "name": "other", "team": "research", "commands": ["sleep 900"],
        "resources": {"accelerators": "cpu:1", "memory": "32MB"},
    }  # fmt: skip
    return [client.jobs.submit(spec)["id"] for _ in range(chips)]
