"""Node and job: users, directories, limits. What only root can do is tested with root and skipped aloud elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node_agent import cgroups
from node_agent.users import FIRST_UID
from tests.agent.support.agents import Agent, a_replica, processes_with
from tests.agent.support.server import FakeServer

Node = tuple[FakeServer, Agent]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.root(untested="jobs under a user per organization")
async def test_each_organization_has_an_unprivileged_user_of_its_own(node: Node) -> None:
    server, agent = node
    look = "id -u; id -g; id -G; grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status; stat -c '%u %a' ."
    await server.want(a_replica("a", look, organization="org-a"), a_replica("b", look, organization="org-b"))
    seen = {}
    for attempt in "ab":
        await server.ended(attempt)
        uid, gid, groups, *status, place = server.log(attempt).decode().splitlines()
        assert int(uid) >= FIRST_UID
        assert uid == gid == groups
        assert [line.split()[1] for line in status] == ["0" * 16, "0" * 16, "1"]
        assert place == f"{uid} 700"
        seen[attempt] = uid
    assert seen["a"] != seen["b"]
    assert json.loads((agent.data_dir / "users.json").read_text()) == {
        "org-a": int(seen["a"]),
        "org-b": int(seen["b"]),
    }


@pytest.mark.root(untested="that a job reaches neither the agent's secrets nor another organization's files")
async def test_a_job_reaches_neither_the_agent_nor_another_organization(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("owner", "echo secret > mine; sleep 31", organization="org-a"))
    await server.reached("owner", "running")
    data = agent.data_dir
    attacks = {
        "credential": f"cat {data}/credential.json",
        "files": f"cat {data}/jobs/job-owner/mine",
        "spool": f"ls {data}/replicas",
        "jobs": f"ls {data}/jobs",
        "hints": f"echo x > {data}/hints",
        "lease": f"echo x > {data}/lease",
        "shim": "kill -9 $PPID",
        "agent": f"kill -9 {agent.process.pid if agent.process else 0}",
        "root": "python -c 'import os; os.setuid(0)'",
        "environment": "cat /proc/$PPID/environ",
    }
    script = [
        f"if ( {attack} ) >/dev/null 2>&1; then echo reached: {name}; fi" for name, attack in attacks.items()
    ]
    script.append("echo done")
    await server.want(a_replica("thief", *script, organization="org-b"))
    end = await server.ended("thief")
    assert server.log("thief") == b"done\n"
    assert end.outcome == "succeeded"
    assert "ended" not in server.states("owner")
    await server.unwant("owner")
    await server.ended("owner")


@pytest.mark.root(untested="that links planted by a job lead the agent nowhere")
async def test_links_planted_by_a_job_lead_the_shim_nowhere(node: Node, folder: Path) -> None:
    server, _agent = node
    target = folder / "target"
    target.mkdir()
    (target / "precious").write_text("untouched")
    plant = (
        f"rm -rf src; ln -s {target} src; ln -sf {target}/precious top.txt; "
        f"ln -s {target}/made .flexai-preempt-2-0-1"
    )
    await server.want(a_replica("plant", plant, "touch keep", job="links"))
    assert (await server.ended("plant")).outcome == "succeeded", server.log("plant")
    files = {"src/precious": "overwritten", "top.txt": "overwritten"}
    await server.want(a_replica("follow", "true", job="links", number=2, files=files))
    end = await server.ended("follow")
    assert end.outcome == "start_failed"
    assert "Permission denied" in end.sentence
    sleeper = a_replica(
        "touch", "trap 'exit 0' TERM; echo up; while :; do sleep .05; done", job="links", number=2
    )
    await server.want(sleeper)
    await server.until(lambda: server.log("touch") == b"up\n", what="up")
    await server.want(a_replica("touch", desired="stop", stop_outcome="preempted", job="links", number=2))
    await server.ended("touch")
    assert (target / "precious").read_text() == "untouched"
    assert sorted(os.listdir(target)) == ["precious"]


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A directory below one that only root may enter."""
    path = Path(tempfile.mkdtemp(prefix="flexai-closed-"))
    (path / "inside").mkdir()
    (path / "other-secret").write_text("not for jobs")
    path.chmod(0o700)
    yield path / "inside"
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.root(untested="a data directory below a directory that only root may enter")
async def test_a_closed_directory_above_the_data_directory_stays_closed_and_jobs_run(
    server: FakeServer, make_agent: Callable[..., Agent], closed_folder: Path
) -> None:
    agent = make_agent()
    agent.data_dir = closed_folder / "data"
    agent.log_path = closed_folder / "log"
    agent.start()
    await server.connected()
    await server.want(
        a_replica("in", "pwd; touch f; ls f; cat ../../../../other-secret || echo closed", "python -V")
    )
    end = await server.ended("in")
    assert end.outcome == "succeeded", server.log("in")
    assert b"closed\n" in server.log("in")
    assert oct(os.stat(closed_folder.parent).st_mode & 0o777) == oct(0o700)
    assert sorted(os.listdir(closed_folder.parent)) == ["inside", "other-secret"]


@pytest.mark.root(untested="memory limits by control groups")
async def test_a_job_beyond_its_memory_is_ended_and_said_to_be(node: Node) -> None:
    server, agent = node
    if any("Memory limits are not enforced" in note for note in server.node.hellos[0].inventory.notes):
        pytest.skip("no memory cgroup may be made here, so not tested: memory limits")
    eat = "python -c 'a=[bytearray(1<<20) for _ in range(400)]; print(len(a))'"
    await server.want(
        a_replica("glutton", eat, memory_mib=64), a_replica("modest", "echo fine", memory_mib=64)
    )
    end = await server.ended("glutton")
    assert (end.outcome, end.exit_code) == ("oom", 137)
    assert end.sentence == "Ran out of memory: its limit is 64 MiB."
    assert 50 <= end.memory_peak_mib <= 64
    assert (await server.ended("modest")).outcome == "succeeded"
    await server.until(lambda: not agent.spooled(), what="an empty spool")
    assert not _groups_of("glutton"), "its control groups are gone"


@pytest.mark.root(untested="slices enforced by CPU quota")
async def test_a_slice_gets_its_share_of_a_core_and_no_more(node: Node) -> None:
    server, _agent = node
    if "enforced" not in server.node.hellos[0].inventory.chips[0].isolation:
        pytest.skip("no CPU cgroup may be made here, so not tested: slices")
    burn = "python -c 'import time; t=time.time()\nwhile time.time()-t<2: pass\nprint(time.process_time())'"
    await server.want(a_replica("slice", burn, chips=[(0, 300)]))
    end = await server.ended("slice")
    used = float(server.log("slice"))
    assert used < 0.3 * 2 + 0.15
    assert end.cpu_time_ms < 0.3 * 2000 + 300


@pytest.mark.root(untested="that a fork bomb ends with its job")
async def test_a_fork_bomb_ends_with_its_job(node: Node) -> None:
    server, _agent = node
    bomb = "f() { sleep 8801 & setsid sleep 8802 & (f) & sleep 0.05; }; f & sleep 1.2"
    await server.want(a_replica("bomb", bomb, memory_mib=256))
    await server.ended("bomb")
    assert not processes_with("8801")
    assert not processes_with("8802")


def _groups_of(attempt: str) -> list[str]:
    groups = cgroups.detect("flexai-probe").groups
    found = []
    for parent in {os.path.dirname(path) for path in groups.values()}:
        for folder, names, _ in os.walk(parent):
            found += [f"{folder}/{name}" for name in names if name.startswith(f"{attempt}.")]
    for path in set(groups.values()):
        cgroups.remove_group(path)
    return found
