"""Chips inside containers: a real agent, podman and runtime; chips of a stand-in, device nodes that are some.

No accelerator is involved: what is seen is that nodes, files, variables and hooks of a CDI file in the shape of
NVIDIA's tool come to be inside, that nothing of another chip does, and that the kernel's device groups say the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import pytest_asyncio

from node_agent import spool
from node_agent.drivers import mps
from node_agent.protocol import WantedChip, WantedReplica
from tests.agent.conftest import IS_ROOT, a_folder
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.chips import Machine
from tests.agent.support.registry import Registry, busybox_layer, is_required
from tests.agent.support.server import FakeServer
from tests.agent.test_mps import NVML, PROGRAM, ask

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS = 60.0
LOOKS = "ls -A /dev; echo $CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES"


class Node(NamedTuple):
    server: FakeServer
    agent: Agent
    machine: Machine
    image: str

    def job(self, attempt: str, *commands: str, chips: list[WantedChip], **changes: object) -> WantedReplica:
        made = a_replica(attempt, *commands, image=self.image, **changes)
        return msgspec.structs.replace(made, chips=chips)


def _not_here(why: str) -> None:
    if is_required():
        pytest.fail(f"images are required here: {why}")
    pytest.skip(f"not tested: chips in containers ({why})")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Node]:
    if not IS_ROOT or shutil.which("busybox") is None:
        _not_here("no root, or no busybox-static")
    path, registry, fake = a_folder(), Registry(), FakeServer()
    registry.put("lab/tiny", "1", busybox_layer(), env={"PATH": "/bin", "NVIDIA_VISIBLE_DEVICES": "all"})
    machine = Machine(path)
    try:
        machine.make_nodes()
    except OSError as error:
        _not_here(f"no device nodes may be made and opened: {error.strerror}")
    machine.write(machine.nvidia(0, 1, 2))
    (path / "pynvml.py").write_text(NVML)
    await fake.start()
    agent = Agent(fake.url, path / "data", "--cdi-dir", str(machine.cdi))
    environment = {"PYTHONPATH": str(path), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    agent.start(env=registry.configure(path) | environment)
    state = await fake.connected()
    inventory = state.hellos[-1].inventory
    if inventory.images:
        yield Node(fake, agent, machine, f"{registry.host}/lab/tiny:1")
    print(agent.story())
    agent.end_everything()
    for chip in (path / "data" / "mps").glob("*"):
        ask(chip, "quit")
    await fake.stop()
    registry.close()
    shutil.rmtree(path, ignore_errors=True)
    if not inventory.images:
        _not_here(next(note for note in inventory.notes if "image" in note))


def whole(*indexes: int) -> list[WantedChip]:
    return [WantedChip(index=index, milli=1000) for index in indexes]


async def test_a_chip_is_there_with_its_files_variables_and_what_hooks_made(node: Node) -> None:
    server = node.server
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.575.64.03"
    script = [
        LOOKS, f"cat {library} /etc/ld.so.cache; echo", "exec 3<>/dev/nvidia0; echo opened",
        "stat -c '%a %t:%T' /dev/nvidia0",
        f"echo x > {library} || echo kept", "echo x > /etc/ld.so.cache || echo kept",
        "mknod /tmp/n c 10 237 || echo refused",
    ]  # fmt: skip
    await server.want(node.job("one", *script, chips=whole(0)))
    end = await server.ended("one", seconds=SECONDS)
    said = [
        line
        for line in server.log("one").decode().splitlines()
        if not line.startswith(("/bin/sh", "sh:", "mknod:"))
    ]
    assert end.outcome == "succeeded", (end.sentence, said)
    inside = set(said[: said.index("GPU-0 void")])
    assert {name for name in inside if name.startswith("nvidia")} == {"nvidia0", "nvidiactl"}
    assert said[said.index("GPU-0 void") + 1 :] == [
        "a driver's library",
        "update-ldcache --folder /usr/lib/x86_64-linux-gnu false",
        "opened",
        "660 a:e5",
        "kept",
        "kept",
        "refused",
    ]


async def test_two_jobs_on_one_node_have_each_its_own_chip(node: Node) -> None:
    server = node.server
    jobs = [node.job(f"own-{chip}", LOOKS, "exec sleep 4180", chips=whole(chip)) for chip in (0, 1)]
    await server.want(*jobs)
    await server.until(
        lambda: all(server.log(f"own-{chip}").count(b"GPU-") for chip in (0, 1)), seconds=SECONDS
    )
    for own, other in ((0, 1), (1, 0)):
        said = server.log(f"own-{own}").decode().split()
        assert f"nvidia{own}" in said
        assert f"nvidia{other}" not in said
        moves = spool.read_moves(f"{node.agent.data_dir}/{spool.REPLICAS}/own-{own}.0.1")
        group = _devices_group(moves)
        if group is None:
            pytest.skip(
                "no control groups of devices (version 1) here, so not tested: what the kernel refuses"
            )
        assert _opens(group, node.machine.dev / f"nvidia{own}") == "opened"
        assert _opens(group, node.machine.dev / f"nvidia{other}") == "Operation not permitted"
        assert _opens(group, Path("/dev/kmsg")) == "Operation not permitted"
    await server.want(*[msgspec.structs.replace(job, desired="stop") for job in jobs])
    for chip in (0, 1):
        await server.ended(f"own-{chip}", seconds=SECONDS)


async def test_a_job_with_two_chips_has_both_and_one_without_has_none(node: Node) -> None:
    server = node.server
    await server.want(node.job("both", LOOKS, chips=whole(0, 1)), node.job("none", LOOKS, chips=[]))
    for attempt, has in (("both", {"nvidia0", "nvidia1", "nvidiactl"}), ("none", set())):
        end = await server.ended(attempt, seconds=SECONDS)
        assert end.outcome == "succeeded", end.sentence
        said = server.log(attempt).decode().split()
        assert {word for word in said if word.startswith("nvidia")} == has
    assert server.log("both").endswith(b"GPU-0,GPU-1 void\n")


async def test_a_part_of_a_chip_meets_the_others_through_mps(node: Node) -> None:
    server = node.server
    pipes = node.agent.data_dir.resolve() / "mps" / "0" / "pipe"
    script = (
        f"ls {pipes}; echo $CUDA_MPS_ACTIVE_THREAD_PERCENTAGE; df /dev/shm; touch {pipes}/x || echo closed"
    )
    await server.want(node.job("part", script, chips=[WantedChip(index=0, milli=300, memory_mib=20_000)]))
    end = await server.ended("part", seconds=SECONDS)
    said = server.log("part").decode()
    assert end.outcome == "succeeded", (end.sentence, said)
    assert "control" in said
    assert f"{mps.PROGRAM}.pid" in said
    assert "\n30\n" in said
    assert said.endswith("closed\n")
    node_shm = os.statvfs("/dev/shm")
    assert str(node_shm.f_blocks * node_shm.f_frsize // 1024) in said


async def test_a_node_whose_file_has_gone_refuses_says_so_and_comes_back(node: Node) -> None:
    server, machine = node.server, node.machine
    (machine.cdi / "nvidia.yaml").unlink()
    await server.want(node.job("bare", "true", chips=whole(1)))
    end = await server.ended("bare", seconds=SECONDS)
    assert (end.outcome, end.exit_code) == ("start_failed", None)
    assert end.sentence.startswith("Chip 1 cannot be given to containers: no CDI file in ")

    def offers() -> bool:
        return bool(server.node.inventories) and server.node.inventories[-1].images

    await server.until(lambda: server.node.inventories and not offers(), what="no images", seconds=SECONDS)
    assert any(
        note.startswith("Jobs with an image do not run here: Chip 0 cannot be given")
        for note in server.node.inventories[-1].notes
    )
    machine.write(machine.nvidia(0, 1, 2))
    await server.until(offers, what="images again", seconds=SECONDS)


def _devices_group(moves: list[spool.Move]) -> str | None:
    """Where the kernel counts devices of what a shim has started."""
    shim = moves[0]["pid"]
    for name in os.listdir("/proc"):
        try:
            if (
                name.isdigit()
                and int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == shim
            ):
                for line in Path(f"/proc/{name}/cgroup").read_text().splitlines():
                    _, controllers, path = line.split(":", 2)
                    if "devices" in controllers.split(","):
                        return f"/sys/fs/cgroup/devices{path}"
        except OSError:
            continue
    return None


def _opens(group: str, path: Path) -> str:
    """What happens to a process of this group, root's and with all capabilities, that opens the device."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Path(f"{group}/cgroup.procs").write_text("0")
            os.close(os.open(path, os.O_RDWR))
            os.write(write, b"opened")
        except OSError as error:
            os.write(write, (error.strerror or "failed").encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with open(read, "rb") as told:
        return told.read().decode()
