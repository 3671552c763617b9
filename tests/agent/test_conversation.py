"""One connection's words without a socket: what waits for what, and when the server is taken for dead."""

from __future__ import annotations

import pytest

from node_agent.conversation import ASKED_AGAIN_MS, Conversation, RefusedError, TurnedAwayError
from node_agent.outbox import Outbox, Track
from node_agent.protocol import (
    MAX_ASKED,
    Ack,
    Heartbeat,
    Hello,
    Inventory,
    InventoryChanged,
    Refused,
    Renewed,
    ReplicaReport,
    Reports,
    SecretsAsked,
    SecretsGiven,
    Telemetry,
    Wanted,
    WantedReplica,
    Welcome,
    decode_from_agent,
)
from node_agent.reconcile import Key

WALL = 1_700_000_000_000
WELCOME = Welcome(node="node_1", name="one", server_time=0)
ONE = WantedReplica(attempt="a", replica=0, desired="run", job="j", number=1, organization="o")


class Recorded:
    """An executor that notes what it is told."""

    def __init__(self) -> None:
        self.applied: list[list[str]] = []
        self.leases: list[int] = []
        self.lacks: list[Key] = []
        self.of = Inventory(cpu_milli=1000, memory_mib=10)
        self.track = Track(("a", 0, 1), self)
        self.track.add(ReplicaReport(attempt="a", replica=0, state="running"))

    def apply(self, wanted: list[WantedReplica]) -> None:
        self.applied.append([item.attempt for item in wanted])

    def lacking(self) -> list[Key]:
        return self.lacks

    def give(self, given: SecretsGiven) -> None:
        self.lacks.remove((given.attempt, given.replica, given.generation))

    def live(self) -> list[tuple[str, int]]:
        return [("a", 0)]

    def tracks(self) -> list[Track]:
        return [self.track]

    def acknowledged(self, track: Track) -> None:
        raise AssertionError("nothing has ended")

    def renewed(self, sent: int) -> None:
        self.leases.append(sent)

    def inventory(self) -> Inventory:
        return self.of

    def telemetry(self) -> Telemetry:
        return Telemetry(at=0, host_cpu_permille=0, host_memory_mib=0)

    def read_log(self, offset: int, limit: int) -> bytes:
        return b""


@pytest.fixture
def node() -> Recorded:
    return Recorded()


def spoken(node: Recorded, now: int = 1000) -> tuple[Conversation, Outbox]:
    outbox = Outbox(node.acknowledged)
    return Conversation(node, outbox, boot_id="boot", name="one", now=now), outbox


def test_it_opens_with_who_it_is_and_asks_for_a_renewal(node: Recorded) -> None:
    said, _ = spoken(node)
    hello, beat = (decode_from_agent(frame) for frame in said.opening(1000, WALL))
    assert isinstance(hello, Hello)
    assert (hello.boot_id, hello.live, hello.inventory) == ("boot", [("a", 0)], node.of)
    assert beat == Heartbeat(sent=1000, wall=WALL)


def test_a_wanted_state_waits_for_the_first_renewal(node: Recorded) -> None:
    said, _ = spoken(node)
    said.take(WELCOME, 1001)
    said.take(Wanted(version=1, replicas=[ONE]), 1002)
    assert node.applied == []
    said.take(Renewed(sent=1000), 1003)
    assert (node.applied, node.leases) == ([["a"]], [1000])
    said.take(Wanted(version=3), 1004)
    said.take(Wanted(version=2, replicas=[ONE]), 1005)
    assert node.applied == [["a"], []], "an older version changes nothing"


def test_a_renewal_from_the_future_renews_nothing(node: Recorded) -> None:
    said, _ = spoken(node)
    said.take(Renewed(sent=2000), 1003)
    assert node.leases == []


def test_a_server_that_never_says_welcome_is_taken_for_dead(node: Recorded) -> None:
    """Half open from the first moment: the connection must not be held for ever."""
    said, _ = spoken(node, now=0)
    for seconds in (10, 20, 30):
        assert said.heartbeat(seconds * 1000, WALL) is None, "nothing is said before the Welcome"
    with pytest.raises(TimeoutError, match="has not answered for 40 s"):
        said.heartbeat(40_000, WALL)


def test_heartbeats_tell_the_version_and_answers_keep_the_connection(node: Recorded) -> None:
    said, _ = spoken(node, now=0)
    said.take(Renewed(sent=1), 5_000)
    said.take(WELCOME, 5_000)
    said.take(Wanted(version=4), 5_000)
    frame = said.heartbeat(35_000, WALL)
    assert frame is not None
    assert decode_from_agent(frame) == Heartbeat(sent=35_000, wanted_version=4, wall=WALL)
    with pytest.raises(TimeoutError):
        said.heartbeat(35_001, WALL)


def test_every_connection_numbers_its_messages_from_one(node: Recorded) -> None:
    said, outbox = spoken(node)
    for _ in range(2):
        said, _ = Conversation(node, outbox, boot_id="boot", name="one", now=0), None
        said.take(WELCOME, 1)
        (frame,) = outbox.frames()
        message = decode_from_agent(frame)
        assert isinstance(message, Reports)
        assert message.seq == 1
    said.take(Ack(seq=1), 2)
    said.take(WELCOME, 3)
    assert outbox.frames() == [], "a doubled Welcome sends nothing again"


def test_a_changed_inventory_is_told_once(node: Recorded) -> None:
    said, _ = spoken(node)
    assert said.news_of_inventory() is None
    node.of = Inventory(cpu_milli=2000, memory_mib=10)
    frame = said.news_of_inventory()
    assert frame is not None
    assert decode_from_agent(frame) == InventoryChanged(inventory=node.of)
    assert said.news_of_inventory() is None


@pytest.mark.parametrize(("code", "error"), [("revoked", RefusedError), ("gap", TurnedAwayError)])
def test_a_refusal_ends_it(node: Recorded, code: str, error: type[Exception]) -> None:
    said, _ = spoken(node)
    with pytest.raises(error, match="because"):
        said.take(Refused(code=code, message="because"), 1001)


def test_secrets_are_asked_for_once_in_a_while_and_anew_on_each_connection(node: Recorded) -> None:
    said, _ = spoken(node)
    node.lacks = [("a", number, 1) for number in range(MAX_ASKED + 1)]
    assert said.question(1000) is None, "nothing is asked before the Welcome"
    said.take(WELCOME, 1000)
    asked = [decode_from_agent(frame) for _ in range(2) if (frame := said.question(1000)) is not None]
    assert asked == [SecretsAsked(node.lacks[:MAX_ASKED]), SecretsAsked(node.lacks[MAX_ASKED:])]
    assert said.question(1000 + ASKED_AGAIN_MS - 1) is None
    said.take(SecretsGiven(attempt="a", replica=0, generation=1), 1500)
    again = said.question(1000 + ASKED_AGAIN_MS)
    assert again is not None
    assert decode_from_agent(again) == SecretsAsked(node.lacks[:MAX_ASKED])
    other, _ = spoken(node)
    other.take(WELCOME, 1500)
    assert other.question(1500) is not None
