"""Frames of an agent in whatever pieces the network brings them: nothing is lost, doubled or put out of order."""

from __future__ import annotations

import base64
import random
import socket

import pytest
from websockets.frames import Frame, Opcode

from flexai.cluster.telemetry import latest
from node_agent import protocol
from tests.support.placed import credential_of
from tests.support.web import eventually

FRAMES = 40


def masked(opcode, data, *, fin=True):
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def text(message):
    return masked(Opcode.TEXT, protocol.encode(message))


def telemetry(value):
    chips = [protocol.ChipSample(index, 10, 20, 30, 40) for index in range(8)]
    return protocol.pack_telemetry(protocol.Telemetry(0, value, 1000, chips, []))


class Raw:
    """A websocket whose bytes are ours to cut."""

    def __init__(self, port, node):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        key = base64.b64encode(b"sixteen letters.").decode()
        self.socket.sendall(
            f"GET /ws/agent/v1 HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {credential_of(node)}\r\n\r\n".encode()
        )
        self.heard = b""
        self.hear_until(b"\r\n\r\n")
        inventory = protocol.Inventory(cpu_milli=1000, memory_mib=1000)
        self.socket.sendall(text(protocol.Hello(protocol.VERSION, "boot-1", "test", inventory)))
        self.hear_until(b'"wanted"')

    def hear_until(self, mark, times=1):
        while self.heard.count(mark) < times:
            piece = self.socket.recv(65536)
            assert piece, self.heard[-300:]
            self.heard += piece


@pytest.fixture
def raw(server, world):
    node = world.a_node()
    raw = Raw(server.port, node)
    raw.node = node
    with raw.socket:
        yield raw


def shown(node):
    sample = latest([node.pk]).get(node.pk)
    return None if sample is None else sample.host_cpu_permille


@pytest.mark.parametrize("most", [1, 3, 100, 5000])
def test_frames_arrive_however_they_are_cut(raw, most):
    dice = random.Random(most)
    stream = b""
    for number in range(1, FRAMES + 1):
        stream += masked(Opcode.BINARY, telemetry(number))
        if number % 4 == 0:
            stream += text(protocol.Heartbeat(sent=number))
        if number % 10 == 0:
            stream += masked(Opcode.PING, b"there?")
    while stream:
        size = dice.randint(1, most)
        raw.socket.sendall(stream[:size])
        stream = stream[size:]
    raw.hear_until(b"there?", FRAMES // 10)
    raw.hear_until(b'"sent":%d}' % FRAMES)
    eventually(lambda: shown(raw.node) == FRAMES)


def test_a_message_in_parts_with_a_ping_between_them_is_one_message(raw):
    whole = telemetry(77)
    raw.socket.sendall(
        masked(Opcode.BINARY, whole[:50], fin=False)
        + masked(Opcode.PING, b"there?")
        + masked(Opcode.CONT, whole[50:])
        + text(protocol.Heartbeat(sent=1))
    )
    raw.hear_until(b"there?")
    raw.hear_until(b'"renewed"')
    eventually(lambda: shown(raw.node) == 77)


def test_a_whole_message_between_the_parts_of_another_is_refused(raw):
    raw.socket.sendall(
        masked(Opcode.BINARY, telemetry(1)[:50], fin=False) + masked(Opcode.BINARY, telemetry(2))
    )
    raw.hear_until(b"\x88")
    assert shown(raw.node) is None


@pytest.mark.parametrize(
    "frame", [b"\x82\x05hello", b"\xc2\x80\x00\x00\x00\x00"], ids=["unmasked", "reserved bit"]
)
def test_what_breaks_the_protocol_ends_the_connection(raw, frame):
    raw.socket.sendall(frame)
    raw.hear_until(b"\x88")


def test_a_refused_frame_stops_all_that_come_after_it(raw):
    raw.socket.sendall(masked(Opcode.BINARY, b"FXT9" + bytes(40)) + masked(Opcode.BINARY, telemetry(9)))
    raw.hear_until(b'"malformed"')
    raw.hear_until(b"\x88")
    assert shown(raw.node) is None
