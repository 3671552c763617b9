"""Parts of an NVIDIA chip, against a stand-in of NVIDIA's control program that really runs; no chip is involved."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node_agent.drivers import mps
from node_agent.drivers.mps import ENDED, FAULT, LOST, Mps, found, shared_chips
from node_agent.protocol import ChipInfo, WantedChip
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer

PROGRAM = Path(__file__).parent / "support" / mps.PROGRAM
CHIP = ChipInfo(index=0, type="H100-80GB", memory_mib=81_559, uuid="GPU-0", driver="nvidia")
PART = ChipInfo(
    index=1, type="H100-80GB/1g.10gb", memory_mib=9_000, uuid="MIG-1", driver="nvidia", parent="GPU-7"
)


def ask(folder: Path, command: str) -> str:
    """What the daemon of the chip with this folder answers."""
    return subprocess.run(
        [PROGRAM], input=command + "\n", text=True, capture_output=True, timeout=20, check=True,
        env={"PATH": os.environ["PATH"], "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe")},
    ).stdout.strip()  # fmt: skip


class Case:
    """One agent's MPS; `another` is that of the agent that follows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mps"
        self.mps = self.another()

    def another(self) -> Mps:
        return Mps(self.folder, str(PROGRAM))

    def ask(self, command: str) -> str:
        return ask(self.folder / "0", command)

    def start_server(self) -> int:
        """As the daemon does when the first program connects."""
        self.ask(f"start_server -uid {os.getuid()}")
        return int(self.ask("get_server_list"))

    def asked(self) -> list[str]:
        return (self.folder / "0" / "pipe" / "asked").read_text().splitlines()

    def daemon(self) -> int:
        [pid] = self.mps.roots()
        return pid


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setattr(mps, "LAUNCH_SECONDS", 0.0)
    case = Case(tmp_path)
    yield case
    case.mps.quit()


def is_there(pid: int) -> bool:
    """It lives; what has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_is_told_its_share_and_where_to_connect(case):
    told = case.mps.environment(CHIP, 250, 20_000)
    assert told == {
        "CUDA_MPS_PIPE_DIRECTORY": str(case.folder / "0" / "pipe"),
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=20000M",
    }
    assert case.mps.environment(CHIP, 1, 0)["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "1"
    assert case.mps.environment(CHIP, 1000, 0) == case.mps.environment(PART, 500, 1) == {}


def test_each_whole_chip_has_a_daemon_and_an_instance_has_none(case):
    assert case.mps.look([CHIP, PART], shared=()) == {}
    assert case.ask("get_server_list") == ""
    assert not (case.folder / "1").exists()
    daemon = case.daemon()
    assert case.mps.look([CHIP], shared=()) == {}
    assert case.daemon() == daemon


def test_the_daemon_is_told_the_largest_part_for_servers_that_run_and_that_come(case):
    case.mps.look([CHIP], shared=())
    case.mps.environment(CHIP, 200, 8_000)
    case.mps.environment(CHIP, 500, 4_000)
    server = case.start_server()
    case.mps.look([CHIP], shared={0})
    assert case.asked()[-4:] == [
        "set_default_active_thread_percentage 50",
        "set_default_device_pinned_mem_limit 0 8000M",
        f"set_active_thread_percentage {server} 50",
        f"set_device_pinned_mem_limit {server} 0 8000M",
    ]
    count = len(case.asked())
    case.mps.look([CHIP], shared={0})
    assert not any(line.startswith("set_") for line in case.asked()[count:])


def test_who_gets_the_whole_chip_finds_no_server_on_it(case):
    case.mps.look([CHIP], shared=())
    server = case.start_server()
    case.mps.look([CHIP], shared={0})
    assert is_there(server)
    case.mps.look([CHIP], shared=())
    assert not is_there(server)


def test_a_launch_just_now_and_an_agent_that_knows_nothing_yet_leave_servers_alone(case, monkeypatch):
    case.mps.look([CHIP], shared=())
    server = case.start_server()
    later = case.another()
    later.look([CHIP], shared=None)
    assert is_there(server)
    monkeypatch.setattr(mps, "LAUNCH_SECONDS", 60.0)
    later.environment(CHIP, 500, 0)
    later.look([CHIP], shared=())
    assert is_there(server)


def test_after_a_fault_the_chip_takes_no_work_until_its_programs_have_gone(case):
    case.mps.look([CHIP], shared=())
    server = case.start_server()
    case.ask(f"fault {server}")
    assert case.mps.look([CHIP], shared={0}) == {0: FAULT}
    assert case.mps.look([CHIP], shared={0}) == {0: FAULT}
    assert case.mps.look([CHIP], shared=()) == {}
    assert not is_there(server)


def test_a_daemon_that_was_killed_is_started_anew_and_its_programs_count_as_lost(case):
    case.mps.look([CHIP], shared=())
    first = case.daemon()
    os.kill(first, signal.SIGKILL)
    assert case.mps.look([CHIP], shared={0}) == {0: LOST}
    assert case.daemon() != first
    assert case.mps.look([CHIP], shared={0}) == {0: LOST}
    assert case.mps.look([CHIP], shared=()) == {}


def test_a_daemon_that_hangs_is_replaced_also_by_an_agent_that_did_not_start_it(case, monkeypatch):
    case.mps.look([CHIP], shared=())
    first = case.daemon()
    monkeypatch.setattr(mps, "ANSWER_SECONDS", 1.0)
    os.kill(first, signal.SIGSTOP)
    later = case.another()
    later.look([CHIP], shared=())
    assert case.daemon() != first
    deadline = time.monotonic() + 20
    while is_there(first):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_daemon_outlives_its_agent_and_serves_the_next(case):
    case.mps.look([CHIP], shared=())
    later = case.another()
    assert later.look([CHIP], shared={0}) == {}
    assert later.roots() == {case.daemon()}
    pid = case.daemon()
    later.quit()
    deadline = time.monotonic() + 20
    while is_there(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_is_missing_or_does_not_start_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    none, [said] = found(tmp_path, [CHIP])
    assert none is None
    assert "not installed" in said
    assert found(tmp_path, [ChipInfo(index=0, type="cpu", memory_mib=1, driver="cpu")]) == (None, [])
    fails = tmp_path / mps.PROGRAM
    fails.write_text("#!/bin/sh\nexit 1\n")
    fails.chmod(0o755)
    made, said = found(tmp_path, [CHIP])
    assert made is not None
    assert said == []
    assert made.look([CHIP], shared=()) == {}
    assert "does not start" in caplog.text
    [said] = made.notes()
    assert said.startswith("The MPS control daemon of chip 0 does not start")
    long, [said] = found(tmp_path / ("x" * 90), [CHIP])
    assert long is None
    assert "too long" in said


NVML = """
from tests.agent.recorded_nvml import Nvml
_answers = Nvml()
def __getattr__(name):
    return getattr(_answers, name)
