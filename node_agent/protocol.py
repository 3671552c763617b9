"""The words server and agent say to each other. With `protocol_outputs`, all of the agent that the server may import.

Text frames are JSON objects tagged by `t`; telemetry is one packed binary frame a second. Everything from the
agent is at-least-once: `Reports` and `Logs` carry a sequence number, are spooled until acknowledged, and are
idempotent at the server (an attempt's id fences; log pieces carry offsets). Everything to the agent is full
state: `Wanted` lists every replica that should live on the node, so a lost or doubled frame does no harm."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

VERSION = 3
CREDENTIAL_PREFIX = "flxa_"
"""With which the credentials begin that agents make for themselves."""
MAX_TEXT_FRAME = 4 * 1024 * 1024
"""Bytes; a larger frame from an agent closes its socket with code 1009."""
MAX_BINARY_FRAME = 64 * 1024
"""Bytes; 256 chips and 1,000 replicas fit."""
MAX_LOG_PIECE = 256 * 1024
"""Bytes of log in one piece; a message carries at most `MAX_LOG_MESSAGE` in all."""
MAX_LOG_MESSAGE = 1024 * 1024
HEARTBEAT_SECONDS = 10
TELEMETRY_SECONDS = 1
MAX_ASKED = 50
"""Replicas of one `SecretsAsked`."""
MAX_STEP = 2**53
MAX_THROUGHPUT_MILLI = 10**18
MAX_PROBLEM = 200
"""Characters of the sentence that says what was refused of a replica's progress."""


class _Message(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=False, omit_defaults=True):
    """Tagged by its class name in lower case."""


