"""On a live platform: a spec with an image, from the API to a container on its node and back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from flexai.client.types import is_final
from tests.agent.support.registry import busybox_layer, is_required
from tests.support.platform import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
IMAGE = "localhost/lab/tiny:1"


@pytest.fixture
def image(platform: LivePlatform) -> str:
    """On the platform's one node, as an operator puts it there by hand."""
    node = next(iter(platform.client().nodes.list()))
    why = "" if node["images"] else "the node runs no images"
    if shutil.which("busybox") is None:
        why = "busybox-static is not installed"
    if why:
        (pytest.fail if is_required() else pytest.skip)(f"not tested: jobs with images ({why})")
    _put(platform.data_dir / "agent" / "images", busybox_layer())
    return IMAGE


def _put(folder: Path, layer: bytes) -> None:
    change = ["--change", "ENV=GREETING=hello", "--change", "ENV=PATH=/bin"]
    subprocess.run(
        ["podman", "--root", str(folder / "store"), "import", *change, "-", IMAGE],
        input=layer, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


def test_a_job_with_an_image_runs_in_it_and_says_what_really_ran(platform: LivePlatform, image: str) -> None:
    client = platform.client()
    spec = {
        "name": "boxed", "team": "research", "image": image, "files": {"in.txt": "carried\n"}, "outputs": ["out.txt"],
        "commands": ["echo $GREETING from $(busybox | head -1)", "cat in.txt > out.txt", "test ! -e /usr"],
        "resources": {"memory": "64MB"},
    }  # fmt: skip
    assert client.jobs.dry_run(spec)["fits"]
    job = client.jobs.submit(spec)["id"]
    wait_for(lambda: is_final(client.jobs.get(job)["status"]), "the job to end", 120)
    ended = client.jobs.get(job)
    log = "".join(client.jobs.logs(job))
    assert ended["status"] == "succeeded", (ended["sentence"], log)
    assert log.startswith("hello from BusyBox")
    (replica,) = ended["attempts"][0]["replicas"]  # type: ignore[typeddict-item]
    assert replica["image"].startswith("sha256:")
    kinds = [event["kind"] for event in client.jobs.events(job)]
    assert kinds.index("attempt.pulling") < kinds.index("attempt.running")
    files = client.jobs.outputs(job, patience=30)["files"]
    assert [(one["path"], one["size"]) for one in files] == [("out.txt", len("carried\n"))]


def test_an_image_that_is_not_there_fails_the_job_and_is_not_tried_again(
    platform: LivePlatform, image: str
) -> None:
    client = platform.client()
    job = client.jobs.submit(
        {
            "name": "nothing",
            "team": "research",
            "image": "localhost/lab/none:1",
            "commands": ["true"],
            "retry": 3,
        }
    )["id"]
    wait_for(lambda: is_final(client.jobs.get(job)["status"]), "the job to end", 120)
    ended = client.jobs.get(job)
    assert (ended["status"], ended["outcome"], ended["attempt"]) == ("failed", "no_image", 1)
    events = " ".join(event["sentence"] for event in client.jobs.events(job))
    assert "Image localhost/lab/none:1 is not on this node" in events
