"""Jobs with an image: what holds for a process holds in a container, and the container keeps the rest of the node out.

With a real podman, a real runtime and a registry of their own on the loopback interface."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from node_agent import spool
from node_agent.protocol import WantedOutputs, WantedReplica
from node_agent.runtimes.process import LONGEST_SCRIPT_ARGUMENT
from tests.agent.conftest import a_folder
from tests.agent.support.agents import Agent, a_replica, processes_with
from tests.agent.support.registry import Registry, busybox_layer, file_layer, is_required
from tests.agent.support.server import FakeServer
from tests.agent.test_secrets import found_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS = 60.0
"""The runtime needs a moment, and other tests go on beside."""


class Boxes(NamedTuple):
    server: FakeServer
    agent: Agent
    registry: Registry
    digest: str

    def job(self, attempt: str, *commands: str, image: str = "", **changes: object) -> WantedReplica:
        name = image or f"{self.registry.host}/lab/tiny:1"
        return a_replica(attempt, *commands, image=name, **changes)


@pytest.fixture(scope="module")
def registry() -> Iterator[tuple[Registry, str]]:
    if shutil.which("busybox") is None:
        _not_here("busybox-static is not installed")
    made = Registry()
    layers = busybox_layer(), file_layer("etc/motd", "second\n")
    digest = made.put("lab/tiny", "1", *layers, env={"GREETING": "hello", "PATH": "/bin"})
    yield made, digest
    made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node_with_images(registry: tuple[Registry, str]) -> AsyncIterator[Boxes]:
    path = a_folder()
    fake = FakeServer()
    await fake.start()
    agent = Agent(fake.url, path / "data")
    agent.start(env=registry[0].configure(path))
    state = await fake.connected()
    inventory = state.hellos[-1].inventory
    if inventory.images:
        yield Boxes(fake, agent, *registry)
    agent.end_everything()
    await fake.stop()
    shutil.rmtree(path, ignore_errors=True)
    if not inventory.images:
        _not_here(next(note for note in inventory.notes if "image" in note))


@pytest_asyncio.fixture(loop_scope="module")
async def boxes(node_with_images: Boxes) -> AsyncIterator[Boxes]:
    """As new: nothing wanted, an empty spool."""
    server, agent, registry, _ = node_with_images
    registry.status = 0
    server.reset_behaviour()
    state = await server.connected()
    state.wanted.clear()
    await server.send_wanted(state)
    await server.until(lambda: not agent.spooled(), what="an empty spool", seconds=SECONDS)
    server.forget()
    yield node_with_images
    print(agent.story())


def _not_here(why: str) -> None:
    if is_required():
        pytest.fail(f"images are required here: {why}")
    pytest.skip(f"not tested: jobs with images ({why})")


async def test_output_and_exit_code_are_those_of_the_command(boxes: Boxes) -> None:
    server = boxes.server
    await server.want(boxes.job("three", "echo out; echo err >&2", "cat /etc/motd", "exit 3"))
    end = await server.ended("three", seconds=SECONDS)
    assert (end.outcome, end.exit_code, end.sentence) == ("exit", 3, "Exited with code 3.")
    assert server.log("three") == b"out\nerr\nsecond\n"
    assert server.states("three")[0] == "starting"
    running = await server.reached("three", "running")
    assert running.image == boxes.digest, "what really ran is told by its content"


async def test_pulling_is_told_before_it_is_taken_up(boxes: Boxes) -> None:
    server, registry = boxes.server, boxes.registry
    registry.put("lab/fresh", "1", busybox_layer(), env={})
    name = f"{registry.host}/lab/fresh:1"
    await server.want(boxes.job("fresh", "true", image=name))
    await server.ended("fresh", seconds=SECONDS)
    told = [(one.state, one.note, one.sentence) for one in server.node.reports]
    assert told[0] == ("starting", "pulling", f"Fetching image {name}.")
    assert [(state, note) for state, note, _ in told[1:]] == [
        ("starting", ""),
        ("running", ""),
        ("ended", ""),
    ]


async def test_the_environment_is_the_images_then_the_jobs(boxes: Boxes) -> None:
    server = boxes.server
    script = "echo $GREETING $MINE $PATH; pwd; echo $HOME; id -u; echo $FLEXAI_CPUS"
    await server.want(boxes.job("env", script, env={"MINE": "yes"}, chips=[(1, 1000)]))
    await server.ended("env", seconds=SECONDS)
    said = server.log("env").decode().splitlines()
    folder = f"{boxes.agent.data_dir.resolve()}/jobs/job-env"
    assert said[:3] == ["hello yes /bin", folder, folder]
    assert said[3] == str(os.stat(folder).st_uid if Path(folder).exists() else said[3])
    assert int(said[3]) >= 200_000
    assert said[4] == str(sorted(os.sched_getaffinity(0))[1])


async def test_whole_chips_pin_the_container(boxes: Boxes) -> None:
    server = boxes.server
    await server.want(boxes.job("pinned", "grep Cpus_allowed_list /proc/self/status", chips=[(0, 1000)]))
    await server.ended("pinned", seconds=SECONDS)
    assert server.log("pinned").split()[1] == str(min(os.sched_getaffinity(0))).encode()


async def test_files_go_in_and_outputs_come_out(boxes: Boxes) -> None:
    server = boxes.server
    wanted = boxes.job(
        "files", "mkdir results; cat data/in.txt > results/out.txt; echo scratch > /tmp/x; cat /tmp/x",
        files={"data/in.txt": "carried\n"}, working_dir="work",
        outputs=WantedOutputs(patterns=["results/**"], most_bytes=1 << 20, most_files=10),
    )  # fmt: skip
    await server.want(wanted)
    assert (await server.ended("files", seconds=SECONDS)).outcome == "succeeded", server.log("files")
    await server.until(
        lambda: "files" in server.desk.brought and server.desk.brought["files"].complete, what="the outputs"
    )
    assert server.desk.brought["files"].files == {"results/out.txt": b"carried\n"}
    assert server.log("files") == b"scratch\n"


async def test_a_long_script_comes_by_a_descriptor(boxes: Boxes) -> None:
    server = boxes.server
    await server.want(boxes.job("long", *["# " + "x" * 1000] * 200, "echo whole"))
    await server.ended("long", seconds=SECONDS)
    assert server.log("long") == b"whole\n"


async def test_sigterm_ends_what_does_not_care(boxes: Boxes) -> None:
    server = boxes.server
    await server.want(boxes.job("calm", "echo up; exec sleep 4161", grace_ms=300_000))
    await server.until(lambda: server.log("calm") == b"up\n", what="up", seconds=SECONDS)
    await server.want(boxes.job("calm", desired="stop", grace_ms=300_000))
    end = await server.ended("calm", seconds=SECONDS)
    assert (end.outcome, end.exit_code) == ("cancelled", 143)
    assert not processes_with("4161")


async def test_a_signal_comes_once_and_grace_is_given(boxes: Boxes) -> None:
    server = boxes.server
    told = "trap 'echo told; cat $FLEXAI_PREEMPT_FILE' USR1"
    script = f"{told}; trap '' TERM; echo up; while :; do sleep 0.1 || true; done"
    job = boxes.job("saves", script, notice_signal="SIGUSR1", grace_ms=3_000)
    await server.want(job)
    await server.until(lambda: server.log("saves") == b"up\n", what="up", seconds=SECONDS)
    await server.want(boxes.job("saves", script, desired="stop", stop_outcome="preempted", grace_ms=3_000))
    end = await server.ended("saves", seconds=SECONDS)
    assert (end.outcome, end.exit_code) == ("preempted", 137)
    said = server.log("saves").decode()
    assert said.count("told") == 1
    assert '"reason":"preempted"' in said


async def test_beyond_its_memory_it_is_told_as_that(boxes: Boxes) -> None:
    server = boxes.server
    if any("Memory limits are not enforced" in note for note in server.node.hellos[0].inventory.notes):
        pytest.skip("no memory cgroup may be made here, so not tested: memory limits in containers")
    eat = "dd if=/dev/zero of=/dev/null bs=400M count=1"
    await server.want(boxes.job("glutton", eat, memory_mib=64))
    end = await server.ended("glutton", seconds=SECONDS)
    assert (end.outcome, end.sentence) == ("oom", "Ran out of memory: its limit is 64 MiB.")


async def test_shared_memory_is_as_asked_and_never_more_than_the_memory(boxes: Boxes) -> None:
    server = boxes.server
    if any("Memory limits are not enforced" in note for note in server.node.hellos[0].inventory.notes):
        pytest.skip("no memory cgroup may be made here, so not tested: how large /dev/shm is")
    asked = {"shm-default": (0, 256), "shm-asked": (64, 256), "shm-beyond": (512, 256)}
    script = "df -k /dev/shm | tail -n 1 | awk '{print $2}'; dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null"
    await server.want(
        *[boxes.job(name, script, shm_mib=shm, memory_mib=memory) for name, (shm, memory) in asked.items()]
    )
    ends = {name: (await server.ended(name, seconds=SECONDS)).outcome for name in asked}
    assert {name: int(server.log(name)) >> 10 for name in asked} == {
        "shm-default": 256,
        "shm-asked": 64,
        "shm-beyond": 256,
    }
    assert ends == {"shm-default": "succeeded", "shm-asked": "exit", "shm-beyond": "succeeded"}


async def test_an_agent_that_starts_anew_finds_its_containers(boxes: Boxes) -> None:
    server, agent, registry, _ = boxes
    await server.want(boxes.job("lives", "echo up; sleep 4162"))
    await server.until(lambda: server.log("lives") == b"up\n", what="up", seconds=SECONDS)
    agent.kill()
    asked = len(registry.asked)
    agent.start(env=registry.configure(agent.data_dir.parent))
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello", seconds=SECONDS)
    assert server.node.hellos[1].live == [("lives", 0)]
    await server.want(boxes.job("lives", desired="stop"))
    assert (await server.ended("lives", seconds=SECONDS)).outcome == "cancelled"
    assert not processes_with("4162")
    assert len(registry.asked) == asked, "what runs needs no registry"


async def test_a_shim_killed_from_outside_takes_its_container_along(boxes: Boxes) -> None:
    server, agent = boxes.server, boxes.agent
    await server.want(boxes.job("hunted", "echo up; setsid sleep 4163 & sleep 4164"))
    await server.until(lambda: server.log("hunted") == b"up\n", what="up", seconds=SECONDS)
    shim = spool.read_moves(f"{agent.data_dir}/{spool.REPLICAS}/hunted.0.1")[0]["pid"]
    assert isinstance(shim, int)
    os.kill(shim, signal.SIGKILL)
    assert (await server.ended("hunted", seconds=SECONDS)).outcome == "node_lost"
    assert not processes_with("4163")
    assert not processes_with("4164")


async def test_nothing_is_left_of_a_container(boxes: Boxes) -> None:
    server, agent = boxes.server, boxes.agent
    await server.want(
        boxes.job("clean", "setsid sleep 4165 & setsid sh -c 'trap \"\" TERM; sleep 4166' & sleep 0.2")
    )
    await server.ended("clean", seconds=SECONDS)
    folder = agent.data_dir / "containers"
    assert sorted(os.listdir(folder)) == [".root", ".state"]
    assert not any(name.startswith("clean") for name in os.listdir(folder / ".state"))
    assert os.listdir(folder / ".root") == [], "mounts are the container's own"
    assert not processes_with("4165")
    assert not processes_with("4166")
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(path).startswith("clean.")]
    assert groups == []


async def test_a_container_reaches_neither_the_node_nor_another_organization(boxes: Boxes) -> None:
    server, agent = boxes.server, boxes.agent
    await server.want(a_replica("owner", "echo secret > mine; chmod 644 mine; chmod 755 .; sleep 4167"))
    await server.reached("owner", "running")
    data, pid = agent.data_dir.resolve(), agent.process.pid if agent.process else 0
    attacks = {
        "credential": f"cat {data}/credential.json",
        "other job": f"cat {data}/jobs/job-owner/mine",
        "folders": f"ls {data}/jobs/job-owner",
        "spool": f"ls {data}/replicas",
        "accounts": "grep agent /etc/passwd",
        "shadow": "cat /etc/shadow",
        "processes": f"test -d /proc/{pid}",
        "kill": f"kill -9 {pid}",
        "files of root": "cat /root/secret",
        "the image": "touch /etc/x",
        "set user id": "test \"$(/bin/wrong)\" = 0",
        "mount": "mount -t tmpfs none /tmp",
        "a device": "mknod x b 8 0",
        "disk": "ls /dev/sda /dev/vda /dev/kmsg",
        "kernel": "echo 1 > /proc/sys/kernel/panic",
        "sysfs": "echo x > /sys/kernel/uevent_helper",
        "groups": "mkdir /sys/fs/cgroup/x",
        "name": "hostname stolen",
        "unshare": "unshare -m true",
        "a namespace of users": "unshare -r true",
        "chroot": "chroot / true",
        "raw": "ping -c 1 127.0.0.1",
        "capabilities": "grep -q 'CapBnd:.*[1-9a-f]' /proc/self/status",
        "privileges": "grep -q 'NoNewPrivs:.*0' /proc/self/status",
        "no filter": "grep -q 'Seccomp:.*0' /proc/self/status",
    }  # fmt: skip
    script = [
        f"if ( {attack} ) >/dev/null 2>&1; then echo reached: {name}; fi" for name, attack in attacks.items()
    ]
    await server.want(boxes.job("thief", *script, "echo done", organization="org-b"))
    end = await server.ended("thief", seconds=SECONDS)
    assert server.log("thief") == b"done\n"
    assert end.outcome == "succeeded"
    assert "ended" not in server.states("owner")
    await server.unwant("owner")
    await server.ended("owner", seconds=SECONDS)


@pytest.mark.parametrize("name", ["lab/none:1", "lab/tiny:9", f"lab/tiny@sha256:{'0' * 64}"])
async def test_an_image_that_is_not_there_is_refused_for_good(boxes: Boxes, name: str) -> None:
    server = boxes.server
    image = f"{boxes.registry.host}/{name}"
    await server.want(boxes.job("none", "true", image=image))
    end = await server.ended("none", seconds=SECONDS)
    assert (end.outcome, end.exit_code) == ("no_image", None)
    assert end.sentence.startswith(f"Image {image} cannot be had: ")
    assert "unknown" in end.sentence


async def test_an_image_by_its_digest_is_asked_for_once(boxes: Boxes) -> None:
    server, registry = boxes.server, boxes.registry
    image = f"{registry.host}/lab/tiny:1@{boxes.digest}"
    await server.want(boxes.job("pinned-1", "echo one", image=image))
    await server.ended("pinned-1", seconds=SECONDS)
    registry.status = 500
    await server.want(boxes.job("pinned-2", "echo two", image=image))
    assert (await server.ended("pinned-2", seconds=SECONDS)).outcome == "succeeded"
    assert server.log("pinned-2") == b"two\n"


async def test_a_registry_that_is_away_is_asked_again_and_a_stop_ends_the_wait(boxes: Boxes) -> None:
    server, registry = boxes.server, boxes.registry
    registry.status = 500
    image = f"{registry.host}/lab/away:1"
    await server.want(boxes.job("away", "true", image=image))

    def told() -> bool:
        return any("tried again in" in one.sentence for one in server.node.reports if one.note == "pulling")

    await server.until(told, what="that it is asked again", seconds=SECONDS)
    await server.want(boxes.job("away", image=image, desired="stop"))
    end = await server.ended("away", seconds=SECONDS)
    assert (end.outcome, end.sentence) == ("cancelled", "Stopped before it started.")


async def test_an_image_without_a_shell_says_so(boxes: Boxes) -> None:
    server, registry = boxes.server, boxes.registry
    registry.put("lab/bare", "1", file_layer("etc/motd", "bare\n"), env={})
    await server.want(boxes.job("bare", "true", image=f"{registry.host}/lab/bare:1"))
    end = await server.ended("bare", seconds=SECONDS)
    assert end.outcome == "start_failed"
    assert end.sentence == (
        "The container could not be started: the image has no /bin/sh, by which commands are run"
    )


async def test_what_is_not_in_a_container_is_not_asked_of_it(boxes: Boxes) -> None:
    server = boxes.server
    await server.want(
        boxes.job("elsewhere", "true", checkpoint_dir="/mnt/shared"),
        boxes.job("written", "true", working_dir="/workspace", files={"a": "b"}),
    )
    first = await server.ended("elsewhere", seconds=SECONDS)
    second = await server.ended("written", seconds=SECONDS)
    assert (first.outcome, second.outcome) == ("start_failed", "start_failed")
    assert "'/mnt/shared' is not there in a container" in first.sentence
    assert "'/workspace', which is the image's" in second.sentence


async def test_secrets_come_by_memory_and_not_by_what_describes_the_container(boxes: Boxes) -> None:
    server, agent = boxes.server, boxes.agent
    value = 'it\'s a "horse-battery" of $HOME \\n\nand `more`\n'
    server.secrets = {"HF_TOKEN": value}
    prints = 'printf %s "$HF_TOKEN" | sha256sum; printf "%s" "$HF_TOKEN"; ls /proc/self/fd | wc -l'
    waits = "echo ready; while [ ! -e go ]; do sleep 0.05; done"
    long = "#" * LONGEST_SCRIPT_ARGUMENT
    await server.want(
        boxes.job("keeps", prints, waits, secrets=["HF_TOKEN"]),
        boxes.job("keeps-long", long, prints, waits, secrets=["HF_TOKEN"]),
    )
    for name in ("keeps", "keeps-long"):
        await server.until(
            lambda name=name: server.log(name).endswith(b"ready\n"), what="a log", seconds=SECONDS
        )  # type: ignore[misc]
    assert not found_in(b"horse-battery", agent)
    for name, open_files in {"keeps": "4", "keeps-long": "5"}.items():
        (agent.data_dir / "jobs" / f"job-{name}" / "go").touch()
        end = await server.ended(name, seconds=SECONDS)
        digest = hashlib.sha256(value.encode()).hexdigest()
        assert server.log(name).decode().splitlines() == [f"{digest}  -", "***", "***", open_files, "ready"]
        assert end.outcome == "succeeded"
