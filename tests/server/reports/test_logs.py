"""Logs: at least once in, every byte once out."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexai.cluster.models import NodeEvent
from flexai.common.errors import InvalidInput, NotFound
from flexai.jobs import logs
from flexai.jobs.logs import read_log, take_logs
from flexai.jobs.models import LogPiece
from node_agent import protocol
from tests.support.placed import PlacedWorld

pytestmark = pytest.mark.django_db


def piece(attempt, offset, data, replica=0):
    return protocol.LogPiece(attempt=attempt.public_id, replica=replica, offset=offset, data=data)


@pytest.fixture
def placed():
    world = PlacedWorld()
    node = world.a_node()
    return node, world.placed(node)


def test_pieces_of_one_batch_become_one_row(placed):
    node, attempt = placed
    take_logs(node.pk, [piece(attempt, 0, b"one\n"), piece(attempt, 4, b"two\n")])
    assert LogPiece.objects.count() == 1
    read = read_log(attempt.job_id)
    assert (read.data, read.size, read.next_offset, read.ended) == (b"one\ntwo\n", 8, 8, False)


def test_overlaps_are_trimmed_and_doubles_dropped(placed):
    node, attempt = placed
    take_logs(node.pk, [piece(attempt, 0, b"abcdef")])
    take_logs(node.pk, [piece(attempt, 0, b"abcdef"), piece(attempt, 3, b"defghi"), piece(attempt, 2, b"cd")])
    assert read_log(attempt.job_id).data == b"abcdefghi"


def test_a_piece_beyond_a_hole_is_never_stored_and_said(placed):
    node, attempt = placed
    take_logs(node.pk, [piece(attempt, 0, b"abc")])
    taken = take_logs(node.pk, [piece(attempt, 5, b"xyz")])
    assert taken.gaps == {node.pk: [attempt.public_id]}
    assert read_log(attempt.job_id).data == b"abc"
    assert NodeEvent.objects.get(node=node).reason_code == "log_gap"
    take_logs(node.pk, [piece(attempt, 3, b"de"), piece(attempt, 5, b"xyz")])
    assert read_log(attempt.job_id).data == b"abcdexyz"


def test_another_nodes_log_is_refused(placed):
    _, attempt = placed
    other = PlacedWorld().a_node()
    taken = take_logs(other.pk, [piece(attempt, 0, b"lies")])
    assert taken.foreign == {other.pk: [attempt.public_id]}
    assert LogPiece.objects.count() == 0


def test_logs_of_a_job_that_is_gone_are_dropped_without_a_word(placed):
    node, _ = placed
    taken = take_logs(node.pk, [protocol.LogPiece(attempt="att-gone", replica=0, offset=0, data=b"x")])
    assert (taken.foreign, taken.gaps, NodeEvent.objects.count()) == ({}, {}, 0)


def test_bytes_beyond_the_bound_are_not_kept(placed, monkeypatch):
    node, attempt = placed
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 10)
    take_logs(node.pk, [piece(attempt, 0, b"12345678")])
    taken = take_logs(node.pk, [piece(attempt, 8, b"90ab"), piece(attempt, 12, b"cd")])
    assert taken.gaps == {}
    assert read_log(attempt.job_id).data == b"1234567890"


@pytest.mark.parametrize(
    "wrong", [{"offset": -1}, {"offset": 2**63}, {"data": b"x" * (protocol.MAX_LOG_PIECE + 1)}]
)
def test_pieces_that_break_the_protocol_are_refused(placed, wrong):
    node, attempt = placed
    with pytest.raises(InvalidInput):
        take_logs(node.pk, [piece(attempt, **{"offset": 0, "data": b"x", **wrong})])
    assert LogPiece.objects.count() == 0


def test_binary_output_comes_back_as_it_was(placed):
    node, attempt = placed
    data = bytes(range(256)) * 300
    take_logs(node.pk, [piece(attempt, 0, data)])
    assert read_log(attempt.job_id).data == data


def test_reading_from_the_middle_the_end_and_past_it(placed):
    node, attempt = placed
    for offset in range(0, 100, 10):
        take_logs(node.pk, [piece(attempt, offset, bytes([48 + offset // 10]) * 10)])
    assert read_log(attempt.job_id, offset=15, limit_bytes=10).data == b"1111122222"
    assert read_log(attempt.job_id, tail_bytes=12).data == b"88" + b"9" * 10
    beyond = read_log(attempt.job_id, offset=500)
    assert (beyond.data, beyond.offset, beyond.next_offset, beyond.size) == (b"", 500, 500, 100)


def test_the_newest_attempt_is_read_unless_another_is_named(placed):
    node, attempt = placed
    world = PlacedWorld()
    take_logs(node.pk, [piece(attempt, 0, b"first")])
    attempt.state = "ended"
    attempt.save()
    second = world.placed(node, job=attempt.job, number=2)
    take_logs(node.pk, [piece(second, 0, b"second")])
    assert read_log(attempt.job_id).data == b"second"
    first = read_log(attempt.job_id, attempt=1)
    assert (first.data, first.ended) == (b"first", True)
    assert [one["attempt"] for one in first.replicas] == [2, 1]
    with pytest.raises(NotFound):
        read_log(attempt.job_id, attempt=9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_any_pieces_never_stores_a_wrong_byte(placed, data):
    node, attempt = placed
    LogPiece.objects.all().delete()
    attempt.replicas.update(log_offset=0)
    whole = bytes(data.draw(st.lists(st.integers(0, 255), min_size=1, max_size=200)))
    sent = 0
    for _ in range(data.draw(st.integers(1, 8))):
        batch = []
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(whole) - 1))
            end = data.draw(st.integers(start, len(whole)))
            batch.append(piece(attempt, start, whole[start:end]))
            sent = max(sent, end)
        take_logs(node.pk, batch)
        stored = read_log(attempt.job_id)
        assert whole.startswith(stored.data)
        assert stored.size == len(stored.data)
    take_logs(node.pk, [piece(attempt, 0, whole)])
    assert read_log(attempt.job_id).data == whole
