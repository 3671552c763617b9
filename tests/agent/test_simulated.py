"""Simulated nodes: the real protocol, many nodes in one process, and fast enough to load a server."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from node_agent.drivers.simulated import power_mw
from tests.agent.conftest import a_folder
from tests.agent.support.agents import Agent, a_replica
from tests.agent.support.server import FakeServer, NodeState

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulation() -> AsyncIterator[FakeServer]:
    """A server with four simulated nodes, for all tests here."""
    folder = a_folder()
    fake = FakeServer()
    await fake.start()
    agent = Agent(fake.url, folder / "data", "--simulate", "4x2:H100-80GB")
    agent.start()
    for number in range(1, 5):
        await fake.connected(f"sim-{number:03d}")
    yield fake
    agent.end_everything()
    await fake.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(simulation: FakeServer) -> list[NodeState]:
    """The four nodes, with nothing on them."""
    for node in simulation.nodes.values():
        node.wanted.clear()
        await simulation.send_wanted(node)
    await asyncio.sleep(0.1)
    simulation.forget()
    return [simulation.nodes[f"sim-{number:03d}"] for number in range(1, 5)]


def ended(node: NodeState, attempt: str) -> bool:
    return any(move.state == "ended" for move in node.moves.get((attempt, 0), []))


async def test_each_node_has_a_name_and_a_credential_and_says_that_it_is_simulated(
    simulation: FakeServer, nodes: list[NodeState]
) -> None:
    assert sorted(simulation.credentials.values()) == ["sim-001", "sim-002", "sim-003", "sim-004"]
    for node in nodes:
        inventory = node.hellos[0].inventory
        assert inventory.simulated
        assert [chip.type for chip in inventory.chips] == ["H100-80GB"] * 2
        assert "simulated" in inventory.notes[0]


async def test_replicas_seem_to_run(simulation: FakeServer, nodes: list[NodeState]) -> None:
    env = {"FLEXAI_SIMULATE_SECONDS": "1.5", "FLEXAI_SIMULATE_USE": "640"}
    await simulation.want(a_replica("a", "rm -rf /", env=env, chips=[(1, 500)]), node=nodes[2])
    await simulation.until(
        lambda: nodes[2].telemetry and nodes[2].telemetry[-1].chips[1].use_permille == 320, what="its load"
    )
    await simulation.until(lambda: ended(nodes[2], "a"), what="its end")
    moves = nodes[2].moves["a", 0]
    assert [move.state for move in moves] == ["running", "ended"]
    assert 1400 <= moves[-1].at - moves[0].at < 2500
    assert (moves[-1].outcome, moves[-1].exit_code) == ("succeeded", 0)
    assert bytes(nodes[2].logs["a", 0]).startswith(b"simulated: ")
    assert moves[-1].log_size == len(nodes[2].logs["a", 0])
    half_of_a_chip_mw = power_mw(640) // 2
    assert moves[-1].energy_mj is not None
    assert 1400 * half_of_a_chip_mw <= 1000 * moves[-1].energy_mj <= 2500 * half_of_a_chip_mw


@pytest.mark.parametrize(
    ("env", "changes", "outcome", "exit_code"),
    [
        ({"FLEXAI_SIMULATE_SECONDS": "0", "FLEXAI_SIMULATE_EXIT": "3"}, {}, "exit", 3),
        ({"FLEXAI_SIMULATE_SECONDS": "60"}, {"max_duration_ms": 100}, "timed_out", 143),
        ({"FLEXAI_SIMULATE_SECONDS": "soon"}, {}, "start_failed", None),
        ({"FLEXAI_SIMULATE_EXIT": "-1"}, {}, "start_failed", None),
        ({"FLEXAI_SIMULATE_USE": "nan"}, {}, "start_failed", None),
    ],
)
async def test_how_a_simulated_replica_ends(
    simulation: FakeServer,
    nodes: list[NodeState],
    env: dict[str, str],
    changes: dict[str, object],
    outcome: str,
    exit_code: int | None,
) -> None:
    await simulation.want(a_replica("a", env=env, **changes), node=nodes[0])
    await simulation.until(lambda: ended(nodes[0], "a"), what="its end")
    end = nodes[0].moves["a", 0][-1]
    assert (end.outcome, end.exit_code) == (outcome, exit_code)


async def test_a_simulated_replica_runs_as_long_as_its_commands_sleep(
    simulation: FakeServer, nodes: list[NodeState]
) -> None:
    await simulation.want(a_replica("a", "sleep 0.4 && sleep 1.1; echo done"), node=nodes[0])
    await simulation.until(lambda: ended(nodes[0], "a"), what="its end")
    running, end = nodes[0].moves["a", 0]
    assert 1400 <= end.at - running.at < 2500
    assert b"for 1.5 s" in bytes(nodes[0].logs["a", 0])


async def test_a_simulated_replica_can_be_stopped_and_is_fenced(
    simulation: FakeServer, nodes: list[NodeState]
) -> None:
    env = {"FLEXAI_SIMULATE_SECONDS": "60"}
    await simulation.want(a_replica("a", env=env), a_replica("b", env=env), node=nodes[0])
    await simulation.until(lambda: len(nodes[0].moves) == 2, what="both running")
    await simulation.want(a_replica("a", desired="stop", stop_outcome="preempted"), node=nodes[0])
    await simulation.until(lambda: ended(nodes[0], "a"), what="the end of a")
    assert nodes[0].moves["a", 0][-1].outcome == "preempted"
    nodes[0].wanted.clear()
    await simulation.send_wanted(nodes[0])
    await simulation.until(lambda: ended(nodes[0], "b"), what="the end of b")


async def test_a_thousand_ends_a_second(simulation: FakeServer, nodes: list[NodeState]) -> None:
    """2,000 replicas over 4 nodes; the bound is far below what a quiet machine does, so that a busy one passes."""
    count = 500
    began = time.monotonic()
    env = {"FLEXAI_SIMULATE_SECONDS": "0"}
    for number, node in enumerate(nodes):
        await simulation.want(*(a_replica(f"n{number}-{k}", env=env) for k in range(count)), node=node)

    def all_ended() -> bool:
        return all(sum(1 for key in node.first_seen if key[2] == "ended") == count for node in nodes)

    while not all_ended():
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.02)
    assert 4 * count / (time.monotonic() - began) > 400
