"""Agents, a server and directories for them; nothing outlives its test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.agent.support.agents import Agent
from tests.agent.support.server import FakeServer

IS_ROOT = os.geteuid() == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `root` say what was not tested when there is no root."""
    for item in items:
        marker = item.get_closest_marker("root")
        if marker is not None and not IS_ROOT:
            what = marker.kwargs.get("untested", "what only root can do")
            item.add_marker(pytest.mark.skip(reason=f"no root here, so not tested: {what}"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that job users may pass."""
    path = a_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[FakeServer]:
    """A server of this test's own."""
    fake = FakeServer()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def make_agent(server: FakeServer, folder: Path) -> Iterator[Callable[..., Agent]]:
    """Agents for this test's own server; all of them end with the test."""
    made: list[Agent] = []

    def make(*options: str, data: str = "data", **changes: str | None) -> Agent:
        agent = Agent(server.url, folder / data, *options, **changes)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        print(agent.story())  # shown when the test failed
        agent.end_everything()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[FakeServer, Agent]]:
    """One server and one agent for a whole module: starting an agent for each test would take most of the time."""
    path = a_folder()
    fake = FakeServer()
    await fake.start()
    agent = Agent(fake.url, path / "data")
    agent.start()
    await fake.connected()
    yield fake, agent
    agent.end_everything()
    await fake.stop()
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def node(shared: tuple[FakeServer, Agent]) -> AsyncIterator[tuple[FakeServer, Agent]]:
    """The module's server and agent as new: connected, everything switched on, nothing wanted, an empty spool."""
    fake, agent = shared
    fake.reset_behaviour()
    if agent.process is None or agent.process.poll() is not None:
        agent.start()
    if not fake.is_started:
        await fake.start()
    state = await fake.connected()
    state.wanted.clear()
    await fake.send_wanted(state)
    await fake.until(lambda: not agent.spooled(), what="an empty spool")
    fake.forget()
    yield fake, agent
    print(agent.story())  # shown when the test failed


def a_folder() -> Path:
    """A new directory that job users may pass."""
    path = Path(tempfile.mkdtemp(prefix="flexai-agent-"))
    path.chmod(0o755)
    return path
