"""What is sent, in which order, within which bounds, and what a new connection repeats."""

from __future__ import annotations

from node_agent.outbox import REPORTS_PER_MESSAGE, UNACKNOWLEDGED_LOG_BYTES, Outbox, Track
from node_agent.protocol import (
    MAX_LOG_MESSAGE,
    MAX_TEXT_FRAME,
    Logs,
    ReplicaReport,
    ReplicaState,
    Reports,
    decode_from_agent,
)


class Log:
    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def read_log(self, offset: int, limit: int) -> bytes:
        return self.data[offset : offset + limit]


def a_track(attempt: str = "a", log: bytes = b"", *states: ReplicaState) -> Track:
    track = Track((attempt, 0, 1), Log(log))
    for state in states:
        track.add(ReplicaReport(attempt=attempt, replica=0, state=state))
    return track


class Receiver:
    """Decodes what an outbox sends."""

    def __init__(self) -> None:
        self.acknowledged: list[Track] = []
        self.outbox = Outbox(self.acknowledged.append)

    def all(self) -> list[Logs | Reports]:
        messages: list[Logs | Reports] = []
        while frames := self.outbox.frames():
            for frame in frames:
                assert len(frame) <= MAX_TEXT_FRAME
                message = decode_from_agent(frame)
                assert isinstance(message, Logs | Reports)
                messages.append(message)
        return messages


def test_the_log_goes_before_the_end_and_the_numbers_grow() -> None:
    receiver = Receiver()
    receiver.outbox.touch(a_track("a", b"hello\n", "starting", "running", "ended"))
    logs, reports = receiver.all()
    assert isinstance(logs, Logs)
    assert isinstance(reports, Reports)
    assert logs.items[0].data == b"hello\n"
    assert [item.state for item in reports.items] == ["starting", "running", "ended"]
    assert logs.seq < reports.seq
    assert receiver.all() == []


def test_a_replica_is_acknowledged_only_with_its_last_move() -> None:
    receiver = Receiver()
    track = a_track("a", b"x", "running", "ended")
    receiver.outbox.touch(track)
    logs, reports = receiver.all()
    receiver.outbox.acknowledge(logs.seq)
    assert receiver.acknowledged == []
    receiver.outbox.acknowledge(reports.seq)
    receiver.outbox.acknowledge(reports.seq)
    assert receiver.acknowledged == [track]


def test_a_new_connection_repeats_what_is_not_acknowledged_and_no_more() -> None:
    receiver = Receiver()
    source = Log(b"first")
    track = Track(("a", 0, 1), source)
    track.add(ReplicaReport(attempt="a", replica=0, state="running"))
    receiver.outbox.touch(track)
    receiver.outbox.acknowledge(receiver.all()[-1].seq)
    source.data += b"second"
    track.add(ReplicaReport(attempt="a", replica=0, state="ended"))
    receiver.outbox.touch(track)
    receiver.all()  # sent, but the connection is lost before the answer
    receiver.outbox.restart([track])
    logs, reports = receiver.all()
    assert isinstance(logs, Logs)
    assert isinstance(reports, Reports)
    assert (logs.items[0].offset, logs.items[0].data) == (5, b"second")
    assert [item.state for item in reports.items] == ["ended"]


def test_a_huge_log_is_cut_into_bounded_messages_and_pauses_at_the_bound() -> None:
    receiver = Receiver()
    data = bytes(range(256)) * 4096 * 12  # 12 MiB
    track = a_track("a", data, "running", "ended")
    receiver.outbox.touch(track)
    messages = receiver.all()
    logs = [message for message in messages if isinstance(message, Logs)]
    assert sum(len(piece.data) for log in logs for piece in log.items) == UNACKNOWLEDGED_LOG_BYTES
    assert all(sum(len(piece.data) for piece in log.items) <= MAX_LOG_MESSAGE for log in logs)
    assert not receiver.outbox.has_something()
    states = [item.state for message in messages if isinstance(message, Reports) for item in message.items]
    assert states == ["running"]  # the end waits for its log
    got = {piece.offset: len(piece.data) for log in logs for piece in log.items}
    while messages:
        receiver.outbox.acknowledge(messages[-1].seq)
        messages = receiver.all()
        got |= {p.offset: len(p.data) for m in messages if isinstance(m, Logs) for p in m.items}
    assert track.is_acknowledged
    assert sum(got.values()) == len(data)


def test_many_replicas_share_few_frames() -> None:
    receiver = Receiver()
    for number in range(1000):
        receiver.outbox.touch(a_track(f"a{number}", b"out\n", "starting", "running", "ended"))
    messages = receiver.all()
    reports = [message for message in messages if isinstance(message, Reports)]
    assert sum(len(message.items) for message in reports) == 3000
    assert all(len(message.items) <= REPORTS_PER_MESSAGE for message in reports)
    assert len(messages) <= 16


def test_without_answers_messages_stop_at_a_bound() -> None:
    receiver = Receiver()
    sent = 0
    for number in range(200):
        receiver.outbox.touch(a_track(f"a{number}", b"", "running"))
        sent += len(receiver.all())
    assert sent == 64