class ChipErrors(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chip's hardware has counted, as it bears on its health (T4)."""

    uncorrected: int = 0
    """Memory errors that were not corrected, since the driver was loaded."""
    corrected: int = 0
    """Memory errors that were, since the driver was loaded; only the leading digit, so that it changes seldom."""
    remapped_rows: int = 0
    """Memory rows that were replaced by spare ones for uncorrectable errors, over the chip's life."""
    remap_pending: bool = False
    """A row waits for the chip's reset to be replaced."""
    remap_failed: bool = False
    """There was no spare row left."""
    xids: list[int] = []
    """NVIDIA's error codes since the agent started, oldest first, at most 16."""
    links_down: int = 0
    """Links to other chips that should be up and are not."""


class ChipInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One chip as its driver reports it."""

    index: int
    type: str
    """`cpu`, `H100-80GB`, `A100-80GB/1g.10gb` …"""
    memory_mib: int
    uuid: str = ""
    driver: str = ""
    healthy: bool = True
    health_note: str = ""
    isolation: list[str] = []
    """Classes really enforced: exclusive, hardware, enforced, cooperative."""
    host_cpu_milli: int = 0
    """Host millicores claimed by the whole chip (1000 on the `cpu` driver)."""
    link_domain: str = ""
    parent: str = ""
    """Uuid of the chip that this one is an instance of (Q5: MIG, vNPU); empty for a chip that is whole."""
    slices: int = 0
    of: int = 0
    """An instance has `slices` of the `of` that its parent has; both 0 for a chip that is whole."""
    errors: ChipErrors | None = None
    """What the hardware counted; None where the driver cannot tell."""


class Inventory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the node has."""

    cpu_milli: int
    memory_mib: int
    chips: list[ChipInfo] = []
    address: str = ""
    """Where replicas on other nodes reach this one; empty: the server takes the socket's peer address."""
    topology: list[str] = []
    simulated: bool = False
    separate_users: bool = False
    """True when each organization's jobs run under a user of their own (agent has root)."""
    images: bool = False
    """True when it runs jobs in containers, of images that it fetches."""
    notes: list[str] = []
    """Plain sentences for people: what is not enforced here, which driver was not found."""


ReplicaState: TypeAlias = Literal["starting", "running", "stopping", "ended"]


class ReplicaReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One observed move of one replica. `ended` carries the outcome; times are wall-clock ms of the node."""

    attempt: str
    """Public id of the attempt: the fence. Reports of an attempt that the server has ended are ignored."""
    replica: int
    state: ReplicaState
    at: int = 0
    generation: int = 1
    exit_code: int | None = None
    """128 + signal when a signal ended it."""
    outcome: str = ""
    """With `ended`: succeeded, exit, oom, timed_out, cancelled, start_failed, no_image, platform_stopped, node_lost."""
    sentence: str = ""
    """For people, e.g. "Command not found: trian"."""
    log_size: int = 0
    """With `ended`: bytes of log in all; the log is complete when the server has so many."""
    cpu_time_ms: int = 0
    memory_peak_mib: int = 0
    note: Literal["", "paused", "resumed", "pulling"] = ""
    """No move of its own. With `running`: its node has halted a guest, or lets it go on (T3). With `starting`: its node
    fetches its image, and it is not taken up yet."""
    image: str = ""
    """With `running`: digest of the image that it runs in."""
    use_permille: int | None = None
    """Mean use of the chips it held (or of the CPU it asked for) over its life."""
    energy_mj: int | None = None
    """What its share of its chips drew over its life, in millijoules: their mean power times its life. None where a
    chip of it does not tell its power: unknown is not nothing."""


class ReplicaProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replica has said of itself so far, all of it: a lost or doubled one does no harm. Times are wall-clock
    ms of the node."""

    attempt: str
    replica: int
    at: int = 0
    generation: int = 1
    step: int | None = None
    throughput_milli: int | None = None
    """Thousandths of the job's own unit a second, of the whole job."""
    loss: float | None = None
    saving: bool = False
    """It writes a checkpoint now."""
    saved_step: int | None = None
    saved_at: int | None = None
    """Its last checkpoint."""
    problem: str = ""
    """What of its words was refused; empty: nothing."""


class LogPiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes of one replica's log from `offset` on (base64 in JSON)."""

    attempt: str
    replica: int
    offset: int
    data: bytes


# --- agent → server -----------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag="hello"):
    """First frame. `live` lists every replica the agent finds on the node, ended but unacknowledged ones left out."""

    version: int
    boot_id: str
    """Kernel boot id; a new one ends all earlier attempts of the node (law 5)."""
    agent_version: str
    inventory: Inventory
    live: list[tuple[str, int]] = []
    """(attempt, replica)"""


class Heartbeat(_Message, frozen=True, tag="heartbeat"):
    """Asks for a renewal of every lease on the node. `sent` is boot-time clock (ms), echoed in the answer."""

    sent: int
    wanted_version: int = 0
    """The last wanted state applied."""
    wall: int = 0
    """The node's wall clock (ms): the server puts what the node says where it was by its own."""


class Reports(_Message, frozen=True, tag="reports"):
    """Moves, oldest first, at most 500; and progress, at most 500, which is of before these moves."""

    seq: int
    items: list[ReplicaReport]
    progress: list[ReplicaProgress] = []


class Logs(_Message, frozen=True, tag="logs"):
    """Log pieces; at most `MAX_LOG_MESSAGE` bytes of data."""

    seq: int
    items: list[LogPiece]


class InventoryChanged(_Message, frozen=True, tag="inventory"):
    """The node's chips or health changed."""

    inventory: Inventory


class SecretsAsked(_Message, frozen=True, tag="secrets_asked"):
    """These replicas are about to start, and need secrets for it. Asked again while there is no answer."""

    replicas: list[tuple[str, int, int]]
    """(attempt, replica, generation), at most `MAX_ASKED`"""


AgentMessage: TypeAlias = Hello | Heartbeat | Reports | Logs | InventoryChanged | SecretsAsked

# --- server → agent -----------------------------------------------------------------------------------------------


class Welcome(_Message, frozen=True, tag="welcome"):
    """Answer to `Hello`; `Wanted` follows at once."""

    node: str
    name: str
    server_time: int
    heartbeat_seconds: int = HEARTBEAT_SECONDS


class WantedChip(msgspec.Struct, frozen=True, omit_defaults=True):
    """A share of one chip of this node."""

    index: int
    milli: int
    memory_mib: int = 0


class WantedGuest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The replica runs on chips lent to it, and makes way by this rule, with or without contact (T3)."""

    owners: list[tuple[str, int, int]]
    """(attempt, replica, milli-chips held) of each owner on this node."""
    above: int
    """Permille of what an owner holds from which it is back."""
    pause_after_ms: int
    stop_after_ms: int
    memory_floor_mib: int = 0
    """Free memory of the node, or of its chips, below which it is stopped at once."""


class WantedOutputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Files to be kept when the replica has ended by itself, failed, run out of time or been cancelled."""

    patterns: list[str]
    """Relative to the working directory, with / between parts; `**` is any number of folders."""
    most_bytes: int
    most_files: int


class WantedReplica(msgspec.Struct, frozen=True, omit_defaults=True):
    """One replica that should live here, or should be stopped and reported as ended."""

    attempt: str
    replica: int
    desired: Literal["run", "stop"]
    job: str
    number: int
    """Attempt number, for FLEXAI_ATTEMPT and the job's directory."""
    organization: str
    """Public id; jobs of one organization share a user on the node, no two organizations do."""
    name: str = ""
    stop_outcome: str = "cancelled"
    """What `ended` should carry if the stop is what ends it."""
    commands: list[str] = []
    """Run in order by one `/bin/bash -e` (or sh where there is none)."""
    image: str = ""
    """Full name of the image that they run in; empty: as processes of the node."""
    env: dict[str, str] = {}
    """Complete but for visible devices, checkpoint directory and preempt file: the agent adds these."""
    files: dict[str, str] = {}
    """Relative path → text, written into the working directory before the start."""
    working_dir: str = ""
    """Relative to the job's own directory; or absolute, then used as it is."""
    chips: list[WantedChip] = []
    cpu_milli: int = 0
    memory_mib: int = 0
    """0: no limit is set."""
    shm_mib: int = 0
    """Room in /dev/shm, in an image; 0: as much as its memory."""
    lease_ms: int | None = 600_000
    """None: never stops for want of contact."""
    max_duration_ms: int | None = None
    grace_ms: int = 10_000
    """Between SIGTERM and SIGKILL."""
    notice_signal: str = "SIGTERM"
    """Sent in place of SIGTERM where the replica is stopped to make room and goes on later."""
    checkpoint_dir: str = ""
    """For FLEXAI_CHECKPOINT_DIR: absolute, or relative to the job's own directory; empty: `checkpoint` there."""
    generation: int = 1
    guest: WantedGuest | None = None
    """None: it holds its chips by right."""
    log_limit: int = 64 * 1024 * 1024
    """Bytes of log kept; what follows is dropped and a last line says so."""
    outputs: WantedOutputs | None = None
    """None: no files are kept."""
    secrets: list[str] = []
    """Variables whose values are asked for when it is about to start (`SecretsAsked`): no wanted state holds them."""


class Wanted(_Message, frozen=True, tag="wanted"):
    """The full wanted state of the node. A live replica that is not listed is to be stopped (it is fenced off)."""

    version: int
    """Grows with every change; an older one than the last applied is ignored within one connection."""
    replicas: list[WantedReplica] = []


class Renewed(_Message, frozen=True, tag="renewed"):
    """Answer to `Heartbeat`: leases now run from `sent`."""

    sent: int


class Ack(_Message, frozen=True, tag="ack"):
    """Everything up to and including `seq` (reports and logs share one counter) is committed in PostgreSQL."""

    seq: int


class Refused(_Message, frozen=True, tag="refused"):
    """The server will not go on with this connection; the agent logs `message` and retries with back-off."""

    code: str
    message: str


class SecretsGiven(_Message, frozen=True, tag="secrets_given"):
    """What one replica asked for."""

    attempt: str
    replica: int
    generation: int
    values: dict[str, str] = {}
    """By variable, complete."""
    refused: str = ""
    """Why it cannot have them, for people: it ends as `start_failed`. Empty: it can."""

    def __repr__(self) -> str:
        """Without the values, wherever it is shown."""
        return f"SecretsGiven({self.attempt!r}, {self.replica}, {self.generation}, {sorted(self.values)})"


ServerMessage: TypeAlias = Welcome | Wanted | Renewed | Ack | Refused | SecretsGiven

_agent_decoder: msgspec.json.Decoder[AgentMessage] = msgspec.json.Decoder(AgentMessage)
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()


def encode(message: AgentMessage | ServerMessage) -> bytes:
    """The text frame of a message."""
    return _encoder.encode(message)


def decode_from_agent(frame: bytes | str) -> AgentMessage:
    """Raises `msgspec.ValidationError` (wrong shape) or `msgspec.DecodeError` (not JSON)."""
    return _agent_decoder.decode(frame)


def decode_from_server(frame: bytes | str) -> ServerMessage:
    """Raises `msgspec.ValidationError` (wrong shape) or `msgspec.DecodeError` (not JSON)."""
    return _server_decoder.decode(frame)


# --- telemetry: one packed frame a second -------------------------------------------------------------------------

_HEAD = struct.Struct("<4sBBHHqHI")
_CHIP = struct.Struct("<HHIhIHHH")
_REPLICA = struct.Struct("<16sHIIH")
_COUNTS = struct.Struct("<4sBxHH")
_MAGIC = b"FXT1"


UNHEALTHY = 1
"""The chip does not answer, or its hardware counted what makes it unfit."""
FOREIGN = 2
"""A process that is not ours uses it."""
HOT = 4
"""It runs slower because it is too hot."""
POWER_CAPPED = 8
"""It runs slower because it would take more power than it may."""
SLOWED = 16
"""Its hardware slows it down: a failing power supply, or a brake from outside."""
MAX_CHIP_INDEX = 1023


class ChipSample(msgspec.Struct, frozen=True):
    """One chip now."""

    index: int
    use_permille: int
    memory_mib: int
    temperature_c: int = 0
    """0: not reported."""
    power_mw: int = 0
    flags: int = 0
    """Any of `UNHEALTHY`, `FOREIGN`, `HOT`, `POWER_CAPPED` and `SLOWED`."""
    clock_permille: int = 0
    """Of the highest clock of its cores; 0: not reported."""
    memory_use_permille: int = 0
    """Share of the time in which its memory was read or written; 0 also where that is not reported."""


class ReplicaSample(msgspec.Struct, frozen=True):
    """One replica now. `key` is `replica_key(attempt, replica)`."""

    key: bytes
    cpu_permille: int
    """Of one core; 4000 = four cores busy. Capped at 65535."""
    memory_mib: int
    memory_peak_mib: int
    wait_permille: int = 0
    """Share of the time in which something of it waited for a disk or a network file system (T1)."""


class Telemetry(msgspec.Struct, frozen=True):
    """One frame: `at` is wall-clock ms of the node; host use in permille of all cores and MiB."""

    at: int
    host_cpu_permille: int
    host_memory_mib: int
    chips: Sequence[ChipSample] = ()
    replicas: Sequence[ReplicaSample] = ()


def replica_key(attempt: str, replica: int) -> bytes:
    """The 16 bytes that stand for a replica: BLAKE2b of digest size 16 over attempt id + "/" + replica."""
    return hashlib.blake2b(f"{attempt}/{replica}".encode(), digest_size=16).digest()


def pack_telemetry(sample: Telemetry) -> bytes:
    """`FXT1`, version, reserved, chip count, replica count, at, host CPU, host memory; then the records."""
    head = _HEAD.pack(
        _MAGIC, VERSION, 0, len(sample.chips), len(sample.replicas), sample.at,
        sample.host_cpu_permille, sample.host_memory_mib,
    )  # fmt: skip
    chips = b"".join(
        _CHIP.pack(
            c.index,
            c.use_permille,
            c.memory_mib,
            c.temperature_c,
            c.power_mw,
            c.flags,
            c.clock_permille,
            c.memory_use_permille,
        )
        for c in sample.chips
    )
    replicas = b"".join(
        _REPLICA.pack(r.key, min(r.cpu_permille, 65535), r.memory_mib, r.memory_peak_mib, r.wait_permille)
        for r in sample.replicas
    )
    return head + chips + replicas


def check_telemetry(frame: bytes) -> tuple[int, int]:
    """(chips, replicas) of a frame. Raises `ValueError` naming what is wrong: magic, version, a length that does not
    match the counts, or a chip's index out of range."""
    if len(frame) < _HEAD.size:
        raise ValueError(f"telemetry frame of {len(frame)} bytes is shorter than its head of {_HEAD.size}")
    magic, version, chips, replicas = _COUNTS.unpack_from(frame)
    if magic != _MAGIC or version != VERSION:
        raise ValueError(
            f"telemetry frame of kind {magic!r} version {version}; expected {_MAGIC!r} version {VERSION}"
        )
    chips_end = _HEAD.size + chips * _CHIP.size
    expected = chips_end + replicas * _REPLICA.size
    if len(frame) != expected:
        raise ValueError(f"telemetry frame has {len(frame)} bytes; its counts need {expected}")
    upper_bytes = frame[_HEAD.size + 1 : chips_end : _CHIP.size]  # of the indexes, which begin each record
    if chips and max(upper_bytes) > MAX_CHIP_INDEX >> 8:
        raise ValueError(f"telemetry frame names a chip beyond index {MAX_CHIP_INDEX}")
    return chips, replicas


def unpack_telemetry(frame: bytes) -> Telemetry:
    """Raises `ValueError` as `check_telemetry` does."""
    chip_count, _ = check_telemetry(frame)
    *_, at, host_cpu, host_memory = _HEAD.unpack_from(frame)
    chips_end = _HEAD.size + chip_count * _CHIP.size
    return Telemetry(
        at=at,
        host_cpu_permille=host_cpu,
        host_memory_mib=host_memory,
        chips=[ChipSample(*fields) for fields in _CHIP.iter_unpack(frame[_HEAD.size : chips_end])],
        replicas=[ReplicaSample(*fields) for fields in _REPLICA.iter_unpack(frame[chips_end:])],
    )
