"""Real agents of the tests' own beside a live platform: behind a proxy, under another clock, in a namespace."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.agent.support.agents import Agent
from tests.support.platform import LivePlatform, own_environment
from tests.support.waiting import wait_for


@contextmanager
def own_agent(
    live: LivePlatform,
    name: str,
    url: str,
    *,
    inside: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Agent]:
    """A node of this name, whose chips are this machine's cores, is connected inside the block and gone after it."""
    folder = Path(tempfile.mkdtemp(prefix="flexai-node-"))
    folder.chmod(0o755)
    agent = Agent(
        url, folder / "data", "--name", name, "--cpu-chips", token=_enrolment_token(live), inside=inside
    )
    try:
        agent.start(env={"PATH": os.environ["PATH"], **own_environment(), **(env or {})})
        wait_for(lambda: _is_there(live, name), f"{name} to connect", 60)
        yield agent
    except AssertionError:
        print(agent.story())
        raise
    finally:
        agent.end_everything()
        shutil.rmtree(folder, ignore_errors=True)


def _is_there(live: LivePlatform, name: str) -> bool:
    with live.client() as client:
        return any(node["name"] == name and node["state"] == "ready" for node in client.nodes.list())


def _enrolment_token(live: LivePlatform) -> str:
    request = urllib.request.Request(
        f"{live.url}/api/v1/enrolment-tokens",
        data=b"{}",
        method="POST",
        headers={"Authorization": f"Bearer {live.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["token"])
