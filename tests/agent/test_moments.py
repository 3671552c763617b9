"""When an agent says what it says at an interval: thousands that are let in at once do not go on speaking at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent.conversation import Conversation
from node_agent.enrol import Enrolment
from node_agent.link import Link, _Session
from node_agent.outbox import Outbox, Track
from node_agent.protocol import HEARTBEAT_SECONDS, TELEMETRY_SECONDS, Inventory, Telemetry, Welcome

NODES = 200
WELCOME = Welcome(node="node_1", name="one", server_time=0)


class _Idle:
    """An executor with nothing on it."""

    def inventory(self) -> Inventory:
        return Inventory(cpu_milli=1000, memory_mib=10)

    def acknowledged(self, track: Track) -> None:
        raise AssertionError("nothing has ended")

    def tracks(self) -> list[Track]:
        return []

    def live(self) -> list[tuple[str, int]]:
        return []

    def lacking(self) -> list[tuple[str, int]]:
        return []

    def telemetry(self) -> Telemetry:
        return Telemetry(at=0, host_cpu_permille=0, host_memory_mib=0)


class _Watch:
    """Time that passes by sleeping alone, until it is over."""

    def __init__(self, over: float) -> None:
        self.now = 0.0
        self._over = over

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._over:
            raise asyncio.CancelledError


async def _said_at(task: str, folder: Path, over: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The instants at which one node that was just welcomed says something."""
    watch, said = _Watch(over), list[float]()
    executor: Any = _Idle()
    link = Link(Enrolment(server="http://x", name="n", token=None, path=folder / "c"), executor, boot_id="b")
    conversation = Conversation(executor, Outbox(lambda _: None), boot_id="b", name="n", now=0)
    conversation.take(WELCOME, 0)

    async def send(frame: object, **_: object) -> None:
        said.append(watch.now)

    session = _Session(SimpleNamespace(send=send), conversation, asyncio.Event())  # type: ignore[arg-type]
    session.welcomed.set()
    with monkeypatch.context() as patched:
        patched.setattr("node_agent.link.asyncio.sleep", watch.sleep)
        patched.setattr(Conversation, "heartbeat", lambda *_: "beat")
        with pytest.raises(asyncio.CancelledError):
            await getattr(link, task)(session)
    return said


@pytest.mark.parametrize(("task", "period"), [("_beat", HEARTBEAT_SECONDS), ("_sample", TELEMETRY_SECONDS)])
async def test_nodes_that_are_let_in_together_speak_at_moments_of_their_own(
    task: str, period: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [await _said_at(task, tmp_path, 4.5 * period, monkeypatch) for _ in range(NODES)]
    tenths = {int(10 * said[0] / period) for said in nodes}
    assert tenths == set(range(10))
    for said in nodes:
        assert said[0] <= period
        assert [b - a for a, b in pairwise(said)] == pytest.approx([period] * (len(said) - 1))
