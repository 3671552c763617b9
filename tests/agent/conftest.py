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
    path = Path(tempfile.mkdtemp(prefix="flexai-agent-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def make_agent(server: FakeServer, folder: Path) -> Iterator[Callable[..., Agent]]:
    """Agents for this test's server; all of them (by the name of their data directory) end with the test."""
    made: list[Agent] = []

    def make(*options: str, data: str = "data", **changes: str | None) -> Agent:
        agent = Agent(server.url, folder / data, *options, **changes)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.end_everything()


@pytest_asyncio.fixture
async def agent(server: FakeServer, make_agent: Callable[..., Agent]) -> Agent:
    """One connected agent."""
    started = make_agent()
    started.start()
    await server.connected()
    return started
