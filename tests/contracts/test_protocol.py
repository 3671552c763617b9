"""The contract between server and agent: what one side writes the other reads, and what breaks it is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import protocol
from node_agent.protocol import (
    Ack,
    AgentMessage,
    ChipInfo,
    ChipSample,
    Heartbeat,
    Hello,
    Inventory,
    InventoryChanged,
    LogPiece,
    Logs,
    Refused,
    Renewed,
    ReplicaReport,
    ReplicaSample,
    Reports,
    ServerMessage,
    Telemetry,
    Wanted,
    WantedChip,
    WantedReplica,
    Welcome,
    decode_from_agent,
    decode_from_server,
    encode,
    pack_telemetry,
    unpack_telemetry,
)

INVENTORY = Inventory(cpu_milli=2000, memory_mib=4096, chips=[ChipInfo(index=0, type="cpu", memory_mib=2048)])
FROM_AGENT: list[AgentMessage] = [
    Hello(version=1, boot_id="b", agent_version="0.1.0", inventory=INVENTORY, live=[("att-1", 0)]),
    Heartbeat(sent=5, wanted_version=7),
    Reports(
        seq=1,
        items=[ReplicaReport(attempt="att-1", replica=0, state="ended", exit_code=0, outcome="succeeded")],
    ),
    Logs(seq=2, items=[LogPiece(attempt="att-1", replica=0, offset=3, data=bytes(range(256)))]),
    InventoryChanged(inventory=INVENTORY),
]
FROM_SERVER: list[ServerMessage] = [
    Welcome(node="node-1", name="a", server_time=1),
    Wanted(
        version=3,
        replicas=[
            WantedReplica(
                attempt="att-1", replica=0, desired="run", job="job-1", number=1, organization="org-1",
                commands=["echo 'ü'"], env={"A": "b"}, files={"a/b": "c"}, chips=[WantedChip(index=0, milli=500)],
                lease_ms=None, max_duration_ms=5,
            )
        ],
    ),
    Renewed(sent=5),
    Ack(seq=9),
    Refused(code="revoked", message="no"),
]  # fmt: skip


@pytest.mark.parametrize("message", FROM_AGENT, ids=lambda message: type(message).__name__)
def test_what_the_agent_writes_the_server_reads(message: AgentMessage) -> None:
    assert decode_from_agent(encode(message)) == message
    assert decode_from_agent(encode(message).decode()) == message


@pytest.mark.parametrize("message", FROM_SERVER, ids=lambda message: type(message).__name__)
def test_what_the_server_writes_the_agent_reads(message: ServerMessage) -> None:
    assert decode_from_server(encode(message)) == message


@pytest.mark.parametrize("message", FROM_SERVER, ids=lambda message: type(message).__name__)
def test_neither_side_takes_the_others_words(message: ServerMessage) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_from_agent(encode(message))


def test_a_newer_side_may_say_more() -> None:
    assert decode_from_server(b'{"t":"ack","seq":1,"added_later":true}') == Ack(seq=1)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"null",
        b'{"t":"hello"}',
        b'{"t":"reports","seq":"1","items":[]}',
        b'{"t":"reports","seq":1,"items":[{"attempt":"a","replica":0,"state":"flying"}]}',
        b'{"t":"logs","seq":1,"items":[{"attempt":"a","replica":0,"offset":0,"data":"%%%"}]}',
        b'{"t":"heartbeat","sent":1.5}',
        b'\xff\xfe{"t":"ack"}',
    ],
)
def test_what_breaks_the_contract_is_refused(frame: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_from_agent(frame)


U16 = st.integers(0, 65_535)
U32 = st.integers(0, 2**32 - 1)
CHIPS = st.builds(
    ChipSample,
    index=st.integers(0, protocol.MAX_CHIP_INDEX),
    use_permille=U16,
    memory_mib=U32,
    temperature_c=st.integers(-100, 200),
    power_mw=U32,
    flags=U16,
    clock_permille=U16,
    memory_use_permille=U16,
)
REPLICAS = st.builds(
    ReplicaSample,
    key=st.binary(min_size=16, max_size=16),
    cpu_permille=U16,
    memory_mib=U32,
    memory_peak_mib=U32,
    wait_permille=U16,
)


@given(st.integers(0, 2**53), U16, U32, st.lists(CHIPS, max_size=20), st.lists(REPLICAS, max_size=20))
def test_telemetry_survives_packing(
    at: int, cpu: int, memory: int, chips: list[ChipSample], replicas: list[ReplicaSample]
) -> None:
    sample = Telemetry(at=at, host_cpu_permille=cpu, host_memory_mib=memory, chips=chips, replicas=replicas)
    assert unpack_telemetry(pack_telemetry(sample)) == sample


def test_a_chip_out_of_range_is_refused() -> None:
    frame = pack_telemetry(Telemetry(1, 2, 3, chips=[ChipSample(0, 1, 2), ChipSample(1024, 1, 2)]))
    with pytest.raises(ValueError, match="telemetry frame names a chip beyond index 1023"):
        protocol.check_telemetry(frame)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="telemetry frame"):
        unpack_telemetry(data)


def test_a_replica_is_named_alike_on_both_sides() -> None:
    assert protocol.replica_key("att-1", 0).hex() == "6277a067297edb9c6368e0436c7f02d0"
    assert protocol.replica_key("att-1", 1) != protocol.replica_key("att-1", 0)


def test_a_frame_cut_short_is_refused() -> None:
    frame = pack_telemetry(
        Telemetry(at=1, host_cpu_permille=2, host_memory_mib=3, chips=[ChipSample(0, 1, 2)])
    )
    for length in range(len(frame)):
        with pytest.raises(ValueError, match="telemetry frame"):
            unpack_telemetry(frame[:length])


def test_the_largest_node_fits_into_one_frame() -> None:
    sample = Telemetry(
        at=1,
        host_cpu_permille=1000,
        host_memory_mib=1,
        chips=[ChipSample(index, 1000, 1) for index in range(256)],
        replicas=[ReplicaSample(bytes(16), 70_000, 1, 1)] * 1000,
    )
    frame = pack_telemetry(sample)
    assert len(frame) <= protocol.MAX_BINARY_FRAME
    assert unpack_telemetry(frame).replicas[0].cpu_permille == 65_535


def test_the_fullest_log_message_fits_into_one_frame() -> None:
    piece = LogPiece(attempt="a" * 100, replica=0, offset=2**40, data=bytes(protocol.MAX_LOG_PIECE))
    frame = encode(Logs(seq=2**40, items=[piece] * (protocol.MAX_LOG_MESSAGE // protocol.MAX_LOG_PIECE)))
    assert len(frame) <= protocol.MAX_TEXT_FRAME
