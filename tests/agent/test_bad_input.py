"""Hostile or unlucky input: each has a clear error or a stated limit, disturbs nothing else and loses nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node_agent.link import MAX_SERVER_FRAME
from node_agent.protocol import Refused, Welcome
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer

Node = tuple[FakeServer, Agent]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_line_of_a_hundred_megabytes_keeps_memory_and_log_bounded(node: Node) -> None:
    server, agent = node
    limit = 2 << 20
    await server.want(
        a_replica("line", "head -c 104857600 /dev/zero | tr '\\0' 'x'; echo; echo end", log_limit=limit),
        a_replica("other", "echo fine"),
    )
    end = await server.ended("line")
    log = server.log("line")
    assert end.outcome == "succeeded"
    assert end.log_size == len(log) <= limit
    assert log.startswith(b"x" * (1 << 20))
    dropped = 104857600 + len("\nend\n") - (limit - 256)
    assert log.endswith(
        f"[flexai] {dropped} bytes of log were dropped: the limit is {limit} bytes.\n".encode()
    )
    assert server.log("other") == b"fine\n"
    assert agent.process is not None
    assert _peak_mib(agent.process.pid) < 150


async def test_binary_output_arrives_byte_for_byte(node: Node) -> None:
    server, _agent = node
    blob = bytes(range(256)) * 1000
    await server.want(a_replica("binary", "head -c 256000 blob.txt | xxd -r -p || cat blob.txt",
                                files={"blob.txt": blob.hex()}))  # fmt: skip
    await server.want(
        a_replica("bytes", "python -c 'import sys; sys.stdout.buffer.write(bytes(range(256))*1000)'")
    )
    await server.ended("bytes")
    assert server.log("bytes") == blob


async def test_a_flood_neither_stops_others_nor_grows_beyond_its_limit(node: Node) -> None:
    server, agent = node
    limit = 1 << 20
    await server.want(a_replica("flood", "yes", log_limit=limit, max_duration_ms=2500, grace_ms=200))
    await server.until(lambda: len(server.log("flood")) > limit // 2, what="a flood")
    began = time.monotonic()
    await server.want(a_replica("calm", "echo calm"))
    assert (await server.ended("calm")).outcome == "succeeded"
    assert time.monotonic() - began < 2
    end = await server.ended("flood")
    assert end.outcome == "timed_out"
    assert len(server.log("flood")) <= limit
    assert b"bytes of log were dropped" in server.log("flood")[-200:]
    assert agent.process is not None
    assert _peak_mib(agent.process.pid) < 150


async def test_a_job_may_delete_its_own_directory(node: Node) -> None:
    server, _agent = node
    await server.want(
        a_replica("tidy", 'rm -rf "$HOME" 2>/dev/null || rm -rf "$HOME"/* ; echo gone', job="tidy")
    )
    assert (await server.ended("tidy")).outcome == "succeeded"
    assert server.log("tidy") == b"gone\n"
    await server.want(a_replica("again", "echo here > f; cat f", job="tidy", number=2))
    assert (await server.ended("again")).outcome == "succeeded"


NONSENSE: list[str | bytes] = [
    "not json",
    "[]",
    '{"t":"nonsense"}',
    '{"t":"wanted","version":"x"}',
    '{"t":"wanted","version":9999999,"replicas":[{"attempt":1}]}',
    '{"t":"ack"}',
    b"\x00\xff\x00",
    "[" * 100_000,
]


async def test_frames_that_make_no_sense_are_skipped_and_said(node: Node) -> None:
    server, agent = node
    for number, frame in enumerate(NONSENSE):
        said = agent.log().count("makes no sense")
        await server.send_raw(frame)
        await server.want(a_replica(f"fine-{number}", "true"))
        assert (await server.ended(f"fine-{number}")).outcome == "succeeded"
        assert agent.log().count("makes no sense") == said + 1, frame
    assert len(server.node.hellos) == 1, "the connection went on"


async def test_a_renewal_from_the_future_extends_no_lease(node: Node) -> None:
    server, agent = node
    lease = (agent.data_dir / "lease").read_bytes()
    server.renews = False
    await asyncio.sleep(0.1)
    lease = (agent.data_dir / "lease").read_bytes()
    await server.send_raw('{"t":"renewed","sent":9000000000000000}')
    await server.send_raw('{"t":"renewed","sent":-5}')
    await server.until(lambda: agent.log().count("not in the past") == 2, what="two refusals")
    assert (agent.data_dir / "lease").read_bytes() == lease


async def test_an_oversized_frame_costs_the_connection_and_nothing_else(node: Node) -> None:
    server, agent = node
    patient = Welcome(node="node-1", name="node-a", server_time=0, heartbeat_seconds=60)
    await server.send(server.node, patient)  # such a frame takes seconds on a machine with much to do
    await server.want(a_replica("steady", "sleep 1; echo done"))
    await server.reached("steady", "running")
    await server.send_raw("x" * (MAX_SERVER_FRAME + 1))
    await server.until(lambda: len(server.node.hellos) == 2, what="a new connection")
    assert (await server.ended("steady")).outcome == "succeeded"
    assert server.log("steady") == b"done\n"
    assert "1009" in agent.log()


async def test_a_refusal_is_logged_and_the_agent_comes_back(node: Node) -> None:
    server, agent = node
    await server.send(server.node, Refused(code="away", message="the database is away; try again"))
    await server.until(lambda: len(server.node.hellos) == 2, what="a new connection")
    assert "the database is away; try again" in agent.log()


async def test_a_credential_that_is_refused_is_said_and_running_jobs_go_on(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    first = make_agent()
    first.start()
    await server.connected()
    await server.want(a_replica("on", "sleep 1.5; echo done", lease_ms=None))
    await server.reached("on", "running")
    first.kill()
    server.accepts_credentials = False
    second = make_agent(token=None)
    second.start()
    await server.until(lambda: "refuses this node" in second.log(), what="a clear line")
    await asyncio.sleep(1.5)
    assert second.log().count("refuses this node") == 1, "a slow retry"
    assert second.process is not None
    assert second.process.poll() is None
    second.kill()
    server.accepts_credentials = True
    second.start()
    assert (await server.ended("on")).outcome == "succeeded"


async def test_a_foreign_credential_is_replaced_by_enrolling_again(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent()
    agent.data_dir.mkdir()
    stale = {"server": server.url, "name": "node-a", "node_id": "node-x", "credential": "of-another-platform"}
    (agent.data_dir / "credential.json").write_bytes(msgspec.json.encode(stale))
    agent.start()
    await server.connected()
    assert "refuses this node" in agent.log()
    assert len(server.enrolments) == 1


async def test_a_wrong_enrolment_token_ends_the_agent_with_the_reason(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent(token="wrong")
    agent.start()
    assert agent.process is not None
    assert await asyncio.to_thread(agent.process.wait, 15) == 1
    assert "The enrolment token is not known." in agent.log()
    assert not (agent.data_dir / "credential.json").exists()


async def test_the_credential_is_kept_to_the_agents_user(node: Node) -> None:
    _server, agent = node
    mode = os.stat(agent.data_dir / "credential.json").st_mode & 0o777
    assert mode == 0o600
    assert oct(os.stat(agent.data_dir / "replicas").st_mode & 0o777) == oct(0o700)


async def test_a_data_directory_that_cannot_be_written_is_named(
    server: FakeServer, make_agent: Callable[..., Agent], folder: Path
) -> None:
    (folder / "file").write_text("")
    agent = make_agent(data="file/data")
    agent.log_path = folder / "log"
    agent.start()
    assert agent.process is not None
    assert await asyncio.to_thread(agent.process.wait, 15) == 1
    assert "cannot be used: Not a directory" in agent.log()
    assert "--data-dir" in agent.log()


# --- full disks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    path = folder / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "none", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.root(untested="what happens when the disk of the spool is full")
async def test_a_full_disk_pauses_the_log_and_loses_nothing_once_there_is_room(
    server: FakeServer, make_agent: Callable[..., Agent], small_disk: Path
) -> None:
    agent = make_agent(data="small/data")
    agent.log_path = small_disk.parent / "log"
    agent.start()
    await server.connected()
    script = "sleep 0.7; for i in $(seq 1 40); do head -c 25000 /dev/zero; done; echo end"
    await server.want(a_replica("writer", script))
    await server.reached("writer", "running")
    ballast = small_disk / "ballast"
    _fill(ballast, leave=300_000)
    await asyncio.sleep(1.7)
    assert "ended" not in server.states("writer"), "it waits, as on any full disk"
    ballast.unlink()
    end = await server.ended("writer")
    print((agent.data_dir / "shims.log").read_text())
    assert end.outcome == "succeeded"
    assert len(server.log("writer")) == 1_000_004


@pytest.mark.root(untested="how a replica that ends while the disk is full is reported")
async def test_an_end_on_a_full_disk_is_recorded_reported_and_survives_the_agent(
    server: FakeServer, make_agent: Callable[..., Agent], small_disk: Path
) -> None:
    agent = make_agent(data="small/data")
    agent.log_path = small_disk.parent / "log"
    agent.start()
    await server.connected()
    await server.want(a_replica("quiet", "sleep 0.7; exit 9"))
    await server.reached("quiet", "running")
    _fill(small_disk / "ballast", leave=0)
    agent.kill()
    await asyncio.sleep(1)
    agent.start()
    assert (await server.ended("quiet")).exit_code == 9


@pytest.mark.root(untested="how a start on a full disk is refused")
async def test_a_start_on_a_full_disk_fails_with_the_reason(
    server: FakeServer, make_agent: Callable[..., Agent], small_disk: Path
) -> None:
    agent = make_agent(data="small/data")
    agent.log_path = small_disk.parent / "log"
    agent.start()
    await server.connected()
    _fill(small_disk / "ballast", leave=0)
    await server.want(a_replica("unlucky", "true"))
    end = await server.ended("unlucky")
    assert end.outcome == "start_failed"
    assert "No space left on device" in end.sentence
    (small_disk / "ballast").unlink()
    await server.want(a_replica("lucky", "true"))
    assert (await server.ended("lucky")).outcome == "succeeded"


def _fill(path: Path, *, leave: int) -> None:
    """Take all of the file system but `leave` bytes."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
        if leave:
            file.truncate(max(0, file.tell() - leave))


def _peak_mib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) >> 10