"""


@pytest.fixture
def divided(make_agent: Callable[..., Agent], folder: Path) -> Iterator[Path]:
    """The folder of the first chip's daemon, of a real agent whose chips are a stand-in's."""
    (folder / "pynvml.py").write_text(NVML)
    agent = make_agent()
    agent.start(env={"PYTHONPATH": str(folder), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"})
    yield agent.data_dir / "mps" / "0"
    agent.kill()  # else it would start those anew that have quit
    for chip in (agent.data_dir / "mps").iterdir():
        ask(chip, "quit")


@pytest.mark.asyncio(loop_scope="module")
async def test_parts_are_launched_under_it_and_a_fault_ends_those_who_share_the_chip(
    server: FakeServer, divided: Path
) -> None:
    chip = divided
    await server.until(
        lambda: any(node.send for node in server.nodes.values()), seconds=60, what="a connected node"
    )
    share = WantedChip(index=0, milli=300, memory_mib=20_000)
    says = 'echo "$CUDA_VISIBLE_DEVICES $CUDA_MPS_ACTIVE_THREAD_PERCENTAGE $CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"'
    part, beside, whole = (
        msgspec.structs.replace(a_replica(name, says, "sleep 600", grace_ms=200), chips=[held])
        for name, held in (("part", share), ("beside", share), ("whole", WantedChip(index=1, milli=1000)))
    )
    await server.want(part, beside, whole)
    await server.until(
        lambda: server.log("part") and server.log("whole"), seconds=60, what="their first words"
    )
    assert server.log("part") == b"GPU-0 30 0=20000M\n"
    assert server.log("whole") == b"GPU-1  \n"
    ask(chip, "start_server -uid 0")
    pid = ask(chip, "get_server_list")
    ask(chip, f"fault {pid}")
    first = await server.ended("part", seconds=60)
    assert (first.outcome, first.sentence) == ("platform_stopped", ENDED)
    assert (await server.ended("beside", seconds=60)).outcome == "platform_stopped"
    assert server.states("whole")[-1] == "running"
    await server.until(lambda: ask(chip, "get_server_list") == "", seconds=60, what="a chip without servers")


def test_chips_are_shared_where_somebody_holds_a_part():
    assert shared_chips([{0: 1000, 1: 1000}, {2: 300}, {}]) == {2}
