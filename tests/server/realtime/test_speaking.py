"""What is said to an agent, at once or by its task, keeps its order; heartbeats, and reports, that come together are
answered so."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from flexai.realtime.connection import AgentConnection
from flexai.realtime.intake import MESSAGES_A_TURN, Committed, Intake
from flexai.realtime.renewals import Renewals
from flexai.realtime.websocket import hand_to, sayer
from node_agent import protocol

pytestmark = pytest.mark.timeout(60)


class Socket:
    """A socket that takes texts at once while it is `open`, and by `send` while it is not held up."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.open = True
        self.free = asyncio.Event()
        self.free.set()

    def say(self, text: bytes) -> bool:
        if self.open:
            self._hear(text)
        return self.open

    async def send(self, frame: dict[str, str]) -> None:
        await self.free.wait()
        if frame["type"] == "websocket.send":
            self._hear(frame["text"].encode())

    def _hear(self, text: bytes) -> None:
        said = msgspec.json.decode(text)
        self.heard.append(said.get("sent", said.get("seq", 0)))


def connected(socket: Socket, pk: int = 1) -> AgentConnection:
    return AgentConnection(socket.send, socket.say, node_pk=pk, cell_pk=1, peer="")


async def test_nothing_overtakes_what_is_still_being_sent():
    socket = Socket()
    connection = connected(socket)
    pump = asyncio.ensure_future(connection.pump())
    connection.post(protocol.Renewed(sent=1))
    assert socket.heard == [1], "while the agent reads, what is posted is said at once"
    socket.open = False
    socket.free.clear()
    connection.post(protocol.Renewed(sent=2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the task has taken it and waits for the socket
    socket.open = True
    connection.post(protocol.Renewed(sent=3))
    assert socket.heard == [1]
    socket.free.set()
    while len(socket.heard) < 3:
        await asyncio.sleep(0)
    connection.post(protocol.Renewed(sent=4))
    connection.close(1012, "over")
    connection.post(protocol.Renewed(sent=5))
    await asyncio.wait_for(pump, 20)
    assert socket.heard == [1, 2, 3, 4]


async def test_another_server_has_no_short_way_and_everything_goes_by_send():
    hand_to({}, binary=lambda _: True, text=lambda _: True, most=10)
    assert sayer({})(b"text") is False


class Commits:
    """Renewals that are committed at once."""

    def __init__(self) -> None:
        self.of: list[list[int]] = []

    async def run(self, _renew, pks, *, at):
        self.of.append(sorted(pks))
        return dict.fromkeys(pks, (True, False))


async def test_the_first_heartbeat_is_answered_at_once_and_those_after_it_together():
    commits, woken, socket = Commits(), [], Socket()
    renewals = Renewals(commits, lambda pks: woken.append(sorted(pks)))
    agents = [connected(socket, pk) for pk in range(1, 6)]
    renewals.put(agents[0], 10)
    while not socket.heard:
        await asyncio.sleep(0)
    for agent in agents:
        renewals.put(agent, 20)
    renewals.put(agents[2], 30)
    while len(socket.heard) < 6:
        await asyncio.sleep(0.01)
    assert commits.of == woken == [[1], [1, 2, 3, 4, 5]]
    assert sorted(socket.heard) == [10, 20, 20, 20, 20, 30]


class Transactions:
    """Messages that are committed at once, and how many there were of each node."""

    def __init__(self) -> None:
        self.of: list[dict[int, int]] = []

    async def run(self, _commit, batch):
        self.of.append({connection.node_pk: len(turn) for connection, turn in batch.items()})
        return Committed()


async def said(
    intake: Intake, socket: Socket, agents: list[AgentConnection], *, messages: int, first: int = 1
):
    """Each of them says so many things; until all are acknowledged."""
    for seq in range(first, first + messages):
        for agent in agents:
            intake.put(agent, protocol.Reports(seq=seq, items=[]), 10)
    acknowledged = messages + first - 1
    while socket.heard.count(acknowledged) < len(agents):
        await asyncio.sleep(0)


async def test_the_first_report_is_committed_at_once_and_those_that_follow_it_together():
    commits, socket = Transactions(), Socket()
    intake = Intake(commits, gather=0.5)
    agents = [connected(socket, pk) for pk in range(1, 4)]
    await said(intake, socket, agents[:1], messages=1)
    for agent in agents[1:]:
        intake.put(agent, protocol.Reports(seq=1, items=[]), 10)
        await asyncio.sleep(0)
    assert commits.of == [{1: 1}]
    await said(intake, socket, agents, messages=1, first=2)
    assert commits.of == [{1: 1}, {1: 1, 2: 2, 3: 2}]
    await intake.finish()


async def test_who_says_more_than_fits_into_one_transaction_waits_for_none():
    commits, socket = Transactions(), Socket()
    intake, agent = Intake(commits, gather=3600), connected(socket)
    await asyncio.wait_for(said(intake, socket, [agent], messages=5 * MESSAGES_A_TURN), 20)
    assert commits.of == [{1: MESSAGES_A_TURN}] * 5
