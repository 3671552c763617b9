"""Nothing is lost and nothing runs twice: agents killed, servers away, leases over, supervisors gone, shims killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent import spool
from node_agent.clocks import boottime_ms
from node_agent.protocol import Wanted
from tests.agent.support.agents import Agent, a_replica, processes_with
from tests.agent.support.server import FakeServer

COUNT = 30
Node = tuple[FakeServer, Agent]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_killing_the_agent_in_the_middle_loses_nothing_and_runs_nothing_twice(
    node: Node, folder: Path
) -> None:
    server, agent = node
    marks = folder / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    replicas = [
        a_replica(
            f"r{n}", f"echo start-{n}", f"echo x >> {marks}/{n}", "sleep 0.3", f"echo end-{n}", job=f"r{n}"
        )
        for n in range(COUNT)
    ]
    await server.want(*replicas)
    await server.until(lambda: len(server.node.moves) >= COUNT // 3, what="some running")
    agent.kill()
    await asyncio.sleep(0.5)  # shims end their replicas meanwhile
    agent.start()
    for n in range(COUNT):
        end = await server.ended(f"r{n}")
        assert (end.outcome, end.exit_code) == ("succeeded", 0)
        assert server.log(f"r{n}") == f"start-{n}\nend-{n}\n".encode()
        assert (marks / str(n)).read_text() == "x\n", "run twice"
    await server.until(lambda: not agent.spooled(), what="an empty spool")


async def test_repeated_kills_at_random_moments(node: Node, folder: Path) -> None:
    server, agent = node
    marks = folder / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    await server.want(
        *(a_replica(f"k{n}", f"echo x >> {marks}/{n}; echo {n}", job=f"k{n}") for n in range(60))
    )
    for delay in (0.02, 0.3, 0.35, 0.4):
        await asyncio.sleep(delay)
        agent.kill()
        agent.start()
    for n in range(60):
        assert (await server.ended(f"k{n}")).outcome == "succeeded"
        assert server.log(f"k{n}") == f"{n}\n".encode()
        assert (marks / str(n)).read_text() == "x\n", "run twice"


async def test_a_live_replica_is_found_again_and_can_be_stopped(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("lives", "echo up; sleep 71"))
    await server.until(lambda: server.log("lives") == b"up\n", what="up")
    assert agent.terminate() == 0
    assert processes_with("sleep\x0071")
    agent.start()
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello")
    assert server.node.hellos[1].live == [("lives", 0)]
    assert server.node.hellos[1].boot_id == server.node.hellos[0].boot_id
    await server.want(a_replica("lives", "sleep 71", desired="stop"))
    assert (await server.ended("lives")).outcome == "cancelled"
    assert not processes_with("sleep\x0071")


async def test_an_ended_replica_is_reported_after_a_restart_and_left_out_of_the_live(node: Node) -> None:
    server, agent = node
    server.acknowledges = False
    await server.want(a_replica("over", "echo done"))
    await server.ended("over")
    agent.kill()
    agent.start()
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello")
    assert server.node.hellos[1].live == []
    server.acknowledges = True
    ends = [r for r in server.node.reports if r.state == "ended"]
    await server.until(
        lambda: [r for r in server.node.reports if r.state == "ended"][len(ends) :], what="it again"
    )
    assert server.log("over") == b"done\n"


async def test_what_has_ended_is_not_started_again_however_often_it_is_wanted(
    node: Node, folder: Path
) -> None:
    server, agent = node
    mark = folder / "mark"
    mark.touch()
    mark.chmod(0o666)
    server.drops_when_ended = False
    await server.want(a_replica("once", f"echo x >> {mark}"))
    await server.ended("once")
    for _ in range(3):
        await server.send_wanted(server.node)
    agent.kill()
    agent.start()
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello")
    await server.want(a_replica("other", "true"))
    await server.ended("other")
    assert mark.read_text() == "x\n"
    assert agent.spooled() == ["once.0.1", "other.0.1"], "remembered while it is wanted"
    await server.unwant("once", "other")
    await server.until(lambda: not agent.spooled(), what="forgotten when it is not")


async def test_jobs_go_on_while_the_server_is_away_and_all_is_told_afterwards(node: Node) -> None:
    server, _agent = node
    await server.want(a_replica("alone", "for i in 1 2 3 4 5 6; do echo line-$i; sleep 0.15; done"))
    await server.until(lambda: b"line-1" in server.log("alone"), what="the first line")
    await server.stop()
    await asyncio.sleep(1.2)
    await server.start()
    assert (await server.ended("alone")).outcome == "succeeded"
    assert server.log("alone") == b"".join(b"line-%d\n" % n for n in range(1, 7))


async def test_acknowledged_log_bytes_are_not_sent_again(node: Node) -> None:
    server, _agent = node
    await server.want(a_replica("big", "head -c 1000000 /dev/zero; sleep 1.5; echo end"))
    await server.until(lambda: len(server.log("big")) == 1_000_000, what="the first part")
    await asyncio.sleep(0.3)  # its acknowledgement arrives
    await server.stop()
    await server.start()
    await server.ended("big")
    assert len(server.log("big")) == 1_000_004
    assert server.node.log_bytes_received == 1_000_004


async def test_an_older_wanted_state_is_ignored(node: Node) -> None:
    server, _agent = node
    await server.want(a_replica("keep", "sleep 72"))
    await server.reached("keep", "running")
    await server.send(server.node, Wanted(version=server.node.version - 1, replicas=[]))
    await asyncio.sleep(0.3)
    assert server.states("keep") == ["starting", "running"]
    await server.unwant("keep")
    await server.ended("keep")


async def test_without_renewal_a_replica_is_over_before_its_lease_is(node: Node) -> None:
    server, _agent = node
    await server.want(
        a_replica("leased", "echo up; sleep 73", lease_ms=3000, grace_ms=300),
        a_replica("free", "echo up; sleep 74", lease_ms=None),
    )
    await server.until(lambda: server.log("leased") + server.log("free") == b"up\nup\n", what="both up")
    server.renews = False
    await asyncio.sleep(0.2)
    await server.stop()
    last_renewal = server.node.renewed
    while processes_with("sleep\x0073"):
        assert boottime_ms() < last_renewal + 3000, "alive beyond its lease"
        await asyncio.sleep(0.02)
    assert boottime_ms() > last_renewal + 1000, "ended long before its lease was over"
    assert processes_with("sleep\x0074")
    server.renews = True
    await server.start()
    end = await server.ended("leased")
    assert end.outcome == "node_lost"
    assert "lease of 3 s" in end.sentence
    await server.unwant("free")
    await server.ended("free")


async def test_the_lease_ends_a_replica_though_the_agent_is_dead(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("orphan", "trap '' TERM; echo up; sleep 75", lease_ms=3000, grace_ms=300))
    await server.until(lambda: server.log("orphan") == b"up\n", what="up")
    agent.kill()
    last_renewal = server.node.renewed
    while processes_with("sleep\x0075"):
        assert boottime_ms() < last_renewal + 3000, "alive beyond its lease"
        await asyncio.sleep(0.02)
    agent.start()
    assert (await server.ended("orphan")).outcome == "node_lost"


async def test_renewals_keep_a_replica_alive_beyond_its_lease(node: Node) -> None:
    server, _agent = node
    await server.want(a_replica("renewed", "sleep 4", lease_ms=2500, grace_ms=300))
    assert (await server.ended("renewed")).outcome == "succeeded"


async def test_nothing_with_a_lease_starts_before_the_first_renewal(node: Node) -> None:
    server, _agent = node
    server.renews = False
    await server.stop()
    await server.start()
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello")
    await server.want(a_replica("waits", "true"))
    await asyncio.sleep(0.4)
    assert server.states("waits") == []
    server.renews = True
    assert (await server.ended("waits")).outcome == "succeeded"


async def test_the_end_of_the_supervisor_ends_agent_and_replicas(
    server: FakeServer, make_agent: Callable[..., Agent]
) -> None:
    read_end, write_end = os.pipe()
    agent = make_agent("--supervisor-fd", str(read_end))
    agent.start(pass_fds=(read_end,))
    os.close(read_end)
    await server.connected()
    await server.want(
        a_replica("up", "trap '' TERM; echo up; while :; do sleep 0.1; done # 7601", grace_ms=300)
    )
    await server.until(lambda: server.log("up") == b"up\n", what="up")
    os.close(write_end)
    assert agent.process is not None
    assert agent.process.wait(timeout=30) == 0
    await _gone("7601")
    again = make_agent()
    again.start()
    end = await server.ended("up")
    assert end.outcome == "platform_stopped"


async def test_a_shim_killed_from_outside_takes_its_replica_along(node: Node) -> None:
    server, agent = node
    await server.want(a_replica("hunted", "echo up; setsid sleep 7701 & sleep 7702"))
    await server.until(lambda: server.log("hunted") == b"up\n", what="up")
    shim = spool.read_moves(f"{agent.data_dir}/{spool.REPLICAS}/hunted.0.1")[0]["pid"]
    assert isinstance(shim, int)
    os.kill(shim, signal.SIGKILL)
    end = await server.ended("hunted")
    assert end.outcome == "node_lost"
    assert "watched over it was killed" in end.sentence
    await _gone("7701")
    await _gone("7702")


async def test_the_fork_server_is_replaced_when_it_dies(node: Node) -> None:
    server, agent = node
    assert agent.process is not None
    for pid in processes_with("node_agent.forkserver"):
        with open(f"/proc/{pid}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == agent.process.pid:
                os.kill(pid, signal.SIGKILL)
    await server.want(a_replica("after", "echo fine"))
    assert (await server.ended("after")).outcome == "succeeded"


async def test_a_shim_leads_one_life_after_the_other_and_carries_nothing_over(node: Node) -> None:
    server, _ = node
    cores = "python -c 'import os; print(sorted(os.sched_getaffinity(0)))'"
    look = f"id -u; {cores}; env | grep -c ^MARK || true; echo $PPID"
    pinned = a_replica(
        "life-1", look, chips=[(0, 1000)], env={"MARK": "1"}, organization="org-a", memory_mib=256
    )
    await server.want(pinned)
    await server.ended("life-1")
    await server.want(a_replica("life-2", look, "cat /proc/self/cgroup", organization="org-b"))
    await server.ended("life-2")
    first = server.log("life-1").decode().split("\n")
    second = server.log("life-2").decode().split("\n")
    assert first[3].strip() == second[3].strip(), "not the same shim"
    assert second[1] == str(sorted(os.sched_getaffinity(0)))
    assert (first[2], second[2]) == ("1", "0")
    assert "life-1" not in server.log("life-2").decode()
    if os.geteuid() == 0:
        assert first[0] != second[0]


async def test_a_killed_idle_shim_is_replaced(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("idle-1", "echo $PPID"))
    await server.ended("idle-1")
    os.kill(int(server.log("idle-1")), signal.SIGKILL)
    for number in range(2, 6):
        await server.want(a_replica(f"idle-{number}", "true"))
        assert (await server.ended(f"idle-{number}")).outcome == "succeeded"


async def test_a_signal_to_a_shim_that_nobody_asked_for_stops_nothing(node: Node) -> None:
    server, _ = node
    await server.want(a_replica("calm", "echo $PPID; sleep 1"))
    shim = int(await server.until(lambda: server.log("calm"), what="the shim's id"))
    os.kill(shim, signal.SIGTERM)
    end = await server.ended("calm")
    assert (end.outcome, server.states("calm")) == ("succeeded", ["starting", "running", "ended"])


async def test_without_the_agent_only_shims_with_a_live_replica_stay(node: Node) -> None:
    server, agent = node
    await server.want(*(a_replica(f"many-{number}", "sleep 0.2") for number in range(12)))
    await server.want(a_replica("stays", "echo up; sleep 78"))
    for number in range(12):
        await server.ended(f"many-{number}")
    agent.kill()
    name = f'"data_dir": "{agent.data_dir}"'
    deadline = time.monotonic() + 5
    while len(processes_with(name)) > 1:
        assert time.monotonic() < deadline, "idle shims or the fork server stay"
        await asyncio.sleep(0.02)
    assert processes_with("sleep\x0078")
    agent.start()
    await server.connected()
    await server.unwant("stays")
    await server.ended("stays")


async def test_a_second_agent_on_the_same_directory_is_refused(node: Node, folder: Path) -> None:
    server, agent = node
    second = Agent(server.url, agent.data_dir)
    second.log_path = folder / "second.log"
    second.start()
    assert second.process is not None
    began = time.monotonic()
    code = await asyncio.to_thread(second.process.wait, 20)
    assert code == 1
    assert time.monotonic() - began < 15
    assert "Another agent is running" in second.log()


async def test_replicas_of_an_earlier_boot_are_forgotten(node: Node) -> None:
    server, agent = node
    server.acknowledges = False
    await server.want(a_replica("before", "true"))
    await server.ended("before")
    agent.kill()
    path = agent.data_dir / spool.REPLICAS / "before.0.1.state"
    path.write_bytes(path.read_bytes().replace(server.node.hellos[0].boot_id.encode(), b"x" * 36))
    server.node.wanted.clear()
    reports = len(server.node.reports)
    agent.start()
    await server.until(lambda: len(server.node.hellos) == 2, what="a second hello")
    assert agent.spooled() == []
    assert len(server.node.reports) == reports


async def _gone(text: str) -> None:
    deadline = time.monotonic() + 5
    while processes_with(text):
        assert time.monotonic() < deadline, f"{text} is still there"
        await asyncio.sleep(0.02)
