"""What the server remembers of one connection: order of messages, and wanted states that did not arrive."""

from __future__ import annotations

from flexai.realtime.said import Order, Said
from node_agent.protocol import WantedReplica

ONE = WantedReplica(attempt="a", replica=0, desired="run", job="j", number=1, organization="o")


def test_messages_follow_each_other_from_one() -> None:
    said = Said()
    assert [said.order_of(seq) for seq in (1, 2, 2, 1, 3)] == [
        Order.NEXT, Order.NEXT, Order.DOUBLED, Order.DOUBLED, Order.NEXT,
    ]  # fmt: skip


def test_a_missing_message_is_noticed_the_first_one_too() -> None:
    assert Said().order_of(2) is Order.GAP
    said = Said()
    said.order_of(1)
    assert said.order_of(3) is Order.GAP
    assert said.order_of(2) is Order.NEXT, "what makes a gap is not taken for received"


def test_the_same_wanted_state_is_sent_once() -> None:
    said = Said()
    first = said.wanted([ONE])
    assert first is not None
    assert (first.version, first.replicas) == (1, [ONE])
    assert said.wanted([ONE]) is None
    second = said.wanted([])
    assert second is not None
    assert second.version == 2


def test_a_wanted_state_that_did_not_arrive_until_the_second_heartbeat_is_sent_again() -> None:
    said = Said()
    said.wanted([ONE])
    said.heartbeat(0)
    assert said.wanted([ONE]) is None, "it may still be on its way"
    said.heartbeat(0)
    again = said.wanted([ONE])
    assert again is not None
    assert (again.version, again.replicas) == (2, [ONE])
    said.heartbeat(2)
    said.heartbeat(2)
    assert said.wanted([ONE]) is None


def test_what_the_node_does_not_have_is_wanted_stopped() -> None:
    said = Said()
    said.missing = frozenset({("a", 0)})
    wanted = said.wanted([ONE])
    assert wanted is not None
    assert (wanted.replicas[0].desired, wanted.replicas[0].stop_outcome) == ("stop", "node_lost")
