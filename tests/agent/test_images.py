"""What a node knows of images: names, tags that move, registries that are away, and room; with a real podman."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from node_agent import containers, podman
from node_agent.containers import Image
from node_agent.images import Failed, Images
from node_agent.podman import NoSuchImageError, Podman
from tests.agent.support.registry import Registry, file_layer, is_required

FRESH = 0.3
SECONDS = 60


class Store(NamedTuple):
    registry: Registry
    folder: Path

    def images(self, used: set[str], **more: int) -> Images:
        tool = Podman(shutil.which("podman") or "", self.folder)
        return Images(tool, self.folder, lambda: None, lambda: used, pauses=(0.1,), fresh=FRESH, **more)

    def name(self, path: str) -> str:
        return f"{self.registry.host}/{path}"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    if shutil.which("podman") is None or os.geteuid() != 0:
        why = "not tested: what a node keeps of images (no podman, or no root)"
        (pytest.fail if is_required() else pytest.skip)(why)
    registry = Registry()
    for name, value in registry.configure(tmp_path).items():
        monkeypatch.setenv(name, value)
    yield Store(registry, tmp_path)
    registry.close()


async def found(images: Images, name: str) -> Image | Failed:
    async with asyncio.timeout(SECONDS):
        while (known := images.find(name)) is None:
            await asyncio.sleep(0.02)
    return known


async def stale() -> None:
    await asyncio.sleep(FRESH + 0.1)


@pytest.mark.asyncio
async def test_a_tag_that_moves_is_followed_and_what_is_here_runs_while_its_registry_is_away(
    store: Store,
) -> None:
    images, name = store.images(set()), store.name("lab/moving:1")
    before = store.registry.put("lab/moving", "1", file_layer("a", "first"), env={"A": "1"})
    first = await found(images, name)
    assert isinstance(first, Image)
    assert (first.digest, first.env) == (before, {"A": "1"})
    after = store.registry.put("lab/moving", "1", file_layer("a", "second"), file_layer("b", "x"), env={})
    await stale()
    second = await found(images, name)
    assert isinstance(second, Image)
    assert second.digest == after != before
    assert second.layers.count(":") == 1, "two layers, topmost first"
    store.registry.status = 500
    await stale()
    assert await found(images, name) == second


@pytest.mark.asyncio
async def test_a_registry_that_stays_away_is_no_final_answer_and_an_unknown_name_is(store: Store) -> None:
    images = store.images(set())
    store.registry.put("lab/one", "1", file_layer("a", "x"), env={})
    none = await found(images, store.name("lab/none:1"))
    assert isinstance(none, Failed)
    assert none.is_final
    store.registry.status = 500
    away = await found(images, store.name("lab/one:1"))
    assert isinstance(away, Failed)
    assert not away.is_final
    assert "could not be fetched" in away.sentence
    by_hand = await found(images, "localhost/lab/none:1")
    assert isinstance(by_hand, Failed)
    assert by_hand.is_final


@pytest.mark.asyncio
async def test_images_that_nothing_uses_go_and_those_in_use_stay(store: Store) -> None:
    used: set[str] = set()
    images = store.images(used, most_kept=1)
    kept = []
    for path in ("lab/used", "lab/idle"):
        store.registry.put(path, "1", file_layer("a", path), env={})
        one = await found(images, store.name(f"{path}:1"))
        assert isinstance(one, Image)
        kept.append(one)
        used.add(one.id)
    used.remove(kept[1].id)
    await stale()
    await images.tidy()
    tool = Podman(shutil.which("podman") or "", store.folder)
    assert [one.id for one in await tool.kept()] == [kept[0].id]
    assert images.known(store.name("lab/idle:1")) is None


@pytest.mark.parametrize(
    "name",
    ["", "tiny", "/etc", "oci:/etc", "--help", "a/b c", "docker://ghcr.io/x/y", "ghcr.io/x/../y:1:2", "x/\n"],
)
def test_what_is_no_full_name_is_not_given_to_podman(name: str) -> None:
    with pytest.raises(NoSuchImageError):
        podman.reference(name)


def test_a_digest_says_all() -> None:
    digest = f"sha256:{'0' * 64}"
    assert podman.reference(f"127.0.0.1:5000/a/b:1@{digest}") == f"127.0.0.1:5000/a/b@{digest}"
    assert podman.reference("ghcr.io/a/b:1.2") == "ghcr.io/a/b:1.2"


def test_the_filter_of_system_calls_is_the_distributions_for_who_has_no_capability() -> None:
    path = next((path for path in containers.SECCOMP if os.path.exists(path)), None)
    if path is None:
        pytest.skip("not tested: the filter of system calls (its profile is not installed)")
    profile = json.loads(Path(path).read_text())
    made = containers.seccomp_for(profile)
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["architectures"]
    allowed = {
        name for rule in made["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }
    assert {"read", "execve", "futex"} <= allowed
    assert not {"mount", "bpf", "setns", "unshare", "clone3", "init_module", "chroot", "reboot"} & allowed
    clones = [rule for rule in made["syscalls"] if "clone" in rule["names"]]
    assert [rule["args"][0]["op"] for rule in clones] == ["SCMP_CMP_MASKED_EQ"], "threads and processes alone"
